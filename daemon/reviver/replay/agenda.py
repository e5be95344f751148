"""What is due next in a replay: keys with due times, in order."""

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Agenda(Generic[K]):
    """Keys, each due at one moment."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._place: dict[K, int] = {}
        self._places = count()

    def __contains__(self, key: K) -> bool:
        return key in self._place

    def put(self, key: K, at: float) -> None:
        """Make *key* due at *at*, and at no other time."""
        place = self._place[key] = next(self._places)
        heapq.heappush(self._heap, (at, place, key))

    def drop(self, key: K) -> None:
        """Forget *key*."""
        self._place.pop(key, None)

    def pop(self, *, until: float) -> tuple[float, K] | None:
        """The next key that is due at *until* at the latest, taken out, with its time."""
        while self._heap and self._heap[0][0] <= until:
            at, place, key = heapq.heappop(self._heap)
            if self._place.get(key) == place:  # else it was moved or dropped meanwhile
                del self._place[key]
                return at, key
        return None
