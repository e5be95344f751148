"""
Programs: running one to a certain end.

A child is its own session, so that it can be ended with all that it started. asyncio's own children are not used, for a
cancelled start can leave one behind (CPython gh-103847), and a grandchild that holds the pipe open would keep
``communicate`` from ever returning.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from reviver.model.secrets import Secret
from reviver.model.units import format_duration

from .process import GRACE, Token, end_group, has_ended, signal_group, signal_name, token

OUTPUT_LIMIT: Final = 64 * 1024  # bytes kept of each of stdout and stderr, half from the start and half from the end
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK: Final = 64 * 1024
GATE: Final = ("/bin/sh", "-c", 'read -r _ || exit 125; exec "$@" </dev/null', "gate")
"""What stands before a program until it may begin; if its starter dies meanwhile, the program never begins."""

Text = str | Secret


class NotStartedError(Exception):
    """A program could not be started; the text says why in a line for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended, and what it said."""

    exit_code: int | None
    """``None`` if a signal, or the deadline, ended it."""
    signal: str = ""
    """The signal that ended it, such as ``SIGSEGV``."""
    timed_out: bool = False
    seconds: float
    stdout: str
    stderr: str

    @property
    def how(self) -> str:
        """How it ended, in words: ``exit code 3 after 0.2 s``."""
        after = format_duration(self.seconds)
        if self.timed_out:
            return f"not finished within {after}, ended"
        if self.exit_code is not None:
            return f"exit code {self.exit_code} after {after}"
        return f"ended by {self.signal} after {after}" if self.signal else f"ended after {after}, nobody knows how"

    @property
    def last_words(self) -> str:
        """The last line that it wrote to stderr, else to stdout, uncut; empty if it was silent."""
        lines = [line.strip() for text in (self.stdout, self.stderr) for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, Text] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,  # noqa: ASYNC109  what the program said until then is wanted
    grace: float = GRACE,
    started: Callable[[Token], Awaitable[None]] | None = None,
    end_group: bool = False,
) -> Ended:
    """
    Run *argv* (no shell) until it ends by itself, or *timeout* seconds have passed, or this call is cancelled.

    It reads ``/dev/null``, sees nothing of this process's environment but ``PATH``, ``LANG`` and ``HOME``, and is ended
    with its process group when its time is over: SIGTERM, *grace* seconds, SIGKILL. What it leaves running when it ends
    by itself (a server that it started) goes on, and is not waited for even if it holds the output open; with
    *end_group* it is ended, too.

    *env* are variables for it, beside those three. With *started*, its process is made and told of first, and the
    program begins in it only when that has returned: killed in between, this process leaves nothing behind that it
    hasn't told of. If *started* raises, the program never begins and the exception goes on.

    Raises:
        NotStartedError: It could not be started.
    """
    began = anyio.current_time()
    why_not = obstacle(argv[0], env=env, cwd=cwd) if started is not None else None
    if why_not is not None:
        raise NotStartedError(why_not)
    child = await _start(argv, env=environment(env or {}), cwd=cwd, gated=started is not None)
    try:
        if started is not None:
            await started(child.token)
            child.begin()
        with anyio.move_on_at(began + timeout if timeout is not None else float("inf")) as deadline:
            await child.follow()
    finally:
        with anyio.CancelScope(shield=True):
            await child.end(grace=grace, group=end_group)
    return child.ended(seconds=anyio.current_time() - began, timed_out=deadline.cancelled_caught)


def environment(extra: Mapping[str, Text]) -> dict[str, str]:
    """The environment for a child: the least that programs need, and *extra*; never this process's own secrets."""
    base = {
        "PATH": os.environ.get("PATH") or DEFAULT_PATH,
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "HOME": os.environ.get("HOME") or "/",
    }
    return base | {name: text.reveal() if isinstance(text, Secret) else text for name, text in extra.items()}


def validate(argv: Sequence[str], env: Mapping[str, Text] | None = None) -> None:
    """
    Refuse an argument list, or an environment, that no system could take.

    Raises:
        ValueError: What is wrong with it.
    """
    if not argv or not argv[0]:
        raise ValueError('argv: expected a program and its arguments, such as ["/usr/bin/true"]')
    if any("\0" in argument for argument in argv):
        raise ValueError("argv: a NUL character can't be passed to a program")
    for name, text in (env or {}).items():
        if not name or "=" in name or "\0" in name:
            raise ValueError(f'env: "{name}" is no name of a variable')
        if isinstance(text, str) and "\0" in text:
            raise ValueError(f"env: {name}: a NUL character can't be passed to a program")


def obstacle(program: str, *, env: Mapping[str, Text] | None = None, cwd: str | None = None) -> str | None:
    """Why *program* could not be started now, in a line for an operator; ``None`` if it could."""
    if cwd is not None and not Path(cwd).is_dir():
        return f"{cwd}: no such directory"
    if "/" not in program:
        path = environment(env or {})["PATH"]
        return None if shutil.which(program, path=path) else f"{program}: no such program in {path}"
    file = Path(cwd or ".", program)
    if not file.is_file():
        return f"{program}: no such program"
    return None if os.access(file, os.X_OK) else f"{program}: not executable for this user"


