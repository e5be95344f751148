"""What to do about one service."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from fakes import Act, Answer, Target, answered, service, strategy
from reviver.core import decide
from reviver.core.decide import (
    ABORTED_PAUSE,
    AskApproval,
    Close,
    Escalate,
    GiveUp,
    Hold,
    LookAt,
    NoteFault,
    Observe,
    Open,
    Refused,
    Start,
    State,
)
from reviver.core.guards import Situation
from reviver.core.health import Sample
from reviver.model.actions import Effect
from reviver.model.faults import FaultKind
from reviver.model.health import Health
from reviver.model.incidents import REVIVER
from reviver.model.ports import AttemptResult, Outcome
from reviver.model.services import Budget, DaemonPolicy, Flapping, Mode, Service, Strategy

ILL = FaultKind.UNREACHABLE
OTHER = FaultKind.DATABASE_MISSING
POLICY = DaemonPolicy(budget=Budget(attempts=1000, per=900.0))
CALM = Situation(policy=POLICY)
PLENTY = (Budget(attempts=1000, per=900.0),)

RESTART = strategy(Act(), name="restart", attempts=2)
FAILOVER = strategy(Act(), name="failover", attempts=1)


class Patient:
    """A service in the hands of the core: answers in, commands out."""

    def __init__(self, *ladder: Strategy, situation: Situation = CALM, **settings: Any) -> None:
        self.service: Service = service(Target("db"), *ladder, budgets=PLENTY, **settings)
        self.situation = situation
        self.state = State()
        self.now = 0.0
        self.commands: list[decide.Command] = []

    def answers(self, *answers: Answer, every: float = 1.0) -> "Patient":
        for answer in answers:
            self.now += every
            sample = Sample(result=answered(answer), asked_at=self.now - 0.5, answered_at=self.now)
            self.state = decide.on_answer(self.state, sample, self.service)
            self.look()
        return self

    def look(self, *, at: float | None = None, situation: Situation | None = None) -> "Patient":
        self.now = self.now if at is None else at
        self.situation = situation or self.situation
        return self._take(decide.consider(self.state, self.service, self.situation, now=self.now))

    def ends(self, outcome: Outcome, *, after: float = 5.0, random: float = 0.0, unproven: bool = False) -> "Patient":
        self.now += after
        return self._take(
            decide.on_attempt_ended(
                self.state,
                self.service,
                self.situation,
                result=AttemptResult(outcome=outcome, message="so it ended", unproven=unproven),
                random=random,
                now=self.now,
            )
        )

    def ordered(self, name: str | None = None, by: str = "ann") -> "Patient":
        return self._take(decide.on_order(self.state, self.service, self.situation, strategy=name, by=by, now=self.now))

    def approved(self, by: str = "ann") -> "Patient":
        return self._take(decide.on_approved(self.state, self.service, self.situation, by=by, now=self.now))

    def denied(self, reason: str = "") -> "Patient":
        return self._take(
            decide.on_denied(self.state, self.service, self.situation, by="ann", reason=reason, now=self.now)
        )

    def _take(self, decision: decide.Decision) -> "Patient":
        self.state, commands = decision
        self.commands += commands
        return self

    @property
    def did(self) -> list[str]:
        """The names of the commands, looks and plans left out."""
        return [type(command).__name__ for command in self.commands if not isinstance(command, LookAt | decide.Plan)]

    def of(self, kind: type[Start] | type[Escalate] | type[Close] | type[Open] | type[Hold]) -> Iterable[object]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def starts(self) -> list[str]:
        return [command.strategy.name for command in self.commands if isinstance(command, Start)]

    @property
    def reasons(self) -> list[str]:
        return [command.reason for command in self.commands if isinstance(command, Escalate)]

    @property
    def trouble(self) -> decide.Trouble:
        assert self.state.trouble is not None
        return self.state.trouble

    @property
    def health(self) -> Health:
        return self.state.belief.health


def down(*ladder: Strategy, **settings: Any) -> Patient:
    """A service that has just been found down."""
    return Patient(*ladder, **settings).answers(ILL, ILL, ILL, ILL)


# ----------------------------------------------------------------------------------------------------------- opening


def test_an_unconfirmed_failure_is_followed_by_nothing() -> None:
    assert Patient(RESTART).answers(ILL, ILL, ILL).commands == []


def test_a_confirmed_failure_opens_an_incident_before_anything_is_started() -> None:
    assert down(RESTART).did == ["Open", "Start"]


def test_the_incident_says_since_when_it_fails_and_how_long_ago_that_was_noticed() -> None:
    patient = down(RESTART)
    [opened] = patient.of(Open)
    assert isinstance(opened, Open)
    assert (opened.failing_for, opened.noticed_ago, opened.again) == (3.5, 3.0, False)


def test_a_well_service_is_left_alone() -> None:
    assert Patient(RESTART).answers(*[None] * 10).commands == []


def test_an_answer_that_changes_nothing_gives_the_very_same_state() -> None:
    patient = Patient(RESTART).answers(*[None] * 5)
    before = patient.state
    assert patient.answers(None).state is before


def test_while_an_attempt_is_under_way_nothing_else_is_decided() -> None:
    patient = down(RESTART)
    assert patient.answers(ILL, OTHER, None, None, None, None).did == ["Open", "Start"]


def test_a_rung_that_waits_is_looked_at_when_its_time_has_come() -> None:
    patient = down(replace(RESTART, after=20.0))
    assert patient.commands[-1] == LookAt(20.5)
    assert patient.look(at=20.4).starts == []
    assert patient.look(at=20.5).starts == ["restart"]


def test_why_a_rung_waits_is_kept_for_people() -> None:
    patient = down(replace(RESTART, after=20.0))
    assert patient.trouble.held_reason == '"restart" waits until the fault has lasted for 20 s: 16.5 s more'


# ------------------------------------------------------------------------------------------------ attempts and rungs


def test_a_recovered_attempt_closes_the_incident_by_its_strategy() -> None:
    patient = down(RESTART).ends(Outcome.RECOVERED)
    assert patient.commands[-1] == Close("restart", 8.5)
    assert patient.health is Health.UP


def test_an_attempt_that_found_it_well_closes_the_incident_by_itself() -> None:
    assert down(RESTART).ends(Outcome.HEALED).commands[-1] == Close(decide.ITSELF, 8.5)


def test_a_failed_attempt_is_followed_by_the_next_after_its_backoff() -> None:
    patient = down(RESTART).ends(Outcome.FAILED).answers(*[ILL] * 9)  # backoff 10 s
    assert patient.starts == ["restart"]
    assert patient.answers(ILL, ILL).starts == ["restart", "restart"]


def test_a_rung_is_used_as_often_as_it_says_then_the_next_then_people() -> None:
    patient = down(RESTART, FAILOVER)
    for _ in range(20):
        if patient.trouble.running:
            patient.ends(Outcome.FAILED)
        patient.answers(*[ILL] * 10, every=10.0)
    assert patient.starts == ["restart", "restart", "failover"]
    assert patient.reasons == ['every strategy for unreachable was tried: "restart" (2 times), "failover" (1 times)']


def test_once_people_have_it_nothing_is_started_by_itself() -> None:
    patient = down().answers(*[ILL] * 1000)
    assert patient.did == ["Open", "Escalate"]


def test_after_the_cool_down_the_ladder_is_climbed_from_its_start() -> None:
    patient = down(FAILOVER, retry_after=600.0).ends(Outcome.FAILED).answers(*[ILL] * 20)
    assert patient.did == ["Open", "Start", "Escalate"]
    handed_over = patient.trouble.escalated_at
    assert handed_over is not None
    assert LookAt(handed_over + 600.0) in patient.commands
    assert patient.look(at=handed_over + 600.0).did == ["Open", "Start", "Escalate", "Start"]


def test_an_aborted_attempt_is_not_held_against_the_strategy() -> None:
    patient = down(FAILOVER)
    for _ in range(5):
        patient.ends(Outcome.ABORTED).answers(*[ILL] * 10)
    assert patient.starts == ["failover"] * 6
    assert patient.reasons == []


def test_an_aborted_attempt_gives_back_what_it_took_and_no_more() -> None:
    patient = down(RESTART).ends(Outcome.FAILED).answers(*[ILL] * 11).ends(Outcome.ABORTED)
    assert patient.trouble.ladder.made("restart") == 1


def test_after_an_aborted_attempt_the_next_waits_for_ten_seconds() -> None:
    patient = down(replace(RESTART, backoff=replace(RESTART.backoff, initial=100.0, max=100.0)))
    ended = patient.ends(Outcome.ABORTED).now
    assert patient.trouble.ladder.not_before == ended + ABORTED_PAUSE == ended + 10.0


def test_an_unclear_attempt_is_for_people_at_once() -> None:
    patient = down(RESTART).ends(Outcome.UNCLEAR).answers(*[ILL] * 1000)
    assert patient.did == ["Open", "Start", "Escalate"]
    assert patient.reasons == ["so it ended"]


def test_after_an_unclear_attempt_another_fault_starts_nothing() -> None:
    restore = strategy(Act(effect=Effect.DESTRUCTIVE), name="restore", faults=[ILL, OTHER])
    assert down(restore).ends(Outcome.UNCLEAR).answers(*[OTHER] * 10).starts == ["restore"]


def test_after_an_unclear_attempt_no_cool_down_starts_anything() -> None:
    restore = strategy(Act(effect=Effect.DESTRUCTIVE), name="restore")
    patient = down(restore, retry_after=60.0).ends(Outcome.UNCLEAR)
    assert patient.answers(*[ILL] * 100, every=10.0).starts == ["restore"]


def test_after_an_unclear_attempt_a_relapse_starts_nothing() -> None:
    restore = strategy(Act(effect=Effect.DESTRUCTIVE), name="restore")
    patient = down(restore).ends(Outcome.UNCLEAR).answers(None, None, None)
    assert patient.did[-1] == "Close"
    assert patient.answers(*[ILL] * 100).starts == ["restore"]


def test_after_an_unclear_attempt_looking_for_the_proof_of_another_takes_nothing_back() -> None:
    restore = strategy(Act(effect=Effect.DESTRUCTIVE), name="restore", attempts=9, verify=[Target("rows")])
    patient = down(restore).ends(Outcome.FAILED, unproven=True).answers(*[ILL] * 10).ends(Outcome.UNCLEAR)
    patient.answers(*[None] * 10, every=10.0).ends(Outcome.FAILED, unproven=True)
    assert patient.answers(*[ILL] * 100, every=10.0).starts == ["restore"] * 3  # two attempts and a look


def test_an_attempt_that_was_healed_by_itself_is_not_held_against_the_strategy() -> None:
    patient = down(FAILOVER).ends(Outcome.HEALED).answers(*[None] * 5).answers(*[ILL] * 5)
    assert patient.starts == ["failover", "failover"]


def test_an_attempt_that_was_not_under_way_can_not_end() -> None:
    for patient in (Patient(RESTART), down(RESTART).ends(Outcome.FAILED)):
        with pytest.raises(ValueError, match="no attempt is under way"):
            patient.ends(Outcome.FAILED)


def test_a_service_that_passes_by_itself_closes_its_incident_only_after_rise_passes() -> None:
    patient = down(replace(RESTART, after=60.0)).answers(None, None)
    assert patient.did == ["Open"]
    assert patient.answers(None).commands[-1] == Close(decide.ITSELF, 6.5)


def test_a_handed_over_service_that_passes_again_closes_its_incident() -> None:
    assert down().answers(None, None, None).did == ["Open", "Escalate", "Close"]


def test_while_its_latest_answer_was_a_pass_nothing_is_started() -> None:
    patient = down(replace(RESTART, after=10.0)).answers(ILL, ILL, None)
    assert patient.look(at=20.0).starts == []


def test_a_strategy_gone_from_the_settings_can_still_end() -> None:
    patient = down(RESTART)
    patient.service = replace(patient.service, strategies=(FAILOVER,))
    assert patient.ends(Outcome.FAILED).answers(*[ILL] * 11).starts == ["restart", "failover"]


# ---------------------------------------------------------------------------------- the check passes, the proof lacks

PROVEN = strategy(Act(), name="restore", verify=[Target("rows")])


def unproven(*ladder: Strategy) -> Patient:
    """A service that passes its check, after an attempt whose named verification doesn't."""
    return down(PROVEN, *ladder).ends(Outcome.FAILED, unproven=True).answers(None, None, None)


