"""Watching: when services are asked, what is believed of the answers, and that no service waits for another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import anyio
import pytest

from fakes import HANG, Scripted, ScriptedProbe, Stage, Target, service, strategy, until
from reviver.core.health import CERTAIN_PAUSE, DOWN_PAUSE
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.events import Blip, Checked, HealthChanged, LoopLagged, ObserverSuspected
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.secrets import Redactor, Secret
from reviver.supervisor.asking import DEADLINE_GRACE, OPEN_AGAIN
from virtual import stall, virtual

ILL = FaultKind.UNREACHABLE
CERTAIN = Fault(kind=ILL, message="its process is gone", certain=True)


def pauses(times: list[float]) -> list[float]:
    """The seconds between one moment and the next, to a hundredth."""
    return [round(later - sooner, 2) for sooner, later in pairwise(times)]


async def asked_again(target: Target) -> None:
    asked = len(target.asked)
    await until(lambda: len(target.asked) > asked)


# ------------------------------------------------------------------------------------------------------- thresholds


@virtual
async def test_a_service_that_passes_once_is_up() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        assert life.health() == "unknown"
        await anyio.sleep(1)
        assert life.health() == "up"


@virtual
async def test_one_failure_makes_a_service_suspect_not_down_and_is_told_as_a_blip() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        db.will((7.0, ILL), (10.2, None))  # asked at 5, 10 and, confirming, at 11
        await anyio.sleep(10.1)
        assert life.health() == "suspect"
        await anyio.sleep(10)
        assert life.health() == "up"
    [blip] = stage.recorder.of(Blip)
    assert (blip.service, blip.fault.kind, round(blip.seconds, 2)) == ("db", ILL, 1.03)
    assert stage.entries == []


@virtual
async def test_it_is_down_after_as_many_quick_confirming_questions_as_fall_says() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        db.becomes(ILL, at=7.0)
        await until(lambda: life.health() == "down")
        assert pauses(db.asked[-4:]) == [1.02, 1.02, 1.02]  # confirm = 1 s after the answer
        assert anyio.current_time() == pytest.approx(13.1, abs=0.1)
    assert stage.entries == ["incident_opened"] * 1 + ["incident_escalated"]


@virtual
async def test_certain_evidence_is_confirmed_within_half_a_second() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        db.becomes(CERTAIN, at=7.0)
        await until(lambda: life.health() == "down")
        assert anyio.current_time() - 10.0 < 0.5


@virtual
async def test_confirming_questions_are_asked_over_fresh_connections_and_the_others_over_the_kept_one() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, fresh_every=1e9)) as life:
        db.becomes(ILL, at=7.0)
        await until(lambda: life.health() == "down")
    assert db.fresh == [False, False, False, True, True, True]


@virtual
async def test_a_healthy_service_is_asked_over_a_fresh_connection_now_and_then() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, fresh_every=60.0)):
        await anyio.sleep(181)
    at = [asked for asked, fresh in zip(db.asked, db.fresh, strict=True) if fresh]
    assert pauses([0.0, *at]) == [60.0, 60.0, 60.0]


@virtual
async def test_a_healthy_service_is_asked_at_its_interval_and_does_not_drift() -> None:
    stage, db = Stage(), Target()
    db.takes = 1.3
    async with stage.life(service(db, interval=5.0)):
        await anyio.sleep(3600)
    assert set(pauses(db.asked[1:])) == {5.0}


@virtual
async def test_a_down_service_is_asked_every_few_seconds_however_long_its_interval() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    async with stage.life(service(db, interval=60.0)):
        await anyio.sleep(60)
    assert set(pauses(db.asked[4:])) == {DOWN_PAUSE + 0.02}


@virtual
async def test_services_are_spread_over_the_interval() -> None:
    stage = Stage()
    targets = [Target(f"s{n}") for n in range(20)]
    async with stage.life(*(service(target) for target in targets)):
        await anyio.sleep(60)
    moments = sorted(target.asked[-1] % 5 for target in targets)
    assert max(pauses(moments)) < 1.0


# ------------------------------------------------------------------------------------ checks that misbehave themselves


@virtual
async def test_a_hung_check_is_cut_off_by_its_deadline_and_delays_nobody() -> None:
    stage, hung, well = Stage(), Target("hung"), Target("well")
    hung.becomes(HANG)
    async with stage.life(service(hung, timeout=2.0), service(well, interval=1.0)) as life:
        await anyio.sleep(30)
        assert life.health("hung") == "down"
        assert life.health("well") == "up"
        result = life.watched["hung"].result
    assert result is not None
    assert result.fault is not None
    assert (result.fault.kind, result.fault.message) == (FaultKind.TIMEOUT, "hung: no answer within 2 s")
    assert result.latency == pytest.approx(2.0 + DEADLINE_GRACE)
    assert set(pauses(well.asked[1:])) == {1.0}


@virtual
async def test_a_check_that_raises_is_no_verdict_on_its_target() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await anyio.sleep(6)
        db.becomes(ZeroDivisionError("a bug"))
        await anyio.sleep(60)
        assert life.health() == "unknown"
        result = life.watched["db"].result
    assert result is not None
    assert result.unknown == "db: its check failed by itself (ZeroDivisionError), a defect of the check"
    assert stage.entries == []


@virtual
async def test_a_timeout_error_of_the_checks_own_is_not_the_targets_silence() -> None:
    stage, db = Stage(), Target()
    db.becomes(TimeoutError())
    async with stage.life(service(db)) as life:
        await anyio.sleep(60)
        assert life.health() == "unknown"


@virtual
async def test_a_check_that_can_not_tell_makes_its_service_unknown_and_starts_nothing() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await anyio.sleep(6)
        db.becomes("out of file descriptors")
        await anyio.sleep(60)
        assert life.health() == "unknown"
        assert life.control.health()["db"].message == "out of file descriptors"
    assert stage.entries == []


@dataclass(frozen=True, kw_only=True)
class BadlyOpened(Scripted):
    """A check that can't be opened until a moment, or takes for ever to."""

    until: float
    hangs: bool = False

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[ScriptedProbe]:
        if anyio.current_time() < self.until:
            if self.hangs:
                await anyio.sleep_until(self.until)
            else:
                raise OSError("no such file")
        async with super().open(context) as probe:
            yield probe


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
def test_a_check_that_can_not_be_opened_is_no_verdict_on_its_target_and_is_opened_later(hangs: bool) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        badly = replace(service(db), check=BadlyOpened(target=db, until=12.0, hangs=hangs))
        async with stage.life(badly) as life:
            await anyio.sleep(11)
            assert life.health() == "unknown"
            await anyio.sleep(OPEN_AGAIN + 5)
            assert life.health() == "up"

    scene()


