"""The applications on real sockets, as ``async with`` blocks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp

from reviver.web import Shown, control_app, public_app, serve_tcp, serve_unix
from servers import LOOPBACK
from web.fakes import FakeControl, FakeJournal, FakeMetrics


class Daemon:
    """What the web shows."""

    def __init__(self) -> None:
        self.control = FakeControl()
        self.journal = FakeJournal()
        self.metrics = FakeMetrics()

    @property
    def shown(self) -> Shown:
        return Shown(control=self.control, metrics=self.metrics, journal=self.journal)


def a_client(base_url: str = "", unix: Path | None = None) -> httpx.AsyncClient:
    """A client without proxies, and without TLS: loading certificates would take a third of a test's time."""
    transport = httpx.AsyncHTTPTransport(uds=None if unix is None else str(unix), verify=False)
    return httpx.AsyncClient(transport=transport, base_url=base_url, trust_env=False)


@asynccontextmanager
async def on_tcp(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app* on a free loopback port."""
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_tcp, app, LOOPBACK, 0)
        async with a_client(f"http://{LOOPBACK}:{port}") as client:
            yield client
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def on_unix(app: ASGIApp, path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app* on a unix socket."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_unix, app, path)
        async with a_client("http://localhost", unix=path) as client:
            yield client
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def public(daemon: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the public application."""
    async with on_tcp(public_app(daemon.shown)) as client:
        yield client


@asynccontextmanager
async def controlled(daemon: Daemon, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control application."""
    async with on_unix(control_app(daemon.shown), directory / "control.sock") as client:
        yield client


def detail(response: httpx.Response) -> Any:
    """What a problem says; fails the test if it isn't one."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code
    assert set(problem) == {"type", "title", "status", "detail"}
    return problem["detail"]
