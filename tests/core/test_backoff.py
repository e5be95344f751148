"""The pauses before retries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.core.backoff import delay
from reviver.model.services import Backoff, Jitter

seconds = st.floats(0, 1e6)
policies = st.builds(Backoff, initial=seconds, factor=st.floats(1, 1e9), max=seconds, jitter=st.sampled_from(Jitter))
attempts = st.integers(1, 10_000)
randoms = st.floats(0, 1, exclude_max=True)


@given(attempts, policies, randoms)
def test_no_pause_is_longer_than_the_longest_nor_negative(attempt: int, policy: Backoff, random: float) -> None:
    assert 0 <= delay(attempt, policy, random=random) <= policy.max


@given(attempts, policies, randoms)
def test_no_pause_is_shorter_than_half_of_the_initial_one_whatever_the_jitter(
    attempt: int, policy: Backoff, random: float
) -> None:
    assert delay(attempt, policy, random=random) >= min(policy.initial, policy.max) / 2


@given(attempts, policies, randoms)
def test_later_pauses_are_never_shorter(attempt: int, policy: Backoff, random: float) -> None:
    assert delay(attempt + 1, policy, random=random) >= delay(attempt, policy, random=random) * (1 - 1e-9)


@pytest.mark.parametrize(("attempt", "pause"), [(1, 30.0), (2, 60.0), (3, 120.0), (7, 1800.0), (99, 1800.0)])
def test_without_jitter_the_pause_doubles_up_to_the_longest(attempt: int, pause: float) -> None:
    assert delay(attempt, Backoff(jitter=Jitter.NONE), random=0.9) == pause


def test_equal_jitter_spreads_the_upper_half() -> None:
    policy = Backoff(initial=10.0, factor=2.0, max=100.0, jitter=Jitter.EQUAL)
    assert [delay(2, policy, random=r) for r in (0.0, 0.5)] == [10.0, 15.0]


def test_full_jitter_starts_from_the_initial_pause_and_not_from_zero() -> None:
    policy = Backoff(initial=10.0, factor=2.0, max=100.0, jitter=Jitter.FULL)
    assert [delay(3, policy, random=r) for r in (0.0, 0.5)] == [10.0, 25.0]


def test_an_initial_pause_beyond_the_longest_is_cut() -> None:
    assert delay(1, Backoff(initial=50.0, max=20.0, jitter=Jitter.FULL), random=0.5) == 20.0
