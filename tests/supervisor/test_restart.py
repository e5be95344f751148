"""Killed at any moment, the daemon's next life goes on where it was, and repeats nothing that must not be repeated."""

from dataclasses import replace

import anyio
import pytest

from fakes import Act, Life, Stage, Target, heals, service, strategy, until
from reviver.model import journal as j
from reviver.model.actions import Effect, Reconciled
from reviver.model.events import HealthChanged
from reviver.model.faults import FaultKind
from reviver.model.services import Budget, DaemonPolicy, Mode, Service
from virtual import virtual

ILL, OTHER = FaultKind.UNREACHABLE, FaultKind.DATABASE_MISSING
ENDS = {"incident_recovered", "incident_escalated"}


def outcomes(stage: Stage) -> list[str]:
    return [each.outcome for each in stage.of(j.AttemptEnded)]


async def settled(stage: Stage, *, within: float = 900.0) -> None:
    await until(lambda: stage.entries and stage.entries[-1] in ENDS, within=within, every=0.1)


async def killed_during(stage: Stage, action: Act, *services: Service) -> None:
    """A life that ends by SIGKILL in the middle of *action*."""
    async with stage.killed_life(*services):
        await until(lambda: action.runs)
        await anyio.sleep(0.1)


# ------------------------------------------------------------------------------------------- at every journal write


class World:
    """A database that is ill until the second step of its strategy, and what two lives of the daemon do to it."""

    def __init__(self, effect: Effect) -> None:
        self.stage, self.db = Stage(), Target()
        self.first = Act(name="first", effect=effect)
        self.second = heals(self.db, effect=effect, name="second")
        # Between the lives nobody knows how far the first came, but the world does.
        self.service = service(self.db, strategy(self.first, self.second, attempts=2))

    async def play(self, *, stop_at: int) -> bool:
        """Both lives; says whether the first came as far as *stop_at*."""
        journal = self.stage.journal
        journal.stop_at = stop_at
        self.db.becomes(ILL)
        async with self.stage.life(self.service):
            with anyio.move_on_after(60):
                await journal.stopped.wait()
        if not journal.stopped.is_set():
            return False
        journal.stop_at = None
        await anyio.sleep(5)
        async with self.stage.life(self.service):
            await settled(self.stage)
            await anyio.sleep(120)
        return True


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("stop_at", range(11))
def test_killed_at_any_write_the_incident_comes_to_its_end_and_nothing_is_repeated_blindly(
    stop_at: int, effect: Effect
) -> None:
    @virtual
    async def scene() -> None:
        world = World(effect)
        if not await world.play(stop_at=stop_at):
            assert stop_at >= 10  # the whole story is shorter
            return
        entries = world.stage.entries
        assert entries.count("incident_opened") == 1
        assert entries[-1] in ENDS
        if effect is Effect.DESTRUCTIVE:
            assert len(world.first.done) <= 1
            assert len(world.second.done) <= 1
        if effect is Effect.IDEMPOTENT:
            assert entries[-1] == "incident_recovered"
        started = [e.attempt for e in world.stage.of(j.AttemptStarted)]
        ended = [e.attempt for e in world.stage.of(j.AttemptEnded)]
        assert ended == started == list(range(1, len(started) + 1))

    scene()


# --------------------------------------------------------------------------------------------- in the middle of a step


@pytest.mark.parametrize("became", Reconciled)
@pytest.mark.parametrize("effect", Effect)
def test_a_step_in_flight_is_treated_as_the_table_says(effect: Effect, became: Reconciled) -> None:
    """The table stands in recovery/resume.py. The action in flight is the one that heals."""

    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        db.becomes(ILL)
        fix = heals(db, effect=effect)
        fix.became, fix.note, fix.takes = became, {"pid": 4711}, 10.0
        last = Act(name="last")
        db_service = service(db, strategy(fix, last, attempts=1))
        await killed_during(stage, fix, db_service)
        if became is Reconciled.DONE:
            db.becomes(None)  # it had happened
        async with stage.life(db_service):
            await settled(stage)
        assert fix.reconciled == [({"pid": 4711},)]
        again = effect is Effect.IDEMPOTENT or became is Reconciled.NOT_DONE
        healed = became is Reconciled.DONE
        assert (len(fix.runs) == 2) == (again and not healed)
        expected = "incident_recovered" if again or healed else "incident_escalated"
        assert stage.entries[-1] == expected
        if not again and not healed:
            assert outcomes(stage) == ["unclear" if effect is Effect.DESTRUCTIVE else "failed"]

    scene()


