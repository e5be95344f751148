"""A journal that can't be read at the start: the daemon watches and tells, and remembers once it can."""

import shutil
import signal
from pathlib import Path

import httpx

from daemon import RunningDaemon
from servers import running_redis, until


async def test_when_the_journal_can_be_read_again_the_daemon_starts_over_with_its_memory(tmp_path: Path) -> None:
    ran, journal, aside = tmp_path / "ran", tmp_path / "state/journal.db", tmp_path / "aside.db"
    async with running_redis() as server:
        daemon = RunningDaemon(
            tmp_path,
            f"""
            [services.cache]
            check = "redis"
            url = "{server.url}"
            interval = "1s"

            [[services.cache.recovery]]
            name = "touch"
            faults = ["unreachable"]
            after = "0s"
            steps = [{{ action = "command", argv = ["touch", "{ran}"] }}]
            """,
        )
        try:
            await daemon.start()
            assert daemon.cli("pause", "cache", "--for", "10m").returncode == 0
            assert await daemon.stop() == 0
            shutil.move(journal, aside)
            journal.write_text("this is no database")

            await daemon.start(ready=False)
            await until(lambda: '"journal.state_changed"' in daemon.log or "is no journal" in daemon.log, within=20)
            server.signal(signal.SIGKILL)  # told of, and not acted upon: who knows what was under way, or paused
            await daemon.until(lambda: shown(daemon, "down"), what="the fault is shown")
            assert not ran.exists()

            pid = daemon.pid
            shutil.move(aside, journal)
            await daemon.until(lambda: shown(daemon, "paused"), within=60, what="it remembers the pause")
            await daemon.ready()
            assert daemon.pid == pid
            assert not ran.exists()

            assert daemon.cli("resume", "cache").returncode == 0
            await until(ran.exists, within=20, what="it acts again")
        finally:
            await daemon.kill()


async def shown(daemon: RunningDaemon, health: str) -> bool:
    """Whether the API answers and shows this health; it is away for a moment while the daemon starts over."""
    try:
        return bool((await daemon.service("cache"))["health"] == health)
    except httpx.TransportError:
        return False
