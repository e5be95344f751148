"""The scribe: what must be on disk before an effect is, and what happened outlives a disk that is full for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from fakes import FakeClock, MemoryJournal, Recorder
from incidents.entries import opened
from reviver.incidents import scribe as scribe_file
from reviver.incidents.scribe import COMMIT_WITHIN, RETRY_EVERY, Scribe
from reviver.model import journal as j
from reviver.model.events import JournalStateChanged
from virtual import virtual

FULL = "the disk is full"


class Desk:
    def __init__(self) -> None:
        self.journal, self.recorder = MemoryJournal(FakeClock()), Recorder()
        self.scribe = Scribe(self.journal, self.recorder)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scribe.run)
            yield
            tasks.cancel_scope.cancel()

    @property
    def written(self) -> list[str]:
        return [entry.incident for entry in self.journal.entries]

    @property
    def told(self) -> list[str]:
        return [entry.incident for entry in self.recorder.of(j.Entry)]

    @property
    def states(self) -> list[bool]:
        return [event.writable for event in self.recorder.of(JournalStateChanged)]


def note(name: str) -> j.Entry:
    return opened(incident=name)


@virtual
async def test_what_is_committed_is_on_disk_and_told_when_commit_returns() -> None:
    desk = Desk()
    desk.journal.slow = 1.0
    async with desk.open():
        await desk.scribe.commit(note("a"), note("b"))
        assert desk.written == desk.told == ["a", "b"]
        assert anyio.current_time() == pytest.approx(1.0)


@virtual
async def test_what_is_recorded_is_told_at_once_and_written_soon_and_nobody_waits() -> None:
    desk = Desk()
    desk.journal.slow = 1.0
    async with desk.open():
        desk.scribe.record(note("a"))
        assert (desk.told, desk.written) == (["a"], [])
        await anyio.sleep(1.1)
        assert desk.written == ["a"]


@virtual
async def test_what_a_follower_records_of_an_entry_is_written_after_it() -> None:
    desk = Desk()
    desk.scribe.follow(lambda entry: desk.scribe.record(note("b")) if entry.incident == "a" else None)
    async with desk.open():
        desk.scribe.record(note("a"))
        await anyio.sleep(1)
    assert desk.written == ["a", "b"]


@virtual
async def test_entries_are_written_in_the_order_in_which_they_came() -> None:
    desk = Desk()
    desk.journal.slow = 0.3
    async with desk.open(), anyio.create_task_group() as tasks:
        for number in range(20):
            if number % 3:
                desk.scribe.record(note(str(number)))
            else:
                tasks.start_soon(desk.scribe.commit, note(str(number)))
            await anyio.sleep(0.1)
    assert desk.written == [str(number) for number in range(20)]


@virtual
async def test_a_commit_that_can_not_be_written_raises_and_is_neither_told_nor_written_later() -> None:
    desk = Desk()
    desk.journal.error = FULL
    async with desk.open():
        with pytest.raises(j.JournalError, match=FULL):
            await desk.scribe.commit(note("a"))
        desk.journal.error = ""
        await anyio.sleep(60)
    assert (desk.told, desk.written) == ([], [])


@virtual
async def test_what_was_recorded_waits_until_it_can_be_written() -> None:
    desk = Desk()
    desk.journal.error = FULL
    async with desk.open():
        for number in range(5):
            desk.scribe.record(note(str(number)))
            await anyio.sleep(3)
        assert desk.scribe.broken == FULL
        desk.journal.error = ""
        await anyio.sleep(RETRY_EVERY + 0.1)
        assert desk.scribe.broken == ""
        desk.scribe.record(note("5"))
        await anyio.sleep(0.1)
    assert desk.written == desk.told == [str(number) for number in range(6)]
    assert desk.states == [False, True]


@virtual
async def test_a_commit_writes_all_that_waits_before_it_and_mends_the_journal() -> None:
    desk = Desk()
    desk.journal.error = FULL
    async with desk.open():
        desk.scribe.record(note("a"))
        await anyio.sleep(1)
        desk.journal.error = ""
        await desk.scribe.commit(note("b"))
        assert desk.written == ["a", "b"]
        assert (anyio.current_time(), desk.scribe.broken) == (1.0, "")


@virtual
async def test_a_broken_journal_is_tried_again_now_and_then_and_not_at_every_record() -> None:
    desk = Desk()
    tries: list[float] = []

    async def refuse(*_entries: j.Entry) -> None:
        tries.append(anyio.current_time())
        raise j.JournalError(FULL)

    desk.journal.append = refuse  # type: ignore[method-assign]
    async with desk.open():
        for number in range(600):
            desk.scribe.record(note(str(number)))
            await anyio.sleep(0.1)
    assert len(tries) <= 60 / RETRY_EVERY + 2


@virtual
async def test_the_state_of_the_journal_is_told_once_for_each_change() -> None:
    desk = Desk()
    desk.journal.error = FULL
    async with desk.open():
        for _ in range(5):
            with pytest.raises(j.JournalError):
                await desk.scribe.commit(note("a"))
        desk.journal.error = ""
        for _ in range(5):
            await desk.scribe.commit(note("b"))
    assert desk.states == [False, True]


@virtual
async def test_a_disk_that_hangs_is_given_up_by_who_waits_and_it_is_said() -> None:
    desk = Desk()
    desk.journal.slow = 1e6
    async with desk.open():
        with pytest.raises(j.JournalError, match="the journal does not answer within 10 s: look at the disk"):
            await desk.scribe.commit(note("a"))
        assert anyio.current_time() == pytest.approx(COMMIT_WITHIN)
        assert desk.scribe.broken
        desk.scribe.record(note("b"))
        assert anyio.current_time() == pytest.approx(COMMIT_WITHIN)
        assert desk.told == ["b"]


@virtual
async def test_who_gave_up_waiting_in_the_queue_is_not_written_later() -> None:
    desk = Desk()
    desk.journal.slow = 25.0
    async with desk.open():
        desk.scribe.record(note("slow"))
        await anyio.sleep(1)
        with pytest.raises(j.JournalError):
            await desk.scribe.commit(note("given up"))
        await anyio.sleep(100)
    assert desk.written == ["slow"]


@virtual
async def test_a_backlog_is_bounded_and_loses_its_oldest() -> None:
    desk = Desk()
    desk.journal.error = FULL
    async with desk.open():
        for number in range(scribe_file.BACKLOG_MAX + 10):
            desk.scribe.record(note(str(number)))
        await anyio.sleep(1)
        desk.journal.error = ""
        await anyio.sleep(RETRY_EVERY + 1)
    assert len(desk.written) == scribe_file.BACKLOG_MAX
    assert desk.written[-1] == str(scribe_file.BACKLOG_MAX + 9)


@virtual
async def test_what_waits_when_reviver_stops_is_written_before_its_end() -> None:
    desk = Desk()
    async with desk.open():
        desk.scribe.record(note("a"))
        desk.scribe.record(note("b"))
    await desk.scribe.finish()
    assert desk.written == ["a", "b"]
    assert desk.states == []


@virtual
async def test_a_journal_closed_off_takes_nothing_more_and_stays_so() -> None:
    desk = Desk()
    async with desk.open():
        desk.scribe.close_off("the journal is damaged")
        desk.scribe.record(note("a"))
        with pytest.raises(j.JournalError, match="the journal is damaged"):
            await desk.scribe.commit(note("b"))
        await anyio.sleep(60)
    assert (desk.written, desk.told, desk.scribe.broken) == ([], ["a"], "the journal is damaged")
    assert desk.states == [False]


@virtual
async def test_a_cancelled_commit_leaves_the_scribe_at_work() -> None:
    desk = Desk()
    desk.journal.slow = 5.0
    async with desk.open():
        with anyio.move_on_after(1):
            await desk.scribe.commit(note("a"))
        desk.journal.slow = 0.0
        await desk.scribe.commit(note("b"))
    assert desk.written[-1] == "b"
