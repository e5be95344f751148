"""Events to feed: one of every kind, and the checks of many services."""

from collections.abc import Iterator
from typing import Any

from reviver.metrics import Metrics
from reviver.model import events as e
from reviver.model import journal as j
from reviver.model.checks import CheckResult
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.services import Budget
from web.fakes import opened, restarted

REFUSED = Fault(kind=FaultKind.UNREACHABLE, message="connection refused")
MISCONF = Fault(kind=FaultKind.MISCONF, message="can't save")


def watched(*services: tuple[str, str]) -> e.ServicesChanged:
    """The settings name these services, by name and kind."""
    return e.ServicesChanged(added=services, removed=())


def checked(
    service: str = "db", kind: str = "postgres", *, void: bool = False, late: float = 0.0, **result: Any
) -> e.Checked:
    """A service was asked, and was well unless *result* says otherwise."""
    answer = CheckResult(**({"latency": 0.004} | result))
    return e.Checked(service=service, kind=kind, result=answer, fresh=False, late=late, void=void)


def changed(service: str, old: Health, new: Health, fault: Fault | None = None) -> e.HealthChanged:
    """What is believed of a service changed."""
    return e.HealthChanged(service=service, old=old, new=new, fault=fault, failing_for=None if fault is None else 1.0)


def everything() -> Iterator[e.Event]:
    """At least one of each event that counts for a metric."""
    yield watched(("db", "postgres"), ("cache", "redis"))
    yield checked()
    yield checked("cache", "redis", fault=REFUSED)
    yield checked("cache", "redis", unknown="no such file")
    yield checked("cache", "redis", fault=REFUSED, void=True, late=3.0)
    yield e.Blip(service="db", fault=REFUSED, seconds=1.0)
    yield changed("cache", Health.UP, Health.DOWN, REFUSED)
    for record in restarted("db", "db-1"):
        yield record.entry
    yield opened("cache", "cache-1")
    yield j.RecoveryHeld(service="cache", incident="cache-1", guard="budget", reason="spent")
    yield j.IncidentEscalated(service="cache", incident="cache-1", reason="nothing is left")
    yield from _people("cache", "cache-1")
    yield e.Frozen(reason="frozen by ann: a bad feeling")
    yield e.MaintenanceChanged(service="cache", told="until 04:00: storage upgrade")
    yield e.LoopLagged(seconds=0.4)
    yield e.ConfigReloaded(error="")


def _people(service: str, incident: str) -> Iterator[j.Entry]:
    """What is asked of people, or only shown to them."""
    whose: dict[str, Any] = {"service": service, "incident": incident}
    yield j.ApprovalRequested(**whose, strategy="flush", attempt=1, plan=("flush it",), token="t", expires_in=900.0)
    yield j.ApprovalGiven(**whose, by="ann", strategy="flush", token="t")
    yield j.StrategyAbandoned(**whose, strategy="flush", reason="denied by ann")
    yield j.RecoveryObserved(**whose, strategy="restart", plan=("restart it",), asking=False)
    yield j.ObservationJudged(**whose, strategy="restart", verdict=j.Verdict.NOT_NEEDED, seconds=9.0)


def fed(metrics: Metrics, *happened: e.Event) -> Metrics:
    """*metrics*, told of what happened."""
    for event in happened or everything():
        metrics.on_event(event)
    metrics.budget_is(Budget(attempts=5, per=900.0))
    return metrics
