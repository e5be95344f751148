"""Asks whether a TCP port accepts connections."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

import anyio

from reviver.clients.net import Endpoint, Resolver, endpoint, handshake, judge
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """A handshake, nothing more: the kernel makes it for a server that hangs, too."""

    address: str
    """``host:port``; an IPv6 address stands in brackets."""

    faults: ClassVar[frozenset[FaultKind]] = frozenset(
        {FaultKind.UNREACHABLE, FaultKind.NAME_UNRESOLVED, FaultKind.TIMEOUT}
    )
    borrows: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        endpoint(self.address)

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        """The probe; it keeps nothing."""
        yield _TcpProbe(endpoint(self.address), context.timeout)

    def hosts(self) -> frozenset[str]:
        """The host in its address."""
        return frozenset({endpoint(self.address).machine})


class _TcpProbe:
    def __init__(self, where: Endpoint, timeout: float) -> None:
        self._where = where
        self._timeout = timeout
        self._resolver = Resolver()
        self._last = "nothing was asked yet"

    async def ask(self, *, fresh: bool) -> CheckResult:  # noqa: ARG002  each connection is a new one
        """Whether a connection is accepted, the name's lookup included, within the timeout."""
        began = anyio.current_time()
        fault, unknown = None, None
        try:
            with anyio.fail_after(self._timeout):
                addresses = await self._resolver.addresses(self._where, within=self._timeout)
                await handshake(addresses, self._where.port)
        except TimeoutError:
            message = f"{self._where}: no connection within {format_duration(self._timeout)}"
            fault = Fault(kind=FaultKind.TIMEOUT, message=message)
        except OSError as error:
            verdict = judge(error, self._where, str(self._where))
            fault, unknown = (None, verdict) if isinstance(verdict, str) else (verdict, None)
            if verdict is None:
                fault = Fault(kind=FaultKind.UNREACHABLE, message=f"{self._where}: {error.strerror or error}")
        self._last = unknown or (fault.message if fault else "accepted")
        return CheckResult(latency=anyio.current_time() - began, fault=fault, unknown=unknown)

    async def evidence(self) -> Mapping[str, JsonValue]:
        """What became of the last handshake."""
        return {str(self._where): self._last}
