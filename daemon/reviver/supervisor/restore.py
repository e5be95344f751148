"""
What an earlier life of the daemon left behind: open incidents, attempts in flight, pauses, spent budgets.

An open incident is gone on with once the check has confirmed anew that the service is down. An attempt that was under
way is resumed at once: its steps are told apart by ``recovery``, which first looks whether the service is still ill.
"""

from collections.abc import Callable
from dataclasses import replace

from reviver.clients import process
from reviver.core import decide
from reviver.core.health import Belief
from reviver.core.ladder import Ladder
from reviver.core.trust import WINDOW
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.faults import Fault
from reviver.model.health import Health
from reviver.model.incidents import REVIVER, AttemptRecord, Incident, IncidentState, fold
from reviver.model.ports import Outcome
from reviver.model.services import Service

from .supervisor import Supervisor
from .surroundings import Use
from .watched import Watched

USES_WITHIN = 31 * 86400.0  # seconds; no budget looks further back

NOT_COUNTED = {Outcome.ABORTED.value, Outcome.HEALED.value}

Resume = Callable[[], None]


async def restore(supervisor: Supervisor, journal: j.Journal) -> list[Resume]:
    """
    Take over what *journal* tells; returns what is to be called once the supervisor runs, to resume attempts.

    Raises:
        JournalError: It can't be read.
    """
    now = supervisor.clock.monotonic()
    resumes: list[Resume] = []
    for name, records in (await journal.unfinished()).items():
        incident = fold(records)
        if incident is None:
            continue
        watched = supervisor.watched.get(name)
        if watched is not None:
            resumes.extend(await _restored(supervisor, watched, incident, now=now))
        elif incident.state is not IncidentState.RECOVERED:
            await _withdrawn(supervisor, incident)
    supervisor.used(await _uses(journal, now=now))
    supervisor.consequences.restore(await journal.history_since(WINDOW), await journal.demotions())
    for name, pause in (await journal.pauses()).items():
        if name in supervisor.watched and isinstance(pause.entry, j.ServicePaused):
            until = supervisor.clock.wall() + j.pause_left(pause)  # by the date as it is set now
            supervisor.paused(supervisor.watched[name], replace(pause.entry, until=until))
    await _remember_falls(supervisor, journal, now=now)
    frozen = await journal.frozen()
    if frozen is not None:
        supervisor.was_frozen(by=frozen.by, reason=frozen.reason)
    return resumes


async def _remember_falls(supervisor: Supervisor, journal: j.Journal, *, now: float) -> None:
    within = {name: watched.service.flapping.within for name, watched in supervisor.watched.items()}
    falls: dict[str, list[float]] = {}
    for record in await journal.falls_since(max(within.values(), default=0.0)):
        name = record.entry.service
        if record.age < within.get(name, 0.0):
            falls.setdefault(name, []).append(now - record.age)
    for name, moments in falls.items():
        supervisor.fell(supervisor.watched[name], moments)


async def _uses(journal: j.Journal, *, now: float) -> list[Use]:
    records = await journal.attempts_since(USES_WITHIN)
    return [
        Use(at=now - record.age, service=record.entry.service, strategy=record.entry.strategy)
        for record in records
        if isinstance(record.entry, j.AttemptStarted) and record.entry.by == REVIVER
    ]


async def _restored(supervisor: Supervisor, watched: Watched, incident: Incident, *, now: float) -> list[Resume]:
    flying, asked = _in_flight(incident), incident.approval
    strategy = next((s for s in watched.service.strategies if flying is not None and s.name == flying.strategy), None)
    trouble = decide.Trouble(
        since=now - incident.failing_age,
        faults=frozenset(incident.faults),
        ladder=_ladder(incident, watched.service, now=now),
        attempts=max((attempt.attempt for attempt in incident.attempts), default=0),
        running=flying.strategy if flying is not None and strategy is not None else "",
        handed_over=_handed_over(incident),
        held_reason=f"handed over to people: {incident.reason}" if incident.state is IncidentState.ESCALATED else "",
        stop=_stop(incident),
        escalated_at=_ended(incident, IncidentState.ESCALATED, now),
        recovered_at=_ended(incident, IncidentState.RECOVERED, now),
        cured_by=incident.recovered_by if incident.recovered_by != decide.ITSELF else "",
        approval=None if asked is None else decide.Asked(asked.strategy, now + asked.expires_in),
        observed=tuple((each.strategy, now - each.age) for each in incident.observed),
        unproven=_unproven(incident),
    )
    if flying is None:
        supervisor.restored(watched, trouble=trouble, incident=incident.id, belief=None)
        return []
    if strategy is None:
        unclear = await _dropped(supervisor, incident, flying)
        trouble = replace(trouble, stop=decide.Stop.UNCLEAR if unclear else trouble.stop)
        supervisor.restored(watched, trouble=trouble, incident=incident.id)
        return []
    fault = Fault(kind=incident.fault, message=incident.message)
    belief = Belief(
        health=Health.RECOVERING, since=now, failing_since=trouble.since, fault=fault, fault_at=now - flying.started_age
    )
    supervisor.restored(watched, trouble=trouble, incident=incident.id, belief=belief)
    planned = strategy if flying.planned else replace(strategy, steps=())
    start = decide.Start(planned, flying.attempt, fault, flying.by)
    return [lambda: supervisor.go_on(watched, start, flying)]


