"""
Why each decision of an incident was taken, and what comes next, from its journal records alone.

Pure, so that the API and the commands tell the same, of the incident of this night and of that of last year.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reviver.model import journal as j
from reviver.model.faults import JsonValue
from reviver.model.incidents import Incident, IncidentState, fold, sentence
from reviver.model.ports import Outcome
from reviver.model.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """One thing that happened or was decided."""

    at: float
    """Unix time."""
    what: str
    because: tuple[str, ...] = ()
    """What it follows from, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An incident with its reasons."""

    incident: Incident
    decisions: tuple[Reasoned, ...]
    """Oldest first."""
    next: str
    """What comes next, when, and upon what."""
    next_at: float | None
    """Unix time of that, if it is known."""


_SELF_EVIDENT = (j.StepNoted, j.EvidenceTaken)


def explain(records: Sequence[j.Record]) -> Explanation | None:
    """The explanation of the incident that *records* tell of, oldest first; ``None`` if they open none."""
    incident = fold(records)
    if incident is None:
        return None
    told = [record for record in records if not isinstance(record.entry, _SELF_EVIDENT)]
    decisions = tuple(
        Reasoned(at=record.at, what=sentence(record.entry), because=tuple(_because(record.entry))) for record in told
    )
    following, at = _next(incident, told)
    return Explanation(incident=incident, decisions=decisions, next=following, next_at=at)


def _because(entry: j.Entry) -> Iterable[str]:
    match entry:
        case j.IncidentOpened() | j.IncidentReopened() as e:
            yield from _samples(e)
        case j.AttemptStarted(why=why) if why:
            yield why
        case j.RecoveryHeld() as e:
            yield f'guard "{e.guard}"'
            if e.until_in is not None:
                yield f"looked at again {format_duration(e.until_in)} later"
        case j.ApprovalRequested() as e:
            yield from (f"step {number}: {line}" for number, line in enumerate(e.plan, start=1))
            yield f"the approval is for this plan alone (token {e.token})"
        case j.AttemptEnded(outcome=Outcome.ABORTED | Outcome.HEALED):
            yield "nothing was done, so it isn't held against the strategy"
        case j.IncidentEscalated(stops=stops) if stops:
            yield f"reviver does nothing more by itself ({stops})"


def _samples(entry: j.IncidentOpened | j.IncidentReopened) -> Iterable[str]:
    limits = entry.thresholds
    for sample in entry.samples:
        certain, void = ", certain" if sample.get("certain") else "", sample.get("void")
        line = (
            f"{_seconds(sample.get('ago'))} before: {sample.get('said')}{certain}, after {_seconds(sample.get('took'))}"
        )
        yield f"{line} (void: {void})" if void else line
    if "fall" in limits:
        yield (
            f"{limits['fall']} failures in a row make it down; one took at most {_seconds(limits.get('timeout'))}, "
            f"and the next was asked for {_seconds(limits.get('confirm'))} later"
        )
    yield f"confirmed {format_duration(entry.failing_for)} after the first question that failed"


def _seconds(value: JsonValue) -> str:
    return format_duration(value) if isinstance(value, int | float) else "an unknown time"


def _next(incident: Incident, told: Sequence[j.Record]) -> tuple[str, float | None]:
    match incident.state:
        case IncidentState.RECOVERED:
            return "nothing: it has recovered; should it fall again soon, this incident goes on", None
        case IncidentState.WITHDRAWN:
            return f"nothing: {incident.reason}", None
        case IncidentState.ESCALATED:
            return _next_of_people(incident), None
        case IncidentState.OPEN:
            return _next_of_open(incident, told)


def _next_of_people(incident: Incident) -> str:
    if incident.stops:
        return f"people: {incident.reason}; reviver goes on only at a person's word: reviver recover {incident.service}"
    return (
        f"people: {incident.reason}; reviver goes on watching, and acts again if the fault changes to one that a "
        f"strategy answers, after the service's retry_after, or at a person's word: reviver recover {incident.service}"
    )


def _next_of_open(incident: Incident, told: Sequence[j.Record]) -> tuple[str, float | None]:
    if incident.attempts and incident.attempts[-1].outcome is None:
        attempt = incident.attempts[-1]
        return f'attempt {attempt.attempt} ("{attempt.strategy}") comes to its end', None
    if incident.approval is not None:
        asked = incident.approval
        approves = f'a person approves "{asked.strategy}" (reviver approve {incident.service}) or denies it'
        return f"{approves}; without a word it is handed over", asked.expires_at
    for record in reversed(told):
        match record.entry:
            case j.RecoveryPlanned() as e:
                what = f'"{e.strategy}" acts' if e.strategy else "it is handed over to people"
                return f"{what}, if the fault still lasts then and no guard speaks", record.at + e.due_in
            case j.RecoveryHeld() as e:
                at = None if e.until_in is None else record.at + e.until_in
                again = "it is looked at again then" if at is not None else "it is looked at again once that changes"
                return f"held: {e.reason}; {again}", at
            case j.AttemptEnded(retry_in=float(retry_in)):
                return "the next attempt, if the fault still lasts then and no guard speaks", record.at + retry_in
            case j.AttemptEnded() | j.IncidentOpened() | j.IncidentReopened():
                break
    return "the next answers of the check: the same fault must be seen often enough in a row", None
