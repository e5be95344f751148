"""The whole of a replay: read, driven, judged, counted."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

from reviver.model import journal as j
from reviver.model.incidents import REVIVER, Incident, IncidentState, fold
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Service
from reviver.model.units import format_duration

from .driver import Driver
from .judging import NOT_DONE, Judged, Verdict, during, judged
from .past import Gap, Outage, Past
from .reading import read

STEPS_TAKE = 3.0  # seconds that the steps of a strategy are taken to last that was never carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a daemon made of the time."""

    incidents: int
    left_alone: int
    """Failures that passed without an incident."""
    attempts: Mapping[str, int]
    """Those that came to a step, by strategy."""
    observed: int
    """Attempts that the settings only let it tell of."""
    needless: int | None
    """Attempts upon what came back by itself; ``None``: what was done can't be told from what wasn't needed."""
    held: Mapping[str, int]
    """By guard."""
    handed_over: int
    detected_p50: float | None
    """Seconds from the beginning of a failure to its incident."""
    detected_p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One incident that would have been, or a recorded one that would not."""

    service: str
    since: float
    """When the failure began."""
    fault: str
    noticed_after: float | None
    """Seconds to the first failed answer; ``None``: there would have been no incident."""
    actions: Sequence[Judged]
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What other settings would have made of a past."""

    since: float
    until: float
    incidents: Sequence[Told]
    then: Totals
    now: Totals
    gaps: Sequence[Gap]
    without_history: Sequence[str]
    """Services of the settings that the history doesn't know."""
    not_in_settings: Sequence[str]
    """Services of the history that the settings don't name."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What one of the two daemons wrote."""

    records: Sequence[j.Record]
    incidents: Sequence[Incident]
    spans: Mapping[str, Sequence[tuple[float, float]]]
    """From when to when incidents were open, by service."""

    def minds(self, outage: Outage) -> bool:
        """Whether *outage* is part of an incident."""
        until = float("inf") if outage.until is None else outage.until
        return any(since <= until and outage.since <= end for since, end in self.spans.get(outage.service, ()))


def replay(
    journal: Path,
    services: Mapping[str, Service],
    policy: DaemonPolicy,
    *,
    last: float,
    only: Collection[str] = (),
    redact: Redactor | None = None,
) -> Report:
    """
    What *services* under *policy* would have made of the *last* seconds that *journal* tells of; told of *only* some.

    Raises:
        JournalError: The journal can't be read, or holds no history.
    """
    past = read(journal, last=last)
    driver = Driver(services, policy, past.truths, steps_take=_steps_take(past), redact=redact or Redactor())
    driver.run(since=past.since, until=past.until, orders=past.orders)
    told = [name for name in services if name in past.truths and (not only or name in only)]
    then, now = _side(past.records, told), _side(driver.records, told)
    outages = {name: _within(past.truths[name].outages(), past.since) for name in told}
    incidents = [_would_be(incident, outages[incident.service], then) for incident in now.incidents]
    incidents += [_not_any_more(i, outages[i.service]) for i in then.incidents if not _in(i, outages[i.service], now)]
    needless = sum(a.verdict is Verdict.NEEDLESS and not a.observed for each in incidents for a in each.actions)
    return Report(
        since=past.since,
        until=past.until,
        incidents=sorted(incidents, key=lambda each: each.since),
        then=_totals(then, outages, needless=None),
        now=_totals(now, outages, needless=needless),
        gaps=sorted((gap for name in told for gap in past.truths[name].gaps()), key=lambda gap: gap.since),
        without_history=[name for name in services if name not in past.truths],
        not_in_settings=[name for name in past.truths if name not in services],
    )


def _steps_take(past: Past) -> Callable[[str, str], float]:
    """How long the steps of a service's strategy last: as recorded there, or else anywhere."""
    recorded: dict[tuple[str, str], list[float]] = defaultdict(list)
    for incident in _incidents(past.records):
        for attempt in incident.attempts:
            if attempt.steps and all(step.seconds is not None for step in attempt.steps):
                seconds = sum(step.seconds or 0.0 for step in attempt.steps)
                recorded[incident.service, attempt.strategy].append(seconds)
                recorded["", attempt.strategy].append(seconds)

    def take(service: str, strategy: str) -> float:
        found = recorded.get((service, strategy)) or recorded.get(("", strategy))
        return median(found) if found else STEPS_TAKE

    return take


