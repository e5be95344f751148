"""What a strategy has earned, folded from journal entries."""

from dataclasses import dataclass
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.entries import ended, opened, recovered, started, step_started
from reviver.core.trust import DAY, HOUR, WINDOW, Ledger, Trust, after, figures, relapses_held_against
from reviver.model import journal as j
from reviver.model.ports import Outcome

Story = list[tuple[float, j.Entry]]


def told(story: Story) -> Ledger:
    return reduce(lambda ledger, each: after(ledger, each[1], now=each[0]), story, Ledger())


def earned(story: Story, *, now: float) -> Trust:
    return figures(told(story).history("restart"), now=now)


def attempt(at: float, outcome: str = "recovered", *, acted: bool = True) -> Story:
    step = [(at - 1.0, step_started())] if acted else []
    return [(at - 2.0, started()), *step, (at, ended(outcome=outcome))]


def falls(at: float) -> Story:
    """The service fell at the moment *at*; that was confirmed 3 s later."""
    return [(at + 3.0, opened(failing_for=3.0))]


def test_a_try_is_what_came_to_a_step_and_a_cure_is_a_try_that_was_verified() -> None:
    story = [*attempt(10), *attempt(20, "failed"), *attempt(30, "unclear"), *attempt(40, "aborted", acted=False)]
    found = earned(story, now=50.0)
    assert (found.tries, found.cures, found.failures) == (3, 1, 2)
    assert found.last_cure == 10.0


def test_what_was_well_before_the_first_step_is_needless_and_no_try() -> None:
    found = earned(attempt(10, "healed", acted=False), now=50.0)
    assert (found.tries, found.needless) == (0, 1)


def test_a_late_proof_of_an_earlier_attempt_is_no_second_try_and_no_cure() -> None:
    found = earned([*attempt(10, "failed"), *attempt(20, acted=False)], now=50.0)
    assert (found.tries, found.cures) == (1, 0)


@pytest.mark.parametrize(
    ("after_cure", "in_an_hour", "in_a_day"),
    [(0.0, 1, 1), (HOUR, 1, 1), (HOUR + 1, 0, 1), (DAY, 0, 1), (DAY + 1, 0, 0)],
)
def test_a_fall_within_an_hour_or_a_day_of_a_cure_is_its_relapse(
    after_cure: float, in_an_hour: int, in_a_day: int
) -> None:
    found = earned([*attempt(100), *falls(100 + after_cure)], now=3 * DAY)
    assert (found.relapses_1h, found.relapses_24h) == (in_an_hour, in_a_day)
    assert found.last_relapse == (100 + after_cure if in_a_day else None)


def test_only_the_first_fall_after_a_cure_is_its_relapse() -> None:
    story = [*attempt(100), *falls(200), (210.0, recovered()), *falls(300)]
    assert earned(story, now=400.0).relapses_24h == 1


def test_a_fall_after_a_failed_attempt_is_nobodys_relapse() -> None:
    assert earned([*attempt(100), *falls(200), *attempt(300, "failed"), *falls(400)], now=500.0).relapses_24h == 1


def test_a_fall_is_the_relapse_of_the_strategy_that_cured_last() -> None:
    other = j.AttemptEnded(
        service="db", incident="db-1", attempt=2, strategy="failover", outcome="recovered", message="", seconds=1.0
    )
    story: Story = [*attempt(100), (150.0, step_started(2)), (160.0, other), *falls(200)]
    ledger = told(story)
    assert figures(ledger.history("restart"), now=300.0).relapses_24h == 0
    assert figures(ledger.history("failover"), now=300.0).relapses_24h == 1


def test_what_is_older_than_the_window_counts_no_longer() -> None:
    story = [*attempt(100), *falls(200), *attempt(300, "healed", acted=False)]
    assert earned(story, now=WINDOW + 99).relapses_24h == 1
    gone = earned(story, now=WINDOW + 301)
    assert gone == Trust()


def test_a_promotion_forgives_the_relapses_of_the_cures_before_it() -> None:
    promoted = j.StrategyPromoted(service="db", strategy="restart", by="ann")
    story: Story = [*attempt(100), *falls(200), *attempt(300), (400.0, promoted), *falls(500), *attempt(600)]
    history = told(story).history("restart")
    assert figures(history, now=700.0).relapses_24h == 2
    assert relapses_held_against(history, now=700.0) == 0
    history = told([*story, *falls(800)]).history("restart")
    assert relapses_held_against(history, now=900.0) == 1


@dataclass
class Reckoning:
    """The same by brute force."""

    tries: int = 0
    cures: int = 0
    relapses: int = 0


happened = st.tuples(st.floats(1, 2 * DAY), st.sampled_from(["fall", *Outcome]))


@given(st.lists(happened, max_size=30))
def test_in_any_history_the_figures_are_those_of_a_plain_reckoning(happenings: list[tuple[float, str]]) -> None:
    now, story, plain, cured_at = 10.0, [], Reckoning(), float("-inf")
    for pause, what in happenings:
        now += pause + 10
        if what == "fall":
            story += falls(now)
            plain.relapses += now - cured_at <= DAY
            cured_at = float("-inf")
            continue
        acted = what in {Outcome.RECOVERED, Outcome.FAILED, Outcome.UNCLEAR}
        story += attempt(now, what, acted=acted)
        plain.tries += acted
        plain.cures += what == Outcome.RECOVERED
        if acted:
            cured_at = now if what == Outcome.RECOVERED else float("-inf")
    found = earned(story, now=now + 3)
    assert (found.tries, found.cures, found.relapses_24h) == (plain.tries, plain.cures, plain.relapses)
    assert found.tries == found.cures + found.failures
    assert found.relapses_1h <= found.relapses_24h <= found.cures
