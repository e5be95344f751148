"""Our own description of the API, taken at its word: requests of every kind that it allows, and of those it doesn't."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest

from daemon import running_daemon
from fuzz.budget import SECONDS, USUAL
from reviver.web import control_app, openapi, public_app, serve_tcp, serve_unix
from servers import LOOPBACK, listening
from web.fakes import restarted
from web.serving import Daemon

PROGRAM = Path(os.environ.get("SCHEMATHESIS", Path(sys.executable).with_name("schemathesis")))
EXAMPLES = max(1, 4 * SECONDS // USUAL)  # for each operation, beside those of the coverage phase
SETTINGS = """
[services.db]
check = "command"
argv = ["true"]
interval = "1s"

[[services.db.recovery]]
name = "restart"
faults = ["command_failed"]
steps = [{ action = "command", argv = ["true"] }]
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not PROGRAM.exists() and "CI" not in os.environ:
        pytest.skip("schemathesis isn't installed: pip install --group fuzz")


async def conforms(url: str, directory: Path) -> None:
    """Whatever schemathesis makes up for *url*, the answers are as its document says."""
    argv = [str(PROGRAM), "--config-file", str(Path(__file__).with_name("schemathesis.toml")), "run"]
    argv += [f"{url}{openapi.PATH}", "--checks", "all", "--max-response-time", "3"]
    argv += ["--max-examples", str(EXAMPLES), "--request-timeout", "5", "--no-color", "--warnings", "off"]
    argv += ["--suppress-health-check", "all"]
    argv += ["--generation-deterministic"] if SECONDS == USUAL else ["--generation-database", "none"]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "NO_PROXY": "*"}
    ended = await anyio.run_process(argv, check=False, cwd=directory, env=environment, stderr=None)
    if ended.returncode:
        pytest.fail(ended.stdout.decode())


@asynccontextmanager
async def on_tcp(path: Path) -> AsyncIterator[str]:
    """The URL under which the unix socket at *path* is to be had over TCP."""

    async def relay(stream: anyio.abc.SocketStream) -> None:
        async with await anyio.connect_unix(path) as other, anyio.create_task_group() as tasks:
            tasks.start_soon(_copy, stream, other)
            tasks.start_soon(_copy, other, stream)

    async with listening(relay) as port:
        yield f"http://{LOOPBACK}:{port}"


async def _copy(source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await target.send(await source.receive())
    with suppress(OSError, anyio.ClosedResourceError):
        await target.send_eof()


def a_daemon() -> Daemon:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "db-1")]
    return daemon


async def test_the_public_api_is_as_it_is_described(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_tcp, public_app(a_daemon().shown), LOOPBACK, 0)
        await conforms(f"http://{LOOPBACK}:{port}", tmp_path)
        tasks.cancel_scope.cancel()


async def test_the_orders_are_as_they_are_described(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_unix, control_app(a_daemon().shown), tmp_path / "control.sock")
        async with on_tcp(tmp_path / "control.sock") as url:
            await conforms(url, tmp_path)
        tasks.cancel_scope.cancel()


async def test_a_real_daemon_takes_whatever_order_it_is_given(tmp_path: Path) -> None:

    async with running_daemon(tmp_path, SETTINGS) as daemon:
        async with on_tcp(tmp_path / "state" / "control.sock") as url:
            await conforms(url, tmp_path)
        assert "Traceback" not in daemon.log
