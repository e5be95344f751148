"""Supervisor and recovery together: from the first failure to the verified recovery, or to people."""

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from fakes import HANG, Act, Stage, Target, heals, service, strategy, until
from reviver.core.decide import ABORTED_PAUSE
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.events import Checked, HealthChanged
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.journal import Severity
from reviver.model.services import Backoff, Budget, Criticality, DaemonPolicy, Flapping, Jitter
from virtual import stall, virtual

ILL, OTHER = FaultKind.UNREACHABLE, FaultKind.DATABASE_MISSING
HAPPY = [
    "incident_opened",
    "attempt_started",
    "evidence_taken",
    "step_started",
    "step_ended",
    "verification_ended",
    "attempt_ended",
    "incident_recovered",
]


def reasons(stage: Stage) -> list[str]:
    return [entry.reason for entry in stage.of(j.IncidentEscalated)]


# ------------------------------------------------------------------------------------------------------ to the end


@virtual
async def test_a_down_service_is_recovered_verified_and_written_down_in_this_order() -> None:
    stage, db = Stage(), Target()
    fix = heals(db, after=2.0)
    async with stage.life(service(db, strategy(fix), criticality=Criticality.HIGH)) as life:
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_recovered" in stage.entries)
        assert life.health() == "up"
        await anyio.sleep(60)
    assert stage.entries == HAPPY
    assert len(fix.runs) == 1
    opened, started, _, step, step_ended, verified, ended, recovered = stage.journal.entries
    assert isinstance(opened, j.IncidentOpened)
    assert opened.incident == "db-20250615T150653070"
    assert (opened.fault, opened.message, opened.severity) == (ILL, "it is unreachable", Severity.SEV2)
    assert opened.failing_for == pytest.approx(3.07)
    assert opened.noticed_ago == pytest.approx(3.06)
    assert isinstance(started, j.AttemptStarted)
    assert (started.attempt, started.strategy, started.by, started.steps) == (1, "restart", "reviver", ("do act",))
    assert isinstance(step, j.StepStarted)
    assert (step.attempt, step.step, step.action, step.effect) == (1, 0, "fake.0", "idempotent")
    assert isinstance(step_ended, j.StepEnded)
    assert step_ended.outcome is j.StepOutcome.DONE
    assert step_ended.seconds == pytest.approx(0.5)
    assert isinstance(verified, j.VerificationEnded)
    assert (verified.passed, verified.message) == (True, "the check passed 3 times")
    assert isinstance(ended, j.AttemptEnded)
    assert (ended.outcome, ended.retry_in) == ("recovered", None)
    assert isinstance(recovered, j.IncidentRecovered)
    assert recovered.by == "restart"
    assert recovered.down_for == pytest.approx(6.6, abs=0.3)
    assert all(entry.incident == opened.incident for entry in stage.journal.entries)


@virtual
async def test_every_entry_is_told_to_the_subscribers_in_the_order_of_the_journal() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)))):
        db.becomes(ILL, at=7.0)
        await anyio.sleep(60)
    assert stage.recorder.of(j.Entry) == stage.journal.entries


@virtual
async def test_the_start_of_each_step_is_on_disk_before_the_step_begins() -> None:
    stage, db = Stage(), Target()
    stage.journal.slow = 0.7
    seen: list[list[str]] = []
    look = Act(does=lambda: seen.append(stage.entries))
    async with stage.life(service(db, strategy(look, heals(db)))):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_recovered" in stage.entries)
    assert seen == [["incident_opened", "attempt_started", "evidence_taken", "step_started"]]


