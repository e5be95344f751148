"""
The scribe: writes each entry to the journal, and tells the subscribers.

Two promises: what must be written before an effect is on disk when ``commit`` returns, or it raises and nothing may be
done. What merely happened (``record``) is never lost to a disk that is full for a while: it waits in memory, in order,
and nobody waits for it.
"""

from collections import deque

import anyio

from reviver.model.events import Emit, JournalStateChanged
from reviver.model.journal import Entry, Journal, JournalError

BACKLOG_MAX = 10_000  # entries kept while the journal can't be written; the oldest go first
RETRY_EVERY = 5.0  # seconds


class Scribe:
    """Writes to one journal, in order."""

    def __init__(self, journal: Journal, emit: Emit) -> None:
        self._journal = journal
        self._emit = emit
        self._backlog: deque[Entry] = deque(maxlen=BACKLOG_MAX)
        self._turn = anyio.Lock(fast_acquire=True)
        self.broken = ""
        """Why the journal can't be written, if it can't."""

    def break_off(self, reason: str) -> None:
        """Hold the journal for broken until it has been written again."""
        self._now(broken=reason)

    async def commit(self, *entries: Entry) -> None:
        """
        Write *entries*, and whatever waits before them; returns when all is on disk.

        Raises:
            JournalError: It isn't; the entries are dropped, for what they announce must not happen.
        """
        async with self._turn:
            await self._append(*self._backlog, *entries)
            self._backlog.clear()
        self._tell(entries)

    async def record(self, *entries: Entry) -> None:
        """Write *entries* about what has happened, now or as soon as the journal can be written again."""
        self._tell(entries)
        async with self._turn:
            self._backlog.extend(entries)
            try:
                await self._append(*self._backlog)
            except JournalError:
                return  # said by `_append`; they stay in the backlog
            self._backlog.clear()

    async def mend(self) -> None:
        """While the journal is broken, try again and again. Runs until cancelled."""
        while True:
            await anyio.sleep(RETRY_EVERY)
            if self.broken:
                await self.record()

    def _tell(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            self._emit(entry)

    async def _append(self, *entries: Entry) -> None:
        try:
            await self._journal.append(*entries)
        except JournalError as error:
            self._now(broken=str(error))
            raise
        self._now(broken="")

    def _now(self, *, broken: str) -> None:
        if bool(broken) != bool(self.broken):
            self._emit(JournalStateChanged(writable=not broken, reason=broken))
        self.broken = broken
