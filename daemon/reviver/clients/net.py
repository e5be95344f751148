"""
The network as a check sees it: where a service is, what an error of the operating system means, and whether a refusal
leaves any doubt.
"""

import asyncio
import errno
import ipaddress
import os
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import anyio

from reviver.model.faults import Fault, FaultKind
from reviver.model.units import format_duration

T = TypeVar("T")
AnyError = TypeVar("AnyError", bound=BaseException)

_OWN_TROUBLE: Final = {
    errno.EMFILE: "reviver has no file descriptors left; raise LimitNOFILE",
    errno.ENFILE: "this host has no file descriptors left",
    errno.ENOMEM: "this host has no memory left",
    errno.ENOBUFS: "this host has no memory for sockets left",
    errno.EADDRNOTAVAIL: "this host has no free local port or no such address",
    errno.EACCES: "reviver has no permission for it",
    errno.EPERM: "this host forbids it",
}
CLOSED: Final = "the connection was closed without an answer"
_LOOK_UP_SHARE: Final = 0.8
_LISTEN: Final = "0A"  # the state in /proc/net/tcp, include/net/tcp_states.h
_ERRNO_IN_TEXT: Final = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is to be had: a host and a port, or a unix socket."""

    host: str
    """A name, an address, or the absolute path of a unix socket."""
    port: int = 0

    @property
    def is_unix(self) -> bool:
        """Whether it is a unix socket."""
        return self.host.startswith("/")

    @property
    def is_local(self) -> bool:
        """Whether it is on this host for certain: a unix socket or a loopback address."""
        address = _address(self.host)
        return self.is_unix or self.host == "localhost" or (address is not None and address.is_loopback)

    @property
    def machine(self) -> str:
        """The host, under one name however this host is addressed."""
        return "localhost" if self.is_local else self.host

    def __str__(self) -> str:
        if self.is_unix:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(address: str) -> Endpoint:
    """
    The host and port in ``host:port``, with an IPv6 address in brackets.

    Raises:
        ValueError: What was expected.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or host.startswith("/") or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'address: expected "host:port", such as "localhost:6379" or "[::1]:6379", got "{address}"')
    return Endpoint(host, int(port))


class Resolver:
    """
    Looks names up for one check, in a thread of its own; addresses need none.

    The threads in which an event loop looks names up are few, and all share them: some hung names would hold every
    other's. A look-up that hangs can't be ended; the next question for that name waits for it, too, and adds none.
    """

    def __init__(self) -> None:
        self._pending: dict[str, _LookUp] = {}

    async def addresses(self, endpoint: Endpoint, *, within: float) -> list[str]:
        """
        The addresses of *endpoint*, best first; a unix socket's path is its own.

        Args:
            endpoint: Where the service is.
            within: Seconds for the whole question. Looking up takes at most a part of them, so that a name server that
                hangs is never taken for a service that does.

        Raises:
            socket.gaierror: There are none, or nobody said in time.
            OSError: This host can't look names up now.
        """
        if endpoint.is_unix or _address(endpoint.host) is not None:
            return [endpoint.host]
        within *= _LOOK_UP_SHARE
        look_up = self._pending.get(endpoint.host) or _LookUp(endpoint.host)
        self._pending[endpoint.host] = look_up
        try:
            with anyio.fail_after(within):
                await look_up.finished.wait()
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {format_duration(within)}") from None
        self._pending.pop(endpoint.host, None)
        if isinstance(look_up.outcome, OSError):
            raise look_up.outcome
        return look_up.outcome


class _LookUp:
    """One call of getaddrinfo(3), which knows no deadline."""

    def __init__(self, host: str) -> None:
        self.finished = anyio.Event()
        self.outcome: list[str] | OSError = []
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._run, args=(host, loop), name=f"look-up of {host}", daemon=True).start()
        except RuntimeError:  # no more threads are allowed
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None

    def _run(self, host: str, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self.outcome = _look_up(host)
        except UnicodeError:
            self.outcome = socket.gaierror(socket.EAI_NONAME, "not a valid name")
        except OSError as error:
            self.outcome = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self.finished.set)


