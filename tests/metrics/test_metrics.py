"""Each figure follows from the events that were told."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from metrics.happenings import MISCONF, REFUSED, changed, checked, fed, watched
from reviver.metrics import Metrics
from reviver.model import events as e
from reviver.model import journal as j
from reviver.model.control import TrustView
from reviver.model.health import Health
from reviver.model.incidents import fold
from web.fakes import NOW, FakeClock, opened, restarted, told

BOTH = watched(("db", "postgres"), ("cache", "redis"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    return fed(Metrics(clock), BOTH)


def figure(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    page = metrics.render("")[0].decode()
    found = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    by_labels = {(one.name, frozenset(one.labels.items())): one.value for one in found}
    assert len(by_labels) == len(found), "a series is there twice"
    return by_labels


def series_of(metrics: Metrics, service: str) -> list[str]:
    return [name for name, labels in samples(metrics) if ("service", service) in labels]


def test_each_answer_is_counted_by_what_came_of_it(metrics: Metrics) -> None:
    fed(metrics, checked(), checked(), checked(fault=REFUSED), checked(unknown="no psql"))
    outcomes = {
        outcome: figure(metrics, "reviver_checks_total", service="db", kind="postgres", outcome=outcome)
        for outcome in ("healthy", "fault", "unknown")
    }
    assert outcomes == {"healthy": 2, "fault": 1, "unknown": 1}


def test_a_service_has_its_series_at_zero_before_it_is_asked(metrics: Metrics) -> None:
    assert figure(metrics, "reviver_checks_total", service="db", kind="postgres", outcome="fault") == 0
    assert figure(metrics, "reviver_blips_total", service="db") == 0
    assert figure(metrics, "reviver_incidents_open", service="db") == 0
    assert figure(metrics, "reviver_service_health", service="db", health="unknown") == 1


def test_a_void_answer_is_counted_as_void_and_shows_no_fault(metrics: Metrics) -> None:
    fed(metrics, checked(fault=REFUSED, void=True))
    assert figure(metrics, "reviver_checks_void_total", service="db") == 1
    assert figure(metrics, "reviver_service_fault", service="db", fault="unreachable") is None


def test_latency_is_shown_last_by_service_and_spread_by_kind(metrics: Metrics, clock: FakeClock) -> None:
    clock.unix = NOW + 30
    fed(metrics, checked(latency=0.004), checked(latency=0.3), checked("cache", "redis", latency=0.001))
    assert figure(metrics, "reviver_check_last_latency_seconds", service="db") == 0.3
    assert figure(metrics, "reviver_check_last_timestamp_seconds", service="db") == NOW + 30
    assert figure(metrics, "reviver_check_latency_seconds_bucket", kind="postgres", le="0.005") == 1
    assert figure(metrics, "reviver_check_latency_seconds_bucket", kind="postgres", le="+Inf") == 2
    assert figure(metrics, "reviver_check_latency_seconds_sum", kind="postgres") == pytest.approx(0.304)
    assert figure(metrics, "reviver_check_latency_seconds_bucket", kind="redis", le="0.001") == 1


def test_lateness_is_counted_over_all_checks(metrics: Metrics) -> None:
    fed(metrics, checked(late=0.0), checked("cache", "redis", late=2.0))
    assert figure(metrics, "reviver_check_lateness_seconds_bucket", le="0.001") == 1
    assert figure(metrics, "reviver_check_lateness_seconds_count") == 2


def test_exactly_one_health_is_one(metrics: Metrics) -> None:
    fed(metrics, changed("db", Health.UNKNOWN, Health.UP), changed("db", Health.UP, Health.DOWN, REFUSED))
    states = {one: figure(metrics, "reviver_service_health", service="db", health=one) for one in Health}
    assert states == {one: float(one is Health.DOWN) for one in Health}


def test_the_fault_is_the_latest_one_and_goes_when_the_service_is_up(metrics: Metrics) -> None:
    fed(metrics, changed("db", Health.UP, Health.DOWN, REFUSED), checked(fault=MISCONF))
    assert figure(metrics, "reviver_service_fault", service="db", fault="misconf") == 1
    assert figure(metrics, "reviver_service_fault", service="db", fault="unreachable") is None
    fed(metrics, checked())  # one pass proves nothing yet
    assert figure(metrics, "reviver_service_fault", service="db", fault="misconf") == 1
    fed(metrics, changed("db", Health.DOWN, Health.UP))
    assert figure(metrics, "reviver_service_fault", service="db", fault="misconf") is None


def test_an_incident_is_open_until_recovered(metrics: Metrics) -> None:
    records = restarted("db", "db-1")
    fed(metrics, *(r.entry for r in records[:-1]))
    assert figure(metrics, "reviver_incidents_total", service="db", fault="unreachable", severity="sev2") == 1
    assert figure(metrics, "reviver_incidents_open", service="db") == 1
    fed(metrics, records[-1].entry)
    assert figure(metrics, "reviver_incidents_open", service="db") == 0
    assert figure(metrics, "reviver_attempts_total", service="db", strategy="restart", outcome="recovered") == 1
    assert figure(metrics, "reviver_steps_total", action="systemd.restart", outcome="done") == 1
    assert figure(metrics, "reviver_detection_seconds_sum") == 4.5
    assert figure(metrics, "reviver_recovery_seconds_sum", by="strategy") == 7.5


def test_an_incident_handed_over_stays_open_and_says_so(metrics: Metrics) -> None:
    fed(metrics, opened("db", "db-1"), j.IncidentEscalated(service="db", incident="db-1", reason="spent"))
    assert figure(metrics, "reviver_incidents_open", service="db") == 1
    assert figure(metrics, "reviver_incidents_escalated", service="db") == 1
    assert figure(metrics, "reviver_escalations_total", service="db") == 1
    fed(metrics, j.IncidentWithdrawn(service="db", incident="db-1", reason="gone"))
    assert figure(metrics, "reviver_incidents_open", service="db") == 0
    assert figure(metrics, "reviver_incidents_escalated", service="db") == 0


def test_a_recovery_without_us_is_told_apart(metrics: Metrics) -> None:
    fed(metrics, opened("db", "db-1"), j.IncidentRecovered(service="db", incident="db-1", by="itself", down_for=20.0))
    assert figure(metrics, "reviver_recovery_seconds_count", by="itself") == 1
    assert figure(metrics, "reviver_recovery_seconds_count", by="strategy") is None


def test_a_relapse_opens_the_incident_again_and_counts_none(metrics: Metrics) -> None:
    fed(metrics, *(r.entry for r in restarted("db", "db-1")))
    again = j.IncidentReopened(
        service="db", incident="db-1", fault=REFUSED.kind, message="again", certain=False, failing_for=1.0
    )
    fed(metrics, again)
    assert figure(metrics, "reviver_incidents_open", service="db") == 1
    assert figure(metrics, "reviver_incidents_total", service="db", fault="unreachable", severity="sev2") == 1


def test_the_backoff_counts_down_and_ends_with_the_next_attempt(metrics: Metrics, clock: FakeClock) -> None:
    failed = j.AttemptEnded(
        service="db", attempt=1, strategy="restart", outcome="failed", message="", seconds=1.0, retry_in=30.0
    )
    fed(metrics, failed)
    assert figure(metrics, "reviver_backoff_remaining_seconds", service="db") == 30
    clock.now += 12
    assert figure(metrics, "reviver_backoff_remaining_seconds", service="db") == 18
    fed(metrics, j.AttemptStarted(service="db", attempt=2, strategy="restart", by="reviver", steps=()))
    assert figure(metrics, "reviver_backoff_remaining_seconds", service="db") == 0


def test_a_backoff_is_never_negative(metrics: Metrics, clock: FakeClock) -> None:
    fed(
        metrics,
        j.AttemptEnded(service="db", attempt=1, strategy="s", outcome="failed", message="", seconds=1.0, retry_in=30.0),
    )
    clock.now += 100
    assert figure(metrics, "reviver_backoff_remaining_seconds", service="db") == 0


def attempt(by: str, *, acts: bool) -> list[e.Event]:
    common: dict[str, Any] = {"service": "db", "incident": "db-1", "attempt": 1}
    step = j.StepStarted(**common, step=0, action="wait", description="", effect="idempotent")
    return [
        j.AttemptStarted(**common, strategy="restart", by=by, steps=()),
        *([step] if acts else []),
        j.AttemptEnded(**common, strategy="restart", outcome="healed", message="", seconds=1.0),
    ]


def test_the_budget_counts_our_own_attempts_that_came_to_a_step(metrics: Metrics, clock: FakeClock) -> None:
    fed(metrics, *attempt("reviver", acts=True), *attempt("reviver", acts=True))
    fed(metrics, *attempt("reviver", acts=False), *attempt("ada", acts=True))
    assert figure(metrics, "reviver_budget_attempts") == 5
    assert figure(metrics, "reviver_budget_attempts_used") == 2
    clock.now += 900
    assert figure(metrics, "reviver_budget_attempts_used") == 0


def test_guards_are_counted_by_name(metrics: Metrics) -> None:
    fed(metrics, j.RecoveryHeld(service="db", guard="dependency", reason="disk is down"))
    assert figure(metrics, "reviver_recovery_held_total", service="db", guard="dependency") == 1


def reasons_told(metrics: Metrics) -> dict[str, float | None]:
    """The reasons of the observer's being suspect that hold; each has its series always."""
    told = {
        reason: figure(metrics, "reviver_observer_suspect_reason", reason=reason)
        for reason in ("crowd", "lag", "network", "suspended")
    }
    assert None not in told.values()
    return {reason: value for reason, value in told.items() if value}


