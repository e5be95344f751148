"""The name of a plan that a person approves."""

from dataclasses import replace

import pytest

from fakes import Act, strategy
from reviver.core.approval import plan, token
from reviver.model.services import Strategy

RESTART = strategy(Act(name="stop it"), Act(name="start it"))


def test_a_plan_says_what_each_step_would_do_in_order() -> None:
    assert plan(RESTART) == [step.action.describe() for step in RESTART.steps]
    assert len(set(plan(RESTART))) == 2


def test_the_same_plan_has_the_same_short_name() -> None:
    assert token("db-1", 1, RESTART) == token("db-1", 1, RESTART)
    assert len(token("db-1", 1, RESTART)) == 12


@pytest.mark.parametrize(
    ("incident", "attempt", "other"),
    [
        ("db-2", 1, RESTART),
        ("db-1", 2, RESTART),
        ("db-1", 1, replace(RESTART, name="failover")),
        ("db-1", 1, replace(RESTART, steps=RESTART.steps[:1])),
        ("db-1", 1, replace(RESTART, steps=RESTART.steps[::-1])),
        ("db-1", 1, strategy(Act(name="stop it"), Act(name="start it"), timeout=31.0)),
    ],
    ids=["incident", "attempt", "strategy", "fewer steps", "another order", "another timeout"],
)
def test_another_plan_has_another_name(incident: str, attempt: int, other: Strategy) -> None:
    assert token(incident, attempt, other) != token("db-1", 1, RESTART)
