"""People stay in charge: pause, resume, recover now."""

import anyio
import pytest

from fakes import Act, Life, Stage, Target, heals, service, strategy, until
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.control import ControlRefused
from reviver.model.faults import FaultKind
from reviver.model.secrets import Redactor, Secret
from reviver.model.services import Budget, DaemonPolicy, Mode
from reviver.supervisor.control import PAUSE_MAX
from virtual import virtual

ILL = FaultKind.UNREACHABLE


async def pause(life: Life, *names: str, seconds: float = 600.0, by: str = "ann") -> list[str]:
    return await life.control.pause(names, by=by, reason="maintenance", seconds=seconds)


async def recover(life: Life, name: str = "db", *, strategy: str | None = None, dry_run: bool = False) -> str:
    return await life.control.recover(name, by="ann", strategy=strategy, dry_run=dry_run)


# ------------------------------------------------------------------------------------------------------------- pause


@virtual
async def test_a_paused_service_is_watched_and_not_touched() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        await anyio.sleep(6)
        assert await pause(life, "db") == ["db"]
        db.becomes(ILL)
        await anyio.sleep(500)
        assert life.health() == "paused"
        assert fix.runs == []
        assert len(db.asked) > 90
        view = life.control.health()["db"]
        assert view.fault == "unreachable"
        assert view.paused_until == pytest.approx(stage.clock.wall() + 100, abs=1)
    [paused] = stage.of(j.ServicePaused)
    assert (paused.by, paused.reason) == ("ann", "maintenance")


@virtual
async def test_a_pause_ends_by_itself_and_what_still_fails_is_confirmed_anew_and_recovered() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        await pause(life, "db", seconds=100.0)
        db.becomes(ILL)
        await until(lambda: fix.runs)
        assert 103.0 <= fix.runs[0] <= 106.0
        assert life.control.health()["db"].paused_until is None
    [resumed] = stage.of(j.ServiceResumed)
    assert resumed.by == "reviver"


@virtual
async def test_a_resumed_service_is_asked_at_once() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, interval=60.0)) as life:
        await anyio.sleep(1)
        await pause(life)
        await anyio.sleep(10)
        asked = len(db.asked)
        assert await life.control.resume([], by="ann") == ["db"]
        await anyio.sleep(0.2)
        assert len(db.asked) == asked + 1
        assert life.health() == "up"


@virtual
async def test_a_pause_that_is_renewed_ends_at_the_later_moment_only() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await pause(life, seconds=50.0)
        await anyio.sleep(40)
        await pause(life, seconds=50.0)
        await anyio.sleep(40)
        assert life.health() == "paused"
        await anyio.sleep(12)
        assert life.health() == "up"
    assert len(stage.of(j.ServiceResumed)) == 1


@virtual
async def test_a_pause_that_is_renewed_just_when_it_ends_outlives_a_restart() -> None:
    stage, db = Stage(), Target()
    async with stage.killed_life(service(db)) as life:
        await pause(life, seconds=50.0)
        await anyio.sleep(49.5)
        stage.journal.slow = 1.0
        await pause(life, seconds=600.0)
        assert life.health() == "paused"
    stage.journal.slow = 0.0
    async with stage.life(service(db)) as life:
        assert life.health() == "paused"


@virtual
async def test_a_pause_that_is_taken_back_while_it_is_written_is_not_in_force() -> None:
    stage, db = Stage(), Target()
    async with stage.killed_life(service(db)) as life, anyio.create_task_group() as people:
        await pause(life, seconds=300.0)
        stage.journal.slow = 1.0
        people.start_soon(pause, life, "db")
        await anyio.sleep(0.5)
        assert await life.control.resume(["db"], by="bob") == ["db"]
        await anyio.sleep(5)
        assert life.health() != "paused"
    stage.journal.slow = 0.0
    async with stage.life(service(db)) as life:
        assert life.health() != "paused"


@virtual
async def test_a_pause_whose_renewal_cannot_be_written_ends_when_it_would_have() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await pause(life, seconds=50.0)
        stage.journal.error = "the disk is full"
        with pytest.raises(ControlRefused):
            await pause(life, seconds=600.0)
        assert life.health() == "paused"
        await anyio.sleep(60)
        assert life.health() == "up"