def test_the_daemon_tells_of_itself(metrics: Metrics, clock: FakeClock) -> None:
    assert figure(metrics, "reviver_journal_writable") == 1
    assert figure(metrics, "reviver_observer_suspect") == 0
    assert reasons_told(metrics) == {}
    fed(metrics, e.JournalStateChanged(writable=False, reason="disk full"))
    fed(metrics, e.ObserverSuspected(reason="all fail", reasons=("crowd", "lag"), confirmed=True))
    fed(metrics, e.LoopLagged(seconds=0.4))
    assert figure(metrics, "reviver_journal_writable") == 0
    assert figure(metrics, "reviver_observer_suspect") == 1
    assert figure(metrics, "reviver_loop_lag_seconds_sum") == 0.4
    assert figure(metrics, "reviver_observer_suspect_confirmed") == 1
    assert reasons_told(metrics) == {"crowd": 1, "lag": 1}
    fed(metrics, e.JournalStateChanged(writable=True, reason=""))
    fed(metrics, e.ObserverSuspected(reason="", reasons=(), confirmed=False))
    assert figure(metrics, "reviver_journal_writable") == 1
    assert figure(metrics, "reviver_observer_suspect") == 0
    assert figure(metrics, "reviver_observer_suspect_confirmed") == 0
    assert reasons_told(metrics) == {}
    assert (figure(metrics, "process_resident_memory_bytes") or 0) > 1_000_000


