"""One attempt by itself: the last look, the preflight, the evidence, the steps, the verification."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest

from fakes import HANG, Act, Answer, FakeClock, MemoryJournal, Recorder, Target, answered, service, strategy
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.actions import ActionContext, Effect
from reviver.model.checks import CheckResult
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.incidents import REVIVER, AttemptRecord, fold
from reviver.model.ports import AttemptResult, Order, Outcome
from reviver.model.secrets import Redactor, Secret
from reviver.model.services import Strategy
from reviver.recovery.run import EVIDENCE_WITHIN, PREFLIGHT_WITHIN, SYMPTOM_FRESH, Recovery
from virtual import virtual

ILL, OTHER = FaultKind.UNREACHABLE, FaultKind.DATABASE_MISSING
FAULT = Fault(kind=ILL, message="refused")


@dataclass
class FakePatient:
    """A service under recovery."""

    db: Target
    stop: str | None = None
    leaves: bool = False
    seen: Mapping[str, JsonValue] = field(default_factory=dict)
    unmet: str | None = None
    asked: int = 0

    async def ask(self) -> CheckResult:
        self.asked += 1
        await anyio.sleep(0.01)
        return answered(self.db.answer)

    async def unmet_need(self) -> str | None:
        return self.unmet

    async def evidence(self) -> Mapping[str, JsonValue]:
        return self.seen

    def well_downstream(self) -> tuple[str, ...]:
        return ("api",)

    def leaving(self) -> bool:
        return self.leaves

    def stop_reason(self) -> str | None:
        return self.stop


class Ward:
    """Recovery with all that it needs."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.journal = MemoryJournal(clock)
        self.recorder = Recorder()
        self.scribe = Scribe(self.journal, self.recorder)
        self.redact = Redactor([Secret("hunter2")])
        self.recovery = Recovery(scribe=self.scribe, clock=clock, redact=self.redact)
        self.db = Target()
        self.patient = FakePatient(self.db)

    def order(self, *actions: Act, rung: Strategy | None = None, fault: Fault | None = FAULT) -> Order:
        rung = rung or strategy(*actions)
        return Order(
            incident="db-1",
            service=service(self.db, rung),
            strategy=rung,
            attempt=1,
            fault=fault,
            patient=self.patient,
            symptom_age=0.0,
            by=REVIVER,
        )

    async def carries_out(self, order: Order) -> AttemptResult:
        async with self.open():
            return await self.recovery(order)

    @asynccontextmanager
    async def open(self, *, killed: bool = False) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scribe.run)
            yield
            tasks.cancel_scope.cancel()
        if not killed:
            await self.scribe.finish()

    @property
    def entries(self) -> list[str]:
        return [entry.type for entry in self.journal.entries]

    def of(self, kind: type[j.StepEnded]) -> list[j.StepEnded]:
        return [entry for entry in self.journal.entries if isinstance(entry, kind)]


def heal(ward: Ward, **settings: object) -> Act:
    return replace(Act(does=lambda: ward.db.becomes(None)), **settings)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ before the first step


@virtual
async def test_a_fresh_symptom_is_not_looked_at_again() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    result = await ward.carries_out(replace(ward.order(heal(ward)), symptom_age=SYMPTOM_FRESH))
    assert (result.outcome, result.acted) == (Outcome.RECOVERED, True)
    assert ward.patient.asked == 3  # the verification alone


@pytest.mark.parametrize(
    ("answer", "outcome", "message"),
    [
        (None, Outcome.HEALED, "it was well again before the first step"),
        ("out of file descriptors", Outcome.ABORTED, "its state can't be told: out of file descriptors"),
        (OTHER, Outcome.ABORTED, 'the fault is now database_missing, which "restart" does not answer'),
    ],
)
def test_an_old_symptom_that_has_changed_leaves_all_undone(answer: Answer, outcome: Outcome, message: str) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(answer)
        fix = Act()
        result = await ward.carries_out(replace(ward.order(fix), symptom_age=SYMPTOM_FRESH + 0.1))
        assert result == AttemptResult(outcome=outcome, message=message, acted=False)
        assert fix.runs == []
        assert ward.entries == ["attempt_started"]

    scene()


