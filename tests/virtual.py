"""
Virtual time: an event loop that never waits. When every task sleeps, its clock jumps to the next timer.

No sockets and no threads in it: nothing real would have had time to happen.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable

import anyio


class _JumpingSelector(selectors.DefaultSelector):
    """Reports what is ready now, and instead of waiting moves the time on."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now
        self.deaf = False
        """Whether nothing can come from outside."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = [] if self.deaf else super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: every task waits and no timer is set")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time starts at *start* seconds and jumps."""

    def __init__(self, start: float = 0.0) -> None:
        self._jump = _JumpingSelector(start)
        super().__init__(self._jump)
        self._clock_resolution = 1e-6  # the default is lost in a float after about 194 days: timers would never fire

    def time(self) -> float:
        return self._jump.now

    def stall(self, seconds: float) -> None:
        """Let *seconds* pass in which no task runs, as if the process had been starved."""
        self._jump.now += seconds


def virtual(scene: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """The test that plays *scene* in virtual time, starting at second 0."""

    def test() -> None:
        anyio.run(scene, backend_options={"loop_factory": VirtualLoop})

    test.__name__, test.__qualname__ = scene.__name__, scene.__qualname__
    test.__module__, test.__doc__ = scene.__module__, scene.__doc__
    return test


def stall(seconds: float) -> None:
    """Starve the running virtual loop for *seconds*."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.stall(seconds)
