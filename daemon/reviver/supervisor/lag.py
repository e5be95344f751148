"""How late reviver itself is: a sleeper that notes when it was woken late, or when the host was suspended."""

from collections import deque

import anyio

from reviver.core.suspicion import LATE_FROM, Doubt, late, suspended
from reviver.model.events import Emit, LoopLagged
from reviver.model.ports import Clock

EVERY = 0.1  # seconds
NOTED_FROM = 0.05  # seconds; below this it is the machine's ordinary noise
KEPT = 1000  # notes; more than any timeout is long


class LagMeter:
    """Remembers the late wake-ups of the last minutes."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._notes: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._due: float | None = None
        self._suspended = 0.0
        """Seconds that this boot was suspended, as far as noted."""
        self._noted: list[Doubt] = []

    async def run(self) -> None:
        """Measure until cancelled."""
        self._suspended = self._clock.boottime() - self._clock.monotonic()
        while True:
            self._due = self._clock.monotonic() + EVERY
            await anyio.sleep_until(self._due)
            now = self._clock.monotonic()
            asleep = self._asleep()
            self._noted = self.doubts()
            self._suspended += asleep
            lag = now - self._due + max(0.0, asleep)
            if lag >= NOTED_FROM:
                self._notes.append((now, lag))
                self._emit(LoopLagged(seconds=lag))

    def worst_since(self, moment: float) -> float:
        """The longest lateness, in seconds, that touches the time from *moment* to now."""
        now = self._clock.monotonic()
        overdue = 0.0 if self._due is None else max(0.0, now - self._due + self._asleep())
        noted = (lag for at, lag in reversed(self._notes) if at >= moment)
        return max(overdue, max(noted, default=0.0))

    def doubts(self) -> list[Doubt]:
        """What it holds against reviver: the last time that it was late, and that the host was suspended."""
        now = self._clock.monotonic()
        found = {doubt.reason: doubt for doubt in self._noted}
        if self._due is not None:  # else it doesn't measure yet
            overdue, asleep = now - self._due, self._asleep()
            new = [late(overdue, at=now)] if overdue >= LATE_FROM else []
            new += [suspended(asleep, at=now)] if asleep >= LATE_FROM else []
            found |= {doubt.reason: doubt for doubt in new}
        return list(found.values())

    def _asleep(self) -> float:
        """Seconds that the host was suspended since the last note."""
        return self._clock.boottime() - self._clock.monotonic() - self._suspended