@dataclass(frozen=True, kw_only=True)
class BreaksOpen(Scripted):
    """A check whose open block breaks after a while."""

    after: float

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[ScriptedProbe]:
        async with super().open(context) as probe, anyio.create_task_group() as tasks:
            tasks.start_soon(self._break)
            yield probe

    async def _break(self) -> None:
        await anyio.sleep(self.after)
        raise OSError("the block broke")


@virtual
async def test_a_check_that_breaks_while_it_is_open_is_opened_again() -> None:
    stage, db = Stage(), Target()
    async with stage.life(replace(service(db), check=BreaksOpen(target=db, after=20.0))) as life:
        await anyio.sleep(120)
        assert db.opened == 5
        assert life.health() == "up"


@virtual
async def test_secrets_are_taken_out_of_what_a_check_says() -> None:
    stage, db = Stage(), Target()
    stage.redact = Redactor([Secret("hunter2")])
    db.becomes(Fault(kind=ILL, message="refused hunter2", details={"dsn": ["hunter2"], "n": 1}))
    async with stage.life(service(db)):
        await anyio.sleep(1)
        db.becomes("can't tell hunter2")
        await anyio.sleep(2)
        db.becomes(None)
        await anyio.sleep(2)
    assert "hunter2" not in repr(stage.recorder.events)
    assert "***" in repr(stage.recorder.of(Checked))


