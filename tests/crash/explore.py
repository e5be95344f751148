"""Goes through a scene's crash points: each one, two in a row, and SIGKILL at random moments."""

import gc
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import anyio

from .points import Lived, Plant, life, sound
from .scenes import Scene
from .world import World

MEMORY = Path("/dev/shm")  # a process's death loses nothing that was written; that disks keep it is another test
TOLD = 5  # wrongs that are kept


@dataclass(kw_only=True)
class Found:
    """What came of killing in one scene."""

    scene: str
    events: int = 0
    points: int = 0
    lines: int = 0
    kills: int = 0
    doubles: int = 0
    sigkills: int = 0
    people: int = 0
    """In how many stories people were left with it."""
    violations: int = 0
    left: dict[str, int] = field(default_factory=dict)
    """Each state that a killed life left on disk, and a point at which it was left."""
    wrongs: list[str] = field(default_factory=list)
    """What was wrong in the first of them."""

    def judged(self, what: str, lives: Sequence[Lived]) -> None:
        """Count one story."""
        wrongs = [wrong for lived in lives for wrong in lived.wrongs]
        self.people += lives[-1].people
        self.violations += bool(wrongs)
        self.wrongs += [f"{self.scene}, {what}: {wrong}" for wrong in wrongs][: max(0, TOLD - len(self.wrongs))]

    def add(self, other: "Found") -> None:
        """Count another worker's stories, too."""
        for name in ("kills", "doubles", "sigkills", "people", "violations"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.left = {**other.left, **self.left}
        self.wrongs = [*self.wrongs, *other.wrongs][:TOLD]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thoroughly to kill."""

    stride: int = 1
    """Every so many points of a life is taken."""
    second_stride: int = 0
    """For each state that a killed life can leave on disk, every so many points of the next life; 0: none."""
    sigkills: int = 0
    seed: int = 0
    jobs: int = 1
    enough: int = 20
    """Violations after which a worker needs no more."""


Story = Callable[[Found, World], None]


def explore(scene: Scene, plan: Plan, *, plant: Plant = sound) -> Found:
    """Play all stories of *plan*."""
    anyio.run(anyio.sleep, 0)  # what it imports need not be imported by every child
    gc.collect()
    gc.freeze()
    found = Found(scene=scene.name)
    seconds = _undisturbed(scene, plant, found)
    if found.violations:
        return found
    first = 1 + plan.seed % plan.stride
    _share(found, [_killed_at(scene, plant, point) for point in range(first, found.points + 1, plan.stride)], plan)
    if plan.second_stride and found.violations < plan.enough:
        _share(found, [story for left in found.left.values() for story in _again(scene, plant, left, plan)], plan)
    dice = random.Random(plan.seed)
    moments = [dice.uniform(0.0, seconds) for _ in range(plan.sigkills)]
    _share(found, [_sigkilled(scene, plant, moment) for moment in moments], plan)
    return found


def _undisturbed(scene: Scene, plant: Plant, found: Found) -> float:
    """See what a life is that nobody kills, and how many seconds it takes."""
    seconds = 0.0

    def story(found: Found, world: World) -> None:
        nonlocal seconds
        lived = life(scene, world, number=0, trace=True, last=True, plant=plant)
        found.events, found.points, found.lines = lived.events, lived.points, lived.lines
        found.judged("undisturbed", [lived])

    _told(story, found)

    def timed(_: Found, world: World) -> None:
        nonlocal seconds
        began = time.perf_counter()
        life(scene, world, number=0, plant=plant)
        seconds = time.perf_counter() - began

    _told(timed, found)
    return seconds


def _killed_at(scene: Scene, plant: Plant, point: int) -> Story:
    def story(found: Found, world: World) -> None:
        first = life(scene, world, number=0, kill_at=point, plant=plant)
        found.left.setdefault(world.state(), point)
        second = life(scene, world, number=1, last=True, plant=plant)
        found.kills += first.killed
        found.judged(f"killed at {point}", [first, second])

    return story


def _again(scene: Scene, plant: Plant, point: int, plan: Plan) -> list[Story]:
    """Kill the next life, too, after one that was killed at *point*."""
    points = 0

    def measure(_: Found, world: World) -> None:
        nonlocal points
        life(scene, world, number=0, kill_at=point, plant=plant)
        points = life(scene, world, number=1, trace=True, plant=plant).points

    def killed_at(again: int) -> Story:
        def story(found: Found, world: World) -> None:
            first = life(scene, world, number=0, kill_at=point, plant=plant)
            second = life(scene, world, number=1, kill_at=again, plant=plant)
            third = life(scene, world, number=2, last=True, plant=plant)
            found.doubles += second.killed
            found.judged(f"killed at {point} and then at {again}", [first, second, third])

        return story

    _told(measure, Found(scene=scene.name))
    start = 1 + (plan.seed + point) % plan.second_stride
    return [killed_at(again) for again in range(start, points + 1, plan.second_stride)]


def _sigkilled(scene: Scene, plant: Plant, moment: float) -> Story:
    def story(found: Found, world: World) -> None:
        first = life(scene, world, number=0, kill_after=moment, plant=plant)
        second = life(scene, world, number=1, last=True, plant=plant)
        found.sigkills += first.killed
        found.judged(f"SIGKILL after {moment * 1e3:.3f} ms", [first, second])

    return story


def _told(story: Story, found: Found) -> None:
    """Play *story* in a world of its own."""
    place = Path(tempfile.mkdtemp(prefix="crash-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        story(found, World(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _share(found: Found, stories: Sequence[Story], plan: Plan) -> None:
    """Let workers play *stories*."""
    readers = [_worker(found.scene, stories[number :: plan.jobs], plan.enough) for number in range(plan.jobs)]
    for reader in readers:
        with os.fdopen(reader) as pipe:
            found.add(Found(**json.load(pipe)))
        os.wait()


def _worker(scene: str, stories: Sequence[Story], enough: int) -> int:
    """Play *stories* in a process of its own; returns where its findings can be read."""
    mine, its = os.pipe()
    if os.fork() == 0:
        os.close(mine)
        found = Found(scene=scene)
        for story in stories:
            if found.violations < enough:
                _told(story, found)
        with os.fdopen(its, "w") as pipe:
            json.dump(asdict(found), pipe)
        os._exit(0)
    os.close(its)
    return mine
