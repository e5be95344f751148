"""What Docker tells of a container, asked of a stand-in for its socket; the real one is asked in tests/install."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.abc
import pytest

from reviver.clients.docker import Container, DockerError, container

INSPECTED = '{"Created": "2026-11-25T10:00:00.123456789Z", "Config": {"Image": "registry/api:1.4"}, "State": {}}'
Answer = Callable[[anyio.abc.ByteStream, str], Awaitable[None]]


@asynccontextmanager
async def engine(folder: Path, answer: Answer) -> AsyncIterator[str]:
    """A socket at which *answer* is told each request's first line."""
    path = str(folder / "docker.sock")

    async def serve(client: anyio.abc.SocketStream) -> None:
        async with client:
            await answer(client, (await client.receive()).decode().partition("\r\n")[0])

    async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield path
        tasks.cancel_scope.cancel()


def saying(status: str, body: str, asked: list[str] | None = None) -> Answer:
    async def answer(client: anyio.abc.ByteStream, request: str) -> None:
        if asked is not None:
            asked.append(request)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await client.send((head + body).encode())

    return answer


async def test_a_container_tells_when_it_was_made_and_of_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # is not for Docker
    asked: list[str] = []
    async with engine(tmp_path, saying("200 OK", INSPECTED, asked)) as socket:
        found = await container("api/../1", socket=socket)
    created = datetime(2026, 11, 25, 10, 0, 0, 123456, tzinfo=UTC).timestamp()
    assert found == Container(created=created, image="registry/api:1.4")
    assert asked == ["GET /containers/api%2F..%2F1/json HTTP/1.1"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        ("404 Not Found", '{"message": "No such container: api"}', "Docker knows no container api"),
        ("500 Internal Server Error", "{}", "Docker does not tell of api: .*500"),
        ("200 OK", "[]", "its answer is not understood"),
        ("200 OK", "not JSON", "its answer is not understood"),
        ("200 OK", INSPECTED.replace("2026-", "x"), "its answer is not understood"),
    ],
)
async def test_what_cannot_be_told_is_said_in_a_line(tmp_path: Path, status: str, body: str, expected: str) -> None:
    async with engine(tmp_path, saying(status, body)) as socket:
        with pytest.raises(DockerError, match=expected):
            await container("api", socket=socket)


async def test_where_there_is_no_docker_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(DockerError, match="Docker does not tell of api"):
        await container("api", socket=str(tmp_path / "none"))


async def test_a_docker_that_hangs_is_given_up(tmp_path: Path) -> None:
    async def never(_client: anyio.abc.ByteStream, _request: str) -> None:
        await anyio.sleep_forever()

    async with engine(tmp_path, never) as socket:
        with anyio.fail_after(10), pytest.raises(DockerError, match="ReadTimeout"):
            await container("api", socket=socket, timeout=0.1)
