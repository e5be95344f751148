"""The real daemon leaves a real Redis to those who work on it."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon import RunningDaemon, running_daemon
from servers import RedisServer, running_redis, until


def settings(url: str, ran: Path, extra: str = "") -> str:
    return f"""
        [services.cache]
        check = "redis"
        url = "{url}"
        interval = "500ms"
        confirm = "100ms"
        {extra}

        [[services.cache.recovery]]
        name = "touch"
        faults = ["unreachable"]
        after = "0s"
        steps = [{{ action = "command", argv = ["touch", "{ran}"] }}]
    """


@asynccontextmanager
async def lock_watched(folder: Path, ran: Path, lock: Path) -> AsyncIterator[tuple[RedisServer, RunningDaemon]]:
    """A Redis with a daemon that obeys *lock*."""
    async with running_redis() as server:
        text = settings(server.url, ran, f'lock_file = "{lock}"')
        async with running_daemon(folder, text) as daemon:
            yield server, daemon


async def metric(daemon: RunningDaemon, name: str) -> float:
    """The value of the series *name*."""
    async with daemon.client() as client:
        page = (await client.get("/metrics")).text
    [value] = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(value)


async def test_while_a_lock_file_is_there_nothing_is_done_and_once_it_is_gone_it_is(tmp_path: Path) -> None:
    ran, lock = tmp_path / "ran", tmp_path / "lock"
    lock.write_text("deploy of cache 7 by ann\n")
    async with lock_watched(tmp_path, ran, lock) as (server, daemon):
        await server.kill()

        async def held() -> bool:
            return "deploy of cache 7 by ann" in (await daemon.service("cache"))["held"]

        await daemon.until(held, what="it is held")
        assert "held: " in daemon.cli("status").stdout
        [incident] = await daemon.incidents()
        assert "deploy of cache 7 by ann" in str(incident["timeline"])
        assert not ran.exists()
        assert await metric(daemon, 'reviver_recovery_held_total{service="cache",guard="lock"}') == 1
        lock.unlink()
        await until(ran.exists, within=15, what="it is recovered")


async def test_an_old_lock_file_is_forgotten_and_a_link_is_not_followed(tmp_path: Path) -> None:
    ran, lock = tmp_path / "ran", tmp_path / "lock"
    lock.symlink_to(tmp_path / "nowhere")
    async with lock_watched(tmp_path, ran, lock) as (server, daemon):
        await server.kill()

        async def held() -> bool:
            return "can't be read: a symbolic link" in (await daemon.service("cache"))["held"]

        await daemon.until(held, what="it is held")
        lock.unlink()
        lock.touch()
        two_hours_ago = time.time() - 7200  # noqa: TID251  the time of a file
        os.utime(lock, (two_hours_ago, two_hours_ago))
        await until(ran.exists, within=15, what="it is recovered")


async def test_a_release_made_current_moments_ago_is_its_deployers(tmp_path: Path) -> None:
    ran, current = tmp_path / "ran", tmp_path / "current"
    current.symlink_to(tmp_path)
    async with running_redis() as server:
        extra = f'deployed = ["{current}"]\nsettle = "10s"'
        async with running_daemon(tmp_path, settings(server.url, ran, extra)) as daemon:
            current.unlink()
            current.symlink_to("/usr")
            changed = time.monotonic()
            await server.kill()

            async def held() -> bool:
                return f"{current} was changed " in (await daemon.service("cache"))["held"]

            await daemon.until(held, what="it is held")
            assert not ran.exists()
            await until(ran.exists, within=20, what="it is recovered")
            assert time.monotonic() - changed > 9


async def test_in_a_maintenance_window_nothing_is_done_and_everything_says_so(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    begins = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251  a window around the test
    until_ = begins + timedelta(hours=1, seconds=20)
    window = f"""
        [[maintenance]]
        services = ["cache"]
        from = "{begins.isoformat()}"
        until = "{until_.isoformat()}"
        reason = "new memory"
    """
    async with running_redis() as server, running_daemon(tmp_path, settings(server.url, ran) + window) as daemon:
        assert (await daemon.service("cache"))["maintenance_until"] == until_.timestamp()
        assert "MAINTENANCE until " in daemon.cli("status").stdout
        await server.kill()

        async def held() -> bool:
            return bool((await daemon.service("cache"))["held"].startswith("maintenance until "))

        await daemon.until(held, what="it is held")
        assert await metric(daemon, 'reviver_service_maintenance{service="cache"}') == 1
        assert '"maintenance.began"' in daemon.log
        assert not ran.exists()
        await until(ran.exists, within=40, what="it is recovered after the window")
        assert datetime.now(UTC) >= until_  # noqa: TID251
        assert await metric(daemon, 'reviver_service_maintenance{service="cache"}') == 0