@virtual
async def test_failing_attempts_follow_each_other_after_their_backoff_then_the_next_rung_then_people() -> None:
    stage, db = Stage(), Target()
    restart, failover = Act(name="restart"), Act(name="failover")
    ladder = [strategy(restart, attempts=3), strategy(failover, name="failover", attempts=1)]
    async with stage.life(service(db, *ladder)) as life:
        db.becomes(ILL)
        await until(lambda: "incident_escalated" in stage.entries)
        await anyio.sleep(600)
        assert life.health() == "down"
    assert stage.entries.count("attempt_started") == 4
    ended = stage.of(j.AttemptEnded)
    assert [each.outcome for each in ended] == ["failed"] * 4
    assert [each.retry_in for each in ended] == [pytest.approx(seconds) for seconds in (10.0, 20.0, 40.0, 10.0)]
    waited = [later - sooner for sooner, later in zip(restart.done, [*restart.runs[1:], *failover.runs], strict=True)]
    for seconds, backoff in zip(waited, [10.0, 20.0, 40.0], strict=True):
        assert backoff <= seconds - 10.0 <= backoff + 6.0  # verified in vain for 10 s, then the backoff
    assert reasons(stage) == ['every strategy for unreachable was tried: "restart" (3 times), "failover" (1 times)']


@virtual
async def test_a_failed_step_ends_the_attempt_and_says_why() -> None:
    stage, db = Stage(), Target()
    never = Act(name="never")
    async with stage.life(service(db, strategy(Act(error="unit db.service: not found"), never, attempts=1))):
        db.becomes(ILL)
        await until(lambda: "incident_escalated" in stage.entries)
    assert never.runs == []
    [step] = stage.of(j.StepEnded)
    assert (step.outcome, step.error) == (j.StepOutcome.FAILED, "unit db.service: not found")
    assert "verification_ended" not in stage.entries
    [ended] = stage.of(j.AttemptEnded)
    assert ended.message == "step 1 failed: unit db.service: not found"


@virtual
async def test_a_service_that_heals_while_its_rung_waits_is_never_touched() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix, after=20.0))):
        db.will((7.0, ILL), (25.0, None))
        await anyio.sleep(120)
    assert fix.runs == []
    assert stage.entries == ["incident_opened", "recovery_planned", "incident_recovered"]
    assert stage.of(j.IncidentRecovered)[0].by == "itself"


@virtual
async def test_an_old_symptom_is_looked_at_once_more_before_the_first_step() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix, after=22.5))) as life:
        db.will((7.0, ILL), (31.0, None))  # last seen ill at 30, the rung is ready at 32.5
        await until(lambda: life.health() == "recovering")
        await anyio.sleep(60)
    assert fix.runs == []
    assert stage.of(j.AttemptEnded)[0].outcome == "healed"
    assert stage.of(j.IncidentRecovered)[0].by == "itself"


@virtual
async def test_falling_again_soon_continues_the_incident() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)), stable=300.0)):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_recovered" in stage.entries)
        await anyio.sleep(100)
        db.becomes(ILL)
        await until(lambda: stage.entries.count("incident_recovered") == 2)
    assert stage.entries == [*HAPPY, "incident_reopened", *HAPPY[1:]]
    assert [each.attempt for each in stage.of(j.AttemptStarted)] == [1, 2]
    assert len({entry.incident for entry in stage.journal.entries}) == 1


@virtual
async def test_falling_again_much_later_opens_another_incident() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)), stable=300.0)):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_recovered" in stage.entries)
        await anyio.sleep(400)
        db.becomes(ILL)
        await until(lambda: stage.entries.count("incident_recovered") == 2)
    assert stage.entries == [*HAPPY, *HAPPY]
    assert len({entry.incident for entry in stage.journal.entries}) == 2


@virtual
async def test_a_fault_that_changes_is_noted_and_its_own_rung_is_climbed() -> None:
    stage, db = Stage(), Target()
    restart = Act(does=lambda: db.becomes(OTHER))
    create = heals(db)
    async with stage.life(service(db, strategy(restart), strategy(create, name="create", faults=[OTHER]))):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_recovered" in stage.entries)
    assert len(restart.runs) == 1
    assert [(each.fault, each.message) for each in stage.of(j.FaultChanged)] == [(OTHER, f"it is {OTHER}")]
    assert stage.of(j.IncidentRecovered)[0].by == "create"


