"""
What is counted by service and by kind, in plain numbers, and how it becomes text when somebody scrapes.

Written by hand and not by the library, which takes ten times as long: with thousands of services that would be
among the most that the daemon does. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from reviver.model.control import TrustView
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

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """The samples of the histogram *name*; *labels* as ``label_pair`` gives them, joined."""
        counts = list(accumulate(list(self.counts)))
        inner, outer = (f"{labels},", f"{{{labels}}}") if labels else ("", "")
        for bound, count in zip((*self.bounds, "+Inf"), counts, strict=True):
            yield f'{name}_bucket{{{inner}le="{bound}"}} {count}\n'
        yield f"{name}_count{outer} {counts[-1]}\n"
        yield f"{name}_sum{outer} {self.sum}\n"


@dataclass(slots=True)
class ServiceCounts:
    """All that is counted for one service."""

    label: str
    """Its name as ``label_pair`` gives it."""
    kind: str
    latency: Distribution
    """That of its kind, shared."""
    healthy: int = 0
    faulty: int = 0
    unknown: int = 0
    void: int = 0
    blips: int = 0
    escalations: int = 0
    last_latency: float = 0.0
    last_at: float | None = None
    """Unix time; ``None`` until first asked."""
    health: Health = Health.UNKNOWN
    fault: str = ""
    maintenance: bool = False
    incident: IncidentState | None = None
    """Only while it is open or handed over."""
    retry_at: float | None = None
    """Seconds since boot."""
    asked_until: float | None = None
    """Until when a request for approval waits; seconds since boot."""
    incidents: Tally[str] = field(default_factory=Tally)
    """By the labels of the series but the service's; those below, too."""
    attempts: Tally[str] = field(default_factory=Tally)
    held: Tally[str] = field(default_factory=Tally)
    approvals: Tally[str] = field(default_factory=Tally)
    abandoned: Tally[str] = field(default_factory=Tally)
    observed: Tally[str] = field(default_factory=Tally)
    judged: Tally[str] = field(default_factory=Tally)


Rows = list[ServiceCounts]


