"""
The shell of acting: one attempt, from the last look before it to its verified end.

Order of things, and what a kill in between leaves:

1. The attempt is committed to the journal. Killed before: it never was. Killed after: it is resumed.
2. What it depends on is asked once more, the symptom is looked at unless that was just done, evidence is taken.
3. Each step is committed, done, and its end recorded. Killed in its middle: see ``resume``.
4. The verification. Killed in its middle: it is done again.

Every failure ends in an ``AttemptResult``; only cancellation leaves as an exception.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.faults import JsonValue
from reviver.model.incidents import REVIVER, AttemptRecord
from reviver.model.ports import AttemptResult, Clock, Order, Outcome
from reviver.model.secrets import Redactor
from reviver.model.services import Step

from .resume import leftover
from .steps import StepRunner
from .verify import verify

log = logging.getLogger(__name__)

SYMPTOM_FRESH = 2.0  # seconds; an older symptom is looked at again before the first effect (safety: P9)
PREFLIGHT_WITHIN = 5.0  # seconds
EVIDENCE_WITHIN = 3.0  # seconds for that of all steps


@dataclass(slots=True)
class Progress:
    """What an attempt has done so far."""

    acted: bool = False
    destructive: bool = False
    """Whether what can't be brought back was begun."""

    def broken_off(self, message: str) -> AttemptResult:
        """It ends here: without harm if nothing was done, and for people to see if something destructive was."""
        after_acting = Outcome.UNCLEAR if self.destructive else Outcome.FAILED
        outcome = after_acting if self.acted else Outcome.ABORTED
        return AttemptResult(outcome=outcome, message=message, acted=self.acted)


