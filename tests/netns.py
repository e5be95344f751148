"""
Two network namespaces joined by a cable that a test may pull: one for the daemon, one for what it watches.

They exist as long as the processes that hold them, which die with the test run.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from servers import until

TARGETS = tuple(f"10.99.1.{n}" for n in range(1, 9))
"""Addresses in the far namespace, each a host of its own to reviver; the way to them is the default route."""
GATEWAY = "10.99.0.2"
LISTENER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
while True:
    server.accept()[0].close()
"""


class Place:
    """One namespace."""

    def __init__(self) -> None:
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        self._holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        self._running = [self._holder]

    @property
    def pid(self) -> int:
        return self._holder.pid

    @property
    def inside(self) -> Sequence[str]:
        """The command that runs another in here."""
        return ("nsenter", f"--target={self.pid}", "--net")

    async def made(self) -> None:
        """Return when it exists."""
        await until(lambda: _network_of("self") != _network_of(str(self.pid)), what="a network namespace")

    def ip(self, *arguments: str) -> None:
        """ip(8) in here."""
        subprocess.run([*self.inside, "ip", *arguments], check=True, timeout=10)

    async def listen(self, address: str, port: int) -> subprocess.Popen[bytes]:
        """A process in here that accepts connections."""
        argv = [*self.inside, "setpriv", "--pdeathsig", "KILL", sys.executable, "-c", LISTENER, address, str(port)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)  # noqa: ASYNC220  takes ms
        self._running.append(process)
        await until(lambda: self._listens(port), what=f"{address}:{port} is listened on")
        return process

    def _listens(self, port: int) -> bool:
        shown = subprocess.run(
            [*self.inside, "ss", "-Hltn", f"sport = :{port}"], capture_output=True, check=True, timeout=10
        )
        return bool(shown.stdout)

    def end(self) -> None:
        """End all that runs in here, and so the namespace."""
        for process in self._running:
            process.kill()
            process.wait()


def _network_of(pid: str) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


class Network:
    """A near and a far place, and the cable."""

    def __init__(self) -> None:
        self.near, self.far = Place(), Place()

    async def lay(self) -> None:
        """Connect them."""
        await self.near.made()
        await self.far.made()
        argv = ["ip", "link", "add", "cable", "netns", str(self.near.pid), "type", "veth"]
        subprocess.run([*argv, "peer", "name", "cable", "netns", str(self.far.pid)], check=True, timeout=10)  # noqa: ASYNC221
        for place in (self.near, self.far):
            place.ip("link", "set", "lo", "up")
        self.near.ip("address", "add", "10.99.0.1/24", "dev", "cable")
        self.far.ip("address", "add", f"{GATEWAY}/24", "dev", "cable")
        for target in TARGETS:
            self.far.ip("address", "add", f"{target}/32", "dev", "cable")
        self.far.ip("link", "set", "cable", "up")
        self.plug_in()

    def plug_in(self) -> None:
        """Put the near end in; the default route, which the kernel took away with it, comes back."""
        self.near.ip("link", "set", "cable", "up")
        self.near.ip("route", "add", "default", "via", GATEWAY)

    def pull(self) -> None:
        """Take the near end out."""
        self.near.ip("link", "set", "cable", "down")


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """A network that is laid."""
    laid = Network()
    try:
        await laid.lay()
        yield laid
    finally:
        laid.near.end()
        laid.far.end()
