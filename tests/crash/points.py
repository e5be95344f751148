"""
Killing: a life of the daemon in a forked process that ends, without another word, at a chosen line of its code.

A *crash point* is a line event of CPython's tracing, in any thread, in the rooms that act and remember. What is in
memory dies with the process, so a line that comes again while nothing has changed outside is the same point: only the
first time since the last change (a transaction, an effect, a program's start, its gate's opening) counts.
"""

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import reviver
from reviver.clients import program
from reviver.incidents import database

from .judge import judged
from .life import WITHIN, live
from .scenes import Scene
from .world import World

ROOMS = ("recovery/", "incidents/", "supervisor/", "actions/", "clients/program.py", "clients/process.py")
KILLED = 137
HUNG_AFTER = 60.0  # seconds of real time; no life takes more than a second

_ROOT = Path(reviver.__file__).parent
_CHANGES = {
    code.__code__ for code in (database.in_transaction, program._Start.__call__, program._Child.begin, World.add)
}
_TRACED = (*(str(_ROOT / room) for room in ROOMS), str(Path(__file__).with_name("world.py")))

Tracer = Callable[[FrameType, str, Any], Any]


class Points:
    """Counts crash points; at the point *last* the process ends."""

    def __init__(self, last: int | None) -> None:
        self.seen = 0
        self.events = 0
        self.lines: set[tuple[str, int]] = set()
        self._last = last
        self._wanted: dict[CodeType, Tracer | None] = {}
        self._unchanged: set[tuple[str, int]] = set()
        """The lines seen since the last change outside."""

    def install(self) -> None:
        """Trace this thread and all that come."""
        threading.settrace(self._called)
        sys.settrace(self._called)

    def remove(self) -> None:
        """Trace no more."""
        sys.settrace(None)
        threading.settrace(None)

    def _called(self, frame: FrameType, event: str, arg: Any) -> Tracer | None:
        code = frame.f_code
        if code not in self._wanted:
            self._wanted[code] = self._tracer(code)
        return self._wanted[code]

    def _tracer(self, code: CodeType) -> Tracer | None:
        if not code.co_filename.startswith(_TRACED):
            return None
        return self._changing if code in _CHANGES else self._stepped

    def _stepped(self, frame: FrameType, event: str, arg: Any) -> Tracer:
        if event == "line":
            self.events += 1
            line = (frame.f_code.co_filename, frame.f_lineno)
            if line not in self._unchanged:
                self._unchanged.add(line)
                self.seen += 1
                if self.seen == self._last:
                    os._exit(KILLED)
                self.lines.add(line)
        return self._stepped

    def _changing(self, frame: FrameType, event: str, arg: Any) -> Tracer:
        """Each of its lines may change what is outside."""
        self._unchanged.clear()
        self._stepped(frame, event, arg)
        return self._changing


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What is known of a life."""

    killed: bool
    points: int = 0
    """How many crash points it had, if it lived to its end under trace."""
    events: int = 0
    """How many line events there were, repetitions included."""
    lines: int = 0
    """How many different lines these were."""
    wrongs: tuple[str, ...] = ()
    people: bool = False
    """Whether people were left with it."""


Plant = Callable[[], None]
"""Puts a bug into the daemon, in a process of its own."""


def sound() -> None:
    """No bug."""


def life(
    scene: Scene,
    world: World,
    *,
    number: int,
    kill_at: int | None = None,
    kill_after: float | None = None,
    trace: bool = False,
    last: bool = False,
    within: float = WITHIN,
    plant: Plant = sound,
) -> Lived:
    """
    The *number*-th life in *world*: killed at the line event *kill_at*, by SIGKILL after *kill_after* seconds, or lived
    to its end; the *last* one is judged.
    """

    def work() -> dict[str, Any]:
        plant()
        points = Points(kill_at)
        if trace or kill_at is not None:
            points.install()
        wrongs = live(scene, world, number=number, within=within)
        points.remove()
        people = False
        if last:
            found, people = judged(scene, world, lives=number + 1)
            wrongs += found
        return {
            "points": points.seen,
            "events": points.events,
            "lines": len(points.lines),
            "wrongs": tuple(wrongs),
            "people": people,
        }

    return forked(work, kill_after=kill_after)


def forked(work: Callable[[], dict[str, Any]], *, kill_after: float | None = None) -> Lived:
    """What *work* says in a process of its own, or that this was killed."""
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, its)
    os.close(its)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    said = _read(mine, pid)
    _, status = os.waitpid(pid, 0)
    if said:
        return Lived(killed=False, **json.loads(said))
    if os.waitstatus_to_exitcode(status) in {KILLED, -signal.SIGKILL}:
        return Lived(killed=True)
    return Lived(killed=True, wrongs=(f"the life ended with status {os.waitstatus_to_exitcode(status)}",))


def _child(work: Callable[[], dict[str, Any]], its: int) -> None:
    try:
        said = work()
    except BaseException:
        said = {"wrongs": [traceback.format_exc()]}
    with os.fdopen(its, "w") as pipe:
        json.dump(said, pipe)
    os._exit(0)


def _read(mine: int, pid: int) -> str:
    give_up = time.monotonic() + HUNG_AFTER
    said = bytearray()
    with os.fdopen(mine, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, give_up - time.monotonic()))
            if not ready:
                os.kill(pid, signal.SIGKILL)
                return json.dumps({"wrongs": [f"hung for {HUNG_AFTER:g} s"]})
            data = pipe.read(65536)
            if not data:
                return said.decode()
            said += data
