"""Reasons not to act now."""

from dataclasses import replace
from typing import Any

import pytest

from fakes import Act, Target, service, strategy
from reviver.core.guards import Held, Situation, Spent, hard_stop, lifted, may_act
from reviver.model.services import Budget, DaemonPolicy, Mode, Strategy

RESTART = strategy(Act())
DB = service(Target("db"), RESTART, budgets=(Budget(attempts=2, per=3600.0),))
POLICY = DaemonPolicy(budget=Budget(attempts=5, per=900.0))
CALM = Situation(policy=POLICY)
NOW = 10_000.0


def barrier(situation: Situation = CALM, rung: Strategy = RESTART) -> Held | Spent | None:
    return may_act(DB, rung, situation, now=NOW)


def guard(situation: Situation = CALM, rung: Strategy = RESTART) -> str:
    found = barrier(situation, rung)
    return "" if found is None else "spent" if isinstance(found, Spent) else found.guard


def test_when_nothing_speaks_against_it_it_may_act() -> None:
    assert barrier() is None


@pytest.mark.parametrize(
    ("situation", "word"),
    [
        (replace(CALM, stopping=True), "stopping"),
        (replace(CALM, journal_broken="the disk is full"), "journal"),
        (replace(CALM, policy=replace(POLICY, mode=Mode.OBSERVE)), "observe"),
        (replace(CALM, policy=replace(POLICY, mode=Mode.APPROVE)), "approval"),
        (replace(CALM, demoted={"restart": "it broke api"}), "approval"),
        (replace(CALM, dependencies_down=("disk",)), "dependency"),
        (replace(CALM, stand_down=Held("lock", "deploy by ann")), "lock"),
        (replace(CALM, observer_suspect="3 of 10 hosts"), "observer"),
        (replace(CALM, running=("api",)), "at_once"),
        (replace(CALM, used_here_at={"restart": [NOW - 2, NOW - 1]}), "spent"),
        (replace(CALM, used_at=[NOW - 5, NOW - 4, NOW - 3, NOW - 2, NOW - 1]), "budget"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_guard_holds_and_has_its_word(situation: Situation, word: str) -> None:
    assert guard(situation) == word


def test_the_guards_are_told_in_this_order() -> None:
    everything = Situation(
        policy=replace(POLICY, mode=Mode.OBSERVE),
        dependencies_down=("disk",),
        running=("api",),
        used_at=[NOW - 1] * 5,
        used_here_at={"restart": [NOW - 1] * 2},
        stand_down=Held("maintenance", "until four"),
        observer_suspect="cut off",
        journal_broken="full",
        stopping=True,
    )
    order = []
    lifts: list[dict[str, Any]] = [
        {},
        {"stopping": False},
        {"journal_broken": ""},
        {"policy": replace(POLICY, mode=Mode.APPROVE)},
        {"policy": POLICY},
        {"dependencies_down": ()},
        {"stand_down": None},
        {"observer_suspect": ""},
        {"running": ()},
        {"used_here_at": {}},
        {"used_at": ()},
    ]
    for changes in lifts:
        everything = replace(everything, **changes)
        order.append(guard(everything))
    assert order == [
        "stopping",
        "journal",
        "observe",
        "approval",
        "dependency",
        "maintenance",
        "observer",
        "at_once",
        "spent",
        "budget",
        "",
    ]


@pytest.mark.parametrize("ceiling", Mode)
@pytest.mark.parametrize("mode", Mode)
def test_the_stricter_of_the_two_modes_counts(mode: Mode, ceiling: Mode) -> None:
    found = guard(replace(CALM, policy=replace(POLICY, mode=ceiling)), replace(RESTART, mode=mode))
    strict = [Mode.OBSERVE, Mode.APPROVE, Mode.AUTO]
    assert (
        found
        == {Mode.OBSERVE: "observe", Mode.APPROVE: "approval", Mode.AUTO: ""}[min(mode, ceiling, key=strict.index)]
    )


def test_the_budget_of_a_strategy_counts_its_own_attempts_only() -> None:
    own = replace(RESTART, budgets=(Budget(attempts=1, per=3600.0),))
    assert guard(replace(CALM, used_here_at={"failover": [NOW - 2]}), own) == ""
    spent = may_act(DB, own, replace(CALM, used_here_at={"restart": [NOW - 2]}), now=NOW)
    assert isinstance(spent, Spent)
    assert spent.strategy == "restart"


def test_the_budget_of_a_service_counts_the_attempts_of_all_its_strategies() -> None:
    spent = may_act(DB, RESTART, replace(CALM, used_here_at={"failover": [NOW - 2], "restart": [NOW - 1]}), now=NOW)
    assert isinstance(spent, Spent)
    assert (spent.strategy, spent.reason) == ("", "the budget of db is spent: reviver made 2 attempts within 1 h")


def test_a_spent_overall_budget_says_when_the_next_may_start() -> None:
    held = barrier(replace(CALM, used_at=[NOW - 100] * 5))
    assert isinstance(held, Held)
    assert held.until == NOW + 800
    assert held.reason == "reviver's overall budget is spent: 5 attempts in 15 min; the next may start in 13 min 20 s"


def test_a_held_dependency_is_told_by_name() -> None:
    held = barrier(replace(CALM, dependencies_down=("disk", "network")))
    assert isinstance(held, Held)
    assert held.reason == "disk, network are not up; db is looked at again once that is"


def test_one_held_dependency_is_told_in_the_singular() -> None:
    held = barrier(replace(CALM, dependencies_down=("disk",)))
    assert isinstance(held, Held)
    assert held.reason == "disk is not up; db is looked at again once that is"


@pytest.mark.parametrize("ceiling", Mode)
@pytest.mark.parametrize("mode", Mode)
def test_lifting_the_observing_lifts_nothing_but_observing(mode: Mode, ceiling: Mode) -> None:
    rung, situation = lifted(replace(RESTART, mode=mode), replace(CALM, policy=replace(POLICY, mode=ceiling)))
    assert rung == replace(RESTART, mode=Mode.AUTO if mode is Mode.OBSERVE else mode)
    assert situation.policy == replace(POLICY, mode=Mode.AUTO if ceiling is Mode.OBSERVE else ceiling)


def test_lifting_the_observing_keeps_every_other_guard() -> None:
    held = replace(CALM, policy=replace(POLICY, mode=Mode.OBSERVE), running=("api",), observer_suspect="cut off")
    assert lifted(RESTART, held) == (RESTART, replace(held, policy=POLICY))


def test_several_attempts_at_once_are_allowed_up_to_the_policy() -> None:
    two = replace(CALM, policy=replace(POLICY, at_once=2))
    assert guard(replace(two, running=("api",))) == ""
    assert guard(replace(two, running=("api", "cache"))) == "at_once"


def test_only_stopping_a_broken_journal_a_freeze_and_observing_withstand_a_person() -> None:
    assert hard_stop(replace(CALM, running=("api",), dependencies_down=("disk",), observer_suspect="cut off")) is None
    assert hard_stop(replace(CALM, policy=replace(POLICY, mode=Mode.APPROVE))) is None
    for situation in (
        replace(CALM, stopping=True),
        replace(CALM, journal_broken="full"),
        replace(CALM, frozen="frozen by ann"),
        replace(CALM, policy=replace(POLICY, mode=Mode.OBSERVE)),
    ):
        assert hard_stop(situation) is not None


def test_a_demoted_strategy_says_why_and_both_ways_out() -> None:
    found = barrier(replace(CALM, demoted={"restart": "it broke api"}))
    assert isinstance(found, Held)
    assert found.reason == (
        '"restart" was demoted to approve: it broke api; reviver approve db starts it, '
        "reviver promote db restart trusts it again"
    )


def test_a_demotion_raises_no_mode_and_is_of_no_other_strategy() -> None:
    assert guard(replace(CALM, demoted={"failover": "it broke api"})) == ""
    observing = replace(RESTART, mode=Mode.OBSERVE)
    assert guard(replace(CALM, demoted={"restart": "it broke api"}), observing) == "observe"