@virtual
async def test_an_old_symptom_that_is_still_there_is_treated() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    fix = heal(ward)
    result = await ward.carries_out(replace(ward.order(fix), symptom_age=60.0))
    assert (result.outcome, len(fix.runs)) == (Outcome.RECOVERED, 1)


@virtual
async def test_a_service_that_wavers_is_left_alone() -> None:
    ward = Ward()
    ward.db.will(*((0.3 * n, None if n % 2 == 0 else ILL) for n in range(200)))
    fix = Act()
    result = await ward.carries_out(replace(ward.order(fix), symptom_age=60.0))
    assert (result.outcome, fix.runs) == (Outcome.ABORTED, [])
    assert result.message.startswith("it wavers: ")


@virtual
async def test_what_a_person_ordered_is_done_though_the_fault_is_another() -> None:
    ward = Ward()
    ward.db.becomes(OTHER)
    fix = heal(ward)
    result = await ward.carries_out(replace(ward.order(fix), symptom_age=60.0, by="ann"))
    assert (result.outcome, len(fix.runs)) == (Outcome.RECOVERED, 1)


@virtual
async def test_what_stands_in_the_way_is_said_for_all_steps_and_nothing_is_started() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    one, two = Act(problems=["no backup for hunter2", "no pg_restore"]), Act(problems=["unit unknown"])
    result = await ward.carries_out(ward.order(one, two))
    assert result.outcome is Outcome.FAILED
    assert result.message == "not started: no backup for ***; no pg_restore; unit unknown"
    assert not result.acted
    assert (one.runs, ward.entries) == ([], ["attempt_started"])


class BadPreflight(Act):
    """An action whose preflight hangs or raises."""

    async def preflight(self) -> list[str]:
        if self.raises is not None:
            raise self.raises
        await anyio.sleep_forever()
        return []


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (BadPreflight(), f"not started: the preflight took longer than {PREFLIGHT_WITHIN:g} s"),
        (
            BadPreflight(raises=KeyError("x")),
            "not started: the preflight broke off (KeyError), a defect of the action",
        ),
    ],
    ids=["hangs", "raises"],
)
def test_a_preflight_that_does_not_answer_stands_in_the_way(action: Act, message: str) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        result = await ward.carries_out(ward.order(action))
        assert result == AttemptResult(outcome=Outcome.FAILED, message=message, acted=False)
        assert anyio.current_time() <= PREFLIGHT_WITHIN + 0.1

    scene()


def evidence(ward: Ward) -> Mapping[str, JsonValue]:
    [taken] = [entry for entry in ward.journal.entries if isinstance(entry, j.EvidenceTaken)]
    return taken.evidence


@virtual
async def test_evidence_of_the_service_and_of_each_step_is_written_before_the_first_step() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    ward.patient.seen = {"locks": 7}
    await ward.carries_out(ward.order(Act(seen={"log": ["hunter2"]}), Act(), heal(ward, seen={"rows": 3})))
    assert evidence(ward) == {"locks": 7, "step 1: fake.0": {"log": ["***"]}, "step 3: fake.2": {"rows": 3}}
    assert ward.entries.index("evidence_taken") < ward.entries.index("step_started")


@virtual
async def test_evidence_that_can_not_be_had_holds_up_no_recovery() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    fix = heal(ward, seen=HANG)
    result = await ward.carries_out(ward.order(Act(seen=KeyError("hunter2")), fix))
    assert evidence(ward) == {"step 1: fake.0": "could not be had: KeyError"}
    assert result.outcome is Outcome.RECOVERED
    assert fix.runs[0] <= EVIDENCE_WITHIN + 1.0


# -------------------------------------------------------------------------------------------------------------- steps


