"""
The history: what each service answered, so that other settings can be tried on it (``replay``).

One row per service and unbroken run of alike answers. Runs are kept in memory and written about once a minute, and soon
after one begins, by the journal's one thread, a few rows a transaction: no commit before an effect waits long. What
can't be written waits in memory, bounded; watching never waits for it.
"""

import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import anyio

from reviver.model.events import Checked, Event, LoopLagged, ServicesChanged
from reviver.model.journal import JournalError
from reviver.model.ports import Clock

from . import database

log = logging.getLogger(__name__)

HEALTHY, UNKNOWN, VOID = "healthy", "unknown", "void"
"""Answers that are no fault; ``void`` counted for nothing because reviver itself was late."""

FLUSH_EVERY = 60.0  # seconds; killed, the daemon loses so much of a run's end
CHANGES_WAIT = 1.0  # seconds that a change waits for others, to be written with them
ROWS_AT_ONCE = 100  # in one transaction, so that a commit before an effect waits for few
WAITING_MAX = 10_000  # ended runs kept while they can't be written; the oldest go first
KEPT_FOR = 90 * 86400.0  # seconds
KEPT_EACH = 10_000  # runs per service, for those that flap; the oldest go first
DROPPED_AT_ONCE = 500
STALL = 5.0  # seconds; having been so late, or asleep, reviver did not look
MESSAGE_MAX = 300  # characters


class Begun(StrEnum):
    """What lies between a run and the one before."""

    CHANGE = "change"  # nothing: the answer changed
    START = "start"  # nobody looked: reviver did not run, or did not know the service
    STALL = "stall"  # nobody looked: reviver was late, or the host was suspended


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """Alike answers in a row; times are seconds since the boot."""

    service: str
    answer: str
    certain: bool
    begun: Begun
    woken: bool
    since: float
    until: float
    latency: float
    message: str
    count: int = 1
    written: int = 0
    """How many of the answers the row on disk tells of."""
    id: int = 0
    """The row's; 0: there is none yet."""