@virtual
async def test_without_names_all_services_are_paused_and_only_paused_ones_are_resumed() -> None:
    stage = Stage()
    async with stage.life(*(service(Target(name)) for name in ("a", "b", "c"))) as life:
        await anyio.sleep(1)
        assert await pause(life, "b") == ["b"]
        assert await life.control.resume([], by="ann") == ["b"]
        assert await pause(life) == ["a", "b", "c"]
        assert await life.control.resume(["a", "c"], by="ann") == ["a", "c"]
        assert [life.health(name) for name in "abc"] == ["unknown", "paused", "unknown"]


@virtual
async def test_a_paused_dependency_that_passes_holds_nobody_and_one_that_fails_does() -> None:
    stage, db, api = Stage(), Target("db"), Target("api")
    fix = Act()
    async with stage.life(service(db), service(api, strategy(fix), depends_on=("db",))) as life:
        await anyio.sleep(6)
        await pause(life, "db")
        api.becomes(ILL)
        await until(lambda: fix.runs)
        db.becomes(ILL)
        await anyio.sleep(30)
        held = len(fix.runs)
        await anyio.sleep(200)
        assert len(fix.runs) == held
        assert life.control.health()["api"].held.startswith("db is not up")


@virtual
async def test_an_attempt_that_is_paused_stops_before_its_next_step_and_does_not_count_what_it_did_as_nothing() -> None:
    stage, db = Stage(), Target()
    first, second = Act(name="first"), heals(db)
    first.takes = 5.0
    async with stage.life(service(db, strategy(first, second))) as life:
        db.becomes(ILL)
        await until(lambda: first.runs)
        await pause(life, seconds=60.0)
        await anyio.sleep(30)
        assert (len(first.runs), second.runs) == (1, [])
        [ended] = stage.of(j.AttemptEnded)
        assert (ended.outcome, ended.message) == ("failed", "stopped before step 2: db was paused")
        assert life.health() == "paused"
        await until(lambda: second.runs, within=120)


@virtual
async def test_an_attempt_paused_before_its_first_step_is_aborted() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    stage.journal.slow = 1.0
    async with stage.life(service(db, strategy(fix))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "recovering")
        await pause(life, seconds=60.0)
        await anyio.sleep(30)
        assert fix.runs == []
        assert stage.of(j.AttemptEnded)[0].outcome == "aborted"


@virtual
async def test_after_a_paused_destructive_step_people_must_look() -> None:
    stage, db = Stage(), Target()
    first, second = Act(effect=Effect.DESTRUCTIVE, takes=5.0), heals(db)
    async with stage.life(service(db, strategy(first, second))) as life:
        db.becomes(ILL)
        await until(lambda: first.runs)
        await pause(life, seconds=60.0)
        await anyio.sleep(600)
        assert (len(first.runs), second.runs) == (1, [])
    assert stage.of(j.IncidentEscalated)[-1].stops == "unclear"


@virtual
async def test_a_pause_that_ends_during_the_attempt_lets_it_end_as_ever() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    fix.takes = 10.0
    async with stage.life(service(db, strategy(fix))) as life:
        db.becomes(ILL)
        await until(lambda: fix.runs)
        await pause(life, seconds=5.0)
        await anyio.sleep(20)
        assert life.health() == "up"
    assert stage.entries[-1] == "incident_recovered"
    assert len(fix.runs) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, PAUSE_MAX + 1, float("nan")])
def test_a_pause_without_end_or_beginning_is_refused(seconds: float) -> None:
    @virtual
    async def scene() -> None:
        stage = Stage()
        async with stage.life(service(Target())) as life:
            with pytest.raises(ControlRefused, match="a pause lasts at most 24 h"):
                await pause(life, seconds=seconds)
            assert life.health() != "paused"

    scene()


@virtual
async def test_a_pause_that_the_journal_can_not_keep_is_refused_and_not_in_force() -> None:
    stage = Stage()
    async with stage.life(service(Target())) as life:
        stage.journal.error = "the disk is full"
        with pytest.raises(ControlRefused, match="db is not paused: the disk is full"):
            await pause(life)
        assert life.health() != "paused"


@virtual
async def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    stage = Stage()
    async with stage.life(service(Target("db")), service(Target("api"))) as life:
        for order in (pause(life, "bd"), life.control.resume(["bd"], by="ann"), recover(life, "bd")):
            with pytest.raises(ControlRefused, match='there is no service "bd"; there are: db, api') as refused:
                await order
            assert refused.value.unknown_service


# ------------------------------------------------------------------------------------------------------- recover now


