"""Approvals, the freeze, observing: how far reviver goes is people's to say."""

import anyio
import pytest

from fakes import Act, Life, Stage, Target, heals, service, strategy, until
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.control import ApprovalView, ControlRefused
from reviver.model.events import Frozen
from reviver.model.faults import Fault, FaultKind
from reviver.model.services import DaemonPolicy, Mode, Service
from reviver.supervisor.process import Sighting
from reviver.supervisor.watched import Process
from virtual import virtual

ILL = FaultKind.UNREACHABLE


def asking(db: Target, *further: Act, **settings: object) -> tuple[Act, Service]:
    """A service whose only strategy asks first."""
    restore = heals(db, effect=Effect.DESTRUCTIVE, name="restore the dump of yesterday")
    rungs = [strategy(restore, name="restore", mode=Mode.APPROVE)]
    rungs += [strategy(act, name=act.name) for act in further]
    return restore, service(db, *rungs, **settings)


async def request(life: Life) -> ApprovalView:
    await until(life.control.approvals, within=60)
    [view] = life.control.approvals()
    return view


# --------------------------------------------------------------------------------------------------------- approvals


@virtual
async def test_a_request_says_exactly_what_would_be_done_and_its_approval_starts_just_that() -> None:
    stage, db = Stage(), Target()
    restore, watched = asking(db)
    async with stage.life(watched) as life:
        db.becomes(ILL)
        view = await request(life)
        assert (view.service, view.strategy, view.attempt) == ("db", "restore", 1)
        assert (view.plan, view.destructive) == (("do restore the dump of yesterday",), True)
        assert restore.runs == []
        await life.control.approve("db", by="ann", token=view.token)
        await until(lambda: life.health() == "up")
        assert life.control.approvals() == []
    [asked], [given], [started] = stage.of(j.ApprovalRequested), stage.of(j.ApprovalGiven), stage.of(j.AttemptStarted)
    assert (asked.plan, asked.token, asked.expires_in) == (view.plan, view.token, 900.0)
    assert (given.by, given.token, started.by) == ("ann", view.token, "ann")
    assert stage.entries.index("approval_given") < stage.entries.index("attempt_started")


@virtual
async def test_an_approval_of_another_plan_than_would_be_carried_out_is_refused() -> None:
    stage, db = Stage(), Target()
    restore, watched = asking(db)
    async with stage.life(watched) as life:
        db.becomes(ILL)
        view = await request(life)
        restore.name = "restore the dump of last week"
        with pytest.raises(ControlRefused, match="no longer what would be done"):
            await life.control.approve("db", by="ann", token=view.token)
        [new] = life.control.approvals()
        assert new.plan == ("do restore the dump of last week",)
    assert restore.runs == []


@virtual
async def test_an_approval_serves_once() -> None:
    stage, db = Stage(), Target()
    restore = Act(name="restore", effect=Effect.DESTRUCTIVE, error="no space left")
    async with stage.life(service(db, strategy(restore, name="restore", mode=Mode.APPROVE))) as life:
        db.becomes(ILL)
        view = await request(life)
        await life.control.approve("db", by="ann", token=view.token)
        await until(lambda: "attempt_ended" in stage.entries)
        with pytest.raises(ControlRefused):
            await life.control.approve("db", by="ann", token=view.token)
        await anyio.sleep(3600)
    assert len(restore.runs) == 1


@virtual
async def test_a_request_without_an_answer_expires_once_and_is_handed_over() -> None:
    stage, db = Stage(), Target()
    restore, watched = asking(db)
    async with stage.life(watched) as life:
        db.becomes(ILL)
        view = await request(life)
        await anyio.sleep(3600)
        assert life.control.approvals() == []
        with pytest.raises(ControlRefused, match="has expired"):
            await life.control.approve("db", by="ann", token=view.token)
    assert len(stage.of(j.ApprovalRequested)) == 1
    [handed] = stage.of(j.IncidentEscalated)
    assert handed.reason == 'nobody approved "restore" within 15 min; reviver recover starts it'
    assert restore.runs == []