def test_a_failed_proof_is_told_to_people_at_once_and_once() -> None:
    patient = unproven().answers(*[None] * 100, every=10.0)
    assert patient.did[:3] == ["Open", "Start", "Escalate"]
    assert patient.ends(Outcome.FAILED, unproven=True).answers(*[None] * 100, every=10.0).did.count("Escalate") == 1


def test_passing_without_the_proof_does_not_close_the_incident() -> None:
    assert "Close" not in unproven().answers(*[None] * 100, every=10.0).did


def test_the_proof_is_looked_for_again_after_the_backoff_without_taking_a_step() -> None:
    patient = unproven().answers(*[None] * 6)
    assert patient.starts == ["restore"]
    [_, look] = patient.answers(None).of(Start)
    assert isinstance(look, Start)
    assert (look.strategy.steps, look.fault, look.by) == ((), None, REVIVER)
    assert patient.health is Health.UP


def test_once_proven_the_incident_is_closed_by_its_strategy() -> None:
    patient = unproven().answers(*[None] * 10).ends(Outcome.RECOVERED)
    assert patient.commands[-1] == Close("restore", patient.now - 0.5)


def test_when_the_settings_ask_for_no_proof_any_more_passing_is_enough() -> None:
    patient = unproven()
    patient.service = replace(patient.service, strategies=(replace(PROVEN, verify=()),))
    assert patient.answers(None).did[-1] == "Close"


