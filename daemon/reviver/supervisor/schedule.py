"""
Who is due when: absolute due times in slots, so that many services cost few wake-ups.

A due time is rounded up to the next slot; putting a key again moves it.
"""

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

import anyio

SLOT = 0.02  # seconds; a check is at most this late on an idle machine

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """Keys with due times on the event loop's axis."""

    def __init__(self) -> None:
        self._slot_of: dict[K, int] = {}
        self._keys_in: dict[int, list[K]] = {}
        self._slots: list[int] = []
        self._sooner = anyio.Event()

    def put(self, key: K, at: float) -> None:
        """Make *key* due at *at*, and at no other time."""
        slot = math.ceil(at / SLOT)
        if slot * SLOT < at:  # rounded down by a hair: who is woken too soon waits for the same moment again
            slot += 1
        if self._slot_of.get(key) == slot:
            return
        self._slot_of[key] = slot
        keys = self._keys_in.get(slot)
        if keys is not None:
            keys.append(key)
            return
        self._keys_in[slot] = [key]
        if not self._slots or slot < self._slots[0]:
            self._sooner.set()
        heapq.heappush(self._slots, slot)

    def drop(self, key: K) -> None:
        """Forget *key*."""
        self._slot_of.pop(key, None)

    def due(self, now: float) -> list[K]:
        """The keys whose time has come, taken out."""
        keys: list[K] = []
        while self._slots and self._slots[0] * SLOT <= now:
            slot = heapq.heappop(self._slots)
            for key in self._keys_in.pop(slot):
                if self._slot_of.get(key) == slot:  # else it was moved or dropped meanwhile
                    del self._slot_of[key]
                    keys.append(key)
        return keys

    async def wait(self, *, at_most: float) -> None:
        """Return when the next slot has come, something sooner was put in, or after *at_most* seconds."""
        self._sooner = anyio.Event()
        seconds = at_most
        if self._slots:
            seconds = min(seconds, self._slots[0] * SLOT - anyio.current_time())
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        with anyio.move_on_after(seconds):
            await self._sooner.wait()