@virtual
async def test_steps_run_one_after_the_other_in_their_order() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    one, two, three = Act(), Act(), heal(ward)
    await ward.carries_out(ward.order(one, two, three))
    assert one.done <= two.runs <= two.done <= three.runs
    assert [each.step for each in ward.of(j.StepEnded)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (Act(error="unit not found"), "unit not found"),
        (Act(error="bad password hunter2"), "bad password ***"),
        (Act(takes=1e6), "fake.0: not finished within 30 s"),
        (Act(raises=ZeroDivisionError("hunter2")), "fake.0: broke off (ZeroDivisionError), a defect of the action"),
    ],
    ids=["says so", "says a secret", "hangs", "breaks off"],
)
@pytest.mark.parametrize("effect", Effect)
def test_a_failed_step_ends_the_attempt_and_after_a_destructive_one_people_must_look(
    effect: Effect, action: Act, error: str
) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        never = Act()
        result = await ward.carries_out(ward.order(replace(action, effect=effect, runs=[]), never))
        unclear = effect is Effect.DESTRUCTIVE
        assert result.outcome is (Outcome.UNCLEAR if unclear else Outcome.FAILED)
        assert result.message == f"step 1 failed: {error}"
        assert result.acted
        assert never.runs == []
        [ended] = ward.of(j.StepEnded)
        assert (ended.outcome, ended.error) == (j.StepOutcome.FAILED, error)

    scene()


@virtual
async def test_what_a_step_found_is_written_down_without_secrets() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    await ward.carries_out(ward.order(heal(ward, result={"said": "hunter2", "restarts": 3})))
    assert ward.of(j.StepEnded)[0].result == {"said": "***", "restarts": 3}


@virtual
async def test_a_note_is_on_disk_before_the_action_goes_on() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    ward.journal.slow = 1.0
    seen: list[list[str]] = []

    class Noting(Act):
        async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
            await context.note({"pid": 4711, "argv": ["hunter2"]})
            seen.append(ward.entries)
            ward.db.becomes(None)
            return {}

    await ward.carries_out(ward.order(Noting()))
    assert seen == [["attempt_started", "evidence_taken", "step_started", "step_noted"]]
    incident = fold([j.Record(entry=opened(), at=0.0, age=0.0), *await ward.journal.incident("db-1")])
    assert incident is not None
    assert incident.attempts[0].steps[0].notes == ({"pid": 4711, "argv": ["***"]},)


@virtual
async def test_an_action_whose_note_can_not_be_written_fails() -> None:
    ward = Ward()
    ward.db.becomes(ILL)

    class Noting(Act):
        async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
            ward.journal.error = "the disk is full"
            await context.note({"pid": 4711})
            raise AssertionError("it went on")

    result = await ward.carries_out(ward.order(Noting()))
    assert (result.outcome, result.message) == (Outcome.FAILED, "step 1 failed: the disk is full")


@virtual
async def test_an_action_is_told_the_service_and_the_fault() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    told: list[ActionContext] = []

    class Told(Act):
        async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
            told.append(context)
            ward.db.becomes(None)
            return {}

    await ward.carries_out(ward.order(Told()))
    assert (told[0].service, told[0].fault) == ("db", FAULT)


@virtual
async def test_cancelled_in_its_middle_a_step_is_written_down_as_interrupted() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    async with ward.open():
        with anyio.move_on_after(5):
            await ward.recovery(ward.order(Act(takes=100.0, effect=Effect.DESTRUCTIVE)))
    [ended] = ward.of(j.StepEnded)
    assert (ended.outcome, ended.error) == (j.StepOutcome.INTERRUPTED, "reviver stopped in its middle")
    assert ended.seconds == pytest.approx(5.0)


# ----------------------------------------------------------------------------------------------------- reasons to stop


