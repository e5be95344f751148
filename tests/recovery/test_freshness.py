"""Nothing is done upon what may be true no more: the symptom, the decision, the word of people."""

from dataclasses import replace

import anyio
import pytest

from fakes import Act, Target, strategy, until
from recovery.test_attempt import ILL, Ward, heal
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.faults import FaultKind
from reviver.model.ports import Outcome
from reviver.recovery.run import PLAN_VALID, SYMPTOM_FRESH
from virtual import virtual


@virtual
async def test_when_the_first_step_has_healed_it_the_second_is_left_undone() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    first, second = heal(ward, takes=SYMPTOM_FRESH + 1), Act()
    result = await ward.carries_out(ward.order(first, second))
    assert (result.outcome, len(first.done), second.runs) == (Outcome.RECOVERED, 1, [])


@virtual
async def test_while_it_is_ill_with_whatever_fault_the_steps_go_on() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    first = Act(takes=SYMPTOM_FRESH + 1, does=lambda: ward.db.becomes(FaultKind.SHUTTING_DOWN))
    second = heal(ward)
    result = await ward.carries_out(ward.order(first, second))
    assert (result.outcome, len(second.done)) == (Outcome.RECOVERED, 1)
    assert ward.patient.asked >= 1


@pytest.mark.parametrize(("effect", "runs"), [(Effect.IDEMPOTENT, 1), (Effect.DESTRUCTIVE, 0)])
def test_only_what_can_be_brought_back_is_done_to_a_service_that_passes_unproven(effect: Effect, runs: int) -> None:
    @virtual
    async def scene() -> None:
        ward, rows = Ward(), Target("rows")
        ward.db.becomes(ILL)
        rows.becomes(FaultKind.BAD_BODY)
        first = heal(ward, takes=SYMPTOM_FRESH + 1)
        second = Act(effect=effect, does=lambda: rows.becomes(None))
        result = await ward.carries_out(ward.order(rung=strategy(first, second, verify=[rows])))
        assert len(second.runs) == runs
        assert (result.outcome is Outcome.RECOVERED) == bool(runs)
        assert runs or "isn't ill" in result.message

    scene()


@pytest.mark.parametrize(("effect", "runs"), [(Effect.IDEMPOTENT, 1), (Effect.DESTRUCTIVE, 0)])
def test_what_can_not_be_brought_back_is_not_done_to_a_service_of_which_nothing_is_known(
    effect: Effect, runs: int
) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        first = Act(takes=SYMPTOM_FRESH + 1, does=lambda: ward.db.becomes("out of file descriptors"))
        second = Act(effect=effect)
        result = await ward.carries_out(ward.order(first, second))
        assert (result.outcome, len(second.runs)) == (Outcome.FAILED, runs)

    scene()


@virtual
async def test_a_decision_that_could_not_be_carried_out_within_a_minute_is_void() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    asked = ward.patient.ask

    async def late() -> object:
        await anyio.sleep(PLAN_VALID + 1)
        return await asked()

    ward.patient.ask = late  # type: ignore[method-assign,assignment]
    fix = heal(ward)
    result = await ward.carries_out(replace(ward.order(fix), symptom_age=SYMPTOM_FRESH + 1))
    assert (result.outcome, fix.runs) == (Outcome.ABORTED, [])
    assert result.message == "the decision is 61 s old, and was to be carried out within 60 s"


@virtual
async def test_a_step_whose_start_took_long_to_write_is_not_begun() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    fix = heal(ward)
    ward.journal.slow = SYMPTOM_FRESH + 0.5
    result = await ward.carries_out(ward.order(fix))
    assert (result.outcome, fix.runs, result.acted) == (Outcome.ABORTED, [], False)
    [ended] = [entry for entry in ward.journal.entries if isinstance(entry, j.StepEnded)]
    assert ended.error.startswith("not begun: writing its start took 2.5 s")


@virtual
async def test_a_word_of_people_while_the_start_is_written_is_obeyed() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    fix = heal(ward)
    ward.journal.slow = 1.0
    async with anyio.create_task_group() as tasks:

        @tasks.start_soon
        async def people() -> None:
            await until(lambda: "evidence_taken" in ward.entries)
            await anyio.sleep(0.5)
            ward.patient.stop = "frozen by ann"

        result = await ward.carries_out(ward.order(fix))
    assert (result.outcome, fix.runs) == (Outcome.ABORTED, [])
    assert result.message == "step 1 failed: not begun: frozen by ann"


@pytest.mark.parametrize("upon", [[], ["*"]])
def test_an_empty_or_unbounded_set_is_refused_before_anything_is_started(upon: list[str]) -> None:
    @virtual
    async def scene() -> None:
        ward = Ward()
        ward.db.becomes(ILL)
        first, second = Act(), Act(upon=upon)
        result = await ward.carries_out(ward.order(first, second))
        assert (result.outcome, first.runs, second.runs) == (Outcome.FAILED, [], [])
        assert result.message.startswith("not started: fake.1: ")

    scene()


@virtual
async def test_a_set_that_became_empty_since_the_preflight_is_refused_at_the_effect() -> None:
    ward = Ward()
    ward.db.becomes(ILL)
    second = Act()
    first = Act(does=lambda: setattr(second, "upon", []))
    result = await ward.carries_out(ward.order(first, second))
    assert (result.outcome, len(first.runs), second.runs) == (Outcome.FAILED, 1, [])
    assert "nothing must not mean everything" in result.message
