"""A root shell on the far side of a script: in a booted systemd, or beside a docker daemon of its own."""

import shlex
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

ROOT = Path(__file__).parents[2]


class Shell:
    """Runs commands one after another; an end of its standard input ends the far side, even if this test is killed."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in = process.stdin
        self._out = BufferedByteReceiveStream(process.stdout)

    async def run(self, script: str, *, within: float = 30.0) -> tuple[int, str]:
        """The exit status of *script* (``bash -ec``) and what it printed, within so many seconds."""
        mark = uuid.uuid4().hex
        line = f"bash -ec {shlex.quote(script)} </dev/null 2>&1; echo {mark} $?\n"
        with anyio.fail_after(within):
            await self._in.send(line.encode())
            printed = await self._out.receive_until(mark.encode(), 10_000_000)
            status = await self._out.receive_until(b"\n", 100)
        return int(status), printed.decode(errors="replace").rstrip()

    async def __call__(self, script: str, *, within: float = 30.0) -> str:
        """What *script* printed; the test fails if *script* does."""
        status, printed = await self.run(script, within=within)
        assert status == 0, f"{script!r} ended with {status}:\n{printed}"
        return printed

    async def becomes(self, wanted: str, script: str, *, within: float = 10.0) -> None:
        """Return as soon as *script* prints *wanted*; fail the test if it doesn't within so many seconds."""
        deadline, printed = anyio.current_time() + within, ""
        while anyio.current_time() < deadline:
            _status, printed = await self.run(script)
            if printed == wanted:
                return
            await anyio.sleep(0.05)
        raise AssertionError(f"{script!r} not {wanted!r} within {within:g} s, but {printed!r}")


AnyShell = TypeVar("AnyShell", bound=Shell)


@asynccontextmanager
async def shell_in(*argv: str, kind: type[AnyShell]) -> AsyncIterator[AnyShell]:
    """A shell that *argv* starts as ``*argv bash``; waits for its first answer."""
    process = await anyio.open_process([*argv, "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
    try:
        shell = kind(process)
        await shell("true", within=90.0)
        yield shell
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with anyio.move_on_after(30):
                await process.wait()
            await process.aclose()
