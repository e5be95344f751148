"""What Prometheus says afterwards is what happened."""

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

from daemon import running_daemon
from prometheus import running_prometheus
from servers import LOOPBACK, running_redis, until


async def test_prometheus_scraping_the_daemon_agrees_with_what_happened(tmp_path: Path) -> None:
    pidfile = tmp_path / "redis.pid"
    (tmp_path / "prometheus").mkdir()
    async with running_redis() as server:
        argv = ["redis-server", "--port", str(server.port), "--bind", LOOPBACK, "--dir", str(tmp_path), "--save", ""]
        argv += ["--daemonize", "yes", "--pidfile", str(pidfile)]
        settings = f"""
            [services.cache]
            check = "redis"
            url = "{server.url}"
            interval = "10s"

            [[services.cache.recovery]]
            name = "restart"
            faults = ["unreachable"]
            after = "0s"
            steps = [{{ action = "command", argv = {str(argv).replace("'", '"')} }}]
        """
        async with (
            running_daemon(tmp_path, settings) as daemon,
            running_prometheus(tmp_path / "prometheus", daemon.port) as prometheus,
        ):
            await daemon.health_is("cache", "up")
            try:
                server.signal(signal.SIGKILL)

                await daemon.recovered()
                [incident] = await daemon.incidents()

                async def says(query: str, value: float) -> bool:
                    figures = (await prometheus.query(query)).values()
                    return any(abs(figure - value) < 0.001 for figure in figures)

                for query, value in {
                    'reviver_incidents_total{service="cache", fault="unreachable"}': 1.0,
                    'reviver_attempts_total{service="cache", strategy="restart", outcome="recovered"}': 1.0,
                    'reviver_steps_total{action="command", outcome="done"}': 1.0,
                    'reviver_incidents_open{service="cache"}': 0.0,
                    'reviver_service_health{service="cache", health="up"}': 1.0,
                    "sum(reviver_recovery_seconds_sum)": incident["recovered_in"],
                    "sum(reviver_recovery_seconds_count)": 1.0,
                    "sum(reviver_detection_seconds_sum)": incident["confirmed_in"],
                }.items():
                    await until(partial(says, query, value), within=20, what=f"{query} is {value}")
            finally:
                with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                    os.kill(int(pidfile.read_text()), signal.SIGKILL)
