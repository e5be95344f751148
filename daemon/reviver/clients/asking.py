"""What asking comes to: whatever happens within the deadline becomes a check result."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio

from reviver.model.checks import CheckResult
from reviver.model.faults import Fault, JsonValue
from reviver.model.units import format_duration

Finding = Mapping[str, JsonValue] | Fault | str
"""The figures of a healthy answer, a fault, or a text why it can't be told."""

EVIDENCE_WITHIN: Final = 2.0
"""Seconds that gathering evidence may take; less than recovery waits for it, so that a part is better than nothing."""


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
