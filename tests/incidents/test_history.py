"""The history: every answer is in a run, runs are on disk within a minute, and no disk holds up anything."""
# ruff: noqa: ASYNC240  small files of the tests' own

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fakes import NOON, FakeClock
from incidents.entries import opened
from reviver.incidents import database
from reviver.incidents import history as history_file
from reviver.incidents.history import FLUSH_EVERY, KEPT_FOR, MESSAGE_MAX, ROWS_AT_ONCE, STALL, WAITING_MAX, History
from reviver.incidents.journal import SqliteJournal
from reviver.model.checks import CheckResult
from reviver.model.events import Checked, LoopLagged, ServicesChanged
from reviver.model.faults import Fault, FaultKind
from reviver.model.journal import JournalError
from virtual import virtual

WELL = CheckResult(latency=0.001)
REFUSED = CheckResult(latency=0.002, fault=Fault(kind=FaultKind.UNREACHABLE, message="refused"))
SURE = CheckResult(latency=0.002, fault=Fault(kind=FaultKind.UNREACHABLE, message="gone", certain=True))
SILENT = CheckResult(latency=2.0, fault=Fault(kind=FaultKind.TIMEOUT, message="silent"))
BLIND = CheckResult(latency=0.0, unknown="no descriptors")


@dataclass
class SetClock(FakeClock):
    """A clock that goes on when told."""

    moment: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()

    def monotonic(self) -> float:
        return self.moment


class Tape:
    """A history in a real journal's file."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, SetClock()
        self.journal = SqliteJournal(path, self.clock)
        self.history = History(self.journal, self.clock)

    def says(self, result: CheckResult, *, service: str = "db", late: float = 0.0, void: bool = False) -> None:
        self.clock.moment += 1.0
        self.history.on_event(
            Checked(service=service, kind="redis", result=result, fresh=False, late=late, void=void, woken=False)
        )

    def rows(self, what: str = "answer, count") -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(f"SELECT {what} FROM history ORDER BY id").fetchall()  # noqa: S608


@asynccontextmanager
async def taping(path: Path) -> AsyncIterator[Tape]:
    tape = Tape(path)
    try:
        yield tape
    finally:
        await tape.journal.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# ----------------------------------------------------------------------------------------------------------- the runs


async def test_alike_answers_in_a_row_are_one_row(path: Path) -> None:
    async with taping(path) as tape:
        for result in (WELL, WELL, REFUSED, SURE, SURE, SURE, BLIND, WELL):
            tape.says(result)
        await tape.history.flush()
        expected = [("healthy", 2), ("unreachable", 1), ("unreachable", 3), ("unknown", 1), ("healthy", 1)]
        assert tape.rows() == expected
        assert tape.rows("certain, message")[1:4] == [(0, "refused"), (1, "gone"), (0, "no descriptors")]


async def test_a_run_begins_when_its_first_answer_was_asked_for_and_ends_when_its_last_was(path: Path) -> None:
    async with taping(path) as tape:
        tape.says(SILENT)
        tape.says(SILENT)
        await tape.history.flush()
        [(since, until, since_s, until_s, latency)] = tape.rows("since, until, since_s, until_s, latency")
        assert (since, until) == (pytest.approx(NOON - 1.0), pytest.approx(NOON))
        assert (since_s, until_s) == (pytest.approx(99.0), pytest.approx(100.0))
        assert latency == 2.0


async def test_a_run_that_goes_on_stays_one_row_over_many_flushes(path: Path) -> None:
    async with taping(path) as tape:
        for _ in range(5):
            tape.says(WELL)
            tape.says(REFUSED, service="api")
            await tape.history.flush()
        assert tape.rows("service, count") == [("db", 5), ("api", 5)]


async def test_what_counts_for_nothing_is_no_failure_in_the_history(path: Path) -> None:
    async with taping(path) as tape:
        tape.says(WELL)
        tape.says(SILENT, void=True)
        await tape.history.flush()
        assert tape.rows() == [("healthy", 1), ("void", 1)]


async def test_where_nobody_looked_is_told(path: Path) -> None:
    async with taping(path) as tape:
        tape.says(WELL)
        tape.history.on_event(LoopLagged(seconds=STALL - 0.1))
        tape.says(WELL)
        tape.history.on_event(LoopLagged(seconds=STALL))
        tape.says(WELL)
        tape.says(WELL, late=STALL)
        tape.history.on_event(ServicesChanged(added=(), removed=("db",)))
        tape.says(WELL)
        tape.says(REFUSED)
        await tape.history.flush()
        assert tape.rows("begun, count") == [("start", 2), ("stall", 1), ("stall", 1), ("start", 1), ("change", 1)]


async def test_a_long_message_is_cut(path: Path) -> None:
    async with taping(path) as tape:
        tape.says(CheckResult(latency=0.0, fault=Fault(kind=FaultKind.BAD_BODY, message="x" * 100_000)))
        await tape.history.flush()
        [(message,)] = tape.rows("message")
        assert message == "x" * MESSAGE_MAX


# ------------------------------------------------------------------------------------------------------- the writing


class Slow:
    """A writer that takes its time, or never comes back."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.error, self.calls = seconds, "", 0
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        for text in database.migrations():
            self.db.executescript(text)

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self.calls += 1
        await anyio.sleep(self.seconds)
        if self.error:
            raise JournalError(self.error)
        database.in_transaction(self.db, work)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.db.execute("SELECT answer, count FROM history ORDER BY id").fetchall()


