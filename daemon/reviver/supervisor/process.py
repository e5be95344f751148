"""
Certain evidence: the service's own process on this host, watched by pidfd and, for a unit, asked of systemd.

A process that has gone is known at once and beyond doubt, while a refused connection alone might be a firewall. And a
unit that its service manager is restarting at this moment is nobody else's to restart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from reviver.clients import process, systemd

from .watched import Process

LOOK_EVERY = 1.0  # seconds between looks for the process while it isn't there
UNIT_WITHIN = 2.0  # seconds that systemd may take to answer

HANDLED = frozenset({"activating", "reloading", "deactivating", "inactive"})  # inactive: somebody has stopped it


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a look found."""

    state: Process
    told: str
    pid: int | None = None


Tell = Callable[[Sighting], None]


async def watch(*, unit: str | None, pidfile: str | None, tell: Tell) -> None:
    """Look for the process of *unit*, or of *pidfile*, and *tell* of each change. Runs until cancelled."""
    last = Process.UNKNOWN
    while True:
        sighting = await _of_unit(unit) if unit is not None else _of_pidfile(Path(pidfile or ""), seen=last)
        if sighting.state is not last:
            last = sighting.state
            tell(sighting)
        if sighting.pid is None or not await _exited(sighting.pid):
            await anyio.sleep(LOOK_EVERY)


async def _exited(pid: int) -> bool:
    """True once *pid* has ended; false at once if it can't be watched from here."""
    try:
        await process.wait_exit(pid)
    except OSError:
        return False
    return True


def _of_pidfile(path: Path, *, seen: Process) -> Sighting:
    pid = process.read_pidfile(path)
    if pid is not None and process.alive(pid):
        return Sighting(state=Process.ALIVE, told=f"process {pid} is alive", pid=pid)
    if pid is None and seen is Process.UNKNOWN:
        return Sighting(state=Process.UNKNOWN, told=f"{path} names no living process")
    return Sighting(state=Process.GONE, told="its process is gone" if pid is None else f"its process {pid} is gone")


async def _of_unit(unit: str) -> Sighting:
    try:
        state = await systemd.unit_state(unit, timeout=UNIT_WITHIN)
    except (OSError, TimeoutError, systemd.SystemdError) as error:
        return Sighting(state=Process.UNKNOWN, told=f"systemd does not tell of {unit}: {error}")
    said = f"unit {unit} is {state.active_state} ({state.sub_state})"
    if state.active_state in HANDLED:
        return Sighting(state=Process.HANDLED, told=said)
    if state.active_state == "failed":
        return Sighting(state=Process.GONE, told=f"{said}, result {state.result}")
    pid = state.main_pid or None
    return Sighting(state=Process.ALIVE, told=said, pid=pid)
