"""What would have been done, held against what came of it, and against what was done."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reviver.model.incidents import REVIVER, AttemptRecord, Incident, IncidentState
from reviver.model.ports import Outcome
from reviver.model.units import format_duration

from .past import Outage

NOT_DONE = frozenset({Outcome.HEALED.value, Outcome.ABORTED.value})
"""Outcomes of attempts that came to no step."""


PEOPLE_TAKE = 60.0  # seconds; what was well again sooner after it was handed over to people was not their doing


class Verdict(StrEnum):
    """Whether an attempt that wasn't made was wanted, as far as the record tells."""

    NEEDLESS = "needless"  # it came back by itself
    RECORDED_TOO = "recorded daemon acted"
    PEOPLE = "people"  # a person acted, or had it
    LASTED = "lasted"  # nobody acted, and it lasted
    NOTHING_DONE = "nothing done"  # it would have ended before its first step
    UNTOLD = "can't be told"  # nobody looked when it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One attempt (or what would only have been observed) and what to think of it."""

    strategy: str
    at: float
    observed: bool
    """Whether the settings would only have told of it."""
    verdict: Verdict
    why: str


def judged(now: Incident, outages: Sequence[Outage], then: Sequence[Incident]) -> list[Judged]:
    """Each would-be attempt of the incident *now*, given what is recorded of its service."""
    found = [_attempt(attempt, outages, then) for attempt in now.attempts if attempt.planned]
    found += [_action(seen.strategy, seen.at, outages, then, observed=True) for seen in now.observed]
    return sorted(found, key=lambda each: each.at)


def during(outages: Sequence[Outage], moment: float) -> Outage | None:
    """The outage under way at *moment*, or else the last one before."""
    return max((o for o in outages if o.since <= moment), key=lambda o: o.since, default=None)


def _attempt(attempt: AttemptRecord, outages: Sequence[Outage], then: Sequence[Incident]) -> Judged:
    if attempt.outcome in NOT_DONE:
        return Judged(
            strategy=attempt.strategy,
            at=attempt.started_at,
            observed=False,
            verdict=Verdict.NOTHING_DONE,
            why=f"nothing done: {attempt.message}",
        )
    return _action(attempt.strategy, attempt.started_at, outages, then, observed=False)


def _action(strategy: str, at: float, outages: Sequence[Outage], then: Sequence[Incident], *, observed: bool) -> Judged:
    verdict, why = _verdict(at, during(outages, at), then)
    return Judged(strategy=strategy, at=at, observed=observed, verdict=verdict, why=why)


def _verdict(at: float, outage: Outage | None, then: Sequence[Incident]) -> tuple[Verdict, str]:
    if outage is None:
        return Verdict.UNTOLD, "the record shows no failure then"
    made = sorted(
        (a for incident in then for a in incident.attempts if a.steps and outage.contains(a.started_at)),
        key=lambda attempt: attempt.started_at,
    )
    if made:
        return _made(at, made[0])
    if outage.until is None:
        return Verdict.LASTED, "nobody acted; it lasted until the history ends"
    if outage.unseen:
        return Verdict.UNTOLD, "it came back while nobody looked"
    came_back = f"{format_duration(max(0.0, outage.until - at))} later"
    theirs = [i for i in then if i.opened_at <= outage.until and _handed_over(i) <= outage.until - PEOPLE_TAKE]
    if theirs:
        return Verdict.PEOPLE, f"it was handed over to people, and was well {came_back}"
    return Verdict.NEEDLESS, f"needless: it came back by itself {came_back}"


def _made(at: float, attempt: AttemptRecord) -> tuple[Verdict, str]:
    seconds = attempt.started_at - at
    when = f"{format_duration(abs(seconds))} {'later' if seconds >= 0 else 'earlier'}"
    if attempt.by == REVIVER:
        return Verdict.RECORDED_TOO, f'the recorded daemon acted, too ("{attempt.strategy}"), {when}'
    return Verdict.PEOPLE, f'{attempt.by} acted ("{attempt.strategy}"), {when}'


def _handed_over(incident: Incident) -> float:
    """When *incident* was handed over to people; never: infinity."""
    if incident.state is IncidentState.ESCALATED and incident.ended_at is not None:
        return incident.ended_at
    told = (at for at, text in incident.timeline if text.startswith("handed over"))
    return next(told, float("inf"))