@virtual
async def test_one_odd_answer_during_an_outage_starts_nothing_of_its_own() -> None:
    stage, db = Stage(), Target()
    restore = Act(effect=Effect.DESTRUCTIVE)
    ladder = [strategy(after=1e9), strategy(restore, name="restore", faults=[OTHER])]
    async with stage.life(service(db, *ladder)):
        db.will((7.0, ILL), (60.0, OTHER), (64.0, ILL))
        await anyio.sleep(300)
    assert restore.runs == []


# ------------------------------------------------------------------------------------------- recovered means verified


@virtual
async def test_a_strategy_that_ran_without_error_but_did_not_help_is_a_failed_attempt() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(Act(), attempts=1))):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_escalated" in stage.entries)
    [verified] = stage.of(j.VerificationEnded)
    assert not verified.passed
    assert verified.message.endswith("s still: it is unreachable")
    assert "incident_recovered" not in stage.entries


@virtual
async def test_a_named_verification_that_fails_keeps_the_incident_open_though_the_check_passes() -> None:
    stage, db, rows = Stage(), Target(), Target("rows")
    restore = heals(db, effect=Effect.DESTRUCTIVE)
    rows.becomes(FaultKind.BAD_BODY)
    async with stage.life(service(db, strategy(restore, verify=[rows]))) as life:
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_escalated" in stage.entries)
        await anyio.sleep(300)
        assert life.health() == "up"
        assert "incident_recovered" not in stage.entries
        assert len(restore.runs) == 1  # it is looked at again, not done again
        rows.becomes(None)
        await anyio.sleep(300)
    assert stage.of(j.IncidentRecovered)[0].by == "restart"
    assert len(restore.runs) == 1
    assert reasons(stage)[0].endswith("verification scripted: it is bad_body")


# -------------------------------------------------------------------------------------------------------- root first


def stack(api: Target, db: Target, fix_api: Act, fix_db: Act) -> list:  # type: ignore[type-arg]
    return [
        service(api, strategy(fix_api), depends_on=("db",), interval=1.0),
        service(db, strategy(fix_db, after=20.0)),
    ]


@virtual
async def test_what_depends_on_a_failed_service_is_held_and_comes_back_with_it_untouched() -> None:
    stage, api, db = Stage(), Target("api"), Target("db")

    def both() -> None:
        db.becomes(None)
        api.becomes(None, at=anyio.current_time() + 1.0)

    fix_api, fix_db = Act(name="restart api"), Act(name="restart db", does=both)
    async with stage.life(*stack(api, db, fix_api, fix_db)) as life:
        for target in (api, db):
            target.becomes(ILL, at=7.0)
        await anyio.sleep(20)
        assert life.control.health()["api"].held == "db is not up; api is looked at again once that is"
        await anyio.sleep(120)
        assert (life.health("db"), life.health("api")) == ("up", "up")
    assert len(fix_db.runs) == 1
    assert fix_api.runs == []
    recovered = {each.service: each.by for each in stage.of(j.IncidentRecovered)}
    assert recovered == {"db": "restart", "api": "itself"}


@virtual
async def test_a_dependency_is_asked_before_an_attempt_however_seldom_else() -> None:
    stage, api, db = Stage(), Target("api"), Target("db")
    fix = Act()
    backoff = Backoff(initial=30.0, factor=1.0, max=30.0, jitter=Jitter.NONE)
    slow = replace(service(db), interval=3600.0)
    needing = service(api, replace(strategy(fix), backoff=backoff, verify_within=1.0), depends_on=("db",))
    async with stage.life(slow, needing) as life:
        api.becomes(ILL, at=7.0)
        await until(lambda: fix.runs)
        db.becomes(ILL)  # in the middle of the backoff, long before its own next question
        await anyio.sleep(120)
        assert life.health("db") == "down"
        assert len(fix.runs) == 1


