"""
Maintenance windows: which one is under way at a moment of the wall clock, and until when.

A look costs two comparisons. Only past a boundary, or when the wall clock has jumped, is the calendar reckoned anew,
and even then in a bounded number of steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

from cronsim import CronSim

from reviver.model.services import Maintenance, Once, Recurring
from reviver.settings.moments import zone

LATEST = 1e11  # Unix time, in the year 5138: libraries go no further than 9999
SETTLED = 3 * 3600.0  # seconds; further back, no change of the clock by an hour or two confuses the order of starts
NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A window that is under way."""

    until: float
    """Unix time."""
    told: str
    """What it is, for people: until when, and what for."""


class Window(Protocol):
    """One entry of the calendar."""

    @property
    def zone(self) -> tzinfo | None:
        """In which its times are told; ``None``: this host's own."""
        ...

    def ends(self, wall: float) -> float | None:
        """When the window that is under way at *wall* ends; ``None`` if none is."""
        ...


class Calendar:
    """All windows of the settings."""

    def __init__(self, windows: Sequence[Maintenance]) -> None:
        self._windows = [(each, _window(each.when)) for each in windows]

    def ends(self, wall: float) -> tuple[float | None, ...]:
        """For each window, when it ends if it is under way at *wall*."""
        return tuple(window.ends(wall) for _, window in self._windows)

    def under_way(self, service: str, wall: float) -> UnderWay | None:
        """The window of *service* that is under way at *wall*; of several, the one that ends last."""
        found: tuple[float, Maintenance, Window] | None = None
        for each, window in self._windows:
            if each.services and service not in each.services:
                continue
            until = window.ends(wall)
            if until is not None and (found is None or until > found[0]):
                found = until, each, window
        if found is None:
            return None
        until, each, window = found
        told = f"until {_moment(until, window.zone).astimezone(window.zone):%Y-%m-%d %H:%M %Z}"
        return UnderWay(until=until, told=f"{told}: {each.reason}" if each.reason else told)


def _window(when: Once | Recurring) -> Window:
    return Single(when) if isinstance(when, Once) else Repeated(when)


def _moment(wall: float, where: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(_bounded(wall), where)


def _bounded(wall: float) -> float:
    return min(max(wall, 0.0), LATEST)


class Single:
    """A window that comes once."""

    zone = None

    def __init__(self, when: Once) -> None:
        self._when = when

    def ends(self, wall: float) -> float | None:
        """When it ends, while it is under way."""
        return self._when.until if self._when.begins <= wall < self._when.until else None


class Repeated:
    """A window that comes by cron; starts are those of Debian's cron, summer time and all."""

    def __init__(self, when: Recurring) -> None:
        self.zone = zone(when.timezone)
        self._cron = when.cron
        self._lasting = when.lasting
        self._starts: CronSim
        self._last, self._next = NEVER, -NEVER
        """The starts around the last look."""

    def ends(self, wall: float) -> float | None:
        """When the window that began last ends, if that is yet to come."""
        wall = _bounded(wall)
        if not self._last <= wall < self._next:
            self._reckon(wall)
        ends = self._last + self._lasting
        return ends if wall < ends else None

    def _reckon(self, wall: float) -> None:
        if not self._next <= wall < self._next + SETTLED:  # the first look, or the clock was set
            self._begin_anew(wall)
        while self._next <= wall:
            self._last, self._next = self._next, self._following(self._next)

    def _begin_anew(self, wall: float) -> None:
        """Go on from a start that is well before *wall*."""
        early = _moment(wall - SETTLED, self.zone)
        before = next(CronSim(self._cron, early, reverse=True), None)
        self._starts = CronSim(self._cron, before or early)
        self._last = before.timestamp() if before else -NEVER
        self._next = self._following(self._last)

    def _following(self, start: float) -> float:
        found = next(self._starts, None)  # none within 50 years
        return NEVER if found is None else max(found.timestamp(), start + 1.0)  # so that it comes to an end in any case
