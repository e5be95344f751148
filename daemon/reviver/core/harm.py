"""
The harm brake: what broke right after an action, downstream of it, stops that strategy.

A strategy S acted on X. Y depends on X, directly or not. S harmed Y if all of this holds:

1. Y was well when the first step began, by an answer to a question asked since X failed: so X's outage alone doesn't
   break it.
2. Y began to fail between then and ``WITHIN`` after the attempt's end, and is down, confirmed: its incident is open.
3. Everything that Y needs is up, X included, reviver doesn't suspect itself, and ``fall`` failures of Y in a row were
   asked for since then; or Y had to be acted upon. So neither X's outage, nor Y's blip while X starts, nor what another
   service does to Y counts.

Where two strategies acted shortly before, both are stopped: it can't be told which did it. Times are monotonic seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

WITHIN = 60.0  # seconds after an attempt in which what breaks is held against it (safety: rule 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A service that broke after an action; whether by it isn't known yet."""

    up_since: float
    """Since when all that it needs is up."""
    failures: int
    """In a row, asked for since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """An attempt that came to a step, and what it may be blamed for."""

    service: str
    incident: str
    attempt: int
    strategy: str
    began: float
    """When its first step did."""
    well: frozenset[str]
    """Services downstream that were well then."""
    ended: float | None = None
    doubts: Mapping[str, Doubt] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An answer of a service downstream."""

    name: str
    fell_at: float | None
    """When the first question of its present failure was asked; ``None`` while it is well."""
    failed: bool
    """Whether this answer is a fault that counts."""
    asked_at: float
    down: bool
    """Whether its incident is open."""
    treated: bool
    """Whether an attempt on it is under way."""
    needs_up_since: float | None
    """Since when all that it depends on is up; ``None``: it isn't."""
    fall: int


def broke_after(acted: Acted, fell_at: float | None) -> bool:
    """Whether what began to fail at *fell_at* may be the action's doing."""
    if fell_at is None or fell_at < acted.began:
        return False
    return acted.ended is None or fell_at <= acted.ended + WITHIN


def after_answer(acted: Acted, seen: Seen) -> tuple[Acted, bool]:
    """The action after one more answer of a service downstream of it, and whether it is now known to have harmed it."""
    if seen.name not in acted.well:
        return acted, False
    others = {name: doubt for name, doubt in acted.doubts.items() if name != seen.name}
    if not broke_after(acted, seen.fell_at):
        return (replace(acted, doubts=others) if seen.name in acted.doubts else acted), False
    if not seen.failed or seen.needs_up_since is None or seen.asked_at < seen.needs_up_since:
        return acted, False
    before = acted.doubts.get(seen.name)
    counted = before.failures if before is not None and before.up_since == seen.needs_up_since else 0
    doubt = Doubt(up_since=seen.needs_up_since, failures=counted + 1)
    harmed = seen.down and (doubt.failures >= seen.fall or seen.treated)
    return replace(acted, doubts={**others, seen.name: doubt}), harmed


def over(acted: Acted, fell_at: Mapping[str, float | None], *, now: float) -> bool:
    """
    Whether nothing more can come of it: its time is over, twice, for the last answers to come, and none of the services
    downstream (by name, when they began to fail) has been failing since that time.
    """
    if acted.ended is None or now <= acted.ended + 2 * WITHIN:
        return False
    return not any(broke_after(acted, fell_at.get(name)) for name in acted.well)
