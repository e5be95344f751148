"""What is counted by service and by kind, in plain numbers, and how it becomes series when somebody scrapes."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from reviver.model.health import Health
from reviver.model.incidents import IncidentState


class Distribution:
    """A histogram in plain numbers."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and how many were not above them, as the library's family wants them."""
        return list(zip((*map(str, self.bounds), "+Inf"), accumulate(self.counts), strict=True))


@dataclass(slots=True)
class ServiceCounts:
    """All that is counted for one service."""

    kind: str
    latency: Distribution
    """That of its kind, shared."""
    healthy: int = 0
    faulty: int = 0
    unknown: int = 0
    void: int = 0
    blips: int = 0
    escalations: int = 0
    last_latency: float | None = None
    last_at: float | None = None
    health: Health = Health.UNKNOWN
    fault: str = ""
    incident: IncidentState | None = None
    """Only while it is open or handed over."""
    retry_at: float | None = None
    """On the monotonic axis."""
    incidents: Tally[tuple[str, str]] = field(default_factory=Tally)
    attempts: Tally[tuple[str, str]] = field(default_factory=Tally)
    held: Tally[str] = field(default_factory=Tally)


Rows = list[tuple[str, ServiceCounts]]


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def checks(rows: Rows) -> Iterator[Metric]:
    """What came of asking."""
    asked = _counter("reviver_checks_total", "Questions asked, by what came of them.", "service", "kind", "outcome")
    void = _counter(
        "reviver_checks_void_total", "Answers that counted for nothing because reviver itself was late.", "service"
    )
    latency = _gauge("reviver_check_last_latency_seconds", "Latency of the last answer.", "service")
    at = _gauge("reviver_check_last_timestamp_seconds", "Unix time of the last answer.", "service")
    for name, row in rows:
        asked.add_metric((name, row.kind, "healthy"), row.healthy)
        asked.add_metric((name, row.kind, "fault"), row.faulty)
        asked.add_metric((name, row.kind, "unknown"), row.unknown)
        void.add_metric((name,), row.void)
        if row.last_latency is not None and row.last_at is not None:
            latency.add_metric((name,), row.last_latency)
            at.add_metric((name,), row.last_at)
    yield from (asked, void, latency, at)


def health(rows: Rows) -> Iterator[Metric]:
    """What is believed."""
    believed = _gauge(
        "reviver_service_health", "What reviver believes: 1 for the health that holds, else 0.", "service", "health"
    )
    fault = _gauge("reviver_service_fault", "1 for the fault of a service that fails, else absent.", "service", "fault")
    blips = _counter("reviver_blips_total", "Failures that passed before they were confirmed.", "service")
    for name, row in rows:
        for one in Health:
            believed.add_metric((name, one.value), row.health is one)
        if row.fault:
            fault.add_metric((name, row.fault), 1)
        blips.add_metric((name,), row.blips)
    yield from (believed, fault, blips)


def incidents(rows: Rows) -> Iterator[Metric]:
    """What went wrong, and where people are needed."""
    opened = _counter("reviver_incidents_total", "Incidents opened.", "service", "fault", "severity")
    is_open = _gauge(
        "reviver_incidents_open", "Whether its incident is neither recovered nor withdrawn: 1 or 0.", "service"
    )
    escalated = _gauge(
        "reviver_incidents_escalated", "Whether its incident is handed over to people: 1 or 0.", "service"
    )
    escalations = _counter("reviver_escalations_total", "Hand-overs to people.", "service")
    for name, row in rows:
        for labels, count in list(row.incidents.items()):
            opened.add_metric((name, *labels), count)
        is_open.add_metric((name,), row.incident is not None)
        escalated.add_metric((name,), row.incident is IncidentState.ESCALATED)
        escalations.add_metric((name,), row.escalations)
    yield from (opened, is_open, escalated, escalations)


def recoveries(rows: Rows, now: float) -> Iterator[Metric]:
    """What was done about it; *now* on the monotonic axis."""
    attempts = _counter("reviver_attempts_total", "Attempts ended.", "service", "strategy", "outcome")
    held = _counter("reviver_recovery_held_total", "Times that a guard spoke against acting.", "service", "guard")
    backoff = _gauge(
        "reviver_backoff_remaining_seconds", "Until the next attempt may start; 0 while none is waited for.", "service"
    )
    for name, row in rows:
        for labels, count in list(row.attempts.items()):
            attempts.add_metric((name, *labels), count)
        for guard, count in list(row.held.items()):
            held.add_metric((name, guard), count)
        retry_at = row.retry_at
        backoff.add_metric((name,), 0.0 if retry_at is None else max(0.0, retry_at - now))
    yield from (attempts, held, backoff)
