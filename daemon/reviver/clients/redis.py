"""
Redis, asked over connections of its own: without retries, within a deadline, and with a kept connection whose end is
noticed while nothing is asked.

redis-py 8 retries ten times by default, which hides flapping, hangs far beyond its timeouts and writes twice; and it
reads only while it waits for a reply. So this room uses its connections alone, never its clients and pools, and each
connection has a reader of its own.
"""

import math
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import anyio
import anyio.abc
from pydantic import AfterValidator
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004  told apart from the built-in one by its import
    InvalidResponse,
    RedisError,
    ResponseError,
)

from reviver.model.checks import CheckContext
from reviver.model.faults import NOTHING, Fault, FaultKind, JsonValue
from reviver.model.secrets import Redactor, Secret

from . import net

REPLY_MAX: Final = 32 * 1024 * 1024
"""Bytes of one reply, several times ``CLIENT LIST`` of ten thousand clients."""

Command = tuple[str | int, ...]

_BY_CODE: Final = {
    "NOAUTH": FaultKind.AUTH_FAILED,
    "WRONGPASS": FaultKind.AUTH_FAILED,
    "NOPERM": FaultKind.AUTH_FAILED,
    "DENIED": FaultKind.AUTH_FAILED,  # protected mode
    "LOADING": FaultKind.LOADING,
    "MISCONF": FaultKind.MISCONF,
    "OOM": FaultKind.OUT_OF_MEMORY,
    "READONLY": FaultKind.READ_ONLY_REPLICA,
    "BUSY": FaultKind.BLOCKED_BY_SCRIPT,
    "MASTERDOWN": FaultKind.REPLICATION_BROKEN,
    "CLUSTERDOWN": FaultKind.CLUSTER_DOWN,
}
FAULTS: Final = frozenset(_BY_CODE.values()) | {
    FaultKind.UNREACHABLE,
    FaultKind.NAME_UNRESOLVED,
    FaultKind.TIMEOUT,
    FaultKind.TLS_INVALID,
    FaultKind.TOO_MANY_CLIENTS,
    FaultKind.BAD_PROTOCOL,
    FaultKind.BAD_BODY,
}
"""Every fault that ``Target.explain`` may name."""

_MEANING: Final = {
    FaultKind.AUTH_FAILED: "reviver's login is refused",
    FaultKind.LOADING: "it loads its data; wait",
    FaultKind.MISCONF: "it refuses writes because it can't persist them",
    FaultKind.OUT_OF_MEMORY: "it refuses writes because maxmemory is used up",
    FaultKind.READ_ONLY_REPLICA: "it is a read-only replica",
    FaultKind.BLOCKED_BY_SCRIPT: "a script runs and nothing else is served; SCRIPT KILL ends one that has not written",
    FaultKind.REPLICATION_BROKEN: "it has lost its primary and serves no stale data",
    FaultKind.CLUSTER_DOWN: "its cluster does not serve all slots",
    FaultKind.TOO_MANY_CLIENTS: "new clients are refused, for maxclients is reached",
}
FAILURES: Final = (RedisError, OSError, ValueError, RecursionError)
"""What asking may raise; the last two come of replies that no Redis would give."""


def _checked_url(url: str) -> str:
    try:
        arguments = parse_url(url)
    except ValueError as error:
        raise ValueError(f"{error}; expected redis://HOST:PORT/DB, rediss://… or unix:///PATH") from None
    if "host" not in arguments and "path" not in arguments:
        raise ValueError("expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=N")
    known = {"host", "port", "path", "db", "username", "password", "connection_class"}
    unknown = sorted(name for name in arguments if name not in known and not name.startswith("ssl_"))
    if unknown:
        raise ValueError(f"the URL's option {unknown[0]!r} is not supported; reviver sets its own deadlines")
    return url


