"""Whether a PostgreSQL database answers, has the role that it should have, and a query of one's own says true."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import anyio
from asyncpg.exceptions import DuplicatePreparedStatementError, InvalidSQLStatementNameError

from reviver.clients import net
from reviver.clients.asking import EVIDENCE_WITHIN, Finding, result_of
from reviver.clients.postgres import FAILURES, FAULTS, Connection, PostgresDsn, Target
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import SecretField

Role = Literal["primary", "standby", "any"]

_STATE: Final = """
    SELECT pg_is_in_recovery() AS in_recovery,
           current_setting('transaction_read_only') = 'on' AS read_only,
           current_setting('server_version') AS version,
           current_setting('max_connections')::int AS max_connections,
           (SELECT sum(numbackends) FROM pg_stat_database)::int AS connections
"""
_EVIDENCE: Final = {
    "connections": """
        SELECT coalesce(state, 'unknown') AS state, count(*) AS connections,
               extract(epoch FROM max(now() - state_change))::int AS longest_seconds
        FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC
    """,
    "activity": """
        SELECT pid, usename::text AS user, datname::text AS database, application_name AS application,
               client_addr::text AS client, state, wait_event_type AS wait_type, wait_event AS wait,
               extract(epoch FROM now() - xact_start)::int AS transaction_seconds,
               extract(epoch FROM now() - query_start)::int AS query_seconds, left(query, 2000) AS query
        FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        ORDER BY xact_start NULLS LAST, query_start NULLS LAST LIMIT 25
    """,
    "locks": """
        SELECT pid, pg_blocking_pids(pid) AS blocked_by, wait_event AS wait,
               extract(epoch FROM now() - query_start)::int AS query_seconds, left(query, 2000) AS query
        FROM pg_stat_activity WHERE wait_event_type = 'Lock' ORDER BY query_start LIMIT 25
    """,
    "database": """
        SELECT numbackends, xact_commit, xact_rollback, deadlocks, conflicts, temp_files, checksum_failures,
               extract(epoch FROM now() - stats_reset)::int AS since_seconds
        FROM pg_stat_database WHERE datname = current_database()
    """,
    "settings": """
        SELECT name, setting, unit FROM pg_settings WHERE name IN (
            'server_version', 'max_connections', 'superuser_reserved_connections', 'shared_buffers', 'work_mem',
            'statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout', 'fsync', 'data_checksums',
            'archive_mode', 'default_transaction_read_only', 'autovacuum') ORDER BY name
    """,
}
# In SQL, what stands in quotes is the clients' own data, and may be a password. An E'…' string may hold \', and the
# text may be cut off within one. Source: PostgreSQL documentation, 4.1.2.
_QUOTED: Final = re.compile(
    r"[eE]'(?:[^'\\]|\\.|'')*(?:'|$)|'(?:[^']|'')*(?:'|$)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)", re.DOTALL
)
_QUERY_LENGTH: Final = 300
# What one gets from a pooler that hands each transaction to another server and does not know of prepared statements.
_UNPREPARED: Final = (InvalidSQLStatementNameError, DuplicatePreparedStatementError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """Whether a PostgreSQL database answers, has the role that it should have, and a query of one's own says true."""

    dsn: PostgresDsn = field(repr=False)
    """``postgresql://USER@HOST:PORT/DATABASE``, with ``sslmode`` and the like as libpq takes them."""
    username: str | None = None
    """Wins over one in the DSN."""
    password: SecretField | None = None
    """Wins over one in the DSN."""
    expect: Role = "primary"
    """The role that it must have: clients that write need a primary."""
    query: str | None = None
    """A ``SELECT`` that must answer with a single true value; run read-only, within the check's timeout."""

    borrows: ClassVar[frozenset[str]] = frozenset({"dsn", "username", "password"})
    faults: ClassVar[frozenset[FaultKind]] = FAULTS | {FaultKind.READ_ONLY, FaultKind.REPLICATION_BROKEN}

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        """The probe, with a kept connection whose end wakes the supervisor."""
        probe = _Probe(self, context)
        try:
            yield probe
        finally:
            probe.close()

    def hosts(self) -> frozenset[str]:
        """The host that it asks."""
        return frozenset({Target.of(self.dsn).endpoint.machine})