@virtual
async def test_what_is_denied_is_passed_over_and_the_ladder_goes_on() -> None:
    stage, db = Stage(), Target()
    restore, watched = asking(db, heals(db, name="restart"))
    async with stage.life(watched) as life:
        db.becomes(ILL)
        await request(life)
        told = await life.control.deny("db", by="ann", reason="that dump is bad")
        assert told == 'db: "restore" is given up in this incident'
        await until(lambda: life.health() == "up")
    assert restore.runs == []
    assert [entry.reason for entry in stage.of(j.StrategyAbandoned)] == ["denied by ann: that dump is bad"]
    assert [entry.strategy for entry in stage.of(j.AttemptStarted)] == ["restart"]


@virtual
async def test_what_was_denied_stays_denied_over_a_restart() -> None:
    stage, db = Stage(), Target()
    restore, watched = asking(db)
    async with stage.killed_life(watched) as life:
        db.becomes(ILL)
        await request(life)
        await life.control.deny("db", by="ann", reason="")
        await anyio.sleep(1)
    async with stage.life(watched) as life:
        await anyio.sleep(600)
        assert life.control.approvals() == []
    assert len(stage.of(j.ApprovalRequested)) == 1
    assert restore.runs == []


@virtual
async def test_a_request_outlives_a_restart_with_its_time_and_is_not_made_twice() -> None:
    stage, db = Stage(), Target()
    restore, watched = asking(db)
    async with stage.killed_life(watched) as life:
        db.becomes(ILL)
        before = await request(life)
        await anyio.sleep(300)
    async with stage.life(watched) as life:
        await until(lambda: life.health() == "down")
        [after] = life.control.approvals()
        assert after.token == before.token
        assert after.expires_at == pytest.approx(before.expires_at, abs=1.0)
        await life.control.approve("db", by="ann", token=after.token)
        await until(lambda: life.health() == "up")
    assert len(stage.of(j.ApprovalRequested)) == 1
    assert len(restore.runs) == 1


@virtual
async def test_with_nothing_asked_for_there_is_nothing_to_approve_or_to_deny() -> None:
    stage, db = Stage(), Target()
    async with stage.life(asking(db)[1]) as life:
        with pytest.raises(ControlRefused, match="nothing waits"):
            await life.control.approve("db", by="ann", token="t")
        with pytest.raises(ControlRefused, match="nothing waits"):
            await life.control.deny("db", by="ann", reason="")


# ------------------------------------------------------------------------------------------------------------ freeze


@virtual
async def test_frozen_nothing_is_started_not_even_by_a_person_until_it_is_thawed() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        assert life.control.freeze(by="ann", reason="a bad feeling") == "frozen by ann: a bad feeling"
        db.becomes(ILL)
        await anyio.sleep(3600)
        with pytest.raises(ControlRefused, match="frozen by ann: a bad feeling"):
            await life.control.recover("db", by="bob", strategy=None, dry_run=False)
        assert (life.health(), fix.runs) == ("down", [])
        assert life.control.thaw(by="bob") == ""
        await until(lambda: life.health() == "up", within=60)
    assert [entry.guard for entry in stage.of(j.RecoveryHeld)] == ["freeze"]
    assert [event.reason for event in stage.recorder.of(Frozen)] == ["frozen by ann: a bad feeling", ""]


@virtual
async def test_a_freeze_in_the_middle_of_an_attempt_lets_the_step_end_and_no_other_begin() -> None:
    stage, db = Stage(), Target()
    first, second = Act(takes=10.0), Act()
    async with stage.life(service(db, strategy(first, second))) as life:
        db.becomes(ILL)
        await until(lambda: first.runs)
        life.control.freeze(by="ann", reason="stop")
        await anyio.sleep(60)
    assert (len(first.done), second.runs) == (1, [])
    assert stage.of(j.AttemptEnded)[0].message == "stopped before step 2: frozen by ann: stop"