@virtual
async def test_what_stays_down_after_its_dependency_is_back_is_confirmed_anew_and_recovered() -> None:
    stage, api, db = Stage(), Target("api"), Target("db")
    fix_api, fix_db = heals(api), heals(db)
    async with stage.life(*stack(api, db, fix_api, fix_db)) as life:
        for target in (api, db):
            target.becomes(ILL, at=7.0)
        await until(lambda: life.health("db") == "up" and fix_db.runs)
        back = anyio.current_time()
        await until(lambda: fix_api.runs)
        assert fix_api.runs[0] - back >= 2.9  # four failures in a row, one second apart
        await until(lambda: life.health("api") == "up")


@virtual
async def test_a_dependency_that_is_asked_seldom_is_asked_at_once_when_what_needs_it_fails() -> None:
    stage, api, db = Stage(), Target("api"), Target("db")
    fix_api, fix_db = heals(api), heals(db)
    api_service, db_service = stack(api, db, fix_api, fix_db)
    slow_db = service(db, *db_service.strategies, interval=600.0)
    async with stage.life(api_service, slow_db) as life:
        await anyio.sleep(7)
        for target in (api, db):
            target.becomes(ILL)
        await until(lambda: life.health("db") == "down", within=10.0)
        await anyio.sleep(5)
        assert fix_api.runs == []


@virtual
async def test_with_a_dependency_that_hangs_nothing_is_started_before_its_answer_is_known() -> None:
    stage, api, db = Stage(), Target("api"), Target("db")
    fix_api = heals(api)
    api_service, db_service = stack(api, db, fix_api, Act())
    async with stage.life(api_service, db_service):
        await anyio.sleep(7)
        db.takes = 1.9
        db.becomes(ILL)
        api.becomes(Fault(kind=ILL, message="its process is gone", certain=True))
        await anyio.sleep(10)
    assert fix_api.runs == []


@virtual
async def test_the_impact_of_an_incident_is_everything_that_hangs_on_it() -> None:
    stage, api, db = Stage(), Target("api"), Target("db")
    async with stage.life(
        service(api, depends_on=("db",), criticality=Criticality.CRITICAL), service(db, strategy(heals(db)))
    ):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_opened" in stage.entries)
    [opened] = stage.of(j.IncidentOpened)
    assert (opened.impact, opened.severity) == (("api",), Severity.SEV1)


# ----------------------------------------------------------------------------------------------------------- bounded


def overlaps(*actions: Act) -> int:
    """The most actions that ran at the same time."""
    edges = [(at, 1) for each in actions for at in each.runs] + [(at, -1) for each in actions for at in each.done]
    count = most = 0
    for _, step in sorted(edges):
        count += step
        most = max(most, count)
    return most


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_attempts_run_at_the_same_time_than_the_policy_allows(at_once: int) -> None:
    @virtual
    async def scene() -> None:
        stage, targets = Stage(), [Target(f"s{n}") for n in range(6)]
        fixes = [heals(target) for target in targets]
        for fix in fixes:
            fix.takes = 7.0
        services = [service(target, strategy(fix)) for target, fix in zip(targets, fixes, strict=True)]
        policy = DaemonPolicy(at_once=at_once, budget=Budget(attempts=100, per=900.0))
        async with stage.life(*services, policy=policy):
            for target in targets:
                target.becomes(ILL)
            await until(lambda: all(fix.done for fix in fixes))
        assert overlaps(*fixes) == at_once

    scene()