class _Probe:
    def __init__(self, settings: Postgres, context: CheckContext) -> None:
        self._settings = settings
        self._context = context
        self._target = Target.of(settings.dsn, user=settings.username, password=settings.password)
        self._resolver = net.Resolver()
        self._kept: Connection | None = None
        self._prepare = True

    async def ask(self, *, fresh: bool) -> CheckResult:
        """Its role and its load, in one round trip, and then the query."""
        return await result_of(
            lambda: self._look(fresh), timeout=self._context.timeout, failures=FAILURES, explain=self._target.explain
        )

    async def evidence(self) -> Mapping[str, JsonValue]:
        """Who does what, who waits for whom, and a few figures; over a new connection."""
        evidence: dict[str, JsonValue] = {}
        try:
            with anyio.fail_after(EVIDENCE_WITHIN):
                await self._gather(evidence)
        except FAILURES as error:
            verdict = self._target.explain(error)
            evidence["postgres"] = f"could not be had: {verdict.message if isinstance(verdict, Fault) else verdict}"
        return evidence

    def close(self) -> None:
        """Close what is kept."""
        if self._kept is not None:
            self._kept.remove_termination_listener(self._lost)
            self._kept.terminate()
            self._kept = None

    async def _look(self, fresh: bool) -> Finding:
        try:
            return await self._look_once(fresh)
        except _UNPREPARED:
            self._prepare = False
            return await self._look_once(fresh)

    async def _look_once(self, fresh: bool) -> Finding:
        if fresh:
            connection = await self._connect()
            try:
                return await self._question(connection)
            finally:
                connection.terminate()
        if self._kept is not None:
            try:
                return await self._question_kept(self._kept)
            except _UNPREPARED:
                raise
            except FAILURES:
                pass  # it ended, maybe just now: a new one will tell
        self._kept = await self._connect()
        self._kept.add_termination_listener(self._lost)
        return await self._question_kept(self._kept)

    async def _connect(self) -> Connection:
        return await self._target.connect(self._resolver, within=self._context.timeout, prepare=self._prepare)

    async def _question_kept(self, connection: Connection) -> Finding:
        try:
            return await self._question(connection)
        except BaseException:
            self.close()  # an answer may be under way, or a transaction open
            raise

    def _lost(self, _connection: object) -> None:
        self._kept = None
        self._context.wake("kept connection closed")

    async def _question(self, connection: Connection) -> Finding:
        (row,) = await connection.fetch(_STATE)
        state = dict(row)
        fault = judge(state, self._settings.expect, str(self._target))
        if fault is None and self._settings.query is not None:
            fault = await self._query_fault(connection, self._settings.query)
        return fault or state

    async def _query_fault(self, connection: Connection, query: str) -> Fault | None:
        # The server ends it, too: else a slow query would go on after we have given it up, and pile up.
        milliseconds = max(1, int(self._context.timeout * 1000))
        await connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}")
        rows = await (await connection.cursor(query)).fetch(2)
        await connection.execute("ROLLBACK")
        if len(rows) == 1 and len(rows[0]) == 1 and rows[0][0] is True:
            return None
        answer = _named(rows)
        message = f"{self._target}: the query should answer with one true value, but answers with {answer}"
        return Fault(kind=FaultKind.BAD_BODY, message=message, details={"answer": answer})

    async def _gather(self, evidence: dict[str, JsonValue]) -> None:
        connection = await self._target.connect(self._resolver, within=EVIDENCE_WITHIN, prepare=False)
        try:
            for name, query in _EVIDENCE.items():
                evidence[name] = [_plain(dict(row)) for row in await connection.fetch(query)]
        finally:
            connection.terminate()


def judge(state: Mapping[str, Any], expect: Role, subject: str) -> Fault | None:
    """What is wrong with a server that answers; ``None``: nothing."""
    details: dict[str, JsonValue] = dict(state)
    if state["in_recovery"] and expect == "primary":
        message = f"{subject}: it is in recovery (a standby), expected was a primary: clients can't write"
        return Fault(kind=FaultKind.IN_RECOVERY, message=message, details=details)
    if not state["in_recovery"] and expect == "standby":
        message = f"{subject}: it is a primary, expected was a standby: it replicates nothing"
        return Fault(kind=FaultKind.REPLICATION_BROKEN, message=message, details=details)
    if state["read_only"] and expect == "primary":
        message = f"{subject}: default_transaction_read_only is on: clients can't write"
        return Fault(kind=FaultKind.READ_ONLY, message=message, details=details)
    return None


def masked(query: str) -> str:
    """*query* without what stands in quotes, in one line of bounded length."""
    text = " ".join(_QUOTED.sub("'…'", query).split())
    return text if len(text) <= _QUERY_LENGTH else text[: _QUERY_LENGTH - 1] + "…"


def _named(rows: list[Any]) -> str:
    """What a query answered, without the data itself."""
    if len(rows) != 1:
        return "several rows" if rows else "no row"
    if len(rows[0]) != 1:
        return f"{len(rows[0])} columns"
    return {False: "false", None: "null"}.get(rows[0][0], "something that isn't a boolean")


def _plain(row: Mapping[str, Any]) -> JsonValue:
    return {name: masked(value) if name == "query" and value else value for name, value in row.items()}
