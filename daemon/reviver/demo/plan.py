"""Where everything of one demo is: its folder, its ports, its password. Written down, for its programs to read."""

import json
import os
import random
import secrets
import socket
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
PORTS: Final = range(10_000, 32_000)  # below those that outgoing connections take
LISTENING: Final = ("postgres", "redis", "api", "reviver")
USER: Final = "shop"
DATABASE: Final = "postgres"
STREAM: Final = "orders"
GROUP: Final = "workers"
PACKED: Final = "packed"
_FILE: Final = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One demo."""

    directory: Path
    ports: Mapping[str, int]
    """By the name of the program."""
    password: str
    """Of the database and of the cache: on a shared machine, others can reach their ports."""

    @property
    def password_file(self) -> Path:
        """Where the programs' owners, and nobody else, can read the password."""
        return self.directory / "password"

    @property
    def settings(self) -> Path:
        """Where reviver's settings are."""
        return self.directory / "reviver.toml"

    def log(self, program: str) -> Path:
        """Where *program* says what it has to say."""
        return self.directory / "logs" / f"{program}.log"

    def pidfile(self, program: str) -> Path:
        """Which process *program* is; the first line is for everybody, the second is ``stack``'s."""
        return self.directory / f"{program}.pid"

    def url(self, program: str) -> str:
        """Where *program* answers HTTP."""
        return f"http://{LOOPBACK}:{self.ports[program]}"


def make() -> Plan:
    """A plan for a new demo, in a new temporary folder."""
    directory = Path(tempfile.mkdtemp(prefix="reviver-demo-"))
    directory.chmod(0o711)  # PostgreSQL, which may run as another user, must get through to its own folder
    (directory / "logs").mkdir()
    plan = Plan(directory=directory, ports=_free_ports(), password=secrets.token_urlsafe(18))
    _write_private(plan.password_file, plan.password)
    _write_private(directory / _FILE, json.dumps({"ports": dict(plan.ports), "password": plan.password}))
    return plan


def read(directory: Path) -> Plan:
    """
    The plan of the demo in *directory*.

    Raises:
        FileNotFoundError: There is none, or none any more.
    """
    return Plan(directory=directory, **json.loads((directory / _FILE).read_text(encoding="utf-8")))


def _free_ports() -> dict[str, int]:
    """A port for each; all are held until all are found, so that they differ."""
    found: dict[str, int] = {}
    with ExitStack() as held:
        while len(found) < len(LISTENING):
            port = random.choice(PORTS)  # noqa: S311  no secret
            listener = held.enter_context(socket.socket())
            try:
                listener.bind((LOOPBACK, port))
            except OSError:
                continue
            found[LISTENING[len(found)]] = port
    return found


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
