"""The real clock."""

import time
from pathlib import Path


class SystemClock:
    """Time on this host; meets ``model.ports.Clock``."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def monotonic(self) -> float:
        """
        The event loop's own time: asyncio's is ``time.monotonic``.

        Not asked of anyio, which knows it only within a task: a connection's end is told outside of any.
        """
        return time.monotonic()

    def boottime(self) -> float:
        """CLOCK_BOOTTIME, see clock_gettime(2)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """The kernel's id of this boot, see random(4)."""
        return self._boot_id

    def wall(self) -> float:
        """Unix time."""
        return time.time()  # noqa: TID251  the one place