def stopping_after(ward: Ward, *, reason: str = "", leaves: bool = False, effect: Effect = Effect.IDEMPOTENT) -> Act:
    def stop() -> None:
        ward.patient.stop, ward.patient.leaves = reason or None, leaves

    return Act(does=stop, effect=effect)


@virtual
async def test_a_reason_to_stop_that_is_there_from_the_start_leaves_all_undone() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    ward.patient.stop = "db was paused"
    result = await ward.carries_out(ward.order(Act()))
    message = "stopped before step 1: db was paused"
    assert result == AttemptResult(outcome=Outcome.ABORTED, message=message, acted=False)


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [
        (Effect.IDEMPOTENT, Outcome.FAILED),
        (Effect.REVERSIBLE, Outcome.FAILED),
        (Effect.DESTRUCTIVE, Outcome.UNCLEAR),
    ],
)
def test_stopped_between_steps_the_attempt_is_judged_by_what_was_done(effect: Effect, outcome: Outcome) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        never = Act()
        result = await ward.carries_out(ward.order(stopping_after(ward, reason="paused", effect=effect), never))
        assert result == AttemptResult(outcome=outcome, message="stopped before step 2: paused", acted=True)
        assert never.runs == []

    scene()


@virtual
async def test_when_reviver_stops_the_rest_is_left_to_its_next_life() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    never = Act()
    result = await ward.carries_out(ward.order(stopping_after(ward, leaves=True), never))
    assert (result.outcome, result.acted, never.runs) == (Outcome.LEFT, True, [])


@pytest.mark.parametrize(
    ("entries", "outcome", "acted"),
    [(0, Outcome.ABORTED, False), (1, Outcome.ABORTED, False), (2, Outcome.ABORTED, False)],
    ids=["before the attempt", "before the evidence", "before the step"],
)
def test_a_journal_that_can_not_be_written_before_the_first_step_leaves_all_undone(
    entries: int, outcome: Outcome, acted: bool
) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        fix = Act()
        break_after(ward, entries)
        result = await ward.carries_out(ward.order(fix))
        assert result == AttemptResult(outcome=outcome, message="the disk is full", acted=acted)
        assert fix.runs == []

    scene()


def break_after(ward: Ward, entries: int) -> None:
    """Let the journal break once it holds so many *entries*."""
    append = ward.journal.append

    async def breaking(*more: j.Entry) -> None:
        if len(ward.journal.written) >= entries:
            raise j.JournalError("the disk is full")
        await append(*more)

    ward.journal.append = breaking  # type: ignore[method-assign]


# -------------------------------------------------------------------------------------------------------- verification


@virtual
async def test_it_is_recovered_only_after_rise_passes_in_a_row() -> None:
    ward = Ward()
    ward.db.will((0.0, ILL), (1.0, None), (1.3, ILL), (2.0, None))
    result = await ward.carries_out(ward.order(Act()))
    assert (result.outcome, result.message) == (Outcome.RECOVERED, "the check passed 3 times")
    assert anyio.current_time() >= 2.5


@virtual
async def test_an_answer_that_can_not_tell_is_never_a_pass() -> None:
    ward = Ward()
    ward.db.becomes("can't tell hunter2")
    result = await ward.carries_out(ward.order(Act()))
    assert result.outcome is Outcome.FAILED
    assert result.message.endswith("still: can't be told: can't tell ***")


@virtual
async def test_what_passes_too_seldom_is_not_recovered() -> None:
    ward = Ward()
    ward.db.will(*((0.3 * n, None if n % 2 == 0 else ILL) for n in range(200)))
    result = await ward.carries_out(ward.order(Act()))
    assert result.outcome is Outcome.FAILED
    assert not result.unproven


@virtual
async def test_the_verification_gives_up_when_its_time_is_over() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    result = await ward.carries_out(ward.order(rung=strategy(Act(takes=0.0), verify_within=20.0)))
    assert result.outcome is Outcome.FAILED
    assert 20.0 <= anyio.current_time() <= 21.1
    assert result.message.endswith("s still: it is unreachable")