@virtual
async def test_the_overall_budget_delays_the_next_attempt_until_it_is_free() -> None:
    stage, targets = Stage(), [Target(f"s{n}") for n in range(3)]
    fixes = [heals(target) for target in targets]
    services = [service(target, strategy(fix)) for target, fix in zip(targets, fixes, strict=True)]
    policy = DaemonPolicy(budget=Budget(attempts=2, per=900.0))
    async with stage.life(*services, policy=policy):
        for target in targets:
            target.becomes(ILL, at=7.0)
        await until(lambda: all(fix.done for fix in fixes), within=2000, every=1.0)
    first, _, third = sorted(run for fix in fixes for run in fix.runs)
    assert 900.0 <= third - first <= 910.0
    assert [held.guard for held in stage.of(j.RecoveryHeld)] == ["budget"]


@virtual
async def test_a_service_whose_strategy_helps_only_briefly_is_handed_over_when_its_budget_is_spent() -> None:
    stage, db = Stage(), Target()
    fix = Act(does=lambda: db.will((anyio.current_time(), None), (anyio.current_time() + 400.0, ILL)))
    steady = Flapping(falls=100, within=1800.0)
    async with stage.life(service(db, strategy(fix), budgets=(Budget(attempts=3, per=3600.0),), flapping=steady)):
        db.becomes(ILL, at=7.0)
        await anyio.sleep(7200)
    assert len(fix.runs) == 3
    assert reasons(stage) == ["the budget of db is spent: reviver made 3 attempts within 1 h"]
    assert stage.of(j.IncidentEscalated)[0].stops == "spent"


@virtual
async def test_attempts_that_came_to_no_step_spend_no_budget() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix, after=22.5), budgets=(Budget(attempts=1, per=3600.0),))):
        db.will((7.0, ILL), (31.0, "out of file descriptors"), (80.0, ILL))
        await until(lambda: "incident_recovered" in stage.entries)
    assert {each.outcome for each in stage.of(j.AttemptEnded)[:-1]} == {"aborted"}
    assert stage.of(j.AttemptEnded)[-1].outcome == "recovered"


@virtual
async def test_a_check_that_can_not_tell_does_not_fill_the_journal() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db), after=22.5))):
        db.will((7.0, ILL), (31.0, "out of file descriptors"))
        await anyio.sleep(3600)
    assert len(stage.entries) < 50


@virtual
async def test_aborted_attempts_are_apart() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db), after=22.5))):
        db.will((7.0, ILL), (31.0, "out of file descriptors"))
        await anyio.sleep(60)
    ended = [written.at for written in stage.journal.written if written.entry.type == "attempt_ended"]
    assert all(later - sooner >= ABORTED_PAUSE for sooner, later in pairwise(ended))


@virtual
async def test_after_the_cool_down_the_ladder_is_tried_again() -> None:
    stage, db = Stage(), Target()
    fix = Act()
    async with stage.life(service(db, strategy(fix, attempts=1), retry_after=1800.0)):
        db.becomes(ILL, at=7.0)
        await until(lambda: len(fix.runs) == 2, within=4000, every=1.0)
    assert 1800.0 <= fix.runs[1] - fix.runs[0] <= 1830.0


# ----------------------------------------------------------------------------------------------------------- evidence


async def evidence_of(db: Target, **settings: object) -> Mapping[str, JsonValue]:
    """What is written down of *db* before it is recovered."""
    stage = Stage()
    db.becomes(ILL)
    async with stage.life(service(db, strategy(heals(db)), **settings)):
        await until(lambda: "incident_recovered" in stage.entries)
    [taken] = stage.of(j.EvidenceTaken)
    return taken.evidence


@virtual
async def test_what_the_check_saw_is_written_down_before_the_first_step() -> None:
    db = Target()
    db.seen = {"backends": 97}
    assert await evidence_of(db) == {"backends": 97}


@virtual
async def test_evidence_that_hangs_delays_the_recovery_for_a_moment_only() -> None:
    db = Target()
    db.seen = HANG
    assert await evidence_of(db) == {"check": "could not be had within 3 s"}


