"""Which strategy comes next, and when."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from fakes import Act, Target, service, strategy
from reviver.core.ladder import Climb, HandOver, Ladder, WaitUntil, after, answering, next_move
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


def move(ladder: Ladder | None = None, *, fault: Fault = ILL, at: float = 1000.0, db: Service = DB) -> object:
    return next_move(db, ladder or Ladder(), fault, failing_since=0.0, now=at)


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
    assert next_move(db, Ladder(), ILL, failing_since=100.0, now=144.9) == WaitUntil(
        145.0, '"restart" waits until the fault has lasted long enough'
    )
    assert next_move(db, Ladder(), ILL, failing_since=100.0, now=145.0) == Climb(db.strategies[0])


def test_a_fault_that_becomes_certain_lets_it_act_sooner() -> None:
    db = service(Target("db"), replace(RESTART, after=None))
    assert next_move(db, Ladder(), CERTAIN, failing_since=100.0, now=102.0) == Climb(db.strategies[0])


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


def test_counting_keeps_the_other_rungs_and_the_backoff() -> None:
    ladder = replace(climbed(reconnect=1), not_before=5.0).counted("restart").counted("restart")
    assert (ladder.made("reconnect"), ladder.made("restart"), ladder.not_before) == (1, 2, 5.0)
    assert ladder.counted("restart", by=-1).made("restart") == 1
    assert Ladder().made("restart") == 0
