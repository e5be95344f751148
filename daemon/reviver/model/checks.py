"""
What a check is: one way of asking a service how it is.

A *kind* of check is a frozen dataclass whose fields are the TOML keys; it is registered under the entry point group
``reviver.checks``. What it keeps between two questions lives in the block that ``open`` makes.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from .faults import NOTHING, Fault, FaultKind, JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The answer to one question: healthy, a fault, or not to be told."""

    latency: float
    """Seconds from the question to the answer, or to giving up."""
    fault: Fault | None = None
    unknown: str | None = None
    """
    Why the check could not tell, as a line for an operator: its own program is missing, this host is out of file
    descriptors. Never the target's failure. An unknown result is neither a pass nor a failure.
    """
    details: Mapping[str, JsonValue] = field(default_factory=lambda: NOTHING)
    """A few figures of a healthy answer, such as a version or a queue's length."""

    @property
    def healthy(self) -> bool:
        """Whether the service answered and all is well with it; "no data" is never healthy."""
        return self.fault is None and self.unknown is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What an opened check is told by whoever opens it."""

    service: str
    timeout: float
    """Seconds that one question may take, connecting included. ``Probe.ask`` keeps to it by itself."""
    wake: Callable[[str], None]
    """
    Tells the supervisor to ask again now, and why in a few words (``"kept connection closed"``). Cheap, never raises,
    may be called at any time from the event loop's thread.
    """


class Probe(Protocol):
    """An opened check: may keep a connection."""

    async def ask(self, *, fresh: bool) -> CheckResult:
        """
        How the service is now, within the context's timeout.

        Everything that the target can do becomes a result: only cancellation, and a bug, leave as an exception.

        Args:
            fresh: Make a new connection instead of using the kept one: it proves that new clients are served, too.
        """
        ...

    async def evidence(self) -> Mapping[str, JsonValue]:
        """
        What a restart would destroy and a person would want to see afterwards, bounded in size.

        Called under a deadline of the caller's. What can't be had is said in the mapping, not raised.
        """
        ...


class Check(Protocol):
    """A kind of check with its settings."""

    faults: ClassVar[frozenset[FaultKind]]
    """Every fault that it may report."""
    borrows: ClassVar[frozenset[str]]
    """Fields that are taken from another service's check of the same field names when ``service = "NAME"`` is set."""

    def open(self, context: CheckContext) -> AbstractAsyncContextManager[Probe]:
        """The probe, for as long as the block lasts. Connects to nothing yet, so a dead target can't fail it."""
        ...

    def hosts(self) -> frozenset[str]:
        """The hosts that it asks, for telling a dead target from a blind observer; empty if it asks none."""
        ...