@virtual
async def test_while_it_does_not_pass_it_is_asked_less_and_less_often_down_to_the_confirming_pause() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    await ward.carries_out(ward.order(rung=strategy(Act(takes=0.0), verify_within=60.0)))
    assert 60 <= ward.patient.asked <= 70


def named(ward: Ward, *targets: Target) -> Order:
    return ward.order(rung=strategy(heal(ward), verify=targets))


@virtual
async def test_every_named_verification_has_to_pass_too() -> None:
    ward, rows, age = Ward(), Target("rows"), Target("age")
    ward.db.becomes(ILL)
    age.will((0.0, FaultKind.BAD_BODY), (5.0, None))
    result = await ward.carries_out(named(ward, rows, age))
    assert result.outcome is Outcome.RECOVERED
    assert result.message == f"the check passed {ward.patient.asked} times, and 2 named verifications did"
    assert anyio.current_time() >= 5.0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (FaultKind.BAD_BODY, "verification scripted: it is bad_body"),
        ("no hunter2", "verification scripted: can't be told: no ***"),
        (HANG, "verification scripted: can't be told: no answer within 2 s"),
        (KeyError(), "verification scripted: can't be told: the verification broke off (KeyError)"),
    ],
    ids=["fault", "can't tell", "hangs", "breaks off"],
)
def test_a_named_verification_that_does_not_pass_is_told_and_leaves_it_unproven(answer: Answer, why: str) -> None:
    @virtual
    async def scene() -> None:
        ward, rows = Ward(), Target("rows")
        ward.db.becomes(ILL)
        rows.becomes(answer)
        result = await ward.carries_out(named(ward, rows))
        assert (result.outcome, result.unproven) == (Outcome.FAILED, True)
        assert result.message.endswith(why)
        assert "hunter2" not in repr(ward.recorder.events)

    scene()


@virtual
async def test_named_verifications_are_asked_only_once_the_check_passes() -> None:
    ward, rows = Ward(), Target("rows")
    ward.db.becomes(ILL)
    await ward.carries_out(ward.order(rung=strategy(Act(), verify=[rows])))
    assert rows.asked == []


@virtual
async def test_looking_for_the_proof_alone_takes_no_step_and_no_evidence() -> None:
    ward, rows = Ward(), Target("rows")
    result = await ward.carries_out(ward.order(rung=strategy(verify=[rows]), fault=None))
    assert (result.outcome, result.acted) == (Outcome.RECOVERED, False)
    assert ward.entries == ["attempt_started", "verification_ended"]


@virtual
async def test_a_service_well_at_the_last_look_is_healed_only_if_it_is_proven() -> None:
    ward, rows = Ward(), Target("rows")
    rows.becomes(FaultKind.BAD_BODY)
    fix = Act()
    order = replace(ward.order(rung=strategy(fix, verify=[rows])), symptom_age=60.0)
    result = await ward.carries_out(order)
    assert (result.outcome, result.unproven, fix.runs) == (Outcome.FAILED, True, [])


# ------------------------------------------------------------------------------------------------------------ a resume


def opened() -> j.IncidentOpened:
    return j.IncidentOpened(
        service="db",
        incident="db-1",
        fault=ILL,
        message="refused",
        certain=False,
        severity=j.Severity.SEV3,
        impact=(),
        failing_for=1.0,
    )


async def left_behind(ward: Ward, order: Order, *, until: Callable[[], object]) -> AttemptRecord:
    """What the journal holds of *order* when the daemon dies as soon as *until* holds."""
    await ward.journal.append(opened())
    async with ward.open(killed=True), anyio.create_task_group() as tasks:
        tasks.start_soon(ward.recovery, order)
        while not until():  # noqa: ASYNC110  a condition of the test
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    ward.scribe = Scribe(ward.journal, ward.recorder)
    ward.recovery = Recovery(scribe=ward.scribe, clock=ward.journal.clock, redact=ward.redact)
    incident = fold(await ward.journal.incident("db-1"))
    assert incident is not None
    return incident.attempts[-1]