def test_no_proof_is_looked_for_against_a_hard_stop() -> None:
    patient = unproven()
    patient.situation = replace(CALM, journal_broken="full")
    assert patient.answers(*[None] * 50).starts == ["restore"]


def test_a_person_may_order_the_unproven_strategy_though_the_check_passes() -> None:
    patient = unproven().ordered()
    [_, start] = patient.of(Start)
    assert isinstance(start, Start)
    assert start.strategy == PROVEN


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.FAILED])
def test_an_attempt_that_ends_otherwise_does_not_forget_what_is_not_proven(outcome: Outcome) -> None:
    patient = unproven(RESTART).answers(*[ILL] * 20)
    assert patient.ends(outcome).answers(*[None] * 3).did[-1] != "Close"


def test_what_another_strategy_recovers_is_closed_only_with_the_proof() -> None:
    create = strategy(Act(), name="create", faults=[OTHER])
    patient = unproven(create).answers(*[OTHER] * 10).ends(Outcome.RECOVERED)
    assert patient.did == ["Open", "Start", "Escalate", "NoteFault", "Start"]
    assert (patient.health, patient.trouble.running) == (Health.UP, "")
    patient.answers(*[None] * 12)
    assert patient.starts == ["restore", "create", "restore"]
    assert patient.ends(Outcome.RECOVERED).commands[-1] == Close("restore", patient.now - 0.5)


def test_a_proof_that_lacks_after_an_unclear_attempt_is_told_only_once() -> None:
    patient = down(PROVEN).ends(Outcome.UNCLEAR, unproven=True).answers(*[None] * 20)
    assert patient.starts == ["restore", "restore"]
    assert patient.ends(Outcome.FAILED, unproven=True).reasons == ["so it ended"]


def test_what_is_unclear_is_told_again_by_a_proof_that_lacks_unless_it_was_the_same() -> None:
    restore = replace(PROVEN, attempts=9)
    patient = down(restore).ends(Outcome.FAILED, unproven=True).answers(*[ILL] * 12).ends(Outcome.UNCLEAR)
    assert patient.reasons == ["so it ended", "so it ended"]


def test_a_strategy_whose_proof_lacks_and_that_is_gone_from_the_settings_asks_for_no_proof() -> None:
    patient = unproven()
    patient.service = replace(patient.service, strategies=(RESTART,))
    assert patient.answers(None).did[-1] == "Close"


# -------------------------------------------------------------------------------------------------------- wavering


def test_a_service_that_neither_stays_up_nor_fails_alike_is_for_people_when_that_lasts() -> None:
    patient = down(replace(RESTART, after=1000.0)).answers(*[FaultKind.TIMEOUT, ILL] * 140)
    assert patient.did == ["Open", "NoteFault"]
    assert patient.answers(*[FaultKind.TIMEOUT, ILL] * 20).did == ["Open", "NoteFault", "Escalate"]
    assert patient.reasons == ["db wavers: for 300 s it neither stayed up nor failed alike"]
    assert patient.answers(*[FaultKind.TIMEOUT, ILL] * 200).did.count("Escalate") == 1


def test_a_wavering_service_is_recovered_once_it_fails_alike() -> None:
    assert down(replace(RESTART, after=20.0)).answers(*[FaultKind.TIMEOUT, ILL] * 200, *[ILL] * 25).starts == [
        "restart"
    ]


