"""An incident as it reads: folded from its journal records. Pure, so the API, the CLI and a restart see the same."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from . import journal as j
from .faults import NOTHING, FaultKind
from .units import format_duration

REVIVER = "reviver"
"""Who orders an attempt when no person does."""


class IncidentState(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    RECOVERED = "recovered"
    ESCALATED = "escalated"  # handed over to people
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What is known of one step."""

    step: int
    action: str
    description: str
    effect: str
    started_at: float
    notes: tuple[j.JsonMap, ...] = ()
    outcome: j.StepOutcome | None = None
    """``None`` while it runs, or when the daemon died in its middle."""
    seconds: float | None = None
    error: str = ""
    result: j.JsonMap = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """What is known of one attempt."""

    attempt: int
    strategy: str
    by: str
    started_at: float
    started_age: float
    planned: tuple[str, ...] = ()
    """What each step would do; none: it only looks whether an earlier attempt is proven by now."""
    steps: tuple[StepRecord, ...] = ()
    evidence: j.JsonMap = field(default_factory=lambda: NOTHING)
    verification: str = ""
    outcome: str | None = None
    """One of ``ports.Outcome``; ``None`` while it runs, or when the daemon died in its middle."""
    message: str = ""
    seconds: float | None = None
    ended_age: float | None = None
    retry_in: float | None = None
    unproven: bool = False

    @property
    def open_notes(self) -> tuple[j.JsonMap, ...]:
        """What those of its steps have noted whose end nobody has seen."""
        unseen = (step for step in self.steps if step.outcome in {None, j.StepOutcome.INTERRUPTED})
        return tuple(note for step in unseen for note in step.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for approval."""

    strategy: str
    attempt: int
    plan: tuple[str, ...]
    token: str
    requested_at: float
    expires_at: float
    """Unix time."""
    expires_in: float
    """Seconds, from the reading of the journal on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A strategy that would have acted."""

    strategy: str
    at: float
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """From a service going down to its verified recovery, or its hand-over to people."""

    id: str
    service: str
    state: IncidentState
    severity: j.Severity
    impact: tuple[str, ...]
    fault: FaultKind
    """The latest one."""
    message: str
    certain: bool
    failing_since: float
    """Unix time of the first failed question."""
    failing_age: float
    """Seconds since the first failure, or since the last relapse's."""
    noticed_at: float
    """Unix time of the first failed answer."""
    opened_at: float
    """Unix time of the confirmed verdict."""
    confirmed_in: float
    """Seconds from the first failed question to the confirmed verdict."""
    ended_at: float | None = None
    ended_age: float | None = None
    recovered_by: str = ""
    recovered_in: float | None = None
    """Seconds from the first failure to the verified recovery."""
    reason: str = ""
    """Why it was handed over, or is held."""
    stops: str = ""
    """Why reviver does nothing more by itself, whatever the fault; empty if it may."""
    faults: tuple[FaultKind, ...] = ()
    """Every fault that it has shown, in order."""
    relapses: int = 0
    attempts: tuple[AttemptRecord, ...] = ()
    given_up: tuple[str, ...] = ()
    """Strategies that are passed over."""
    observed: tuple["Observation", ...] = ()
    """What would have been done, had it been allowed to do more than observe."""
    approval: "Request | None" = None
    """What waits for a person's word."""
    timeline: tuple[tuple[float, str], ...] = ()
    """Unix time and a sentence, oldest first."""


def fold(records: Iterable[j.Record]) -> Incident | None:
    """The incident that *records* tell of, oldest first; ``None`` if they open none."""
    incident: Incident | None = None
    for record in records:
        if isinstance(record.entry, j.IncidentOpened):
            incident = _opened(record, record.entry)
        elif incident is not None:
            incident = _advanced(incident, record)
        if incident is not None:
            incident = replace(incident, timeline=(*incident.timeline, (record.at, sentence(record.entry))))
    return incident


def _opened(record: j.Record, entry: j.IncidentOpened) -> Incident:
    return Incident(
        id=entry.incident,
        service=entry.service,
        state=IncidentState.OPEN,
        severity=entry.severity,
        impact=tuple(entry.impact),
        fault=entry.fault,
        message=entry.message,
        certain=entry.certain,
        faults=(entry.fault,),
        failing_since=record.at - entry.failing_for,
        failing_age=record.age + entry.failing_for,
        noticed_at=record.at - entry.noticed_ago,
        opened_at=record.at,
        confirmed_in=entry.failing_for,
    )


def _advanced(incident: Incident, record: j.Record) -> Incident:
    match record.entry:
        case j.IncidentReopened() as e:
            return replace(
                incident,
                state=IncidentState.OPEN,
                fault=e.fault,
                message=e.message,
                certain=e.certain,
                failing_age=record.age + e.failing_for,
                ended_at=None,
                ended_age=None,
                relapses=incident.relapses + 1,
                recovered_by="",
                recovered_in=None,
                observed=(),
            )
        case j.FaultChanged() as e:
            seen = (*incident.faults, e.fault)
            return replace(incident, fault=e.fault, message=e.message, certain=e.certain, faults=seen)
        case j.RecoveryHeld() as e:
            return incident if incident.state is IncidentState.ESCALATED else replace(incident, reason=e.reason)
        case j.AttemptStarted() as e:
            attempt = AttemptRecord(
                attempt=e.attempt,
                strategy=e.strategy,
                by=e.by,
                started_at=record.at,
                started_age=record.age,
                planned=tuple(e.steps),
            )
            attempts = (*incident.attempts, attempt)
            if not attempt.planned:  # it only looks again
                return replace(incident, attempts=attempts)
            stops = incident.stops if e.by == REVIVER else ""
            return replace(incident, attempts=attempts, state=IncidentState.OPEN, reason="", stops=stops, approval=None)
        case j.IncidentRecovered() as e:
            return replace(
                incident,
                state=IncidentState.RECOVERED,
                ended_at=record.at,
                ended_age=record.age,
                recovered_by=e.by,
                recovered_in=e.down_for,
                approval=None,
            )
        case j.IncidentEscalated() as e:
            return replace(
                incident,
                state=IncidentState.ESCALATED,
                ended_at=record.at,
                ended_age=record.age,
                reason=e.reason,
                stops=e.stops,
            )
        case j.IncidentWithdrawn() as e:
            return replace(
                incident, state=IncidentState.WITHDRAWN, ended_at=record.at, ended_age=record.age, reason=e.reason
            )
        case _:
            return _planned(incident, record)


def _planned(incident: Incident, record: j.Record) -> Incident:
    """What is asked for, given up, or only observed."""
    match record.entry:
        case j.ApprovalRequested() as e:
            return replace(incident, approval=_request(record, e))
        case j.StrategyAbandoned() as e:
            return replace(incident, given_up=(*incident.given_up, e.strategy), approval=None)
        case j.RecoveryObserved() as e:
            seen = Observation(strategy=e.strategy, at=record.at, age=record.age)
            return replace(incident, observed=(*incident.observed, seen))
        case _:
            return _attempt_advanced(incident, record)


def _request(record: j.Record, entry: j.ApprovalRequested) -> Request:
    return Request(
        strategy=entry.strategy,
        attempt=entry.attempt,
        plan=tuple(entry.plan),
        token=entry.token,
        requested_at=record.at,
        expires_at=record.at + entry.expires_in,
        expires_in=entry.expires_in - record.age,
    )


def _attempt_advanced(incident: Incident, record: j.Record) -> Incident:
    number = getattr(record.entry, "attempt", None)
    attempts = tuple(_attempt_with(a, record) if a.attempt == number else a for a in incident.attempts)
    return replace(incident, attempts=attempts)


def _attempt_with(attempt: AttemptRecord, record: j.Record) -> AttemptRecord:
    match record.entry:
        case j.EvidenceTaken() as e:
            return replace(attempt, evidence=e.evidence)
        case j.StepStarted() as e:
            step = StepRecord(
                step=e.step,
                action=e.action,
                description=e.description,
                effect=e.effect,
                started_at=record.at,
            )
            return _with_step(attempt, step)
        case j.StepNoted() as e:
            return _with_step(
                attempt, *(replace(s, notes=(*s.notes, e.note)) for s in attempt.steps if s.step == e.step)
            )
        case j.StepEnded() as e:
            ended = (
                replace(s, outcome=e.outcome, seconds=e.seconds, error=e.error, result=e.result)
                for s in attempt.steps
                if s.step == e.step
            )
            return _with_step(attempt, *ended)
        case j.VerificationEnded() as e:
            return replace(attempt, verification=e.message)
        case j.AttemptEnded() as e:
            return replace(
                attempt,
                outcome=e.outcome,
                message=e.message,
                seconds=e.seconds,
                ended_age=record.age,
                retry_in=e.retry_in,
                unproven=e.unproven,
            )
        case _:
            return attempt


def _with_step(attempt: AttemptRecord, *steps: StepRecord) -> AttemptRecord:
    """*attempt* with *steps* put in, each in place of the one of its number."""
    by_number = {s.step: s for s in (*attempt.steps, *steps)}
    return replace(attempt, steps=tuple(by_number[number] for number in sorted(by_number)))


_VERDICTS = {
    j.Verdict.NOT_NEEDED: "was not needed: the same process came back by itself",
    j.Verdict.DONE_BY_OTHERS: "was done by others: the process was replaced, and it came back",
    j.Verdict.CAME_BACK: "was not done; the service came back, by itself or by others",
}


def sentence(entry: j.Entry) -> str:  # noqa: C901, PLR0912  one case per entry
    """*entry* as a line of the timeline."""
    match entry:
        case j.IncidentOpened() as e:
            return f"{e.service} is down: {e.fault}: {e.message}"
        case j.IncidentReopened() as e:
            return f"{e.service} fell again: {e.fault}: {e.message}"
        case j.FaultChanged() as e:
            return f"the fault is now {e.fault}: {e.message}"
        case j.RecoveryHeld() as e:
            return f"recovery held: {e.reason}"
        case j.RecoveryPlanned() as e:
            return f"{e.reason}: {format_duration(e.due_in)} more"
        case j.ApprovalRequested() as e:
            return f'people are asked to approve "{e.strategy}" within {format_duration(e.expires_in)}'
        case j.ApprovalGiven() as e:
            return f'{e.by} approved "{e.strategy}"'
        case j.StrategyAbandoned() as e:
            return f'"{e.strategy}" is given up: {e.reason}'
        case j.RecoveryObserved() as e:
            would = "would have asked people to approve" if e.asking else "would have started"
            return f'{would} "{e.strategy}", but only observes: {"; ".join(e.plan)}'
        case j.ObservationJudged() as e:
            return f'"{e.strategy}" {_VERDICTS[e.verdict]}, {format_duration(e.seconds)} after it would have acted'
        case j.AttemptStarted() as e:
            return f'attempt {e.attempt} started: strategy "{e.strategy}", ordered by {e.by}'
        case j.EvidenceTaken():
            return "evidence taken before the first step"
        case j.StepStarted() as e:
            return f"step {e.step + 1}: {e.description}"
        case j.StepNoted() as e:
            return f"step {e.step + 1} noted what it needs to be told apart after a crash"
        case j.StepEnded() as e:
            return f"step {e.step + 1} {e.outcome} after {e.seconds:.2f} s" + (f": {e.error}" if e.error else "")
        case j.VerificationEnded() as e:
            return f"verification {'passed' if e.passed else 'failed'} after {e.seconds:.2f} s: {e.message}"
        case j.AttemptEnded() as e:
            then = "" if e.retry_in is None else f"; next attempt in {e.retry_in:.0f} s"
            return f"attempt {e.attempt} ended: {e.outcome}: {e.message}{then}"
        case j.IncidentRecovered() as e:
            return f"{e.service} recovered by {e.by} after {e.down_for:.2f} s"
        case j.IncidentEscalated() as e:
            return f"handed over to people: {e.reason}"
        case j.IncidentWithdrawn() as e:
            return f"withdrawn: {e.reason}"
        case j.ServicePaused() as e:
            return f"paused by {e.by}: {e.reason}"
        case j.ServiceResumed() as e:
            return f"resumed by {e.by}"
        case j.DaemonFrozen() as e:
            return f"frozen by {e.by}: {e.reason}"
        case j.DaemonThawed() as e:
            return f"thawed by {e.by}"
        case j.RecoveryOrdered() as e:
            return f'{e.by} ordered a recovery ("{e.strategy}")'
        case j.StrategyDemoted() as e:
            return f'"{e.strategy}" is demoted to {e.mode}: {e.reason}'
        case j.StrategyPromoted() as e:
            return f'{e.by} trusts "{e.strategy}" again'
        case j.CauseFound() as e:
            return f'{e.service} broke {e.seconds:.1f} s after "{e.strategy}" of {e.culprit} began to act'
        case _:
            raise TypeError(f"no sentence for {entry!r}")
