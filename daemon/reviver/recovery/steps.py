"""One step between two journal entries."""

import logging
from collections.abc import Callable, Mapping

import anyio

from reviver.core.targets import refused
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.actions import ActionContext, ActionError
from reviver.model.faults import JsonValue
from reviver.model.ports import Clock, Order
from reviver.model.secrets import Redactor
from reviver.model.services import Step

log = logging.getLogger(__name__)


class StepRunner:
    """Runs steps, and writes of them."""

    def __init__(self, *, scribe: Scribe, clock: Clock, redact: Redactor) -> None:
        self._scribe = scribe
        self._clock = clock
        self._redact = redact

    async def run(
        self, order: Order, number: int, step: Step, *, still: Callable[[], str], on_start: Callable[[], None]
    ) -> j.StepEnded:
        """
        Do *step*, and return how it ended.

        Once its start is on disk, *still* tells why it must not begin after all (empty: it may), and *on_start* that
        it begins.

        Killed in between, the journal shows a step that started and never ended; ``resume`` asks the action what
        became of it.

        Raises:
            JournalError: The start could not be written: nothing was done.
        """
        await self._scribe.commit(
            j.StepStarted(
                service=order.service.name,
                incident=order.incident,
                attempt=order.attempt,
                step=number,
                action=step.kind,
                description=self._redact(step.action.describe()),
                effect=step.action.effect.value,
                well=order.patient.well_downstream(),
            )
        )
        started = self._clock.monotonic()
        why_not = still()
        if why_not:
            return self._ended(order, number, j.StepOutcome.FAILED, started, why_not)
        on_start()
        try:
            error, result = await self._act(order, number, step)
        except anyio.get_cancelled_exc_class():
            self._ended(order, number, j.StepOutcome.INTERRUPTED, started, "reviver stopped in its middle")
            raise
        outcome = j.StepOutcome.FAILED if error else j.StepOutcome.DONE
        return self._ended(order, number, outcome, started, error, result)

    async def _act(self, order: Order, number: int, step: Step) -> tuple[str, Mapping[str, JsonValue]]:
        """What the action says: an error (empty if none) and its result."""

        async def note(fact: Mapping[str, JsonValue]) -> None:
            await self._scribe.commit(
                j.StepNoted(
                    service=order.service.name,
                    incident=order.incident,
                    attempt=order.attempt,
                    step=number,
                    note=self._redact.tree(fact),
                )
            )

        context = ActionContext(service=order.service.name, fault=order.fault, note=note)
        try:
            refusal = refused(step.action.targets())
            if refusal is not None:
                return f"{step.kind}: not done: {refusal}", {}
            with anyio.fail_after(step.timeout):
                return "", self._redact.tree(await step.action.run(context))
        except TimeoutError:
            return f"{step.kind}: not finished within {step.timeout:g} s", {}
        except (ActionError, j.JournalError) as error:
            return self._redact(str(error)), {}
        except Exception as error:  # the wall around a kind's own code
            log.exception("action.crashed", extra={"service": order.service.name, "action": step.kind})
            return f"{step.kind}: broke off ({type(error).__name__}), a defect of the action", {}

    def _ended(
        self,
        order: Order,
        number: int,
        outcome: j.StepOutcome,
        started: float,
        error: str = "",
        result: Mapping[str, JsonValue] | None = None,
    ) -> j.StepEnded:
        ended = j.StepEnded(
            service=order.service.name,
            incident=order.incident,
            attempt=order.attempt,
            step=number,
            outcome=outcome,
            seconds=self._clock.monotonic() - started,
            error=error,
            result=result or {},
        )
        self._scribe.record(ended)
        return ended

    def reconciled(self, order: Order, number: int, outcome: j.StepOutcome, error: str = "") -> None:
        """Write what became of a step in whose middle an earlier life of the daemon died."""
        self._ended(order, number, outcome, self._clock.monotonic(), error)
