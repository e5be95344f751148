"""``reviver audit``, on journals that the daemon wrote and others touched."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.stage import reviver
from incidents.test_chain import written


async def test_a_whole_journal_is_said_to_be_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, heads = await written(tmp_path)
    assert await reviver("audit", "--journal", str(path), "--head", str(heads[1])) == 0
    assert capsys.readouterr().out == f"{path}: 8 entries, as they were written; head {heads[-1]}\n"


async def test_a_changed_entry_and_a_cut_end_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, heads = await written(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM entries WHERE id > 6")
        db.commit()
    assert await reviver("audit", "--journal", str(path), "--head", str(heads[-1])) == 2
    assert "its end was cut off, or written anew" in capsys.readouterr().out
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE entries SET body = '{}' WHERE id = 3")
        db.commit()
    assert await reviver("audit", "--journal", str(path)) == 2
    assert "entry 3 does not follow" in capsys.readouterr().out


@pytest.mark.parametrize("head", ["", "7", "x:y", "7:"])
async def test_what_is_no_head_is_refused(head: str, tmp_path: Path) -> None:
    path, _ = await written(tmp_path)
    assert await reviver("audit", "--journal", str(path), "--head", head) == 64


async def test_where_there_is_no_journal_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await reviver("audit", "--journal", str(tmp_path / "none.db")) == 1
    assert "can't be read" in capsys.readouterr().err
