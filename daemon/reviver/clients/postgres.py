"""
PostgreSQL, connected to with a deadline of the caller's, and what its errors say about it.

A connection is always ended by ``terminate()``: it says goodbye without waiting, so that a server that hangs can't hold
it; ``close()`` would wait.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import asyncpg
from asyncpg.exceptions import ClientConfigurationError, InterfaceError, InternalClientError, PostgresError
from pydantic import AfterValidator

from reviver.model.faults import NOTHING, Fault, FaultKind, JsonValue
from reviver.model.secrets import Redactor, Secret

from . import net

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_SSL_REQUEST: Final = struct.pack(">ii", 8, 80877103)  # "SSLRequest", PostgreSQL documentation 55.7

FAILURES: Final = (PostgresError, InterfaceError, InternalClientError, OSError, ValueError)
"""What connecting and asking may raise; the last comes of replies that no PostgreSQL would give."""

_BY_STATE: Final = {
    "3D000": FaultKind.DATABASE_MISSING,
    "3F000": FaultKind.SCHEMA_DRIFT,
    "42501": FaultKind.AUTH_FAILED,
    "42703": FaultKind.SCHEMA_DRIFT,
    "42883": FaultKind.SCHEMA_DRIFT,
    "42P01": FaultKind.SCHEMA_DRIFT,
    "53100": FaultKind.DISK_FULL,
    "53200": FaultKind.OUT_OF_MEMORY,
    "53300": FaultKind.TOO_MANY_CONNECTIONS,
    "57014": FaultKind.TIMEOUT,
    "57P01": FaultKind.SHUTTING_DOWN,
    "57P02": FaultKind.SHUTTING_DOWN,
    "57P03": FaultKind.STARTING_UP,
    "XX001": FaultKind.DATA_CORRUPT,
    "XX002": FaultKind.DATA_CORRUPT,
}
"""SQLSTATE to fault. Source: PostgreSQL documentation, appendix A."""

_BY_CLASS: Final = {
    "08": FaultKind.UNREACHABLE,  # a pooler in between has no server for us
    "28": FaultKind.AUTH_FAILED,
}
_OURS: Final = {"25006": "the query writes, and is run read-only", "42601": "the query has a syntax error"}
"""Mistakes in reviver's settings, which say nothing about the server."""

FAULTS: Final = frozenset(_BY_STATE.values()) | {
    FaultKind.UNREACHABLE,
    FaultKind.NAME_UNRESOLVED,
    FaultKind.TIMEOUT,
    FaultKind.TLS_INVALID,
    FaultKind.AUTH_FAILED,
    FaultKind.IN_RECOVERY,
    FaultKind.BAD_PROTOCOL,
    FaultKind.BAD_BODY,
}
"""Every fault that ``Target.explain`` may name."""

_MEANING: Final = {
    FaultKind.UNREACHABLE: "a pooler in between has no server for it",
    FaultKind.AUTH_FAILED: "reviver's login is refused",
    FaultKind.DATABASE_MISSING: "the database isn't there",
    FaultKind.TOO_MANY_CONNECTIONS: "all connections are in use",
    FaultKind.STARTING_UP: "it is starting up; wait",
    FaultKind.SHUTTING_DOWN: "it is shutting down; wait",
    FaultKind.IN_RECOVERY: "it is a standby that serves no queries",
    FaultKind.DISK_FULL: "its disk is full",
    FaultKind.OUT_OF_MEMORY: "it has no memory left",
    FaultKind.DATA_CORRUPT: "its data are damaged",
    FaultKind.SCHEMA_DRIFT: "the schema lacks what the query needs",
}


def _checked_dsn(dsn: str) -> str:
    expected = "expected postgresql://USER@HOST:PORT/DATABASE, or postgresql:///DATABASE?host=/run/postgresql"
    try:
        endpoint = _endpoint(dsn)
    except ValueError as error:
        raise ValueError(f"{error}; {expected}") from None
    if not endpoint.host:
        raise ValueError(f"no host is named; {expected}")
    return dsn


