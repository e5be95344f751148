"""Recovered means verified: the check that failed passes ``rise`` times in a row, and every named question passes."""

from dataclasses import dataclass

import anyio

from reviver.clients.asking import ask_once
from reviver.core.health import PASS_PAUSE
from reviver.model.checks import CheckResult
from reviver.model.ports import Clock, Order
from reviver.model.services import Verification

FIRST_PAUSE = 0.05  # seconds between questions while the service doesn't pass; grows
PAUSE_GROWTH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Whether it passed, and why (not)."""

    passed: bool
    message: str
    seconds: float
    unproven: bool = False
    """Whether the check passes, and a named question does not."""


async def verify(order: Order, *, clock: Clock) -> Verified:
    """Ask until the service has passed, or until the strategy's ``verify_within`` is over. No data is never a pass."""
    service, strategy = order.service, order.strategy
    started = clock.monotonic()
    passes, pause, message = 0, FIRST_PAUSE, ""
    while True:
        result = await order.patient.ask()
        passes = passes + 1 if result.healthy else 0
        message = _reason(result)
        if passes >= service.rise:
            message = await _named(order)
            if not message:
                return Verified(
                    passed=True,
                    message=f"the check passed {passes} times" + _and_named(strategy.verify),
                    seconds=clock.monotonic() - started,
                )
        seconds = clock.monotonic() - started
        if seconds >= strategy.verify_within:
            break
        await anyio.sleep(PASS_PAUSE if passes else min(pause, service.confirm))
        pause *= PAUSE_GROWTH
    message = message or f"the check passed only {passes} of {service.rise} times"
    unproven = passes >= service.rise
    return Verified(passed=False, message=f"after {seconds:.1f} s still: {message}", seconds=seconds, unproven=unproven)


def _reason(result: CheckResult) -> str:
    if result.healthy:
        return ""
    return result.fault.message if result.fault is not None else f"can't be told: {result.unknown}"


def _and_named(verifications: tuple[Verification, ...]) -> str:
    return f", and {len(verifications)} named verifications did" if verifications else ""


async def _named(order: Order) -> str:
    """Why a named verification doesn't pass; empty if all pass."""
    for verification in order.strategy.verify:
        result = await ask_once(order.service.name, verification)
        if not result.healthy:
            return f"verification {verification.kind}: {_reason(result)}"
    return ""