@virtual
async def test_an_unclear_destructive_step_whose_verification_passes_is_recovered() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, effect=Effect.DESTRUCTIVE)
    fix.takes = 10.0
    db_service = service(db, strategy(fix))
    await killed_during(stage, fix, db_service)
    db.becomes(None)
    async with stage.life(db_service):
        await settled(stage)
    assert (stage.entries[-1], outcomes(stage), len(fix.runs)) == ("incident_recovered", ["recovered"], 1)


@virtual
async def test_an_unclear_step_is_never_repeated_in_the_incident_not_even_by_a_third_life() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, effect=Effect.DESTRUCTIVE)
    fix.takes = 10.0
    db_service = service(db, strategy(fix, attempts=5))
    await killed_during(stage, fix, db_service)
    for _ in range(3):
        async with stage.killed_life(db_service):
            await anyio.sleep(300)
    assert len(fix.runs) == 1
    assert stage.entries.count("incident_escalated") == 1


@virtual
async def test_reconciling_that_raises_or_hangs_leaves_it_unknown() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, effect=Effect.DESTRUCTIVE)
    fix.takes, fix.became = 10.0, OSError("no such process")
    db_service = service(db, strategy(fix))
    await killed_during(stage, fix, db_service)
    async with stage.life(db_service):
        await settled(stage)
    assert outcomes(stage) == ["unclear"]


@virtual
async def test_killed_in_the_verification_it_is_done_again_and_no_step_is() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, after=8.0, effect=Effect.REVERSIBLE)
    db_service = service(db, strategy(fix, verify_within=10.0))
    async with stage.killed_life(db_service):
        await until(lambda: fix.done)
        await anyio.sleep(3)
    async with stage.life(db_service):
        await settled(stage)
    assert (stage.entries[-1], len(fix.runs)) == ("incident_recovered", 1)


@virtual
async def test_killed_before_its_first_step_an_attempt_passes_the_preflight_again() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, effect=Effect.DESTRUCTIVE)
    db_service = service(db, strategy(fix, attempts=1))
    stage.journal.stop_at = 2
    async with stage.life(db_service):
        await stage.journal.stopped.wait()
    stage.journal.stop_at = None
    fix.problems = ["the backup is 31 h old"]
    async with stage.life(db_service):
        await settled(stage)
    assert fix.runs == []
    assert stage.of(j.AttemptEnded)[0].message == "not started: the backup is 31 h old"


@virtual
async def test_a_service_that_is_well_again_at_the_restart_is_not_treated() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db)
    stage.journal.stop_at = 2
    async with stage.life(service(db, strategy(fix))):
        await stage.journal.stopped.wait()
    stage.journal.stop_at = None
    db.becomes(None)
    async with stage.life(service(db, strategy(fix))):
        await settled(stage)
    assert fix.runs == []
    assert outcomes(stage) == ["healed"]


@virtual
async def test_a_destructive_step_that_had_failed_is_for_people_after_the_restart_as_before() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act(effect=Effect.DESTRUCTIVE, error="no space left")
    stage.journal.stop_at = 5  # … and the step has ended
    async with stage.life(service(db, strategy(fix))):
        await stage.journal.stopped.wait()
    stage.journal.stop_at = None
    async with stage.life(service(db, strategy(fix))):
        await settled(stage)
        await anyio.sleep(300)
    assert (len(fix.runs), outcomes(stage)) == (1, ["unclear"])


