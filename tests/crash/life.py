"""
One life of the daemon: the real supervisor, recovery, scribe, journal on disk and memory of earlier lives, wired as
``app.py`` does it, without its web side.

Its time is virtual, so that a life of minutes takes milliseconds; but the journal's thread and programs are real, and
time stands still, or goes on as real time does, while one of them is at work.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from fakes import FakeUplink
from reviver.incidents.journal import SqliteJournal
from reviver.incidents.scribe import Scribe
from reviver.model.control import ControlRefused
from reviver.model.events import Event, HealthChanged
from reviver.model.journal import IncidentRecovered, JournalError
from reviver.model.secrets import Redactor
from reviver.recovery.run import Recovery
from reviver.supervisor.control import SupervisorControl
from reviver.supervisor.restore import restore
from reviver.supervisor.supervisor import Supervisor

from .scenes import RECOVERED, Scene
from .world import World

THEIRS = "handed over to people"
APART = 100.0  # virtual seconds from the start of one life to that of the next
WITHIN = 400.0  # virtual seconds until a life must have come to rest
REST = 3.0  # virtual seconds for which it must stay so
PEOPLE_AFTER = 6.0  # virtual seconds until people do what they are asked for


class _Selector(selectors.DefaultSelector):
    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or super().select(timeout)
        if self.threads:
            return super().select(10.0)
        if len(self.get_map()) > 1:  # beside the loop's own: a program
            began = time.perf_counter()
            ready = super().select(min(timeout, 0.01))
            self.now += min(timeout, time.perf_counter() - began)
            return ready
        self.now += timeout
        return []


class Loop(asyncio.SelectorEventLoop):
    def __init__(self, start: float) -> None:
        self.waits = _Selector(start)
        super().__init__(self.waits)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.waits.now


class Clock:
    """All lives are in one boot."""

    def monotonic(self) -> float:
        return anyio.current_time()

    def boottime(self) -> float:
        return anyio.current_time()

    def boot_id(self) -> str:
        return "boot"

    def wall(self) -> float:
        return anyio.current_time() + 1_750_000_000.0


def _count_threads(loop: Loop) -> Callable[[], None]:
    """Let the loop know of threads at work; returns what undoes it."""
    run_sync = anyio.to_thread.run_sync

    async def counted(*args: Any, **kwargs: Any) -> Any:
        loop.waits.threads += 1
        try:
            return await run_sync(*args, **kwargs)
        finally:
            loop.waits.threads -= 1

    anyio.to_thread.run_sync = counted  # type: ignore[assignment]

    def undo() -> None:
        anyio.to_thread.run_sync = run_sync

    return undo


def live(scene: Scene, world: World, *, number: int, within: float = WITHIN) -> list[str]:
    """
    The daemon's *number*-th life, until it has come to rest and is stopped; returns what it did that it must not.

    It must come to rest *within* so many virtual seconds. If the journal can't be read at its start, it watches for all
    of them, and what an operator reads is returned, too.
    """
    life = _Life(scene, world, number)
    loop = partial(Loop, number * APART)
    return anyio.run(partial(life.live, within=within), backend_options={"loop_factory": loop})


class _Life:
    def __init__(self, scene: Scene, world: World, number: int) -> None:
        self._scene, self._world = scene, world
        self._heard: list[Event] = []
        self._wrongs: list[str] = []
        clock, redact = Clock(), Redactor()
        self._journal = SqliteJournal(world.journal, clock)
        self._scribe = Scribe(self._journal, self._told)
        self._supervisor = Supervisor(
            services={service.name: service for service in scene.services(world, life=number)},
            policy=scene.policy,
            clock=clock,
            random=lambda: 0.5,
            scribe=self._scribe,
            emit=self._told,
            recoverer=Recovery(scribe=self._scribe, clock=clock, redact=redact),
            redact=redact,
            uplink=FakeUplink(),
        )
        self._control = SupervisorControl(self._supervisor, _no_reload)

    async def live(self, *, within: float) -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        undo = _count_threads(loop)
        try:
            resumes = await self._remember()
            async with anyio.create_task_group() as root:
                await root.start(self._supervisor.run)
                for resume in resumes or ():
                    resume()
                root.start_soon(self._people)
                await (self._watch(within) if resumes is None else self._until_rest(within))
                await self._supervisor.drain(within=15.0)
                root.cancel_scope.cancel()
            await self._scribe.finish()
            await self._journal.aclose()
        finally:
            undo()
        return self._wrongs

    async def _remember(self) -> Sequence[Callable[[], None]] | None:
        try:
            await self._journal.open()
            return await restore(self._supervisor, self._journal)
        except JournalError as error:
            self._wrongs.append(str(error))
            self._scribe.close_off(str(error))
            return None

    def _told(self, event: Event) -> None:
        self._heard.append(event)
        if isinstance(event, IncidentRecovered) and not self._scene.well(self._world):
            self._wrongs.append("said to be recovered, and is not")

    async def _watch(self, within: float) -> None:
        await anyio.sleep(within)
        if not any(isinstance(event, HealthChanged) and event.new == "down" for event in self._heard):
            self._wrongs.append("without a journal it does not tell that the service is down")

    async def _until_rest(self, within: float) -> None:
        rested = 0.0
        with anyio.move_on_after(within) as patience:
            while rested < REST:
                await anyio.sleep(1.0)
                rested = rested + 1.0 if all(map(self._rests, self._control.health())) else 0.0
        if patience.cancelled_caught:
            views = {name: (view.health, view.held) for name, view in self._control.health().items()}
            self._wrongs.append(f"forgotten: after {within:g} s neither recovered nor handed over: {views}")

    def _rests(self, name: str) -> bool:
        view = self._control.health()[name]
        if view.health == "up" and not view.incident:
            return True
        return self._scene.ends != RECOVERED and view.held.startswith(THEIRS) and not view.attempt

    async def _people(self) -> None:
        """They bring what they are asked for: an approval, or a proof."""
        while True:
            await anyio.sleep(1.0)
            for asked in self._control.approvals():
                with suppress(ControlRefused):
                    await self._control.approve(asked.service, by="ann", token=asked.token)
            if self._scene.proof and self._world.has("incident_escalated"):
                await anyio.sleep(PEOPLE_AFTER)
                self._world.proof.touch()


async def _no_reload() -> None:
    """There are no settings to read."""
