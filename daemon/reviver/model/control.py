"""What people may ask of the running daemon, and what it shows them; the web and the CLI know it by this alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .faults import NOTHING, JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """One service as ``GET /api/v1/health`` shows it; the field names are the JSON keys."""

    kind: str
    health: str
    fault: str | None
    message: str
    since: float | None
    """Unix time since which ``health`` holds; ``None`` until first asked."""
    latency_seconds: float | None
    checked_at: float | None
    certain: bool = False
    held: str = ""
    """Why recovery does not act now, if it is held."""
    incident: str = ""
    attempt: int = 0
    """Which attempt is under way; 0: none."""
    strategy: str = ""
    depends_on: tuple[str, ...] = ()
    paused_until: float | None = None
    paused_by: str = ""
    paused_reason: str = ""
    maintenance_until: float | None = None
    """Unix time at which the maintenance window ends that is under way."""
    maintenance: str = ""
    """The same for a person, with what it is for."""
    details: Mapping[str, JsonValue] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """What waits for a person's word, as ``GET /api/v1/approvals`` shows it; the field names are the JSON keys."""

    service: str
    incident: str
    strategy: str
    attempt: int
    fault: str
    message: str
    """What is wrong with the service."""
    plan: tuple[str, ...]
    """Exactly what would be done, a line for each step."""
    destructive: bool
    """Whether a step can't be brought back."""
    token: str
    """Names this very plan; an approval carries it."""
    expires_at: float
    """Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustView:
    """One strategy as ``GET /api/v1/trust`` shows it, over the last 90 days; the field names are the JSON keys."""

    service: str
    strategy: str
    mode: str
    """How far it goes by itself: the least of the daemon's mode, its own, and a demotion's."""
    tries: int = 0
    cures: int = 0
    failures: int = 0
    needless: int = 0
    relapses_1h: int = 0
    relapses_24h: int = 0
    last_cure: float | None = None
    """Unix time."""
    last_relapse: float | None = None
    demoted: str = ""
    """Why it was demoted; empty if it isn't."""


class ControlRefused(Exception):
    """A request can't be granted now; the text says why and what to do."""

    def __init__(self, message: str, *, unknown_service: bool = False) -> None:
        super().__init__(message)
        self.unknown_service = unknown_service


class Control(Protocol):
    """The running daemon."""

    def health(self) -> Mapping[str, ServiceView]:
        """Every service, in the order of the settings."""
        ...

    def observer_suspect(self) -> str:
        """Why reviver suspects itself, and therefore holds recovery; empty if it doesn't."""
        ...

    def trust(self) -> Sequence[TrustView]:
        """Every strategy of every service, in the order of the settings. May be called from another thread."""
        ...

    def ready(self) -> str:
        """Why it isn't ready yet (``"2 of 5 services not asked yet"``); empty when it is."""
        ...

    async def pause(self, services: Sequence[str], *, by: str, reason: str, seconds: float) -> list[str]:
        """
        Keep hands off *services* (none named: all) for *seconds*; returns their names.

        Raises:
            ControlRefused: A name is unknown, or the journal can't keep the pause.
        """
        ...

    async def resume(self, services: Sequence[str], *, by: str) -> list[str]:
        """End the pause of *services* (none named: all paused ones); returns their names. Raises as ``pause``."""
        ...

    async def recover(self, service: str, *, by: str, strategy: str | None, dry_run: bool) -> str:
        """
        Start the next strategy of *service* now, or the named one; returns what is (with *dry_run*: would be) done.

        Waiting times, budgets and a wanted approval are overridden by the person's word; a running attempt, a pause,
        ``mode = "observe"`` and a broken journal are not.

        Raises:
            ControlRefused: It can't start, and why.
        """
        ...

    def approvals(self) -> Sequence[ApprovalView]:
        """What waits for a person's word, in the order of the settings."""
        ...

    async def approve(self, service: str, *, by: str, token: str) -> str:
        """
        Start what *service* waits with, if it is still the plan that *token* names; returns what is done.

        Raises:
            ControlRefused: Nothing waits, it is another plan by now, or it can't start.
        """
        ...

    async def deny(self, service: str, *, by: str, reason: str) -> str:
        """Pass over what *service* waits with, for the rest of its incident; returns what is passed over."""
        ...

    def frozen(self) -> str:
        """Why everything is held; empty if it isn't."""
        ...

    def freeze(self, *, by: str, reason: str) -> str:
        """Hold everything before its next effect, at once; returns ``frozen``."""
        ...

    def thaw(self, *, by: str) -> str:
        """End the freeze; returns ``frozen``: a file's goes on while the file is there."""
        ...

    async def promote(self, service: str, strategy: str, *, by: str) -> str:
        """
        Trust a demoted strategy again; returns what holds now.

        Raises:
            ControlRefused: A name is unknown, it isn't demoted, or the journal can't keep it.
        """
        ...

    async def reload(self) -> None:
        """
        Read the settings again: all or nothing.

        Raises:
            ControlRefused: They are bad; the old ones stay in force.
        """
        ...