@virtual
async def test_a_freeze_needs_no_journal_and_outlives_a_restart_with_one() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.killed_life(service(db, strategy(fix))) as life:
        stage.journal.error = "the disk is full"
        life.control.freeze(by="ann", reason="stop")
        assert life.control.frozen() == "frozen by ann: stop"
        stage.journal.error = ""
        await anyio.sleep(30)
    async with stage.life(service(db, strategy(fix))) as life:
        db.becomes(ILL)
        await anyio.sleep(600)
        assert (life.control.frozen(), fix.runs) == ("frozen by ann: stop", [])
        life.control.thaw(by="ann")
        await until(lambda: fix.runs)
    async with stage.life(service(db, strategy(fix))) as life:
        assert life.control.frozen() == ""


@virtual
async def test_a_files_freeze_ends_with_the_file_and_by_no_order() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)))) as life:
        life.freeze_file("/run/reviver/FREEZE", "/run/reviver/FREEZE is there")
        assert "is there" in life.control.thaw(by="ann")
        life.control.freeze(by="ann", reason="too")
        life.freeze_file("/run/reviver/FREEZE", "")
        assert life.control.frozen() == "frozen by ann: too"
        assert stage.of(j.DaemonThawed) == []
    async with stage.life(service(db, strategy(heals(db)))) as life:
        assert life.control.frozen() == "frozen by ann: too"
        life.freeze_file("/run/reviver/FREEZE", "/run/reviver/FREEZE is there")
    async with stage.life(service(db, strategy(heals(db)))) as life:
        assert life.control.frozen() == "frozen by ann: too"


# ---------------------------------------------------------------------------------------------------------- observing


@pytest.mark.parametrize("ceiling", [Mode.OBSERVE, Mode.AUTO])
def test_observing_tells_once_what_would_have_been_done_and_does_nothing(ceiling: Mode) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        mode = Mode.AUTO if ceiling is Mode.OBSERVE else Mode.OBSERVE
        async with stage.life(service(db, strategy(fix, mode=mode)), policy=DaemonPolicy(mode=ceiling)) as life:
            db.becomes(ILL)
            await anyio.sleep(100)
            db.becomes(None)
            await until(lambda: life.health() == "up")
        assert fix.runs == []
        [observed], [judged] = stage.of(j.RecoveryObserved), stage.of(j.ObservationJudged)
        assert (observed.strategy, observed.plan, observed.asking) == ("restart", ("do act",), False)
        assert (judged.strategy, judged.verdict) == ("restart", j.Verdict.CAME_BACK)
        assert judged.seconds == pytest.approx(100, abs=8)
        assert stage.entries[-1] == "incident_recovered"

    scene()


@pytest.mark.parametrize(("pid", "verdict"), [(1, j.Verdict.NOT_NEEDED), (2, j.Verdict.DONE_BY_OTHERS)])
def test_whether_what_was_only_observed_was_of_use_shows_in_the_process(pid: int, verdict: j.Verdict) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        async with stage.life(service(db, strategy(heals(db), mode=Mode.OBSERVE))) as life:
            sighted = life._asker._sighted
            sighted(life.watched["db"], Sighting(state=Process.ALIVE, told="", pid=1))
            db.becomes(ILL)
            await anyio.sleep(50)
            sighted(life.watched["db"], Sighting(state=Process.ALIVE, told="", pid=pid))
            db.becomes(None)
            await until(lambda: life.health() == "up")
        assert [entry.verdict for entry in stage.of(j.ObservationJudged)] == [verdict]

    scene()


@virtual
async def test_what_another_guard_would_have_held_is_not_told_as_what_would_have_been_done() -> None:
    stage, db, disk = Stage(), Target(), Target("disk")
    rung = strategy(heals(db), mode=Mode.OBSERVE)
    async with stage.life(service(disk), service(db, rung, depends_on=("disk",))):
        disk.becomes(Fault(kind=ILL, message="gone"))
        db.becomes(ILL)
        await anyio.sleep(600)
    assert stage.of(j.RecoveryObserved) == []


@virtual
async def test_what_would_have_asked_says_so() -> None:
    stage, db = Stage(), Target()
    async with stage.life(asking(db)[1], policy=DaemonPolicy(mode=Mode.OBSERVE)):
        db.becomes(ILL)
        await anyio.sleep(600)
    assert [entry.asking for entry in stage.of(j.RecoveryObserved)] == [True]
    assert stage.of(j.ApprovalRequested) == []
