"""Budgets: at most so many in a window."""

from hypothesis import given
from hypothesis import strategies as st

from reviver.core.budget import free_at, tightest
from reviver.model.services import Budget

HOURLY = Budget(attempts=3, per=3600.0)


def test_a_budget_with_room_is_free_now() -> None:
    assert free_at(HOURLY, [10.0, 20.0], now=30.0) == 30.0


def test_a_spent_budget_is_free_once_the_oldest_use_in_its_window_is_over() -> None:
    assert free_at(HOURLY, [10.0, 20.0, 30.0], now=40.0) == 3610.0


def test_uses_older_than_the_window_do_not_count() -> None:
    assert free_at(HOURLY, [0.0, 10.0, 20.0], now=3600.0) == 3600.0


@given(
    st.lists(st.floats(0, 500), max_size=60),
    st.integers(1, 5),
    st.floats(1, 200),
)
def test_who_waits_until_free_never_makes_more_than_the_budget_in_any_window(
    wishes: list[float], attempts: int, per: float
) -> None:
    budget, used = Budget(attempts=attempts, per=per), list[float]()
    for wish in sorted(wishes):
        now = max(wish, used[-1]) if used else wish
        used.append(free_at(budget, used, now=now))
    for first in used:
        assert sum(first <= at < first + per * (1 - 1e-9) for at in used) <= attempts


@given(st.lists(st.floats(0, 500), max_size=60), st.integers(1, 5), st.floats(1, 200))
def test_who_asks_and_goes_away_never_makes_more_than_the_budget_in_any_window(
    wishes: list[float], attempts: int, per: float
) -> None:
    budget, used = Budget(attempts=attempts, per=per), list[float]()
    for now in sorted(wishes):
        if free_at(budget, used, now=now) <= now:
            used.append(now)
    for first in used:
        assert sum(first <= at < first + per * (1 - 1e-9) for at in used) <= attempts


def test_of_several_budgets_the_one_that_waits_longest_is_told() -> None:
    daily = Budget(attempts=4, per=86400.0)
    used = [0.0, 10.0, 20.0, 30.0]
    assert tightest([HOURLY, daily], used, now=40.0) == (86400.0, daily)
    assert tightest([HOURLY, daily], used, now=5000.0) == (86400.0, daily)


def test_budgets_with_room_make_nothing_wait() -> None:
    assert tightest([HOURLY], [], now=7.0) == (7.0, None)
    assert tightest([], [1.0] * 99, now=7.0) == (7.0, None)
