"""
The past from a journal's file, read while a daemon writes to it or when there is none.

The axis is Unix time without its jumps: within a boot the boot's own clock counts, set to the wall clock's median.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from reviver.incidents import database
from reviver.incidents.history import Begun
from reviver.incidents.journal import entry_of
from reviver.model import journal as j

from .past import Order, Past, Run, Truth

PAUSE_MAX = 86400.0  # seconds; a pause that began earlier is over


def read(path: Path, *, last: float) -> Past:
    """
    The *last* seconds before the newest answer in the journal at *path*; less if less is recorded.

    Raises:
        JournalError: It can't be read, or nothing is recorded.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise j.JournalError(f"journal: {path} may not be read: be root, or the daemon's user") from error
    except OSError as error:
        raise j.JournalError(f"journal: {path}: {error.strerror}; name the one that is meant with --journal") from error
    sql = database.queries()
    with closing(database.connect_to_read(path)) as db:
        try:
            newest = db.execute(sql["newest_run"]).fetchone()[0]
            if newest is None:
                raise j.JournalError(f"journal: {path} holds no history yet; the daemon writes it while it watches")
            rows = db.execute(sql["runs_since"], (newest - last,)).fetchall()
            told = db.execute(sql["incidents_since"], (newest - last,)).fetchall()
            orders = db.execute(sql["orders_since"], (newest - last - PAUSE_MAX,)).fetchall()
        except sqlite3.Error as error:
            raise j.JournalError(f"journal: {path} can't be read: {error}") from error
    return _past(rows, told, orders, last=last)


class _Axis:
    """Where a moment of a boot lies."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        offsets: dict[str, list[float]] = defaultdict(list)
        for *_, boot_id, at, boot_s in rows:
            offsets[boot_id].append(at - boot_s)
        self._at_boot = {boot_id: median(each) for boot_id, each in offsets.items()}

    def of(self, boot_id: str, boot_s: float, at: float) -> float:
        return self._at_boot[boot_id] + boot_s if boot_id in self._at_boot else at


def _past(
    rows: Sequence[tuple[Any, ...]], told: Sequence[tuple[Any, ...]], orders: Sequence[tuple[Any, ...]], *, last: float
) -> Past:
    axis = _Axis([(row[7], row[5], row[8]) for row in rows])
    runs: dict[str, list[Run]] = defaultdict(list)
    for service, answer, certain, begun, woken, since, until, boot_id, since_s, until_s, latency, message in rows:
        run = Run(
            service=service,
            answer=answer,
            certain=bool(certain),
            begun=Begun(begun),
            woken=bool(woken),
            since=axis.of(boot_id, since_s, since),
            until=axis.of(boot_id, until_s, until),
            latency=latency,
            message=message,
        )
        runs[service].append(run)
    newest = max(run.until for each in runs.values() for run in each)
    since = max(newest - last, min(run.since for each in runs.values() for run in each))
    records = [record for row in told if (record := _record(row, axis)) is not None]
    opened = {r.entry.incident for r in records if isinstance(r.entry, j.IncidentOpened) and r.at >= since}
    return Past(
        since=since,
        until=newest,
        truths={service: Truth(service, sorted(each, key=lambda run: run.since)) for service, each in runs.items()},
        records=[record for record in records if record.entry.incident in opened],
        orders=_orders([record for row in orders if (record := _record(row, axis)) is not None]),
    )


def _record(row: tuple[Any, ...], axis: _Axis) -> j.Record | None:
    type_, service, incident, at, boot_id, boot_s, body = row
    try:
        return j.Record(entry=entry_of(type_, service, incident, body), at=axis.of(boot_id, boot_s, at), age=0.0)
    except (KeyError, ValueError, TypeError, RecursionError):  # written by another version, or by no reviver
        return None


def _orders(records: Sequence[j.Record]) -> list[Order]:
    found: list[Order] = []
    later: dict[str, float] = {}
    """When people next said something of a service."""
    for record in reversed(records):
        entry = record.entry
        over_at = later.get(entry.service, float("inf"))
        match entry:
            case j.ServicePaused(until=until):
                found.append(Order(service=entry.service, at=record.at, hands_off=True, reason=entry.reason))
                if until < over_at:
                    found.append(Order(service=entry.service, at=max(record.at, until), hands_off=False))
            case j.DaemonFrozen():
                found.append(Order(service="", at=record.at, hands_off=True, reason=entry.reason))
            case _:
                found.append(Order(service=entry.service, at=record.at, hands_off=False))
        later[entry.service] = record.at
    return sorted(found, key=lambda order: order.at)
