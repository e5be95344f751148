"""
Processes: knowing one beyond doubt, seeing its end, ending it, describing it.

A process is known by its pid and its start time together, so that a pid that was given out again is never taken for it;
its end is seen by pidfd (pidfd_open(2)). Running programs is ``program.py``'s business.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from reviver.model.faults import JsonValue

GRACE: Final = 2.0  # seconds between SIGTERM and SIGKILL
KILL_WITHIN: Final = 5.0  # seconds that a killed process may hang in the kernel until it is given up
_PIDFILE_LIMIT: Final = 64
_STATES: Final = {"R": "running", "S": "sleeping", "D": "waiting for a disk", "T": "stopped", "t": "traced",
                  "Z": "ended, not reaped", "X": "ended", "I": "idle"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One process, never to be mistaken for a later one with the same pid."""

    pid: int
    start_time: int
    """Clock ticks from boot to its start: field 22 of ``/proc/PID/stat``, proc(5)."""
    boot_id: str

    def note(self) -> dict[str, JsonValue]:
        """What a journal has to keep for ``from_note``."""
        return {"pid": self.pid, "start_time": self.start_time, "boot_id": self.boot_id}

    @staticmethod
    def from_note(note: Mapping[str, JsonValue]) -> "Token | None":
        """The process that *note* tells of; ``None`` if it tells of none."""
        match note:
            case {"pid": int(pid), "start_time": int(start_time), "boot_id": str(boot_id)}:
                return Token(pid=pid, start_time=start_time, boot_id=boot_id)
            case _:
                return None


def token(pid: int) -> Token | None:
    """The process *pid* as it is now; ``None`` if there is none, or none that this user may see."""
    stat = _stat(pid)
    return Token(pid=pid, start_time=int(stat[19]), boot_id=boot_id()) if stat else None


def boot_id() -> str:
    """The kernel's id of this boot, see random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def alive(pid: int) -> bool:
    """
    Whether process *pid* runs; one that has ended and wasn't reaped does not.

    Sees processes of other users even where ``/proc`` hides them (``ProtectProc=invisible``).

    Raises:
        OSError: It can't be told: this process is out of file descriptors.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not has_ended(pidfd)
    finally:
        os.close(pidfd)


async def wait_exit(pid: int) -> None:
    """
    Return when process *pid*, not necessarily a child, has ended; at once if there is none.

    Raises:
        OSError: It can't be told: this process is out of file descriptors.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def end_earlier(earlier: Token, *, grace: float = GRACE) -> bool:
    """
    End the process that an earlier life of this program started, with its group, and say whether it still ran.

    Does nothing to a later process with the same pid, and nothing to a group whose leader has ended by itself.
    """
    try:
        pidfd = os.pidfd_open(earlier.pid)
    except ProcessLookupError:
        return False
    try:
        if token(earlier.pid) != earlier or has_ended(pidfd):
            return False
        await end_group(earlier.pid, pidfd, grace=grace)
        return True
    finally:
        os.close(pidfd)


async def end_noted(notes: Iterable[Mapping[str, JsonValue]]) -> bool:
    """End those of an earlier life's processes that *notes* tell of, and say whether they tell of any."""
    tokens = [token for note in notes if (token := Token.from_note(note)) is not None]
    for earlier in tokens:
        await end_earlier(earlier)
    return bool(tokens)


async def end_group(pid: int, pidfd: int, *, grace: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    """End the group that *pid* leads; *meanwhile* is called again and again until it has ended."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_WITHIN)):
        signal_group(pid, number)
        give_up = anyio.current_time() + seconds
        while not has_ended(pidfd) and anyio.current_time() < give_up:
            meanwhile()
            with anyio.move_on_after(0.05):
                await anyio.wait_readable(pidfd)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all of a group; to a group that is gone, nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a realtime signal
        return f"signal {number}"


def has_ended(pidfd: int) -> bool:
    """Whether the process behind a pidfd has ended, reaped or not."""
    poll = select.poll()  # select() refuses pidfds above 1023
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def read_pidfile(path: str | Path) -> int | None:
    """
    The pid in the first line of *path*, as ``postmaster.pid`` and most others have it; ``None`` if there is none.

    Blocks on the file system.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        first = os.read(descriptor, _PIDFILE_LIMIT).partition(b"\n")[0].strip()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(first) if first.isdigit() and 0 < int(first) < 2**22 + 1 else None


def describe(pid: int) -> dict[str, JsonValue]:
    """What ``/proc`` tells of process *pid*, for evidence; no arguments or environment, for they may hold secrets."""
    stat = _stat(pid)
    if not stat:
        return {"pid": pid, "state": "not there, or hidden"}
    found: dict[str, JsonValue] = {
        "pid": pid,
        "name": _proc(pid, "comm"),
        "state": _STATES.get(stat[0], stat[0]),
        "threads": int(stat[17]),
        "rss_bytes": int(stat[21]) * os.sysconf("SC_PAGESIZE"),
        "wchan": _proc(pid, "wchan"),
    }
    with contextlib.suppress(OSError):  # another user's
        found["file_descriptors"] = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return found


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third, ``state``, on; the second may hold blanks and brackets."""
    return _proc(pid, "stat").rpartition(")")[2].split()


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").strip()
    except OSError:
        return ""