def test_each_time_it_wavers_people_have_patience_anew() -> None:
    waver = [FaultKind.TIMEOUT, ILL]
    failed = down(RESTART, patience=100.0).ends(Outcome.FAILED).answers(*waver * 40)
    failed.ordered().ends(Outcome.FAILED, after=60.0)
    assert failed.answers(*waver * 45).reasons == []
    assert failed.answers(*waver * 10).reasons == ["db wavers: for 100 s it neither stayed up nor failed alike"]


def test_a_fault_that_is_confirmed_meanwhile_ends_the_wavering() -> None:
    waver = [FaultKind.TIMEOUT, ILL]
    held = down(RESTART, situation=replace(CALM, running=("api",)), patience=100.0)
    held.answers(*waver * 40).answers(*[ILL] * 4).answers(*waver * 45)
    assert held.reasons == []


# -------------------------------------------------------------------------------------------------------- relapses


def recovered(*ladder: Strategy, **settings: Any) -> Patient:
    return down(*ladder, **settings).ends(Outcome.RECOVERED)


def test_falling_again_soon_after_the_recovery_continues_the_incident_and_its_count() -> None:
    patient = recovered(RESTART).answers(*[None] * 10, every=10.0).answers(ILL, ILL, ILL, ILL)
    again = patient.commands[-2]
    assert isinstance(again, Open)
    assert again.again
    assert patient.trouble.attempts == 2
    assert patient.ends(Outcome.RECOVERED).answers(*[None] * 10).answers(*[ILL] * 4).starts == ["restart", "restart"]
    assert patient.did[-1] == "Escalate"


def test_falling_again_later_is_another_incident_with_a_fresh_ladder() -> None:
    patient = recovered(FAILOVER).answers(*[None] * 31, every=10.0).answers(ILL, ILL, ILL, ILL)
    assert patient.did == ["Open", "Start", "Close", "Open", "Start"]
    second = patient.commands[-2]
    assert isinstance(second, Open)
    assert not second.again
    assert patient.trouble.attempts == 1


def test_a_relapse_is_measured_from_the_first_failure_and_not_from_the_verdict() -> None:
    stable = 100.0
    within = recovered(FAILOVER, stable=stable).answers(*[None] * 9, every=10.0).answers(*[ILL] * 4, every=9.0)
    assert [command.again for command in within.commands if isinstance(command, Open)] == [False, True]


def test_a_relapse_at_the_very_end_of_its_time_still_continues_the_incident() -> None:
    patient = recovered(FAILOVER, stable=100.0)
    patient.now += 97.5  # the first question that fails is asked 0.5 s before its answer
    closed = patient.trouble.recovered_at
    patient.answers(*[ILL] * 4, every=3.0)
    assert closed is not None
    assert patient.trouble.since == closed + 100.0
    assert patient.did.count("Open") == 2
    assert patient.trouble.attempts == 1


def test_a_relapse_remembers_every_fault_of_its_incident() -> None:
    patient = recovered(replace(RESTART, faults=frozenset({ILL, OTHER}))).answers(*[None] * 40).answers(*[OTHER] * 4)
    assert patient.trouble.faults == {ILL, OTHER}


def test_a_recovery_by_a_strategy_is_followed_by_its_cool_down() -> None:
    patient = recovered(RESTART, cooldown=60.0)
    closed = patient.now
    assert patient.answers(*[ILL] * 59).starts == ["restart"]
    assert patient.answers(ILL, ILL).starts == ["restart", "restart"]
    assert patient.now >= closed + 60.0


def test_a_service_that_came_back_by_itself_is_owed_no_cool_down() -> None:
    patient = down(replace(RESTART, after=10.0), cooldown=600.0).answers(None, None, None)
    assert patient.answers(*[ILL] * 12).starts == ["restart"]


def test_what_closes_forgets_who_was_asked() -> None:
    patient = down(replace(RESTART, mode=Mode.APPROVE)).answers(None, None, None)
    assert patient.did[-1] == "Close"
    assert patient.trouble.approval is None


# -------------------------------------------------------------------------------------------------------- flapping

OFTEN = Flapping(falls=3, within=1000.0)


def fallen(times: int, *ladder: Strategy, every: float = 100.0, **settings: Any) -> Patient:
    """A service that has gone down so often, and came back in between by its strategy, if that acts at once."""
    patient = Patient(*ladder, flapping=OFTEN, stable=10.0, **settings)
    for fall in range(times):
        patient.now = max(patient.now, fall * every)
        patient.answers(*[ILL] * 4)
        if fall < times - 1 and patient.trouble.running:
            patient.ends(Outcome.RECOVERED)
        patient.answers(*([None] * 3 if fall < times - 1 else []))
    return patient


def test_what_falls_thrice_has_its_incident_continued_and_its_strategy_passed_over() -> None:
    patient = fallen(3, replace(RESTART, attempts=9), FAILOVER)
    assert [command.again for command in patient.commands if isinstance(command, Open)] == [False, False, True]
    assert patient.did[-3:] == ["Open", "GiveUp", "Start"]
    assert patient.starts == ["restart", "restart", "failover"]
    [gave_up] = [command for command in patient.commands if isinstance(command, GiveUp)]
    assert gave_up == GiveUp("restart", "db fell 3 times within 16 min 40 s: its help does not last")


def test_what_falls_twice_does_not_flap() -> None:
    patient = fallen(2, replace(RESTART, attempts=9))
    assert [command.again for command in patient.commands if isinstance(command, Open)] == [False, False]


def test_falls_longer_ago_than_flapping_looks_back_do_not_count() -> None:
    assert fallen(3, replace(RESTART, attempts=9), every=500.0).did[-1] == "Start"
    assert fallen(9, replace(RESTART, attempts=9), every=500.0).did.count("GiveUp") == 0
    assert fallen(3, replace(RESTART, attempts=9), every=499.0).did.count("GiveUp") == 1