def test_a_refused_reload_keeps_the_time_of_the_settings_in_force(metrics: Metrics, clock: FakeClock) -> None:
    clock.unix = NOW + 60
    fed(metrics, e.ConfigReloaded(error="line 3"))
    assert figure(metrics, "reviver_config_last_reload_successful") == 0
    assert figure(metrics, "reviver_config_last_reload_success_timestamp_seconds") == NOW
    fed(metrics, e.ConfigReloaded(error=""))
    assert figure(metrics, "reviver_config_last_reload_successful") == 1
    assert figure(metrics, "reviver_config_last_reload_success_timestamp_seconds") == NOW + 60


def test_a_service_that_is_removed_takes_all_its_series_along(metrics: Metrics) -> None:
    fed(metrics)
    assert series_of(metrics, "cache")
    fed(metrics, e.ServicesChanged(added=(), removed=("cache",)), checked("cache", "redis"))
    fed(metrics, opened("cache", "cache-2"))
    assert series_of(metrics, "cache") == []
    assert series_of(metrics, "db")
    assert figure(metrics, "reviver_check_latency_seconds_count", kind="redis") is None


def test_a_service_that_a_reload_names_again_keeps_its_counts(metrics: Metrics) -> None:
    fed(metrics, checked(), e.ServicesChanged(added=(("db", "postgres"),), removed=("db",)))
    assert figure(metrics, "reviver_checks_total", service="db", kind="postgres", outcome="healthy") == 1


