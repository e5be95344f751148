"""The harm brake: what breaks right after an action and downstream of it, and what doesn't count."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.core.harm import WITHIN, Acted, Seen, after_answer, over

ACTED = Acted(
    service="db",
    incident="db-1",
    attempt=1,
    strategy="restart",
    began=100.0,
    ended=110.0,
    well=frozenset({"api", "web"}),
)
FAILING = Seen(
    name="api", fell_at=101.0, failed=True, asked_at=111.0, down=True, treated=False, needs_up_since=110.0, fall=4
)


def verdict(*answers: Seen, acted: Acted = ACTED) -> bool:
    harmed = False
    for seen in answers:
        acted, now = after_answer(acted, seen)
        harmed |= now
    return harmed


def answers(count: int, **changes: Any) -> list[Seen]:
    return [replace(FAILING, **{"asked_at": 111.0 + n, **changes}) for n in range(count)]


def test_fall_failures_with_all_it_needs_up_are_harm_and_one_less_is_not() -> None:
    assert verdict(*answers(4))
    assert not verdict(*answers(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "mail"},  # not downstream, or not well when the action began
        {"fell_at": 99.9},
        {"fell_at": 110.0 + WITHIN + 0.1},
        {"fell_at": None},
        {"failed": False},
        {"down": False},
        {"needs_up_since": None},
        {"asked_at": 109.9},
    ],
    ids=str,
)
def test_without_any_one_of_the_conditions_it_is_no_harm(changes: dict[str, Any]) -> None:
    assert not verdict(*answers(20, **changes))


@pytest.mark.parametrize("fell_at", [100.0, 110.0 + WITHIN])
def test_the_time_counts_from_the_first_step_to_a_minute_after_the_end(fell_at: float) -> None:
    assert verdict(*answers(4, fell_at=fell_at))


def test_failures_are_counted_anew_when_what_it_needs_was_down_again() -> None:
    before, since = answers(3), answers(3, needs_up_since=120.0, asked_at=121.0)
    assert not verdict(*before, *since)
    assert verdict(*before, *since, *answers(1, needs_up_since=120.0, asked_at=124.0))


def test_failures_are_counted_anew_when_it_was_well_in_between() -> None:
    well = replace(FAILING, fell_at=None, failed=False)
    assert not verdict(*answers(3), well, *answers(3, fell_at=130.0, asked_at=130.0))


def test_what_had_to_be_recovered_itself_was_harmed() -> None:
    assert verdict(replace(FAILING, treated=True))


def test_each_service_downstream_is_counted_by_itself() -> None:
    assert not verdict(*answers(3), *answers(3, name="web"))


def test_an_action_is_over_after_its_time_unless_something_still_fails_since_then() -> None:
    assert not over(replace(ACTED, ended=None), {}, now=1e9)
    assert not over(ACTED, {}, now=110.0 + 2 * WITHIN)
    assert over(ACTED, {"api": None, "web": 99.0}, now=110.1 + 2 * WITHIN)
    assert not over(ACTED, {"api": 150.0}, now=1e6)
    assert over(ACTED, {"mail": 150.0}, now=1e6)


seen = st.builds(
    Seen,
    name=st.sampled_from(["api", "mail"]),
    fell_at=st.none() | st.floats(50, 250),
    failed=st.booleans(),
    asked_at=st.floats(50, 400),
    down=st.booleans(),
    treated=st.booleans(),
    needs_up_since=st.none() | st.sampled_from([110.0, 150.0]),
    fall=st.integers(1, 5),
)


@given(st.lists(seen, max_size=40))
def test_no_answers_at_all_blame_for_what_broke_outside_of_its_time_or_failed_only_while_a_need_was_down(
    told: list[Seen],
) -> None:
    acted = ACTED
    for each in told:
        acted, harmed = after_answer(acted, each)
        if harmed:
            assert each.name in ACTED.well
            assert each.fell_at is not None
            assert 100.0 <= each.fell_at <= 110.0 + WITHIN
            assert each.failed
            assert each.down
            assert each.needs_up_since is not None
            assert each.asked_at >= each.needs_up_since
