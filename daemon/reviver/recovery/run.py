"""
The shell of acting: one attempt, from the last look before it to its verified end.

Order of things, and what a kill in between leaves:

1. The attempt is committed to the journal. Killed before: it never was. Killed after: it is resumed.
2. The symptom is looked at once more, unless that was just done; evidence is taken.
3. Each step is committed, done, and its end recorded. Killed in its middle: see ``resume``.
4. The verification. Killed in its middle: it is done again.

Every failure ends in an ``AttemptResult``; only cancellation leaves as an exception.
"""

from collections.abc import Sequence

import anyio

from reviver.core.decide import REVIVER
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.ports import AttemptResult, Clock, Order, Outcome
from reviver.model.secrets import Redactor
from reviver.model.services import Step

from .resume import Leftover, leftover
from .steps import StepRunner
from .verify import verify

SYMPTOM_FRESH = 2.0  # seconds; an older symptom is looked at again before the first effect (safety: P9)
PREFLIGHT_WITHIN = 5.0  # seconds


class Recovery:
    """Carries orders out; meets ``model.ports.Recoverer``."""

    def __init__(self, *, scribe: Scribe, clock: Clock, redact: Redactor) -> None:
        self._scribe = scribe
        self._clock = clock
        self._steps = StepRunner(scribe=scribe, clock=clock, redact=redact)
        self._redact = redact

    async def __call__(self, order: Order) -> AttemptResult:
        """Carry *order* out."""
        try:
            if order.resume is None:
                return await self._from_the_start(order)
            return await self._resumed(order, await leftover(order, order.resume, self._steps))
        except j.JournalError as error:
            return AttemptResult(outcome=Outcome.ABORTED, message=str(error))

    async def _from_the_start(self, order: Order) -> AttemptResult:
        await self._scribe.commit(
            j.AttemptStarted(
                service=order.service.name,
                incident=order.incident,
                attempt=order.attempt,
                strategy=order.strategy.name,
                by=order.by,
                steps=tuple(self._redact(step.action.describe()) for step in order.strategy.steps),
            )
        )
        stopped = await self._last_look(order) or await self._preflight(order)
        if stopped is not None:
            return stopped
        await self._take_evidence(order)
        return await self._steps_and_verification(order, range(len(order.strategy.steps)))

    async def _resumed(self, order: Order, left: Leftover) -> AttemptResult:
        if left.failed:
            return AttemptResult(outcome=Outcome.FAILED, message=left.failed)
        if left.unclear:
            verified = await self._verify(order)
            if verified.outcome is Outcome.RECOVERED:
                return verified
            outcome = Outcome.UNCLEAR if left.destructive else Outcome.FAILED
            return AttemptResult(outcome=outcome, message=f"{left.unclear}; {verified.message}")
        if left.steps:
            stopped = await self._look(order)
            if stopped is not None:
                return stopped
        if order.resume is not None and not order.resume.steps and not order.resume.evidence:
            await self._take_evidence(order)
        return await self._steps_and_verification(order, left.steps)

    async def _last_look(self, order: Order) -> AttemptResult | None:
        return None if order.symptom_age <= SYMPTOM_FRESH else await self._look(order)

    async def _look(self, order: Order) -> AttemptResult | None:
        """Look whether the service is still ill, with a fault that the strategy answers; ``None`` if so."""
        result = await order.patient.ask()
        if result.healthy:
            verified = await verify(order, clock=self._clock)
            if verified.passed:
                return AttemptResult(outcome=Outcome.HEALED, message="it was well again before the first step")
            return AttemptResult(outcome=Outcome.ABORTED, message=f"it wavers: {verified.message}")
        if result.fault is None:
            return AttemptResult(outcome=Outcome.ABORTED, message=f"its state can't be told: {result.unknown}")
        if order.by == REVIVER and result.fault.kind not in order.strategy.faults:
            message = f'the fault is now {result.fault.kind}, which "{order.strategy.name}" does not answer'
            return AttemptResult(outcome=Outcome.ABORTED, message=message)
        return None

    async def _preflight(self, order: Order) -> AttemptResult | None:
        problems: list[str] = []
        try:
            with anyio.fail_after(PREFLIGHT_WITHIN):
                for step in order.strategy.steps:
                    problems += await step.action.preflight()
        except TimeoutError:
            problems.append(f"the preflight took longer than {PREFLIGHT_WITHIN:g} s")
        if not problems:
            return None
        message = self._redact(f"not started: {'; '.join(problems)}")
        return AttemptResult(outcome=Outcome.FAILED, message=message)

    async def _take_evidence(self, order: Order) -> None:
        await self._scribe.commit(
            j.EvidenceTaken(
                service=order.service.name,
                incident=order.incident,
                attempt=order.attempt,
                evidence=await order.patient.evidence(),
            )
        )

    async def _steps_and_verification(self, order: Order, steps: Sequence[int]) -> AttemptResult:
        for number in steps:
            reason = order.patient.stop_reason()
            if reason is not None:
                return AttemptResult(outcome=Outcome.ABORTED, message=f"stopped before step {number + 1}: {reason}")
            step = order.strategy.steps[number]
            ended = await self._steps.run(order, number, step)
            if ended.outcome is not j.StepOutcome.DONE:
                return _step_failed(step, number, ended.error)
        return await self._verify(order)

    async def _verify(self, order: Order) -> AttemptResult:
        verified = await verify(order, clock=self._clock)
        await self._scribe.record(
            j.VerificationEnded(
                service=order.service.name,
                incident=order.incident,
                attempt=order.attempt,
                passed=verified.passed,
                message=verified.message,
                seconds=verified.seconds,
            )
        )
        outcome = Outcome.RECOVERED if verified.passed else Outcome.FAILED
        return AttemptResult(outcome=outcome, message=verified.message)


def _step_failed(step: Step, number: int, error: str) -> AttemptResult:
    """A destructive step that failed may have done half of its work: that is for people to see."""
    outcome = Outcome.UNCLEAR if step.action.effect is Effect.DESTRUCTIVE else Outcome.FAILED
    return AttemptResult(outcome=outcome, message=f"step {number + 1} failed: {error}")
