"""An incident explains itself from its records alone."""

from collections.abc import Sequence

import anyio
import pytest

from fakes import Act, Stage, Target, heals, service, strategy, until
from incidents import entries as e
from reviver.core.explain import Explanation, explain
from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.faults import Fault, FaultKind
from reviver.model.services import Mode
from virtual import virtual

ILL = FaultKind.UNREACHABLE


async def explained(stage: Stage) -> Explanation:
    [records] = await stage.journal.incidents(limit=1)
    found = explain(records)
    assert found is not None
    return found


def because(explanation: Explanation, beginning: str) -> Sequence[str]:
    """The reasons of the decision that begins so."""
    [found] = [each for each in explanation.decisions if each.what.startswith(beginning)]
    return found.because


@virtual
async def test_an_opening_names_the_answers_and_the_thresholds() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)))):
        db.becomes(ILL, at=7.0)
        await until(lambda: stage.of(j.IncidentRecovered))
    reasons = because(await explained(stage), "db is down")
    assert [reason.partition(": ")[2] for reason in reasons[:4]] == ["unreachable, after 10 ms"] * 4
    assert reasons[0].startswith("3.1 s before")
    assert reasons[4] == (
        "4 failures in a row make it down; one took at most 2 s, and the next was asked for 1 s later"
    )
    assert reasons[5] == "confirmed 3.1 s after the first question that failed"


@virtual
async def test_a_void_answer_is_told_as_void() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(heals(db)))) as life:
        db.becomes(ILL)
        await until(lambda: len(life.watched["db"].samples) == 1)
        life._asker._lag._notes.append((1e9, 3.0))
        await until(lambda: len(life.watched["db"].samples) == 2)
        life._asker._lag._notes.clear()
        await until(lambda: stage.of(j.IncidentOpened))
    assert "void: reviver itself was 3.00 s late" in because(await explained(stage), "db is down")[1]


@virtual
async def test_an_attempt_names_its_rung_the_row_of_failures_and_how_long_they_lasted() -> None:
    stage, db = Stage(), Target()
    ladder = [strategy(Act(error="no"), name="reconnect", attempts=1), strategy(heals(db), after=20.0)]
    async with stage.life(service(db, *ladder)):
        db.becomes(ILL, at=7.0)
        await until(lambda: stage.of(j.IncidentRecovered))
    explanation = await explained(stage)
    [why] = because(explanation, "attempt 2 started")
    assert why.startswith("rung 2 of 2 for unreachable; ")
    assert "4 are needed; lasting for" in why
    assert why.endswith("20 s are needed; its attempt 1 of 3")
    assert explanation.next.startswith("nothing: it has recovered")


@virtual
async def test_what_comes_next_and_when_is_told_at_each_moment() -> None:
    stage, db = Stage(), Target()
    fails = Act(error="no", takes=5.0)
    restore = Act(effect=Effect.DESTRUCTIVE)
    ladder = [
        strategy(fails, after=30.0, attempts=2),
        strategy(restore, name="restore", mode=Mode.APPROVE),
    ]
    async with stage.life(service(db, *ladder)) as life:
        db.becomes(ILL, at=7.0)
        await until(lambda: stage.of(j.RecoveryPlanned))
        waiting = await explained(stage)
        assert waiting.next == '"restart" acts, if the fault still lasts then and no guard speaks'
        await until(lambda: fails.runs)
        assert waiting.next_at is not None
        assert abs(waiting.next_at - stage.clock.wall_at_zero - fails.runs[0]) < 1.0
        assert (await explained(stage)).next == 'attempt 1 ("restart") comes to its end'
        await until(lambda: stage.of(j.AttemptEnded))
        await until(lambda: life.health() == "down")
        assert '"restart" acts' in (await explained(stage)).next
        life.control.freeze(by="ann", reason="stop")
        await anyio.sleep(60)
        assert (await explained(stage)).next == "held: frozen by ann: stop; it is looked at again once that changes"
        life.control.thaw(by="ann")
        await until(lambda: stage.of(j.ApprovalRequested))
        asking = await explained(stage)
        assert asking.next.startswith('a person approves "restore" (reviver approve db) or denies it')
        await until(lambda: stage.of(j.IncidentEscalated), within=2000)
        assert (await explained(stage)).next.startswith('people: nobody approved "restore" within 15 min')