PostgresDsn = Annotated[str, AfterValidator(_checked_dsn)]
"""A field of a kind: a connection URI of one server, as libpq takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One PostgreSQL database and how to log in to it."""

    dsn: str = field(repr=False)
    user: str | None
    password: Secret | None
    endpoint: net.Endpoint
    database: str
    sslmode: str
    redact: Redactor = field(repr=False)

    @staticmethod
    def of(dsn: str, *, user: str | None = None, password: Secret | None = None) -> "Target":
        """The database that *dsn* names; *user* and *password* win over those in it."""
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        login = parts.netloc.rpartition("@")[0]
        in_dsn = [unquote(login.partition(":")[2]), *query.get("password", [])]
        database = unquote(parts.path.lstrip("/")) or query.get("dbname", ["postgres"])[0]
        secrets = [Secret(text) for text in in_dsn if text] + ([password] if password is not None else [])
        return Target(
            dsn=dsn,
            user=user,
            password=password,
            endpoint=_endpoint(dsn),
            database=database,
            sslmode=query.get("sslmode", ["prefer"])[0],
            redact=Redactor(secrets),
        )

    def __str__(self) -> str:
        return f"PostgreSQL {self.endpoint}/{self.database}"

    async def connect(self, resolver: net.Resolver, *, within: float, prepare: bool = True) -> Connection:
        """
        A new connection. The deadline is the caller's; *within* tells how long it is, in seconds.

        Without *prepare*, no prepared statements are kept, for the sake of a pooler that can't. Raises one of
        ``FAILURES``.
        """
        addresses = await resolver.addresses(self.endpoint, within=within)
        if self.sslmode == "verify-full":  # the certificate is for the name
            addresses = [self.endpoint.host]

        async def connect(address: str) -> Connection:
            if self.sslmode == "disable" and not self.endpoint.is_unix:
                await _greet(address, self.endpoint.port)
            connection: Connection = await asyncpg.connect(
                self.dsn,
                host=address,
                port=self.endpoint.port,
                user=self.user,
                password=None if self.password is None else self.password.reveal(),
                timeout=2 * within,
                statement_cache_size=10 if prepare else 0,
                server_settings={"application_name": "reviver"},
            )
            return connection

        return await net.first_of(addresses, connect, FAILURES)

    def explain(self, error: Exception, details: Mapping[str, JsonValue] = NOTHING) -> Fault | str:
        """What *error*, raised while asking, says about the server; a text if it says nothing about it."""
        if isinstance(error, TimeoutError):
            return Fault(kind=FaultKind.TIMEOUT, message=f"{self}: {error}: it hangs, or is overloaded")
        for cause in net.causes(error):
            if isinstance(cause, PostgresError) and cause.sqlstate not in {None, "08003"}:
                return self._explain_reply(cause, details)
        return self._explain_client(error)

    def _explain_reply(self, error: PostgresError, details: Mapping[str, JsonValue]) -> Fault | str:
        state = error.sqlstate or ""
        said = self.redact(" ".join(filter(None, (str(error.args[0]), getattr(error, "detail", None)))), limit=300)
        if state in _OURS:
            return f"{self}: {_OURS[state]}: {said}"
        kind = _BY_STATE.get(state) or _BY_CLASS.get(state[:2]) or FaultKind.BAD_BODY
        if kind is FaultKind.STARTING_UP:
            kind = _why_not_now(said)
        meaning = _MEANING.get(kind, "it answers with an error")
        return Fault(kind=kind, message=f"{self}: {meaning} ({state}: {said})", details=details)

    def _explain_client(self, error: Exception) -> Fault | str:
        if any(isinstance(cause, ClientConfigurationError) for cause in net.causes(error)):
            return f"{self}: can't be asked: {self.redact(str(error), limit=300)}"
        if "rejected SSL upgrade" in str(error):
            return self._explain_no_tls()
        verdict = net.judge(error, self.endpoint, str(self))
        if verdict is not None:
            return verdict
        if isinstance(error, PostgresError):
            return Fault(kind=FaultKind.UNREACHABLE, message=f"{self}: {net.CLOSED}")
        message = f"{self}: something that isn't PostgreSQL answers on this port"
        return Fault(kind=FaultKind.BAD_PROTOCOL, message=message)

    def _explain_no_tls(self) -> Fault:
        """A PostgreSQL may refuse TLS, which matters only if it was asked for; anything else is no PostgreSQL."""
        if self.sslmode in {"require", "verify-ca", "verify-full"}:
            return Fault(kind=FaultKind.TLS_INVALID, message=f"{self}: it does not offer TLS, which sslmode asks for")
        message = f"{self}: something that isn't PostgreSQL answers on this port"
        return Fault(kind=FaultKind.BAD_PROTOCOL, message=message)


async def _greet(address: str, port: int) -> None:
    """
    Make sure that a PostgreSQL is there, by asking whether it would do TLS: it says ``S`` or ``N``, and nothing else.

    With TLS, asyncpg does so itself. Without, it takes whatever it gets for messages, and some of it, such as a run of
    zeros, keeps it busy forever in code that can't be interrupted.
    """
    async with await anyio.connect_tcp(address, port) as stream:
        await stream.send(_SSL_REQUEST)
        try:
            answer = await stream.receive(64)
        except anyio.EndOfStream:
            raise ConnectionResetError(net.CLOSED) from None
    if answer not in {b"S", b"N"}:
        raise ValueError("not the answer of a PostgreSQL")


def _why_not_now(said: str) -> FaultKind:
    """Which of the reasons of SQLSTATE 57P03 it is; in another language than English it is taken for starting up."""
    if "shutting down" in said:
        return FaultKind.SHUTTING_DOWN
    return FaultKind.IN_RECOVERY if "Hot standby mode is disabled" in said else FaultKind.STARTING_UP


def _endpoint(dsn: str) -> net.Endpoint:
    """Where the server of *dsn* is; a ``ValueError`` says what is wrong with it."""
    parts = urlsplit(dsn)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError(f"the scheme {parts.scheme!r} isn't known")
    query = parse_qs(parts.query)
    place = parts.netloc.rpartition("@")[2]
    if "," in place or any("," in host for host in query.get("host", [])):
        raise ValueError("several hosts are named; a check asks one")
    split = urlsplit(f"//{place}")
    host = unquote(split.hostname or "") or query.get("host", [""])[0]
    port = split.port or int(query.get("port", ["5432"])[0])
    return net.Endpoint(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else host, port)
