"""The journal on disk: what it survives, and what an operator reads when it can't be used."""
# ruff: noqa: ASYNC240  small files of the tests' own

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from fakes import FakeClock
from incidents.entries import opened, paused, recovered, started
from reviver.incidents import database
from reviver.incidents.journal import SqliteJournal
from reviver.model import journal as j
from reviver.model.faults import FaultKind

GOES_ON = "Watching and telling go on; no recovery will start"


@asynccontextmanager
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    book = SqliteJournal(path, FakeClock())
    await book.open()
    try:
        yield book
    finally:
        await book.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def refusal(path: Path) -> str:
    """What an operator reads when the journal can't be opened."""
    with pytest.raises(j.JournalError) as refused:
        await SqliteJournal(path, FakeClock()).open()
    return str(refused.value)


# ------------------------------------------------------------------------------------------------------------ durable


async def test_what_append_returned_for_is_synced_to_the_disk(path: Path) -> None:
    async with journal(path) as book:
        connection = await book.open()
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


WRITER = """
import sys
from pathlib import Path
import anyio
from fakes import FakeClock
from incidents.entries import opened
from reviver.incidents.journal import SqliteJournal

async def write() -> None:
    book = SqliteJournal(Path(sys.argv[1]), FakeClock())
    for number in range(1_000_000):
        await book.append(opened(incident=f"n{number}"))
        print(number, flush=True)

anyio.run(write)
"""


def program(text: str, *arguments: str, before: tuple[str, ...] = ()) -> list[str]:
    return [*before, sys.executable, "-c", text, *arguments]


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


async def test_a_writer_that_is_killed_loses_nothing_that_append_returned_for(path: Path) -> None:
    with subprocess.Popen(program(WRITER, str(path)), stdout=subprocess.PIPE, env=surroundings()) as writer:  # noqa: ASYNC220
        assert writer.stdout is not None
        for _ in range(25):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        told = 25 + len(writer.stdout.read().splitlines())
    async with journal(path) as book:
        found = len(await book.incidents(limit=1_000_000))
    assert told <= found <= told + 1


async def test_a_batch_is_written_as_a_whole_or_not_at_all(path: Path) -> None:
    async with journal(path) as book:
        connection = await book.open()
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON entries WHEN new.type = 'attempt_started' "
            "BEGIN SELECT raise(ABORT, 'no'); END"
        )
        with pytest.raises(j.JournalError):
            await book.append(opened(), started())
        assert list(await book.incidents(limit=9)) == []
        connection.execute("DROP TRIGGER no")
        await book.append(opened(), started())
        assert len(await book.incident("db-1")) == 2


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    async with journal(tmp_path / "state" / "journal.db") as book:
        await book.append(opened())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def test_a_journal_that_is_closed_and_opened_again_goes_on(path: Path) -> None:
    async with journal(path) as book:
        await book.append(opened())
    async with journal(path) as book:
        await book.append(recovered())
        assert len(await book.incident("db-1")) == 2


async def test_opening_twice_keeps_the_one_connection(path: Path) -> None:
    async with journal(path) as book:
        assert await book.open() is await book.open()


async def test_a_write_that_is_cancelled_has_either_been_written_or_not_begun(path: Path) -> None:
    async with journal(path) as book:
        returned = []
        for number in range(30):
            with anyio.move_on_after(0.0005 * (number % 5)):
                await book.append(opened(incident=f"n{number}"))
                returned.append(f"n{number}")
        found = {records[0].entry.incident for records in await book.incidents(limit=99)}
        assert found >= set(returned)


# ----------------------------------------------------------------------------------------------------------- unusual


async def test_what_no_json_can_hold_is_written_as_text(path: Path) -> None:
    odd = {"when": FakeClock, "bytes": b"\xff", "set": {1}, "nan": float("nan"), "deep": {"kind": FaultKind.SLOW}}
    async with journal(path) as book:
        await book.append(opened(details=odd))
        [record] = await book.incident("db-1")
        assert isinstance(record.entry, j.IncidentOpened)
        assert record.entry.details["bytes"] == "b'\\xff'"
        assert record.entry.details["deep"] == {"kind": "slow"}


async def test_texts_of_any_script_and_with_quotes_come_back(path: Path) -> None:
    message = "Ünïcode ✓ 漢字 \"quoted\" 'single' \\ \n \t -- ; DROP TABLE entries"
    async with journal(path) as book:
        await book.append(opened(message=message))
        [record] = await book.incident("db-1")
        assert record.entry == opened(message=message)


async def test_a_lone_surrogate_does_not_keep_an_entry_out(path: Path) -> None:
    async with journal(path) as book:
        await book.append(opened(message="file \udcff"))
        assert len(await book.incidents(limit=9)) == 1