class Recovery:
    """Carries orders out; meets ``model.ports.Recoverer``."""

    def __init__(self, *, scribe: Scribe, clock: Clock, redact: Redactor) -> None:
        self._scribe = scribe
        self._clock = clock
        self._steps = StepRunner(scribe=scribe, clock=clock, redact=redact)
        self._redact = redact

    async def __call__(self, order: Order) -> AttemptResult:
        """Carry *order* out."""
        done = Progress()
        try:
            if order.resume is None:
                result = await self._from_the_start(order, done)
            else:
                result = await self._resumed(order, order.resume, done)
        except j.JournalError as error:
            result = done.broken_off(str(error))
        outcome = result.outcome
        if outcome is Outcome.FAILED and done.destructive:  # never twice: a person must look first
            outcome = Outcome.UNCLEAR
        return replace(result, outcome=outcome, message=self._redact(result.message), acted=done.acted)

    async def _from_the_start(self, order: Order, done: Progress) -> AttemptResult:
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
        return await self._to_the_first_step(order, done, look=order.symptom_age > SYMPTOM_FRESH)

    async def _to_the_first_step(self, order: Order, done: Progress, *, look: bool) -> AttemptResult:
        """All that comes before an effect, and then the steps."""
        unmet = await order.patient.unmet_need() if order.by == REVIVER else None
        if unmet is not None:
            return done.broken_off(unmet)
        stopped = await self._look(order) if look else None
        if stopped is not None:
            return stopped
        every = range(len(order.strategy.steps))
        if every:
            problems = await self._preflight(order)
            if problems:
                return AttemptResult(outcome=Outcome.FAILED, message=f"not started: {'; '.join(problems)}")
            await self._take_evidence(order)
        return await self._steps_and_verification(order, every, done)

    async def _resumed(self, order: Order, record: AttemptRecord, done: Progress) -> AttemptResult:
        """Go on with what an earlier life of the daemon has begun."""
        if not record.steps:
            return await self._to_the_first_step(order, done, look=True)
        done.acted = True
        done.destructive = any(step.effect == Effect.DESTRUCTIVE.value for step in record.steps)
        left = await leftover(order, record, self._steps)
        if left.failed:
            return done.broken_off(left.failed)
        if left.unclear:
            verified = await self._verify(order)
            if verified.outcome is Outcome.RECOVERED:
                return verified
            return done.broken_off(f"{left.unclear}; {verified.message}")
        if left.steps and (await order.patient.ask()).healthy:  # what was done sufficed, or it healed by itself
            verified = await self._verify(order)
            if verified.outcome is Outcome.RECOVERED:
                return verified
        return await self._steps_and_verification(order, left.steps, done)

    async def _look(self, order: Order) -> AttemptResult | None:
        """Look whether the service is still ill, with a fault that the strategy answers; ``None`` if so."""
        result = await order.patient.ask()
        if result.healthy:
            verified = await verify(order, clock=self._clock)
            if verified.passed:
                return AttemptResult(outcome=Outcome.HEALED, message="it was well again before the first step")
            if verified.unproven:
                return AttemptResult(outcome=Outcome.FAILED, message=verified.message, unproven=True)
            return AttemptResult(outcome=Outcome.ABORTED, message=f"it wavers: {verified.message}")
        if result.fault is None:
            return AttemptResult(outcome=Outcome.ABORTED, message=f"its state can't be told: {result.unknown}")
        if order.by == REVIVER and result.fault.kind not in order.strategy.faults:
            message = f'the fault is now {result.fault.kind}, which "{order.strategy.name}" does not answer'
            return AttemptResult(outcome=Outcome.ABORTED, message=message)
        return None

    async def _preflight(self, order: Order) -> Sequence[str]:
        """What stands in the way."""
        problems: list[str] = []
        try:
            with anyio.fail_after(PREFLIGHT_WITHIN):
                for step in order.strategy.steps:
                    problems += await step.action.preflight()
        except TimeoutError:
            problems.append(f"the preflight took longer than {PREFLIGHT_WITHIN:g} s")
        except Exception as error:  # the wall around a kind's own code: nothing was done yet
            log.exception("preflight.crashed", extra={"service": order.service.name})
            problems.append(f"the preflight broke off ({type(error).__name__}), a defect of the action")
        return problems

    async def _take_evidence(self, order: Order) -> None:
        """What the check has to show, and what each step is about to destroy."""
        evidence = dict(await order.patient.evidence())
        with anyio.move_on_after(EVIDENCE_WITHIN):
            for number, step in enumerate(order.strategy.steps, start=1):
                found = await self._evidence_of(step)
                if found:
                    evidence[f"step {number}: {step.kind}"] = found
        await self._scribe.commit(
            j.EvidenceTaken(
                service=order.service.name, incident=order.incident, attempt=order.attempt, evidence=evidence
            )
        )

    async def _evidence_of(self, step: Step) -> JsonValue:
        try:
            return dict(self._redact.tree(await step.action.evidence()))
        except Exception as error:
            # The wall around a kind's own code: evidence is worth no recovery.
            log.exception("evidence.crashed", extra={"action": step.kind})
            return f"could not be had: {type(error).__name__}"

    async def _steps_and_verification(self, order: Order, steps: Sequence[int], done: Progress) -> AttemptResult:
        for number in steps:
            if order.patient.leaving():
                return AttemptResult(outcome=Outcome.LEFT, message=f"reviver stops before step {number + 1}")
            reason = order.patient.stop_reason()
            if reason is not None:
                return done.broken_off(f"stopped before step {number + 1}: {reason}")
            step = order.strategy.steps[number]
            ended = await self._steps.run(order, number, step, on_start=partial(_begun, done, step))
            if ended.outcome is not j.StepOutcome.DONE:
                return done.broken_off(f"step {number + 1} failed: {ended.error}")
        return await self._verify(order)

    async def _verify(self, order: Order) -> AttemptResult:
        verified = await verify(order, clock=self._clock)
        self._scribe.record(
            j.VerificationEnded(
                service=order.service.name,
                incident=order.incident,
                attempt=order.attempt,
                passed=verified.passed,
                message=self._redact(verified.message),
                seconds=verified.seconds,
            )
        )
        outcome = Outcome.RECOVERED if verified.passed else Outcome.FAILED
        return AttemptResult(outcome=outcome, message=verified.message, unproven=verified.unproven)


def _begun(done: Progress, step: Step) -> None:
    done.acted = True
    done.destructive |= step.action.effect is Effect.DESTRUCTIVE
