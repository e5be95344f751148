"""How commands print: tables for people, calm and in colour only on a terminal; JSON for programs."""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

NONE: Final = "-"
"""Stands where there is nothing to tell, so that no column is ever empty."""

STYLES: Final = {
    "up": "green",
    "recovered": "green",
    "suspect": "yellow",
    "recovering": "yellow",
    "open": "yellow",
    "down": "bold red",
    "escalated": "bold red",
    "paused": "cyan",
    "unknown": "dim",
    "withdrawn": "dim",
}
"""Colour repeats what the word says, and never says it alone."""

Row = Sequence[str | Sequence[str]]
"""The cells of a line of a table; a sequence is a cell of several lines."""


def print_json(value: Any) -> None:
    """*value* on stdout as JSON that a person can read, too."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """*text* on stderr: talk, not data."""
    print(text, file=sys.stderr)


def print_table(headers: Sequence[str] | None, rows: Sequence[Row]) -> None:
    """
    A table on stdout.

    On a terminal it keeps to its width by breaking the last column; elsewhere each row is one line, so that ``grep``
    and ``watch`` see it whole.
    """
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR"):
        from rich.console import Console

        Console(highlight=False).print(_table(headers, rows))
        return
    lines = [[_flat(cell) for cell in row] for row in ([headers, *rows] if headers else rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _table(headers: Sequence[str] | None, rows: Sequence[Row]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=headers is not None)
    *others, last = headers or [""] * len(rows[0])
    for header in others:  # names and ids stay whole, to be copied
        table.add_column(header, no_wrap=True)
    table.add_column(last, overflow="fold")
    for row in rows:
        table.add_row(*(_styled(cell) for cell in row))
    return table


def _flat(cell: str | Sequence[str]) -> str:
    from reviver.model.secrets import one_line

    return one_line(cell if isinstance(cell, str) else "; ".join(cell)) or NONE


def _styled(cell: str | Sequence[str]) -> "Text":
    from rich.text import Text

    from reviver.model.secrets import one_line

    text = "\n".join(map(one_line, [cell] if isinstance(cell, str) else cell))
    return Text(text or NONE, style=STYLES.get(text, ""))


def time_of_day(unix: float) -> str:
    """*unix* time for a person who knows the day: ``14:02:11``."""
    return time.strftime("%H:%M:%S", time.localtime(unix))


def clock(unix: float) -> str:
    """*unix* time for a person, here: ``2026-03-01 14:02:11``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))


def seconds(value: float | None) -> str:
    """A duration for a person, or a dash."""
    from reviver.model.units import format_duration

    return NONE if value is None else format_duration(max(value, 0.0))
