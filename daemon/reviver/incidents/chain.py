"""
The chain of entries: each carries a hash over itself and the one before it.

Who changes, takes out or reorders entries breaks it there. Who writes the rest of it anew, or cuts off its end, is
found by a *head* that was kept elsewhere: the daemon logs it (``journal.head``), and so the system's own journal, or
the host to which that is sent, bears witness.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from . import database


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain."""

    entry: int
    link: str

    def __str__(self) -> str:
        return f"{self.entry}:{self.link}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the chain says of a journal."""

    entries: int
    """How many are part of the chain."""
    head: Head | None
    broken_at: int | None = None
    """The first entry that doesn't follow from the one before it."""
    missing_head: Head | None = None
    """A head that was kept elsewhere, and that this chain doesn't have."""


def link(before: str, row: Iterable[object]) -> str:
    """The link of the entry whose columns are *row*, after the link *before* (empty: it is the first)."""
    parts = [before, *(repr(float(part)) if isinstance(part, float) else str(part) for part in row)]
    text = "".join(f"{len(part)}:{part}" for part in parts)  # lengths, so that no two rows read alike
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def audit(connection: sqlite3.Connection, witness: Head | None = None) -> Audit:
    """
    Whether the journal is as it was written, and has *witness*, if one is named.

    Args:
        connection: The journal, open for reading.
        witness: A head that the daemon logged.
    """
    before, count, head, seen = "", 0, None, witness is None
    for number, *row, written in connection.execute(database.queries()["links"]):
        if not written and not before:
            continue  # from before there was a chain
        if written != link(before, row):
            return Audit(entries=count, head=head, broken_at=number, missing_head=None if seen else witness)
        before, count, head = written, count + 1, Head(number, written)
        seen = seen or head == witness
    return Audit(entries=count, head=head, missing_head=None if seen else witness)
