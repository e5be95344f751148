"""Asking services without the daemon: each once, at the same time, over a new connection."""

from collections.abc import Mapping
from typing import Final

import anyio

from reviver.model.checks import CheckContext, CheckResult
from reviver.model.faults import Fault, FaultKind
from reviver.model.services import Service

GRACE: Final = 0.5
"""Seconds; a check that outlives its own timeout by this much is cut off."""


def ask_all(services: Mapping[str, Service]) -> dict[str, CheckResult]:
    """The answer of each of *services*, in their order, whatever their checks do."""
    return anyio.run(_ask_all, services)


async def _ask_all(services: Mapping[str, Service]) -> dict[str, CheckResult]:
    results: dict[str, CheckResult] = {}

    async def ask(name: str, service: Service) -> None:
        results[name] = await _ask(service)

    async with anyio.create_task_group() as group:
        for name, service in services.items():
            group.start_soon(ask, name, service)
    return {name: results[name] for name in services}


async def _ask(service: Service) -> CheckResult:
    started = anyio.current_time()
    context = CheckContext(service=service.name, timeout=service.timeout, wake=lambda _reason: None)
    try:
        with anyio.fail_after(service.timeout + GRACE):
            async with service.check.open(context) as probe:
                return await probe.ask(fresh=True)
    except TimeoutError:
        fault = Fault(kind=FaultKind.TIMEOUT, message=f"no answer within {service.timeout:g} s")
        return CheckResult(latency=anyio.current_time() - started, fault=fault)
    except Exception as error:  # noqa: BLE001  the wall around a kind's own code: the other services are told all the same
        unknown = f"its check failed by itself ({type(error).__name__}: {error}); this is a defect of the check"
        return CheckResult(latency=anyio.current_time() - started, unknown=unknown)
