"""
Serving: our own sockets, uvicorn on them, inside a task group of whoever calls.

No client can hurt the watching: connections are few, requests small, and whoever hasn't finished a request within
half a minute is cut off, be it in asking or in reading the answer.
"""

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

CONNECTIONS_MAX: Final = 64  # of each server; more are cut off at once
REQUEST_WITHIN: Final = 30.0  # seconds from the connection, or the last answer, to the next answer's end
HEAD_MAX: Final = 16 * 1024  # bytes of request line and headers
STOP_WITHIN: Final = 1.0  # seconds that requests under way may still take when the daemon stops
RESOLVE_WITHIN: Final = 5.0  # seconds for the look-up of the name to listen on

HEADERS: Final = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
]

_WHY: Final = {
    errno.EADDRINUSE: "the port is taken by another program; stop that, or change daemon.listen",
    errno.EACCES: "not permitted; ports below 1024 need a privilege: change daemon.listen",
    errno.EADDRNOTAVAIL: "this machine has no such address; change daemon.listen",
}


class CannotListen(OSError):
    """A socket can't be had; the text is a line for an operator."""


async def serve_tcp(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """
    Serve *app* on every address of *host* until cancelled; says the port (of use when *port* is 0) once it listens.

    Raises:
        CannotListen: The text says why and what to do.
    """
    with contextlib.ExitStack() as sockets:
        listening: list[socket.socket] = []
        for family, address in await _addresses(host, port):
            chosen = port or (listening[0].getsockname()[1] if listening else 0)
            listening.append(sockets.enter_context(_tcp_socket(family, address, chosen)))
        await _serve(app, listening, _Connection, listening[0].getsockname()[1], task_status)


async def serve_unix(
    app: ASGIApp,
    path: Path | str,
    *,
    task_status: anyio.abc.TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """
    Serve *app* on a unix socket for our user and group (mode 0660) until cancelled, then take the file away.

    Requests carry ``request.state.peer_uid``.

    Raises:
        CannotListen: The text says why and what to do.
    """
    with _unix_socket(Path(path)) as sock:
        await _serve(app, [sock], _UnixConnection, str(path), task_status)


async def _serve(
    app: ASGIApp,
    sockets: list[socket.socket],
    connection: type["_Connection"],
    where: Any,
    task_status: anyio.abc.TaskStatus[Any],
) -> None:
    config = uvicorn.Config(
        app,
        http=connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,  # a stranger's bad request is no event of ours
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=HEADERS,
        h11_max_incomplete_event_size=HEAD_MAX,
        workers=1,
    )
    server = _Server(config, lambda: task_status.started(where))
    try:
        await server.serve(sockets=sockets)
    finally:
        with anyio.CancelScope(shield=True):
            await server.end()


class _Server(uvicorn.Server):
    """Leaves signals to the daemon, and ends by cancellation alone."""

    def __init__(self, config: uvicorn.Config, started: Any) -> None:
        super().__init__(config)
        self._told_started = started
        self.servers = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._told_started()

    async def main_loop(self) -> None:
        while True:
            await self.on_tick(0)  # renews the Date header, in seconds
            await anyio.sleep(1)

    async def end(self) -> None:
        """Take no more connections, give requests under way a moment, cut off the rest."""
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._all_gone(STOP_WITHIN)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for request in list(self.server_state.tasks):
            request.cancel()
        await self._all_gone(STOP_WITHIN)

    async def _all_gone(self, within: float) -> None:
        with anyio.move_on_after(within):
            while self.server_state.tasks or self.server_state.connections:  # noqa: ASYNC110  uvicorn has no event
                await anyio.sleep(0.005)


class _Connection(H11Protocol):
    """One connection, which can neither be one too many nor last without asking anything."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._expect_an_answer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_an_answer()  # the client must still read it, too

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _expect_an_answer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_WITHIN, self.transport.abort)


class _UnixConnection(_Connection):
    """One connection over the unix socket, whose kernel tells who is at the other end (unix(7), SO_PEERCRED)."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        sock = transport.get_extra_info("socket")
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", credentials)
        self.app_state = {**self.app_state, "peer_uid": uid}
        super().connection_made(transport)


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        with anyio.fail_after(RESOLVE_WITHIN):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise CannotListen(f"{host}:{port}: the name has no answer within {RESOLVE_WITHIN:g} s") from error
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror or error}; change daemon.listen") from error
    return [(family, address[0]) for family, _type, _protocol, _name, address in dict.fromkeys(found)]


def _tcp_socket(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(CONNECTIONS_MAX)
    except OSError as error:
        sock.close()
        why = _WHY.get(error.errno or 0, error.strerror)
        raise CannotListen(f"{address}:{port}: {why}") from error
    return sock


@contextlib.contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            _remove_stale(path)
            # The file's mode is that of the socket less the umask (unix(7)): never wider than wanted, not for a moment.
            os.fchmod(sock.fileno(), 0o660)
            sock.bind(str(path))
            path.chmod(0o660)
            sock.listen(CONNECTIONS_MAX)
            ours = path.stat()
        except CannotListen:
            raise
        except OSError as error:
            raise CannotListen(f"{path}: {error.strerror or error}; change daemon.control_socket") from error
        try:
            yield sock
        finally:
            with contextlib.suppress(FileNotFoundError):
                now = path.stat()
                if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino):
                    path.unlink()


def _remove_stale(path: Path) -> None:
    """Take away what a killed daemon left; a socket that somebody listens on, and anything else, stays."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise CannotListen(f"{path} is no socket; take it away, or change daemon.control_socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)  # a full backlog means that somebody listens, too
        answer = sock.connect_ex(str(path))
    if answer not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise CannotListen(f"{path}: another program listens there; stop it, or change daemon.control_socket")
    path.unlink(missing_ok=True)
