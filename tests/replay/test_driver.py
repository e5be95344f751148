"""The driver: what settings would have made of a scripted past."""

from collections.abc import Sequence

import pytest

from fakes import Act, strategy
from replay.recording import REFUSED, Replayed, outages, plain, truth
from reviver.core.health import Sample
from reviver.incidents.history import HEALTHY, UNKNOWN, VOID
from reviver.model import journal as j
from reviver.model.faults import FaultKind
from reviver.model.services import Budget, DaemonPolicy, Maintenance, Mode, Once, Service
from reviver.replay.driver import Driver
from reviver.replay.past import Order, Stretch
from reviver.supervisor.watched import Watched

HOUR = 3600.0


def restarting(name: str = "db", *, after: float = 0.0, **settings: object) -> Service:
    return plain(name, strategy(Act(), after=after), **settings)


def test_a_short_outage_is_acted_upon_with_a_low_threshold_and_left_alone_with_a_high_one() -> None:
    past = outages("db", (600.0, 606.0), until=HOUR)
    hasty = Replayed([restarting(fall=4)], [past], until=HOUR)
    patient = Replayed([restarting(fall=8)], [past], until=HOUR)
    assert len(hasty.of(j.AttemptStarted)) == 1
    assert patient.records == []


def test_nothing_is_decided_in_a_past_that_was_well_however_long() -> None:
    replayed = Replayed([restarting()], [outages("db", until=365 * 86400.0)], until=365 * 86400.0)
    assert replayed.records == []


def test_an_attempt_ends_as_the_record_says_that_the_service_fared() -> None:
    replayed = Replayed([restarting()], [outages("db", (600.0, 630.0), until=HOUR)], until=HOUR)
    [incident] = replayed.incidents
    assert [attempt.outcome for attempt in incident.attempts] == ["failed", "recovered"]
    assert incident.recovered_by == "restart"
    assert incident.recovered_in == pytest.approx(30.0, abs=6.0)


def test_what_is_well_again_before_its_turn_comes_is_not_acted_upon() -> None:
    pasts = [outages("db", (600.0, 640.0), until=HOUR), outages("cache", (602.0, 612.0), until=HOUR)]
    services = [restarting(), restarting("cache")]
    replayed = Replayed(services, pasts, until=HOUR, policy=DaemonPolicy(at_once=1))
    assert {entry.service for entry in replayed.of(j.AttemptStarted)} == {"db"}
    assert {entry.service for entry in replayed.of(j.IncidentOpened)} == {"db", "cache"}
    assert "at_once" in replayed.guards


def test_an_attempt_that_finds_it_well_before_its_first_step_costs_no_budget() -> None:
    past = outages("db", (600.0, 617.0), (1000.0, 1100.0), until=HOUR)
    policy = DaemonPolicy(budget=Budget(attempts=1, per=900.0))
    replayed = Replayed([restarting(after=18.0)], [past], until=HOUR, policy=policy)
    assert [attempt.outcome for attempt in replayed.incidents[0].attempts] == ["healed"]
    assert replayed.incidents[1].attempts[0].outcome == "failed"
    assert [at for at in replayed.at(j.RecoveryHeld) if at < 1030.0] == []


def test_a_daemon_that_started_anew_confirms_anew() -> None:
    answers = [(0.0, HEALTHY), (600.0, REFUSED), (602.5, REFUSED), (605.2, HEALTHY)]
    through = truth("db", *answers, until=HOUR)
    restarted = truth("db", *answers, until=HOUR, starts=[602.5])
    assert len(Replayed([restarting()], [through], until=HOUR).of(j.IncidentOpened)) == 1
    assert Replayed([restarting()], [restarted], until=HOUR).records == []


def test_a_spent_budget_over_all_services_holds() -> None:
    pasts = [outages(name, (600.0, 700.0), until=HOUR) for name in ("a", "b", "c")]
    services = [restarting(name) for name in ("a", "b", "c")]
    policy = DaemonPolicy(at_once=3, budget=Budget(attempts=2, per=900.0))
    replayed = Replayed(services, pasts, until=HOUR, policy=policy)
    assert len(replayed.of(j.AttemptStarted)) == 2
    assert "budget" in replayed.guards
    generous = Replayed(
        services, pasts, until=HOUR, policy=DaemonPolicy(at_once=3, budget=Budget(attempts=99, per=900.0))
    )
    assert "budget" not in generous.guards


def test_a_service_whose_dependency_is_down_is_held_and_judged_anew_once_that_is_up() -> None:
    pasts = [outages("db", (600.0, 700.0), until=HOUR), outages("api", (600.5, 800.0), until=HOUR)]
    services = [restarting(), restarting("api", depends_on=("db",))]
    replayed = Replayed(services, pasts, until=HOUR)
    [first, *_] = [r.at for r in replayed.records if isinstance(r.entry, j.AttemptStarted) and r.entry.service == "api"]
    assert replayed.guards.count("dependency") == 1
    assert 700.0 < first < 720.0


def test_when_much_fails_together_the_observer_is_suspected_and_nothing_is_done() -> None:
    names = [f"s{number}" for number in range(8)]
    pasts = [outages(name, (600.0, 900.0), until=HOUR) for name in names]
    services = [restarting(name) for name in names]
    for number, service in enumerate(services):
        service.check.target.hosts = frozenset({f"host-{number}"})  # type: ignore[attr-defined]
    replayed = Replayed(services, pasts, until=HOUR)
    assert replayed.of(j.AttemptStarted) == []
    assert set(replayed.guards) == {"observer"}


