"""
``python -m crash.disks WHAT DIRECTORY``: whole lives of the daemon whose journal lies on a torn, damaged, full or
read-only disk. Prints what came of it; the tests run it in a mount namespace of its own where it needs one.
"""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import anyio

from reviver.incidents.journal import SqliteJournal
from reviver.incidents.scribe import Scribe
from reviver.model.journal import JournalError

from .life import Clock
from .points import KILLED, life
from .scenes import SCENES
from .world import World

SECTOR = 512
PAGE = 4096
BLIND_FOR = 60.0  # virtual seconds
SCENE = SCENES["destructive-can-tell"]


def held_at(world: World, entry: str) -> None:
    """Leave *world* as a daemon leaves it that is killed once the journal has an entry of this type."""

    def plant() -> None:
        append = SqliteJournal.append

        async def appended(self: SqliteJournal, *entries: object) -> None:
            await append(self, *entries)  # type: ignore[arg-type]
            if world.has(entry):
                os._exit(KILLED)

        SqliteJournal.append = appended  # type: ignore[method-assign]

    assert life(SCENE, world, number=0, plant=plant).killed


# --------------------------------------------------------------------------------------------------------------- torn


def torn(place: Path) -> None:
    """Cut the write-ahead log at every sector, and turn a byte in every sector: what is read is what was written, or less."""
    world = World(place)
    held_at(world, "step_ended")
    log = Path(f"{world.journal}-wal").read_bytes()
    whole = entries(world, log)
    outcomes: Counter[str] = Counter()
    for offset in range(0, len(log), SECTOR):
        turned = bytearray(log)
        turned[min(offset + SECTOR // 3, len(log) - 1)] ^= 0xFF
        for what, instead in (("cut", log[:offset]), ("turned", bytes(turned))):
            outcomes[f"{what}: {became(world, instead, whole)}"] += 1
    print(f"{len(whole)} entries in {-(-len(log) // SECTOR)} sectors")
    for outcome, times in sorted(outcomes.items()):
        print(outcome, times)


def became(world: World, log: bytes, whole: list[str]) -> str:
    """What the journal tells with *log* for its write-ahead log."""
    try:
        found = entries(world, log)
    except JournalError as error:
        return f"refused: {error}"
    if found == whole:
        return "whole"
    return "less" if found == whole[: len(found)] else "wrong"


def entries(world: World, log: bytes) -> list[str]:
    """All that a copy of the journal tells with *log*, read as the daemon reads it, so after its own look at the file."""
    copy = World(world.place / "copy")
    copy.journal.parent.mkdir(parents=True)
    shutil.copy(world.journal, copy.journal)
    Path(f"{copy.journal}-wal").write_bytes(log)

    async def read() -> list[str]:
        book = SqliteJournal(copy.journal, Clock())
        try:
            rows = (await book.open()).execute("SELECT id, type, body FROM entries ORDER BY id").fetchall()
        finally:
            await book.aclose()
        return [str(row) for row in rows]

    try:
        return anyio.run(read)
    finally:
        shutil.rmtree(copy.place)


# ------------------------------------------------------------------------------------------------------- can't be used


def unusable(place: Path, spoil: Callable[[World], None], mend: Callable[[World], None], entry: str) -> None:
    """A life that can't use the journal in which an earlier one has left *entry* tells and does nothing; the next goes on."""
    world = World(place)
    held_at(world, entry)
    before = world.effects()
    spoil(world)
    blind = life(SCENE, world, number=1, within=BLIND_FOR)
    print(f"it says: {'; '.join(blind.wrongs)}")
    print(f"it does: {len(world.effects()) - len(before)}")
    mend(world)
    after = life(SCENE, world, number=2, last=True)
    print(f"afterwards: {'; '.join(after.wrongs) or 'well'}, {world.count('flush')} in all")


def newer(place: Path, entry: str) -> None:
    unusable(place, partial(_version, by=1), partial(_version, by=-1), entry)


def _version(world: World, *, by: int) -> None:
    with closing(sqlite3.connect(world.journal)) as book:
        version = book.execute("PRAGMA user_version").fetchone()[0]
        book.execute(f"PRAGMA user_version = {version + by}")


def damaged(place: Path, entry: str) -> None:
    """Half of the file is noise; it is left as it is, for those who want to see what can be saved."""
    whole = place / "whole"
    noise = bytes(range(256))

    def spoil(world: World) -> None:
        with closing(sqlite3.connect(world.journal)) as book:
            book.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(world.journal, whole)
        pages = world.journal.read_bytes()
        world.journal.write_bytes(
            pages[:PAGE] + (noise * len(pages))[: len(pages) // 2] + pages[PAGE + len(pages) // 2 :]
        )
        spoilt.append(_hash(world))

    def mend(world: World) -> None:
        assert _hash(world) == spoilt[0], "it has written to what is damaged"
        shutil.copy(whole, world.journal)

    spoilt: list[str] = []
    unusable(place, spoil, mend, entry)


def _hash(world: World) -> str:
    return hashlib.sha256(world.journal.read_bytes()).hexdigest()


def read_only(place: Path, entry: str) -> None:
    """The file system with the journal is remounted read-only, as the kernel does after errors."""
    state = World(place).journal.parent
    mount(state, "-t", "tmpfs", "-o", "size=4m", "none")
    unusable(
        place,
        lambda _: mount(state, "-o", "remount,ro"),
        lambda _: mount(state, "-o", "remount,rw"),
        entry,
    )


def mount(at: Path, *arguments: str) -> None:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, at], check=True)


# --------------------------------------------------------------------------------------------------------------- full


def full(place: Path) -> None:
    """
    The disk runs full at every write of a life, page by page. Stopped or killed while it is full, the next life finds
    it so, and is killed, too; the last one has room again and goes on.
    """
    world, disk = World(place), World(place).journal.parent
    mount(disk, "-t", "tmpfs", "-o", "size=1m", "none")
    held_at(world, "incident_opened")  # so that the journal is there
    start = {file.name: file.read_bytes() for file in disk.iterdir() if not file.name.endswith("-shm")}
    outcomes: Counter[str] = Counter()
    for room in range(64):
        for stopped in (True, False):
            for file in (*disk.iterdir(), world.file):
                file.unlink(missing_ok=True)
            for name, data in start.items():
                (disk / name).write_bytes(data)
            ballast = fill(disk, but=room * PAGE)
            life(SCENE, world, number=1, within=BLIND_FOR, plant=_stopped if stopped else _killed)
            life(SCENE, world, number=2, within=BLIND_FOR, plant=_killed)  # there is still no room
            early = world.count("flush")
            ballast.unlink()
            last = life(SCENE, world, number=3, last=True)
            outcomes[f"{early} while it was full, afterwards {'; '.join(last.wrongs) or 'well'}"] += 1
    for outcome, times in sorted(outcomes.items()):
        print(f"{outcome}: {times}")


def fill(disk: Path, *, but: int) -> Path:
    """Fill *disk* with one file, except for so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    os.truncate(ballast, ballast.stat().st_size - but)
    return ballast


def _stopped() -> None:
    """It is told to stop, and does."""


def _killed() -> None:
    async def killed(_: Scribe) -> None:
        os._exit(KILLED)

    Scribe.finish = killed  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    disks = {"torn": torn, "newer": newer, "damaged": damaged, "read-only": read_only, "full": full}
    what, directory, *rest = sys.argv[1:]
    disks[what](Path(directory), *rest)  # type: ignore[operator]