class _Kept:
    """The start and the end of a stream; the middle of a long one is left out."""

    def __init__(self, limit: int) -> None:
        self.seen = 0
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        self.seen += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: -self._half]

    def text(self) -> str:
        left_out = self.seen - len(self._head) - len(self._tail)
        gap = b"\n... %d bytes left out ...\n" % left_out if left_out else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode(errors="replace")


class _Pipe:
    """The reading end of a child's stdout or stderr."""

    def __init__(self, descriptor: int) -> None:
        self.kept = _Kept(OUTPUT_LIMIT)
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def take(self) -> bool:
        """Read what is there; whether more may come."""
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return True
        self.kept.add(data)
        return bool(data)

    def drain(self) -> None:
        """Read what is there, but not endlessly from one who never stops writing."""
        for _ in range(32):
            seen = self.kept.seen
            self.take()
            if self.kept.seen == seen:
                return

    async def follow(self) -> None:
        """Read until all writers have closed it."""
        while True:
            await anyio.wait_readable(self._descriptor)
            if not self.take():
                return
            if self.kept.seen > OUTPUT_LIMIT:  # a flood may cost its writer time, never the event loop
                await anyio.sleep(0.005)


class _Child:
    """A running child of this process."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._pidfd = -1
        self._status: os.waitid_result | None = None
        try:
            self._pidfd = os.pidfd_open(popen.pid)
            self.token = token(popen.pid) or Token(pid=popen.pid, start_time=0, boot_id="")
            self._pipes = [_Pipe(stream.fileno()) for stream in (popen.stdout, popen.stderr) if stream]
        except OSError:
            self.kill()
            raise

    def begin(self) -> None:
        """Open the gate before it."""
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it was ended meanwhile
                self._popen.stdin.write(b"\n")
                self._popen.stdin.close()

    def kill(self) -> None:
        """End it at once, blocking; for a child that nobody will follow."""
        os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._close()

    async def follow(self) -> None:
        """Collect its output until it has ended."""
        async with anyio.create_task_group() as readers:
            for pipe in self._pipes:
                readers.start_soon(pipe.follow)
            await anyio.wait_readable(self._pidfd)
            readers.cancel_scope.cancel()

    async def end(self, *, grace: float, group: bool) -> None:
        """See that it has ended, and its group unless it ended by itself and *group* is false; then reap it."""
        try:
            if not has_ended(self._pidfd):
                await end_group(self._popen.pid, self._pidfd, grace=grace, meanwhile=self._drain)
            elif group:
                signal_group(self._popen.pid, signal.SIGKILL)
            self._drain()
            self._reap()
        finally:
            self._close()

    def ended(self, *, seconds: float, timed_out: bool) -> Ended:
        """How it ended, once it has."""
        status = self._status
        by_itself = status is not None and status.si_code == os.CLD_EXITED
        return Ended(
            exit_code=status.si_status if status and by_itself and not timed_out else None,
            signal=signal_name(status.si_status) if status and not by_itself else "",
            timed_out=timed_out,
            seconds=seconds,
            stdout=self._pipes[0].kept.text(),
            stderr=self._pipes[1].kept.text(),
        )

    def _close(self) -> None:
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _drain(self) -> None:
        for pipe in self._pipes:
            pipe.drain()

    def _reap(self) -> None:
        # Not by Popen, which takes a status that another reaper in this process has got first for exit code 0.
        with contextlib.suppress(ChildProcessError):
            self._status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if self._status is None:  # hangs in the kernel, even killed; subprocess reaps it some day
                return
        self._popen.returncode = self._status.si_status if self._status else 0


class _Start:
    """Starts a child in a thread, for a program on a hung file system would stall the event loop."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, gated: bool = False) -> None:
        self._argv, self._env, self._cwd = [*(GATE if gated else ()), *argv], env, cwd
        self._stdin = subprocess.PIPE if gated else subprocess.DEVNULL
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._abandoned = False

    def __call__(self) -> _Child:
        if sys.version_info < (3, 11, 7):
            _need_descriptors()
        popen = subprocess.Popen(
            self._argv,
            env=self._env,
            cwd=self._cwd,
            stdin=self._stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        child = _Child(popen)
        with self._lock:
            self._child = child
            if self._abandoned:
                child.kill()
        return child

    def abandon(self) -> None:
        """End the child, started already or yet to be."""
        with self._lock:
            self._abandoned = True
            if self._child is not None:
                self._child.kill()


def _need_descriptors() -> None:
    """
    Raise ``OSError`` if there are too few descriptors to start a child.

    When it runs out of them half-way, the Popen of Debian 12's Python 3.11.2 leaks those it has opened (that of 3.11.7
    does not): a daemon that went on trying would never have any again.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(5):  # stdin, stdout, stderr, the child's report, and one to spare
            for end in os.pipe():
                stack.callback(os.close, end)


async def _start(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None, gated: bool) -> _Child:
    start = _Start(argv, env, cwd, gated=gated)
    try:
        return await anyio.to_thread.run_sync(start, abandon_on_cancel=True)
    except OSError as error:
        reason = obstacle(argv[0], env=env, cwd=cwd) or f"{argv[0]}: could not be started: {error.strerror}"
        raise NotStartedError(reason) from error
    except BaseException:
        start.abandon()
        raise