@pytest.mark.parametrize(("mode", "entry"), [(Mode.OBSERVE, j.RecoveryObserved), (Mode.APPROVE, j.ApprovalRequested)])
def test_what_may_only_be_told_is_told(mode: Mode, entry: type[j.Entry]) -> None:
    service = plain("db", strategy(Act(), mode=mode))
    replayed = Replayed([service], [outages("db", (600.0, 700.0), until=HOUR)], until=HOUR)
    assert replayed.of(j.AttemptStarted) == []
    assert len(replayed.of(entry)) == 1


def test_a_pause_of_that_time_holds_in_the_replay() -> None:
    orders = [Order(service="db", at=500.0, hands_off=True), Order(service="db", at=800.0, hands_off=False)]
    past = outages("db", (600.0, 1000.0), until=HOUR)
    replayed = Replayed([restarting()], [past], until=HOUR, orders=orders)
    [first, *_] = replayed.at(j.AttemptStarted)
    assert 800.0 < first < 810.0


def test_a_freeze_of_that_time_holds_in_the_replay() -> None:
    orders = [Order(service="", at=500.0, hands_off=True, reason="audit"), Order(service="", at=800.0, hands_off=False)]
    past = outages("db", (600.0, 1000.0), until=HOUR)
    replayed = Replayed([restarting()], [past], until=HOUR, orders=orders)
    [first, *_] = replayed.at(j.AttemptStarted)
    assert 800.0 <= first < 810.0


def test_a_maintenance_window_of_the_new_settings_holds_until_it_ends() -> None:
    window = Maintenance(when=Once(begins=500.0, until=800.0))
    past = outages("db", (600.0, 1000.0), until=HOUR)
    replayed = Replayed([restarting()], [past], until=HOUR, policy=DaemonPolicy(maintenance=(window,)))
    [first, *_] = replayed.at(j.AttemptStarted)
    assert replayed.guards == ["maintenance"]
    assert 800.0 <= first < 806.0


def test_a_lock_file_of_the_new_settings_is_not_looked_at() -> None:
    past = outages("db", (600.0, 700.0), until=HOUR)
    replayed = Replayed(
        [restarting(lock_file="/run/lock")], [past], until=HOUR, policy=DaemonPolicy(lock_file="/run/l")
    )
    assert replayed.of(j.AttemptStarted)


@pytest.mark.parametrize("answer", [VOID, UNKNOWN])
def test_what_could_not_be_told_then_is_no_failure(answer: str) -> None:
    past = truth("db", (0.0, HEALTHY), (600.0, answer), (900.0, HEALTHY), until=HOUR)
    assert Replayed([restarting()], [past], until=HOUR).records == []


def test_nothing_is_done_while_nobody_looked() -> None:
    past = truth("db", (0.0, HEALTHY), (600.0, REFUSED), (2000.0, REFUSED), until=HOUR, starts=[2000.0])
    replayed = Replayed([restarting()], [past], until=HOUR)
    during_gap = [record for record in replayed.records if 670.0 < record.at < 2000.0]
    assert [record.entry.type for record in during_gap] == []
    assert [e for e in replayed.of(j.AttemptStarted) if isinstance(e, j.AttemptStarted)]


def test_quiet_months_cost_few_questions_and_a_month_down_one_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    question = Driver._question

    def counted(driver: Driver, watched: Watched, stretch: Stretch) -> Sample:
        asked.append(driver.now)
        return question(driver, watched, stretch)

    monkeypatch.setattr(Driver, "_question", counted)
    month, year = 30 * 86400.0, 365 * 86400.0
    replayed = Replayed([restarting()], [outages("db", (month, 2 * month), until=year)], until=year)
    [incident] = replayed.incidents
    assert len(incident.attempts) == 3
    assert incident.recovered_in == pytest.approx(month, abs=70.0)
    assert len(asked) < month / 60.0 + 200


def test_the_same_past_gives_the_same_replay() -> None:
    def once() -> Sequence[j.Record]:
        pasts = [
            outages("db", (600.3, 640.1), (900.0, 990.0), (1200.0, 1201.0), until=HOUR),
            outages("api", (601.0, 800.0), (950.0, 960.0), until=HOUR),
        ]
        return Replayed([restarting(after=5.0), restarting("api", depends_on=("db",))], pasts, until=HOUR).records

    assert once() == once()


def test_evidence_that_is_certain_is_confirmed_sooner() -> None:
    past = outages("db", (600.0, 700.0), until=HOUR)
    sure = truth("db", (0.0, HEALTHY), (600.0, REFUSED), (700.0, HEALTHY), until=HOUR, certain=True)
    [slow] = Replayed([restarting()], [past], until=HOUR).at(j.IncidentOpened)
    [fast] = Replayed([restarting()], [sure], until=HOUR).at(j.IncidentOpened)
    assert fast < 601.0
    assert slow >= 603.0


def test_a_fault_that_no_strategy_answers_goes_to_people() -> None:
    past = outages("db", (600.0, 700.0), until=HOUR, answer=FaultKind.AUTH_FAILED.value)
    replayed = Replayed([restarting()], [past], until=HOUR)
    assert replayed.of(j.AttemptStarted) == []
    assert len(replayed.of(j.IncidentEscalated)) == 1