def judge(error: BaseException, endpoint: Endpoint, subject: str) -> Fault | str | None:
    """
    What a failure to connect, or a connection's end, says about a service.

    Returns:
        A fault; or a text why it says nothing about the service (this host's own trouble); or ``None`` if nothing of
        the network or of TLS is among the error's causes.

    """
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError):
            why = getattr(cause, "verify_message", "") or getattr(cause, "reason", None) or "handshake failed"
            return Fault(kind=FaultKind.TLS_INVALID, message=f"{subject}: TLS failed: {why}")
        if isinstance(cause, socket.gaierror):
            message = f"{subject}: the name can't be resolved: {cause.strerror}"
            return Fault(kind=FaultKind.NAME_UNRESOLVED, message=message)
        number = errno_of(cause)
        if number in _OWN_TROUBLE:
            return f"{subject}: can't be asked: {_OWN_TROUBLE[number]} ({os.strerror(number).lower()})"
        if number == errno.ENOENT and not endpoint.is_unix:
            return f"{subject}: can't be asked: a certificate or key that its settings name isn't there"
        if number == errno.ETIMEDOUT:
            return Fault(kind=FaultKind.TIMEOUT, message=f"{subject}: nothing answers: {os.strerror(number).lower()}")
        if number is not None:
            return _unreachable(number, endpoint, subject)
        if isinstance(cause, ConnectionError | EOFError):
            return Fault(kind=FaultKind.UNREACHABLE, message=f"{subject}: {CLOSED}")
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it was raised for, most telling last; libraries like to hide the reason there."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def errno_of(error: BaseException) -> int | None:
    """
    The operating system's error number in *error*; ``None`` if it has none.

    asyncio tells of a name with several addresses, none of which could be connected to, in a text only; then a refusal
    counts for more than that the host has no IPv6.
    """
    if not isinstance(error, OSError):
        return None
    if error.errno is not None:
        return error.errno
    numbers = [int(number) for number in _ERRNO_IN_TEXT.findall(str(error))]
    return errno.ECONNREFUSED if errno.ECONNREFUSED in numbers else next(iter(numbers), None)


def most_telling(errors: Sequence[AnyError]) -> AnyError:
    """
    Of what several addresses of one name came to: a refusal, if there is one, else the last.

    A refusal is the server's; that the host has no route to another address, or no IPv6, says nothing of it.
    """
    refusals = (error for error in errors if any(errno_of(cause) == errno.ECONNREFUSED for cause in causes(error)))
    return next(refusals, errors[-1])


async def first_of(
    addresses: Sequence[str], connect: Callable[[str], Awaitable[T]], failures: tuple[type[Exception], ...]
) -> T:
    """
    What *connect* gives for the first of *addresses* that can be connected to; of localhost's two, often one can't.

    Raises what it raised for an address that answers, or the most telling of *failures* if none does.
    """
    errors: list[Exception] = []
    for address in addresses:
        try:
            return await connect(address)
        except failures as error:
            if all(errno_of(cause) is None for cause in causes(error)):
                raise
            errors.append(error)
    raise most_telling(errors)


async def handshake(addresses: Sequence[str], port: int) -> None:
    """Connect to whichever address accepts first; all at once, for a silent one must not delay the others."""
    errors: list[OSError] = []
    async with anyio.create_task_group() as group:

        async def connect(address: str) -> None:
            try:
                stream = await anyio.connect_tcp(address, port)
            except OSError as error:
                errors.append(error)
                return
            await stream.aclose()
            group.cancel_scope.cancel()

        for address in addresses:
            group.start_soon(connect, address)
    if len(errors) == len(addresses):
        raise most_telling(errors)


def nobody_listens(port: int) -> bool:
    """
    Whether no process of this host listens on TCP *port*, on any address.

    The kernel lists listening sockets first, so that this is cheap however many connections there are. Source:
    ``tcp_seek_last_pos`` in net/ipv4/tcp_ipv4.c.
    """
    return not any(_listens(Path("/proc/self/net") / table, port) for table in ("tcp", "tcp6"))


def _listens(table: Path, port: int) -> bool:
    try:
        with table.open(encoding="ascii") as lines:
            next(lines)  # the heading
            for line in lines:
                _, local, _, state, *_ = line.split()
                if state != _LISTEN:
                    return False
                if int(local.rpartition(":")[2], 16) == port:
                    return True
    except OSError:
        return table.name == "tcp"  # no IPv6 here; and without /proc nothing is certain
    return False


def _unreachable(number: int, endpoint: Endpoint, subject: str) -> Fault:
    why = os.strerror(number).lower()
    certain = False
    if endpoint.is_unix and number in {errno.ECONNREFUSED, errno.ENOENT}:
        why += ", so no process serves this socket: it isn't running"
        certain = True
    elif endpoint.is_local and number == errno.ECONNREFUSED and nobody_listens(endpoint.port):
        why += f", and no process of this host listens on port {endpoint.port}: it isn't running"
        certain = True
    return Fault(kind=FaultKind.UNREACHABLE, message=f"{subject}: {why}", certain=certain)


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