def _in_flight(incident: Incident) -> AttemptRecord | None:
    """The attempt in whose middle the earlier life ended."""
    last = incident.attempts[-1] if incident.attempts else None
    # One that only looks again leaves the incident with people.
    open_still = incident.state in {IncidentState.OPEN, IncidentState.ESCALATED}
    return last if last is not None and last.outcome is None and open_still else None


def _unproven(incident: Incident) -> str:
    """The strategy whose help is not proven yet, whatever was tried after it in the same fall."""
    of_this_fall = (attempt for attempt in reversed(incident.attempts) if attempt.started_age <= incident.failing_age)
    return next((attempt.strategy for attempt in of_this_fall if attempt.unproven), "")


async def _withdrawn(supervisor: Supervisor, incident: Incident) -> None:
    """The settings no longer name the incident's service; what may be half done is people's to know."""
    flying = _in_flight(incident)
    reason = "its service is no longer in the settings"
    if flying is not None and await _dropped(supervisor, incident, flying):
        reason += "; a step that can't be brought back was begun, and may be half done: look at it"
        supervisor.scribe.record(j.IncidentEscalated(service=incident.service, incident=incident.id, reason=reason))
    supervisor.scribe.record(j.IncidentWithdrawn(service=incident.service, incident=incident.id, reason=reason))


async def _dropped(supervisor: Supervisor, incident: Incident, flying: AttemptRecord) -> bool:
    """
    End an attempt whose strategy the settings no longer have; whether people must look.

    They must if it began what can't be brought back, for it might be done again under another name. Programs that it
    left running are ended: nothing may work on the service unseen, beside the next attempt.
    """
    unclear = any(step.effect == Effect.DESTRUCTIVE.value for step in flying.steps)
    try:
        await process.end_noted(flying.open_notes)
    except OSError:
        unclear = True
    supervisor.scribe.record(
        j.AttemptEnded(
            service=incident.service,
            incident=incident.id,
            attempt=flying.attempt,
            strategy=flying.strategy,
            outcome=(Outcome.UNCLEAR if unclear else Outcome.FAILED).value,
            message="its strategy is no longer in the settings; what its steps did is not verified",
            seconds=flying.started_age,
        )
    )
    return unclear


def _stop(incident: Incident) -> decide.Stop:
    if incident.attempts and incident.attempts[-1].outcome == Outcome.UNCLEAR.value:
        return decide.Stop.UNCLEAR  # even if the daemon died before it could hand over
    return decide.Stop(incident.stops)


def _handed_over(incident: Incident) -> frozenset[str]:
    """For what people were told, as far as it matters: of the latest fault, and of a stop."""
    if incident.state is not IncidentState.ESCALATED:
        return frozenset()
    unproven = {decide.UNPROVEN} if _unproven(incident) else set()
    return frozenset({incident.fault.value, "", *unproven})


def _ladder(incident: Incident, service: Service, *, now: float) -> Ladder:
    ladder = Ladder(given_up=frozenset(incident.given_up))
    for attempt in incident.attempts:
        if attempt.outcome not in NOT_COUNTED:
            ladder = ladder.counted(attempt.strategy)
    last = incident.attempts[-1] if incident.attempts else None
    if last is None or last.ended_age is None:
        return ladder
    pause = service.cooldown if last.outcome == Outcome.RECOVERED.value else last.retry_in
    return ladder if pause is None else replace(ladder, not_before=now - last.ended_age + pause)


def _ended(incident: Incident, state: IncidentState, now: float) -> float | None:
    return now - incident.ended_age if incident.state is state and incident.ended_age is not None else None