# ----------------------------------------------------------------------------------------------------------- waking


@virtual
async def test_a_wake_asks_at_once() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, interval=60.0)):
        await anyio.sleep(10)
        asked = len(db.asked)
        db.wake("kept connection closed")
        await anyio.sleep(0.05)
        assert len(db.asked) == asked + 1


@virtual
async def test_however_often_it_is_woken_a_service_is_asked_no_more_than_ten_times_a_second() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)):
        await anyio.sleep(10)
        asked = len(db.asked)
        for _ in range(1000):
            db.wake("again")
            await anyio.sleep(0.001)
    assert len(db.asked) - asked <= 1.0 / CERTAIN_PAUSE + 1


@virtual
async def test_a_wake_during_a_question_asks_once_more_after_it() -> None:
    stage, db = Stage(), Target()
    db.takes = 1.0
    async with stage.life(service(db, interval=60.0)):
        await anyio.sleep(0.5)
        db.wake("something happened while it was being asked")
        await anyio.sleep(2)
        assert len(db.asked) == 2


@virtual
async def test_a_service_that_wakes_at_each_question_is_not_found_down_sooner_for_it() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)) as life:
        await anyio.sleep(6)
        db.becomes(ILL)
        at = anyio.current_time()
        while life.health() != "down":
            db.wake("connection closed")
            await anyio.sleep(0.02)
        assert anyio.current_time() - at >= 3.0


# ------------------------------------------------------------------------------------------- reviver's own lateness


@virtual
async def test_failures_seen_while_reviver_itself_was_starved_do_not_count() -> None:
    stage, db = Stage(), Target()
    db.takes = 0.2
    async with stage.life(service(db)) as life:
        await anyio.sleep(6)
        db.becomes(ILL)
        for _ in range(20):
            await asked_again(db)
            stall(1.0)
        assert life.health() == "up"
        assert all(checked.void for checked in stage.recorder.of(Checked) if checked.result.fault)
    assert len(stage.recorder.of(LoopLagged)) >= 10


@virtual
async def test_failures_seen_across_a_suspension_of_the_host_do_not_count() -> None:
    stage, db = Stage(), Target()
    db.takes = 0.02  # answered before the meter's next tick
    async with stage.life(service(db)) as life:
        await anyio.sleep(6)
        db.becomes(ILL)
        await asked_again(db)
        stage.clock.suspended += 3600
        await anyio.sleep(0.05)
        assert life.health() == "up"
        [checked] = [each for each in stage.recorder.of(Checked) if each.result.fault]
        assert checked.void
        await until(lambda: life.health() == "down")  # what fails afterwards counts


@virtual
async def test_a_stalled_reviver_says_how_late_it_was() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)):
        await anyio.sleep(6)
        stall(3.0)
        await anyio.sleep(1)
    [lagged] = stage.recorder.of(LoopLagged)
    assert lagged.seconds == pytest.approx(3.0, abs=0.1)


# ------------------------------------------------------------------------------------------------ suspecting itself


def remote(number: int) -> Target:
    target = Target(f"s{number}")
    target.hosts = frozenset({f"10.0.0.{number}"})
    return target


@virtual
async def test_when_much_fails_together_recovery_is_held_and_later_goes_on() -> None:
    stage, targets = Stage(), [remote(n) for n in range(8)]
    fix = strategy(after=15.0)
    async with stage.life(*(service(target, fix) for target in targets)) as life:
        await anyio.sleep(6)
        for target in targets[:4]:
            target.becomes(ILL)
        await anyio.sleep(120)
        assert "attempt_started" not in stage.entries
        assert stage.entries.count("recovery_held") == 4
        assert life.control.health()["s0"].held == "4 of 8 unrelated hosts fail together: this host may be cut off"
        for target in targets[1:]:
            target.becomes(None)
        await anyio.sleep(120)
        assert [entry.service for entry in stage.journal.entries if entry.type == "attempt_started"] == ["s0"] * 3
    assert [bool(event.reason) for event in stage.recorder.of(ObserverSuspected)] == [True, False]