def test_a_fall_that_continues_says_how_long_it_has_lasted() -> None:
    again = [command for command in fallen(3, replace(RESTART, attempts=9)).commands if isinstance(command, Open)][-1]
    assert (again.failing_for, again.noticed_ago) == (3.5, 3.0)


def test_what_falls_and_comes_back_by_itself_is_told_to_people_once() -> None:
    patient = fallen(6, replace(RESTART, after=50.0))
    assert patient.reasons == ["db fell 3 times within 16 min 40 s and came back by itself"]


def test_what_people_were_told_of_a_fall_is_told_anew_of_the_next() -> None:
    assert len(fallen(4, every=20.0).reasons) == 5  # nothing answers, four times; and that it flaps, once


# -------------------------------------------------------------------------------------------------- changing faults


def test_a_fault_not_seen_before_in_the_incident_is_noted_once() -> None:
    patient = down(replace(RESTART, after=1000.0)).answers(OTHER, ILL, OTHER, ILL)
    assert patient.did.count("NoteFault") == 1


def test_the_rungs_of_the_fault_as_it_is_now_are_climbed() -> None:
    create = strategy(Act(), name="create", faults=[OTHER])
    patient = down(RESTART, create).ends(Outcome.FAILED).answers(*[OTHER] * 15)
    assert patient.starts == ["restart", "create"]


def test_a_new_fault_takes_the_incident_back_from_people_if_it_has_rungs() -> None:
    create = strategy(Act(), name="create", faults=[OTHER])
    assert down(create).answers(*[OTHER] * 5).did == ["Open", "Escalate", "NoteFault", "Start"]


def test_a_rung_is_not_started_on_one_answer_that_names_its_fault() -> None:
    restore = strategy(Act(effect=Effect.DESTRUCTIVE), name="restore", faults=[OTHER], after=None)
    patient = down(replace(RESTART, after=1000.0), restore).answers(*[ILL] * 200)
    assert patient.answers(OTHER).starts == []


def test_one_odd_answer_does_not_keep_recovery_from_a_fault_that_has_rungs() -> None:
    patient = down(replace(RESTART, after=20.0)).answers(FaultKind.TIMEOUT).answers(*[ILL] * 60)
    assert patient.starts == ["restart"]


def test_a_fault_that_passes_by_itself_is_not_handed_over_at_once() -> None:
    patient = Patient(RESTART, patience=300.0).answers(*[FaultKind.STARTING_UP] * 200)
    assert patient.did == ["Open"]
    assert patient.answers(*[FaultKind.STARTING_UP] * 200).did == ["Open", "Escalate"]


# ------------------------------------------------------------------------------------------------------------ guards


def test_why_it_is_held_is_told_once_for_each_new_reason() -> None:
    busy = replace(CALM, running=("api",))
    patient = Patient(RESTART, situation=busy).answers(*[ILL] * 50)
    assert patient.did == ["Open", "Hold"]
    assert patient.trouble.held_reason == "the recovery of api is under way"
    patient.look(situation=replace(CALM, journal_broken="full"))
    assert patient.did == ["Open", "Hold", "Hold"]
    patient.look(situation=CALM)
    assert patient.did == ["Open", "Hold", "Hold", "Start"]
    assert patient.trouble.held_reason == ""


def test_a_held_strategy_is_looked_at_when_the_budget_is_free() -> None:
    spent = replace(CALM, policy=replace(POLICY, budget=Budget(attempts=1, per=900.0)), used_at=[1.0])
    assert Patient(RESTART, situation=spent).answers(*[ILL] * 4).commands[-1] == LookAt(901.0)


def test_a_spent_budget_of_the_service_is_for_people() -> None:
    patient = Patient(RESTART)
    patient.service = replace(patient.service, budgets=(Budget(attempts=2, per=3600.0),))
    patient.situation = replace(CALM, used_here_at={"restart": [0.0, 0.0]})
    assert patient.answers(*[ILL] * 4).reasons == ["the budget of db is spent: reviver made 2 attempts within 1 h"]


def spent(**settings: Any) -> Patient:
    """A service that is with people because its budget is spent."""
    patient = Patient(RESTART, **settings)
    patient.service = replace(patient.service, budgets=(Budget(attempts=2, per=3600.0),))
    patient.situation = replace(CALM, used_here_at={"restart": [0.0, 0.0]})
    return patient.answers(*[ILL] * 4)


def test_what_is_with_people_because_a_budget_is_spent_stays_with_them_though_it_is_free_again() -> None:
    patient = spent()
    assert patient.look(at=10_000.0, situation=CALM).did == ["Open", "Escalate"]
    assert patient.trouble.held_reason == "handed over to people: the budget of db is spent"


def test_after_the_cool_down_a_spent_budget_is_asked_again() -> None:
    patient = spent(retry_after=600.0)
    patient.look(situation=CALM)
    assert patient.commands[-1] == LookAt(patient.now + 600.0)
    assert patient.answers(*[ILL] * 599).starts == []
    assert patient.answers(ILL).starts == ["restart"]
    patient.ends(Outcome.FAILED)
    assert patient.answers(*[ILL] * 20).starts == ["restart", "restart"]


def test_each_cool_down_gives_the_ladder_once_and_then_it_is_for_people_again() -> None:
    patient = down(FAILOVER, retry_after=600.0)
    for _ in range(200):
        if patient.trouble.running:
            patient.ends(Outcome.FAILED)
        patient.answers(*[ILL] * 10)
    assert patient.starts == ["failover"] * 4
    assert len(patient.reasons) == 4