@virtual
async def test_a_resumed_attempt_whose_first_steps_sufficed_takes_no_other() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    first, second = heal(ward), Act(takes=100.0)
    order = ward.order(first, second)
    record = await left_behind(ward, order, until=lambda: second.runs)
    result = await ward.carries_out(replace(order, resume=record))
    assert (result.outcome, len(second.runs)) == (Outcome.RECOVERED, 1)


@virtual
async def test_a_resumed_attempt_of_which_nothing_is_left_is_verified() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    fix = Act()
    order = ward.order(rung=strategy(fix, verify_within=30.0))
    record = await left_behind(ward, order, until=lambda: fix.done and ward.patient.asked > 5)
    ward.db.becomes(None)
    result = await ward.carries_out(replace(order, resume=record))
    assert (result.outcome, len(fix.runs)) == (Outcome.RECOVERED, 1)


@virtual
async def test_resumed_before_its_first_step_an_attempt_waits_for_what_the_service_needs() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    begun = await left_behind(ward, ward.order(Act(takes=100.0)), until=lambda: "attempt_started" in ward.entries)
    record, fix = replace(begun, steps=()), heal(ward)
    ward.patient.unmet = "db, which it needs, is down"
    result = await ward.carries_out(replace(ward.order(fix), resume=record))
    assert (result.outcome, fix.runs) == (Outcome.ABORTED, [])


@virtual
async def test_a_resumed_attempt_obeys_reasons_to_stop() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    fix = Act(takes=100.0)
    order = ward.order(fix)
    record = await left_behind(ward, order, until=lambda: fix.runs)
    ward.patient.stop = "db was paused"
    result = await ward.carries_out(replace(order, resume=record))
    assert (result.outcome, result.acted, len(fix.runs)) == (Outcome.FAILED, True, 1)


@pytest.mark.parametrize("effect", [Effect.REVERSIBLE, Effect.DESTRUCTIVE])
def test_resumed_after_a_failed_step_the_attempt_has_failed_or_is_for_people(effect: Effect) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        first, second = Act(effect=effect, error="no space left"), Act()
        order = ward.order(first, second)
        record = await left_behind(ward, order, until=lambda: "step_ended" in ward.entries)
        result = await ward.carries_out(replace(order, resume=record))
        assert result.outcome is (Outcome.UNCLEAR if effect is Effect.DESTRUCTIVE else Outcome.FAILED)
        assert result.message == "step 1 had failed: no space left"
        assert second.runs == []

    scene()


@virtual
async def test_a_service_that_passes_unproven_after_the_restart_gets_the_steps_that_are_left() -> None:
    ward, rows = Ward(), Target("rows")
    ward.db.becomes(ILL)
    rows.becomes(FaultKind.BAD_BODY)
    first, second = heal(ward), Act(takes=100.0)
    order = ward.order(rung=strategy(first, second, verify=[rows]))
    record = await left_behind(ward, order, until=lambda: second.runs)
    second.takes, second.does = 1.0, lambda: rows.becomes(None)
    result = await ward.carries_out(replace(order, resume=record))
    assert (result.outcome, len(first.runs), len(second.runs)) == (Outcome.RECOVERED, 1, 2)


@pytest.mark.parametrize(("by", "outcome", "runs"), [(REVIVER, Outcome.ABORTED, 0), ("ann", Outcome.RECOVERED, 1)])
def test_while_what_it_needs_is_down_only_a_person_has_it_treated(by: str, outcome: Outcome, runs: int) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.patient.unmet = "db, which it needs, is down"
        fix = heal(ward)
        result = await ward.carries_out(replace(ward.order(fix), by=by))
        assert (result.outcome, len(fix.runs)) == (outcome, runs)
        assert by != REVIVER or result.message == "db, which it needs, is down"

    scene()
