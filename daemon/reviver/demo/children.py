"""
The demo's descendants, to the last: those whose parents have ended become its own children, are reaped, and are ended.

So nothing survives the demo, and no killed server's pid stays taken by a zombie, which PostgreSQL would take for a
server that still runs.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_WITHIN: Final = 5.0  # seconds
_PAUSE: Final = 0.02


def adopt_orphans() -> None:
    """From now on, orphaned descendants become children of this process, not of init."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(*, but: int = 0) -> None:
    """Take note of the end of all children that have ended, except *but*, whose parent asks for it elsewhere."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid == but:
                return
            os.waitpid(ended.si_pid, 0)


def end(*, but: AbstractSet[int | None]) -> None:
    """SIGKILL all children, and theirs, except *but*; return when they are gone."""
    deadline = time.monotonic() + _WITHIN
    while (left := _children() - but) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)
        reap()


def _children() -> set[int]:
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, listing.read_text().split()))
    return found
