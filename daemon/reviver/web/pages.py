"""What may be read: metrics, liveness, health, incidents. Changes nothing."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reviver import __version__
from reviver.core.explain import explain
from reviver.model.control import Control, ServiceView, TrustView
from reviver.model.health import Health
from reviver.model.incidents import fold
from reviver.model.journal import Journal, Record

from .answers import Json
from .json import (
    INCIDENTS_MAX,
    approval_json,
    explanation_json,
    incident_json,
    incident_summary,
    service_json,
    trust_json,
)

READ_WITHIN = 5.0  # seconds that the journal may take to answer

INDEX = f"""\
reviver {__version__}

GET  /api/v1/openapi.json        all of this, for programs
GET  /metrics                    for Prometheus
GET  /-/healthy  /healthz        200 while the daemon runs
GET  /-/ready    /readyz         200 once every service has been asked, else 503 and why not
GET  /api/v1/health              every service: its health, its fault, what is done about it
GET  /api/v1/approvals           what waits for a person's word, and exactly what would be done
GET  /api/v1/incidents           the latest incidents; ?limit=20&service=NAME
GET  /api/v1/incidents/ID/explain   why each decision was taken, and what comes next; ID may be a service's name
GET  /api/v1/trust               every strategy: its tries, cures, relapses; ?service=NAME
GET  /api/v1/incidents/ID        one incident with its timeline, attempts and evidence
"""

T = TypeVar("T")
W = TypeVar("W")


class Scraped(Protocol):
    """Whoever renders the metrics."""

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type; may be called from another thread."""
        ...


class Pages:
    """
    The pages that only tell.

    What may be long is written in a thread, so that the event loop goes on watching, and by one thread at a time, so
    that many who ask at once can't starve it.
    """

    def __init__(self, control: Control, metrics: Scraped, journal: Journal, index: str) -> None:
        self._control = control
        self._metrics = metrics
        self._journal = journal
        self._index = index
        self._lane = anyio.CapacityLimiter(1)

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/", self.index),
            Route("/metrics", self.metrics),
            Route("/-/healthy", self.healthy),
            Route("/healthz", self.healthy),
            Route("/-/ready", self.ready),
            Route("/readyz", self.ready),
            Route("/api/v1/health", self.health),
            Route("/api/v1/approvals", self.approvals),
            Route("/api/v1/trust", self.trust),
            Route("/api/v1/incidents", self.incidents),
            Route("/api/v1/incidents/{incident}", self.incident),
            Route("/api/v1/incidents/{incident}/explain", self.explain),
        ]

    async def index(self, _request: Request) -> Response:
        """What there is."""
        return PlainTextResponse(self._index)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        accept = request.headers.get("accept", "")
        body, content_type = await self._written(self._metrics.render, accept)
        return Response(body, headers={"content-type": content_type})

    async def healthy(self, _request: Request) -> Response:
        """Whether the event loop turns: whoever reads this knows."""
        return PlainTextResponse("reviver is alive\n")

    async def ready(self, _request: Request) -> Response:
        """Whether every service has been asked and the journal works."""
        reason = self._control.ready()
        return PlainTextResponse(f"not ready: {reason}\n", 503) if reason else PlainTextResponse("reviver is ready\n")

    async def health(self, _request: Request) -> Response:
        """Every service. Always 200: the daemon is well when it can tell that others aren't."""
        shown = (self._control.health(), self._control.frozen(), self._control.observer_suspect())
        return await self._written(_health, shown)

    async def approvals(self, _request: Request) -> Response:
        """What waits for a person's word."""
        return Json({"approvals": [approval_json(view) for view in self._control.approvals()]})

    async def trust(self, request: Request) -> Response:
        """What every strategy has earned."""
        service = request.query_params.get("service")
        if service is not None and service not in self._control.health():
            raise HTTPException(404, f'there is no service "{service}"; GET /api/v1/health lists them')
        return await self._written(_trust, [v for v in self._control.trust() if service in {None, v.service}])

    async def incidents(self, request: Request) -> Response:
        """The newest incidents, newest first."""
        service, limit = request.query_params.get("service"), _limit(request.query_params)
        found = await _within(lambda: self._journal.incidents(limit=limit, service=service))
        return await self._written(_incidents, found)

    async def incident(self, request: Request) -> Response:
        """One incident in full."""
        name = request.path_params["incident"]
        records = await _within(lambda: self._journal.incident(name))
        answer = await self._written(_incident, records)
        if answer is None:
            raise HTTPException(404, f'there is no incident "{name}"; GET /api/v1/incidents lists the latest')
        return answer

    async def explain(self, request: Request) -> Response:
        """Why each decision of an incident was taken; a service's name stands for its latest one."""
        name = request.path_params["incident"]
        records = await _within(lambda: self._journal.incident(name))
        if not records and name in self._control.health():
            latest = await _within(lambda: self._journal.incidents(limit=1, service=name))
            records = latest[0] if latest else []
        answer = await self._written(_explained, records)
        if answer is None:
            raise HTTPException(404, f'there is no incident "{name}"; GET /api/v1/incidents lists the latest')
        return answer

    async def _written(self, write: Callable[[W], T], what: W) -> T:
        return await anyio.to_thread.run_sync(write, what, limiter=self._lane)


def _health(shown: tuple[Mapping[str, ServiceView], str, str]) -> Response:
    views, frozen, observer_suspect = shown
    return Json(
        {
            "frozen": frozen,
            "healthy": all(view.health == Health.UP for view in views.values()),
            "observer_suspect": observer_suspect,
            "services": {name: service_json(view) for name, view in views.items()},
        }
    )


def _trust(views: Sequence[TrustView]) -> Response:
    return Json({"strategies": [trust_json(view) for view in views]})


def _incidents(found: Sequence[Sequence[Record]]) -> Response:
    folded = (fold(records) for records in found)
    return Json({"incidents": [incident_summary(incident) for incident in folded if incident is not None]})


def _incident(records: Sequence[Record]) -> Response | None:
    incident = fold(records)
    return None if incident is None else Json(incident_json(incident))


def _explained(records: Sequence[Record]) -> Response | None:
    explanation = explain(records)
    return None if explanation is None else Json(explanation_json(explanation))


async def _within(read: Callable[[], Awaitable[T]]) -> T:
    try:
        with anyio.fail_after(READ_WITHIN):
            return await read()
    except TimeoutError as error:
        raise HTTPException(503, f"journal: no answer within {READ_WITHIN:g} s; try again") from error


def _limit(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit", "20")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(INCIDENTS_MAX)) else 0
    if not 1 <= number <= INCIDENTS_MAX:
        raise HTTPException(400, f'limit "{text[:40]}": expected a number from 1 to {INCIDENTS_MAX}')
    return number
