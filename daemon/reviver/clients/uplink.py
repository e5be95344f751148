"""What this host has of a network: its default routes, and addresses that answer while there is one."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from . import net

ANSWER_WITHIN: Final = 2.0  # seconds; a lost packet is sent again after 1 s
_UP, _REJECT = 0x0001, 0x0200  # RTF_* in include/uapi/linux/route.h
_NOWHERE: Final = "0" * 32


class SystemUplink:
    """The real one; meets ``model.ports.Uplink``."""

    def __init__(self, tables: Path = Path("/proc/self/net")) -> None:
        self._tables = tables
        self._resolver = net.Resolver()

    def has_default_route(self) -> bool:
        """Whether IPv4 or IPv6 has one; when that can't be told, it is said to be there."""
        try:
            return self._ipv4() or self._ipv6()
        except OSError:
            return True

    async def any_answers(self, addresses: Sequence[str]) -> bool:
        """Whether any of *addresses* (``host:port``) answers a TCP handshake; a refusal came over the network, too."""
        answered = False
        async with anyio.create_task_group() as group:

            async def ask(address: str) -> None:
                nonlocal answered
                if await self._answers(net.endpoint(address)):
                    answered = True
                    group.cancel_scope.cancel()

            for address in addresses:
                group.start_soon(ask, address)
        return answered

    async def _answers(self, where: net.Endpoint) -> bool:
        try:
            with anyio.fail_after(ANSWER_WITHIN):
                await net.handshake(await self._resolver.addresses(where, within=ANSWER_WITHIN), where.port)
        except OSError as error:
            return any(net.errno_of(cause) == errno.ECONNREFUSED for cause in net.causes(error))
        return True

    def _ipv4(self) -> bool:
        """A line is interface, destination, gateway, flags, three numbers, mask, …; the least destination is first."""
        with (self._tables / "route").open(encoding="ascii") as lines:
            next(lines, "")  # the heading
            for line in lines:
                _, destination, _, flags, *_, mask, _, _, _ = line.split()
                if int(destination, 16):
                    return False
                if not int(mask, 16) and _usable(flags):
                    return True
        return False

    def _ipv6(self) -> bool:
        """A line is destination, its length, source, its length, next hop, three numbers, flags, interface."""
        try:
            with (self._tables / "ipv6_route").open(encoding="ascii") as lines:
                return any(
                    destination == _NOWHERE and length == "00" and _usable(flags)
                    for destination, length, *_, flags, _interface in map(str.split, lines)
                )
        except FileNotFoundError:  # a kernel without IPv6
            return False


def _usable(flags: str) -> bool:
    return int(flags, 16) & (_UP | _REJECT) == _UP
