"""What asking comes to: whatever happens within the deadline becomes a check result."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio

from reviver.model.checks import CheckContext, CheckResult
from reviver.model.faults import Fault, JsonValue
from reviver.model.services import Verification
from reviver.model.units import format_duration

Finding = Mapping[str, JsonValue] | Fault | str
"""The figures of a healthy answer, a fault, or a text why it can't be told."""

EVIDENCE_WITHIN: Final = 2.0
"""Seconds that gathering evidence may take; less than recovery waits for it, so that a part is better than nothing."""
DEADLINE_GRACE: Final = 0.5
"""Seconds beyond a question's own timeout until it is cut off."""


async def result_of(
    look: Callable[[], Awaitable[Finding]],
    *,
    timeout: float,  # noqa: ASYNC109  the deadline is set here, for all that look does
    failures: tuple[type[Exception], ...],
    explain: Callable[[Exception], Fault | str],
) -> CheckResult:
    """
    What *look* found within *timeout* seconds.

    What the client's library raises (*failures*, an ``OSError`` among them) is explained by *explain*, and so is a
    ``TimeoutError`` when the deadline passes; anything else is a bug and leaves.
    """
    started = anyio.current_time()
    try:
        with anyio.fail_after(timeout):
            finding = await look()
    except TimeoutError:
        finding = explain(TimeoutError(f"no answer within {format_duration(timeout)}"))
    except failures as error:
        finding = explain(error)
    latency = anyio.current_time() - started
    if isinstance(finding, Fault):
        return CheckResult(latency=latency, fault=finding)
    if isinstance(finding, str):
        return CheckResult(latency=latency, unknown=finding)
    return CheckResult(latency=latency, details=finding)


async def ask_once(subject: str, verification: Verification) -> CheckResult:
    """The answer to a question that is put once, over a connection of its own; *subject*: for whose sake."""
    context = CheckContext(service=subject, timeout=verification.timeout, wake=lambda _reason: None)
    try:
        with anyio.fail_after(verification.timeout + DEADLINE_GRACE):
            async with verification.check.open(context) as probe:
                return await probe.ask(fresh=True)
    except TimeoutError:
        return CheckResult(latency=verification.timeout, unknown=f"no answer within {verification.timeout:g} s")
    except Exception as error:  # noqa: BLE001  the wall around a kind's own code: no data is no pass
        return CheckResult(latency=0.0, unknown=f"the verification broke off ({type(error).__name__})")
