"""The main job, end to end: real servers are broken, the real daemon diagnoses, recovers and proves it."""

import signal
import sys
import time
from pathlib import Path

from daemon import running_daemon
from servers import running_postgres, until

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

            async def recovered() -> bool:
                incidents = await daemon.incidents()
                return bool(incidents) and incidents[0]["state"] == "recovered"

            try:
                await daemon.until(recovered, what="the incident is recovered")
                assert await server.answers()
            finally:
                await end_postgres(server.data)
            [incident] = daemon.incidents_by_cli()
            assert incident["service"] == "db"
            assert incident["fault"] == "unreachable"
            assert incident["certain"] is True
            assert incident["recovered_by"] == "restart"
            [whole] = await daemon.incidents()
            [attempt] = whole["attempts"]
            assert [step["outcome"] for step in attempt["steps"]] == ["done"]
            assert attempt["evidence"]
            assert unix(whole["noticed_at"]) - killed_at < 0.1
            assert (await daemon.service("db"))["health"] == "up"


def unix(moment: float | str) -> float:
    """Unix time of what the API shows."""
    if isinstance(moment, int | float):
        return float(moment)
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


async def end_postgres(data: Path) -> None:
    """End the server that reviver's step has started."""
    import os
    from contextlib import suppress

    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        await until(lambda: not Path(f"/proc/{pid}/exe").exists(), what=f"{pid} ends")
