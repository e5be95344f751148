"""A daemon and a journal that do as they are told, and a clock that stands still, for the rooms that tell."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from reviver.model import journal as j
from reviver.model.control import ApprovalView, ControlRefused, ServiceView, TrustView
from reviver.model.faults import FaultKind
from reviver.model.ports import Outcome

NOW = 1_700_000_000.0


@dataclass
class FakeClock:
    """Stands still until it is told otherwise. As the real one, it tells the monotonic time to the event loop alone."""

    now: float = 1000.0
    unix: float = NOW

    def monotonic(self) -> float:
        anyio.current_time()
        return self.now

    def boottime(self) -> float:
        return self.now

    def boot_id(self) -> str:
        return "the only boot"

    def wall(self) -> float:
        return self.unix


def view(**fields: Any) -> ServiceView:
    """A service that is up, with *fields* changed."""
    well: dict[str, Any] = {
        "kind": "redis",
        "health": "up",
        "fault": None,
        "message": "",
        "since": NOW - 60,
        "latency_seconds": 0.002,
        "checked_at": NOW - 1,
    }
    return ServiceView(**(well | fields))


@dataclass
class FakeControl:
    """Knows the services that it is given, and remembers what it was asked."""

    services: dict[str, ServiceView] = field(default_factory=lambda: {"db": view(kind="postgres"), "cache": view()})
    not_ready: str = ""
    trusted: list[TrustView] = field(default_factory=list)
    refusal: str = ""
    suspect: str = ""
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: Sequence[ApprovalView] = ()
    ice: str = ""

    def health(self) -> Mapping[str, ServiceView]:
        return self.services

    def observer_suspect(self) -> str:
        return self.suspect

    def trust(self) -> Sequence[TrustView]:
        return self.trusted

    def ready(self) -> str:
        return self.not_ready

    async def pause(self, services: Sequence[str], *, by: str, reason: str, seconds: float) -> list[str]:
        names = self._chosen(services)
        self.asked.append(("pause", names, by, reason, seconds))
        self.services |= {name: view(health="paused", paused_until=NOW + seconds) for name in names}
        return names

    async def resume(self, services: Sequence[str], *, by: str) -> list[str]:
        names = self._chosen(services)
        self.asked.append(("resume", names, by))
        return names

    async def recover(self, service: str, *, by: str, strategy: str | None, dry_run: bool) -> str:
        self._chosen([service])
        self.asked.append(("recover", service, by, strategy, dry_run))
        return f"{service}: attempt 1: reviver will restart it"

    def approvals(self) -> Sequence[ApprovalView]:
        return self.waiting

    async def approve(self, service: str, *, by: str, token: str) -> str:
        self._chosen([service])
        self.asked.append(("approve", service, by, token))
        return f"{service}: attempt 1: reviver will restart it"

    async def deny(self, service: str, *, by: str, reason: str) -> str:
        self._chosen([service])
        self.asked.append(("deny", service, by, reason))
        return f'{service}: "restart" is given up in this incident'

    def frozen(self) -> str:
        return self.ice

    def freeze(self, *, by: str, reason: str) -> str:
        self.asked.append(("freeze", by, reason))
        self.ice = f"frozen by {by}: {reason}"
        return self.ice

    def thaw(self, *, by: str) -> str:
        self.asked.append(("thaw", by))
        self.ice = ""
        return self.ice

    async def promote(self, service: str, strategy: str, *, by: str) -> str:
        self._chosen([service])
        self.asked.append(("promote", service, strategy, by))
        return f'"{strategy}" of {service} is trusted again'

    async def reload(self) -> None:
        self._chosen([])
        self.asked.append(("reload",))

    def _chosen(self, services: Sequence[str]) -> list[str]:
        if self.refusal:
            raise ControlRefused(self.refusal)
        for name in services:
            if name not in self.services:
                raise ControlRefused(f'there is no service "{name}"', unknown_service=True)
        return list(services) or list(self.services)


@dataclass
class FakeJournal:
    """Incidents in memory, oldest first."""

    kept: list[list[j.Record]] = field(default_factory=list)
    before_reading: Callable[[], Awaitable[None]] | None = None

    async def append(self, *entries: j.Entry) -> None:
        raise NotImplementedError

    async def unfinished(self) -> Mapping[str, Sequence[j.Record]]:
        raise NotImplementedError

    async def attempts_since(self, seconds: float) -> Sequence[j.Record]:
        raise NotImplementedError

    async def falls_since(self, seconds: float) -> Sequence[j.Record]:
        raise NotImplementedError

    async def history_since(self, seconds: float) -> Sequence[j.Record]:
        raise NotImplementedError

    async def demotions(self) -> Sequence[j.StrategyDemoted]:
        raise NotImplementedError

    async def pauses(self) -> Mapping[str, j.Record]:
        raise NotImplementedError

    async def frozen(self) -> j.DaemonFrozen | None:
        raise NotImplementedError

    async def incidents(self, *, limit: int, service: str | None = None) -> Sequence[Sequence[j.Record]]:
        if self.before_reading is not None:
            await self.before_reading()
        found = [records for records in self.kept if service in {None, records[0].entry.service}]
        return found[::-1][:limit]

    async def incident(self, incident: str) -> Sequence[j.Record]:
        return next((records for records in self.kept if records[0].entry.incident == incident), [])


class FakeMetrics:
    """A page of one line; says which format it was asked for."""

    def __init__(self) -> None:
        self.takes = 0.0  # seconds
        self.rendering = 0

    def render(self, accept: str) -> tuple[bytes, str]:
        self.rendering += 1
        time.sleep(self.takes)
        self.rendering -= 1
        return f"# asked for {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"


def opened(service: str, incident: str, fault: FaultKind = FaultKind.UNREACHABLE) -> j.IncidentOpened:
    """The beginning of an incident."""
    return j.IncidentOpened(
        service=service,
        incident=incident,
        fault=fault,
        message=f"{service}: connection refused",
        certain=False,
        severity=j.Severity.SEV2,
        impact=("api",),
        failing_for=4.5,
        noticed_ago=4.0,
    )


def told(*entries: j.Entry) -> list[j.Record]:
    """*entries* as the journal gives them back, a second apart."""
    return [j.Record(entry=entry, at=NOW + n, age=100.0 - n) for n, entry in enumerate(entries)]


def restarted(service: str, incident: str) -> list[j.Record]:
    """A whole incident: a restart, and well again."""
    common: dict[str, Any] = {"service": service, "incident": incident}
    return told(
        opened(service, incident),
        j.AttemptStarted(**common, attempt=1, strategy="restart", by="reviver", steps=("restart it",)),
        j.EvidenceTaken(**common, attempt=1, evidence={"clients": 97}),
        j.StepStarted(
            **common, attempt=1, step=0, action="systemd.restart", description="restart it", effect="idempotent"
        ),
        j.StepEnded(**common, attempt=1, step=0, outcome=j.StepOutcome.DONE, seconds=1.25, result={"pid": 42}),
        j.VerificationEnded(**common, attempt=1, passed=True, message="passes", seconds=0.5),
        j.AttemptEnded(
            service=common["service"],
            incident=common["incident"],
            attempt=1,
            strategy="restart",
            outcome=Outcome.RECOVERED,
            message="it passes",
            seconds=2.0,
        ),
        j.IncidentRecovered(**common, by="restart", down_for=7.5),
    )
