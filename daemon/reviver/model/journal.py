"""
The journal's entries: the durable record of incidents, attempts and steps.

Each entry is also the event that subscribers see. An entry is a frozen dataclass of plain values; ``type`` names it in
the database, so a name is never reused for another meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol

from .faults import NOTHING, FaultKind, JsonValue

JsonMap = Mapping[str, JsonValue]


class Severity(StrEnum):
    """How bad an incident is, worst first."""

    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"
    SEV4 = "sev4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Common to all entries."""

    type: ClassVar[str]
    service: str
    incident: str = ""
    """The incident's id; empty for what belongs to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened(Entry):
    """A service is down, confirmed."""

    type: ClassVar[str] = "incident_opened"
    fault: FaultKind
    message: str
    certain: bool
    severity: Severity
    impact: tuple[str, ...]
    """Services that depend on it, directly or not."""
    failing_for: float
    """Seconds from the first failed question to this entry."""
    noticed_ago: float = 0.0
    """Seconds from that question's answer to this entry."""
    details: JsonMap = field(default_factory=lambda: NOTHING)
    samples: tuple[JsonMap, ...] = ()
    """The latest answers, oldest first: what they said, how long ago they were asked for, and what they took."""
    thresholds: JsonMap = field(default_factory=lambda: NOTHING)
    """The settings by which they were judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentReopened(Entry):
    """It fell again soon after its recovery."""

    type: ClassVar[str] = "incident_reopened"
    fault: FaultKind
    message: str
    certain: bool
    failing_for: float
    samples: tuple[JsonMap, ...] = ()
    thresholds: JsonMap = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultChanged(Entry):
    """The check sees another fault than before in the same incident."""

    type: ClassVar[str] = "fault_changed"
    fault: FaultKind
    message: str
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryHeld(Entry):
    """A guard speaks against acting now; written once for each new reason."""

    type: ClassVar[str] = "recovery_held"
    guard: str
    """Which guard, a stable word for metrics: ``dependency``, ``budget``, ``freeze``, …"""
    reason: str
    until_in: float | None = None
    """Seconds until it is looked at again, if that is known; else when something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlanned(Entry):
    """Which strategy is next, and why not now; written once for each new reason."""

    type: ClassVar[str] = "recovery_planned"
    strategy: str
    """Empty: none; what is waited for is that it passes by itself."""
    reason: str
    due_in: float
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested(Entry):
    """People are asked for their word on a strategy."""

    type: ClassVar[str] = "approval_requested"
    strategy: str
    attempt: int
    """The number that the attempt will have."""
    plan: tuple[str, ...]
    """What each step would do."""
    token: str
    """Names this very plan: an approval of another one is refused."""
    expires_in: float
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGiven(Entry):
    """A person approved; synced before the attempt."""

    type: ClassVar[str] = "approval_given"
    by: str
    strategy: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyAbandoned(Entry):
    """A strategy is passed over for the rest of the incident: denied, its budget spent, or its help does not last."""

    type: ClassVar[str] = "strategy_abandoned"
    strategy: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryObserved(Entry):
    """What would have been done now, had it been allowed."""

    type: ClassVar[str] = "recovery_observed"
    strategy: str
    plan: tuple[str, ...]
    asking: bool
    """Whether people would have been asked first."""


