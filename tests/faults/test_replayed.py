"""What the real daemon saw of a real server is replayed with other settings, beside the daemon and after its death."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from daemon import RunningDaemon, running_daemon
from faults.test_the_main_job import unix
from servers import running_redis

WATCHING = """
    [services.cache]
    check = "redis"
    url = "{url}"
    interval = "200ms"
    timeout = "300ms"
    confirm = "100ms"
    fall = {fall}
    stable = "0s"
    cooldown = "0s"

    [[services.cache.recovery]]
    name = "restart"
    faults = ["timeout"]
    after = "0s"
    steps = [{{ action = "command", argv = ["/bin/false"] }}]
"""

RECORDED = ["healthy", "timeout", "healthy"]


def replayed(daemon: RunningDaemon, settings: Path) -> dict[str, Any]:
    """``reviver replay --json`` with *settings*, on the daemon's journal."""
    argv = [sys.executable, "-m", "reviver", "replay", "--json", "-c", str(settings), "--journal", str(journal(daemon))]
    told = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


def journal(daemon: RunningDaemon) -> Path:
    return daemon.directory / "state" / "journal.db"


async def has_answered(daemon: RunningDaemon, expected: list[str]) -> bool:
    """Whether the history says *expected* by now."""
    with closing(sqlite3.connect(f"file:{journal(daemon)}?mode=ro", uri=True)) as db:
        return [answer for (answer,) in db.execute("SELECT answer FROM history ORDER BY id")] == expected


async def has_been(daemon: RunningDaemon, health: str, seconds: float) -> bool:
    view = await daemon.service("cache")
    return view["health"] == health and time.time() - unix(view["since"]) >= seconds  # noqa: TID251  as it shows it


async def test_two_short_outages_that_were_left_alone_would_have_been_acted_upon_needlessly(tmp_path: Path) -> None:
    hasty = tmp_path / "hasty.toml"
    async with running_redis() as server, running_daemon(tmp_path, WATCHING.format(url=server.url, fall=500)) as daemon:
        hasty.write_text(WATCHING.format(url=server.url, fall=2))
        for expected in (RECORDED, RECORDED + RECORDED[1:]):
            # An attempt upon the first outage has to end before the second.
            await daemon.until(partial(has_been, daemon, "up", 5.0), what="it is well for 5 s")
            server.freeze()
            await daemon.until(partial(has_been, daemon, "suspect", 2.0), what="it fails for 2 s")
            server.thaw()
            await daemon.until(partial(has_answered, daemon, expected), within=20, what="it is recorded")
        assert await daemon.incidents() == []
        beside = replayed(daemon, hasty)
        await daemon.kill()
        after, unchanged = replayed(daemon, hasty), replayed(daemon, daemon.config)

    for told in (beside, after):
        assert (told["then"]["incidents"], told["then"]["left_alone"]) == (0, 2)
        assert (told["now"]["incidents"], told["now"]["left_alone"]) == (2, 0)
        assert {incident["fault"] for incident in told["incidents"]} == {"timeout"}
        assert [incident["actions"][0]["verdict"] for incident in told["incidents"]] == ["needless", "needless"]
        assert told["now"]["attempts"] == {"restart": 2}
    assert (unchanged["now"]["incidents"], unchanged["now"]["left_alone"]) == (0, 2)


async def test_a_daemon_that_is_stopped_writes_its_history_to_the_end(tmp_path: Path) -> None:
    settings = WATCHING.format(url="redis://127.0.0.1:1/0", fall=500)
    async with running_daemon(tmp_path, settings) as daemon:
        await daemon.until(partial(has_been, daemon, "suspect", 4.0), what="it has failed for 4 s")
        stopped_at = time.time()  # noqa: TID251  compared with the history's wall time
        assert await daemon.stop() == 0
        with closing(sqlite3.connect(f"file:{journal(daemon)}?mode=ro", uri=True)) as db:
            [(until,)] = db.execute("SELECT until FROM history").fetchall()
        assert until >= stopped_at - 1.0
