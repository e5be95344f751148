"""
What may be written in the tables that are reviver's own, key by key. Kinds bring the keys of their own.

Only what is written is in a validated table; the defaults stand once, in ``model.services`` and ``file``.
"""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from reviver.model.services import Criticality, Jitter, Mode
from reviver.model.units import Seconds

from .moments import five_fields, known_zone, unix_time
from .paths import absolute, anchor, listening_address, socket_path

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""For every table, the kinds' too: no unknown keys, and nothing is turned silently into another type."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("expected a duration above zero")
    return seconds


Count: TypeAlias = Annotated[int, Field(ge=1)]
Duration: TypeAlias = Annotated[Seconds, AfterValidator(_positive)]
AnyTable: TypeAlias = dict[str, Any]
"""Looked at later: what may stand in it depends on the kind that it names."""


@with_config(STRICT)
class FileTable(TypedDict, total=False):
    """The whole file."""

    daemon: AnyTable
    """The daemon itself, and what holds for all services together."""
    services: dict[str, AnyTable]
    """What is kept alive, by name."""
    maintenance: list[AnyTable]
    """When people work on services, and recovery leaves them alone."""


@with_config(STRICT)
class BudgetTable(TypedDict):
    """At most so many attempts in a sliding window."""

    attempts: Count
    """Attempts in the window."""
    per: Duration
    """Length of the window."""


@with_config(STRICT)
class DaemonTable(TypedDict, total=False):
    """The daemon itself, and what holds for all services together."""

    listen: Annotated[str, AfterValidator(listening_address)]
    """``HOST:PORT`` of the metrics, the API and the status page; ``[HOST]:PORT`` for IPv6; port 0: any free one."""
    state_dir: Annotated[str, AfterValidator(absolute)]
    """Folder of the journal."""
    control_socket: Annotated[str, AfterValidator(socket_path)]
    """Unix socket by which the commands reach the daemon."""
    log_level: LogLevel
    """What is logged: this and everything graver."""
    mode: Mode
    """The ceiling: no strategy goes further than this."""
    at_once: Count
    """Attempts under way at the same time, over all services."""
    budget: BudgetTable
    """Attempts by reviver itself, over all services."""
    evidence_within: Seconds
    """How long taking evidence may delay a first step."""
    suspect_share: Annotated[float, Field(gt=0, le=1)]
    """Share of the hosts from which on their failing together makes reviver suspect itself and hold recovery."""
    anchors: list[Annotated[str, AfterValidator(anchor)]]
    """``HOST:PORT`` of what answers as long as this host has a network."""
    tie_break: AnyTable
    """A check by a second vantage: its healthy answer confirms that the failures seen from here are real."""
    approval_within: Duration
    """How long a request for approval holds."""
    freeze_file: Annotated[str, AfterValidator(absolute)]
    """While this file is there, reviver does nothing but watch and tell."""
    lock_file: Annotated[str, AfterValidator(absolute)]
    """While this file exists and is young, nothing is recovered: somebody deploys on this host."""
    lock_expires: Duration
    """How long after its last change a lock file counts as forgotten."""


@with_config(STRICT)
class FlappingTable(TypedDict):
    """So many falls within so long."""

    falls: Annotated[int, Field(ge=2)]
    """Falls, the latest included."""
    within: Duration
    """Length of the sliding window."""


@with_config(STRICT)
class MaintenanceTable(TypedDict, total=False):
    """A time in which people work on services, and recovery leaves them alone: once, or by cron."""

    services: list[str]
    """Which services; none named: all."""
    from_: Annotated[str, AfterValidator(unix_time), Field(alias="from")]
    """When it begins, once: a time with its offset, such as `"2026-12-01T02:00:00+01:00"`."""
    until: Annotated[str, AfterValidator(unix_time)]
    """When it ends."""
    cron: Annotated[str, AfterValidator(five_fields)]
    """When it begins, again and again: minute, hour, day of the month, month, day of the week, as in crontab(5)."""
    lasting: Duration
    """How long it lasts each time."""
    timezone: Annotated[str, AfterValidator(known_zone)]
    """Where ``cron`` is told: an IANA name, such as `"Europe/Berlin"`; unset: this host's own."""
    reason: Annotated[str, Field(max_length=500)]
    """What for; shown wherever it holds recovery."""