@pytest.mark.parametrize("effect", [Effect.REVERSIBLE, Effect.DESTRUCTIVE])
def test_an_attempt_whose_strategy_was_renamed_is_ended_and_not_started_over_if_it_could_destroy(
    effect: Effect,
) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        db.becomes(ILL)
        fix = heals(db, effect=effect)
        fix.takes = 10.0
        await killed_during(stage, fix, service(db, strategy(fix, name="old name")))
        async with stage.life(service(db, strategy(fix, name="new name"))):
            await settled(stage)
            await anyio.sleep(300)
        if effect is Effect.DESTRUCTIVE:
            assert (len(fix.runs), stage.entries[-1], outcomes(stage)) == (1, "incident_escalated", ["unclear"])
        else:
            assert (len(fix.runs), outcomes(stage)) == (2, ["failed", "recovered"])

    scene()


@virtual
async def test_steps_that_are_others_than_before_are_not_run() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, effect=Effect.DESTRUCTIVE)
    fix.takes = 10.0
    await killed_during(stage, fix, service(db, strategy(fix)))
    rung = strategy(fix)
    other = replace(rung, steps=(replace(rung.steps[0], kind="other.action"),))
    async with stage.life(service(db, other)):
        await settled(stage)
    assert (len(fix.runs), outcomes(stage)) == (1, ["unclear"])


# ------------------------------------------------------------------------------------------ what the settings say now


@virtual
async def test_a_resumed_attempt_obeys_a_daemon_that_only_observes_now() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db)
    fix.takes = 10.0
    await killed_during(stage, fix, service(db, strategy(fix)))
    async with stage.life(service(db, strategy(fix)), policy=DaemonPolicy(mode=Mode.OBSERVE)):
        await anyio.sleep(120)
    assert len(fix.runs) == 1


@virtual
async def test_a_resumed_attempt_obeys_a_pause() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db)
    fix.takes = 10.0
    async with stage.killed_life(service(db, strategy(fix))) as life:
        await until(lambda: fix.runs)
        await life.control.pause(["db"], by="ann", reason="wait", seconds=300.0)
    async with stage.life(service(db, strategy(fix))) as life:
        await anyio.sleep(120)
        assert life.health() == "paused"
        assert len(fix.runs) == 1


@virtual
async def test_people_are_told_of_what_may_be_half_done_to_a_service_that_is_gone_from_the_settings() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db, effect=Effect.DESTRUCTIVE)
    fix.takes = 10.0
    await killed_during(stage, fix, service(db, strategy(fix)))
    async with stage.life(service(Target("other"))):
        await anyio.sleep(10)
    assert outcomes(stage) == ["unclear"]
    assert stage.entries[-2:] == ["incident_escalated", "incident_withdrawn"]
    assert "half done" in stage.of(j.IncidentWithdrawn)[0].reason


@virtual
async def test_under_another_name_a_strategy_does_not_do_again_what_can_not_be_brought_back() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act(effect=Effect.DESTRUCTIVE)
    async with stage.killed_life(service(db, strategy(fix, name="flush"))):
        await until(lambda: "step_ended" in stage.entries)  # killed before it knows whether that helped
    async with stage.life(service(db, strategy(fix, name="flush the cache"))):
        await anyio.sleep(900)
    assert (len(fix.runs), outcomes(stage)) == (1, ["unclear"])
    assert "incident_escalated" in stage.entries


@virtual
async def test_the_incident_of_a_service_that_is_gone_from_the_settings_is_withdrawn() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    async with stage.killed_life(service(db)):
        await until(lambda: "incident_escalated" in stage.entries)
    async with stage.life(service(Target("other"))):
        await anyio.sleep(10)
    [withdrawn] = stage.of(j.IncidentWithdrawn)
    assert withdrawn.reason == "its service is no longer in the settings"
    async with stage.life(service(Target("other"))):
        await anyio.sleep(10)
    assert len(stage.of(j.IncidentWithdrawn)) == 1


@virtual
async def test_of_a_service_that_is_gone_neither_recovered_incidents_nor_pauses_matter() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    async with stage.killed_life(service(db, strategy(heals(db)))) as life:
        await settled(stage)
        await life.control.pause(["db"], by="ann", reason="", seconds=600.0)
    entries = stage.entries
    async with stage.life(service(Target("other"))) as life:
        await anyio.sleep(10)
        assert life.health("other") == "up"
    assert stage.entries == entries


