"""The real daemon for tests: started from a settings file of the test's own, killed and started again at will."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from servers import LOOPBACK, free_port, until


class RunningDaemon:
    """One state directory and settings file; the process may come and go."""

    def __init__(self, directory: Path, settings: str, *, inside: Sequence[str] = ()) -> None:
        self.inside = inside
        """A command that runs the daemon elsewhere, such as in a network of its own."""
        self.directory = directory
        self.port = free_port()
        self.config = directory / "reviver.toml"
        self.write(settings)
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, settings: str) -> None:
        """Replace the settings file; ``[daemon]`` is put in front."""
        daemon = (
            f'[daemon]\nlisten = "{LOOPBACK}:{self.port}"\nstate_dir = "{self.directory}/state"\nlog_level = "debug"\n'
        )
        self.config.write_text(settings if "[daemon]" in settings else daemon + settings)

    @property
    def log(self) -> str:
        """What it has logged, in all its lives."""
        return (self.directory / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self, *, ready: bool = True) -> None:
        """Start it; with *ready*, return when every service has been asked."""
        argv = [
            *self.inside,
            "setpriv",
            "--pdeathsig",
            "KILL",
            sys.executable,
            "-m",
            "reviver",
            "run",
            "-c",
            str(self.config),
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: ASYNC220  ms
        if ready:
            await self.ready()

    async def ready(self) -> None:
        """Return when every service has been asked, and the journal can be written."""
        await until(self._ready_or_dead, within=60, what="the daemon is ready")

    async def _ready_or_dead(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the daemon ended:\n{self.log}"
        try:
            async with self.client() as client:
                return (await client.get("/-/ready")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def client(self) -> httpx.AsyncClient:
        """A client of the API; of a daemon that is elsewhere, over the unix socket, which all networks share."""
        if self.inside:
            transport = httpx.AsyncHTTPTransport(uds=str(self.directory / "state/control.sock"))
            return httpx.AsyncClient(base_url="http://localhost", transport=transport, timeout=5)
        return httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{self.port}", trust_env=False, timeout=5)

    async def get(self, path: str) -> Any:
        """The JSON at *path*."""
        async with self.client() as client:
            answer = await client.get(path)
            answer.raise_for_status()
            return answer.json()

    async def service(self, name: str) -> dict[str, Any]:
        """One service as the API shows it."""
        return dict((await self.get("/api/v1/health"))["services"][name])

    async def incidents(self) -> list[dict[str, Any]]:
        """The latest incidents in full, newest first."""
        listed = (await self.get("/api/v1/incidents"))["incidents"]
        return [await self.get(f"/api/v1/incidents/{each['id']}") for each in listed]

    async def recovered(self, *, within: float = 15) -> None:
        """Return when the newest incident has recovered."""

        async def has() -> bool:
            incidents = await self.incidents()
            return bool(incidents) and incidents[0]["state"] == "recovered"

        await self.until(has, within=within, what="the incident is recovered")

    async def health_is(self, name: str, *healths: str, within: float = 15) -> None:
        """Return when *name* has one of *healths*."""

        async def has() -> bool:
            return (await self.service(name))["health"] in healths

        await self.until(has, within=within, what=f"{name} is {' or '.join(healths)}")

    async def until(self, holds: Callable[[], Awaitable[bool]], *, within: float = 15, what: str) -> None:
        """Return when *holds*; show the log if it doesn't."""
        try:
            await until(holds, within=within, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-6000:]}") from None

    async def metric(self, name: str, **labels: str) -> float:
        """The sample of the metric *name* with these labels, in this order."""
        inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
        head = f"{name}{{{inner}}} " if inner else f"{name} "
        async with self.client() as client:
            page = (await client.get("/metrics")).text
        return next(float(line.removeprefix(head)) for line in page.splitlines() if line.startswith(head))

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the command line says."""
        argv = [sys.executable, "-m", "reviver", *arguments, "-c", str(self.config)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)

    def incidents_by_cli(self) -> list[dict[str, Any]]:
        """``reviver incidents --json``."""
        return list(json.loads(self.cli("incidents", "--json").stdout)["incidents"])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            await until(lambda: self._process is None or self._process.poll() is not None)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        await until(lambda: self._process is None or self._process.poll() is not None, within=20, what="it stops")
        return self._process.returncode


@asynccontextmanager
async def running_daemon(directory: Path, settings: str, *, inside: Sequence[str] = ()) -> AsyncIterator[RunningDaemon]:
    """A daemon that is ready."""
    daemon = RunningDaemon(directory, settings, inside=inside)
    try:
        await daemon.start()
        yield daemon
    finally:
        with anyio.CancelScope(shield=True):
            await daemon.kill()
