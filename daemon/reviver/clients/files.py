"""
What files tell of who is at work: a lock, and when something was last changed.

Any call of a file system may hang for ever, as over a network, and nothing can end it. So each runs in a thread of its
own, which nobody has to wait for, and what hangs is not called a second time.
"""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import anyio

LOCK_READ: Final = 1024  # bytes of a lock file
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file as it was found."""

    modified: float | None
    """Unix time of its last change; ``None`` if that can't be told."""
    line: str = ""
    """Its first line."""
    problem: str = ""
    """Why it can't be read."""


def read_lock(path: str) -> Lock | None:
    """The lock file *path*; ``None`` if there is none. Never follows a link, nor waits for a writer of a pipe."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(path, "a symbolic link" if error.errno == errno.ELOOP else str(error.strerror).lower())
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return Lock(modified=status.st_mtime, problem="not a regular file")
        line = os.read(file, LOCK_READ).decode(errors="replace").partition("\n")[0]
        return Lock(modified=status.st_mtime, line=line.strip())
    except OSError as error:
        return _unreadable(path, str(error.strerror).lower())
    finally:
        os.close(file)


def _unreadable(path: str, problem: str) -> Lock:
    try:
        return Lock(modified=Path(path).lstat().st_mtime, problem=problem)
    except OSError:
        return Lock(modified=None, problem=problem)


def newest(paths: Sequence[str], changed: Callable[[str], float | None]) -> tuple[float, str] | None:
    """Which of *paths* was *changed* last, and when (Unix time); those of which nothing can be told don't count."""
    known = [(when, path) for path in paths if (when := changed(path)) is not None]
    return max(known, default=None)


def installed_at(path: str) -> float | None:
    """When what is at *path*, or behind it, was put there; a package's file keeps the time of its making, so: ctime."""
    times: list[float] = []
    for follow in (False, True):
        with suppress(OSError):
            found = Path(path).stat(follow_symlinks=follow)
            times += [found.st_mtime, found.st_ctime]
    return max(times, default=None)


def deployed_at(path: str) -> float | None:
    """When what is at *path* was changed, or, if it is a link, made to point elsewhere."""
    times: list[float] = []
    with suppress(OSError):
        link = Path(path).lstat()
        if stat.S_ISLNK(link.st_mode):
            times.append(link.st_ctime)
        times.append(Path(path).stat().st_mtime)
    return max(times, default=None)


class MayHang:
    """Calls what may hang, with a deadline; one at a time of each name."""

    def __init__(self) -> None:
        self._pending: dict[str, _Call[Any]] = {}

    async def call(self, name: str, function: Callable[[], T], *, within: float) -> T:
        """
        What *function* returns, or, if a call of that *name* is still under way, what that one does.

        Raises:
            TimeoutError: It has not returned.
            OSError: This host has no thread left.
        """
        call = self._pending.get(name)
        if call is None or call.returned.is_set():  # what came too late for the one who asked is out of date
            call = self._pending[name] = _Call(function)
        with anyio.fail_after(within):
            await call.returned.wait()
        self._pending.pop(name, None)
        if call.error is not None:
            raise call.error
        found: T = call.found
        return found


class _Call(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self.returned = anyio.Event()
        self.found: T
        self.error: Exception | None = None
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._run, args=(function, loop), daemon=True).start()
        except RuntimeError:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None

    def _run(self, function: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        try:
            self.found = function()
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            self.error = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self.returned.set)
