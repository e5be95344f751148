"""An incident as it reads, folded from its records."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents import entries as e
from reviver.model import journal as j
from reviver.model.faults import FaultKind
from reviver.model.incidents import Incident, IncidentState, fold, sentence

AT = 1_750_000_000.0


def records(*entries: j.Entry, every: float = 10.0) -> list[j.Record]:
    """*entries*, one each *every* seconds, the last of them read as it was written."""
    count = len(entries)
    return [j.Record(entry=entry, at=AT + n * every, age=(count - 1 - n) * every) for n, entry in enumerate(entries)]


def folded(*entries: j.Entry) -> Incident:
    incident = fold(records(*entries))
    assert incident is not None
    return incident


def said(incident: Incident) -> list[str]:
    return [text for _, text in incident.timeline]


def fault_changed(kind: FaultKind = FaultKind.DATABASE_MISSING) -> j.FaultChanged:
    return j.FaultChanged(service="db", incident="db-1", fault=kind, message="no such database", certain=False)


REOPENED = j.IncidentReopened(
    service="db", incident="db-1", fault=FaultKind.TIMEOUT, message="silent", certain=True, failing_for=4.0
)
HELD = j.RecoveryHeld(service="db", incident="db-1", guard="budget", reason="the budget is spent")


def test_records_without_an_opening_are_no_incident() -> None:
    assert fold([]) is None
    assert fold(records(e.started(), e.recovered())) is None


def test_an_opened_incident_tells_since_when_and_how_bad() -> None:
    incident = folded(e.opened())
    assert (incident.id, incident.service, incident.state) == ("db-1", "db", IncidentState.OPEN)
    assert (incident.severity, incident.impact) == (j.Severity.SEV2, ("api",))
    assert (incident.failing_since, incident.noticed_at, incident.opened_at) == (AT - 3.0, AT - 2.5, AT)
    assert (incident.confirmed_in, incident.failing_age) == (3.0, 3.0)
    assert incident.faults == (FaultKind.UNREACHABLE,)


def test_a_recovered_incident_tells_by_what_and_how_soon() -> None:
    incident = folded(e.opened(), e.recovered())
    assert (incident.state, incident.recovered_by, incident.recovered_in) == (
        IncidentState.RECOVERED,
        "restart",
        20.0,
    )
    assert (incident.ended_at, incident.ended_age) == (AT + 10, 0.0)


def test_a_reopened_incident_is_open_and_measured_from_the_relapse() -> None:
    incident = folded(e.opened(), e.recovered(), REOPENED)
    assert (incident.state, incident.relapses, incident.recovered_by, incident.recovered_in) == (
        IncidentState.OPEN,
        1,
        "",
        None,
    )
    assert (incident.ended_at, incident.ended_age, incident.failing_age) == (None, None, 4.0)
    assert (incident.fault, incident.message, incident.certain) == (FaultKind.TIMEOUT, "silent", True)
    assert incident.failing_since == AT - 3.0


def test_a_changed_fault_is_the_latest_and_all_are_kept() -> None:
    incident = folded(e.opened(), fault_changed())
    assert (incident.fault, incident.message) == (FaultKind.DATABASE_MISSING, "no such database")
    assert incident.faults == (FaultKind.UNREACHABLE, FaultKind.DATABASE_MISSING)


def test_a_held_recovery_gives_its_reason_until_an_attempt_starts() -> None:
    assert folded(e.opened(), HELD).reason == "the budget is spent"
    assert folded(e.opened(), HELD, e.started()).reason == ""


def test_a_handed_over_incident_tells_why_and_what_stops_it() -> None:
    incident = folded(e.opened(), e.escalated("unclear"))
    assert (incident.state, incident.reason, incident.stops) == (
        IncidentState.ESCALATED,
        "all was tried",
        "unclear",
    )


def test_a_persons_attempt_takes_a_handed_over_incident_back() -> None:
    incident = folded(e.opened(), e.escalated("unclear"), e.started(by="ann"))
    assert (incident.state, incident.stops) == (IncidentState.OPEN, "")


def test_a_look_by_reviver_itself_does_not_take_back_what_stops_it() -> None:
    assert folded(e.opened(), e.escalated("unclear"), e.started()).stops == "unclear"


def test_a_withdrawn_incident_tells_why() -> None:
    withdrawn = j.IncidentWithdrawn(service="db", incident="db-1", reason="no longer in the settings")
    incident = folded(e.opened(), withdrawn)
    assert (incident.state, incident.reason) == (IncidentState.WITHDRAWN, "no longer in the settings")


def test_an_attempt_tells_its_steps_and_its_end() -> None:
    incident = folded(
        e.opened(),
        e.started(),
        j.EvidenceTaken(service="db", incident="db-1", attempt=1, evidence={"locks": 7}),
        e.step_started(),
        j.StepNoted(service="db", incident="db-1", attempt=1, step=0, note={"pid": 42}),
        j.StepNoted(service="db", incident="db-1", attempt=1, step=0, note={"pid": 43}),
        e.step_ended(),
        e.step_started(step=1),
        e.step_ended(step=1, outcome=j.StepOutcome.FAILED),
        j.VerificationEnded(
            service="db", incident="db-1", attempt=1, passed=False, message="still refused", seconds=60.0
        ),
        e.ended(retry_in=30.0, unproven=True),
    )
    [attempt] = incident.attempts
    assert (attempt.attempt, attempt.strategy, attempt.by, attempt.planned) == (
        1,
        "restart",
        "reviver",
        ("restart it",),
    )
    assert (attempt.started_at, attempt.started_age, attempt.ended_age) == (AT + 10, 90.0, 0.0)
    assert attempt.evidence == {"locks": 7}
    assert attempt.verification == "still refused"
    assert (attempt.outcome, attempt.message, attempt.seconds, attempt.retry_in, attempt.unproven) == (
        "failed",
        "so it ended",
        12.0,
        30.0,
        True,
    )
    first, second = attempt.steps
    assert (first.step, first.action, first.effect, first.outcome, first.seconds) == (
        0,
        "systemd.restart",
        "idempotent",
        j.StepOutcome.DONE,
        1.25,
    )
    assert first.notes == ({"pid": 42}, {"pid": 43})
    assert second.outcome is j.StepOutcome.FAILED


def test_an_attempt_whose_end_is_missing_has_no_outcome() -> None:
    [attempt] = folded(e.opened(), e.started(), e.step_started()).attempts
    assert (attempt.outcome, attempt.steps[0].outcome) == (None, None)


def test_steps_belong_to_their_own_attempt() -> None:
    incident = folded(e.opened(), e.started(1), e.step_started(1), e.ended(1), e.started(2), e.step_started(2, step=3))
    assert [[step.step for step in attempt.steps] for attempt in incident.attempts] == [[0], [3]]


def test_what_tells_of_an_attempt_that_never_started_changes_nothing_but_the_timeline() -> None:
    incident = folded(e.opened(), e.ended(7, "aborted"))
    assert incident.attempts == ()
    assert len(incident.timeline) == 2


def test_a_step_that_is_run_again_after_a_restart_stands_once() -> None:
    interrupted = e.step_ended(outcome=j.StepOutcome.INTERRUPTED)
    [attempt] = folded(
        e.opened(), e.started(), e.step_started(), interrupted, e.step_started(), e.step_ended()
    ).attempts
    assert [step.outcome for step in attempt.steps] == [j.StepOutcome.DONE]


def test_the_timeline_says_everything_in_order_in_sentences() -> None:
    story = folded(
        e.opened(), HELD, e.started(), e.step_started(), e.step_ended(), e.ended(retry_in=30.0), e.escalated()
    )
    assert said(story) == [
        "db is down: unreachable: refused",
        "recovery held: the budget is spent",
        'attempt 1 started: strategy "restart", ordered by reviver',
        "step 1: restart it",
        "step 1 done after 1.25 s",
        "attempt 1 ended: failed: so it ended; next attempt in 30 s",
        "handed over to people: all was tried",
    ]
    assert [at for at, _ in story.timeline] == [AT + 10 * n for n in range(7)]


@pytest.mark.parametrize("kind", j.ENTRY_TYPES, ids=lambda kind: kind.type)
def test_every_entry_has_a_sentence(kind: type[j.Entry]) -> None:
    @given(e.of(kind))
    def prove(entry: j.Entry) -> None:
        assert sentence(entry)

    prove()


def test_what_is_no_entry_has_no_sentence() -> None:
    with pytest.raises(TypeError, match="no sentence for"):
        sentence(j.Entry(service="db"))


def test_every_kind_of_entry_has_a_name_of_its_own() -> None:
    assert len({kind.type for kind in j.ENTRY_TYPES}) == len(j.ENTRY_TYPES)
    assert set(j.ENTRY_TYPES) == set(subclasses(j.Entry))


def subclasses(kind: type[j.Entry]) -> Iterable[type[j.Entry]]:
    """Those that the package defines; a dataclass with slots leaves a twin behind."""
    return {getattr(j, each.__name__) for each in kind.__subclasses__() if each.__module__ == j.__name__}


@given(st.lists(e.every, max_size=20))
def test_no_order_of_entries_breaks_the_fold(entries: list[j.Entry]) -> None:
    incident = fold(records(e.opened(), *entries))
    assert incident is not None
    assert incident.timeline
