"""A web server for tests that does with each connection whatever a test wants of it, at the level of bytes."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

from servers import LOOPBACK

Talk = Callable[[anyio.abc.ByteStream], Awaitable[None]]


@dataclass
class WebServer:
    """What it has seen, and where it is."""

    port: int
    scheme: str = "http"
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/health", host: str = LOOPBACK) -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(
    talk: Talk, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK, port: int = 0
) -> AsyncIterator[WebServer]:
    """A server that lets *talk* deal with each connection; all ends with the block."""
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  not Django's
    server = WebServer(port=port, scheme="https" if tls else "http")

    async def handle(stream: anyio.abc.ByteStream) -> None:
        server.connections += 1
        try:
            if tls is not None:
                stream = await TLSStream.wrap(stream, server_side=True, ssl_context=tls, standard_compatible=False)
            await talk(_Recorded(stream, server))
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError, ssl.SSLError):
            pass  # the client has gone
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield server
        group.cancel_scope.cancel()


@contextmanager
def overrun() -> Iterator[tuple[str, int]]:
    """The address and port of a listener whose queue is full: the kernel lets the handshakes of others hang."""
    with socket.socket() as server, ExitStack() as stack:
        server.bind((LOOPBACK, 0))
        server.listen(0)
        address, port = server.getsockname()
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield address, port


class _Recorded(anyio.abc.ByteStream):
    def __init__(self, stream: anyio.abc.ByteStream, server: WebServer) -> None:
        self._stream, self._server = stream, server

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive(max_bytes)
        self._server.requests.append(data)
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def says(status: str = "200 OK", body: bytes = b"ok", headers: str = "") -> Talk:
    """Answers each request of a kept connection with this."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()

    async def talk(stream: anyio.abc.ByteStream) -> None:
        while True:
            request = await stream.receive()
            await stream.send(head if request.startswith(b"HEAD") else head + body)

    return talk


def says_bytes(data: bytes) -> Talk:
    """Answers with these bytes and closes."""

    async def talk(stream: anyio.abc.ByteStream) -> None:
        await stream.receive()
        await stream.send(data)

    return talk


async def says_nothing(stream: anyio.abc.ByteStream) -> None:
    """Takes the request and never answers."""
    while True:
        await stream.receive()
