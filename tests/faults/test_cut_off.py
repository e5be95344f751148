"""The real daemon whose own network is cut, or that is stopped: it doubts itself, and acts upon nothing."""

import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from daemon import RunningDaemon, running_daemon
from netns import GATEWAY, TARGETS, network
from servers import LOOPBACK, silent_server, until

PORT, VANTAGE, HERE = 7000, 7001, 7002  # in namespaces of their own: nobody else is there


def watched(name: str, address: str, tmp_path: Path) -> str:
    """A service whose recovery writes a line, and heals nothing."""
    return f"""
        [services.{name}]
        check = "tcp"
        address = "{address}"
        interval = "1s"
        timeout = "1s"
        confirm = "200ms"

        [[services.{name}.recovery]]
        name = "note"
        faults = ["unreachable", "timeout"]
        after = "3s"
        attempts = 1
        verify_within = "100ms"
        steps = [{{ action = "command", argv = ["sh", "-c", "echo {name} >>{tmp_path}/acted"] }}]
    """


def region(tmp_path: Path, count: int = len(TARGETS)) -> str:
    return "".join(watched(f"s{n}", f"{TARGETS[n]}:{PORT}", tmp_path) for n in range(count))


def acted(tmp_path: Path) -> list[str]:
    """The services upon which it acted, in order."""
    path = tmp_path / "acted"
    return path.read_text().split() if path.exists() else []


async def suspect(daemon: RunningDaemon) -> str:
    return str((await daemon.get("/api/v1/health"))["observer_suspect"])


async def suspected(daemon: RunningDaemon) -> bool:
    return bool(await suspect(daemon))


async def trusted(daemon: RunningDaemon) -> bool:
    return not await suspect(daemon)


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_when_its_cable_is_pulled_it_recovers_what_is_here_and_the_rest_only_once_it_is_back(
    tmp_path: Path,
) -> None:
    settings = region(tmp_path) + watched("here", f"{LOOPBACK}:{HERE}", tmp_path)
    async with network() as net:
        await net.far.listen("0.0.0.0", PORT)
        here = await net.near.listen(LOOPBACK, HERE)
        async with running_daemon(tmp_path, settings, inside=net.near.inside) as daemon:
            for n in range(len(TARGETS)):
                await daemon.health_is(f"s{n}", "up")

            net.pull()
            net.far.ip("address", "del", f"{TARGETS[7]}/32", "dev", "cable")  # and this one is gone indeed
            await daemon.until(lambda: suspected(daemon), what="it suspects itself")
            for n in range(len(TARGETS)):
                await daemon.health_is(f"s{n}", "down")
                await daemon.until(lambda n=n: held(daemon, f"s{n}"), what=f"s{n} is held")  # type: ignore[misc]
            assert "lost its default route" in await suspect(daemon)
            assert "8 of 8 unrelated hosts fail together" in await suspect(daemon)
            assert await daemon.metric("reviver_observer_suspect") == 1
            for reason, value in (("crowd", 1), ("lag", 0), ("network", 1), ("suspended", 0)):
                assert await daemon.metric("reviver_observer_suspect_reason", reason=reason) == value
            assert "reviver suspects itself" in daemon.cli("status").stderr
            assert acted(tmp_path) == []

            here.kill()
            await daemon.until(has_acted(tmp_path, "here"), what="what is on this host is recovered")
            await anyio.sleep(5)  # long after each was due
            assert acted(tmp_path) == ["here"]

            net.plug_in()
            for n in range(len(TARGETS) - 1):
                await daemon.health_is(f"s{n}", "up")
            assert await suspected(daemon), "trusted at once"
            await daemon.until(lambda: trusted(daemon), within=90, what="it trusts itself")
            await daemon.until(has_acted(tmp_path, "s7"), what="what is really down is recovered")
            assert acted(tmp_path) == ["here", "s7"]
            assert await daemon.metric("reviver_observer_suspect") == 0


