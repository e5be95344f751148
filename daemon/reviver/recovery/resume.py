"""
What to do with an attempt in whose middle the daemon died: a table, and the questions that it needs answered.

| step in flight | action says | then |
| --- | --- | --- |
| idempotent | anything | it runs again |
| other | done | it counts as done, the next step follows |
| other | not done | it runs |
| reversible | unknown | not repeated; the verification decides, another attempt may follow |
| destructive | unknown | not repeated; unless the verification passes, people must look |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from reviver.clients import process
from reviver.model.actions import Effect, Reconciled
from reviver.model.incidents import AttemptRecord, StepRecord
from reviver.model.journal import StepOutcome
from reviver.model.ports import Order
from reviver.model.services import Step

from .steps import StepRunner

RECONCILE_WITHIN = 30.0  # seconds; ending a child that is still running takes its grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What is left of an attempt."""

    steps: Sequence[int] = ()
    """The steps still to run."""
    failed: str = ""
    """A step had failed, or can't be told from others: the attempt ends."""
    unclear: str = ""
    """A step may or may not have happened, and is not repeated."""


async def leftover(order: Order, record: AttemptRecord, steps: StepRunner) -> Leftover:
    """What is left of the attempt that *record* tells of."""
    every = range(len(order.strategy.steps))
    seen = {step.step: step for step in record.steps}
    if any(number not in every or seen[number].action != order.strategy.steps[number].kind for number in seen):
        await process.end_noted(record.open_notes)
        return Leftover(failed="the strategy's steps are others than before reviver's restart")
    for number in every:
        step = seen.get(number)
        if step is None:
            return Leftover(steps=every[number:])
        if step.outcome is StepOutcome.FAILED:
            return Leftover(failed=f"step {number + 1} had failed: {step.error}")
        if step.outcome is not StepOutcome.DONE:
            return await _in_flight(order, step, order.strategy.steps[number], steps)
    return Leftover()


async def _in_flight(order: Order, record: StepRecord, step: Step, steps: StepRunner) -> Leftover:
    number, effect = record.step, step.action.effect
    rest = range(number, len(order.strategy.steps))
    became = await _reconcile(record, step)
    if effect is Effect.IDEMPOTENT or became is Reconciled.NOT_DONE:
        return Leftover(steps=rest)
    if became is Reconciled.DONE:
        steps.reconciled(order, number, StepOutcome.DONE)
        return Leftover(steps=rest[1:])
    unclear = f"reviver was restarted in the middle of step {number + 1}, which is not repeated"
    steps.reconciled(order, number, StepOutcome.INTERRUPTED, unclear)
    return Leftover(unclear=unclear)


async def _reconcile(record: StepRecord, step: Step) -> Reconciled:
    try:
        with anyio.fail_after(RECONCILE_WITHIN):
            return await step.action.reconcile(record.notes)
    except Exception:  # noqa: BLE001  the wall around a kind's own code: what can't be told is unknown
        return Reconciled.UNKNOWN
