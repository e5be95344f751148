"""
The promises, held by the whole heart in virtual time: services that fall ill and heal, a disk that fills, people who
pause and order, settings that come and go, and a daemon that is killed, all at any moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import anyio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fakes import HANG, Act, Answer, Life, Stage, Target, service, strategy
from reviver.model import journal as j
from reviver.model.actions import ActionContext, Effect, Reconciled
from reviver.model.control import ControlRefused
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.incidents import REVIVER, IncidentState, fold
from reviver.model.services import Budget, DaemonPolicy, Service
from virtual import VirtualLoop, stall

ILL, MISSING = FaultKind.UNREACHABLE, FaultKind.DATABASE_MISSING
CERTAIN = Fault(kind=ILL, message="its process is gone", certain=True)
OVERALL = Budget(attempts=4, per=300.0)
NAMES = ("db", "api", "web")
NEEDS = {"db": (), "api": ("db",), "web": ("api",)}

ANSWERS: list[Answer] = [ILL, ILL, CERTAIN, MISSING, FaultKind.STARTING_UP, "can't tell", HANG, KeyError("bug"), None]
Doing = tuple[str, object, object]


def happening(random: Random) -> Doing:
    """Something that happens: mostly an illness, now and then anything else."""
    name = random.choice(NAMES)
    if random.random() < 0.45:
        return "ill", name, random.choice(ANSWERS)
    match random.choice(["well", "pause", "resume", "order", "disk", "stall", "reload", "kill", "kill"]):
        case "pause":
            return "pause", name, random.choice([20.0, 100.0])
        case "disk":
            return "disk", random.choice(["", "the disk is full"]), random.choice([0.0, 0.0, 0.5, 30.0])
        case "stall":
            return "stall", random.choice([0.3, 3.0]), None
        case "reload":
            return "reload", set(random.sample(NAMES, random.choice([1, 2, 3, 3]))), random.choice([1.0, 5.0])
        case "kill":
            return "kill", random.choice([0.0, 30.0]), None
        case what:
            return what, name, None


def story(seed: int) -> list[tuple[float, Doing]]:
    """What happens, and how long after what happened before; the same for the same *seed*."""
    random = Random(seed)
    pauses = [0.0, 1.0, 5.0, 15.0, 40.0, 40.0]
    return [(random.choice(pauses), happening(random)) for _ in range(random.randrange(5, 40))]


@dataclass
class Patient:
    """One service of the world: its target, its actions, and whether it is touched as promised."""

    world: "World"
    target: Target
    gentle: Act = field(init=False)
    harsh: Act = field(init=False)

    def __post_init__(self) -> None:
        self.gentle = Watched(name="gentle", takes=1.0, patient=self, effect=Effect.IDEMPOTENT)
        self.harsh = Watched(name="harsh", takes=4.0, patient=self, effect=Effect.DESTRUCTIVE)

    def service(self, *, interval: float) -> Service:
        return service(
            self.target,
            strategy(self.gentle, name="gentle", attempts=1, after=2.0, verify_within=5.0),
            strategy(self.gentle, self.harsh, name="harsh", attempts=2, after=5.0, verify_within=5.0, faults=[MISSING]),
            depends_on=NEEDS[self.target.name],
            interval=interval,
            stable=30.0,
            patience=60.0,
        )


@dataclass(eq=False, kw_only=True)
class Watched(Act):
    """An action that looks around whenever it is run."""

    patient: Patient
    undone: int = 0
    """Runs in whose middle the daemon was killed and whose effect nobody knows."""

    async def run(self, context: ActionContext) -> dict[str, JsonValue]:
        world, target = self.patient.world, self.patient.target
        world.allow(self, target.name)
        world.acting.append(target.name)
        self.undone += 1
        try:
            await anyio.sleep(self.takes)
        finally:
            world.acting.remove(target.name)
        self.undone -= 1
        if world.helps:
            target.becomes(None)
        return {}


class World:
    """Three services on each other's shoulders, and the book of what was promised to them."""

    def __init__(self, *, helps: bool) -> None:
        self.stage = Stage()
        self.helps = helps
        self.acting: list[str] = []
        self.patients = {name: Patient(self, Target(name)) for name in NAMES}
        self.present: set[str] = set(NAMES)
        self.interval = 5.0
        self.ill_since: dict[str, float] = {}
        self.life: Life | None = None
        for patient in self.patients.values():
            patient.harsh.became = Reconciled.UNKNOWN

    def allow(self, action: "Watched", name: str) -> None:
        """Whether a step may begin now."""
        now, entries = anyio.current_time(), self.stage.journal.entries
        mine = [entry for entry in entries if entry.service == name]
        last = mine[-1]
        assert isinstance(last, j.StepStarted), "acted before its start was on disk"
        assert self.acting == [], "two at once"
        assert self.life is not None
        watched = self.life.watched[name]
        paused = watched.pause is not None and watched.pause.until > self.stage.clock.wall()
        assert not paused, "acted on what a person has paused"
        assert action.effect is not Effect.DESTRUCTIVE or not action.undone, "repeated blindly what may have happened"
        started = next(entry for entry in reversed(mine) if isinstance(entry, j.AttemptStarted))
        if started.by != REVIVER:
            return
        for needed in watched.service.depends_on:
            if needed in self.present:
                assert now - self.ill_since.get(needed, now) < 5.0, f"acted on {name} while {needed} was down"

    # -------------------------------------------------------------------------------------------- what happens to it

    def services(self) -> list[Service]:
        return [self.patients[name].service(interval=self.interval) for name in NAMES if name in self.present]

    async def play(self, story: Sequence[tuple[float, Doing]]) -> None:
        pieces: list[list[tuple[float, Doing]]] = [[]]
        for moment in story:
            pieces[-1].append(moment)
            if moment[1][0] == "kill":
                pieces.append([])
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            live = self.stage.life if last else self.stage.killed_life
            async with live(*self.services(), policy=DaemonPolicy(budget=OVERALL)) as self.life:
                for pause, (what, which, how) in piece:
                    await anyio.sleep(pause)
                    await self.happens(self.life, what, which, how)
                if last:
                    await self.calm(self.life)
            if not last:
                await anyio.sleep(float(piece[-1][1][1]))  # type: ignore[arg-type]

    async def happens(self, life: Life, what: str, which: object, how: object) -> None:
        match what, which, how:
            case "ill", str(name), _:
                self.patients[name].target.becomes(how)
                if how is None or not isinstance(how, FaultKind | Fault):
                    self.ill_since.pop(name, None)
                else:
                    self.ill_since.setdefault(name, anyio.current_time())
            case "well", str(name), _:
                self.patients[name].target.becomes(None)
                self.ill_since.pop(name, None)
            case "pause" | "resume" | "order", str(name), _ if name in life.watched:
                await self.people(life, what, name, how)
            case "disk", str(error), float(slow):
                self.stage.journal.error, self.stage.journal.slow = error, slow
            case "stall", float(seconds), _:
                stall(seconds)
            case "reload", set(present), float(interval):
                self.present, self.interval = {str(name) for name in present}, interval
                life.replace_services({each.name: each for each in self.services()}, life.policy)
            case _:
                pass

    async def people(self, life: Life, what: str, name: str, how: object) -> None:
        try:
            match what:
                case "pause":
                    await life.control.pause([name], by="ann", reason="", seconds=float(how))  # type: ignore[arg-type]
                case "resume":
                    await life.control.resume([name], by="ann")
                case _:
                    await life.control.recover(name, by="ann", strategy=None, dry_run=False)
        except ControlRefused:
            pass

    async def calm(self, life: Life) -> None:
        """All is well for long: then all must be up, and every incident closed."""
        self.stage.journal.error, self.stage.journal.slow = "", 0.0
        for patient in self.patients.values():
            patient.target.becomes(None)
        await anyio.sleep(400)
        assert {name: life.health(name) for name in life.watched} == dict.fromkeys(life.watched, "up")
        assert not any(watched.running for watched in life.watched.values())

    # ------------------------------------------------------------------------------------------------ at the very end

    async def prove(self) -> None:
        journal = self.stage.journal
        for records in await journal.incidents(limit=10_000):
            incident = fold(records)
            assert incident is not None
            assert incident.state in {IncidentState.RECOVERED, IncidentState.WITHDRAWN}
            assert all(attempt.outcome for attempt in incident.attempts), "an attempt without an end"
            numbers = [attempt.attempt for attempt in incident.attempts]
            assert numbers == sorted(set(numbers)), "two attempts of one number"
        self._prove_the_budget()

    def _prove_the_budget(self) -> None:
        acted = {(entry.incident, entry.attempt) for entry in self.stage.of(j.StepStarted)}
        at = [
            written.at
            for written in self.stage.journal.written
            if isinstance(written.entry, j.AttemptStarted)
            and written.entry.by == REVIVER
            and (written.entry.incident, written.entry.attempt) in acted
        ]
        for first in at:
            assert sum(first <= other < first + OVERALL.per - 1.0 for other in at) <= OVERALL.attempts, (
                "over the budget"
            )


def played(seed: int) -> World:
    """The world after the story of *seed*."""
    world: World | None = None

    async def scene() -> None:
        nonlocal world
        world = World(helps=seed % 3 > 0)
        await world.play(story(seed))
        await world.prove()

    anyio.run(scene, backend_options={"loop_factory": VirtualLoop})
    assert world is not None
    return world


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_the_promises_hold_and_in_the_end_all_is_well(seed: int) -> None:
    played(seed)
