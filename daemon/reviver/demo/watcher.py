"""reviver itself, as the demo sees it: a daemon with settings, and an API that anybody may ask."""

import string
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final

import anyio
import httpx

from reviver.model.health import Health

from .plan import DATABASE, GROUP, STREAM, USER, Plan

ANSWER_WITHIN: Final = 5.0  # seconds
READY_WITHIN: Final = 30.0
STOP_WITHIN: Final = 5.0
PAUSE: Final = 0.1  # seconds between looks

Service = Mapping[str, Any]
Incident = Mapping[str, Any]


class WatcherError(Exception):
    """reviver isn't there, or doesn't do what it should; the text says what."""


def write_settings(plan: Plan) -> None:
    """Write down what reviver is told, for it and for people to read."""
    template = string.Template(resources.files(__package__).joinpath("reviver.toml").read_text(encoding="utf-8"))
    ports = {f"{program}_port": port for program, port in plan.ports.items()}
    names = {"database": DATABASE, "user": USER, "stream": STREAM, "group": GROUP}
    text = template.substitute(ports, **names, directory=plan.directory, python=sys.executable)
    plan.settings.write_text(text, encoding="utf-8")


class Watcher:
    """The daemon, started for this demo."""

    def __init__(self, plan: Plan) -> None:
        write_settings(plan)
        self._plan = plan
        self._client: httpx.AsyncClient
        with plan.log("reviver").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "reviver", "run", "--config", plan.settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the demo, which ends it
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def health(self) -> Mapping[str, Service]:
        """
        Every service, as ``GET /api/v1/health`` shows it.

        Raises:
            WatcherError: reviver doesn't answer.
        """
        services: Mapping[str, Service] = (await self._get("/api/v1/health"))["services"]
        return services

    async def incidents(self) -> list[Incident]:
        """The latest incidents, newest first, in brief. Raises as ``health``."""
        found: list[Incident] = (await self._get("/api/v1/incidents"))["incidents"]
        return found

    async def incident(self, incident: str) -> Incident:
        """One incident in full. Raises as ``health``."""
        return await self._get(f"/api/v1/incidents/{incident}")

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[None]:
        """
        A block in which it can be asked; begins when it answers.

        Raises:
            WatcherError: It doesn't in time.
        """
        url = self._plan.url("reviver")
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_WITHIN, trust_env=False) as self._client:
            await self._until_it_answers()
            yield

    async def _until_it_answers(self) -> None:
        with anyio.move_on_after(READY_WITHIN):
            while self._process.poll() is None:
                try:
                    await self._client.get("/-/healthy")
                except httpx.TransportError:
                    await anyio.sleep(PAUSE)
                else:
                    return
        raise WatcherError(f"reviver doesn't answer; see {self._plan.log('reviver')}")

    async def _get(self, path: str) -> Mapping[str, Any]:
        try:
            answer = (await self._client.get(path)).raise_for_status()
        except httpx.HTTPError as error:
            ended = "has ended" if self._process.poll() is not None else f"doesn't answer {path} ({error})"
            raise WatcherError(f"reviver {ended}; see {self._plan.log('reviver')}") from error
        found: Mapping[str, Any] = answer.json()
        return found

    def stop(self) -> None:
        """End it, at once if it doesn't end in time."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def all_up(services: Mapping[str, Service]) -> bool:
    """Whether reviver believes every service to be well, and has no incident to close."""
    return all(service["health"] == Health.UP for service in services.values())
