"""Whether one more attempt fits a budget: at most so many in a sliding window."""

from collections.abc import Iterable, Sequence

from reviver.model.services import Budget


def free_at(budget: Budget, used_at: Sequence[float], *, now: float) -> float:
    """
    When the next attempt fits *budget*: *now*, or later.

    Args:
        budget: The limit.
        used_at: When the earlier attempts were made, oldest first; seconds, same axis as *now*.
        now: Seconds.
    """
    recent = [at for at in used_at if at > now - budget.per]
    if len(recent) < budget.attempts:
        return now
    return recent[-budget.attempts] + budget.per


def tightest(budgets: Iterable[Budget], used_at: Sequence[float], *, now: float) -> tuple[float, Budget | None]:
    """When the next attempt fits all *budgets*, and which of them makes it wait (``None``: none does)."""
    waits = [(free_at(budget, used_at, now=now), budget) for budget in budgets]
    at, budget = max(waits, key=lambda wait: wait[0], default=(now, None))
    return (at, budget) if at > now else (now, None)