def label_pair(name: str, value: str) -> str:
    """A label as it stands between the braces."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


class Page:
    """The page's text, metric by metric."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self._parts: list[str] = []

    def metric(self, name: str, kind: str, text: str, lines: Iterable[str]) -> None:
        """Append the metric *name* with its samples."""
        headed = name.removesuffix("_total") if self._openmetrics else name
        self._parts.append(f"# HELP {headed} {text}\n# TYPE {headed} {kind}\n")
        self._parts.extend(lines)

    def by_service(self, name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> None:
        """Append the metric *name*; *values* by labels."""
        self.metric(name, kind, text, (f"{name}{{{labels}}} {value}\n" for labels, value in values))

    def __bytes__(self) -> bytes:
        return "".join(self._parts).encode()


def checks(page: Page, rows: Rows) -> None:
    """What came of asking."""
    page.by_service(
        "reviver_checks_total",
        "counter",
        "Questions asked, by what came of them.",
        (
            (f'{row.label},{label_pair("kind", row.kind)},outcome="{outcome}"', count)
            for row in rows
            for outcome, count in (("healthy", row.healthy), ("fault", row.faulty), ("unknown", row.unknown))
        ),
    )
    page.by_service(
        "reviver_checks_void_total",
        "counter",
        "Failures that counted for nothing because reviver itself was late.",
        ((row.label, row.void) for row in rows),
    )
    page.by_service(
        "reviver_check_last_latency_seconds",
        "gauge",
        "Latency of the last answer.",
        ((row.label, row.last_latency) for row in rows if row.last_at is not None),
    )
    page.by_service(
        "reviver_check_last_timestamp_seconds",
        "gauge",
        "Unix time of the last answer.",
        ((row.label, row.last_at) for row in rows if row.last_at is not None),
    )


def health(page: Page, rows: Rows) -> None:
    """What is believed."""
    names = [(one, label_pair("health", one)) for one in Health]
    page.by_service(
        "reviver_service_health",
        "gauge",
        "What reviver believes: 1 for the health that holds, else 0.",
        ((f"{row.label},{name}", int(row.health is one)) for row in rows for one, name in names),
    )
    page.by_service(
        "reviver_service_fault",
        "gauge",
        "1 for the fault of a service that fails, else absent.",
        ((f"{row.label},{label_pair('fault', row.fault)}", 1) for row in rows if row.fault),
    )
    page.by_service(
        "reviver_service_maintenance",
        "gauge",
        "Whether a maintenance window is under way, so that recovery is held: 1 or 0.",
        ((row.label, int(row.maintenance)) for row in rows),
    )
    page.by_service(
        "reviver_blips_total",
        "counter",
        "Failures that passed before they were confirmed.",
        ((row.label, row.blips) for row in rows),
    )


def incidents(page: Page, rows: Rows) -> None:
    """What went wrong, and where people are needed."""
    page.by_service(
        "reviver_incidents_total",
        "counter",
        "Incidents opened.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.incidents.items())),
    )
    page.by_service(
        "reviver_incidents_open",
        "gauge",
        "Whether its incident is neither recovered nor withdrawn: 1 or 0.",
        ((row.label, int(row.incident is not None)) for row in rows),
    )
    page.by_service(
        "reviver_incidents_escalated",
        "gauge",
        "Whether its incident is handed over to people: 1 or 0.",
        ((row.label, int(row.incident is IncidentState.ESCALATED)) for row in rows),
    )
    page.by_service(
        "reviver_escalations_total",
        "counter",
        "Hand-overs to people.",
        ((row.label, row.escalations) for row in rows),
    )


def recoveries(page: Page, rows: Rows, now: float) -> None:
    """What was done about it; *now* in seconds since boot."""
    page.by_service(
        "reviver_attempts_total",
        "counter",
        "Attempts ended.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.attempts.items())),
    )
    page.by_service(
        "reviver_recovery_held_total",
        "counter",
        "Times that a guard spoke against acting.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.held.items())),
    )
    page.by_service(
        "reviver_backoff_remaining_seconds",
        "gauge",
        "Until the next attempt may start; 0 while none is waited for.",
        ((row.label, _remaining(row.retry_at, now)) for row in rows),
    )


def approvals(page: Page, rows: Rows, now: float) -> None:
    """What waits for a person's word; *now* in seconds since boot."""
    page.by_service(
        "reviver_approval_waiting",
        "gauge",
        "Whether a request for approval waits for a person: 1 or 0.",
        ((row.label, int(_remaining(row.asked_until, now) > 0)) for row in rows),
    )
    page.by_service(
        "reviver_approvals_total",
        "counter",
        "Approvals, by whether they were requested or given.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.approvals.items())),
    )


def ladders(page: Page, rows: Rows) -> None:
    """What was passed over, and what was only observed."""
    page.by_service(
        "reviver_strategies_abandoned_total",
        "counter",
        "Strategies passed over for the rest of an incident.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.abandoned.items())),
    )
    page.by_service(
        "reviver_recoveries_observed_total",
        "counter",
        "Attempts that were only observed, and not made.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.observed.items())),
    )
    page.by_service(
        "reviver_observations_judged_total",
        "counter",
        "Attempts that were only observed, by whether they would have been of use.",
        ((f"{row.label},{labels}", count) for row in rows for labels, count in list(row.judged.items())),
    )


def trust(page: Page, views: Sequence[TrustView]) -> None:
    """What each strategy has earned."""
    rows = [(f"{label_pair('service', v.service)},{label_pair('strategy', v.strategy)}", v) for v in views]
    page.by_service(
        "reviver_strategy_tries",
        "gauge",
        "Attempts of the last 90 days that came to a step.",
        ((labels, view.tries) for labels, view in rows),
    )
    page.by_service(
        "reviver_strategy_cures", "gauge", "Those that were verified.", ((labels, view.cures) for labels, view in rows)
    )
    page.by_service(
        "reviver_strategy_relapses",
        "gauge",
        "Those after which the service fell again within an hour, or a day.",
        (
            (f'{labels},window="{window}"', count)
            for labels, view in rows
            for window, count in (("1h", view.relapses_1h), ("24h", view.relapses_24h))
        ),
    )
    page.by_service(
        "reviver_strategy_demoted",
        "gauge",
        "Whether it has lost trust and needs a person's approval: 1 or 0.",
        ((labels, int(bool(view.demoted))) for labels, view in rows),
    )


def _remaining(at: float | None, now: float) -> float:
    return 0 if at is None else max(0.0, at - now)