# ---------------------------------------------------------------------------------------------- what is remembered


@virtual
async def test_an_open_incident_goes_on_with_its_count_once_the_failure_is_confirmed_anew() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act()
    db_service = service(db, strategy(fix, attempts=3))
    async with stage.killed_life(db_service):
        await until(lambda: outcomes(stage) == ["failed"] * 2)
    async with stage.life(db_service) as life:
        back = anyio.current_time()
        assert life.health() == "unknown"
        await until(lambda: len(fix.runs) == 3)
        assert fix.runs[-1] - back >= 3.0
        await settled(stage)
    assert [e.attempt for e in stage.of(j.AttemptStarted)] == [1, 2, 3]
    assert stage.entries.count("incident_opened") == 1


@virtual
async def test_the_backoff_outlives_a_restart() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act()
    db_service = service(db, strategy(fix))
    async with stage.killed_life(db_service):
        await until(lambda: outcomes(stage) == ["failed"] * 2)  # the next in 20 s
        ended = anyio.current_time()
    async with stage.life(db_service):
        await until(lambda: len(fix.runs) == 3)
    assert 20.0 <= fix.runs[-1] - ended <= 26.0


@virtual
async def test_an_incident_that_heals_during_the_absence_is_closed() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    async with stage.killed_life(service(db)):
        await until(lambda: "incident_escalated" in stage.entries)
    db.becomes(None)
    async with stage.life(service(db)):
        await anyio.sleep(30)
    assert stage.entries[-1] == "incident_recovered"


@virtual
async def test_what_people_have_stays_with_them() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act()
    db_service = service(db, strategy(fix, attempts=1))
    async with stage.killed_life(db_service):
        await settled(stage)
    for _ in range(2):
        async with stage.killed_life(db_service):
            await anyio.sleep(300)
    assert len(fix.runs) == 1
    assert stage.entries.count("incident_escalated") == 1


@virtual
async def test_the_cool_down_outlives_a_restart() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act()
    db_service = service(db, strategy(fix, attempts=1), retry_after=600.0)
    async with stage.killed_life(db_service):
        await settled(stage)
        told = anyio.current_time()
    await anyio.sleep(300)
    async with stage.life(db_service):
        await until(lambda: len(fix.runs) == 2, within=900)
    assert 599.0 <= fix.runs[1] - told <= 610.0


@virtual
async def test_falling_again_soon_after_a_restart_continues_the_incident() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    db_service = service(db, strategy(heals(db)), stable=300.0)
    async with stage.killed_life(db_service):
        await settled(stage)
    await anyio.sleep(100)
    async with stage.life(db_service):
        await anyio.sleep(20)
        db.becomes(ILL)
        await until(lambda: stage.entries.count("incident_recovered") == 2)
    assert stage.entries.count("incident_reopened") == 1
    assert [e.attempt for e in stage.of(j.AttemptStarted)] == [1, 2]


@virtual
async def test_falling_again_long_after_a_restart_opens_another_incident() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    db_service = service(db, strategy(heals(db)), stable=300.0)
    async with stage.killed_life(db_service):
        await settled(stage)
    await anyio.sleep(400)
    async with stage.life(db_service):
        await anyio.sleep(20)
        db.becomes(ILL)
        await until(lambda: stage.entries.count("incident_recovered") == 2)
    assert stage.entries.count("incident_opened") == 2


@virtual
async def test_a_pause_outlives_a_restart_and_ends_when_it_should() -> None:
    stage, db = Stage(), Target()
    async with stage.killed_life(service(db)) as life:
        await life.control.pause(["db"], by="ann", reason="maintenance", seconds=600.0)
    await anyio.sleep(100)
    async with stage.life(service(db)) as life:
        assert life.health() == "paused"
        assert life.control.health()["db"].paused_until == pytest.approx(stage.clock.wall() + 500)
        await anyio.sleep(499)
        assert life.health() == "paused"
        await anyio.sleep(2)
        assert life.health() == "up"