async def test_the_same_incident_opened_twice_does_not_block_the_journal(path: Path) -> None:
    async with journal(path) as book:
        await book.append(opened())
        await book.append(opened())
        await book.append(recovered())
        assert len(await book.incident("db-1")) == 3


async def test_an_entry_of_a_kind_unknown_to_this_version_is_left_out_and_the_rest_is_read(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with journal(path) as book:
        await book.append(opened(), started(), recovered())
        connection = await book.open()
        connection.execute("UPDATE entries SET type = 'of_tomorrow' WHERE type = 'attempt_started'")
        assert [record.entry.type for record in await book.incident("db-1")] == [
            "incident_opened",
            "incident_recovered",
        ]
        connection.execute("UPDATE entries SET body = '{' WHERE type = 'incident_recovered'")
        assert [record.entry.type for record in await book.incident("db-1")] == ["incident_opened"]
    assert "journal.entry_unreadable" in caplog.text


# ---------------------------------------------------------------------------------------------- what can't be opened


async def test_a_journal_of_a_newer_reviver_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    assert await refusal(path) == (
        f"journal: {path} has schema version 99, this reviver knows {len(database.migrations())}; "
        "it was written by a newer reviver: run that one, or move the file aside"
    )
    with closing(sqlite3.connect(path)) as newer:
        assert newer.execute("PRAGMA user_version").fetchone()[0] == 99


async def test_a_file_that_is_no_journal_is_refused(path: Path) -> None:
    path.write_bytes(b"this is a text file, and not a short one" * 500)
    said = f"journal: {path}: it is no journal: move it aside, reviver then starts a new one. {GOES_ON}"
    assert await refusal(path) == said


async def test_a_damaged_journal_is_refused_with_what_to_do(path: Path) -> None:
    async with journal(path) as book:
        for number in range(200):
            await book.append(opened(incident=f"n{number}"))
    damaged = bytearray(path.read_bytes())
    damaged[4096 : 4096 * 12] = os.urandom(4096 * 11)
    path.write_bytes(damaged)
    assert re.search(r"damaged.*move it aside, reviver then starts a new one", await refusal(path))


async def test_a_truncated_journal_is_refused_with_what_to_do(path: Path) -> None:
    async with journal(path) as book:
        for number in range(200):
            await book.append(opened(incident=f"n{number}"))
    os.truncate(path, path.stat().st_size // 2)
    assert "move it aside, reviver then starts a new one" in await refusal(path)


async def test_a_directory_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert "it can't be opened: check that the directory exists and reviver may write there" in await refusal(path)


async def test_a_file_in_the_place_of_its_directory_is_refused_with_the_reason(path: Path) -> None:
    path.write_text("")
    assert str(path / "journal.db") in await refusal(path / "journal.db")


async def test_what_kept_it_from_opening_may_be_mended(path: Path) -> None:
    path.mkdir()
    book = SqliteJournal(path, FakeClock())
    with pytest.raises(j.JournalError):
        await book.append(opened())
    path.rmdir()
    await book.append(opened())
    await book.aclose()


# --------------------------------------------------------------------------------------------- what can't be written


async def test_another_writer_is_waited_for_and_then_named(path: Path) -> None:
    async with journal(path) as book:
        await book.append(opened())
        connection = await book.open()
        connection.execute("PRAGMA busy_timeout = 50")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(j.JournalError, match="another process holds it: is a second reviver running"):
                await book.append(recovered())
            other.execute("ROLLBACK")
        await book.append(recovered())
        assert len(await book.incident("db-1")) == 2


async def test_a_full_disk_is_named_and_once_there_is_room_the_journal_goes_on(path: Path) -> None:
    async with journal(path) as book:
        connection = await book.open()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        written = await fill(book)
        connection.execute("PRAGMA max_page_count = 1000000")
        await book.append(opened(incident="afterwards"))
        assert len(await book.incidents(limit=9999)) == written + 1


async def fill(book: SqliteJournal) -> int:
    """How many entries were written until the disk was full."""
    written = 0
    with pytest.raises(j.JournalError, match="the disk is full: free space there"):  # noqa: PT012  the last one does
        for number in range(10_000):
            await book.append(opened(incident=f"n{number}", message="x" * 200))
            written += 1
    return written


async def test_a_journal_that_may_only_be_read_is_named(path: Path) -> None:
    async with journal(path) as book:
        connection = await book.open()
        connection.execute("PRAGMA query_only = ON")
        for entries in ((opened(),), ()):
            with pytest.raises(j.JournalError, match="it is read-only: check the mount and the file's owner"):
                await book.append(*entries)


async def test_reading_a_journal_that_was_damaged_meanwhile_is_an_error_and_no_crash(path: Path) -> None:
    async with journal(path) as book:
        connection = await book.open()
        await book.append(opened())
        connection.execute("DROP TABLE entries")
        for reading in (book.incident("db-1"), book.unfinished(), book.attempts_since(1.0), book.incidents(limit=1)):
            with pytest.raises(j.JournalError):
                await reading


SMALL_DISK = """
import sys
from pathlib import Path
import anyio
from fakes import FakeClock
from incidents.entries import opened
from reviver.incidents.journal import SqliteJournal
from reviver.model.journal import JournalError

mount = Path(sys.argv[1])

async def main() -> None:
    ballast = mount / "ballast"
    ballast.write_bytes(b"x" * 600_000)
    book = SqliteJournal(mount / "journal.db", FakeClock())
    written = 0
    try:
        while True:
            await book.append(opened(incident=f"n{written}", message="x" * 500))
            written += 1
    except JournalError as error:
        print(error)
    full = 0
    for _ in range(3):
        try:
            await book.append(opened(incident="no room", message="x" * 500))
        except JournalError:
            full += 1
    ballast.unlink()
    await book.append()
    await book.append(opened(incident="afterwards"))
    await book.aclose()
    again = SqliteJournal(mount / "journal.db", FakeClock())
    print(written, full, len(await again.incidents(limit=100_000)))

anyio.run(main)
"""

READ_ONLY = """
import subprocess, sys
from pathlib import Path
import anyio
from fakes import FakeClock
from incidents.entries import opened
from reviver.incidents.journal import SqliteJournal
from reviver.model.journal import JournalError

mount = Path(sys.argv[1])

async def main() -> None:
    subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
    try:
        await SqliteJournal(mount / "state" / "journal.db", FakeClock()).append(opened())
    except JournalError as error:
        print(error)

anyio.run(main)
"""


def on_a_small_disk(text: str, mount: Path) -> list[str]:
    """What *text* prints when it runs with a tmpfs of 1 MB at *mount*, in a mount namespace of its own."""
    shell = f'mount -t tmpfs -o size=1m none {mount} && exec "$0" "$@"'
    command = program(text, str(mount), before=("unshare", "--map-root-user", "--mount", "sh", "-c", shell))
    ran = subprocess.run(command, capture_output=True, text=True, env=surroundings(), timeout=60, check=False)
    if "Operation not permitted" in ran.stderr and "CI" not in os.environ:
        pytest.skip("needs to mount a small disk")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_on_a_disk_that_is_really_full_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    said, counts = on_a_small_disk(SMALL_DISK, tmp_path)
    assert said == f"journal: {tmp_path}/journal.db: the disk is full: free space there. {GOES_ON}"
    written, full, found = map(int, counts.split())
    assert written > 10
    assert full == 3
    assert found == written + 1


def test_on_a_disk_mounted_read_only_the_reason_is_named(tmp_path: Path) -> None:
    [said] = on_a_small_disk(READ_ONLY, tmp_path)
    assert said.startswith(f"journal: {tmp_path}/state/journal.db: ")
    assert "ead-only" in said


# ---------------------------------------------------------------------------------------------------------- migrations


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def test_a_new_journal_has_the_newest_schema(path: Path) -> None:
    async with journal(path):
        pass
    assert version(path) == len(database.migrations())


async def test_an_older_journal_is_migrated_with_all_that_is_in_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal(path) as book:
        await book.append(opened(), paused(until=2e9))
    known = database.migrations()
    more = "ALTER TABLE incidents ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;\nCREATE INDEX seen ON incidents (seen);"
    monkeypatch.setattr(database, "migrations", lambda: [*known, more])
    async with journal(path) as book:
        assert len(await book.incident("db-1")) == 1
        assert len(await book.pauses()) == 1
    assert version(path) == len(known) + 1


async def test_a_migration_that_fails_leaves_the_journal_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal(path) as book:
        await book.append(opened())
    known = database.migrations()
    bad = "ALTER TABLE incidents ADD COLUMN seen INTEGER;\nALTER TABLE nowhere ADD COLUMN seen INTEGER;"
    monkeypatch.setattr(database, "migrations", lambda: [*known, bad])
    assert "no such table" in await refusal(path)
    monkeypatch.undo()
    assert version(path) == len(known)
    async with journal(path) as book:
        await book.append(recovered())
        assert len(await book.incident("db-1")) == 2


def test_every_statement_has_a_name_and_is_used() -> None:
    names = set(database.queries())
    room = Path(database.__file__).parent
    source = "".join(each.read_text() for each in (*room.glob("*.py"), room.parent / "replay" / "reading.py"))
    used = set(re.findall(r'(?:sql|queries\(\))\["(\w+)"\]|_(?:records_of|since|drop)\("(\w+)"', source))
    assert names == {name for pair in used for name in pair if name}


def test_migrations_are_numbered_without_gaps() -> None:
    names = sorted(file.name for file in (Path(database.__file__).parent / "sql" / "migrations").glob("*.sql"))
    assert [name[:5] for name in names] == [f"{number:04d}_" for number in range(1, len(names) + 1)]
