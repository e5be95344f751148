"""The belief about a service, after one answer and the next."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import Answer, Target, answered, service
from reviver.core import health
from reviver.core.health import (
    CERTAIN_PAUSE,
    DOWN_PAUSE,
    PASS_PAUSE,
    RUNS_KEPT,
    TRANSITIONS,
    VOID_SHARE,
    Belief,
    Run,
    Sample,
    Signal,
    judge,
    pause_until_next,
    signalled,
    streak,
    unproven,
    void,
)
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health

DB = service(Target("db"))  # fall 4, rise 3, interval 5 s, timeout 2 s, confirm 1 s
ILL, CANT_TELL = FaultKind.UNREACHABLE, "out of file descriptors"

UNKNOWN, UP, SUSPECT, DOWN, RECOVERING, PAUSED = Health
AFTER: dict[Health, dict[Signal, Health]] = {
    UNKNOWN: {Signal.PASSED: UP, Signal.ROSE: UP, Signal.FAILED: SUSPECT, Signal.FELL: DOWN, Signal.PAUSED: PAUSED},
    UP: {Signal.FAILED: SUSPECT, Signal.FELL: DOWN, Signal.BLINDED: UNKNOWN, Signal.PAUSED: PAUSED},
    SUSPECT: {
        Signal.PASSED: UP,
        Signal.ROSE: UP,
        Signal.FELL: DOWN,
        Signal.BLINDED: UNKNOWN,
        Signal.PAUSED: PAUSED,
    },
    DOWN: {Signal.ROSE: UP, Signal.TREATED: RECOVERING, Signal.PAUSED: PAUSED},
    RECOVERING: {Signal.CURED: UP, Signal.LEFT: DOWN, Signal.PAUSED: PAUSED},
    PAUSED: {Signal.RESUMED: UNKNOWN},
}
"""Written down once more, so that a change of the table is a change of mind."""


def sample(answer: Answer, at: float = 0.0, *, lag: float = 0.0) -> Sample:
    return Sample(result=answered(answer), asked_at=at, answered_at=at + 0.01, lag=lag)


def judged(*answers: Answer, belief: Belief | None = None) -> Belief:
    """The belief after *answers*, one a second."""
    belief = belief or Belief()
    for at, answer in enumerate(answers):
        belief = judge(belief, sample(answer, float(at)), DB)
    return belief


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("health", Health)
def test_each_signal_leads_where_the_table_says_and_nowhere_else(health: Health, signal: Signal) -> None:
    assert signalled(Belief(health=health), signal, 7.0).health is AFTER[health].get(signal, health)


def test_the_table_names_every_health() -> None:
    assert set(TRANSITIONS) == set(Health)


def test_a_signal_that_changes_nothing_gives_the_very_same_belief() -> None:
    up = Belief(health=UP, since=3.0)
    assert signalled(up, Signal.PASSED, 9.0) is up


def test_a_change_of_health_is_dated() -> None:
    assert signalled(Belief(health=UP), Signal.PAUSED, 9.0).since == 9.0


def test_the_figures_are_those_that_the_documentation_gives() -> None:
    assert (health.CERTAIN_PAUSE, health.PASS_PAUSE, health.DOWN_PAUSE, health.VOID_SHARE) == (0.1, 0.25, 5.0, 0.25)


def test_at_first_nothing_is_believed() -> None:
    nothing = Belief()
    assert (nothing.health, nothing.since, nothing.fault, nothing.failing_since) == (UNKNOWN, 0.0, None, None)
    assert (nothing.failures_in_row, nothing.passes_in_row, nothing.unknowns_in_row, nothing.runs) == (0, 0, 0, ())
    assert (nothing.noticed_at, nothing.fault_at) == (0.0, 0.0)
    assert Sample(result=answered(None), asked_at=1.0, answered_at=1.1).lag == 0.0


def test_one_failure_makes_a_service_suspect_not_down() -> None:
    assert judged(None, None, None, ILL).health is SUSPECT


def test_a_failed_service_that_passes_is_up_again_and_forgets_the_failure() -> None:
    belief = judged(None, ILL, ILL, ILL, None)
    assert (belief.health, belief.failures_in_row, belief.failing_since, belief.fault) == (UP, 0, None, None)


def test_as_many_failures_in_a_row_as_fall_says_make_it_down() -> None:
    assert judged(None, ILL, ILL, ILL).health is SUSPECT
    assert judged(None, ILL, ILL, ILL, ILL).health is DOWN


def test_a_service_that_never_passed_is_down_by_the_same_threshold() -> None:
    assert judged(ILL, ILL, ILL).health is SUSPECT
    assert judged(ILL, ILL, ILL, ILL).health is DOWN


def test_with_a_fall_of_one_a_single_failure_is_enough() -> None:
    assert judge(Belief(health=UP), sample(ILL), replace(DB, fall=1)).health is DOWN


def test_a_down_service_is_up_only_after_rise_passes_in_a_row() -> None:
    down = judged(ILL, ILL, ILL, ILL)
    assert judged(None, None, ILL, None, None, belief=down).health is DOWN
    assert judged(None, None, ILL, None, None, None, belief=down).health is UP


def test_failing_since_is_when_the_first_failed_question_was_asked_and_noticed_when_it_was_answered() -> None:
    belief = judged(None, ILL, ILL, ILL, ILL)
    assert (belief.failing_since, belief.noticed_at) == (1.0, 1.01)


def test_a_pass_too_few_does_not_move_the_beginning_of_the_failure() -> None:
    belief = judged(ILL, ILL, ILL, ILL, None, ILL)
    assert (belief.failing_since, belief.failures_in_row) == (0.0, 1)


def test_the_latest_fault_is_the_one_believed() -> None:
    belief = judged(ILL, FaultKind.TIMEOUT)
    assert belief.fault is not None
    assert (belief.fault.kind, belief.fault_at) == (FaultKind.TIMEOUT, 1.01)


def test_an_answer_that_can_not_tell_is_neither_a_pass_nor_a_failure() -> None:
    belief = judged(None, ILL, ILL, CANT_TELL, ILL)
    assert (belief.health, belief.failures_in_row) == (SUSPECT, 3)
    down = judged(ILL, ILL, ILL, ILL)
    assert judged(None, None, CANT_TELL, None, None, belief=down).health is DOWN


def test_a_check_that_can_not_tell_fall_times_leaves_the_service_unknown() -> None:
    assert judged(None, CANT_TELL, CANT_TELL, CANT_TELL).health is UP
    assert judged(None, CANT_TELL, CANT_TELL, CANT_TELL, CANT_TELL).health is UNKNOWN


def test_answers_that_tell_begin_the_row_of_those_that_can_not_anew() -> None:
    for told in (None, ILL):
        belief = judged(None, *[CANT_TELL] * 3, told, *[CANT_TELL] * 3)
        assert belief.health is not UNKNOWN
        assert judged(None, *[CANT_TELL] * 3, told).unknowns_in_row == 0


def test_each_kind_of_answer_ends_the_rows_of_the_others() -> None:
    assert judged(None, None, CANT_TELL).passes_in_row == 0
    failed = judged(None, None, ILL)
    assert (failed.passes_in_row, failed.unknowns_in_row, failed.failures_in_row) == (0, 0, 1)


def test_once_a_service_has_passed_often_enough_one_more_pass_changes_nothing() -> None:
    up = judged(None, None, None)
    assert judge(up, sample(None, 9.0), DB) is up
    assert judged(None, None).passes_in_row == 2


def test_a_service_that_goes_blind_while_it_fails_is_no_longer_failing() -> None:
    blind = judged(None, ILL, *[CANT_TELL] * 4)
    assert (blind.health, blind.failing_since, blind.fault, blind.runs) == (UNKNOWN, None, None, ())


def test_a_down_service_stays_down_when_the_check_can_not_tell() -> None:
    assert judged(ILL, ILL, ILL, ILL, *[CANT_TELL] * 10).health is DOWN


def test_failures_from_before_the_check_went_blind_do_not_count() -> None:
    blind = judged(None, ILL, ILL, ILL, *[CANT_TELL] * 4)
    assert blind.health is UNKNOWN
    assert judge(blind, sample(ILL, 3600.0), DB).health is not DOWN


@given(st.lists(st.sampled_from([ILL, FaultKind.TIMEOUT, None, CANT_TELL]), max_size=40))
def test_no_row_of_answers_makes_it_down_with_fewer_failures_than_fall(answers: list[Answer]) -> None:
    belief = Belief()
    for at, answer in enumerate(answers):
        before, belief = belief, judge(belief, sample(answer, float(at)), DB)
        if belief.health is DOWN and before.health is not DOWN:
            told = [each for each in answers[: at + 1] if each != CANT_TELL]
            assert None not in told[-DB.fall :]
            assert len(told) >= DB.fall


@given(st.lists(st.sampled_from([ILL, None, CANT_TELL]), max_size=40))
def test_a_fault_is_known_exactly_while_it_is_failing(answers: list[Answer]) -> None:
    belief = judged(*answers)
    assert (belief.fault is None) == (belief.failing_since is None)


def test_an_open_incident_outlives_blindness_but_has_to_be_confirmed_anew() -> None:
    blind = judged(ILL, ILL, ILL, ILL, *[CANT_TELL] * 4)
    assert (blind.health, blind.failures_in_row, blind.failing_since, blind.runs) == (DOWN, 0, 0.0, ())
    assert blind.fault is not None


# ------------------------------------------------------------------------------------------------------ rows by kind


def test_a_row_of_failures_is_known_by_kind() -> None:
    belief = judged(None, ILL, ILL, FaultKind.TIMEOUT, ILL)
    assert belief.runs == (Run(ILL, 1.0, 2), Run(FaultKind.TIMEOUT, 3.0, 1), Run(ILL, 4.0, 1))
    assert judged(ILL, belief=belief).runs == (*belief.runs[:2], Run(ILL, 4.0, 2))
    assert judged(None, belief=belief).runs == ()


def test_a_streak_ends_at_the_first_failure_of_another_kind() -> None:
    belief = judged(FaultKind.SLOW, ILL, FaultKind.TIMEOUT, ILL)
    assert streak(belief, {ILL}) == (1, 3.0)
    assert streak(belief, {ILL, FaultKind.TIMEOUT}) == (3, 1.0)
    assert streak(belief, set(FaultKind)) == (4, 0.0)
    assert streak(belief, {FaultKind.SLOW}) == (0, float("inf"))


@given(st.lists(st.sampled_from(list(FaultKind)[:3]), min_size=200, max_size=200))
def test_what_is_kept_of_a_long_row_is_bounded(kinds: list[FaultKind]) -> None:
    assert len(judged(*kinds).runs) <= RUNS_KEPT


def test_the_newest_of_a_long_row_are_kept() -> None:
    belief = judged(*[ILL, FaultKind.TIMEOUT] * 10)
    assert [run.since for run in belief.runs] == [float(at) for at in range(4, 20)]


def test_what_has_to_be_confirmed_anew_starts_from_nothing() -> None:
    forgotten = unproven(judged(ILL, ILL, ILL, ILL))
    assert (forgotten.health, forgotten.failures_in_row, forgotten.runs) == (DOWN, 0, ())


# ---------------------------------------------------------------------------------------------------- void samples


def test_a_failure_while_reviver_itself_was_late_does_not_count() -> None:
    belief = Belief(health=UP, passes_in_row=9)
    assert judge(belief, sample(ILL, lag=VOID_SHARE * DB.timeout + 0.01), DB) is belief


def test_a_failure_counts_while_the_lag_is_within_its_share_of_the_timeout() -> None:
    assert judge(Belief(health=UP), sample(ILL, lag=VOID_SHARE * DB.timeout), DB).failures_in_row == 1


def test_a_pass_is_a_pass_however_late() -> None:
    assert not void(sample(None, lag=1000.0), timeout=DB.timeout)
    assert judge(Belief(), sample(None, lag=1000.0), DB).health is UP


def test_void_failures_alone_never_make_a_service_suspect() -> None:
    belief = Belief(health=UP, passes_in_row=3)
    for at in range(100):
        belief = judge(belief, sample(ILL, float(at), lag=5.0), DB)
    assert belief.health is UP


# ------------------------------------------------------------------------------------------------- special signals


def test_after_a_pause_the_service_is_judged_afresh() -> None:
    paused = replace(judged(ILL, ILL, ILL, ILL), health=PAUSED)
    assert signalled(paused, Signal.RESUMED, 50.0) == Belief(health=UNKNOWN, since=50.0)


def test_what_passed_before_the_treatment_proves_nothing_about_it() -> None:
    down = replace(judged(ILL, ILL, ILL, ILL, None, None), health=DOWN)
    treated = signalled(down, Signal.TREATED, 50.0)
    assert (treated.health, treated.passes_in_row, treated.since) == (RECOVERING, 0, 50.0)


def test_a_cured_service_starts_with_a_clean_slate() -> None:
    recovering = replace(judged(ILL, ILL, ILL, ILL), health=RECOVERING)
    cured = signalled(recovering, Signal.CURED, 50.0)
    assert (cured.health, cured.failures_in_row, cured.failing_since, cured.fault) == (UP, 0, None, None)
    assert (cured.since, cured.runs) == (50.0, ())


def test_passes_during_a_recovery_do_not_end_it() -> None:
    recovering = replace(judged(ILL, ILL, ILL, ILL), health=RECOVERING)
    passing = judged(None, None, None, None, belief=recovering)
    assert (passing.health, passing.failing_since, passing.fault) == (RECOVERING, 0.0, recovering.fault)


def test_a_paused_service_is_still_asked_and_its_passes_are_counted() -> None:
    paused = replace(judged(ILL, ILL, ILL, ILL), health=PAUSED)
    belief = judged(None, None, None, belief=paused)
    assert (belief.health, belief.passes_in_row, belief.failing_since) == (PAUSED, 3, None)
    assert judged(None, None, belief=paused).failing_since == 0.0


# ----------------------------------------------------------------------------------------------- when to ask again


def certain(belief: Belief) -> Belief:
    return replace(belief, fault=Fault(kind=ILL, message="its process is gone", certain=True))


@pytest.mark.parametrize(
    ("belief", "pause"),
    [
        (Belief(), DB.interval),
        (judged(None), DB.interval),
        (judged(None, ILL), DB.confirm),
        (certain(judged(None, ILL)), CERTAIN_PAUSE),
        (judged(ILL, ILL, ILL, ILL), DOWN_PAUSE),
        (certain(judged(ILL, ILL, ILL, ILL)), DOWN_PAUSE),
        (judged(ILL, ILL, ILL, ILL, None), PASS_PAUSE),
        (replace(judged(ILL, ILL, ILL, ILL), health=PAUSED), DB.interval),
        (replace(judged(ILL, ILL, ILL, ILL, None), health=PAUSED), DB.interval),
    ],
    ids=[
        "unknown",
        "up",
        "suspect",
        "suspect for certain",
        "down",
        "down for certain",
        "passing again",
        "paused",
        "paused, passing",
    ],
)
def test_how_soon_it_is_asked_again_follows_the_belief(belief: Belief, pause: float) -> None:
    assert pause_until_next(belief, DB) == pause


@pytest.mark.parametrize("health", [DOWN, RECOVERING])
def test_what_is_seldom_asked_is_asked_more_often_while_it_is_down(health: Health) -> None:
    belief = replace(judged(ILL, ILL, ILL, ILL), health=health)
    assert pause_until_next(belief, replace(DB, interval=60.0)) == 5.0


def test_a_down_service_that_must_be_confirmed_anew_is_asked_quickly() -> None:
    belief = replace(judged(ILL, ILL, ILL, ILL), failures_in_row=0)
    assert pause_until_next(belief, DB) == DB.confirm


@given(st.sampled_from(Health), st.integers(0, 6), st.integers(0, 6), st.booleans(), st.floats(0.1, 60))
def test_no_belief_lets_it_be_asked_less_often_than_the_interval(
    health: Health, failures: int, passes: int, is_certain: bool, interval: float
) -> None:
    fault = Fault(kind=ILL, message="it is", certain=is_certain)
    belief = Belief(
        health=health,
        failures_in_row=failures,
        passes_in_row=passes,
        failing_since=1.0 if failures else None,
        fault=fault,
    )
    assert 0 < pause_until_next(belief, replace(DB, interval=interval)) <= interval
