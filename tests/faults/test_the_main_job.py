"""The main job, end to end: real servers are broken, the real daemon diagnoses, recovers and proves it."""

import os
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from daemon import RunningDaemon, running_daemon
from servers import LOOPBACK, free_port, running_postgres, running_redis, silent_server, until

RESTARTER = """
import os, subprocess, sys
# Started apart from reviver's step, as a service manager would.
log = open(sys.argv[1], "ab")
subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
"""


def by_command(tmp_path: Path, argv: list[str]) -> str:
    """A step that starts *argv* in the background."""
    script = tmp_path / "start.py"
    script.write_text(RESTARTER)
    parts = [sys.executable, str(script), str(tmp_path / "restarted.log"), "setpriv", *argv]
    return f'{{ action = "command", argv = {parts!r} }}'.replace("'", '"')


async def test_a_killed_postgres_is_noticed_at_once_and_recovered_as_soon_as_it_is_up(tmp_path: Path) -> None:
    async with running_postgres() as server:
        settings = f"""
            [services.db]
            check = "postgres"
            dsn = "{server.dsn}"
            interval = "10s"

            [[services.db.recovery]]
            name = "restart"
            faults = ["unreachable"]
            after = "0s"
            steps = [{by_command(tmp_path, server.argv())}]
        """
        async with running_daemon(tmp_path, settings) as daemon:
            await daemon.health_is("db", "up")
            killed_at = time.time()  # noqa: TID251  compared with the incident's wall time
            server.signal(signal.SIGKILL)
            await until(lambda: not server.alive)  # a zombie of ours would look like a living postmaster

            try:
                await daemon.recovered()
                assert await server.answers()
                [incident] = daemon.incidents_by_cli()
                [whole] = await daemon.incidents()
                assert (await daemon.service("db"))["health"] == "up"
            finally:
                await end_postgres(server.data)
            assert incident["service"] == "db"
            assert incident["fault"] == "unreachable"
            assert incident["certain"] is True
            assert incident["recovered_by"] == "restart"
            [attempt] = whole["attempts"]
            assert [step["outcome"] for step in attempt["steps"]] == ["done"]
            assert attempt["evidence"]
            # Woken, for the next question is up to 10 s away; milliseconds as a rule, and more on a busy machine.
            assert unix(whole["noticed_at"]) - killed_at < 0.5


def unix(moment: float | str) -> float:
    """Unix time of what the API shows."""
    if isinstance(moment, int | float):
        return float(moment)
    return datetime.fromisoformat(moment).timestamp()


async def end_postgres(data: Path) -> None:
    """End the server that reviver's step has started."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        await until(lambda: not Path(f"/proc/{pid}/exe").exists(), what=f"{pid} ends")


async def test_a_stopped_redis_is_a_timeout_whatever_else_hangs(tmp_path: Path) -> None:
    async with running_redis() as server, silent_server() as silent_port:
        settings = f"""
            [services.cache]
            check = "redis"
            url = "{server.url}"
            interval = "1s"
            timeout = "1s"
            confirm = "200ms"

            [services.other]
            check = "http"
            url = "http://{LOOPBACK}:{silent_port}/"
            interval = "1s"
            timeout = "1s"
        """
        async with running_daemon(tmp_path, settings) as daemon:
            await daemon.health_is("cache", "up")
            stopped_at = time.time()  # noqa: TID251  compared with the incident's wall time
            server.freeze()
            await daemon.health_is("cache", "down")
            incident = next(each for each in await daemon.incidents() if each["service"] == "cache")
            assert incident["fault"] == "timeout"
            # At worst it was just asked: an interval, then four timeouts and the pauses between them.
            assert unix(incident["opened_at"]) - stopped_at < 1 + 4 * 1 + 3 * 0.2 + 1.5
            server.thaw()
            await daemon.health_is("cache", "up")
            incident = next(each for each in await daemon.incidents() if each["service"] == "cache")
            assert incident["state"] == "recovered"
            assert incident["recovered_by"] == "itself"


async def test_two_hundred_silent_services_do_not_delay_a_healthy_one(tmp_path: Path) -> None:
    async with running_redis() as server, silent_server() as silent_port:
        kinds = ('check = "http"\nurl = "http://{}/"', 'check = "redis"\nurl = "redis://{}/0"')
        silent = "\n".join(
            f'[services.silent-{n}]\n{kinds[n % 2].format(f"{LOOPBACK}:{silent_port}")}\ninterval = "2s"\n'
            for n in range(200)
        )
        settings = f"""
            [services.cache]
            check = "redis"
            url = "{server.url}"
            interval = "500ms"
            {silent}
        """
        async with running_daemon(tmp_path, settings) as daemon:
            before, began = await checks_done(daemon, "cache"), time.monotonic()
            await daemon.until(partial(enough_checks, daemon, before + 12), within=60, what="12 more checks")
            rate = (await checks_done(daemon, "cache") - before) / (time.monotonic() - began)
            assert (
                rate > 0.25 / 0.5
            )  # a quarter of what is due, for the machine may be busy; a shared queue does a tenth
            assert (await daemon.service("cache"))["health"] == "up"
            assert (await daemon.service("silent-0"))["fault"] == "timeout"


async def checks_done(daemon: RunningDaemon, service: str) -> float:
    async with daemon.client() as client:
        metrics = (await client.get("/metrics")).text
    lines = [
        line for line in metrics.splitlines() if line.startswith("reviver_checks_total") and f'"{service}"' in line
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def enough_checks(daemon: RunningDaemon, wanted: float) -> bool:
    return await checks_done(daemon, "cache") >= wanted


async def test_killed_in_the_middle_of_a_step_the_daemon_resumes_its_one_incident_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    runs, release = tmp_path / "runs", tmp_path / "release"
    script = tmp_path / "step.sh"
    # Writes down that it ran, and takes its time: the daemon is killed meanwhile.
    script.write_text(f'#!/bin/sh\necho run >>"{runs}"\nwhile [ ! -e "{release}" ]; do sleep 0.05; done\n')
    script.chmod(0o755)
    port = free_port()
    settings = f"""
        [services.cache]
        check = "redis"
        url = "redis://{LOOPBACK}:{port}/0"
        interval = "1s"

        [[services.cache.recovery]]
        name = "fix"
        faults = ["unreachable"]
        after = "0s"
        attempts = 1
        verify_within = "1s"
        steps = [{{ action = "command", argv = ["{script}"] }}]
    """
    async with running_daemon(tmp_path, settings) as daemon:
        await until(runs.exists, within=10, what="the step runs")
        await daemon.kill()
        await daemon.start()

        async def handed_over() -> bool:
            return bool((await daemon.incidents())[0]["state"] == "escalated")

        await daemon.until(handed_over, what="the incident is handed over")
        [incident] = await daemon.incidents()
        [attempt] = incident["attempts"]
        [step] = attempt["steps"]
        assert step["outcome"] == "interrupted"
        assert attempt["outcome"] == "failed"
        assert runs.read_text() == "run\n"
        assert not any(str(script) in command for command in commands_running()), "the child of the first life runs on"


def commands_running() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
