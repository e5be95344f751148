"""
Trust is earned: what came of a strategy's tries on a service, and whether its cures lasted.

Folded from journal entries, one ledger per service. What is counted lies in a sliding window, so a strategy is
trusted for what it did lately. Times are seconds on any one axis that doesn't jump.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reviver.model import journal as j
from reviver.model.ports import Outcome

HOUR, DAY = 3600.0, 86400.0
WINDOW = 90 * DAY
"""Seconds that are looked back upon."""
KEPT = 1000  # tries per strategy; with the usual budgets, 90 days have 540


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """An attempt that came to a step, whoever ordered it."""

    at: float
    """When it ended."""
    cured: bool
    """Whether its verification passed."""
    lasted: float | None = None
    """Seconds from the cure to the service's next fall, if that was within a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What one strategy did on one service, oldest first."""

    tries: tuple[Try, ...] = ()
    needless: tuple[float, ...] = ()
    """When attempts ended before the first step because the service was well again."""
    promoted_at: float = float("-inf")
    """When a person trusted it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The figures of a strategy on a service, over the window."""

    tries: int = 0
    cures: int = 0
    failures: int = 0
    needless: int = 0
    relapses_1h: int = 0
    relapses_24h: int = 0
    last_cure: float | None = None
    last_relapse: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that is kept of one service."""

    histories: Mapping[str, History] = field(default_factory=dict)
    """By the strategy's name."""
    running: str = ""
    """The strategy of the attempt under way."""
    acted: bool = False
    """Whether the attempt under way came to a step."""
    cured_by: str = ""
    """The strategy whose cure holds until now."""

    def history(self, strategy: str) -> History:
        """That of *strategy*; an empty one if it never acted."""
        return self.histories.get(strategy, History())


def after(ledger: Ledger, entry: j.Entry, *, now: float) -> Ledger:
    """The ledger after *entry*, which is of its service and was written at *now*."""
    match entry:
        case j.AttemptStarted(strategy=strategy):
            return replace(ledger, running=strategy, acted=False)
        case j.StepStarted():
            return replace(ledger, acted=True)
        case j.AttemptEnded(strategy=strategy, outcome=outcome):
            return _ended(replace(ledger, running=""), strategy, outcome, now=now)
        case j.IncidentOpened(failing_for=failing_for) | j.IncidentReopened(failing_for=failing_for):
            return fallen(ledger, now - failing_for)
        case j.StrategyPromoted(strategy=strategy):
            return _with(ledger, strategy, replace(ledger.history(strategy), promoted_at=now))
        case _:
            return ledger


def _ended(ledger: Ledger, strategy: str, outcome: str, *, now: float) -> Ledger:
    history = ledger.history(strategy)
    if outcome == Outcome.HEALED:
        needless = tuple(at for at in history.needless if at > now - WINDOW)
        history = replace(history, needless=(*needless[-KEPT + 1 :], now))
    if not ledger.acted:  # it only looked, or was kept from acting
        return _with(ledger, strategy, history)
    cured = outcome == Outcome.RECOVERED
    tries = tuple(each for each in history.tries if each.at > now - WINDOW)
    history = replace(history, tries=(*tries[-KEPT + 1 :], Try(at=now, cured=cured)))
    ledger = replace(ledger, acted=False, cured_by=strategy if cured else "")
    return _with(ledger, strategy, history)


def fallen(ledger: Ledger, at: float) -> Ledger:
    """The ledger after the service fell at the moment *at*: the last cure, if it still held, lasted until then."""
    if not ledger.cured_by:
        return ledger
    history = ledger.history(ledger.cured_by)
    last = max((n for n, each in enumerate(history.tries) if each.cured), default=None)
    if last is not None and at - history.tries[last].at <= DAY:
        relapsed = replace(history.tries[last], lasted=max(0.0, at - history.tries[last].at))
        history = replace(history, tries=(*history.tries[:last], relapsed, *history.tries[last + 1 :]))
    return replace(_with(ledger, ledger.cured_by, history), cured_by="")


def _with(ledger: Ledger, strategy: str, history: History) -> Ledger:
    return replace(ledger, histories={**ledger.histories, strategy: history})


def figures(history: History, *, now: float) -> Trust:
    """The figures of *history* over the window."""
    tries = [each for each in history.tries if each.at > now - WINDOW]
    cures = [each for each in tries if each.cured]
    relapses = [(each.at, each.lasted) for each in cures if each.lasted is not None]
    return Trust(
        tries=len(tries),
        cures=len(cures),
        failures=len(tries) - len(cures),
        needless=sum(at > now - WINDOW for at in history.needless),
        relapses_1h=sum(lasted <= HOUR for _, lasted in relapses),
        relapses_24h=len(relapses),
        last_cure=cures[-1].at if cures else None,
        last_relapse=max((at + lasted for at, lasted in relapses), default=None),
    )


def relapses_held_against(history: History, *, now: float) -> int:
    """Relapses within 24 h of the strategy's cures, in the window and since a person last trusted it again."""
    since = max(now - WINDOW, history.promoted_at)
    return sum(each.at > since and each.lasted is not None for each in history.tries)