@virtual
async def test_the_suspicion_ends_when_all_is_well_though_nothing_is_left_to_decide() -> None:
    stage, targets = Stage(), [remote(n) for n in range(8)]
    async with stage.life(*(service(target, strategy(after=15.0)) for target in targets)):
        for target in targets:
            target.will((6.0, ILL), (60.0, None))
        await anyio.sleep(180)
    told = stage.recorder.of(ObserverSuspected)
    assert [bool(event.reason) for event in told] == [True, False]


# ------------------------------------------------------------------------------------------------------------ telling


@virtual
async def test_each_change_of_health_is_told_with_its_fault_and_how_long_it_fails() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)):
        db.will((7.0, ILL), (30.0, None))
        await anyio.sleep(60)
    told = stage.recorder.of(HealthChanged)
    assert [(each.old, each.new) for each in told] == [
        (Health.UNKNOWN, Health.UP),
        (Health.UP, Health.SUSPECT),
        (Health.SUSPECT, Health.DOWN),
        (Health.DOWN, Health.UP),
    ]
    assert [each.fault and each.fault.kind for each in told] == [None, ILL, ILL, None]
    assert [each.failing_for and round(each.failing_for) for each in told] == [None, 0, 3, 21]


def told_late(stage: Stage) -> list[float]:
    return [round(checked.late, 2) for checked in stage.recorder.of(Checked)]


@virtual
async def test_how_late_a_question_was_asked_is_told() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db)):
        await anyio.sleep(4.9)
        stall(2.0)
        await anyio.sleep(0.5)
    assert told_late(stage) == [0.0, 1.9]


@virtual
async def test_what_is_shown_of_a_service_follows_what_is_believed() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, depends_on=("disk",))) as life:
        assert life.control.ready() == "1 of 1 services not asked yet"
        first = life.control.health()["db"]
        assert (first.health, first.since, first.latency_seconds, first.checked_at) == ("unknown", None, None, None)
        await anyio.sleep(1)
        assert life.control.ready() == ""
        second = life.control.health()["db"]
        assert second.latency_seconds == 0.01
        assert second.checked_at == pytest.approx(stage.clock.wall() - 0.99)
        assert second.since == pytest.approx(second.checked_at)
        db.becomes(CERTAIN)
        await until(lambda: life.health() == "down")
        view = life.control.health()["db"]
        assert (view.fault, view.message, view.certain) == ("unreachable", "its process is gone", True)
        assert view.incident == stage.journal.entries[0].incident
        assert view.depends_on == ("disk",)


def test_healthy_details_are_shown() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Detailed(Scripted):
        @asynccontextmanager
        async def open(self, context: CheckContext) -> AsyncIterator[ScriptedProbe]:
            yield Says(self.target)

    class Says(ScriptedProbe):
        async def ask(self, *, fresh: bool) -> CheckResult:
            return CheckResult(latency=0.1, details={"version": "17.2"})

    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        async with stage.life(replace(service(db), check=Detailed(target=db))) as life:
            await anyio.sleep(1)
            assert life.control.health()["db"].details == {"version": "17.2"}

    scene()


@virtual
async def test_the_loop_turns_at_least_once_a_second_though_nothing_is_due() -> None:
    stage = Stage()
    turns: list[float] = []
    supervisor = stage.supervisor([service(Target(), interval=3600.0)], stage.policy)
    supervisor._on_turn = lambda: turns.append(anyio.current_time())
    async with anyio.create_task_group() as tasks:
        await tasks.start(supervisor.run)
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    assert max(pauses(turns)) <= 1.0
