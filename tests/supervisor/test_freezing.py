"""A freeze by file: seen soon, and seen as a freeze when the file system does not answer."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from reviver.supervisor import freezing
from servers import until


@asynccontextmanager
async def watching(file: Path) -> AsyncIterator[list[str]]:
    told: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(freezing.watch, file, told.append)
        yield told
        tasks.cancel_scope.cancel()


async def test_a_file_that_comes_and_goes_freezes_and_thaws(tmp_path: Path) -> None:
    file = tmp_path / "FREEZE"
    async with watching(file) as told:
        file.symlink_to("nowhere")  # whatever it is, it is there
        await until(lambda: told == [f"{file} is there"], within=5)
        file.unlink()
        await until(lambda: told == [f"{file} is there", ""], within=5)


async def test_a_file_system_that_hangs_freezes_and_is_asked_once_however_long_it_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), []

    def hang(file: object) -> bool:
        asked.append(file)
        hangs.wait(30)
        return False

    monkeypatch.setattr(freezing, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(freezing, "LOOK_WITHIN", 0.05)
    monkeypatch.setattr("os.path.lexists", hang)
    async with watching(tmp_path / "FREEZE") as told:
        await until(lambda: len(told) == 1, within=5)
        await anyio.sleep(0.5)  # ten looks long
        assert len(asked) == 1
        hangs.set()
        await until(lambda: told[1:] == [""], within=5)
    assert "does not answer" in told[0]