@virtual
async def test_setting_the_date_lifts_no_pause_whatever_restarts_or_is_reloaded_then() -> None:
    for years in (-10, 10):
        stage, db, api = Stage(), Target(), Target("api")
        async with stage.killed_life(service(db), service(api)) as life:
            await life.control.pause(["db"], by="ann", reason="maintenance", seconds=600.0)
            stage.clock.wall_at_zero += years * 365 * 86400.0
            life.replace_services({"api": service(api)}, life.policy)
            life.replace_services({"api": service(api), "db": service(db)}, life.policy)
            assert life.health() == "paused"
        async with stage.life(service(db)) as life:
            assert life.health() == "paused"
            await anyio.sleep(602)
            assert life.health() == "up"


@virtual
async def test_a_pause_that_ended_during_the_absence_is_over() -> None:
    stage, db = Stage(), Target()
    async with stage.killed_life(service(db)) as life:
        await life.control.pause(["db"], by="ann", reason="maintenance", seconds=60.0)
    await anyio.sleep(100)
    async with stage.life(service(db)) as life:
        assert life.health() == "unknown"


@virtual
async def test_spent_budgets_outlive_a_restart() -> None:
    stage, targets = Stage(), [Target("a"), Target("b")]
    fixes = [heals(target) for target in targets]
    services = [service(target, strategy(fix)) for target, fix in zip(targets, fixes, strict=True)]
    policy = DaemonPolicy(budget=Budget(attempts=1, per=900.0))
    async with stage.killed_life(*services, policy=policy):
        targets[0].becomes(ILL)
        await until(lambda: "incident_recovered" in stage.entries)
    async with stage.life(*services, policy=policy):
        targets[1].becomes(ILL)
        await until(lambda: fixes[1].runs, within=1200, every=1.0)
    assert fixes[1].runs[0] - fixes[0].runs[0] >= 900.0


@virtual
async def test_after_a_reboot_ages_go_by_the_wall_clock() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = Act()
    db_service = service(db, strategy(fix, attempts=1), retry_after=600.0)
    async with stage.killed_life(db_service):
        await settled(stage)
        told = anyio.current_time()
    await anyio.sleep(300)
    stage.clock.reboot()
    async with stage.life(db_service):
        await until(lambda: len(fix.runs) == 2, within=900, every=0.1)
    assert 599.0 <= fix.runs[1] - told <= 610.0


@virtual
async def test_what_is_not_proven_stays_so_after_a_restart() -> None:
    stage, db, rows = Stage(), Target(), Target("rows")
    db.becomes(ILL)
    rows.becomes(FaultKind.BAD_BODY)
    fix = heals(db)
    db_service = service(db, strategy(fix, verify=[rows]))
    async with stage.killed_life(db_service):
        await settled(stage)
    async with stage.life(db_service):
        await anyio.sleep(120)
        assert "incident_recovered" not in stage.entries
        rows.becomes(None)
        await settled(stage)
        assert stage.entries[-1] == "incident_recovered"
    assert len(fix.runs) == 1


@virtual
async def test_killed_while_it_looks_for_the_proof_it_is_not_taken_for_proven() -> None:
    stage, db, rows = Stage(), Target(), Target("rows")
    db.becomes(ILL)
    rows.becomes(FaultKind.BAD_BODY)
    db_service = service(db, strategy(heals(db), verify=[rows]))
    async with stage.killed_life(db_service):
        await until(lambda: len(stage.of(j.AttemptStarted)) == 2)
    async with stage.life(db_service):
        await anyio.sleep(120)
        assert "incident_recovered" not in stage.entries
        assert stage.entries.count("incident_escalated") == 1  # once told is told
        rows.becomes(None)
        await settled(stage)
        assert stage.entries[-1] == "incident_recovered"
    numbers = [each.attempt for each in stage.of(j.AttemptStarted)]
    assert numbers == [each.attempt for each in stage.of(j.AttemptEnded)]


