# mypy: disable-error-code="assignment,attr-defined,method-assign"
"""Bugs to be planted into the daemon, each in the process of one life: the proof that killing finds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reviver.clients import process, program
from reviver.core.decide import Stop
from reviver.core.ladder import Ladder
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.recovery import run, steps, verify
from reviver.recovery.resume import Leftover
from reviver.supervisor import restore

from . import life
from .points import Plant


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong with the daemon, and the scene in which it shows."""

    wrong: str
    scene: str
    plant: Plant


def _recorded() -> None:
    async def commit(self: Scribe, *entries: j.Entry) -> None:
        self.record(*entries)

    Scribe.commit = commit


def _afterwards() -> None:
    commit, act = Scribe.commit, steps.StepRunner._act
    late: list[j.Entry] = []

    async def committed(self: Scribe, *entries: j.Entry) -> None:
        if isinstance(entries[0], j.StepStarted):
            late.extend(entries)
        else:
            await commit(self, *entries)

    async def acted(self: steps.StepRunner, *args: Any) -> Any:
        done = await act(self, *args)
        await commit(self._scribe, late.pop())
        return done

    Scribe.commit, steps.StepRunner._act = committed, acted


def _notes_are_lost() -> None:
    commit = Scribe.commit

    async def committed(self: Scribe, *entries: j.Entry) -> None:
        if not isinstance(entries[0], j.StepNoted):
            await commit(self, *entries)

    Scribe.commit = committed


def _repeated() -> None:
    leftover = run.leftover

    async def left_over(order: Any, *args: Any) -> Leftover:
        left = await leftover(order, *args)
        return Leftover(steps=range(len(order.strategy.steps))) if left.unclear else left

    run.leftover = left_over


def _taken_for_done() -> None:
    leftover = run.leftover

    async def left_over(order: Any, *args: Any) -> Leftover:
        left = await leftover(order, *args)
        return replace(left, steps=left.steps[1:])

    run.leftover = left_over


def _not_resumed() -> None:
    remember = life.restore

    async def restored(*args: Any) -> list[Callable[[], None]]:
        await remember(*args)
        return []

    life.restore = restored


def _gate_open() -> None:
    start, begin = program._start, program._Child.begin

    async def started(*args: Any, **kwargs: Any) -> Any:
        child = await start(*args, **kwargs)
        begin(child)
        return child

    program._start, program._Child.begin = started, lambda _self: None


def _left_running() -> None:
    async def ended(notes: Any) -> bool:
        return bool(notes)

    process.end_noted = ended


def _unverified() -> None:
    async def verified(*_: Any, **__: Any) -> verify.Verified:
        return verify.Verified(passed=True, message="taken for granted", seconds=0.0)

    run.verify = verified


def _swap(where: Any, name: str, instead: Any) -> Plant:
    return lambda: setattr(where, name, instead)


BUGS: Mapping[str, Bug] = {
    "recorded": Bug("a step's start is recorded, and nobody waits until it is on disk", "destructive-unknown", _recorded),
    "afterwards": Bug("a step's start is committed after its effect", "destructive-can-tell", _afterwards),
    "notes": Bug("what an action notes is not kept", "destructive-in-vain", _notes_are_lost),
    "repeated": Bug("a step of which nobody knows is done again", "destructive-unknown-in-vain", _repeated),
    "taken-for-done": Bug("the step in flight is taken for done", "two-steps", _taken_for_done),
    "not-resumed": Bug("an attempt in flight is not resumed", "reversible", _not_resumed),
    "uncounted": Bug("the attempts of an earlier life are not counted", "in-vain",
                     _swap(restore, "_ladder", lambda *_, **__: Ladder())),
    "unclear": Bug("that people must look is forgotten", "destructive-in-vain",
                   _swap(restore, "_stop", lambda _: Stop.NONE)),
    "unproven": Bug("that the proof is missing is forgotten", "proof-wanted",
                    _swap(restore, "_unproven", lambda _: "")),
    "gate": Bug("a program begins before its process is on record", "program-destructive", _gate_open),
    "left-running": Bug("what a dead daemon's step left running goes on", "program-hangs", _left_running),
    "unverified": Bug("a service is taken for well without being asked", "destructive-in-vain", _unverified),
}  # fmt: skip