def test_what_is_already_theirs_says_so_and_when_it_is_tried_again() -> None:
    patient = down(FAILOVER, retry_after=600.0).ends(Outcome.FAILED).answers(*[ILL] * 20)
    assert patient.trouble.held_reason == (
        'handed over to people: every strategy for unreachable was tried: "failover" (1 times)'
    )
    assert patient.trouble.escalated_at is not None
    assert patient.commands[-1] == LookAt(patient.trouble.escalated_at + 600.0)
    create = strategy(Act(), name="create", faults=[OTHER], after=100.0)
    other = down(create).answers(*[OTHER] * 5).answers(*[ILL] * 4)  # it waited for another fault meanwhile
    assert other.reasons == ["no strategy of db answers unreachable"]
    assert other.trouble.held_reason == "handed over to people: no strategy of db answers unreachable"


def test_a_strategy_whose_own_budget_is_spent_is_passed_over() -> None:
    restart = replace(RESTART, budgets=(Budget(attempts=2, per=3600.0),))
    patient = Patient(restart, FAILOVER, situation=replace(CALM, used_here_at={"restart": [0.0, 0.0]}))
    patient.answers(*[ILL] * 4)
    assert patient.did == ["Open", "GiveUp", "Start"]
    assert patient.starts == ["failover"]


def test_with_a_dependency_down_the_service_is_held_and_not_handed_over() -> None:
    waiting = replace(CALM, dependencies_down=("disk",))
    assert Patient(situation=waiting).answers(*[ILL] * 100).did == ["Open", "Hold"]


def test_once_the_dependency_is_back_the_service_must_fail_anew_for_as_long_as_ever() -> None:
    patient = Patient(replace(RESTART, after=20.0), situation=replace(CALM, dependencies_down=("disk",)))
    patient.answers(*[ILL] * 100)
    back = patient.look(situation=CALM).now
    assert patient.starts == []
    assert patient.trouble.held_reason == ""
    patient.answers(*[ILL] * 20)
    assert patient.starts == []
    patient.answers(ILL)
    assert patient.starts == ["restart"]
    assert patient.now == back + 21.0


def test_a_service_that_comes_back_with_its_dependency_is_never_touched() -> None:
    patient = Patient(RESTART, situation=replace(CALM, dependencies_down=("disk",))).answers(*[ILL] * 100)
    patient.look(situation=CALM).answers(ILL, ILL, None, None, None)
    assert patient.did == ["Open", "Hold", "Close"]


def test_the_health_after_a_failed_attempt_is_confirmed_anew_if_it_had_passed_meanwhile() -> None:
    patient = down(replace(RESTART, backoff=replace(RESTART.backoff, initial=0.0)))
    patient.answers(None, None).ends(Outcome.FAILED)
    assert patient.health is Health.DOWN
    assert patient.starts == ["restart"]
    assert patient.answers(ILL, ILL, ILL).starts == ["restart"]
    assert patient.answers(ILL).starts == ["restart", "restart"]


# ---------------------------------------------------------------------------------------------- observing, approval

WATCHING = replace(RESTART, mode=Mode.OBSERVE)
ASKING = replace(RESTART, mode=Mode.APPROVE)
WITHIN = POLICY.approval_within


def observed(patient: Patient) -> list[Observe]:
    return [command for command in patient.commands if isinstance(command, Observe)]


def test_what_would_have_been_done_is_told_once_an_incident() -> None:
    patient = down(WATCHING).answers(*[ILL] * 50)
    assert patient.did == ["Open", "Observe", "Hold"]
    assert observed(patient) == [Observe(WATCHING, asking=False)]
    closed = patient.answers(None, None, None).commands[-1]
    assert closed == Close(decide.ITSELF, 56.5, (("restart", 53.0),))


def test_each_strategy_that_would_have_acted_is_told() -> None:
    create = replace(WATCHING, name="create", faults=frozenset({OTHER}))
    patient = down(WATCHING, create).answers(*[OTHER] * 4, *[ILL] * 4)
    assert [command.strategy.name for command in observed(patient)] == ["restart", "create"]
    assert [name for name, _ in patient.trouble.observed] == ["restart", "create"]


def test_a_strategy_that_would_have_asked_first_is_told_as_one() -> None:
    asks = Patient(ASKING, situation=replace(CALM, policy=replace(POLICY, mode=Mode.OBSERVE))).answers(*[ILL] * 4)
    assert observed(asks) == [Observe(ASKING, asking=True)]


def test_what_another_guard_would_have_held_is_told_as_held_by_that() -> None:
    patient = Patient(WATCHING, situation=replace(CALM, running=("api",))).answers(*[ILL] * 9)
    assert patient.did == ["Open", "Hold"]
    [hold] = patient.of(Hold)
    assert isinstance(hold, Hold)
    assert hold.held.guard == "at_once"
    assert patient.look(situation=CALM).did == ["Open", "Hold", "Observe", "Hold"]


def test_what_a_spent_budget_would_have_held_is_still_told_as_what_would_have_been_done() -> None:
    frugal = replace(WATCHING, budgets=(Budget(attempts=1, per=3600.0),))
    assert down(frugal, situation=replace(CALM, used_here_at={"restart": [0.0]})).did == ["Open", "Observe", "Hold"]


def test_a_guard_other_than_observing_tells_nothing_of_what_would_have_been_done() -> None:
    assert down(RESTART, situation=replace(CALM, running=("api",))).did == ["Open", "Hold"]


def test_people_are_asked_once_and_looked_for_when_their_time_is_over() -> None:
    patient = down(ASKING)
    assert patient.did == ["Open", "AskApproval", "Hold"]
    asked = [command for command in patient.commands if isinstance(command, AskApproval)]
    assert asked == [AskApproval(ASKING, 1, WITHIN)]
    assert patient.commands[-1] == LookAt(patient.now + WITHIN)
    assert patient.answers(*[ILL] * 100).did == ["Open", "AskApproval", "Hold"]


