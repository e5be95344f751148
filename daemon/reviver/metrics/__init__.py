"""
What Prometheus sees of reviver: a subscriber that counts events, and the page that shows the counts.

What is counted for each service is plain numbers in a row of its own, made into series only when somebody scrapes:
a healthy check costs about a microsecond, and a service that the settings no longer name takes its series along.
``docs/metrics.md`` lists every metric with its meaning.
"""

import platform
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from reviver import __version__
from reviver.core.decide import ITSELF
from reviver.core.suspicion import Reason
from reviver.model import events as e
from reviver.model import journal as j
from reviver.model.control import TrustView
from reviver.model.health import Health
from reviver.model.incidents import REVIVER, Incident, IncidentState
from reviver.model.ports import Clock
from reviver.model.services import Budget

from . import families
from .families import Distribution, Page, ServiceCounts, label_pair

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LATENESS_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DETECTION_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0)
RECOVERY_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)

_OPEN: Final = frozenset({IncidentState.OPEN, IncidentState.ESCALATED})


class Metrics:
    """
    Counts events, and renders the counts.

    ``on_event`` is for the event loop's thread; ``render`` may run in another, where it holds nobody up. The clock's
    monotonic time can't be had there, so what is counted down here goes by the time since boot.
    """

    def __init__(self, clock: Clock) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else each histogram grows a `_created` gauge
        self._registry = CollectorRegistry()
        self._clock = clock
        self._services: dict[str, ServiceCounts] = {}
        self._latency: dict[str, Distribution] = {}
        self._lateness = Distribution(LATENESS_BUCKETS)
        self._actions: dict[str, str] = {}
        self._budget: Budget | None = None
        self._attempts_at: deque[float] = deque(maxlen=10_000)
        self._unspent: dict[str, float] = {}
        self._left: dict[str, Incident] = {}
        self._trust: Callable[[], Sequence[TrustView]] = tuple
        self._define()
        self._handlers: Mapping[type, Callable[[Any], object]] = {
            e.Checked: self._checked,
            e.HealthChanged: self._health_changed,
            e.Blip: self._blip,
            e.LoopLagged: lambda event: self._loop_lag.observe(event.seconds),
            e.JournalStateChanged: lambda event: self._journal_writable.set(event.writable),
            e.ObserverSuspected: self._observer_suspected,
            e.Frozen: lambda event: self._frozen.set(bool(event.reason)),
            e.MaintenanceChanged: self._maintenance_changed,
            e.ServicesChanged: self._services_changed,
            e.ConfigReloaded: self._config_reloaded,
            j.IncidentOpened: self._incident_opened,
            j.IncidentReopened: lambda event: self._incident_is(event, IncidentState.OPEN),
            j.IncidentEscalated: self._incident_escalated,
            j.IncidentRecovered: self._incident_recovered,
            j.IncidentWithdrawn: lambda event: self._incident_is(event, None),
            j.RecoveryHeld: self._recovery_held,
            j.ApprovalRequested: self._approval_requested,
            j.ApprovalGiven: self._approval_given,
            j.StrategyAbandoned: self._strategy_abandoned,
            j.RecoveryObserved: self._recovery_observed,
            j.ObservationJudged: self._observation_judged,
            j.AttemptStarted: self._attempt_started,
            j.AttemptEnded: self._attempt_ended,
            j.StepStarted: self._step_started,
            j.StepEnded: self._step_ended,
        }

    def on_event(self, event: e.Event) -> None:
        """Count *event*; the subscriber."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def restore(self, incidents: Iterable[Incident], attempts: Iterable[j.Record]) -> None:
        """
        Take over what an earlier life of the daemon left: its unfinished incidents, and the ``attempt_started``
        records that still count for the budget.
        """
        for incident in incidents:
            row = self._services.get(incident.service)
            if row is None:
                self._left[incident.service] = incident
            else:
                self._take_over(row, incident)
            for step in (step for attempt in incident.attempts for step in attempt.steps if step.outcome is None):
                self._actions[incident.service] = step.action
        now = self._clock.boottime()
        ages = (r.age for r in attempts if isinstance(r.entry, j.AttemptStarted) and r.entry.by == REVIVER)
        self._attempts_at.extend(sorted(now - age for age in ages))

    def _take_over(self, row: ServiceCounts, incident: Incident) -> None:
        if incident.state in _OPEN:
            row.incident = incident.state
        if incident.approval is not None:
            row.asked_until = self._clock.boottime() + incident.approval.expires_in
        last = incident.attempts[-1] if incident.attempts else None
        if incident.state is IncidentState.OPEN and last is not None and last.retry_in and last.ended_age is not None:
            row.retry_at = self._clock.boottime() - last.ended_age + last.retry_in

    def budget_is(self, budget: Budget) -> None:
        """Tell the budget over all services, at the start and after a reload."""
        self._budget = budget

    def trust_is(self, trust: Callable[[], Sequence[TrustView]]) -> None:
        """Tell who knows what each strategy has earned, when somebody scrapes; asked in the scraping thread."""
        self._trust = trust

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, in the format that the ``Accept`` header asks for."""
        encoder, content_type = choose_encoder(accept)
        page = Page(openmetrics=content_type.startswith("application/openmetrics-text"))
        self._write(page)
        return bytes(page) + encoder(self._registry), content_type

    def _define(self) -> None:
        def gauge(name: str, text: str, value: float) -> Gauge:
            defined = Gauge(name, text, registry=self._registry)
            defined.set(value)
            return defined

        ProcessCollector(registry=self._registry)
        build = Info("reviver_build", "The running program's version; the value is always 1.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._journal_writable = gauge("reviver_journal_writable", "Whether the journal can be written: 1 or 0.", 1)
        self._observer_suspect = gauge(
            "reviver_observer_suspect", "Whether reviver suspects itself, which holds recovery: 1 or 0.", 0
        )
        self._frozen = gauge("reviver_frozen", "Whether a person has frozen all recovery: 1 or 0.", 0)
        self._observer_confirmed = gauge(
            "reviver_observer_suspect_confirmed", "Whether the tie-break confirms that failures are real: 1 or 0.", 0
        )
        self._observer_reasons = Gauge(
            "reviver_observer_suspect_reason",
            "Why reviver suspects itself: 1 for each reason that holds, else 0.",
            ("reason",),
            registry=self._registry,
        )
        for reason in Reason:
            self._observer_reasons.labels(reason).set(0)
        self._reload_successful = gauge(
            "reviver_config_last_reload_successful", "Whether the last reading of the settings went well: 1 or 0.", 1
        )
        self._reload_at = gauge(
            "reviver_config_last_reload_success_timestamp_seconds",
            "Unix time at which the settings in force were read.",
            self._clock.wall(),
        )
        self._loop_lag = Histogram(
            "reviver_loop_lag_seconds",
            "How late reviver's own event loop was, each time that it was noticeably late.",
            buckets=LATENESS_BUCKETS,
            registry=self._registry,
        )
        self._steps = Counter(
            "reviver_steps_total", "Steps ended, by action and outcome.", ("action", "outcome"), registry=self._registry
        )

        self._detection = Histogram(
            "reviver_detection_seconds",
            "From the first failed question to the confirmed verdict, for each incident opened.",
            buckets=DETECTION_BUCKETS,
            registry=self._registry,
        )
        self._recovery = Histogram(
            "reviver_recovery_seconds",
            "From the first failure to the verified recovery, by what brought it: a strategy, or the service itself.",
            ("by",),
            buckets=RECOVERY_BUCKETS,
            registry=self._registry,
        )

    # What happens to one check: the hot path.

    def _checked(self, event: e.Checked) -> None:
        row = self._services.get(event.service)
        if row is None:  # removed by a reload while the question was under way
            return
        if row.kind != event.kind:  # a reload has given it another check
            row.kind, row.latency = event.kind, self._latency.setdefault(event.kind, Distribution(LATENCY_BUCKETS))
        result = event.result
        row.last_latency = result.latency
        row.last_at = self._clock.wall()
        row.latency.observe(result.latency)
        self._lateness.observe(event.late)
        if event.void:
            row.void += 1
        if result.fault is not None:
            row.faulty += 1
            if not event.void:
                row.fault = result.fault.kind
        elif result.unknown is not None:
            row.unknown += 1
        else:
            row.healthy += 1
            if row.fault and row.health in {Health.UP, Health.PAUSED}:
                row.fault = ""

    def _health_changed(self, event: e.HealthChanged) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.health = event.new
            row.fault = "" if event.fault is None else event.fault.kind

    def _blip(self, event: e.Blip) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.blips += 1

    def _maintenance_changed(self, event: e.MaintenanceChanged) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.maintenance = bool(event.told)

    def _services_changed(self, event: e.ServicesChanged) -> None:
        added = dict(event.added)
        for name in event.removed:
            if name not in added:
                self._services.pop(name, None)
        for name, kind in added.items():
            row = self._services.get(name)
            if row is None or row.kind != kind:
                distribution = self._latency.setdefault(kind, Distribution(LATENCY_BUCKETS))
                row = ServiceCounts(label_pair("service", name), kind, distribution)
                self._services[name] = row
                if name in self._left:
                    self._take_over(row, self._left.pop(name))
        for kind in self._latency.keys() - {row.kind for row in self._services.values()}:
            del self._latency[kind]

    def _observer_suspected(self, event: e.ObserverSuspected) -> None:
        self._observer_suspect.set(bool(event.reason))
        self._observer_confirmed.set(event.confirmed)
        for reason in Reason:
            self._observer_reasons.labels(reason).set(reason in event.reasons)

    def _config_reloaded(self, event: e.ConfigReloaded) -> None:
        self._reload_successful.set(not event.error)
        if not event.error:
            self._reload_at.set(self._clock.wall())

    # What happens to an incident.

    def _incident_is(self, event: j.Entry, state: IncidentState | None) -> ServiceCounts | None:
        row = self._services.get(event.service)
        if row is not None:
            row.incident = state
            row.retry_at = None
            row.asked_until = None
        return row

    def _incident_opened(self, event: j.IncidentOpened) -> None:
        self._detection.observe(event.failing_for, {"incident": event.incident[:100]})
        row = self._incident_is(event, IncidentState.OPEN)
        if row is not None:
            row.incidents[_labels(fault=event.fault, severity=event.severity)] += 1

    def _incident_escalated(self, event: j.IncidentEscalated) -> None:
        row = self._incident_is(event, IncidentState.ESCALATED)
        if row is not None:
            row.escalations += 1

    def _incident_recovered(self, event: j.IncidentRecovered) -> None:
        by = ITSELF if event.by == ITSELF else "strategy"
        self._recovery.labels(by).observe(event.down_for, {"incident": event.incident[:100]})
        self._incident_is(event, None)

    def _recovery_held(self, event: j.RecoveryHeld) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.held[_labels(guard=event.guard)] += 1

    def _approval_requested(self, event: j.ApprovalRequested) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.approvals[_labels(what="requested")] += 1
            row.asked_until = self._clock.boottime() + event.expires_in

    def _approval_given(self, event: j.ApprovalGiven) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.approvals[_labels(what="given")] += 1

    def _strategy_abandoned(self, event: j.StrategyAbandoned) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.abandoned[_labels(strategy=event.strategy)] += 1
            row.asked_until = None

    def _recovery_observed(self, event: j.RecoveryObserved) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.observed[_labels(strategy=event.strategy)] += 1

    def _observation_judged(self, event: j.ObservationJudged) -> None:
        row = self._services.get(event.service)
        if row is not None:
            row.judged[_labels(strategy=event.strategy, verdict=event.verdict)] += 1

    def _attempt_started(self, event: j.AttemptStarted) -> None:
        self._incident_is(event, IncidentState.OPEN)
        if event.by == REVIVER:
            self._unspent[event.service] = self._clock.boottime()

    def _attempt_ended(self, event: j.AttemptEnded) -> None:
        self._unspent.pop(event.service, None)
        row = self._services.get(event.service)
        if row is not None:
            row.attempts[_labels(strategy=event.strategy, outcome=event.outcome)] += 1
            row.retry_at = None if event.retry_in is None else self._clock.boottime() + event.retry_in

    def _step_started(self, event: j.StepStarted) -> None:
        self._actions[event.service] = event.action
        started = self._unspent.pop(event.service, None)
        if started is not None:  # the budget counts attempts that came to a step
            self._attempts_at.append(started)

    def _step_ended(self, event: j.StepEnded) -> None:
        self._steps.labels(self._actions.pop(event.service, "unknown"), event.outcome).inc()

    # The page. Each `list(…)` is one step for the other thread, so nothing changes under its feet.

    def _write(self, page: Page) -> None:
        rows = list(self._services.values())
        families.checks(page, rows)
        families.health(page, rows)
        families.incidents(page, rows)
        families.recoveries(page, rows, self._clock.boottime())
        families.approvals(page, rows, self._clock.boottime())
        families.ladders(page, rows)
        families.trust(page, self._trust())
        self._write_distributions(page)
        if self._budget is not None:
            self._write_budget(page, self._budget)

    def _write_distributions(self, page: Page) -> None:
        name = "reviver_check_latency_seconds"
        kinds = list(self._latency.items())
        lines = (line for kind, d in kinds for line in d.lines(name, label_pair("kind", kind)))
        page.metric(name, "histogram", "From the question to the answer, or to giving up.", lines)
        name = "reviver_check_lateness_seconds"
        page.metric(name, "histogram", "How long after its due time a question was asked.", self._lateness.lines(name))

    def _write_budget(self, page: Page, budget: Budget) -> None:
        name, text = "reviver_budget_attempts", "Attempts that reviver may make by itself in the budget's window."
        page.metric(name, "gauge", text, [f"{name} {budget.attempts}\n"])
        window_began = self._clock.boottime() - budget.per
        used = sum(at > window_began for at in list(self._attempts_at))
        name, text = "reviver_budget_attempts_used", "Attempts that reviver made by itself in the budget's window."
        page.metric(name, "gauge", text, [f"{name} {used}\n"])


def _labels(**labels: str) -> str:
    return ",".join(label_pair(name, value) for name, value in labels.items())