def _incidents(records: Sequence[j.Record]) -> list[Incident]:
    by_incident: dict[str, list[j.Record]] = defaultdict(list)
    for record in records:
        if record.entry.incident:
            by_incident[record.entry.incident].append(record)
    return [incident for each in by_incident.values() if (incident := fold(each)) is not None]


def _side(records: Sequence[j.Record], services: Collection[str]) -> _Side:
    own = [record for record in records if record.entry.service in services]
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in own:
        name = record.entry.service
        match record.entry:
            case j.IncidentOpened() | j.IncidentReopened():
                spans[name].append((record.at, float("inf")))
            case j.IncidentRecovered() | j.IncidentWithdrawn() if spans[name]:
                spans[name][-1] = (spans[name][-1][0], record.at)
            case _:
                pass
    return _Side(own, _incidents(own), spans)


def _within(outages: Sequence[Outage], since: float) -> list[Outage]:
    return [outage for outage in outages if outage.until is None or outage.until >= since]


def _in(incident: Incident, outages: Sequence[Outage], side: _Side) -> bool:
    """Whether what *incident* was about is part of an incident on the other *side*."""
    outage = during(outages, incident.opened_at)
    return outage is not None and side.minds(outage)


def _would_be(incident: Incident, outages: Sequence[Outage], then: _Side) -> Told:
    outage = during(outages, incident.failing_since)
    since = incident.failing_since if outage is None else outage.since
    recorded = [each for each in then.incidents if each.service == incident.service]
    return Told(
        service=incident.service,
        since=since,
        fault=incident.faults[0].value,
        noticed_after=incident.noticed_at - since,
        actions=judged(incident, outages, recorded),
        outcome=_ending(incident),
    )


def _ending(incident: Incident) -> str:
    match incident.state:
        case IncidentState.ESCALATED:
            return f"handed over: {incident.reason}"
        case IncidentState.RECOVERED:
            relapses = f", fell {incident.relapses} times again" if incident.relapses else ""
            return f"well after {format_duration(incident.recovered_in or 0.0)}{relapses}"
        case _:
            return f"still open at the end{f': {incident.reason}' if incident.reason else ''}"


def _not_any_more(incident: Incident, outages: Sequence[Outage]) -> Told:
    """A recorded incident that would be none."""
    acted = [attempt for attempt in incident.attempts if attempt.steps]
    then = f'; then "{acted[0].strategy}" acted, so how long it would have lasted is not known' if acted else ""
    outage = during(outages, incident.opened_at)
    lasted = (
        "" if outage is None or outage.until is None else f", over after {format_duration(outage.until - outage.since)}"
    )
    return Told(
        service=incident.service,
        since=incident.failing_since if outage is None else outage.since,
        fault=incident.faults[0].value,
        noticed_after=None,
        actions=(),
        outcome=f"left alone{lasted}{then}",
    )


def _totals(side: _Side, outages: Mapping[str, Sequence[Outage]], *, needless: int | None) -> Totals:
    entries = [record.entry for record in side.records]
    attempts = (a for incident in side.incidents for a in incident.attempts if a.by == REVIVER and a.planned)
    seconds = sorted(_detections(side, outages))
    return Totals(
        incidents=len(side.incidents),
        left_alone=sum(not side.minds(outage) for each in outages.values() for outage in each),
        attempts=dict(Counter(attempt.strategy for attempt in attempts if attempt.outcome not in NOT_DONE)),
        observed=sum(isinstance(entry, j.RecoveryObserved) for entry in entries),
        needless=needless,
        held=dict(Counter(entry.guard for entry in entries if isinstance(entry, j.RecoveryHeld))),
        handed_over=sum(isinstance(entry, j.IncidentEscalated) for entry in entries),
        detected_p50=_quantile(seconds, 0.5),
        detected_p99=_quantile(seconds, 0.99),
    )


def _detections(side: _Side, outages: Mapping[str, Sequence[Outage]]) -> list[float]:
    found = []
    for name, spans in side.spans.items():
        for opened_at, _ in spans:
            outage = during(outages[name], opened_at)
            if outage is not None:
                found.append(opened_at - outage.since)
    return found


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest rank."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
