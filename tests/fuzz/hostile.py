"""Servers that say whatever a test makes up, and a check that has to bear it."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.abc
from hypothesis import strategies as st

from fuzz.planted import REDACT, assert_seemly, assert_seemly_result
from reviver.model.checks import Check, CheckContext
from servers import LOOPBACK

TIMEOUT = 0.06  # of a question
PATIENCE = 5.0  # seconds more, for a busy machine; the supervisor itself cuts a check off half a second later
STALL_MAX = 1.0  # seconds of processor time that one step of the event loop may take


@dataclass(frozen=True)
class Script:
    """What a server says to each connection."""

    pieces: Sequence[bytes]
    endless: bool = False
    """Whether it says the last piece again and again."""
    closes: bool = True
    """Whether it closes afterwards, or is silent."""
    waits: bool = False
    """Whether it waits for a word of the client's before each piece."""

    def __repr__(self) -> str:
        how = [name for name in ("endless", "closes", "waits") if getattr(self, name)]
        return f"{[_Short(piece) for piece in self.pieces]} {' '.join(how)}"


class _Short(bytes):
    def __repr__(self) -> str:
        return bytes.__repr__(self) if len(self) < 400 else f"{bytes(self[:400])!r}… ({len(self)} bytes)"


def scripts(pieces: st.SearchStrategy[bytes], *, most: int = 6) -> st.SearchStrategy[Script]:
    """Scripts made of *pieces*."""
    rarely = st.sampled_from([False] * 19 + [True])
    return st.builds(
        Script, pieces=st.lists(pieces, max_size=most), endless=rarely, closes=st.just(True), waits=st.booleans()
    ) | st.builds(Script, pieces=st.lists(pieces, max_size=most), endless=rarely, closes=rarely.map(lambda x: not x))


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[int]:
    """The port of a server that keeps to *script*."""
    listener = await anyio.create_tcp_listener(local_host=LOOPBACK)
    port: int = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  not Django's

    async def handle(stream: anyio.abc.SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError, OSError):
            async with stream:
                await _say(stream, script)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield port
        tasks.cancel_scope.cancel()


async def _say(stream: anyio.abc.SocketStream, script: Script) -> None:
    for piece in script.pieces:
        if script.waits:
            await stream.receive()
        await stream.send(piece)
    while script.endless and script.pieces and script.pieces[-1]:
        await stream.send(script.pieces[-1])
    if not script.closes:
        await anyio.sleep_forever()


async def bear(script: Script, make: Callable[[int], Check]) -> None:
    """
    The check that *make* makes for the port of a server that keeps to *script* bears it.

    Asked afresh, over what it keeps, and for evidence, it answers in time and seemly, and stalls nobody.
    """
    try:
        async with serving(script) as port:
            await _bear(make(port))
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None  # so that hypothesis tells failures apart


async def _bear(check: Check) -> None:
    context = CheckContext(service="it", timeout=TIMEOUT, wake=lambda _: None)
    began = time.process_time()
    async with check.open(context) as probe:
        for fresh in (True, False, False):
            with anyio.fail_after(TIMEOUT + PATIENCE):
                result = await probe.ask(fresh=fresh)
            assert result.fault is None or result.fault.kind in check.faults, result.fault
            assert_seemly_result(result)
        with anyio.move_on_after(TIMEOUT):  # it is given 2 s as a rule
            evidence = await probe.evidence()
            assert_seemly(REDACT.tree(evidence), at_most=256 * 1024)
    assert time.process_time() - began < STALL_MAX, "it kept the event loop busy"
