"""A recovery that brings one server back and kills another that needs it is stopped after the first time."""

import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio.abc

from daemon import RunningDaemon, running_daemon
from servers import LOOPBACK, free_port, running_redis, until

TOY = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Well(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Well).serve_forever()
"""


@asynccontextmanager
async def running_toy(port: int, pidfile: Path) -> AsyncIterator[anyio.abc.Process]:
    """A small HTTP API that answers well, whatever its cache does."""
    async with await anyio.open_process([sys.executable, "-c", TOY, str(port)]) as toy:
        await anyio.Path(pidfile).write_text(str(toy.pid))
        try:
            yield toy
        finally:
            with suppress(ProcessLookupError):
                toy.kill()


async def figure(daemon: RunningDaemon, series: str) -> str:
    async with daemon.client() as client:
        page = (await client.get("/metrics")).text
    found = re.search(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
    return "" if found is None else found[1]


async def test_a_recovery_that_kills_what_depends_on_its_service_acts_once_and_then_at_a_persons_word(
    tmp_path: Path,
) -> None:
    toy_port, toy_pid, cache_pid = free_port(), tmp_path / "toy.pid", tmp_path / "cache.pid"
    async with running_redis() as server:
        start = f"redis-server --port {server.port} --bind {LOOPBACK} --dir {tmp_path} --save '' --daemonize yes"
        script = tmp_path / "restart.sh"
        script.write_text(f"{start} --pidfile {cache_pid}\nkill -9 $(cat {toy_pid})\necho ran >> {tmp_path}/runs\n")
        settings = f"""
            [services.cache]
            check = "redis"
            url = "{server.url}"
            interval = "1s"
            confirm = "200ms"
            cooldown = "0s"

            [[services.cache.recovery]]
            name = "restart"
            faults = ["unreachable"]
            after = "1s"
            steps = [{{ action = "command", argv = ["sh", "{script}"] }}]

            [services.api]
            check = "http"
            url = "http://{LOOPBACK}:{toy_port}/"
            interval = "500ms"
            confirm = "200ms"
            depends_on = ["cache"]
        """
        try:
            async with running_toy(toy_port, toy_pid), running_daemon(tmp_path, settings) as daemon:
                await daemon.health_is("api", "up")
                await daemon.health_is("cache", "up")
                server.signal(signal.SIGKILL)

                demoted = 'reviver_strategy_demoted{service="cache",strategy="restart"}'

                async def is_demoted() -> bool:
                    return await figure(daemon, demoted) in {"1", "1.0"}

                await daemon.until(is_demoted, within=30, what="restart is demoted")
                [shown] = (await daemon.get("/api/v1/trust"))["strategies"]
                assert (shown["mode"], shown["tries"], shown["cures"]) == ("approve", 1, 1)
                assert shown["demoted"].startswith("it broke api, which failed (unreachable)")
                cached, broken = sorted(await daemon.incidents(), key=lambda each: each["service"], reverse=True)
                assert '"restart" is demoted to approve: it broke api' in str(cached["timeline"])
                assert 'after "restart" of cache began to act' in str(broken["timeline"])

                await daemon.kill()
                async with running_toy(toy_port, toy_pid) as toy:
                    await daemon.start()
                    await daemon.health_is("api", "up")
                    await daemon.health_is("cache", "up")
                    os.kill(int(cache_pid.read_text()), signal.SIGKILL)

                    async def is_held() -> bool:
                        return "was demoted to approve: it broke api" in (await daemon.service("cache"))["held"]

                    await daemon.until(is_held, within=30, what="the second recovery is held")
                    assert (tmp_path / "runs").read_text() == "ran\n"
                    assert toy.returncode is None
                    table = daemon.cli("trust", "cache").stdout.splitlines()
                    assert table[1].split()[:7] == ["cache", "restart", "approve", "1", "1", "1", "1"]
                    assert "demoted: it broke api" in table[1]

                    promoted = daemon.cli("promote", "cache", "restart")
                    assert promoted.stdout == '"restart" of cache is trusted again: its mode is auto\n'
                    await until(lambda: (tmp_path / "runs").read_text() == "ran\nran\n", within=20)
                    await daemon.health_is("cache", "up")
        finally:
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(int(cache_pid.read_text()), signal.SIGKILL)