def test_a_service_given_another_check_is_counted_under_the_new_kind(metrics: Metrics) -> None:
    fed(metrics, checked(), checked("db", "tcp"))
    assert figure(metrics, "reviver_checks_total", service="db", kind="tcp", outcome="healthy") == 2
    assert figure(metrics, "reviver_check_latency_seconds_count", kind="tcp") == 1


@pytest.mark.parametrize("services_first", [True, False])
def test_a_restarted_daemon_shows_what_its_earlier_life_left(clock: FakeClock, *, services_first: bool) -> None:
    records = restarted("db", "db-1")
    lost = j.IncidentEscalated(service="cache", incident="cache-1", reason="spent")
    by_person = j.AttemptStarted(service="db", attempt=2, strategy="restart", by="ada", steps=())
    left = [fold(records[:4]), fold(told(opened("cache", "cache-1"), lost))]
    attempts = [records[1], j.Record(entry=by_person, at=NOW, age=5.0)]

    metrics = Metrics(clock)
    if services_first:
        fed(metrics, BOTH)
    metrics.restore([incident for incident in left if incident is not None], attempts)
    if not services_first:
        fed(metrics, BOTH)

    assert figure(metrics, "reviver_incidents_open", service="db") == 1
    assert figure(metrics, "reviver_incidents_escalated", service="db") == 0
    assert figure(metrics, "reviver_incidents_escalated", service="cache") == 1
    assert figure(metrics, "reviver_budget_attempts_used") == 1
    clock.now += 900 - records[1].age
    assert figure(metrics, "reviver_budget_attempts_used") == 0
    fed(metrics, records[4].entry)
    assert figure(metrics, "reviver_steps_total", action="systemd.restart", outcome="done") == 1


def test_a_backoff_of_an_earlier_life_goes_on(metrics: Metrics) -> None:
    common: dict[str, Any] = {"service": "db", "incident": "db-1", "attempt": 1, "strategy": "restart"}
    failed = j.AttemptEnded(**common, outcome="failed", message="", seconds=1.0, retry_in=130.0)
    incident = fold(told(opened("db", "db-1"), j.AttemptStarted(**common, by="reviver", steps=()), failed))
    assert incident is not None
    metrics.restore([incident], [])
    assert figure(metrics, "reviver_backoff_remaining_seconds", service="db") == 130 - 98


def test_a_recovered_incident_of_an_earlier_life_is_not_open(metrics: Metrics) -> None:
    incident = fold(restarted("db", "db-1"))
    assert incident is not None
    metrics.restore([incident], [])
    assert figure(metrics, "reviver_incidents_open", service="db") == 0


def test_open_metrics_carries_the_incident_as_an_exemplar(metrics: Metrics) -> None:
    fed(metrics, *(r.entry for r in restarted("db", "db-1" + "x" * 200)))
    page, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert b'# {incident="db-1xxx' in page
    assert page.endswith(b"# EOF\n")


