"""
What an earlier life of the daemon left behind: open incidents, attempts in flight, pauses, spent budgets.

An open incident is gone on with once the check has confirmed anew that the service is down. An attempt that was under
way is resumed at once: its steps are told apart by ``recovery``, which first looks whether the service is still ill.
"""

from collections.abc import Callable

from reviver.core import decide
from reviver.core.health import Belief
from reviver.core.ladder import Ladder
from reviver.model import journal as j
from reviver.model.faults import Fault
from reviver.model.health import Health
from reviver.model.incidents import Incident, IncidentState, fold
from reviver.model.ports import Outcome

from .supervisor import Supervisor
from .surroundings import Use
from .watched import Watched

USES_WITHIN = 31 * 86400.0  # seconds; no budget looks further back

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
            resumes.extend(_restored(supervisor, watched, incident, now=now))
        elif incident.state is not IncidentState.RECOVERED:
            reason = "its service is no longer in the settings"
            await supervisor.scribe.record(j.IncidentWithdrawn(service=name, incident=incident.id, reason=reason))
    supervisor.used(await _uses(journal, now=now))
    for name, pause in (await journal.pauses()).items():
        if name in supervisor.watched:
            supervisor.paused(supervisor.watched[name], until=pause.until)
    return resumes


async def _uses(journal: j.Journal, *, now: float) -> list[Use]:
    records = await journal.attempts_since(USES_WITHIN)
    return [
        Use(at=now - record.age, service=record.entry.service, strategy=record.entry.strategy)
        for record in records
        if isinstance(record.entry, j.AttemptStarted) and record.entry.by == decide.REVIVER
    ]


def _restored(supervisor: Supervisor, watched: Watched, incident: Incident, *, now: float) -> list[Resume]:
    flying = next((attempt for attempt in incident.attempts if attempt.outcome is None), None)
    strategy = next((s for s in watched.service.strategies if flying and s.name == flying.strategy), None)
    trouble = decide.Trouble(
        since=now - incident.failing_age,
        faults=frozenset({incident.fault}),
        ladder=_ladder(incident, now=now),
        attempts=max((attempt.attempt for attempt in incident.attempts), default=0),
        running=flying.strategy if flying is not None and strategy is not None else "",
        escalated_at=_ended(incident, IncidentState.ESCALATED, now),
        recovered_at=_ended(incident, IncidentState.RECOVERED, now),
    )
    if flying is None or strategy is None:
        supervisor.restored(watched, trouble=trouble, incident=incident.id, belief=None)
        return []
    fault = Fault(kind=incident.fault, message=incident.message)
    belief = Belief(
        health=Health.RECOVERING, since=now, failing_since=trouble.since, fault=fault, fault_at=now - flying.started_age
    )
    supervisor.restored(watched, trouble=trouble, incident=incident.id, belief=belief)
    start = decide.Start(strategy, flying.attempt, fault, flying.by)
    return [lambda: supervisor.go_on(watched, start, flying)]


def _ladder(incident: Incident, *, now: float) -> Ladder:
    ladder = Ladder()
    for attempt in incident.attempts:
        if attempt.outcome != Outcome.ABORTED.value:
            ladder = ladder.counted(attempt.strategy)
    last = incident.attempts[-1] if incident.attempts else None
    if last is None or last.retry_in is None or last.ended_age is None:
        return ladder
    return Ladder(attempts=ladder.attempts, not_before=now - last.ended_age + last.retry_in)


def _ended(incident: Incident, state: IncidentState, now: float) -> float | None:
    return now - incident.ended_age if incident.state is state and incident.ended_age is not None else None
