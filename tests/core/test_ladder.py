"""Which strategy comes next, and when."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from fakes import Act, Target, service, strategy
from reviver.core.health import Belief, Run
from reviver.core.ladder import Climb, Confirming, HandOver, Ladder, Move, WaitUntil, after, answering, next_move
from reviver.model.actions import Effect
from reviver.model.faults import WAIT_FOR_IT, Fault, FaultKind
from reviver.model.services import Service


@dataclass(eq=False, kw_only=True)
class Gentle(Act):
    default_after: ClassVar[float] = 10.0


@dataclass(eq=False, kw_only=True)
class Harsh(Act):
    default_after: ClassVar[float] = 45.0


ILL = Fault(kind=FaultKind.UNREACHABLE, message="refused")
CERTAIN = replace(ILL, certain=True)
RESTORE = Act(effect=Effect.DESTRUCTIVE)

RECONNECT = strategy(Gentle(), name="reconnect", attempts=1)
RESTART = strategy(Harsh(), name="restart", attempts=2)
OTHER = strategy(Act(), name="other", faults=[FaultKind.DISK_FULL])
DB = service(Target("db"), RECONNECT, OTHER, RESTART)


def climbed(**made: int) -> Ladder:
    return Ladder(attempts=tuple(made.items()))


# ------------------------------------------------------------------------------------- how long a fault must last


def test_by_default_it_follows_the_dearest_step() -> None:
    assert after(strategy(Gentle(), Harsh(), Gentle(), after=None), certain=False) == 45.0


def test_certain_evidence_shortens_it() -> None:
    assert after(strategy(Harsh(), after=None), certain=True) == 2.0


def test_certain_evidence_never_lengthens_it() -> None:
    @dataclass(eq=False, kw_only=True)
    class Instant(Act):
        default_after: ClassVar[float] = 0.5

    assert after(strategy(Instant(), after=None), certain=True) == 0.5


@pytest.mark.parametrize("certain", [True, False])
def test_what_destroys_waits_for_150_seconds_however_certain_the_evidence(certain: bool) -> None:
    assert after(strategy(Gentle(), RESTORE, after=None), certain=certain) == 150.0


@pytest.mark.parametrize("certain", [True, False])
@pytest.mark.parametrize("action", [Gentle(), RESTORE], ids=["gentle", "destructive"])
def test_what_the_settings_say_is_obeyed_even_if_it_is_nothing(action: Act, certain: bool) -> None:
    assert after(strategy(action, after=0.0), certain=certain) == 0.0


def test_a_strategy_without_steps_waits_for_nothing() -> None:
    assert after(strategy(after=None), certain=False) == 0.0


# --------------------------------------------------------------------------------------------------------- climbing


def failing(*runs: Run) -> Belief:
    return Belief(runs=runs)


def move(
    ladder: Ladder | None = None,
    *,
    fault: Fault = ILL,
    since: float = 0.0,
    at: float = 1000.0,
    db: Service = DB,
    belief: Belief | None = None,
) -> Move:
    belief = belief or failing(Run(fault.kind, since, db.fall))
    return next_move(db, ladder or Ladder(), belief, fault, now=at)


def test_the_first_rung_that_answers_the_fault_comes_first() -> None:
    assert move() == Climb(RECONNECT)


def test_rungs_for_other_faults_are_passed_over() -> None:
    assert [rung.name for rung in answering(DB, ILL)] == ["reconnect", "restart"]


def test_the_next_rung_follows_when_one_is_exhausted() -> None:
    assert move(climbed(reconnect=1)) == Climb(RESTART)
    assert move(climbed(reconnect=1, restart=1)) == Climb(RESTART)


def test_after_the_last_rung_come_people_and_are_told_what_was_tried() -> None:
    told = move(climbed(reconnect=1, restart=2))
    assert isinstance(told, HandOver)
    assert told.reason == 'every strategy for unreachable was tried: "reconnect" (1 times), "restart" (2 times)'


def test_a_rung_waits_until_the_fault_has_lasted_long_enough() -> None:
    db = service(Target("db"), replace(RESTART, after=None))
    why = '"restart" waits until the fault has lasted for 45 s'
    assert move(db=db, since=100.0, at=144.9) == WaitUntil(145.0, why)
    assert move(db=db, since=100.0, at=145.0) == Climb(db.strategies[0])


def test_a_fault_that_becomes_certain_lets_it_act_sooner() -> None:
    db = service(Target("db"), replace(RESTART, after=None))
    assert move(db=db, fault=CERTAIN, since=100.0, at=102.0) == Climb(db.strategies[0])


def test_a_rung_waits_for_its_backoff() -> None:
    waiting = replace(climbed(reconnect=1, restart=1), not_before=1060.0)
    assert isinstance(move(waiting), WaitUntil)
    assert move(waiting, at=1060.0) == Climb(RESTART)


def test_a_fault_that_no_rung_answers_is_for_people_at_once() -> None:
    told = move(fault=Fault(kind=FaultKind.TLS_INVALID, message="expired"))
    assert told == HandOver("no strategy of db answers tls_invalid")


@pytest.mark.parametrize("kind", sorted(WAIT_FOR_IT))
def test_a_fault_that_passes_by_itself_is_waited_for_with_patience(kind: FaultKind) -> None:
    fault = Fault(kind=kind, message="soon")
    assert isinstance(move(fault=fault, at=DB.patience - 1), WaitUntil)
    assert isinstance(move(fault=fault, at=DB.patience), HandOver)


def test_a_fault_that_passes_by_itself_is_treated_where_a_rung_answers_it() -> None:
    db = service(Target("db"), strategy(Gentle(), name="kill script", faults=[FaultKind.LOADING]))
    assert move(fault=Fault(kind=FaultKind.LOADING, message="soon"), db=db) == Climb(db.strategies[0])


# ------------------------------------------------------------------------------------------------------ confirming

MISSING = Fault(kind=FaultKind.DATABASE_MISSING, message="no such database")
RESTORE_IT = strategy(RESTORE, name="restore", faults=[FaultKind.DATABASE_MISSING], after=None)
BOTH = service(Target("db"), RESTART, RESTORE_IT)


def test_failures_of_another_kind_confirm_nothing() -> None:
    long_ill = failing(Run(ILL.kind, 0.0, 500), Run(MISSING.kind, 900.0, 3))
    assert move(fault=MISSING, belief=long_ill, db=BOTH) == Confirming()


def test_a_fault_lasts_since_its_own_first_failure_and_not_since_another() -> None:
    long_ill = failing(Run(ILL.kind, 0.0, 500), Run(MISSING.kind, 900.0, 4))
    assert move(fault=MISSING, belief=long_ill, db=BOTH, at=1049.0).at == 1050.0  # type: ignore[union-attr]
    assert move(fault=MISSING, belief=long_ill, db=BOTH, at=1050.0) == Climb(RESTORE_IT)


def test_faults_that_one_rung_answers_confirm_each_other() -> None:
    either = strategy(Gentle(), faults=[ILL.kind, FaultKind.TIMEOUT])
    turn_about = failing(*(Run(kind, 10.0, 1) for kind in [ILL.kind, FaultKind.TIMEOUT] * 2))
    assert move(belief=turn_about, db=service(Target("db"), either)) == Climb(either)


def test_faults_without_any_rung_confirm_each_other() -> None:
    turn_about = failing(*(Run(kind, 10.0, 1) for kind in [FaultKind.SLOW, FaultKind.TLS_INVALID] * 2))
    assert isinstance(move(fault=Fault(kind=FaultKind.SLOW, message="slow"), belief=turn_about), HandOver)


def test_one_answer_without_a_rung_is_not_for_people() -> None:
    odd = failing(Run(ILL.kind, 0.0, 500), Run(FaultKind.TLS_INVALID, 900.0, 1))
    assert move(fault=Fault(kind=FaultKind.TLS_INVALID, message="expired"), belief=odd) == Confirming()


def test_an_exhausted_ladder_is_for_people_only_once_its_fault_is_confirmed() -> None:
    odd = failing(Run(FaultKind.TLS_INVALID, 0.0, 500), Run(ILL.kind, 900.0, 1))
    assert move(climbed(reconnect=1, restart=2), belief=odd) == Confirming()


def test_counting_keeps_the_other_rungs_and_the_backoff() -> None:
    ladder = replace(climbed(reconnect=1), not_before=5.0).counted("restart").counted("restart")
    assert (ladder.made("reconnect"), ladder.made("restart"), ladder.not_before) == (1, 2, 5.0)
    assert ladder.counted("restart", by=-1).made("restart") == 1
    assert Ladder().made("restart") == 0


NARROW = strategy(Act(), name="narrow", faults=[ILL.kind])
WIDE = strategy(Act(), name="wide", faults=[ILL.kind, MISSING.kind])
LATELY = failing(Run(MISSING.kind, 10.0, 3), Run(ILL.kind, 13.0, 1))


def test_a_rung_is_confirmed_by_its_own_faults_and_not_by_those_of_the_last() -> None:
    assert move(belief=LATELY, db=service(Target("db"), NARROW, WIDE)) == Confirming()


def test_an_exhausted_ladder_is_confirmed_by_the_faults_of_its_last_rung() -> None:
    exhausted = climbed(narrow=3, wide=3)
    assert isinstance(move(exhausted, belief=LATELY, db=service(Target("db"), NARROW, WIDE)), HandOver)
    assert move(exhausted, belief=LATELY, db=service(Target("db"), WIDE, NARROW)) == Confirming()
