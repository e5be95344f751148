"""Without a journal: watching and telling go on, nothing is started, and what happened is written down later."""

import anyio
import pytest

from fakes import Act, Stage, Target, heals, service, strategy, until
from reviver.incidents.scribe import COMMIT_WITHIN, RETRY_EVERY
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.control import ControlRefused
from reviver.model.events import HealthChanged, JournalStateChanged
from reviver.model.faults import FaultKind
from virtual import virtual

ILL = FaultKind.UNREACHABLE
FULL = "journal: the disk is full: free space there"


def writable(stage: Stage) -> list[bool]:
    return [event.writable for event in stage.recorder.of(JournalStateChanged)]


@virtual
async def test_while_it_can_not_be_written_watching_and_telling_go_on_and_nothing_starts() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        await anyio.sleep(6)
        stage.journal.error = FULL
        db.becomes(ILL)
        await anyio.sleep(600)
        assert life.health() == "down"
        assert len(db.asked) > 100
        assert life.control.ready() == FULL
        assert life.control.health()["db"].held == f"the journal can't be written, so nothing is started: {FULL}"
    assert fix.runs == []
    assert stage.entries == []
    told = stage.recorder.told()
    assert [told.count(name) for name in ("IncidentOpened", "RecoveryHeld", "AttemptStarted")] == [1, 1, 0]
    assert writable(stage) == [False]


@virtual
async def test_once_it_mends_what_happened_is_written_in_order_and_recovery_goes_on() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        await anyio.sleep(6)
        stage.journal.error = FULL
        db.becomes(ILL)
        await anyio.sleep(60)
        stage.journal.error = ""
        await until(lambda: life.health() == "up" and fix.runs, within=RETRY_EVERY + 12)
    happy = ["attempt_started", "evidence_taken", "step_started", "step_ended", "verification_ended", "attempt_ended"]
    told = [entry.type for entry in stage.recorder.of(j.Entry)]
    assert stage.entries == told
    assert [each for each in told if each not in {"recovery_held", "recovery_planned"}] == [
        "incident_opened",
        "attempt_ended",  # the first one could not be written: it never was
        *happy,
        "incident_recovered",
    ]
    assert writable(stage) == [False, True]


@virtual
async def test_a_journal_that_breaks_before_a_step_leaves_it_undone() -> None:
    stage, db = Stage(), Target()
    second = heals(db)

    def fill() -> None:
        stage.journal.error = FULL

    first = Act(does=fill)
    async with stage.life(service(db, strategy(first, second))):
        db.becomes(ILL)
        await until(lambda: first.done)
        await anyio.sleep(60)
        assert second.runs == []
        stage.journal.error = ""
        first.does = lambda: None
        await until(lambda: second.runs, within=120)
    assert [each.outcome for each in stage.of(j.AttemptEnded)][:1] == ["failed"]


@virtual
async def test_a_journal_that_breaks_after_a_destructive_step_leaves_it_to_people() -> None:
    stage, db = Stage(), Target()
    second = heals(db)

    def fill() -> None:
        stage.journal.error = FULL

    first = Act(does=fill, effect=Effect.DESTRUCTIVE)
    async with stage.life(service(db, strategy(first, second))):
        db.becomes(ILL)
        await until(lambda: first.done)
        stage.journal.error = ""
        await anyio.sleep(600)
    assert (len(first.runs), second.runs) == (1, [])
    assert stage.of(j.IncidentEscalated)[-1].stops == "unclear"


@virtual
async def test_however_long_it_is_broken_no_budget_is_spent_and_nobody_is_called_off() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        await anyio.sleep(6)
        stage.journal.error = FULL
        db.becomes(ILL)
        await anyio.sleep(3600)
        stage.journal.error = ""
        await until(lambda: life.health() == "up" and fix.runs, within=60)
    assert "IncidentEscalated" not in stage.recorder.told()


@virtual
async def test_a_broken_journal_that_nothing_waits_for_is_found_mended() -> None:
    stage = Stage()
    async with stage.life(service(Target())) as life:
        await anyio.sleep(6)
        stage.journal.error = FULL
        with pytest.raises(ControlRefused):
            await life.control.pause(["db"], by="ann", reason="", seconds=60.0)
        await anyio.sleep(60)
        assert life.control.ready() == FULL
        stage.journal.error = ""
        await anyio.sleep(RETRY_EVERY + 0.1)
        assert life.control.ready() == ""
    assert stage.entries == []
    assert writable(stage) == [False, True]


@virtual
async def test_a_disk_that_hangs_holds_up_nobody_but_those_who_must_not_go_on_without_it() -> None:
    stage, db, other = Stage(), Target("db"), Target("other")
    fix = heals(db)
    async with stage.life(service(db, strategy(fix)), service(other)) as life:
        await anyio.sleep(6)
        stage.journal.slow = 1e6
        db.becomes(ILL)
        other.becomes(ILL)
        await anyio.sleep(300)
        assert (life.health("db"), life.health("other")) == ("down", "down")
        assert len(other.asked) > 50
        before = anyio.current_time()
        with pytest.raises(ControlRefused, match="does not answer within 10 s"):
            await life.control.pause(["other"], by="ann", reason="", seconds=60.0)
        assert anyio.current_time() - before == pytest.approx(COMMIT_WITHIN)
        assert fix.runs == []
        told = [each for each in stage.recorder.of(HealthChanged) if each.new == "down"]
        assert {each.service for each in told} == {"db", "other"}


@virtual
async def test_a_journal_that_could_not_be_read_is_not_written_in_this_life() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        life.scribe.close_off("the journal is damaged")
        db.becomes(ILL)
        await anyio.sleep(300)
        assert life.health() == "down"
    assert (fix.runs, stage.entries) == ([], [])


@virtual
async def test_what_is_paused_and_resumed_while_it_is_broken_is_resumed_at_once_and_written_later() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await life.control.pause(["db"], by="ann", reason="", seconds=600.0)
        stage.journal.error = FULL
        assert await life.control.resume(["db"], by="ann") == ["db"]
        await anyio.sleep(1)
        assert life.health() == "up"
        stage.journal.error = ""
        await anyio.sleep(RETRY_EVERY + 0.1)
    assert stage.entries == ["service_paused", "service_resumed"]