class Verdict(StrEnum):
    """Whether what was only observed would have been of use."""

    NOT_NEEDED = "not_needed"  # the service came back, and its process is the same: nobody did the like
    DONE_BY_OTHERS = "done_by_others"  # its process was replaced after the observed moment: somebody restarted it
    CAME_BACK = "came_back"  # it came back; what brought it back can't be seen from here


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationJudged(Entry):
    """What became of a service for which something would have been done."""

    type: ClassVar[str] = "observation_judged"
    strategy: str
    verdict: Verdict
    seconds: float
    """From the moment at which it would have acted to the verified recovery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Entry):
    """Synced before anything is done; an attempt counts from here, whatever becomes of the daemon."""

    type: ClassVar[str] = "attempt_started"
    attempt: int
    strategy: str
    by: str
    steps: tuple[str, ...]
    """What each step would do, as its action describes it."""
    why: str = ""
    """Why this strategy, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceTaken(Entry):
    """What the steps may destroy, as it was before them."""

    type: ClassVar[str] = "evidence_taken"
    attempt: int
    evidence: JsonMap


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Entry):
    """Synced before the effect."""

    type: ClassVar[str] = "step_started"
    attempt: int
    step: int
    """Index into the strategy's steps, from 0."""
    action: str
    description: str
    effect: str
    well: tuple[str, ...] = ()
    """Services that depend on its service and were well: what breaks now may be its doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNoted(Entry):
    """A fact that the action needs to tell, after a crash, whether it happened."""

    type: ClassVar[str] = "step_noted"
    attempt: int
    step: int
    note: JsonMap


class StepOutcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the daemon died or stopped in its middle; not known to have happened


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded(Entry):
    """Synced after the effect."""

    type: ClassVar[str] = "step_ended"
    attempt: int
    step: int
    outcome: StepOutcome
    seconds: float
    error: str = ""
    result: JsonMap = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationEnded(Entry):
    """Whether the service, and every named verification, passed."""

    type: ClassVar[str] = "verification_ended"
    attempt: int
    passed: bool
    message: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(Entry):
    """How it ended, and when the next may start."""

    type: ClassVar[str] = "attempt_ended"
    attempt: int
    strategy: str
    outcome: str
    """One of ``ports.Outcome``."""
    message: str
    seconds: float
    retry_in: float | None = None
    unproven: bool = False
    """Whether the check passes, and a named verification does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecovered(Entry):
    """The service passes again, verified."""

    type: ClassVar[str] = "incident_recovered"
    by: str
    """The strategy's name, or ``itself``."""
    down_for: float
    """Seconds from the first failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEscalated(Entry):
    """Handed over to people."""

    type: ClassVar[str] = "incident_escalated"
    reason: str
    stops: str = ""
    """Why reviver does nothing more by itself in this incident, whatever the fault (``core.decide.Stop``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentWithdrawn(Entry):
    """Closed because the settings no longer name its service."""

    type: ClassVar[str] = "incident_withdrawn"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePaused(Entry):
    """A person told reviver to keep its hands off. Lives in the journal, so a restart can't lift it."""

    type: ClassVar[str] = "service_paused"
    by: str
    reason: str
    until: float
    """Unix time at which it ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResumed(Entry):
    """The pause is over."""

    type: ClassVar[str] = "service_resumed"
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFrozen(Entry):
    """Nothing is done any more, whatever it is for, until a person thaws it. Belongs to no service."""

    type: ClassVar[str] = "daemon_frozen"
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonThawed(Entry):
    """The freeze is over."""

    type: ClassVar[str] = "daemon_thawed"
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOrdered(Entry):
    """A person asked for a recovery now."""

    type: ClassVar[str] = "recovery_ordered"
    by: str
    strategy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyDemoted(Entry):
    """A strategy has lost trust on a service. Lives in the journal, so a restart can't lift it."""

    type: ClassVar[str] = "strategy_demoted"
    strategy: str
    mode: str
    """How far it goes by itself from now on, at most (``services.Mode``)."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyPromoted(Entry):
    """A person trusts it again."""

    type: ClassVar[str] = "strategy_promoted"
    strategy: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseFound(Entry):
    """The service was broken by reviver's own action on another that it depends on."""

    type: ClassVar[str] = "cause_found"
    culprit: str
    """The service that was acted upon."""
    strategy: str
    seconds: float
    """From the action's first step to the first failed question."""


ENTRY_TYPES: tuple[type[Entry], ...] = (
    IncidentOpened,
    IncidentReopened,
    FaultChanged,
    RecoveryHeld,
    RecoveryPlanned,
    ApprovalRequested,
    ApprovalGiven,
    StrategyAbandoned,
    RecoveryObserved,
    ObservationJudged,
    AttemptStarted,
    EvidenceTaken,
    StepStarted,
    StepNoted,
    StepEnded,
    VerificationEnded,
    AttemptEnded,
    IncidentRecovered,
    IncidentEscalated,
    IncidentWithdrawn,
    ServicePaused,
    ServiceResumed,
    DaemonFrozen,
    DaemonThawed,
    RecoveryOrdered,
    StrategyDemoted,
    StrategyPromoted,
    CauseFound,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry with its place in time."""

    entry: Entry
    at: float
    """Unix time when it was written, for people."""
    age: float
    """Seconds from its writing to its reading; by the boot's own clock where both lie in one boot."""


def pause_left(record: Record) -> float:
    """
    Seconds for which the pause that *record* tells of still holds; not positive if it is over.

    By the record's age, not by the date: somebody who sets the clock neither lifts a pause nor makes it last for years.
    """
    return record.entry.until - record.at - record.age if isinstance(record.entry, ServicePaused) else 0.0


class JournalError(Exception):
    """The journal can't be written or read; the text says what, why it matters, and what to do."""


class Journal(Protocol):
    """Where entries are kept."""

    async def append(self, *entries: Entry) -> None:
        """
        Write *entries* in one transaction; returns when they are on disk. Without any, it tries whether it could.

        A cancellation during the write arrives after it: when this returns or raises, the caller knows.

        Raises:
            JournalError: They are not written.
        """
        ...

    async def unfinished(self) -> Mapping[str, Sequence[Record]]:
        """The records of each service's latest incident that is open, handed over or lately recovered, by service."""
        ...

    async def attempts_since(self, seconds: float) -> Sequence[Record]:
        """The ``attempt_started`` records, not older than *seconds*, of attempts that came to a step."""
        ...

    async def falls_since(self, seconds: float) -> Sequence[Record]:
        """The ``incident_opened`` and ``incident_reopened`` records not older than *seconds*, oldest first."""
        ...

    async def history_since(self, seconds: float) -> Sequence[Record]:
        """The records, not older than *seconds*, that tell what became of attempts: for trust and blame."""
        ...

    async def demotions(self) -> Sequence[StrategyDemoted]:
        """The demotions in force."""
        ...

    async def pauses(self) -> Mapping[str, Record]:
        """The records of the pauses in force, by service."""
        ...

    async def frozen(self) -> DaemonFrozen | None:
        """The latest freeze by a person or a signal, unless thawed; a file's is as long as the file."""
        ...

    async def incidents(self, *, limit: int, service: str | None = None) -> Sequence[Sequence[Record]]:
        """The records of the *limit* newest incidents, newest first."""
        ...

    async def incident(self, incident: str) -> Sequence[Record]:
        """The records of one incident; empty if there is none."""
        ...