@virtual
async def test_after_what_is_unclear_it_says_that_only_a_persons_word_goes_on() -> None:
    stage, db = Stage(), Target()
    async with stage.life(service(db, strategy(Act(effect=Effect.DESTRUCTIVE, error="no space")))):
        db.becomes(Fault(kind=ILL, message="refused"))
        await until(lambda: stage.of(j.IncidentEscalated))
    assert "only at a person's word: reviver recover db" in (await explained(stage)).next


def test_records_that_open_no_incident_explain_nothing() -> None:
    assert explain([]) is None


# -------------------------------------------------------------------------------------------------- from records alone

AT = 1_750_000_000.0
HELD = j.RecoveryHeld(service="db", incident="db-1", guard="budget", reason="the budget is spent", until_in=300.0)
ASKED = j.ApprovalRequested(
    service="db",
    incident="db-1",
    strategy="restart",
    attempt=1,
    plan=("stop it", "start it"),
    token="abc",
    expires_in=900.0,
)
WITHDRAWN = j.IncidentWithdrawn(service="db", incident="db-1", reason="its service is gone")
NOTED = j.StepNoted(service="db", incident="db-1", attempt=1, step=0, note={"pid": 7})
EVIDENCE = j.EvidenceTaken(service="db", incident="db-1", attempt=1, evidence={"queries": 3})


def of(*entries: j.Entry) -> Explanation:
    """The explanation of *entries*, written 10 s apart."""
    found = explain(
        [j.Record(entry=entry, at=AT + n * 10.0, age=1.0) for n, entry in enumerate((e.opened(), *entries))]
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("entry", "reasons"),
    [
        (HELD, ('guard "budget"', "looked at again 5 min later")),
        (ASKED, ("step 1: stop it", "step 2: start it", "the approval is for this plan alone (token abc)")),
        (e.escalated("spent"), ("reviver does nothing more by itself (spent)",)),
        (e.escalated(), ()),
    ],
    ids=["held", "asked", "stopped", "handed over"],
)
def test_a_decision_names_what_it_follows_from(entry: j.Entry, reasons: Sequence[str]) -> None:
    assert of(entry).decisions[-1].because == reasons


@pytest.mark.parametrize(
    ("outcome", "counts"), [("aborted", False), ("healed", False), ("failed", True), ("recovered", True)]
)
def test_what_came_to_no_step_is_told_as_not_held_against_the_strategy(outcome: str, counts: bool) -> None:
    because = of(e.started(), e.ended(outcome=outcome)).decisions[-1].because
    assert because == (() if counts else ("nothing was done, so it isn't held against the strategy",))


def test_notes_and_evidence_are_no_decisions() -> None:
    told = of(e.started(), EVIDENCE, e.step_started(), NOTED, e.step_ended())
    assert [decision.at for decision in told.decisions] == [AT, AT + 10, AT + 30, AT + 50]


def test_a_hold_that_ends_says_when_it_is_looked_at_again() -> None:
    told = of(HELD)
    assert told.next == "held: the budget is spent; it is looked at again then"
    assert told.next_at == AT + 10 + 300


def test_after_a_failed_attempt_the_next_is_told_with_its_moment() -> None:
    told = of(HELD, e.started(), e.ended(retry_in=40.0))
    assert told.next.startswith("the next attempt, if the fault still lasts then")
    assert told.next_at == AT + 30 + 40


@pytest.mark.parametrize(
    "entries", [(), (HELD, e.started(), e.ended())], ids=["just opened", "a hold from before the last attempt"]
)
def test_when_nothing_is_due_the_next_answers_decide(entries: Sequence[j.Entry]) -> None:
    told = of(*entries)
    assert told.next.startswith("the next answers of the check")
    assert told.next_at is None


def test_of_several_attempts_the_last_one_is_under_way() -> None:
    assert of(e.started(), e.ended(), e.started(2)).next == 'attempt 2 ("restart") comes to its end'
    assert of(e.started(), e.started(2), e.ended(2)).next.startswith("the next answers of the check")


def test_of_a_withdrawn_incident_nothing_comes_next() -> None:
    assert of(WITHDRAWN).next == "nothing: its service is gone"


def test_what_waits_for_a_person_ends_when_the_request_does() -> None:
    assert of(ASKED).next_at == AT + 10 + 900
