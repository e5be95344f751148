"""
The scribe: writes each entry to the journal, in order, and tells the subscribers.

Two verbs. ``commit`` stands before every effect: when it returns, the entries are on disk; or it raises, and nothing
may be done. ``record`` is for what has happened: nobody waits for it, and while the disk is full it waits in memory.
One task writes, so a disk that hangs holds up nobody but those who must not go on without it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from reviver.model.events import Emit, JournalStateChanged
from reviver.model.journal import Entry, Journal, JournalError

BACKLOG_MAX = 10_000  # entries kept while the journal can't be written; the oldest go first
RETRY_EVERY = 5.0  # seconds between attempts to write while the journal is broken
COMMIT_WITHIN = 10.0  # seconds; a disk that takes longer is as good as broken


@dataclass(slots=True, kw_only=True, eq=False)
class _Batch:
    """Entries that are written together."""

    entries: tuple[Entry, ...]
    wanted: bool
    """Whether somebody waits for it; else it is kept until it can be written."""
    written: anyio.Event = field(default_factory=anyio.Event)
    error: str = ""


class Scribe:
    """Writes to one journal."""

    def __init__(self, journal: Journal, emit: Emit) -> None:
        self._journal = journal
        self._emit = emit
        self._followers: list[Callable[[Entry], None]] = [emit]
        self._waiting: deque[_Batch] = deque()
        self._more = anyio.Event()
        self.broken = ""
        """Why the journal can't be written, if it can't."""
        self._closed_off = False

    def follow(self, follower: Callable[[Entry], None]) -> None:
        """Let *follower* be told of each entry, too."""
        self._followers.append(follower)

    def record(self, *entries: Entry) -> None:
        """Write *entries* about what has happened, as soon as the journal can be written."""
        self._put(_Batch(entries=entries, wanted=False))  # first: what is told of it may be recorded after it
        self._tell(entries)

    async def commit(self, *entries: Entry) -> None:
        """
        Write *entries*, after all that waits before them; returns when they are on disk.

        Raises:
            JournalError: They aren't, as far as is known: what they announce must not happen. (A write that hangs may
                still come to its end: the journal then tells of an intention, and no more.)
        """
        batch = _Batch(entries=entries, wanted=True)
        self._put(batch)
        with anyio.move_on_after(COMMIT_WITHIN):
            await batch.written.wait()
        if not batch.written.is_set():
            batch.error = f"the journal does not answer within {COMMIT_WITHIN:g} s: look at the disk of state_dir"
            self._is(broken=batch.error)
        if batch.error:
            raise JournalError(batch.error)
        self._tell(entries)

    def close_off(self, reason: str) -> None:
        """Write nothing for the rest of this life: what an earlier one left there could not be read."""
        self._closed_off = True
        self._is(broken=reason)

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            if not self._waiting and not self.broken:
                self._more = anyio.Event()
                await self._more.wait()
            await self._write_all()
            if self.broken:
                self._more = anyio.Event()
                with anyio.move_on_after(RETRY_EVERY):
                    await self._more.wait()

    async def finish(self) -> None:
        """Write what still waits, once ``run`` has ended."""
        await self._write_all()

    async def _write_all(self) -> None:
        """All that waits, in one transaction; without anything, see whether a broken journal could be written again."""
        batches = [batch for batch in self._waiting if not batch.error]
        self._waiting.clear()
        try:
            if self._closed_off:
                raise JournalError(self.broken)
            await self._journal.append(*(entry for batch in batches for entry in batch.entries))
        except JournalError as error:
            self._put_back(batches, str(error))
            self._is(broken=str(error))
            return
        except BaseException:  # cancelled before it began
            self._put_back(batches, "reviver is stopping")
            raise
        for batch in batches:
            batch.written.set()
        self._is(broken="")

    def _put_back(self, batches: list[_Batch], reason: str) -> None:
        """What was recorded waits on, in front; what was to be committed is refused."""
        self._waiting.extendleft(reversed([batch for batch in batches if not batch.wanted]))
        for batch in batches:
            if batch.wanted:
                batch.error = reason
                batch.written.set()

    def _put(self, batch: _Batch) -> None:
        self._waiting.append(batch)
        if len(self._waiting) > BACKLOG_MAX:
            self._waiting.popleft()
        if batch.wanted or not self.broken:
            self._more.set()

    def _tell(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            for follower in self._followers:
                follower(entry)

    def _is(self, *, broken: str) -> None:
        changed = bool(broken) != bool(self.broken)
        self.broken = broken
        if changed:
            self._emit(JournalStateChanged(writable=not broken, reason=broken))
