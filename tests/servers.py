"""
Private real servers for tests, on loopback and in temporary folders, ended for certain.

Each is an ``async with`` block for the body of a test; within it a server may be killed, frozen and started again on
the same port and data. A server dies with the process that started it, whatever happens to that.
"""

import atexit
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import asyncpg
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

LOOPBACK = "127.0.0.1"
_handed_out: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randint(10_000, 32_000)
        with socket.socket() as sock, suppress(OSError):
            sock.bind((LOOPBACK, port))
            if port not in _handed_out:
                _handed_out.add(port)
                return port


async def until(holds: Callable[[], bool | Awaitable[bool]], *, within: float = 5.0, what: str = "") -> None:
    """Return as soon as *holds* says so; fail the test if it doesn't within so many seconds."""
    deadline = anyio.current_time() + within
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert anyio.current_time() < deadline, f"not within {within:g} s: {what or holds}"
        await anyio.sleep(0.005)


def children_of(pid: int) -> list[int]:
    """The pids of the direct children of *pid*."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class Server:
    """A server program and its life; what it needs to be asked stands in its subclass."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the main process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return (self.directory / "log").read_text(errors="replace")

    def listens(self) -> bool:
        """Whether its port accepts connections, which says nothing about its answering."""
        with socket.socket() as sock:
            return sock.connect_ex((LOOPBACK, self.port)) == 0

    def argv(self) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    async def answers(self) -> bool:
        """Whether it serves its protocol now."""
        raise NotImplementedError

    async def start(self, *, ready: bool = True) -> None:
        """Start it on its port and data; with *ready*, return when it serves."""
        # It must die with us, or a test run that is killed would leave it behind.
        with (self.directory / "log").open("ab") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", *self.argv()]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: ASYNC220  ms
        if ready:
            await self.wait_ready()

    async def wait_ready(self) -> None:
        """Return when it serves its protocol."""

        async def served_or_dead() -> bool:
            assert self.alive, f"it ended:\n{self.log}"
            return await self.answers()

        await until(served_or_dead, within=20.0, what=f"port {self.port} serves\n{self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process."""
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP to all of its processes: connections are accepted (by the kernel) and nobody answers."""
        _send(signal.SIGSTOP, [self.pid, *children_of(self.pid)])

    def thaw(self) -> None:
        """SIGCONT to all of its processes."""
        _send(signal.SIGCONT, [self.pid, *children_of(self.pid)])

    async def kill(self) -> None:
        """SIGKILL to the main process, and return when it and its children are gone."""
        if not self.alive:
            return
        children = children_of(self.pid)
        self.signal(signal.SIGKILL)
        _send(signal.SIGCONT, children)
        with suppress(AssertionError):  # they end by themselves, unless busy
            await until(lambda: not self.alive and not any(map(_runs, children)), within=1.0)
        _send(signal.SIGKILL, children)
        await until(lambda: not self.alive and not any(map(_runs, children)), what=f"{self.pid}, {children} end")

    async def stop(self) -> None:
        """Stop it in an orderly way, SIGKILL after 5 s, and return when it is gone."""
        if self.alive:
            self.thaw()
            self.signal(signal.SIGINT)
            with suppress(AssertionError):
                await until(lambda: not self.alive)
        await self.kill()

    async def restart(self) -> None:
        """Stop and start it."""
        await self.stop()
        await self.start()


class PostgresServer(Server):
    """A private PostgreSQL; the superuser is ``postgres``, and everybody is trusted unless *hba* says otherwise."""

    bin = Path(max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin")))

    def __init__(self, directory: Path, port: int, settings: tuple[str, ...]) -> None:
        super().__init__(directory, port)
        self.data = directory / "data"
        self.settings = settings
        shutil.copytree(_template_cluster(), self.data, symlinks=True)
        for path in (directory, self.data, *self.data.rglob("*")):
            _give_to_postgres(path)

    @property
    def dsn(self) -> str:
        """Database ``postgres`` as the superuser, over TCP."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"

    def hba(self, *lines: str) -> None:
        """Replace ``pg_hba.conf``; in force from the next start (or reload) on."""
        (self.data / "pg_hba.conf").write_text("".join(f"{line}\n" for line in lines))

    def argv(self) -> list[str]:
        options = (
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            f"unix_socket_directories={self.directory}",
            "fsync=off",
            "shared_buffers=1MB",
            "dynamic_shared_memory_type=mmap",
            *self.settings,
        )
        program = [str(self.bin / "postgres"), "-D", str(self.data), *(part for o in options for part in ("-c", o))]
        return [*_as_postgres(), *program]

    async def connect(self, **how: Any) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection as the superuser (``database=``, ``user=``, … to change that); the caller closes it."""
        defaults: dict[str, Any] = {
            "host": LOOPBACK,
            "port": self.port,
            "user": "postgres",
            "database": "postgres",
            "timeout": 5,
        }
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**(defaults | how))
        return connection

    async def execute(self, *statements: str) -> None:
        """Run each statement by itself, over a connection of its own."""
        connection = await self.connect()
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def answers(self) -> bool:
        try:
            await (await self.connect()).close()
        except asyncpg.TooManyConnectionsError:
            return True
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def forget_shared_memory(self) -> None:
        """Remove the System V segment that a killed server leaves behind."""
        with suppress(FileNotFoundError, IndexError):
            key_and_id = (self.data / "postmaster.pid").read_text().splitlines()[6].split()
            subprocess.run(["ipcrm", "-m", key_and_id[1]], check=False, capture_output=True)


class RedisServer(Server):
    """A private Redis (or Valkey) that saves nothing by itself."""

    def __init__(self, directory: Path, port: int, options: tuple[str, ...], program: str) -> None:
        super().__init__(directory, port)
        self.options = options
        self.program = program
        self.data = directory / "data"
        self.data.mkdir()

    @property
    def url(self) -> str:
        """Database 0, without a user."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def argv(self) -> list[str]:
        defaults = ("--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.data), "--save", "")
        return [self.program, *defaults, "--enable-debug-command", "local", *self.options]

    def client(self, **how: Any) -> redis.asyncio.Redis:
        """A client for the test's own commands: ``async with server.client() as client``."""
        retry = Retry(NoBackoff(), 0)
        defaults: dict[str, Any] = {"host": LOOPBACK, "port": self.port, "socket_timeout": 5}
        return redis.asyncio.Redis(**(defaults | {"retry": retry, "decode_responses": True} | how))

    async def answers(self) -> bool:
        with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            async with await anyio.connect_tcp(LOOPBACK, self.port) as stream:
                await stream.send(b"PING\r\n")
                return (await stream.receive()).startswith((b"+PONG", b"-NOAUTH"))
        return False


@asynccontextmanager
async def running_postgres(*settings: str, hba: tuple[str, ...] = ()) -> AsyncIterator[PostgresServer]:
    """A PostgreSQL that serves; *settings* such as ``"max_connections=5"``."""
    with tempfile.TemporaryDirectory(prefix="reviver-pg-", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory), free_port(), settings)
        if hba:
            server.hba(*hba)
        try:
            await server.start()
            yield server
        finally:
            await _end(server)
            server.forget_shared_memory()


@asynccontextmanager
async def running_redis(*options: str, program: str = "redis-server") -> AsyncIterator[RedisServer]:
    """A Redis that serves; *options* such as ``"--maxclients", "5"``."""
    with tempfile.TemporaryDirectory(prefix="reviver-redis-", ignore_cleanup_errors=True) as directory:
        server = RedisServer(Path(directory), free_port(), options, program)
        try:
            await server.start()
            yield server
        finally:
            await _end(server)


@asynccontextmanager
async def listening(
    serve: Callable[[anyio.abc.SocketStream], Awaitable[None]], *, port: int | None = None
) -> AsyncIterator[int]:
    """The port of a server of the test's own that treats each connection by *serve*, and then closes it."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            async with stream:
                await serve(stream)

    port = port or free_port()
    listener = await anyio.create_tcp_listener(local_host=LOOPBACK, local_port=port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield port
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """The port of a server that accepts and never says a word."""

    async def say_nothing(_stream: anyio.abc.SocketStream) -> None:
        await anyio.sleep_forever()

    async with listening(say_nothing) as port:
        yield port


def make_certificate(folder: Path, name: str) -> None:
    """A self-signed certificate for the loopback address, ``NAME.crt`` and ``NAME.key``; PostgreSQL may read both."""
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{LOOPBACK}", "-days", "2"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*argv, *subject, *files], check=True, capture_output=True)
    for suffix in ("crt", "key"):
        _give_to_postgres(folder / f"{name}.{suffix}")


async def _end(server: Server) -> None:
    """Nothing of *server* runs any more, even if the test was cancelled."""
    with anyio.CancelScope(shield=True):
        await server.kill()


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _runs(pid: int) -> bool:
    """Whether *pid* is there and no zombie; orphans may stay zombies for long, by the grace of PID 1."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["--reuid=postgres", "--regid=postgres", "--init-groups", "--"] if os.geteuid() == 0 else []


def _give_to_postgres(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


@functools.cache
def _template_cluster() -> Path:
    """A data directory fresh from initdb, made once in a process: copying it is ten times as fast."""
    directory = Path(tempfile.mkdtemp(prefix="reviver-pg-template-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    _give_to_postgres(directory)
    data = directory / "data"
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"]
    program = [str(PostgresServer.bin / "initdb"), "-D", str(data), "--data-checksums", *options]
    subprocess.run(["setpriv", *_as_postgres(), *program], check=True, capture_output=True)
    return data
