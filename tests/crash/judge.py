"""What must be true once everything has come to rest, whatever the daemon died of and how often."""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio

from reviver.actions.command import Command
from reviver.incidents.journal import SqliteJournal
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.incidents import REVIVER, Incident, IncidentState, fold

from .life import APART, Clock, Loop
from .scenes import EITHER, RECOVERED, Scene
from .world import BLIND, World

ORPHANS_WITHIN = 3.0  # seconds of real time until a program that was never let begin must be gone


def judged(scene: Scene, world: World, *, lives: int) -> tuple[list[str], bool]:
    """Everything that is wrong, and whether it was people who were left with it."""
    loop = partial(Loop, lives * APART)
    return anyio.run(partial(_judged, scene, world), backend_options={"loop_factory": loop})


async def _judged(scene: Scene, world: World) -> tuple[list[str], bool]:
    book = SqliteJournal(world.journal, Clock())
    found = await book.incidents(limit=99)
    await book.aclose()
    if len(found) != 1:
        return [f"{len(found)} incidents instead of one"], False
    incident = fold(found[0])
    assert incident is not None
    wrongs = [
        *_end(scene, world, incident),
        *_attempts(scene, incident),
        *_effects(scene, world, found[0]),
        *_integrity(world),
        *(_orphans(world) if any(isinstance(action, Command) for action in scene.steps(world)) else ()),
    ]
    return wrongs, incident.state is IncidentState.ESCALATED


def _end(scene: Scene, world: World, incident: Incident) -> Iterator[str]:
    recovered = incident.state is IncidentState.RECOVERED
    if incident.state not in {IncidentState.RECOVERED, IncidentState.ESCALATED}:
        yield f"lost: the incident ends {incident.state}"
    if recovered != scene.well(world):
        yield f"the incident ends {incident.state}, and the service is {'well' if scene.well(world) else 'ill'}"
    if scene.ends != EITHER and recovered != (scene.ends == RECOVERED):
        yield f"the incident ends {incident.state} ({incident.reason}), which it need not"


def _attempts(scene: Scene, incident: Incident) -> Iterator[str]:
    numbers = [attempt.attempt for attempt in incident.attempts]
    if numbers != sorted(set(numbers)):
        yield f"attempts are numbered {numbers}"
    for attempt in incident.attempts:
        if attempt.outcome is None:
            yield f"attempt {attempt.attempt} has no end"
    acted = Counter(attempt.strategy for attempt in incident.attempts if attempt.by == REVIVER and attempt.steps)
    if max(acted.values(), default=0) > scene.attempts:
        yield f"{dict(acted)} attempts instead of {scene.attempts}"


def _effects(scene: Scene, world: World, records: Sequence[j.Record]) -> Iterator[str]:
    entries = [record.entry for record in records]
    orders = sum(isinstance(entry, j.ApprovalGiven | j.RecoveryOrdered) for entry in entries)
    pids = {str(e.note["pid"]): str(e.attempt) for e in entries if isinstance(e, j.StepNoted) and "pid" in e.note}
    effects = world.effects()
    for action in scene.steps(world):
        name = getattr(action, "name", "run")
        done = [where for what, where in effects if what == name]
        if BLIND in done:
            yield f"{name} was done before its start was on disk"
        if name == "run":
            if set(done) - set(pids):
                yield "a program began before its process was on record"
            done = [pids.get(pid, pid) for pid in done]
        if action.effect is not Effect.IDEMPOTENT and max(Counter(done).values(), default=0) > 1:
            yield f"{name} was done twice in one attempt"
        if action.effect is Effect.DESTRUCTIVE and len(done) > (orders if scene.approve else 1):
            yield f"{name} was done {len(done)} times, with {orders} approvals"


def _integrity(world: World) -> Iterator[str]:
    with closing(sqlite3.connect(world.journal)) as book:
        verdict = book.execute("PRAGMA quick_check").fetchone()[0]
    if verdict != "ok":
        yield f"the journal is damaged: {verdict}"


def _orphans(world: World) -> Iterator[str]:
    give_up = time.monotonic() + ORPHANS_WITHIN
    while left := [pid for pid in _pids() if str(world.file) in _argv(pid)]:
        if time.monotonic() > give_up:
            yield f"still running: {[_argv(pid) for pid in left]}"
            return
        time.sleep(0.005)


def _pids() -> list[str]:
    return [entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def _argv(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
