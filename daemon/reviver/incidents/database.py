"""
The journal's database: one SQLite file, one connection, one thread at a time.

WAL with ``synchronous = FULL``: when a commit returns, it is on disk (https://sqlite.org/pragma.html#pragma_synchronous).
Knows SQL and migrations, not what an entry is.
"""

import os
import re
import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reviver.model.journal import JournalError

_SQL = resources.files(__package__) / "sql"

Row = tuple[Any, ...]


def queries() -> dict[str, str]:
    """The statements of ``queries.sql`` by name."""
    parts = re.split(r"^-- name: (\w+)$", (_SQL / "queries.sql").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True))


def migrations() -> list[str]:
    """The numbered migrations in order; the n-th brings the schema to version n."""
    files = sorted((_SQL / "migrations").iterdir(), key=lambda file: file.name)
    return [file.read_text() for file in files if file.name.endswith(".sql")]


def connect(path: Path) -> sqlite3.Connection:
    """
    The open database at *path*, created or migrated if need be.

    Raises:
        JournalError: It can't be opened, is damaged, or was written by a newer reviver.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(explain(path, error)) from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0].splitlines()[-1]
        if verdict != "ok":
            raise JournalError(f"journal: {path} is damaged ({verdict}); move it aside, reviver then starts a new one")
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise JournalError(explain(path, error)) from error
    except JournalError:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """
    The database at *path*, for reading alone, whether or not a daemon writes to it.

    Raises:
        JournalError: It can't be read, or its schema is of another version.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        # Closed in good order, and where we may not write, the files that WAL wants beside it can't be made.
        alone = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
        connection, version = _opened_to_read(f"{uri}&immutable=1" if alone else uri)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"journal: {path} can't be read: {error}") from error
    known = len(migrations())
    if version != known:
        connection.close()
        raise JournalError(
            f"journal: {path} has schema version {version}, this reviver reads {known}; "
            "a daemon of this version brings an older one up to date when it starts"
        )
    return connection


def _opened_to_read(uri: str) -> tuple[sqlite3.Connection, int]:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2.0)
    try:
        return connection, connection.execute("PRAGMA user_version").fetchone()[0]
    except BaseException:
        connection.close()
        raise


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    steps = migrations()
    if version > len(steps):
        raise JournalError(
            f"journal: {path} has schema version {version}, this reviver knows {len(steps)}; "
            "it was written by a newer reviver: run that one, or move the file aside"
        )
    for number, text in enumerate(steps[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")


def in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
    """Do *work* and commit, or leave nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def explain(path: Path, error: Exception) -> str:
    """*error* as a line for an operator."""
    hints = {
        "SQLITE_FULL": "the disk is full: free space there",
        "SQLITE_READONLY": "it is read-only: check the mount and the file's owner",
        "SQLITE_CANTOPEN": "it can't be opened: check that the directory exists and reviver may write there",
        "SQLITE_BUSY": "another process holds it: is a second reviver running with this state_dir?",
        "SQLITE_CORRUPT": "it is damaged: move it aside, reviver then starts a new one",
        "SQLITE_NOTADB": "it is no journal: move it aside, reviver then starts a new one",
        "SQLITE_IOERR": "the disk answers with errors: look at the kernel's log",
    }
    name = getattr(error, "sqlite_errorname", "")
    hint = next((text for prefix, text in hints.items() if name.startswith(prefix)), str(error))
    return f"journal: {path}: {hint}. Watching and telling go on; no recovery will start"
