"""Services and strategies: what is kept alive, and how."""

from dataclasses import dataclass
from enum import StrEnum

from .actions import Action, Effect
from .checks import Check
from .faults import FaultKind


class Criticality(StrEnum):
    """How much a service matters to those who use it."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Mode(StrEnum):
    """How far reviver may go by itself."""

    OBSERVE = "observe"  # only say what would be done
    APPROVE = "approve"  # ask a person first
    AUTO = "auto"


class Jitter(StrEnum):
    """How the pause before a retry is spread, so that many retries don't come at once."""

    NONE = "none"
    EQUAL = "equal"  # half of the pause is fixed, half is random
    FULL = "full"  # anything from the initial pause to the computed one, never from zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The pauses between attempts of one strategy; all in seconds."""

    initial: float = 30.0
    factor: float = 2.0
    max: float = 1800.0
    jitter: Jitter = Jitter.EQUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most so many attempts in a sliding window of so many seconds."""

    attempts: int
    per: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """A service that falls so often within so many seconds flaps: what brought it back each time does not help it."""

    falls: int
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One use of an action in a strategy."""

    kind: str
    """The action's registered name, such as ``systemd.restart``."""
    action: Action
    timeout: float
    """Seconds until it counts as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A further question whose answer must be healthy before an incident counts as recovered."""

    kind: str
    """The check's registered name."""
    check: Check
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A rung of a service's ladder: which faults it answers, with which steps."""

    name: str
    faults: frozenset[FaultKind]
    steps: tuple[Step, ...]
    after: float | None = None
    """Seconds that the fault must have lasted; ``None``: by its actions' cost (see ``core.ladder``)."""
    attempts: int = 3
    backoff: Backoff = Backoff()
    mode: Mode = Mode.AUTO
    budgets: tuple[Budget, ...] = (Budget(attempts=3, per=3600.0), Budget(attempts=6, per=86400.0))
    """Attempts of it by reviver itself, over all incidents."""
    verify: tuple[Verification, ...] = ()
    verify_within: float = 60.0
    """Seconds after the last step until the service must have passed."""
    demote_after: int | None = None
    """Relapses within 24 h of its cures until it needs approval; ``None``: never by relapses."""

    @property
    def destructive(self) -> bool:
        """Whether one of its steps can't be brought back."""
        return any(step.action.effect is Effect.DESTRUCTIVE for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A thing kept alive. Durations are seconds; the defaults and their reasons stand in ``docs/configuration.md``."""

    name: str
    kind: str
    """The check's registered name."""
    check: Check
    interval: float = 5.0
    timeout: float = 2.0
    confirm: float = 1.0
    """Pause between the quick probes that confirm a first failure."""
    fall: int = 4
    """Failures in a row until down."""
    rise: int = 3
    """Passes in a row until up again."""
    fresh_every: float = 60.0
    """How often a healthy service is asked over a new connection instead of the kept one."""
    stable: float = 300.0
    """A service that falls again so soon after its recovery continues its incident, with its attempts counted on."""
    depends_on: tuple[str, ...] = ()
    criticality: Criticality = Criticality.NORMAL
    strategies: tuple[Strategy, ...] = ()
    budgets: tuple[Budget, ...] = (Budget(attempts=6, per=3600.0), Budget(attempts=12, per=86400.0))
    """Attempts by reviver itself, over all of its strategies."""
    cooldown: float = 30.0
    """Seconds after a recovery in which no further attempt begins by itself, should it fall again."""
    flapping: Flapping = Flapping(falls=3, within=1800.0)
    """Falls that make it flap: then the strategy that brought it back each time is passed over."""
    retry_after: float | None = None
    """Cool-down after handing over, until the ladder is tried again from its start; ``None``: never by itself."""
    patience: float = 300.0
    """How long a fault that passes by itself (starting up, loading) may last until people are told."""
    unit: str | None = None
    """The systemd unit that runs it on this host, for certain evidence."""
    pidfile: str | None = None
    """A file whose first line is its main process's pid on this host, for certain evidence."""
    lock_file: str | None = None
    """While it exists and is young, somebody is at work on the service."""
    deployed: tuple[str, ...] = ()
    """Paths that a deploy changes."""
    container: str | None = None
    """The Docker container that runs it on this host; a deploy makes it anew."""
    settle: float = 600.0
    """Seconds for which a change of its unit, its container or its ``deployed`` paths is its deployer's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """From one moment to another; Unix time."""

    begins: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """By the calendar."""

    cron: str
    """When it begins, in five fields."""
    lasting: float
    """Seconds."""
    timezone: str = ""
    """An IANA name; empty: this host's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A time in which people work on services, so that recovery leaves them alone."""

    when: Once | Recurring
    services: tuple[str, ...] = ()
    """None: all."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPolicy:
    """What holds for all services together."""

    mode: Mode = Mode.AUTO
    """The ceiling: no strategy goes further than this."""
    at_once: int = 1
    """Attempts under way at the same time, over all services."""
    budget: Budget = Budget(attempts=5, per=900.0)
    """Attempts by reviver itself, over all services."""
    evidence_within: float = 3.0
    """Seconds that taking evidence may delay a first step."""
    approval_within: float = 900.0
    """Seconds for which a request for approval holds."""
    suspect_share: float = 0.3
    """Share of the hosts from which on their failing together makes reviver suspect itself."""
    anchors: tuple[str, ...] = ()
    """``host:port`` of what answers as long as this host has a network."""
    tie_break: Verification | None = None
    """A second vantage, whose healthy answer confirms that failures seen from here are real."""
    lock_file: str | None = None
    """While it exists and is young, somebody is at work on this host: on any service."""
    lock_expires: float = 3600.0
    """Seconds after its last change from which a lock file counts as forgotten."""
    maintenance: tuple[Maintenance, ...] = ()
