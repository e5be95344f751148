"""A journal written by another version, or by somebody who thought that he knew better."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from incidents.entries import every
from reviver.incidents.journal import SqliteJournal, _body
from reviver.model.incidents import fold
from reviver.model.journal import ENTRY_TYPES, Entry, Record
from reviver.web.json import dumps, incident_json, incident_summary
from web.fakes import NOW, FakeClock

TYPES = st.sampled_from([kind.type for kind in ENTRY_TYPES]) | st.sampled_from(["", "incident_dreamt", "\x1b"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from(["unreachable", "done", "recovered", "sev1", "idempotent"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BROKEN = st.sampled_from(
    ["", "{", "5", "null", "[]", '"x"', "NaN", "[" * 100_000, '{"attempt": 1e999}', '{"a": "\\ud800"}', "9" * 5000]
)


@st.composite
def changed(draw: st.DrawFn) -> tuple[str, str]:
    """An entry's type and body, in which something is not as this version would write it."""
    entry: Entry = draw(every)
    fields: dict[str, Any] = json.loads(_body(entry))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*fields, "attempt", "novelty", "service"]))
        if draw(st.booleans()):
            fields[name] = draw(VALUES)
        else:
            fields.pop(name, None)
    return draw(st.just(entry.type) | TYPES), json.dumps(fields)


ROWS = st.lists(
    st.tuples(
        changed() | st.tuples(TYPES, BROKEN), st.sampled_from(["db-1", "db-2", ""]), st.sampled_from(["db", "", "x\n"])
    ),
    max_size=8,
)
TIMES = st.sampled_from([NOW, 0.0, -1e300, 1e300, 9e18])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "journal.db"


@given(rows=ROWS, at=TIMES)
@cases(25)
@example(rows=[(("attempt_started", "{"), "db-1", "db"), (("step_started", "{"), "db-1", "db")], at=NOW)
async def test_whatever_a_journal_holds_it_can_be_read_and_told(path: Path, rows: Any, at: float) -> None:
    journal = SqliteJournal(path, FakeClock())
    db = await journal.open()
    db.execute("PRAGMA synchronous = OFF")
    db.executescript(
        "BEGIN; DELETE FROM entries; DELETE FROM incidents;"
        "INSERT INTO incidents VALUES ('db-1', 'db', 'open', 1), ('db-2', 'db', 'bent', 2)"
    )
    for (type_, body), incident, service in rows:
        db.execute(
            "INSERT INTO entries (type, service, incident, at, boot_id, boot_s, body) VALUES (?, ?, ?, ?, 'b', 5, ?)",
            (type_, service, incident, at, body),
        )
    db.execute("COMMIT")
    found: list[Record] = [
        *await journal.attempts_since(1e9),
        *await journal.falls_since(1e9),
        *await journal.incident("db-1"),
        *(record for records in (await journal.unfinished()).values() for record in records),
    ]
    await journal.frozen()
    assert all(isinstance(record, Record) for record in found)
    for records in await journal.incidents(limit=20):
        incident = fold(records)
        if incident is not None:
            json.loads(dumps(incident_json(incident)))
            json.loads(dumps(incident_summary(incident)))
    await journal.aclose()
