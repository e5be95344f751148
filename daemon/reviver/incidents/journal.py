"""The journal on disk: entries in, records and incidents out. Returns from ``append`` mean: it is on disk."""

import dataclasses
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import TypeAdapter

from reviver.model.journal import (
    ENTRY_TYPES,
    AttemptStarted,
    DaemonFrozen,
    Entry,
    IncidentEscalated,
    IncidentOpened,
    IncidentRecovered,
    IncidentReopened,
    IncidentWithdrawn,
    JournalError,
    Record,
    ServicePaused,
    ServiceResumed,
    StrategyDemoted,
    StrategyPromoted,
    pause_left,
)
from reviver.model.ports import Clock

from . import chain, database

log = logging.getLogger(__name__)

T = TypeVar("T")

_ADAPTERS: dict[str, TypeAdapter[Entry]] = {kind.type: TypeAdapter(kind) for kind in ENTRY_TYPES}
_STATES: dict[type[Entry], str] = {
    IncidentReopened: "open",
    AttemptStarted: "open",
    IncidentRecovered: "recovered",
    IncidentEscalated: "escalated",
    IncidentWithdrawn: "withdrawn",
}
_COMMON = ("service", "incident")


def _body(entry: Entry) -> str:
    """The entry's own fields as JSON. What no JSON can hold becomes text: an entry is never refused for its looks."""
    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    return json.dumps({name: value for name, value in fields.items() if name not in _COMMON}, default=_as_json)


