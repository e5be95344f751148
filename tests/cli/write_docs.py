"""Writes the generated part of ``docs/cli.md``: run it when a command or an option has changed."""

import sys
from pathlib import Path
from unittest import mock

from reviver.cli import app

PAGE = Path(__file__).parents[2] / "docs/cli.md"
MARK = "from the commands themselves. -->\n\n"


def written() -> str:
    """The page as it should be: what people wrote, and every command."""
    by_hand, mark, _ = PAGE.read_text().partition(MARK)
    with mock.patch.object(sys, "argv", ["reviver"]):  # else `python -m …` gets into each usage line
        generated = app.generate_docs()
    return by_hand + mark + generated[generated.index("## reviver run") :]


if __name__ == "__main__":
    PAGE.write_text(written())
