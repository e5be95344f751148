"""Locks and times of real files, and calls that hang."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reviver.clients.files import LOCK_READ, Lock, MayHang, deployed_at, installed_at, newest, read_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def seen(path: Path) -> Lock:
    found = read_lock(str(path))
    assert found is not None
    return found


def test_there_is_no_lock_where_there_is_no_file(path: Path) -> None:
    assert read_lock(str(path)) is None


def test_a_lock_tells_its_first_line_and_when_it_was_last_changed(path: Path) -> None:
    path.write_text("  deploy of api 1.4.2 by ann \nsecond line\n")
    os.utime(path, (1_000_000.0, 2_000_000.0))
    assert seen(path) == Lock(modified=2_000_000.0, line="deploy of api 1.4.2 by ann")


def test_an_empty_lock_and_one_of_bytes_are_locks(path: Path) -> None:
    path.touch()
    assert seen(path).line == ""
    path.write_bytes(b"\xff\xfe\x00")
    assert seen(path).problem == ""


def test_of_an_endless_lock_a_bounded_part_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)
    assert len(seen(path).line) == LOCK_READ


def test_a_link_is_a_lock_and_is_not_followed(path: Path) -> None:
    path.symlink_to("/etc/passwd")
    found = seen(path)
    assert (found.line, found.problem) == ("", "a symbolic link")
    assert found.modified == path.lstat().st_mtime


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_regular_file_is_a_lock_that_cannot_be_read(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    found = seen(path)
    assert found.problem == "not a regular file"
    assert found.modified is not None


def test_a_lock_below_what_is_no_folder_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_lock(str(tmp_path / "file" / "lock")) == Lock(modified=None, problem="not a directory")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_lock_that_one_may_not_read_has_an_age_all_the_same(path: Path) -> None:
    path.touch(mode=0o600)
    for folder in path.parents:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    found: list[Lock | None] = []
    child = os.fork()
    if child == 0:
        os.seteuid(65534)
        lock = read_lock(str(path))
        os._exit(0 if lock is not None and lock.problem == "permission denied" and lock.modified else 1)
    assert os.waitpid(child, 0)[1] == 0, found


def test_a_link_that_is_made_to_point_elsewhere_is_a_deploy_even_if_its_target_is_old(tmp_path: Path) -> None:
    release, current = tmp_path / "1.4", tmp_path / "current"
    release.mkdir()
    os.utime(release, (1e9, 1e9))
    assert deployed_at(str(release)) == 1e9
    before = time.time() - 1  # noqa: TID251  compared with a file's time
    current.symlink_to(release)
    assert (deployed_at(str(current)) or 0) > before
    assert deployed_at(str(tmp_path / "nothing")) is None


def test_a_file_installed_now_is_new_though_its_package_is_old(tmp_path: Path) -> None:
    program = tmp_path / "program"
    before = time.time() - 1  # noqa: TID251  compared with a file's time
    program.touch()
    os.utime(program, (1e9, 1e9))
    assert (installed_at(str(program)) or 0) > before
    assert installed_at(str(tmp_path / "nothing")) is None


def test_the_newest_of_several_is_told_and_those_that_are_not_there_do_not_count() -> None:
    times = {"a": 1.0, "b": 3.0, "c": None}
    assert newest(["a", "b", "c"], times.__getitem__) == (3.0, "b")
    assert newest(["c"], times.__getitem__) is None
    assert newest([], times.__getitem__) is None


async def test_what_hangs_is_given_up_in_time_and_not_called_again_while_it_does() -> None:
    calls = MayHang()
    release, called = threading.Event(), 0

    def hang() -> str:
        nonlocal called
        called += 1
        release.wait(20)
        return "late"

    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await calls.call("a", hang, within=0.05)
        assert time.monotonic() - began < 5
    assert called == 1
    assert await calls.call("b", lambda: "other", within=5) == "other"
    release.set()


async def test_an_answer_that_came_too_late_is_not_taken_for_a_new_one() -> None:
    calls = MayHang()
    release, ended = threading.Event(), threading.Event()

    def hang() -> str:
        release.wait(20)
        ended.set()
        return "old"

    with pytest.raises(TimeoutError):
        await calls.call("a", hang, within=0.05)
    release.set()
    ended.wait(5)
    found = [await calls.call("a", lambda: "new", within=5) for _ in range(2)]
    assert found[-1] == "new"


async def test_what_goes_wrong_in_a_call_is_raised() -> None:
    with pytest.raises(PermissionError):
        await MayHang().call("a", _refused, within=5)


def _refused() -> None:
    raise PermissionError