def test_both_formats_tell_the_same(metrics: Metrics) -> None:
    fed(metrics)
    strict = open_metrics_families(metrics.render("application/openmetrics-text; version=1.0.0")[0].decode())  # type: ignore[no-untyped-call]
    told = {(s.name, frozenset(s.labels.items())): s.value for family in strict for s in family.samples}
    ours = {name: value for name, value in samples(metrics).items() if name[0].startswith("reviver_")}
    assert {name: value for name, value in told.items() if name[0].startswith("reviver_")} == ours


def test_a_name_with_quotes_and_line_breaks_is_one_label(metrics: Metrics) -> None:
    odd = 'a "b" \\ c\nreviver_forged 1'
    fed(metrics, watched((odd, "tcp")), checked(odd, "tcp"))
    held = j.RecoveryHeld(service=odd, guard='"}', reason="odd")
    fed(metrics, held)
    assert figure(metrics, "reviver_checks_total", service=odd, kind="tcp", outcome="healthy") == 1
    assert figure(metrics, "reviver_recovery_held_total", service=odd, guard='"}') == 1
    assert figure(metrics, "reviver_forged") is None


def test_the_plain_page_has_no_created_series(metrics: Metrics) -> None:
    page, content_type = fed(metrics).render("")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"_created" not in page


def test_what_each_strategy_has_earned_is_asked_for_at_each_scrape(metrics: Metrics) -> None:
    views = [TrustView(service="db", strategy="restart", mode="approve", tries=5, cures=4, relapses_1h=1)]
    metrics.trust_is(lambda: views)
    labels = {"service": "db", "strategy": "restart"}
    assert figure(metrics, "reviver_strategy_tries", **labels) == 5
    assert figure(metrics, "reviver_strategy_cures", **labels) == 4
    assert figure(metrics, "reviver_strategy_relapses", **labels, window="1h") == 1
    assert figure(metrics, "reviver_strategy_relapses", **labels, window="24h") == 0
    assert figure(metrics, "reviver_strategy_demoted", **labels) == 0
    views[0] = replace(views[0], demoted="it broke api", relapses_24h=3)
    assert figure(metrics, "reviver_strategy_demoted", **labels) == 1
    assert figure(metrics, "reviver_strategy_relapses", **labels, window="24h") == 3


def test_every_event_is_either_counted_or_known_not_to_be(metrics: Metrics) -> None:
    told_by_others = {j.FaultChanged, j.EvidenceTaken, j.StepNoted, j.VerificationEnded}
    told_by_others |= {j.ServicePaused, j.ServiceResumed, j.RecoveryOrdered, j.RecoveryPlanned}
    told_by_others |= {j.DaemonFrozen, j.DaemonThawed}  # by `Frozen`
    told_by_others |= {j.StrategyDemoted, j.StrategyPromoted, j.CauseFound}
    events = {e.Checked, e.HealthChanged, e.Blip, e.LoopLagged, e.JournalStateChanged, e.ObserverSuspected}
    events |= {e.Frozen, e.MaintenanceChanged, e.ServicesChanged, e.ConfigReloaded, *j.ENTRY_TYPES}
    assert set(metrics._handlers) == events - told_by_others


def test_counting_a_healthy_check_costs_less_than_one_naive_counter_and_histogram(metrics: Metrics) -> None:
    registry = CollectorRegistry()
    counter = Counter("naive", "naive", ("service", "kind", "outcome"), registry=registry)
    histogram = Histogram("naive_seconds", "naive", ("kind",), registry=registry)

    def naive() -> None:
        counter.labels("db", "postgres", "healthy").inc()
        histogram.labels("postgres").observe(0.004)

    event = checked()
    assert seconds_for(lambda: metrics.on_event(event)) < seconds_for(naive)


def seconds_for(work: Callable[[], None]) -> float:
    """The least of several tries, so that a neighbour's load counts little."""

    def once() -> float:
        started = time.process_time()
        for _ in range(2000):
            work()
        return time.process_time() - started

    return min(once() for _ in range(7))
