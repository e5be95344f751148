"""
What an action is: one thing that reviver can do to a system.

A *kind* of action is a frozen dataclass whose fields are the TOML keys; it is registered under the entry point group
``reviver.actions`` as ``SYSTEM.VERB``, or ``VERB`` alone.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from .faults import Fault, JsonValue


class Effect(StrEnum):
    """What doing it twice, or wrongly, would cost."""

    IDEMPOTENT = "idempotent"  # twice is as good as once: runs again after a crash
    REVERSIBLE = "reversible"  # twice is a nuisance: reconciled after a crash, never repeated in the same attempt
    DESTRUCTIVE = "destructive"  # can't be brought back: asks a person first, reconciled after a crash


class Reconciled(StrEnum):
    """What became of an action in whose middle the daemon died."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


class ActionError(Exception):
    """An action failed; the text is a line for an operator: what happened, to what, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionContext:
    """What an action is told by whoever runs it."""

    service: str
    fault: Fault | None
    note: Callable[[Mapping[str, JsonValue]], Awaitable[None]]
    """
    Writes a fact to the journal, synced, for ``reconcile`` after a crash: a child's pid and start time, the name of a
    file made. Raises what the journal raises; then the action must not go on.
    """


class Action(Protocol):
    """A kind of action with its settings."""

    default_after: ClassVar[float]
    """Seconds that a fault must have lasted before a strategy with this action may act, unless the settings say."""
    default_timeout: ClassVar[float]
    """Seconds that it may take unless the settings say."""

    @property
    def effect(self) -> Effect:
        """What doing it twice, or wrongly, would cost."""
        ...

    def targets(self) -> Sequence[str]:
        """What it acts upon, by name. An empty set, or one without bounds, is refused before anything is done."""
        ...

    def describe(self) -> str:
        """What it would do, in a line that completes "reviver will …". No secrets."""
        ...

    async def preflight(self) -> Sequence[str]:
        """What stands in the way of running it now, a line each; empty if nothing does. Changes nothing."""
        ...

    async def evidence(self) -> Mapping[str, JsonValue]:
        """
        What it is about to destroy and a person would want to see afterwards, beside what the check has to show.

        Called under a deadline of the caller's. What can't be had is said in the mapping, not raised.
        """
        ...

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        """
        Do it, and return what is worth recording, bounded.

        Runs under a deadline of the caller's: cancelled, it leaves nothing running.

        Raises:
            ActionError: It could not be done.
        """
        ...

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        """
        What became of a run in whose middle the daemon died, from its notes and from the system. Ends whatever of it
        is still running; otherwise changes nothing.
        """
        ...