@virtual
async def test_a_persons_order_starts_what_waits_is_held_or_was_handed_over() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    rung = strategy(fix, after=1e6, mode=Mode.APPROVE)
    async with stage.life(service(db, rung, budgets=(Budget(attempts=1, per=1e6),))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "down")
        said = await recover(life)
        assert said == 'db: attempt 1, strategy "restart": reviver will do act'
        await until(lambda: life.health() == "up")
    ordered, started = stage.of(j.RecoveryOrdered), stage.of(j.AttemptStarted)
    assert [(each.by, each.strategy) for each in ordered] == [("ann", "restart")]
    assert [each.by for each in started] == ["ann"]


@virtual
async def test_a_destructive_strategy_waits_for_a_person_and_says_so() -> None:
    stage, db = Stage(), Target()
    restore = heals(db, effect=Effect.DESTRUCTIVE, name="restore")
    async with stage.life(service(db, strategy(restore, name="restore", mode=Mode.APPROVE))) as life:
        db.becomes(ILL)
        await anyio.sleep(3600)
        assert restore.runs == []
        assert "nobody approved" in life.control.health()["db"].held
        await recover(life)
        await until(lambda: life.health() == "up")
    assert [each.guard for each in stage.of(j.RecoveryHeld)] == ["approval"]


@virtual
async def test_a_dry_run_says_what_would_be_done_and_does_nothing() -> None:
    stage, db = Stage(), Target()
    stage.redact = Redactor([Secret("hunter2")])
    fix = heals(db, name="send hunter2")
    async with stage.life(service(db, strategy(fix, after=1e6))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "down")
        before = stage.entries
        assert await recover(life, dry_run=True) == 'db: attempt 1, strategy "restart": reviver will do send ***'
        await anyio.sleep(60)
        assert stage.entries == before
        assert fix.runs == []


@virtual
async def test_an_order_for_a_service_that_is_well_is_refused() -> None:
    stage = Stage()
    async with stage.life(service(Target(), strategy(Act()))) as life:
        await anyio.sleep(1)
        with pytest.raises(ControlRefused, match="db is up, not down: there is nothing to recover"):
            await recover(life)


@virtual
async def test_two_orders_at_the_same_time_start_one_attempt() -> None:
    stage, db = Stage(), Target()
    stage.journal.slow = 0.5
    fix = heals(db)
    refused = []
    async with stage.life(service(db, strategy(fix, after=1e6))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "down")

        async def order() -> None:
            try:
                await recover(life)
            except ControlRefused as error:
                refused.append(str(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(order)
            tasks.start_soon(order)
        await until(lambda: life.health() == "up")
    assert refused == ['db: an attempt of "restart" is under way']
    assert len(fix.runs) == 1


@virtual
async def test_an_order_that_the_journal_can_not_keep_starts_nothing() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix, after=1e6))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "down")
        stage.journal.error = "the disk is full"
        with pytest.raises(ControlRefused, match="the disk is full"):
            await recover(life)
        await anyio.sleep(60)
    assert fix.runs == []


@virtual
async def test_while_only_observing_no_order_starts_anything() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix)), policy=DaemonPolicy(mode=Mode.OBSERVE)) as life:
        db.becomes(ILL)
        await until(lambda: "recovery_held" in stage.entries)
        with pytest.raises(ControlRefused, match="the daemon only observes"):
            await recover(life)
    assert fix.runs == []


@virtual
async def test_a_persons_attempts_spend_no_budget() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix, after=60.0), budgets=(Budget(attempts=1, per=1e6),))) as life:
        db.becomes(ILL)
        await until(lambda: life.health() == "down")
        await recover(life)
        await until(lambda: life.health() == "up")
        await anyio.sleep(20)
        db.becomes(ILL)
        await until(lambda: len(fix.runs) == 2)
    assert [each.by for each in stage.of(j.AttemptStarted)] == ["ann", "reviver"]


@virtual
async def test_what_is_ready_says_why_not() -> None:
    stage = Stage()
    async with stage.life(service(Target())) as life:
        await anyio.sleep(1)
        assert life.control.ready() == ""
        life.scribe.close_off("the journal is damaged")
        assert life.control.ready() == "the journal is damaged"


@virtual
async def test_reloading_is_passed_on() -> None:
    async with Stage().life(service(Target())) as life:
        await life.control.reload()


@virtual
async def test_what_a_person_writes_reaches_others_in_one_line_without_secrets() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await life.control.pause(["db"], by="ann", reason="see\n\x1b[2Jpassword=hunter2", seconds=60)
    [paused] = stage.of(j.ServicePaused)
    assert paused.reason == "see [2Jpassword=***"