RedisUrl = Annotated[str, AfterValidator(_checked_url)]
"""A field of a kind: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with ``ssl_…`` options and ``db``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One Redis and how to log in to it."""

    endpoint: net.Endpoint
    arguments: Mapping[str, Any] = field(repr=False)
    redact: Redactor = field(repr=False)

    @staticmethod
    def of(url: str, *, username: str | None = None, password: Secret | None = None) -> "Target":
        """The Redis at *url*; *username* and *password* win over those in it."""
        arguments: dict[str, Any] = {**parse_url(url)}
        if username is not None:
            arguments["username"] = username
        if password is not None:
            arguments["password"] = password.reveal()
        arguments.setdefault("port", 6379)
        endpoint = net.Endpoint(arguments.get("path") or arguments["host"], arguments["port"])
        redact = Redactor([Secret(arguments["password"])] if "password" in arguments else [])
        return Target(endpoint=endpoint, arguments=arguments, redact=redact)

    def __str__(self) -> str:
        return f"Redis {self.endpoint}"

    async def connect(self, address: str) -> AbstractConnection:
        """
        A connection to *address* of its host, logged in; it neither retries nor times out: the deadline is its user's.

        Raises one of ``FAILURES``.
        """
        connection = self._connection(address)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _connection(self, address: str) -> AbstractConnection:
        arguments = dict(self.arguments)
        kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        if self.endpoint.is_unix:
            del arguments["port"]
        elif kind is not SSLConnection:  # a certificate is for the name
            arguments["host"] = address
        return kind(
            **arguments,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
            parser_class=_Parser,
            driver_info=None,
            decode_responses=True,
            encoding_errors="replace",
        )

    def explain(self, error: Exception, details: Mapping[str, JsonValue] = NOTHING) -> Fault | str:
        """What *error*, raised while asking, says about the Redis; a text if it says nothing about it."""
        if isinstance(error, TimeoutError):
            return Fault(kind=FaultKind.TIMEOUT, message=f"{self}: {error}: it hangs, or is overloaded")
        kind, text = _reply_fault(error)
        if kind is not None:
            text = self.redact(text, limit=300)
            message = f"{_MEANING[kind]} ({text})" if kind in _MEANING else text
            return Fault(kind=kind, message=f"{self}: {message}", details=details)
        return net.judge(error, self.endpoint, str(self)) or Fault(
            kind=FaultKind.UNREACHABLE, message=f"{self}: {net.CLOSED}"
        )


class _Parser(_AsyncRESP2Parser):
    """Takes no reply that would fill the memory: what isn't Redis may announce any length, and send it."""

    async def _read(self, length: int) -> bytes:
        self._bound(length)
        return await super()._read(length)

    async def _readline(self) -> bytes:
        self._bound(0)
        return await super()._readline()

    def _bound(self, length: int) -> None:
        if self._pos + length > REPLY_MAX:
            raise InvalidResponse(f"a reply longer than {REPLY_MAX} bytes")


