"""The freeze on the real daemon: by file, by signal, by command, obeyed within a second."""

import signal
import time
from pathlib import Path

from daemon import RunningDaemon, running_daemon
from servers import LOOPBACK, free_port, until

STEPS = 2000
QUIET = 1.5  # seconds without an effect; a step takes some 20 ms


async def frozen_within(daemon: RunningDaemon, effects: Path, since: float) -> float:
    """Seconds from *since* to the last effect, once all is quiet."""
    await daemon.until(lambda: shown(daemon), within=5, what="it shows that it is frozen")
    await until(lambda: time.monotonic() - changed(effects) > QUIET, within=30, what="all is quiet")
    return changed(effects) - since


async def shown(daemon: RunningDaemon) -> bool:
    return bool((await daemon.get("/api/v1/health"))["frozen"])


def changed(effects: Path) -> float:
    """When the last effect was, on the monotonic axis."""
    return float(effects.read_text().split()[-1])


async def test_a_freeze_is_obeyed_within_a_second_however_it_is_said(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    step = f"""{{ action = "command", argv = ["sh", "-c", "cut -d' ' -f1 /proc/uptime >>{effects}"] }}"""
    settings = f"""
    [services.gone]
    check = "tcp"
    address = "{LOOPBACK}:{free_port()}"
    interval = "500ms"

    [[services.gone.recovery]]
    name = "knock"
    faults = ["unreachable"]
    after = "0s"
    attempts = 100
    budgets = []
    verify_within = "1s"
    backoff = {{ initial = "100ms", max = "100ms" }}
    steps = [{", ".join([step] * STEPS)}]
    """
    async with running_daemon(tmp_path, settings) as daemon:
        file = tmp_path / "state/FREEZE"

        def by_command() -> None:
            assert daemon.cli("freeze", "--reason", "a bad feeling").returncode == 0

        def by_signal() -> None:
            daemon.signal(signal.SIGUSR1)

        for freeze in (file.touch, by_signal, by_command):
            effects.write_text("")
            await until(lambda: len(effects.read_text().split()) > 5, within=30, what="it acts")
            since = time.monotonic()
            freeze()
            assert await frozen_within(daemon, effects, since) < 1.0 + 0.5 * (freeze is by_command)  # its own start
            file.unlink(missing_ok=True)
            daemon.cli("thaw")
        log = daemon.log
    assert log.count('"daemon.frozen"') == 3
