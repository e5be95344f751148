"""``reviver audit``: whether anybody has changed the past of the journal."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from .exits import FAILED, OK, USAGE, Stop
from .options import Config, Json, settings_from
from .output import print_json

if TYPE_CHECKING:
    from reviver.incidents.chain import Audit, Head

Journal = Annotated[
    Path | None,
    Parameter(name="--journal", help="The journal's file. Default: journal.db where the settings put it."),
]
Witness = Annotated[
    str | None,
    Parameter(name="--head", metavar="ENTRY:LINK", help="A head that the daemon logged (journal.head): is it there?"),
]
TAMPERED: Final = 2


def audit(*, journal: Journal = None, head: Witness = None, config: Config = None, json: Json = False) -> int:
    """
    Tell whether the journal is as it was written.

    Each entry carries a hash over itself and the one before it, so what was changed, taken out or reordered is found.
    What was cut off at the end, or written anew from some entry on, is found by a head that was kept elsewhere: the
    daemon logs one each minute in which something was written. Exit code 2: it is not as it was written.
    """
    from reviver.incidents import chain, database
    from reviver.model.journal import JournalError

    witness = None if head is None else _head(head)
    path = journal or settings_from(config, resolve_secret=lambda _reference: "").daemon.state_dir / "journal.db"
    try:
        with closing(database.connect_to_read(path)) as connection:
            found = chain.audit(connection, witness)
    except JournalError as error:
        raise Stop(str(error), FAILED) from error
    whole = found.broken_at is None and found.missing_head is None
    if json:
        print_json(
            {
                "journal": str(path),
                "whole": whole,
                "entries": found.entries,
                "head": None if found.head is None else str(found.head),
                "broken_at": found.broken_at,
                "missing_head": None if found.missing_head is None else str(found.missing_head),
            }
        )
    else:
        print(f"{path}: {_verdict(found)}")
    return OK if whole else TAMPERED


def _verdict(found: "Audit") -> str:
    if found.broken_at is not None:
        return f"entry {found.broken_at} does not follow from the one before it: something was changed there"
    if found.missing_head is not None:
        return f"the head {found.missing_head} is not in it: its end was cut off, or written anew"
    return f"{found.entries} entries, as they were written; head {found.head or 'none'}"


def _head(text: str) -> "Head":
    from reviver.incidents.chain import Head

    entry, _, link = text.partition(":")
    if not (entry.isascii() and entry.isdecimal() and link):
        raise Stop(f'--head "{text}": expected ENTRY:LINK, as in the log\'s journal.head', USAGE)
    return Head(int(entry), link)