class Line:
    """A connection with its own reader."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._replies: list[Any] = []
        self._wanted = 0
        self._arrived = anyio.Event()
        self.ended: Exception | None = None
        """Why nothing more will come."""

    async def listen(self, context: CheckContext | None) -> None:
        """Read until the connection ends; then tell *context*, unless the one who asks will see it anyway."""
        try:
            while True:
                reply = await self._read()
                if len(self._replies) >= self._wanted:
                    raise InvalidResponse("a reply that nobody asked for")
                self._replies.append(reply)
                if len(self._replies) == self._wanted:
                    self._arrived.set()
        except FAILURES as error:
            if context is not None and self.ended is None and not self._wanted:
                context.wake("kept connection closed")
            self.ended = self.ended or error
            self._arrived.set()
            await self.close()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """
        The replies to *commands*, in one round trip; an error reply is a ``RedisError`` among them.

        Raises one of ``FAILURES`` if the connection ends instead.
        """
        if self.ended is None:
            self._replies, self._wanted, self._arrived = [], len(commands), anyio.Event()
            try:
                await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
                await self._arrived.wait()
            except BaseException:
                await self.close()  # half-read replies would be taken for those of the next question
                raise
            finally:
                self._wanted = 0
        if self.ended is not None and len(self._replies) < len(commands):
            raise self.ended
        return self._replies

    async def close(self) -> None:
        """Close it, without waiting and without a word to anyone."""
        self.ended = self.ended or ConnectionError("closed by reviver")
        await self._connection.disconnect(nowait=True)

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except (ResponseError, BusyLoadingError, AuthenticationError) as reply:
            return reply


class Link:
    """Asks one Redis, over a kept connection or a fresh one."""

    def __init__(self, target: Target, context: CheckContext, tasks: anyio.abc.TaskGroup) -> None:
        self._target = target
        self._context = context
        self._tasks = tasks
        self._resolver = net.Resolver()
        self._kept: Line | None = None

    async def ask(self, *commands: Command, fresh: bool) -> list[Any]:
        """
        The replies to *commands*, in one round trip; an error reply is a ``RedisError`` among them.

        A kept connection that has ended, or ends meanwhile, is replaced before anything is judged. Raises one of
        ``FAILURES`` if it could not be asked; the deadline is the caller's.
        """
        if fresh:
            line = await self._connect(None)
            try:
                return await line.ask(commands)
            finally:
                await line.close()
        if self._kept is not None and self._kept.ended is None:
            with suppress(*FAILURES):
                return await self._kept.ask(commands)
        self._kept = await self._connect(self._context)
        return await self._kept.ask(commands)

    async def close(self) -> None:
        """Close what is kept."""
        if self._kept is not None:
            await self._kept.close()

    async def _connect(self, context: CheckContext | None) -> Line:
        addresses = await self._resolver.addresses(self._target.endpoint, within=self._context.timeout)
        line = Line(await net.first_of(addresses, self._target.connect, FAILURES))
        self._tasks.start_soon(line.listen, context)
        return line


def parse_info(text: object) -> dict[str, str]:
    """The keys and values of a reply to ``INFO`` or ``CLUSTER INFO``; a ``ValueError`` if it is none."""
    if not isinstance(text, str):
        raise ValueError("not a reply to INFO")
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def whole(number: object) -> int:
    """*number*, if it is one that Redis can give; else a ``ValueError``."""
    if not isinstance(number, int) or not -(2**63) <= number < 2**63:
        raise ValueError("not a number of a Redis")
    return number


@asynccontextmanager
async def linked(target: Target, context: CheckContext) -> AsyncIterator[Link]:
    """A link to *target* that lasts as long as the block; connects when it is first asked."""
    async with anyio.create_task_group() as tasks:
        link = Link(target, context, tasks)
        try:
            yield link
        finally:
            await link.close()
            tasks.cancel_scope.cancel()


def _reply_fault(error: Exception) -> tuple[FaultKind | None, str]:
    """The fault that an error reply of Redis, or something that is no Redis, tells of, and its text."""
    for cause in net.causes(error):
        if isinstance(cause, ssl.SSLError):  # a ValueError, too
            return None, ""
        if isinstance(cause, InvalidResponse | ValueError | RecursionError):
            return FaultKind.BAD_PROTOCOL, "something that isn't Redis answers on this port"
        if not isinstance(cause, RedisError):
            continue
        text = str(cause)
        code = getattr(cause, "status_code", None) or text.split(" ", 1)[0]
        if code in _BY_CODE:
            return _BY_CODE[code], text
        if "max number of clients" in text:
            return FaultKind.TOO_MANY_CLIENTS, text
        if isinstance(cause, AuthenticationError):
            return FaultKind.AUTH_FAILED, text
        if isinstance(cause, ResponseError):
            return FaultKind.BAD_BODY, f"it answers with an error: {text}"
    return None, ""
