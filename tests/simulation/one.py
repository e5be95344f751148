"""A seed's story, its play and its figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .book import Broken
from .happenings import KNOWN, Story, story_of
from .plan import plan_of
from .play import YEAR, World, play
from .things import Outcome

SWITCHES = [kind.__name__ for _, kind in KNOWN] + [outcome.name for outcome in Outcome if outcome is not Outcome.WORKS]
"""What a seed may do without."""


@dataclass
class Figures:
    """What was tried, over some seeds."""

    seeds: int = 0
    service_years: float = 0.0
    incidents: int = 0
    attempts: int = 0
    effects: int = 0
    kills: int = 0
    violations: int = 0
    held: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def add(self, world: World) -> None:
        book = world.book
        self.seeds += 1
        self.service_years += world.service_seconds / YEAR
        self.incidents += len(book.cases)
        self.attempts += book.attempts
        self.effects += book.effects
        self.kills += book.kills
        self.held += book.reasons
        self.latencies += book.latencies

    def line(self, *, minutes: float) -> str:
        """All of it in one line."""
        held = " ".join(f"{guard}={times}" for guard, times in sorted(self.held.items()))
        slowest = max(self.latencies, default=0.0)
        return (
            f"seeds={self.seeds} service_years={self.service_years:.0f} incidents={self.incidents} "
            f"attempts={self.attempts} effects={self.effects} kills={self.kills} violations={self.violations} "
            f"cures_expected={len(self.latencies)} slowest_cure_begun_s={slowest:.0f} held: {held or 'never'}; "
            f"service_years_per_minute={self.service_years / minutes:.0f}"
        )

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def story(seed: int) -> Story:
    """The story of *seed*."""
    return story_of(plan_of(seed, SWITCHES))


def broken(story: Story) -> Broken | None:
    """The promise that *story* breaks, if any."""
    try:
        play(story)
    except Broken as error:
        return error
    return None
