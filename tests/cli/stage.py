"""A daemon whose every word is known, behind the real control socket; and the commands, run against it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread

from reviver import web
from reviver.cli import main
from reviver.model import journal as j
from reviver.model.control import ApprovalView, ControlRefused, ServiceView, TrustView
from reviver.model.faults import FaultKind

MESSAGE = "127.0.0.1:5432: no answer within 2 s"
INCIDENT = "db-20260301T130211123"
OPENED_AT = 1_772_370_131.1


def view(**changes: object) -> ServiceView:
    """A service that is well, but for *changes*."""
    well = {
        "kind": "redis",
        "health": "up",
        "fault": None,
        "message": "",
        "since": OPENED_AT,
        "latency_seconds": 0.0012,
        "checked_at": OPENED_AT,
    }
    return ServiceView(**(well | changes))  # type: ignore[arg-type]


def services() -> dict[str, ServiceView]:
    """One in recovery, one that is well, one that is held, one that a person has, one that was never asked."""
    return {
        "db": view(
            health="recovering",
            fault="timeout",
            message=MESSAGE,
            latency_seconds=2.0,
            incident=INCIDENT,
            attempt=2,
            strategy="restart",
        ),
        "cache": view(maintenance_until=OPENED_AT + 4e9, maintenance="until 2152-12-12 04:00 CET: weekly vacuum"),
        "api": view(
            health="down",
            fault="dependency_reported_down",
            message="/api/health answers 503: db",
            held="db, which it depends on, is recovering",
        ),
        "tasks": view(health="paused", paused_until=OPENED_AT + 4e9, paused_by="ann", paused_reason="disk swap"),
        "mail": view(health="unknown", since=None, latency_seconds=None, checked_at=None),
    }


@dataclass
class Control:
    """Meets ``model.control.Control``; keeps what it was told."""

    views: Mapping[str, ServiceView] = field(default_factory=services)
    told: list[tuple[object, ...]] = field(default_factory=list)
    refuse: str = ""
    waiting: Sequence[ApprovalView] = ()
    ice: str = ""
    suspect: str = ""
    trusted: Sequence[TrustView] = ()

    def health(self) -> Mapping[str, ServiceView]:
        return self.views

    def observer_suspect(self) -> str:
        return self.suspect

    def trust(self) -> Sequence[TrustView]:
        return self.trusted

    def ready(self) -> str:
        return ""

    async def pause(self, services: Sequence[str], *, by: str, reason: str, seconds: float) -> list[str]:
        self.told.append(("pause", list(services), reason, seconds))
        self.views = {n: replace(v, paused_until=OPENED_AT) for n, v in self.views.items()}
        return self._named(services)

    async def resume(self, services: Sequence[str], *, by: str) -> list[str]:
        self.told.append(("resume", list(services)))
        return self._named(services)

    async def recover(self, service: str, *, by: str, strategy: str | None, dry_run: bool) -> str:
        self.told.append(("recover", service, strategy, dry_run))
        self._named([service])
        return f'{service}: attempt 1, strategy "{strategy or "restart"}": reviver will restart it'

    def approvals(self) -> Sequence[ApprovalView]:
        return self.waiting

    async def approve(self, service: str, *, by: str, token: str) -> str:
        self._named([service])
        self.told.append(("approve", service, token))
        return f"{service}: attempt 1: reviver will restore it"

    async def deny(self, service: str, *, by: str, reason: str) -> str:
        self._named([service])
        self.told.append(("deny", service, reason))
        return f'{service}: "restore" is given up in this incident'

    def frozen(self) -> str:
        return self.ice

    def freeze(self, *, by: str, reason: str) -> str:
        self.ice = f"frozen by {by}: {reason}"
        return self.ice

    def thaw(self, *, by: str) -> str:
        self.ice = "" if not self.ice.startswith("frozen by file") else self.ice
        return self.ice

    async def promote(self, service: str, strategy: str, *, by: str) -> str:
        self.told.append(("promote", service, strategy))
        self._named([service])
        return f'"{strategy}" of {service} is trusted again: its mode is auto'

    async def reload(self) -> None:
        raise NotImplementedError

    def _named(self, services: Sequence[str]) -> list[str]:
        if self.refuse:
            raise ControlRefused(self.refuse)
        for name in services:
            if name not in self.views:
                raise ControlRefused(f'there is no service "{name}"', unknown_service=True)
        return list(services or self.views)


ENTRIES: tuple[tuple[float, j.Entry], ...] = (
    (
        0.0,
        j.IncidentOpened(
            service="db",
            incident=INCIDENT,
            fault=FaultKind.TIMEOUT,
            message=MESSAGE,
            certain=False,
            severity=j.Severity.SEV2,
            impact=("api", "tasks"),
            failing_for=3.1,
            noticed_ago=2.0,
        ),
    ),
    (17.0, j.AttemptStarted(service="db", incident=INCIDENT, attempt=1, strategy="restart", by="reviver", steps=())),
    (
        17.1,
        j.EvidenceTaken(
            service="db",
            incident=INCIDENT,
            attempt=1,
            evidence={"connections": 97, "longest": {"user": "fuse-api", "seconds": 812.4}},
        ),
    ),
    (
        17.2,
        j.StepStarted(
            service="db",
            incident=INCIDENT,
            attempt=1,
            step=0,
            action="systemd.restart",
            description="restart postgresql@15-main.service and wait until systemd reports that the job is done",
            effect="idempotent",
        ),
    ),
    (
        19.4,
        j.StepEnded(
            service="db", incident=INCIDENT, attempt=1, step=0, outcome=j.StepOutcome.DONE, seconds=2.2, error=""
        ),
    ),
    (22.6, j.IncidentRecovered(service="db", incident=INCIDENT, by="restart", down_for=25.7)),
)


@dataclass
class Journal:
    """Meets what the web wants of ``model.journal.Journal``."""

    records: Sequence[j.Record] = tuple(j.Record(entry=e, at=OPENED_AT + after, age=0.0) for after, e in ENTRIES)
    wanted: list[tuple[int, str | None]] = field(default_factory=list)

    async def incidents(self, *, limit: int, service: str | None = None) -> Sequence[Sequence[j.Record]]:
        self.wanted.append((limit, service))
        return [self.records] if self.records else []

    async def incident(self, incident: str) -> Sequence[j.Record]:
        return self.records if incident == INCIDENT else []


@asynccontextmanager
async def daemon(socket: Path, control: Control, journal: Journal) -> AsyncIterator[None]:
    """The web's own control app on *socket*, as long as the block lasts."""
    shown = web.Shown(control=control, metrics=None, journal=journal)  # type: ignore[arg-type]
    async with anyio.create_task_group() as group:
        await group.start(web.serve_unix, web.control_app(shown), socket)
        yield
        group.cancel_scope.cancel()


async def reviver(*arguments: str) -> int:
    """The exit code of the command, which knows nothing of our event loop."""
    return await anyio.to_thread.run_sync(main, arguments)
