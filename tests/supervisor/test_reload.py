"""New settings while it runs: what is unchanged is left alone, attempts under way come to their end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import anyio
import pytest

from fakes import Act, Life, Scripted, ScriptedProbe, Stage, Target, heals, service, strategy, until
from reviver.model import journal as j
from reviver.model.checks import CheckContext
from reviver.model.control import ControlRefused
from reviver.model.events import Checked, HealthChanged, ServicesChanged
from reviver.model.faults import FaultKind
from reviver.model.services import DaemonPolicy, Mode, Service
from reviver.supervisor.watched import Process
from virtual import virtual

ILL = FaultKind.UNREACHABLE


def reload(life: Life, *services: Service, policy: DaemonPolicy | None = None) -> None:
    life.replace_services({each.name: each for each in services}, policy or life.policy)


def names(life: Life) -> list[str]:
    return list(life.watched)


@virtual
async def test_an_added_service_is_watched() -> None:
    stage, api = Stage(), Target("api")
    db_service = service(Target("db"))
    async with stage.life(db_service) as life:
        await anyio.sleep(10)
        reload(life, db_service, service(api))
        await anyio.sleep(10)
        assert life.health("api") == "up"
    told = stage.recorder.of(ServicesChanged)
    assert [name for event in told for name, _ in event.added] == ["db", "api"]


@virtual
async def test_a_removed_service_is_asked_no_more_and_its_incident_withdrawn() -> None:
    stage, db = Stage(), Target("db")
    other = service(Target("other"))
    async with stage.life(service(db), other) as life:
        db.becomes(ILL)
        await until(lambda: "incident_opened" in stage.entries)
        reload(life, other)
        asked = len(db.asked)
        await anyio.sleep(100)
        assert len(db.asked) == asked
        assert names(life) == ["other"]
    assert stage.entries[-1] == "incident_withdrawn"
    assert [each.removed for each in stage.recorder.of(ServicesChanged)][-1] == ("db",)


@virtual
async def test_a_service_removed_during_its_attempt_goes_when_that_has_ended() -> None:
    stage, db = Stage(), Target("db")
    first, second = Act(takes=5.0), Act()
    async with stage.life(service(db, strategy(first, second))) as life:
        db.becomes(ILL)
        await until(lambda: first.runs)
        reload(life)
        assert names(life) == ["db"]
        await anyio.sleep(30)
        assert names(life) == []
        assert (len(first.done), second.runs) == (1, [])
        asked = len(db.asked)
        await anyio.sleep(30)
        assert len(db.asked) == asked
    assert stage.of(j.AttemptEnded)[0].message == "stopped before step 2: db is no longer in the settings"
    assert stage.entries[-1] == "incident_withdrawn"


@virtual
async def test_a_service_removed_and_brought_back_during_its_attempt_stays() -> None:
    stage, db = Stage(), Target("db")
    fix = heals(db)
    fix.takes = 5.0
    db_service = service(db, strategy(fix))
    async with stage.life(db_service) as life:
        db.becomes(ILL)
        await until(lambda: fix.runs)
        reload(life)
        await anyio.sleep(1)
        reload(life, db_service)
        await anyio.sleep(30)
        assert names(life) == ["db"]
        assert life.health() == "up"
    assert stage.entries[-1] == "incident_recovered"


@pytest.mark.parametrize("again", [False, True], ids=["gone", "added again at once"])
def test_a_service_removed_while_its_deciding_question_is_asked_has_no_consequences(again: bool) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target("db")
        db.takes = 1.0
        fix = heals(db)
        db_service = service(db, strategy(fix))
        async with stage.life(db_service) as life:
            db.becomes(ILL)
            await until(lambda: len(db.asked) == 4)  # the answer to the fourth would make it down
            reload(life)
            if again:
                reload(life, db_service)
            await anyio.sleep(1.5)
            assert names(life) == (["db"] if again else [])
            assert stage.entries == []
            db.becomes(None)
            await anyio.sleep(60)
            assert names(life) == (["db"] if again else [])
        assert fix.runs == []

    scene()


@virtual
async def test_an_unchanged_service_keeps_its_open_check_and_its_rhythm() -> None:
    stage, db = Stage(), Target("db")
    db_service = service(db)
    async with stage.life(db_service) as life:
        for _ in range(10):
            await anyio.sleep(3.3)
            reload(life, db_service)
    assert db.opened == 1
    assert {round(later - sooner, 2) for sooner, later in pairwise(db.asked)} == {5.0}


@virtual
async def test_a_changed_service_is_opened_anew_with_its_new_settings() -> None:
    stage, db = Stage(), Target("db")
    async with stage.life(service(db)) as life:
        await anyio.sleep(11)
        reload(life, service(db, interval=1.0))
        await anyio.sleep(10)
        assert db.opened == 2
        assert life.health() == "up"
    assert round(db.asked[-1] - db.asked[-2], 2) == 1.0


@virtual
async def test_a_changed_ladder_is_climbed_from_where_the_incident_stands() -> None:
    stage, db = Stage(), Target("db")
    fix = heals(db)
    async with stage.life(service(db)) as life:
        db.becomes(ILL)
        await until(lambda: "incident_escalated" in stage.entries)
        reload(life, service(db, strategy(fix)))
        await until(lambda: life.health() == "up" and fix.runs)
    assert stage.entries.count("incident_opened") == 1


@virtual
async def test_what_was_seen_of_another_target_starts_nothing_on_the_new_one() -> None:
    stage, old, new = Stage(), Target("db"), Target("db")
    fix = Act()
    async with stage.life(service(old, strategy(fix, after=20.0))) as life:
        old.becomes(ILL)
        await until(lambda: "incident_opened" in stage.entries)
        await anyio.sleep(15)
        reload(life, service(new, strategy(fix, after=20.0)))
        await anyio.sleep(60)
        assert life.health() == "up"
    assert fix.runs == []
    assert stage.entries[-1] == "incident_recovered"


@virtual
async def test_a_ladder_that_comes_with_a_new_target_is_not_climbed_for_the_old_targets_failures() -> None:
    stage, old, new = Stage(), Target("db"), Target("db")
    fix = Act()
    async with stage.life(service(old, interval=1.0)) as life:
        old.becomes(ILL)
        await until(lambda: "incident_escalated" in stage.entries)
        await anyio.sleep(60)  # longer than any `after`, and last seen ill a moment ago
        reload(life, service(new, strategy(fix, after=5.0), interval=1.0))
        await anyio.sleep(60)
        assert life.health() == "up"
    assert fix.runs == []


@virtual
async def test_new_settings_do_not_lift_a_pause() -> None:
    stage, old, new = Stage(), Target("db"), Target("db")
    fix = Act()
    async with stage.life(service(old, strategy(fix))) as life:
        await anyio.sleep(6)
        await life.control.pause(["db"], by="ann", reason="moving it", seconds=600.0)
        new.becomes(ILL)
        reload(life, service(new, strategy(fix)))
        await anyio.sleep(300)
        assert life.health() == "paused"
        assert fix.runs == []
        await until(lambda: fix.runs)
        assert anyio.current_time() >= 606


@virtual
async def test_a_service_taken_out_and_brought_back_is_still_paused() -> None:
    stage, db = Stage(), Target("db")
    fix = Act()
    async with stage.life(service(db, strategy(fix))) as life:
        await life.control.pause(["db"], by="ann", reason="moving it", seconds=600.0)
        db.becomes(ILL)
        reload(life)
        await anyio.sleep(10)
        reload(life, service(db, strategy(fix)))
        await anyio.sleep(500)
        assert life.health() == "paused"
        assert fix.runs == []
        await until(lambda: fix.runs)


@virtual
async def test_a_service_that_was_resumed_before_it_was_taken_out_comes_back_unpaused() -> None:
    stage, db = Stage(), Target("db")
    async with stage.life(service(db)) as life:
        await life.control.pause(["db"], by="ann", reason="moving it", seconds=600.0)
        await life.control.resume(["db"], by="ann")
        reload(life)
        reload(life, service(db))
        await anyio.sleep(10)
        assert life.health() == "up"


@virtual
async def test_an_order_for_a_service_taken_out_while_it_was_written_down_is_refused() -> None:
    stage, db = Stage(), Target("db")
    fix = Act()
    refused = []
    async with stage.life(service(db, strategy(fix, after=1e6))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "down")
        stage.journal.slow = 1.0

        async def order() -> None:
            with pytest.raises(ControlRefused) as error:
                await life.control.recover("db", by="ann", strategy=None, dry_run=False)
            refused.append(str(error.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(order)
            await anyio.sleep(0.5)
            reload(life)
    assert refused == ["db is no longer in the settings"]
    assert fix.runs == []


@virtual
async def test_an_attempt_under_way_ends_by_the_settings_it_began_with() -> None:
    stage, db = Stage(), Target("db")
    first, second, other = Act(takes=5.0), heals(db), Act()
    async with stage.life(service(db, strategy(first, second))) as life:
        db.becomes(ILL)
        await until(lambda: first.runs)
        reload(life, service(db, strategy(other, name="other")))
        await until(lambda: life.health() == "up")
    assert (len(second.runs), other.runs) == (1, [])
    assert stage.of(j.IncidentRecovered)[0].by == "restart"


@virtual
async def test_a_daemon_told_to_observe_takes_no_further_step() -> None:
    stage, db = Stage(), Target("db")
    first, second = Act(takes=5.0), heals(db)
    db_service = service(db, strategy(first, second))
    async with stage.life(db_service) as life:
        db.becomes(ILL)
        await until(lambda: first.runs)
        reload(life, db_service, policy=DaemonPolicy(mode=Mode.OBSERVE))
        await anyio.sleep(120)
        assert second.runs == []
        reload(life, db_service, policy=DaemonPolicy())
        await until(lambda: second.runs, within=60)


@virtual
async def test_a_service_held_by_a_dependency_that_is_taken_out_of_the_settings_goes_on() -> None:
    stage, db, api = Stage(), Target("db"), Target("api")
    fix = heals(api)
    api_service = service(api, strategy(fix), depends_on=("db",))
    async with stage.life(service(db), api_service) as life:
        db.becomes(ILL)
        api.becomes(ILL)
        await anyio.sleep(60)
        assert fix.runs == []
        reload(life, replace(api_service, depends_on=()))
        await until(lambda: fix.runs, within=60)


# ------------------------------------------------------------------------------------------- while a question is asked


@dataclass(frozen=True, kw_only=True)
class RaisesAtTheEnd(Scripted):
    """A check that raises while it is closed."""

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[ScriptedProbe]:
        try:
            async with super().open(context) as probe:
                yield probe
        finally:
            raise OSError("connection reset while closing")


@virtual
async def test_a_check_that_raises_while_it_is_closed_does_not_take_its_successor_with_it() -> None:
    stage, db = Stage(), Target("db")
    old = replace(service(db), check=RaisesAtTheEnd(target=db))
    async with stage.life(old) as life:
        await anyio.sleep(6)
        reload(life, service(db))
        await anyio.sleep(60)
        assert life.health() == "up"


@virtual
async def test_a_question_under_way_during_the_reload_ends_and_the_next_follows() -> None:
    stage, db = Stage(), Target("db")
    db.takes = 1.0
    async with stage.life(service(db)) as life:
        await anyio.sleep(5.5)  # asked at 5
        reload(life, service(db, interval=2.0))
        await anyio.sleep(20)
        assert life.health() == "up"
        assert all(checked.result.healthy for checked in stage.recorder.of(Checked))
    assert {round(b - a, 1) for a, b in pairwise(db.asked[3:])} == {2.0}


@virtual
async def test_what_was_known_of_the_old_settings_process_is_forgotten() -> None:
    stage, db = Stage(), Target("db")
    async with stage.life(service(db)) as life:
        watched = life.watched["db"]
        watched.process, watched.process_told = Process.GONE, "its process is gone"
        reload(life, service(db, interval=1.0))
        db.becomes(ILL)
        await until(lambda: life.health() == "suspect")
        fault = watched.state.belief.fault
        assert fault is not None
        assert not fault.certain


@virtual
async def test_reloading_many_times_leaves_no_tasks_behind() -> None:
    stage, db = Stage(), Target("db")
    async with stage.life(service(db)) as life:
        await anyio.sleep(1)
        tasks = len(life._tasks._tasks)  # type: ignore[attr-defined]
        for n in range(20):
            reload(life, service(db, interval=1.0 + n))
            await anyio.sleep(0.5)
        assert len(life._tasks._tasks) <= tasks + 1  # type: ignore[attr-defined]


@virtual
async def test_an_answer_that_was_asked_of_the_old_target_counts_for_nothing_against_the_new_one() -> None:
    stage, old, new = Stage(), Target(), Target()
    async with stage.life(service(old, fall=2)) as life:
        await until(lambda: life.health() == "up")
        old.takes = 1.5
        old.becomes(ILL)
        await until(lambda: len(old.asked) == 2)
        life.replace_services({"db": service(new, fall=2)}, life.policy)
        await until(lambda: life.health() == "up")
        await anyio.sleep(60)
        assert life.watched["db"].state.belief.failing_since is None
    assert [event.new.value for event in stage.recorder.of(HealthChanged)] == ["up", "unknown", "up"]