def say(history: History, *results: CheckResult) -> None:
    for result in results:
        history.on_event(Checked(service="db", kind="redis", result=result, fresh=False, late=0.0, void=False))


@virtual
async def test_a_change_is_written_within_seconds_and_a_long_run_every_minute() -> None:
    writer, clock = Slow(), FakeClock()
    with closing(writer.db):
        history = History(writer, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(history.run)
            say(history, WELL)
            await anyio.sleep(2.0)
            assert writer.rows() == [("healthy", 1)]
            say(history, WELL, WELL)
            await anyio.sleep(2.0)
            assert writer.rows() == [("healthy", 1)]
            await anyio.sleep(FLUSH_EVERY)
            assert writer.rows() == [("healthy", 3)]
            say(history, REFUSED)
            await anyio.sleep(2.0)
            assert writer.rows() == [("healthy", 3), ("unreachable", 1)]
            tasks.cancel_scope.cancel()


@virtual
async def test_what_a_full_disk_refused_is_written_once_there_is_room_and_tried_once_a_minute() -> None:
    writer, clock = Slow(), FakeClock()
    with closing(writer.db):
        history = History(writer, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(history.run)
            writer.error = "the disk is full"
            for _ in range(600):
                say(history, WELL, REFUSED)
                await anyio.sleep(1.0)
            assert writer.calls <= 600 / FLUSH_EVERY + 2
            writer.error = ""
            await anyio.sleep(FLUSH_EVERY + 2.0)
            assert len(writer.rows()) == 1200
            tasks.cancel_scope.cancel()


@virtual
async def test_a_disk_that_hangs_costs_bounded_memory_and_no_time() -> None:
    writer, clock = Slow(seconds=float("inf")), FakeClock()
    with closing(writer.db):
        history = History(writer, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(history.run)
            before = anyio.current_time()
            await anyio.lowlevel.checkpoint()
            for _ in range(WAITING_MAX):
                say(history, WELL, REFUSED)
            assert anyio.current_time() == before
            assert len(history._ended) == WAITING_MAX
            tasks.cancel_scope.cancel()


async def test_a_commit_before_an_effect_comes_between_the_slices_of_a_long_flush(path: Path) -> None:
    async with taping(path) as tape:
        for _ in range(20 * ROWS_AT_ONCE):
            tape.says(WELL)
            tape.says(REFUSED)
        finished: list[str] = []

        async def flush() -> None:
            await tape.history.flush()
            finished.append("flush")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flush)
            while not (path.exists() and tape.history._next_id > 1):
                await anyio.lowlevel.checkpoint()
            await tape.journal.append(opened())
            finished.append("commit")
        assert finished == ["commit", "flush"]
        assert len(tape.rows()) == 40 * ROWS_AT_ONCE


async def test_a_disk_without_room_loses_history_alone(path: Path) -> None:
    async with taping(path) as tape:
        db = await tape.journal.open()
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(500):
            tape.says(WELL)
            tape.says(REFUSED)
        await tape.history.flush()  # raises nothing
        assert tape.rows() == []
        db.execute("PRAGMA max_page_count = 100000")
        await tape.journal.append(opened())
        await tape.history.flush()
        assert len(tape.rows()) == 1000


WRITER = """
import sys
from pathlib import Path
import anyio
from incidents.test_history import REFUSED, WELL, Tape

async def write() -> None:
    tape = Tape(Path(sys.argv[1]))
    for number in range(1_000_000):
        tape.says(WELL)
        tape.says(REFUSED)
        await tape.history.flush()
        print(number, flush=True)

anyio.run(write)
"""


async def test_a_daemon_that_is_killed_loses_no_run_that_was_flushed_and_begins_anew(path: Path) -> None:
    surroundings = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent.parent) + ":" + os.environ.get("PYTHONPATH", ""),
    }
    argv = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=surroundings) as writer:  # noqa: ASYNC220
        assert writer.stdout is not None
        for _ in range(25):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        told = 25 + len(writer.stdout.read().splitlines())
    async with taping(path) as tape:
        tape.says(WELL)
        await tape.history.flush()
        assert 2 * told + 1 <= len(tape.rows()) <= 2 * told + 3
        assert tape.rows("begun")[-1] == ("start",)


# ----------------------------------------------------------------------------------------------------------- tidying


async def test_what_is_older_than_ninety_days_goes_slice_by_slice_whatever_service_it_was_of(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "DROPPED_AT_ONCE", 10)
    async with taping(path) as tape:
        for _ in range(25):
            tape.says(WELL, service="gone")
            tape.says(REFUSED, service="gone")
        tape.says(WELL)
        await tape.history.flush()
        tape.clock.moment += KEPT_FOR
        tape.says(WELL)  # the run that began so long ago goes on
        for _ in range(3):
            await tape.history.flush()
        assert tape.rows("service, count") == [("db", 2)]


async def test_a_service_that_flaps_a_hundred_thousand_times_keeps_its_latest_runs_and_no_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "KEPT_EACH", 2000)
    async with taping(path) as tape:
        tape.says(WELL, service="calm")
        most = 0
        for _ in range(50):
            for _ in range(1000):
                tape.says(WELL)
                tape.says(REFUSED)
            await tape.history.flush()
            most = max(most, len(tape.rows("id")))
        assert most <= 2000 + 500 + 1
        rows: Sequence[tuple[Any, ...]] = tape.rows("service, since_s")
        assert ("calm", pytest.approx(101.0, abs=0.01)) in rows
        assert max(since for _, since in rows) == pytest.approx(100.0 + tape.clock.moment, abs=0.01)
        assert path.stat().st_size < 2_000_000
