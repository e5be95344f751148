"""
The shell of acting: one attempt, from the last look before it to its verified end.

Order of things, and what a kill in between leaves:

1. The attempt is committed to the journal. Killed before: it never was. Killed after: it is resumed.
2. What it depends on is asked once more, the symptom is looked at unless that was just done, evidence is taken.
3. Before each step the symptom is looked at again, unless it was seen just now: what was true when the attempt was
   decided may be true no more. Then the step is committed, done, and its end recorded. Killed in its middle: see
   ``resume``.
4. The verification. Killed in its middle: it is done again.

Every failure ends in an ``AttemptResult``; only cancellation leaves as an exception.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from reviver.core.targets import refused
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.checks import CheckResult
from reviver.model.faults import JsonValue
from reviver.model.incidents import REVIVER, AttemptRecord
from reviver.model.ports import AttemptResult, Clock, Order, Outcome
from reviver.model.secrets import Redactor
from reviver.model.services import Step

from .resume import leftover
from .steps import StepRunner
from .verify import verify

log = logging.getLogger(__name__)

SYMPTOM_FRESH = 2.0  # seconds; an older symptom is looked at again before any effect (safety: P9)
PLAN_VALID = 60.0  # seconds from the decision in which the first step must begin (safety: P9)
PREFLIGHT_WITHIN = 5.0  # seconds
EVIDENCE_WITHIN = 3.0  # seconds for that of all steps


@dataclass(slots=True)
class Progress:
    """What an attempt has done so far, and what it knows."""

    decided_at: float
    seen_at: float
    """When a check last saw the symptom."""
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
        now = self._clock.monotonic()
        done = Progress(decided_at=now, seen_at=now - order.symptom_age)
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
                why=order.why,
            )
        )
        return await self._to_the_first_step(order, done)

    async def _to_the_first_step(self, order: Order, done: Progress) -> AttemptResult:
        """All that comes before an effect, and then the steps."""
        unmet = await order.patient.unmet_need() if order.by == REVIVER else None
        if unmet is not None:
            return done.broken_off(unmet)
        over = await self._look_unless_fresh(order, done)
        if over is not None:
            return over
        every = range(len(order.strategy.steps))
        if every:
            problems = await self._preflight(order)
            if problems:
                return AttemptResult(outcome=Outcome.FAILED, message=f"not started: {'; '.join(problems)}")
            await self._take_evidence(order)
        return await self._steps_and_verification(order, every, done)

    async def _resumed(self, order: Order, record: AttemptRecord, done: Progress) -> AttemptResult:
        """Go on with what an earlier life of the daemon has begun."""
        done.seen_at = float("-inf")  # by an earlier life
        if not record.steps:
            return await self._to_the_first_step(order, done)
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
        return await self._steps_and_verification(order, left.steps, done)

    async def _look_unless_fresh(self, order: Order, done: Progress, step: Step | None = None) -> AttemptResult | None:
        """Why the attempt ends before its next step, after a look unless the symptom was seen just now."""
        if self._clock.monotonic() - done.seen_at <= SYMPTOM_FRESH or order.fault is None:
            return None
        result = await order.patient.ask()
        done.seen_at = self._clock.monotonic()
        if done.acted and step is not None:
            return await self._between_steps(order, done, step, result)
        return await self._before_the_first(order, result)

    async def _before_the_first(self, order: Order, result: CheckResult) -> AttemptResult | None:
        """Unless the service is still ill, with a fault that the strategy answers, nothing is done."""
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

    async def _between_steps(
        self, order: Order, done: Progress, step: Step, result: CheckResult
    ) -> AttemptResult | None:
        """
        What was done may have sufficed: then the rest is left undone. What can't be brought back is done only to a
        service that is seen to be ill.
        """
        if result.fault is not None:
            return None
        verified = await self._verify(order) if result.healthy else None
        if verified is not None and verified.outcome is Outcome.RECOVERED:
            return verified
        if step.action.effect is not Effect.DESTRUCTIVE:
            return None
        seen = f"the check passes: {verified.message}" if verified is not None else f"can't be told: {result.unknown}"
        broken_off = done.broken_off(f"nothing that can't be brought back is done to a service that isn't ill ({seen})")
        return replace(broken_off, unproven=verified is not None and verified.unproven)

    async def _preflight(self, order: Order) -> Sequence[str]:
        """What stands in the way."""
        problems: list[str] = []
        try:
            with anyio.fail_after(PREFLIGHT_WITHIN):
                for step in order.strategy.steps:
                    refusal = refused(step.action.targets())
                    problems += await step.action.preflight() if refusal is None else [f"{step.kind}: {refusal}"]
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
            step = order.strategy.steps[number]
            over = self._stopped(order, number, done) or await self._look_unless_fresh(order, done, step)
            if over is not None:
                return over
            still = partial(self._why_not_now, order, self._clock.monotonic())
            ended = await self._steps.run(order, number, step, still=still, on_start=partial(_begun, done, step))
            if ended.outcome is not j.StepOutcome.DONE:
                return done.broken_off(f"step {number + 1} failed: {ended.error}")
        return await self._verify(order)

    def _stopped(self, order: Order, number: int, done: Progress) -> AttemptResult | None:
        """Why no further step may begin."""
        if order.patient.leaving():
            return AttemptResult(outcome=Outcome.LEFT, message=f"reviver stops before step {number + 1}")
        reason = order.patient.stop_reason()
        if reason is not None:
            return done.broken_off(f"stopped before step {number + 1}: {reason}")
        age = self._clock.monotonic() - done.decided_at
        if not done.acted and age > PLAN_VALID:
            return done.broken_off(
                f"the decision is {age:.0f} s old, and was to be carried out within {PLAN_VALID:g} s"
            )
        return None

    def _why_not_now(self, order: Order, written_since: float) -> str:
        """Why a step whose start is on disk must not begin: writing it took a while, or people spoke meanwhile."""
        took = self._clock.monotonic() - written_since
        if took > SYMPTOM_FRESH:
            return f"not begun: writing its start took {took:.1f} s, and what was seen before is out of date"
        reason = order.patient.stop_reason()
        return f"not begun: {reason}" if reason is not None else ""

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
