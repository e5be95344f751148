"""What both journals promise, the one on disk and the one that tests use in its place."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings

from fakes import FakeClock, MemoryJournal
from incidents.entries import ended, escalated, every, opened, paused, recovered, started, step_started
from reviver.incidents.journal import SqliteJournal
from reviver.model import journal as j

Open = Callable[[FakeClock], AbstractAsyncContextManager[j.Journal]]


@pytest.fixture(params=["disk", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    @asynccontextmanager
    async def on_disk(clock: FakeClock) -> AsyncIterator[j.Journal]:
        sqlite = SqliteJournal(tmp_path / "state" / "journal.db", clock)
        await sqlite.open()
        yield sqlite
        await sqlite.aclose()

    @asynccontextmanager
    async def in_memory(clock: FakeClock) -> AsyncIterator[j.Journal]:
        yield MemoryJournal(clock)

    return on_disk if request.param == "disk" else in_memory


def entries(records: object) -> list[j.Entry]:
    return [record.entry for record in records]  # type: ignore[attr-defined]


async def test_what_was_appended_is_read_back_in_order(journal: Open) -> None:
    story = [opened(), started(), step_started(), ended(), recovered()]
    async with journal(FakeClock()) as book:
        await book.append(*story[:2])
        await book.append(*story[2:])
        assert entries(await book.incident("db-1")) == story


async def test_an_unknown_incident_has_no_records(journal: Open) -> None:
    async with journal(FakeClock()) as book:
        assert list(await book.incident("db-1")) == []
        assert dict(await book.unfinished()) == {}
        assert list(await book.incidents(limit=10)) == []


async def test_the_latest_incident_of_each_service_is_unfinished_unless_withdrawn(journal: Open) -> None:
    async with journal(FakeClock()) as book:
        await book.append(opened(incident="db-1"), recovered("db-1"))
        await book.append(opened(incident="db-2"), recovered("db-2"))
        await book.append(opened("api", "api-1"), opened("web", "web-1"))
        await book.append(j.IncidentWithdrawn(service="web", incident="web-1", reason="gone"))
        found = await book.unfinished()
        assert {name: entries(records)[0].incident for name, records in found.items()} == {"db": "db-2", "api": "api-1"}


async def test_a_wall_clock_that_was_set_back_does_not_hide_the_latest_incident(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(opened(incident="db-1"), recovered("db-1"))
        clock.wall_at_zero -= 3600
        await book.append(opened(incident="db-2"), started(incident="db-2"))
        found = await book.unfinished()
        assert entries(found["db"])[0].incident == "db-2"


async def test_incidents_are_listed_newest_first(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        for number in range(5):
            await book.append(opened("db" if number % 2 else "api", f"n{number}"))
            clock.wall_at_zero += 1
        listed = [entries(records)[0].incident for records in await book.incidents(limit=3)]
        assert listed == ["n4", "n3", "n2"]
        listed = [entries(records)[0].incident for records in await book.incidents(limit=9, service="db")]
        assert listed == ["n3", "n1"]


async def test_an_age_goes_by_the_boots_own_clock_and_counts_suspensions(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(opened())
        clock.suspended += 100.0
        clock.wall_at_zero += 7 * 86400  # set, for whatever reason
        [record] = await book.incident("db-1")
        assert record.age == pytest.approx(100.0, abs=1.0)


async def test_after_a_reboot_an_age_goes_by_the_wall_clock_and_is_never_negative(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(opened())
        clock.reboot()
        clock.wall_at_zero += 50.0
        [record] = await book.incident("db-1")
        assert record.age == pytest.approx(50.0, abs=1.0)
        clock.wall_at_zero -= 500.0
        [record] = await book.incident("db-1")
        assert record.age == 0.0


async def test_attempts_count_once_they_have_come_to_a_step_and_while_they_are_recent(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(opened(), started(1), step_started(1))
        clock.suspended += 1000.0
        await book.append(started(2), step_started(2), started(3))
        attempts = entries(await book.attempts_since(500.0))
        assert [entry.attempt for entry in attempts if isinstance(entry, j.AttemptStarted)] == [2]
        assert len(await book.attempts_since(2000.0)) == 2


async def test_after_a_reboot_attempts_of_the_boot_before_still_count(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(opened(), started(1), step_started(1))
        clock.reboot()
        clock.wall_at_zero += 100.0
        assert len(await book.attempts_since(500.0)) == 1
        assert len(await book.attempts_since(50.0)) == 0


async def test_pauses_hold_until_they_end_or_are_ended(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        now = clock.wall()
        await book.append(paused("db", until=now + 60), paused("api", until=now + 600), paused("web", until=now - 1))
        await book.append(paused("db", until=now + 120))
        await book.append(j.ServiceResumed(service="api", by="ann"))
        assert entries((await book.pauses()).values()) == [paused("db", until=now + 120)]
        clock.suspended += 200
        assert dict(await book.pauses()) == {}


async def test_the_history_has_what_trust_is_made_of_as_long_as_it_is_recent(journal: Open) -> None:
    clock = FakeClock()
    story = [opened(), started(), step_started(), ended(outcome="recovered")]
    promoted = j.StrategyPromoted(service="db", strategy="restart", by="ann")
    found = j.CauseFound(service="api", incident="api-1", culprit="db", strategy="restart", seconds=1.5)
    async with journal(clock) as book:
        await book.append(*story, recovered(), escalated(), promoted, found)
        assert entries(await book.history_since(60.0)) == [*story, promoted, found]
        clock.reboot()
        clock.wall_at_zero += 50.0
        assert entries(await book.history_since(60.0)) == [*story, promoted, found]
        clock.wall_at_zero += 50.0
        assert list(await book.history_since(60.0)) == []


async def test_a_demotion_holds_until_its_strategy_is_promoted_on_its_service(journal: Open) -> None:
    clock = FakeClock()
    fell = j.StrategyDemoted(service="db", incident="db-1", strategy="restart", mode="approve", reason="it broke api")
    other = replace(fell, service="api", incident="", reason="it fell again")
    async with journal(clock) as book:
        await book.append(fell, other, replace(other, strategy="failover"))
        await book.append(j.StrategyPromoted(service="db", strategy="failover", by="ann"))
        await book.append(j.StrategyPromoted(service="api", strategy="failover", by="ann"))
        clock.reboot()
        clock.wall_at_zero += 1e9
        assert sorted(await book.demotions(), key=lambda each: each.service) == [other, fell]
        await book.append(j.StrategyPromoted(service="db", strategy="restart", by="ann"))
        assert list(await book.demotions()) == [other]
        later = replace(other, reason="it broke web")
        await book.append(later)
        assert list(await book.demotions()) == [later]


@pytest.mark.parametrize("years", [-10, 10])
async def test_setting_the_date_neither_ends_a_pause_nor_prolongs_it(journal: Open, years: int) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(paused("db", until=clock.wall() + 60))
        clock.wall_at_zero += years * 365 * 86400.0
        assert j.pause_left((await book.pauses())["db"]) == pytest.approx(60, abs=5)
        clock.suspended += 61
        assert dict(await book.pauses()) == {}


async def test_after_a_reboot_a_pause_ends_by_the_date_and_never_later_than_it_was_meant_to_last(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(paused("db", until=clock.wall() + 60))
        clock.reboot()
        clock.wall_at_zero += 20
        assert j.pause_left((await book.pauses())["db"]) == pytest.approx(40, abs=5)
        clock.wall_at_zero -= 1e8
        assert j.pause_left((await book.pauses())["db"]) == pytest.approx(60, abs=5)


async def test_an_empty_append_changes_nothing(journal: Open) -> None:
    async with journal(FakeClock()) as book:
        await book.append()
        assert list(await book.incidents(limit=9)) == []


async def test_handing_over_does_not_hide_an_incident(journal: Open) -> None:
    async with journal(FakeClock()) as book:
        await book.append(opened(), escalated())
        assert list(await book.unfinished()) == ["db"]


@settings(max_examples=30, deadline=None)
@given(story=every)
def test_an_entry_of_any_kind_and_content_comes_back_as_it_was(
    story: j.Entry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def scene() -> None:
        path = tmp_path_factory.mktemp("journal") / "journal.db"
        book = SqliteJournal(path, FakeClock())
        try:
            await book.append(story)
            found = entries(await book.incident(story.incident))
        finally:
            await book.aclose()
        assert found == [story]

    anyio.run(scene)


async def test_a_freeze_by_people_is_in_force_until_thawed_whatever_files_did(journal: Open) -> None:
    frozen = j.DaemonFrozen(service="", by="ann", reason="a bad feeling")
    async with journal(FakeClock()) as book:
        assert await book.frozen() is None
        await book.append(frozen)
        await book.append(j.DaemonFrozen(service="", by="file /run/reviver/FREEZE", reason="it is there"))
        assert await book.frozen() == frozen
        await book.append(j.DaemonThawed(service="", by="bob"))
        assert await book.frozen() is None


async def test_falls_are_told_as_long_as_they_are_recent(journal: Open) -> None:
    clock = FakeClock()
    async with journal(clock) as book:
        await book.append(opened(), started(), recovered())
        assert [type(entry) for entry in entries(await book.falls_since(60.0))] == [j.IncidentOpened]
        clock.suspended += 100.0
        clock.wall_at_zero += 100.0
        assert list(await book.falls_since(60.0)) == []


@pytest.mark.parametrize("body", ["{", "5", "null", "[]", '{"attempt": "x"}', "[" * 100_000])
async def test_an_entry_that_is_none_is_left_out_and_keeps_nothing_else_from_being_read(
    tmp_path: Path, body: str
) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", FakeClock())
    await journal.append(opened(), started(), step_started())
    db = await journal.open()
    for kind in ("attempt_started", "step_started", "daemon_frozen", "dreamt"):
        db.execute(
            "INSERT INTO entries (type, service, incident, at, boot_id, boot_s, body) "
            "VALUES (?, 'db', 'db-1', 1, 'b', 1, ?)",
            (kind, body),
        )
    assert len(await journal.incident("db-1")) == 3
    assert len(await journal.attempts_since(1e9)) == 1
    assert list(await journal.unfinished()) == ["db"]
    frozen = await journal.frozen()  # what can't be read of it was meant all the same
    assert frozen is not None
    assert frozen.by == "somebody"
    await journal.aclose()
