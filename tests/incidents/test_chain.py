"""Whoever changes the past of the journal is found out."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fakes import FakeClock
from incidents.entries import ended, opened, recovered, started
from reviver.incidents import chain
from reviver.incidents.chain import Audit, Head
from reviver.incidents.journal import SqliteJournal

Deed = Callable[[sqlite3.Connection], object]


async def written(directory: Path) -> tuple[Path, list[Head]]:
    """A journal of eight entries, and its head after each two."""
    journal, heads = SqliteJournal(directory / "journal.db", FakeClock()), []
    await journal.open()
    for number in range(4):
        await journal.append(opened(incident=f"db-{number}"), started(number + 1) if number % 2 else ended())
        heads.append(await journal.head())
    await journal.aclose()
    return directory / "journal.db", [head for head in heads if head is not None]


def audited(path: Path, witness: Head | None = None, deed: Deed | None = None) -> Audit:
    with closing(sqlite3.connect(path)) as connection:
        if deed is not None:
            deed(connection)
            connection.commit()
        return chain.audit(connection, witness)


async def test_an_untouched_journal_is_whole_and_has_every_head_that_was_told(tmp_path: Path) -> None:
    path, heads = await written(tmp_path)
    for head in heads:
        assert audited(path, head) == Audit(entries=8, head=heads[-1])
    assert [head.entry for head in heads] == [2, 4, 6, 8]


@pytest.mark.parametrize("entry", range(1, 9))
@pytest.mark.parametrize("column", ["type", "service", "incident", "at", "boot_id", "boot_s", "body", "chain"])
async def test_a_changed_entry_is_found_whichever_and_whatever_of_it(entry: int, column: str, tmp_path: Path) -> None:
    path, _ = await written(tmp_path)
    value = "9.5" if column in {"at", "boot_s"} else "'x'"
    found = audited(path, deed=lambda db: db.execute(f"UPDATE entries SET {column} = {value} WHERE id = {entry}"))  # noqa: S608
    assert found.broken_at == entry


@pytest.mark.parametrize("entry", range(1, 8))
async def test_a_missing_entry_is_found(entry: int, tmp_path: Path) -> None:
    path, heads = await written(tmp_path)
    found = audited(path, heads[-1], lambda db: db.execute("DELETE FROM entries WHERE id = ?", (entry,)))
    assert (found.broken_at, found.missing_head) == (entry + 1, heads[-1])


async def test_entries_in_another_order_are_found(tmp_path: Path) -> None:
    path, _ = await written(tmp_path)
    swap = "UPDATE entries SET id = CASE id WHEN 4 THEN -5 WHEN 5 THEN -4 END WHERE id IN (4, 5)"

    def reorder(db: sqlite3.Connection) -> None:
        db.execute(swap)
        db.execute("UPDATE entries SET id = -id WHERE id < 0")

    assert audited(path, deed=reorder).broken_at == 4


async def test_a_journal_cut_off_at_its_end_lacks_the_head_that_was_told(tmp_path: Path) -> None:
    path, heads = await written(tmp_path)
    found = audited(path, heads[-1], lambda db: db.execute("DELETE FROM entries WHERE id > 6"))
    assert found == Audit(entries=6, head=heads[2], missing_head=heads[-1])


async def test_a_past_written_anew_lacks_the_head_that_was_told(tmp_path: Path) -> None:
    path, heads = await written(tmp_path)

    def forge(db: sqlite3.Connection) -> None:
        db.execute("UPDATE entries SET service = 'other' WHERE id = 3")
        before = ""
        for number, *row, _ in db.execute("SELECT *, chain FROM entries ORDER BY id").fetchall():
            before = chain.link(before, row[:7])
            db.execute("UPDATE entries SET chain = ? WHERE id = ?", (before, number))

    found = audited(path, heads[1], forge)
    assert (found.broken_at, found.missing_head) == (None, heads[1])
    assert audited(path, heads[0]).missing_head is None  # what was told before the forged entry is still true


async def test_entries_from_before_there_was_a_chain_are_passed_over(tmp_path: Path) -> None:
    path, _ = await written(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET chain = ''")
        connection.commit()
    journal = SqliteJournal(path, FakeClock())
    await journal.open()
    assert await journal.head() is None
    await journal.append(recovered())
    head = await journal.head()
    await journal.aclose()
    assert audited(path) == Audit(entries=1, head=head)


def test_no_two_rows_have_the_same_link_by_moving_text_from_one_column_to_the_next() -> None:
    assert chain.link("", ("ab", "c")) != chain.link("", ("a", "bc"))
    assert chain.link("x", ("a",)) != chain.link("", ("a",))