class Writer(Protocol):
    """What the journal does for the history."""

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do *work* in one transaction; raises ``JournalError``."""
        ...


class History:
    """Subscribes to answers, and writes their runs."""

    def __init__(self, journal: Writer, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._sql = database.queries()
        self._open: dict[str, Run] = {}
        self._ended: deque[Run] = deque(maxlen=WAITING_MAX)
        self._began_by: dict[str, Begun] = {}
        """Why the next run of a service begins, where that isn't a change."""
        self._changed = anyio.Event()
        self._next_id = 0
        self._grown: dict[str, int] = {}
        """Rows added of each service since its last tidying."""
        self._tidied = ""
        self._unwritten = ""

    # -------------------------------------------------------------------------------------------- answers

    def on_event(self, event: Event) -> None:
        """Take an answer in; costs about a microsecond."""
        if type(event) is Checked:
            self._take(event)
        elif type(event) is LoopLagged:
            if event.seconds >= STALL:
                self._break_off(list(self._open), Begun.STALL)
        elif type(event) is ServicesChanged:
            self._break_off(event.removed, Begun.START)

    def _take(self, event: Checked) -> None:
        result = event.result
        asked_at = self._clock.boottime() - result.latency
        fault = result.fault
        certain = False
        if fault is None:
            answer = HEALTHY if result.unknown is None else UNKNOWN
        elif event.void:
            answer = VOID
        else:
            answer, certain = fault.kind.value, fault.certain
        run = self._open.get(event.service)
        if run is not None and run.answer == answer and run.certain is certain and event.late < STALL:
            run.until = asked_at
            run.count += 1
            run.latency = max(run.latency, result.latency)
            return
        if event.late >= STALL:
            self._break_off([event.service], Begun.STALL)
        message = fault.message if fault is not None else result.unknown or ""
        self._begin(
            Run(
                service=event.service,
                answer=answer,
                certain=certain,
                begun=self._began_by.pop(event.service, Begun.CHANGE if run is not None else Begun.START),
                woken=event.woken,
                since=asked_at,
                until=asked_at,
                latency=result.latency,
                message=message[:MESSAGE_MAX],
            )
        )

    def _begin(self, run: Run) -> None:
        self._end(run.service)
        self._open[run.service] = run
        self._changed.set()

    def _break_off(self, services: Sequence[str], why: Begun) -> None:
        for service in services:
            if self._end(service):
                self._began_by[service] = why

    def _end(self, service: str) -> bool:
        run = self._open.pop(service, None)
        if run is not None and run.written < run.count:
            self._ended.append(run)
        return run is not None

    # -------------------------------------------------------------------------------------------- writing

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with anyio.move_on_after(FLUSH_EVERY):
                if self._unwritten:  # no change hastens the next attempt
                    await anyio.sleep_forever()
                await self._changed.wait()
                await anyio.sleep(CHANGES_WAIT)
            self._changed = anyio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Write what has changed, and drop some of what is too old or too much; what fails is tried again later."""
        due = [*self._ended, *(run for run in self._open.values() if run.written < run.count)]
        try:
            if not self._next_id:
                await self._journal.transact(self._read_last_id)
            for start in range(0, len(due), ROWS_AT_ONCE):
                await self._write(due[start : start + ROWS_AT_ONCE])
            await self._tidy()
        except JournalError as error:
            if not self._unwritten:
                log.warning("history.unwritten", extra={"reason": str(error), "kept_in_memory": len(due)})
            self._unwritten = str(error)
        else:
            self._unwritten = ""

    def _read_last_id(self, db: sqlite3.Connection) -> None:
        self._next_id = db.execute(self._sql["last_run_id"]).fetchone()[0] + 1

    async def _write(self, runs: Sequence[Run]) -> None:
        wall_at_boot = self._clock.wall() - self._clock.boottime()
        rows = [self._row(run, wall_at_boot) for run in runs]
        await self._journal.transact(lambda db: _each(db, self._sql["put_run"], rows))
        for run, row in zip(runs, rows, strict=True):
            run.written = row["count"]
        while self._ended and self._ended[0].written == self._ended[0].count:
            self._ended.popleft()

    def _row(self, run: Run, wall_at_boot: float) -> Mapping[str, Any]:
        if not run.id:
            run.id, self._next_id = self._next_id, self._next_id + 1
            self._grown[run.service] = self._grown.get(run.service, 0) + 1
        return {
            "id": run.id,
            "service": run.service,
            "answer": run.answer,
            "certain": run.certain,
            "begun": run.begun.value,
            "woken": run.woken,
            "since": run.since + wall_at_boot,
            "until": run.until + wall_at_boot,
            "boot_id": self._clock.boot_id(),
            "since_s": run.since,
            "until_s": run.until,
            "count": run.count,
            "latency": run.latency,
            "message": run.message,
        }

    async def _tidy(self) -> None:
        """Drop the oldest runs of the next service, and of those that have many new ones; in slices."""

        def next_service(db: sqlite3.Connection) -> None:
            self._tidied = db.execute(self._sql["next_service_of_runs"], (self._tidied,)).fetchone()[0]

        await self._journal.transact(next_service)
        grown = [service for service, rows in self._grown.items() if rows >= DROPPED_AT_ONCE]
        for service in dict.fromkeys([self._tidied, *grown]):
            limits = {"service": service, "at_most": DROPPED_AT_ONCE}
            await self._drop("drop_old_runs", {**limits, "before": self._clock.wall() - KEPT_FOR})
            await self._drop("drop_runs_too_many", {**limits, "kept": KEPT_EACH})
            self._grown.pop(service, None)

    async def _drop(self, query: str, arguments: Mapping[str, object]) -> None:
        dropped = [DROPPED_AT_ONCE]

        def drop(db: sqlite3.Connection) -> None:
            dropped.append(db.execute(self._sql[query], arguments).rowcount)

        while dropped[-1] == DROPPED_AT_ONCE:
            await self._journal.transact(drop)


def _each(db: sqlite3.Connection, sql: str, rows: Sequence[Mapping[str, object]]) -> None:
    db.executemany(sql, rows)