def has_acted(tmp_path: Path, name: str) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return name in acted(tmp_path)

    return has


async def held(daemon: RunningDaemon, name: str) -> bool:
    said = str((await daemon.service(name))["held"])
    return "default route" in said or "fail together" in said


@pytest.mark.netns
@pytest.mark.timeout(240)
async def test_when_no_anchor_answers_a_single_failure_is_left_alone(tmp_path: Path) -> None:
    daemon_table = f"""
        [daemon]
        listen = "{LOOPBACK}:0"
        state_dir = "{tmp_path}/state"
        anchors = ["{TARGETS[6]}:{PORT}", "{TARGETS[7]}:{PORT}"]
    """
    async with network() as net:
        await net.far.listen("0.0.0.0", PORT)
        async with running_daemon(tmp_path, daemon_table + region(tmp_path, 1), inside=net.near.inside) as daemon:
            await daemon.health_is("s0", "up")
            net.far.ip("link", "set", "cable", "down")  # the far end: no route is lost here
            await daemon.until(lambda: suspected(daemon), what="it suspects itself")
            assert await suspect(daemon) == "none of the 2 anchors answers: this host's network may be gone"
            await daemon.health_is("s0", "down")
            await anyio.sleep(5)
            assert acted(tmp_path) == []


@pytest.mark.netns
@pytest.mark.timeout(240)
async def test_a_region_that_is_down_indeed_is_recovered_once_the_tie_break_confirms_it(tmp_path: Path) -> None:
    daemon_table = f"""
        [daemon]
        listen = "{LOOPBACK}:0"
        state_dir = "{tmp_path}/state"
        budget = {{ attempts = 100, per = "15m" }}

        [daemon.tie_break]
        check = "tcp"
        address = "{GATEWAY}:{VANTAGE}"
    """
    async with network() as net:
        servers = await net.far.listen("0.0.0.0", PORT)
        settings = daemon_table + region(tmp_path)
        async with running_daemon(tmp_path, settings, inside=net.near.inside) as daemon:
            for n in range(len(TARGETS)):
                await daemon.health_is(f"s{n}", "up")
            servers.kill()
            await daemon.until(lambda: suspected(daemon), what="it suspects itself")
            for n in range(len(TARGETS)):
                await daemon.health_is(f"s{n}", "down")
            await anyio.sleep(5)
            assert acted(tmp_path) == []  # the second vantage says nothing yet

            await net.far.listen(GATEWAY, VANTAGE)
            await until(lambda: len(acted(tmp_path)) == len(TARGETS), within=60, what="all are recovered")
            assert sorted(acted(tmp_path)) == [f"s{n}" for n in range(len(TARGETS))]
            assert "the tie-break confirms that the failures are real" in await suspect(daemon)
            assert await daemon.metric("reviver_observer_suspect_confirmed") == 1


async def test_a_daemon_that_was_stopped_for_seconds_acts_upon_nothing_and_says_why(tmp_path: Path) -> None:
    async with silent_server() as port:
        settings = "".join(watched(f"s{n}", f"{LOOPBACK}:{port}", tmp_path) for n in range(8))
        async with running_daemon(tmp_path, settings) as daemon:
            for n in range(8):
                await daemon.health_is(f"s{n}", "up")
            daemon.signal(signal.SIGSTOP)
            await anyio.sleep(6)
            daemon.signal(signal.SIGCONT)
            continued_at = time.monotonic()
            await daemon.until(lambda: suspected(daemon), within=3, what="it suspects itself")
            assert (await suspect(daemon)).startswith("reviver itself was ")
            assert await daemon.metric("reviver_observer_suspect_reason", reason="lag") == 1
            await daemon.until(lambda: trusted(daemon), within=30, what="it trusts itself")
            assert time.monotonic() - continued_at >= 9.5
            assert acted(tmp_path) == []
            assert await daemon.incidents() == []