def _as_json(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def entry_of(type_: str, service: str, incident: str, body: str) -> Entry:
    """The entry that a row holds; raises ``KeyError`` or ``ValueError`` if this version can't read it."""
    return _ADAPTERS[type_].validate_python({**json.loads(body), "service": service, "incident": incident})


class SqliteJournal:
    """A journal in one SQLite file; meets ``model.journal.Journal``."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._sql = database.queries()

    async def open(self) -> sqlite3.Connection:
        """
        The open file, made or migrated if need be.

        Raises:
            JournalError: It can't be used.
        """

        def connect_once() -> sqlite3.Connection:
            self._connection = self._connection or database.connect(self._path)
            return self._connection

        return await anyio.to_thread.run_sync(connect_once, limiter=self._one_at_a_time)

    async def aclose(self) -> None:
        """Close the file; the journal can't be used afterwards."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await anyio.to_thread.run_sync(connection.close, limiter=self._one_at_a_time)

    async def append(self, *entries: Entry) -> None:
        """Write *entries* in one transaction; returns when they are on disk."""
        stamp = (self._clock.wall(), self._clock.boot_id(), self._clock.boottime())
        bodies = [_body(entry) for entry in entries]
        await self._run(lambda db: database.in_transaction(db, lambda db: self._write(db, entries, bodies, stamp)))

    def _write(
        self, db: sqlite3.Connection, entries: Sequence[Entry], bodies: Sequence[str], stamp: tuple[float, str, float]
    ) -> None:
        if not entries:
            db.execute(self._sql["touch"], (stamp[0],))
        latest = db.execute(self._sql["latest_link"]).fetchone()
        before = latest[1] if latest else ""
        for entry, body in zip(entries, bodies, strict=True):
            row = (entry.type, entry.service, entry.incident, *stamp, body)
            before = chain.link(before, row)
            db.execute(self._sql["add_entry"], (*row, before))
            match entry:
                case IncidentOpened():
                    db.execute(self._sql["add_incident"], (entry.incident, entry.service, stamp[0]))
                case ServicePaused():
                    db.execute(self._sql["set_pause"], (entry.service, entry.by, entry.reason, entry.until))
                case ServiceResumed():
                    db.execute(self._sql["drop_pause"], (entry.service,))
                case StrategyDemoted():
                    demotion = (entry.service, entry.strategy, entry.incident, entry.mode, entry.reason)
                    db.execute(self._sql["set_demotion"], demotion)
                case StrategyPromoted():
                    db.execute(self._sql["drop_demotion"], (entry.service, entry.strategy))
                case _ if type(entry) in _STATES:
                    db.execute(self._sql["set_state"], (_STATES[type(entry)], entry.incident))
                case _:
                    pass

    async def head(self) -> chain.Head | None:
        """The end of the chain of entries; ``None`` if there is none yet."""
        latest = await self._run(lambda db: db.execute(self._sql["latest_link"]).fetchone())
        return chain.Head(*latest) if latest and latest[1] else None

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do *work* in one transaction of its own, for what is kept beside the entries; raises ``JournalError``."""
        await self._run(lambda db: database.in_transaction(db, work))

    async def unfinished(self) -> Mapping[str, Sequence[Record]]:
        """The records of each service's latest incident, unless withdrawn, by service."""
        found = await self._records_of("latest_of_each_service", {})
        return {records[0].entry.service: records for records in found if records}

    async def incidents(self, *, limit: int, service: str | None = None) -> Sequence[Sequence[Record]]:
        """The records of the *limit* newest incidents, newest first."""
        return await self._records_of("newest", {"service": service, "limit": limit})

    async def incident(self, incident: str) -> Sequence[Record]:
        """The records of one incident; empty if there is none."""
        rows = await self._run(lambda db: db.execute(self._sql["entries_of_incident"], (incident,)).fetchall())
        return self._records(rows)

    async def attempts_since(self, seconds: float) -> Sequence[Record]:
        """The ``attempt_started`` records not older than *seconds*."""
        return await self._since("attempts_since", seconds)

    async def falls_since(self, seconds: float) -> Sequence[Record]:
        """The ``incident_opened`` and ``incident_reopened`` records not older than *seconds*."""
        return await self._since("falls_since", seconds)

    async def history_since(self, seconds: float) -> Sequence[Record]:
        """The records of attempts and of what followed, not older than *seconds*."""
        return await self._since("history_since", seconds)

    async def _since(self, query: str, seconds: float) -> Sequence[Record]:
        boottime, wall = self._clock.boottime() - seconds, self._clock.wall() - seconds
        arguments = {"boot_id": self._clock.boot_id(), "boot_s": boottime, "at": wall}
        rows = await self._run(lambda db: db.execute(self._sql[query], arguments).fetchall())
        return self._records(rows)

    async def frozen(self) -> DaemonFrozen | None:
        """The latest freeze by a person or a signal, unless thawed."""
        rows = await self._run(lambda db: db.execute(self._sql["latest_freeze"]).fetchall())
        if not rows or rows[0][0] != DaemonFrozen.type:
            return None
        readable = self._records(rows)
        if not readable:  # whoever it was meant it
            return DaemonFrozen(service="", by="somebody", reason="its entry in the journal can't be read")
        [frozen] = [record.entry for record in readable]
        return frozen if isinstance(frozen, DaemonFrozen) else None

    async def demotions(self) -> Sequence[StrategyDemoted]:
        """The demotions in force."""
        rows = await self._run(lambda db: db.execute(self._sql["demotions"]).fetchall())
        names = ("service", "strategy", "incident", "mode", "reason")
        return [StrategyDemoted(**dict(zip(names, row, strict=True))) for row in rows]

    async def pauses(self) -> Mapping[str, Record]:
        """The records of the pauses in force, by service."""
        rows = await self._run(lambda db: db.execute(self._sql["pauses"]).fetchall())
        return {record.entry.service: record for record in self._records(rows) if pause_left(record) > 0}

    async def _records_of(self, query: str, arguments: Mapping[str, Any]) -> Sequence[Sequence[Record]]:
        def read(db: sqlite3.Connection) -> list[list[database.Row]]:
            ids = db.execute(self._sql[query], arguments).fetchall()
            return [db.execute(self._sql["entries_of_incident"], id_).fetchall() for id_ in ids]

        return [self._records(rows) for rows in await self._run(read)]

    def _records(self, rows: Sequence[database.Row]) -> list[Record]:
        """The records of *rows*; one that can't be read (written by another version) is left out, and said."""
        records = []
        for row in rows:
            try:
                records.append(self._record(row))
            except (KeyError, ValueError, TypeError, RecursionError):  # another's type or fields, no object, no JSON
                log.warning("journal.entry_unreadable", extra={"type": row[0], "incident": row[2]})
        return records

    def _record(self, row: database.Row) -> Record:
        type_, service, incident, at, boot_id, boot_s, body = row
        same_boot = boot_id == self._clock.boot_id()
        age = self._clock.boottime() - boot_s if same_boot else self._clock.wall() - at
        return Record(entry=entry_of(type_, service, incident, body), at=at, age=max(0.0, age))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """*work* in the one thread; a cancellation waits for it, so that the caller knows what is written."""
        # What kept it from opening at the start may have been mended.
        connection = self._connection or await self.open()
        try:
            return await anyio.to_thread.run_sync(work, connection, limiter=self._one_at_a_time)
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.rollback()
            raise JournalError(database.explain(self._path, error)) from error