@virtual
async def test_evidence_that_breaks_off_is_said_and_no_more() -> None:
    db = Target()
    db.seen = KeyError("hunter2")
    assert await evidence_of(db) == {"check": "could not be had: KeyError"}


def test_the_services_process_is_part_of_the_evidence(tmp_path: Path) -> None:
    pidfile = tmp_path / "db.pid"
    pidfile.write_text(f"{os.getpid()}\n")

    @virtual
    async def scene() -> None:
        found = await evidence_of(Target(), pidfile=str(pidfile))
        assert isinstance(found["process"], dict)
        assert found["process"]["pid"] == os.getpid()
        pidfile.unlink()
        assert (await evidence_of(Target(), pidfile=str(pidfile)))["process"] == "none"

    scene()


@virtual
async def test_an_answer_while_reviver_was_late_is_no_verdict_in_the_verification_either() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(Act(), attempts=1))):
        db.becomes(ILL)
        await until(lambda: "step_ended" in stage.entries)
        while "verification_ended" not in stage.entries:
            await anyio.sleep(0.001)
            stall(1.0)
    assert stage.of(j.VerificationEnded)[0].message.endswith(
        "can't be told: reviver itself was late; the answer is void"
    )


# ------------------------------------------------------------------------------------------------------- what it shows


@virtual
async def test_a_running_attempt_is_shown() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    fix.takes = 5.0
    async with stage.life(service(db, strategy(fix))) as life:
        db.becomes(ILL, at=7.0)
        await until(lambda: fix.runs)
        view = life.control.health()["db"]
        assert (view.health, view.attempt, view.strategy, view.fault) == ("recovering", 1, "restart", "unreachable")
        await until(lambda: life.health() == "up")
        view = life.control.health()["db"]
        assert (view.health, view.attempt, view.strategy, view.fault, view.incident) == ("up", 0, "", None, "")


@virtual
async def test_questions_of_the_verification_are_shown_like_any_other() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db, after=1.0)))):
        db.becomes(ILL, at=7.0)
        await until(lambda: "verification_ended" in stage.entries)
    assert len(stage.recorder.of(Checked)) == len(db.asked)


@virtual
async def test_during_an_attempt_only_the_attempt_asks() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    fix.takes = 25.0
    async with stage.life(service(db, strategy(fix))):
        db.becomes(ILL, at=7.0)
        await until(lambda: fix.runs)
        asked = len(db.asked)
        db.wake("something happened")
        await anyio.sleep(24)
        assert len(db.asked) == asked


@virtual
async def test_health_goes_through_recovering_to_up() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)))):
        db.becomes(ILL, at=7.0)
        await until(lambda: "incident_recovered" in stage.entries)
        await anyio.sleep(60)
    assert [str(each.new) for each in stage.recorder.of(HealthChanged)] == [
        "up",
        "suspect",
        "down",
        "recovering",
        "up",
    ]


@virtual
async def test_after_a_recovery_the_service_is_asked_at_its_interval_again() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)))):
        db.becomes(ILL, at=7.0)
        await anyio.sleep(120)
    assert {round(b - a, 2) for a, b in zip(db.asked[-10:], db.asked[-9:], strict=False)} == {5.0}


# ---------------------------------------------------------------------------------------------------------- a crash


@virtual
async def test_a_recovery_that_breaks_off_by_a_defect_is_for_people_and_ends_nothing_else() -> None:
    stage, db = Stage(), Target()
    fix = Act()
    async with stage.life(service(db, strategy(fix))) as life:

        async def defective(_order: object) -> None:
            raise ZeroDivisionError

        life._recoverer = defective  # type: ignore[assignment]
        db.becomes(ILL, at=7.0)
        await anyio.sleep(300)
        assert life.health() == "down"
        assert len(db.asked) > 20
    assert reasons(stage) == ["the attempt broke off (ZeroDivisionError); what its steps did must be looked at"]
    assert stage.of(j.IncidentEscalated)[0].stops == "unclear"