def test_what_nobody_approves_is_handed_over_when_its_time_is_over_and_not_before() -> None:
    patient = down(ASKING)
    until = patient.now + WITHIN
    assert patient.look(at=until - 0.1).reasons == []
    assert patient.look(at=until).reasons == [
        'nobody approved "restart" within 15 min; reviver recover starts it',
    ]


def test_each_strategy_is_asked_for_by_itself_and_has_its_own_time() -> None:
    create = replace(ASKING, name="create", faults=frozenset({OTHER}))
    patient = down(ASKING, create)
    patient.now += WITHIN - 5.0
    patient.answers(*[OTHER] * 8)
    assert [c.strategy.name for c in patient.commands if isinstance(c, AskApproval)] == ["restart", "create"]
    assert patient.reasons == []


def test_what_is_approved_is_started_by_the_person_and_people_are_asked_again_for_the_next() -> None:
    patient = down(ASKING).approved(by="bob")
    [start] = patient.of(Start)
    assert isinstance(start, Start)
    assert (start.strategy, start.by) == (ASKING, "bob")
    assert patient.trouble.approval is None
    assert patient.ends(Outcome.FAILED).answers(*[ILL] * 12).did[-2:] == ["AskApproval", "Hold"]


def test_what_is_denied_is_passed_over_with_the_reason() -> None:
    patient = down(ASKING, FAILOVER).denied("it is being repaired")
    assert patient.did[-2:] == ["GiveUp", "Start"]
    assert GiveUp("restart", "denied by ann: it is being repaired") in patient.commands
    assert patient.starts == ["failover"]
    assert GiveUp("restart", "denied by ann") in down(ASKING).denied().commands


def test_a_denial_while_it_wavers_leaves_nothing_held_and_nothing_asked_for() -> None:
    patient = down(ASKING).answers(OTHER).denied()
    assert (patient.trouble.approval, patient.trouble.held, patient.trouble.held_reason) == (None, ("", ""), "")


@pytest.mark.parametrize("word", [Patient.approved, Patient.denied], ids=["approved", "denied"])
def test_a_word_on_what_nobody_asks_for_is_refused(word: Callable[[Patient], Patient]) -> None:
    asked = down(ASKING)
    closed = replace(asked.state, trouble=replace(asked.trouble, recovered_at=asked.now))
    expired = down(ASKING)
    expired.now += WITHIN
    gone = down(ASKING)
    gone.state = closed
    for patient in (Patient(ASKING), down(replace(RESTART, after=1000.0)), gone):
        with pytest.raises(Refused, match="nothing waits for an approval"):
            word(patient)
    with pytest.raises(Refused, match='the request to approve "restart" has expired'):
        word(expired)


def test_after_the_cool_down_people_are_asked_again() -> None:
    patient = down(ASKING, retry_after=60.0)
    patient.look(at=patient.now + WITHIN)
    patient.look(at=patient.now + 60.0)
    assert patient.did == ["Open", "AskApproval", "Hold", "Escalate", "AskApproval"]


# --------------------------------------------------------------------------------------------------- pause and resume


def test_nothing_is_started_while_paused_however_long_it_fails() -> None:
    patient = Patient(RESTART)
    patient.state = decide.on_pause(patient.state, now=0.0)
    assert patient.answers(*[ILL] * 100).commands == []


def test_after_the_pause_the_failure_must_be_confirmed_anew() -> None:
    patient = Patient(RESTART)
    patient.state = decide.on_pause(patient.state, now=0.0)
    patient.answers(*[ILL] * 100)
    patient.state = decide.on_resume(patient.state, now=patient.now)
    assert patient.answers(ILL, ILL, ILL).commands == []
    assert patient.answers(ILL).did == ["Open", "Start"]


def test_a_pause_in_the_middle_of_an_incident_keeps_it_open() -> None:
    patient = down(replace(RESTART, after=60.0))
    patient.state = decide.on_pause(patient.state, now=patient.now)
    patient.answers(*[ILL] * 100)
    patient.state = decide.on_resume(patient.state, now=patient.now)
    assert patient.answers(*[ILL] * 60).did == ["Open"]
    assert patient.answers(ILL).did == ["Open", "Start"]


def test_an_attempt_that_ends_during_a_pause_leaves_the_service_paused() -> None:
    for outcome in Outcome:
        patient = down(RESTART)
        patient.state = decide.on_pause(patient.state, now=patient.now)
        assert patient.ends(outcome).health is Health.PAUSED
        assert patient.answers(*[ILL] * 20).starts == ["restart"]


def test_an_interrupted_attempt_is_no_longer_under_way() -> None:
    assert decide.on_interrupted(down(RESTART).state).trouble == replace(down(RESTART).trouble, running="")
    assert decide.on_interrupted(State()) == State()


# ----------------------------------------------------------------------------------------------------------- orders


def test_a_persons_word_overrides_waiting_budget_approval_and_the_hand_over() -> None:
    slow = replace(RESTART, after=1000.0, mode=Mode.APPROVE)
    patient = down(slow)
    patient.situation = replace(CALM, used_at=[patient.now] * 1000, used_here_at={"restart": [patient.now] * 1000})
    fault = patient.state.belief.fault
    assert fault is not None
    assert patient.ordered().commands[-1] == Start(slow, 1, fault, "ann")
    assert down().answers(ILL).did == ["Open", "Escalate"]
    handed_over = down(FAILOVER).ends(Outcome.FAILED).answers(*[ILL] * 20)
    assert handed_over.ordered("failover").starts == ["failover", "failover"]
    assert handed_over.trouble.escalated_at is None


