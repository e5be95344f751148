"""
An attempt that is not made: it takes its time, and ends as the record says that the service fared.

The same order of things as in ``recovery``: what the service needs, a look unless the symptom was just seen, the steps,
the verification. A generator that yields the seconds to wait, so that nothing waits in a replay.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from reviver.core.health import PASS_PAUSE
from reviver.model.checks import CheckResult
from reviver.model.ports import AttemptResult, Outcome
from reviver.model.services import Service, Strategy
from reviver.recovery.run import SYMPTOM_FRESH
from reviver.recovery.verify import FIRST_PAUSE, PAUSE_GROWTH

Waiting = Generator[float, None, None]
Asking = Generator[float, None, CheckResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, and how it sees the world."""

    service: Service
    strategy: Strategy
    symptom_age: float
    steps_take: float
    """Seconds."""
    now: Callable[[], float]
    ask: Callable[[], Asking]
    """Asks the service."""
    unmet_need: Callable[[], Generator[float, None, str]]
    """Asks what it needs; why one isn't up, or nothing."""

    def run(self) -> Generator[float, None, AttemptResult]:
        """The seconds to wait, one after the other; and in the end how it ended."""
        unmet = yield from self.unmet_need()
        if unmet:
            return AttemptResult(outcome=Outcome.ABORTED, message=unmet)
        if self.symptom_age > SYMPTOM_FRESH:
            over = yield from self._look()
            if over is not None:
                return over
        yield self.steps_take
        if (yield from self._verified()):
            return AttemptResult(outcome=Outcome.RECOVERED, message="the record says that it was well", acted=True)
        return AttemptResult(outcome=Outcome.FAILED, message="the record says that it was not well", acted=True)

    def _look(self) -> Generator[float, None, AttemptResult | None]:
        result = yield from self.ask()
        if result.healthy:
            if (yield from self._verified()):
                return AttemptResult(outcome=Outcome.HEALED, message="it was well again before the first step")
            return AttemptResult(outcome=Outcome.ABORTED, message="it wavers")
        if result.fault is None:
            return AttemptResult(outcome=Outcome.ABORTED, message=f"its state can't be told: {result.unknown}")
        if result.fault.kind not in self.strategy.faults:
            message = f'the fault is now {result.fault.kind}, which "{self.strategy.name}" does not answer'
            return AttemptResult(outcome=Outcome.ABORTED, message=message)
        return None

    def _verified(self) -> Generator[float, None, bool]:
        started, passes, pause = self.now(), 0, FIRST_PAUSE
        while True:
            result = yield from self.ask()
            passes = passes + 1 if result.healthy else 0
            if passes >= self.service.rise:
                return True
            if self.now() - started >= self.strategy.verify_within:
                return False
            yield PASS_PAUSE if passes else min(pause, self.service.confirm)
            pause *= PAUSE_GROWTH