@virtual
async def test_what_is_not_proven_stays_so_after_another_attempt_and_a_restart() -> None:
    stage, db, rows = Stage(), Target(), Target("rows")
    db.becomes(ILL)
    rows.becomes(FaultKind.BAD_BODY)
    gentle = strategy(heals(db), name="gentle", attempts=1, verify=[rows])
    harsh = strategy(Act(error="no"), name="harsh", attempts=1)
    db_service = service(db, gentle, harsh)
    async with stage.killed_life(db_service):
        await settled(stage)
        db.becomes(ILL)
        await until(lambda: any(each.strategy == "harsh" for each in stage.of(j.AttemptEnded)))
    db.becomes(None)
    async with stage.life(db_service):
        await anyio.sleep(120)
        assert "incident_recovered" not in stage.entries
        rows.becomes(None)
        await until(lambda: "incident_recovered" in stage.entries)


@virtual
async def test_a_fault_that_was_told_of_is_not_told_again() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    async with stage.killed_life(service(db, strategy(after=1e9, faults=[ILL, OTHER]))):
        await until(lambda: "incident_opened" in stage.entries)
        db.becomes(OTHER)
        await until(lambda: "fault_changed" in stage.entries)
        db.becomes(ILL)
        await anyio.sleep(10)
    async with stage.life(service(db, strategy(after=1e9, faults=[ILL, OTHER]))):
        db.becomes(OTHER)
        await anyio.sleep(60)
        db.becomes(ILL)
        await anyio.sleep(60)
    assert stage.entries.count("fault_changed") == 1


@virtual
async def test_an_empty_journal_leaves_nothing_behind() -> None:
    stage = Stage()
    async with stage.life(service(Target())) as life:
        await anyio.sleep(10)
        assert life.health() == "up"
    assert stage.entries == []


# ------------------------------------------------------------------------------------------------------- a safe stop


async def drained(life: Life, *, within: float = 15.0) -> float:
    """How long the drain took."""
    before = anyio.current_time()
    await life.drain(within=within)
    return anyio.current_time() - before


@virtual
async def test_a_stop_waits_for_the_step_under_way_and_begins_no_other() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    first, second = Act(effect=Effect.DESTRUCTIVE, takes=5.0), heals(db, effect=Effect.DESTRUCTIVE)
    db_service = service(db, strategy(first, second))
    async with stage.life(db_service) as life:
        await until(lambda: first.runs)
        assert await drained(life) == pytest.approx(5.0, abs=0.1)
        assert (len(first.done), second.runs) == (1, [])
    assert stage.entries[-1] == "step_ended"  # the attempt stays open
    async with stage.life(db_service):
        await settled(stage)
    assert (len(first.runs), len(second.runs), outcomes(stage)) == (1, 1, ["recovered"])


@virtual
async def test_a_step_that_takes_too_long_for_the_stop_is_interrupted_and_written_down() -> None:
    stage, db = Stage(), Target()
    db.becomes(ILL)
    fix = heals(db)
    fix.takes = 100.0
    async with stage.life(service(db, strategy(fix, timeout=200.0))) as life:
        await until(lambda: fix.runs)
        assert await drained(life) == pytest.approx(15.0, abs=0.1)
    [ended] = stage.of(j.StepEnded)
    assert (ended.outcome, ended.error) == (j.StepOutcome.INTERRUPTED, "reviver stopped in its middle")
    assert "attempt_ended" not in stage.entries


@virtual
async def test_a_stop_without_an_attempt_is_immediate() -> None:
    async with Stage().life(service(Target())) as life:
        await anyio.sleep(5)
        assert await drained(life) == 0.0


@virtual
async def test_once_it_stops_nothing_is_started() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix))) as life:
        await anyio.sleep(6)
        await life.drain(within=1.0)
        db.becomes(ILL)
        await anyio.sleep(60)
    assert fix.runs == []


@virtual
async def test_a_graceful_stop_does_not_cry_that_the_journal_is_broken() -> None:
    stage, db = Stage(), Target()
    stage.journal.slow = 0.2
    db.becomes(ILL)
    async with stage.life(service(db)):
        await until(lambda: any(each.new == "down" for each in stage.recorder.of(HealthChanged)))
    assert "JournalStateChanged" not in stage.recorder.told()
    assert "incident_opened" in stage.entries
