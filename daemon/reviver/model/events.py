"""
Events: what subscribers (metrics, logs, notifications, the web) are told. Journal entries are events, too.

A subscriber is a plain function: it returns at once, and what it raises reaches nobody but the log.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .checks import CheckResult
from .faults import Fault
from .health import Health
from .journal import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A service was asked."""

    service: str
    kind: str
    result: CheckResult
    fresh: bool
    late: float
    """Seconds after its due time that the question was asked."""
    void: bool
    """Whether the answer counts for nothing because reviver itself was late."""
    woken: bool = False
    """Whether an event (a connection or a process ended) led to the question, not the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged:
    """The belief about a service changed."""

    service: str
    old: Health
    new: Health
    fault: Fault | None
    failing_for: float | None
    """Seconds since the first failure, while it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blip:
    """A service failed and passed again before the failure was confirmed."""

    service: str
    fault: Fault
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLagged:
    """reviver's own event loop was late."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStateChanged:
    """The journal can no longer be written, or can be again."""

    writable: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverSuspected:
    """Why reviver suspects itself has changed."""

    reason: str
    """For operators; empty when it is over."""
    reasons: tuple[str, ...]
    """The words of it: ``crowd``, ``lag``, ``network``, ``suspended``."""
    confirmed: bool
    """Whether the tie-break confirms that the failures are real, so that they are recovered all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Everything is held by a person's word; empty when that is over."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceChanged:
    """A service's maintenance window has begun or ended."""

    service: str
    told: str
    """Until when it lasts, and what for; empty when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesChanged:
    """The set of watched services, at the start and after a reload."""

    added: tuple[tuple[str, str], ...]
    """Names and kinds."""
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReloaded:
    """The settings were read again."""

    error: str
    """Empty when they are in force; otherwise why the old ones stay."""


Event = (
    Checked
    | HealthChanged
    | Blip
    | LoopLagged
    | JournalStateChanged
    | ObserverSuspected
    | Frozen
    | MaintenanceChanged
    | ServicesChanged
    | ConfigReloaded
    | Entry
)

Subscriber = Callable[[Event], None]
Emit = Callable[[Event], None]
