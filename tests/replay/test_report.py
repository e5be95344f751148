"""The report: what would have been done is held against what came of it then."""

from pathlib import Path

import anyio
import pytest

from fakes import NOON, Act, Life, Target, heals, service, strategy
from replay.recording import RecordedStage, Script, play
from reviver.incidents.history import Begun
from reviver.model.faults import FaultKind
from reviver.model.services import DaemonPolicy, Mode, Service
from reviver.replay.judging import Verdict
from reviver.replay.report import Report, replay
from virtual import VirtualLoop

DOWN = FaultKind.UNREACHABLE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def report(path: Path, *services: Service, last: float = 1e9, only: tuple[str, ...] = ()) -> Report:
    return replay(path, {each.name: each for each in services}, DaemonPolicy(), last=last, only=only)


def acting(target: Target | None = None, *, after: float = 20.0, **settings: object) -> Service:
    return service(target or Target(), strategy(Act(), after=after), **settings)


def test_an_attempt_upon_what_came_back_by_itself_is_needless(path: Path) -> None:
    play(path, [service(Target())], {"db": [(100.0, DOWN), (150.0, None)]}, lasting=600.0)
    found = report(path, acting())
    [told] = found.incidents
    assert {action.verdict for action in told.actions} == {Verdict.NEEDLESS}
    assert told.actions[0].at == pytest.approx(NOON + 120.0, abs=6.0)
    assert told.actions[0].why.startswith("needless: it came back by itself 2")
    assert found.now.needless == len(told.actions)
    assert (found.then.attempts, found.then.needless) == ({}, None)


def test_an_attempt_where_the_recorded_daemon_acted_is_told_as_such_and_lasts_as_long_as_that_one(path: Path) -> None:
    target = Target()
    then = service(target, strategy(heals(target), after=60.0))
    play(path, [then], {"db": [(100.0, DOWN)]}, lasting=600.0)
    found = report(path, acting(after=20.0))
    [told] = found.incidents
    assert told.actions[0].verdict is Verdict.RECORDED_TOO
    assert 'the recorded daemon acted, too ("restart"), 40 s later' in told.actions[0].why
    assert found.now.needless == 0
    assert found.then.attempts == {"restart": 1}


def test_an_attempt_upon_what_lasted_is_not_needless(path: Path) -> None:
    play(path, [service(Target())], {"db": [(100.0, DOWN)]}, lasting=600.0)
    [told] = report(path, acting()).incidents
    assert {action.verdict for action in told.actions} == {Verdict.LASTED}


def test_what_was_handed_over_then_and_well_later_may_be_peoples_doing(path: Path) -> None:
    play(path, [service(Target())], {"db": [(100.0, DOWN), (500.0, None)]}, lasting=600.0)
    [told] = report(path, acting()).incidents
    assert {action.verdict for action in told.actions} == {Verdict.PEOPLE}


def test_what_a_person_recovered_then_is_theirs(path: Path) -> None:
    target = Target()

    async def meanwhile(life: Life) -> None:
        await anyio.sleep(200.0)
        await life.control.recover("db", by="ann", strategy=None, dry_run=False)

    then = service(target, strategy(heals(target), mode=Mode.APPROVE))
    play(path, [then], {"db": [(100.0, DOWN)]}, lasting=600.0, meanwhile=meanwhile)
    [told] = report(path, acting()).incidents
    assert told.actions[0].verdict is Verdict.PEOPLE
    assert 'ann acted ("restart"), 1 min 20 s later' in told.actions[0].why


def test_a_recorded_incident_that_would_be_none_is_listed_as_left_alone(path: Path) -> None:
    play(path, [service(Target())], {"db": [(100.0, DOWN), (115.0, None)]}, lasting=600.0)
    found = report(path, acting(fall=60))
    [told] = found.incidents
    assert told.noticed_after is None
    assert told.outcome.startswith("left alone, over after 1")
    assert (found.then.incidents, found.now.incidents) == (1, 0)
    assert (found.then.left_alone, found.now.left_alone) == (0, 1)


def test_detection_is_measured_from_the_same_beginning_for_both(path: Path) -> None:
    play(path, [service(Target())], {"db": [(101.0, DOWN), (160.0, None)]}, lasting=600.0)
    found = report(path, service(Target(), fall=8))
    assert found.then.detected_p50 == found.then.detected_p99 == pytest.approx(5.5, abs=0.2)
    assert found.now.detected_p50 == pytest.approx(9.5, abs=0.2)


def test_services_that_only_one_side_knows_are_named(path: Path) -> None:
    play(path, [service(Target("db")), service(Target("old"))], {}, lasting=60.0)
    found = report(path, acting(), acting(Target("new")))
    assert (found.without_history, found.not_in_settings) == (["new"], ["old"])


def test_the_time_in_which_the_daemon_did_not_run_is_a_gap(path: Path) -> None:
    stage, target = RecordedStage(path), Target()

    async def scene() -> None:
        for _ in range(2):
            async with stage.recorded(service(target)):
                await anyio.sleep(100.0)
            await anyio.sleep(50.0)

    anyio.run(scene, backend_options={"loop_factory": VirtualLoop})
    stage.close()
    [gap] = report(path, acting()).gaps
    assert (gap.service, gap.why) == ("db", Begun.START)
    assert gap.until - gap.since == pytest.approx(50.0, abs=5.5)


def test_only_the_time_asked_for_and_the_services_asked_for_are_told_of(path: Path) -> None:
    script: Script = {"db": [(100.0, DOWN), (160.0, None), (900.0, DOWN), (960.0, None)], "api": [(900.0, DOWN)]}
    play(path, [service(Target("db")), service(Target("api"))], script, lasting=1200.0)
    services = [acting(), acting(Target("api"))]
    assert len(report(path, *services).incidents) == 3
    late = report(path, *services, last=600.0)
    assert [told.service for told in late.incidents] == ["db", "api"]
    assert late.until - late.since == pytest.approx(600.0)
    assert [told.service for told in report(path, *services, last=600.0, only=("api",)).incidents] == ["api"]