def test_when_what_a_person_ordered_fails_people_are_told_again() -> None:
    patient = down(FAILOVER).ends(Outcome.FAILED).answers(*[ILL] * 20)
    assert patient.ordered("failover").ends(Outcome.FAILED).answers(*[ILL] * 30).did.count("Escalate") == 2


def test_an_order_without_a_name_takes_the_next_rung() -> None:
    patient = down(replace(RESTART, attempts=1), replace(FAILOVER, after=1000.0)).ends(Outcome.FAILED)
    assert patient.ordered().starts == ["restart", "failover"]


def test_an_order_without_a_name_starts_over_when_every_rung_is_exhausted() -> None:
    patient = down(FAILOVER).ends(Outcome.FAILED).answers(*[ILL] * 20)
    assert patient.ordered().starts == ["failover", "failover"]


def test_an_order_without_a_name_starts_over_with_the_gentlest_rung() -> None:
    patient = down(replace(RESTART, attempts=1), FAILOVER)
    patient.ends(Outcome.FAILED).answers(*[ILL] * 12).ends(Outcome.FAILED).answers(*[ILL] * 12)
    assert patient.ordered().starts == ["restart", "failover", "restart"]


def test_an_order_takes_what_was_spent_back_from_people() -> None:
    patient = spent().ordered().ends(Outcome.FAILED)
    patient.situation = CALM
    assert patient.answers(*[ILL] * 12).starts == ["restart", "restart"]


def test_a_plan_is_told_anew_after_each_attempt() -> None:
    patient = down(RESTART).ends(Outcome.FAILED).answers(ILL, ILL)
    assert [type(command) for command in patient.commands].count(decide.Plan) == 1
    patient.ordered().ends(Outcome.FAILED).answers(ILL)
    assert [type(command) for command in patient.commands].count(decide.Plan) == 1  # exhausted: nothing is planned
    again = down(replace(RESTART, attempts=9)).ends(Outcome.FAILED).answers(*[ILL] * 11).ends(Outcome.FAILED)
    assert [type(command) for command in again.answers(ILL).commands].count(decide.Plan) == 2


def test_an_order_between_the_failure_and_its_incident_is_refused() -> None:
    patient = recovered(RESTART)
    for at in range(4):
        sample = Sample(result=answered(ILL), asked_at=patient.now + at, answered_at=patient.now + at)
        patient.state = decide.on_answer(patient.state, sample, patient.service)
    assert patient.health is Health.DOWN
    with pytest.raises(Refused, match="there is nothing to recover"):
        patient.ordered()


def test_an_order_for_what_is_judged_afresh_is_refused_though_its_incident_is_open() -> None:
    patient = down(replace(RESTART, after=1000.0))
    patient.state = decide.on_resume(decide.on_pause(patient.state, now=patient.now), now=patient.now)
    with pytest.raises(Refused, match="db is unknown, not down"):
        patient.ordered()


def test_an_order_by_name_may_take_a_rung_that_does_not_answer_the_fault() -> None:
    create = strategy(Act(), name="create", faults=[OTHER])
    assert down(replace(RESTART, after=1000.0), create).ordered("create").starts == ["create"]


@pytest.mark.parametrize(
    ("patient", "name", "why"),
    [
        (down(RESTART), None, 'db: an attempt of "restart" is under way'),
        (Patient(RESTART), None, "db is unknown, not down: there is nothing to recover"),
        (Patient(RESTART).answers(None), None, "db is up, not down: there is nothing to recover"),
        (Patient(RESTART).answers(None, ILL), None, "db is suspect, not down: there is nothing to recover"),
        (down(), None, "no strategy of db answers what is wrong; name one with --strategy"),
        (down(), "restore", 'db has no strategy "restore"; it has: none'),
        (
            down(replace(RESTART, after=1000.0), replace(FAILOVER, after=1000.0)),
            "restore",
            'db has no strategy "restore"; it has: "restart", "failover"',
        ),
    ],
    ids=["under way", "unknown", "up", "suspect", "no rung", "no ladder", "no such rung"],
)
def test_an_order_that_makes_no_sense_is_refused_with_the_reason(patient: Patient, name: str | None, why: str) -> None:
    with pytest.raises(Refused) as refused:
        patient.ordered(name)
    assert str(refused.value) == why


def test_an_order_for_a_paused_service_is_refused() -> None:
    patient = down(replace(RESTART, after=1000.0))
    patient.state = decide.on_pause(patient.state, now=patient.now)
    with pytest.raises(Refused, match="db is paused; resume it first"):
        patient.ordered()


@pytest.mark.parametrize(
    "situation",
    [
        replace(CALM, policy=replace(POLICY, mode=Mode.OBSERVE)),
        replace(CALM, journal_broken="the disk is full"),
        replace(CALM, stopping=True),
    ],
    ids=["observe", "journal", "stopping"],
)
def test_no_word_of_a_person_starts_anything_against_a_hard_stop(situation: Situation) -> None:
    patient = down(replace(RESTART, after=1000.0))
    patient.situation = situation
    with pytest.raises(Refused):
        patient.ordered()


def test_noted_faults_are_the_ones_believed() -> None:
    patient = down(replace(RESTART, after=1000.0)).answers(OTHER)
    [noted] = [command for command in patient.commands if isinstance(command, NoteFault)]
    assert noted.fault is patient.state.belief.fault


def test_trying_the_ladder_again_from_its_start_keeps_the_pause_after_the_last_attempt() -> None:
    slow = replace(RESTART, attempts=9, backoff=replace(RESTART.backoff, initial=300.0, max=300.0))
    patient = down(slow, retry_after=60.0)
    patient.state = replace(patient.state, trouble=replace(patient.trouble, escalated_at=patient.now))
    ended = patient.ends(Outcome.FAILED, after=100.0).now
    while len(patient.starts) < 2:
        patient.answers(ILL)
    assert patient.now >= ended + 300.0