@with_config(STRICT)
class ServiceTable(TypedDict, total=False):
    """A thing kept alive: the keys that every kind of check has."""

    interval: Duration
    """Pause between two questions."""
    timeout: Duration
    """How long one question may take, connecting included."""
    confirm: Seconds
    """Pause between the quick probes that confirm a first failure."""
    fall: Count
    """Failures in a row until down."""
    rise: Count
    """Passes in a row until up again."""
    fresh_every: Seconds
    """How often a healthy service is asked over a new connection instead of the kept one."""
    stable: Seconds
    """A service that falls again so soon after its recovery continues its incident, with its attempts counted on."""
    depends_on: list[str]
    """Services without which it can't be well; they are recovered first."""
    criticality: Criticality
    """How much it matters to those who use it; the severity of its incidents follows."""
    budgets: list[BudgetTable]
    """Attempts by reviver itself, over all of its strategies; all of them hold. An empty array: no limit."""
    cooldown: Seconds
    """Pause after a recovery before the next attempt by reviver itself, should it fall again."""
    flapping: FlappingTable
    """Falls that make it flap: then the strategy that brought it back each time is passed over."""
    retry_after: Duration
    """Cool-down after handing over to people, until the ladder is tried again from its start; unset: never."""
    patience: Seconds
    """How long a fault that passes by itself (starting up, loading) may last until people are told."""
    unit: Annotated[str, Field(min_length=1)]
    """The systemd unit that runs it on this host: its end is certain evidence, seen at once."""
    pidfile: Annotated[str, AfterValidator(absolute)]
    """File whose first line is the pid of its main process on this host: as ``unit``, where there is no unit."""
    lock_file: Annotated[str, AfterValidator(absolute)]
    """While this file exists and is young, the service isn't recovered: somebody deploys it."""
    deployed: list[Annotated[str, AfterValidator(absolute)]]
    """Paths that a deploy changes, such as the link to the current release."""
    container: Annotated[str, Field(min_length=1)]
    """The Docker container that runs it on this host: one that was made moments ago is a deploy."""
    settle: Seconds
    """How long after a change of its unit, container or ``deployed`` paths recovery leaves it to its deployer."""
    recovery: list[AnyTable]
    """The ladder: strategies in order, gentlest first."""


@with_config(STRICT)
class BackoffTable(TypedDict, total=False):
    """The pauses between attempts of one strategy."""

    initial: Seconds
    """Pause before the second attempt."""
    factor: Annotated[float, Field(ge=1)]
    """By how much each further pause is longer."""
    max: Seconds
    """No pause is longer."""
    jitter: Jitter
    """How a pause is spread, so that many retries don't come at once."""


@with_config(STRICT)
class StrategyTable(TypedDict):
    """A rung of a service's ladder."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """What people call it; unique within its service."""
    faults: Annotated[list[str], Field(min_length=1)]
    """Which faults it answers."""
    steps: Annotated[list[AnyTable], Field(min_length=1)]
    """What is done, in order."""
    after: NotRequired[Seconds]
    """How long the fault must have lasted before it may act; unset: by the cost of its actions."""
    attempts: NotRequired[Count]
    """How often it is tried in one incident."""
    backoff: NotRequired[BackoffTable]
    """The pauses between its attempts."""
    mode: NotRequired[Mode]
    """How far it goes by itself; unset: ``approve`` if a step can't be undone, else ``auto``."""
    budgets: NotRequired[list[BudgetTable]]
    """Attempts of it by reviver itself, over all incidents; unset: fewer if a step can't be undone."""
    verify: NotRequired[list[AnyTable]]
    """Further questions whose answers must be healthy before the service counts as recovered."""
    verify_within: NotRequired[Duration]
    """Time from the last step until the service must have passed."""
    demote_after: NotRequired[Count]
    """Relapses within 24 h of its cures until it needs a person's approval; unset: never by relapses."""


@with_config(STRICT)
class StepTable(TypedDict):
    """One use of an action: the keys that every kind of action has."""

    action: str
    """The kind of action."""
    timeout: NotRequired[Duration]
    """Until it counts as failed; unset: by its kind."""


@with_config(STRICT)
class VerificationTable(TypedDict):
    """A further question: the keys that every kind of check has here."""

    check: str
    """The kind of check."""
    timeout: NotRequired[Duration]
    """How long the question may take; unset: as long as the service's own."""
