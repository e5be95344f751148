"""The sockets: who may open them, what becomes of them, and what clients can't do to us."""

import errno
import logging
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reviver.web import CannotListen, control_app, public_app, serve_tcp, serve_unix, server
from servers import LOOPBACK, free_port, until
from web.serving import Daemon, a_client, controlled, on_tcp, public


@pytest.fixture(params=[0o000, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
async def test_the_unix_socket_is_for_user_and_group_whatever_the_umask(tmp_path: Path) -> None:
    async with controlled(Daemon(), tmp_path):
        assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660


async def test_the_unix_socket_is_never_open_to_others_not_even_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = Path.chmod

    def watched(path: Path, mode: int) -> None:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        real(path, mode)

    monkeypatch.setattr(Path, "chmod", watched)
    before = os.umask(0)
    try:
        async with controlled(Daemon(), tmp_path):
            pass
    finally:
        os.umask(before)
    assert modes == [0o660]


async def test_the_unix_socket_is_gone_after_the_end(tmp_path: Path) -> None:
    async with controlled(Daemon(), tmp_path) as client:
        assert (await client.get("/-/healthy")).status_code == 200
    assert not (tmp_path / "control.sock").exists()


async def test_a_socket_that_a_killed_daemon_left_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    async with controlled(Daemon(), tmp_path) as client:
        assert (await client.get("/-/healthy")).status_code == 200


async def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    async with controlled(Daemon(), tmp_path) as client:
        with pytest.raises(CannotListen, match="another program listens there; stop it, or change"):
            await serve_unix(control_app(Daemon().shown), tmp_path / "control.sock")
        assert (await client.get("/-/healthy")).status_code == 200


async def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("precious")
    with pytest.raises(CannotListen, match="is no socket; take it away"):
        await serve_unix(control_app(Daemon().shown), tmp_path / "control.sock")
    assert (tmp_path / "control.sock").read_text() == "precious"


async def test_a_successors_socket_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with controlled(Daemon(), tmp_path):
        path.rename(tmp_path / "aside")  # keeps the inode, so that it can't be given out again
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.exists()


async def test_a_folder_that_is_not_there_is_told_in_an_operators_words(tmp_path: Path) -> None:
    path = tmp_path / "nowhere/control.sock"
    with pytest.raises(CannotListen) as told:
        await serve_unix(control_app(Daemon().shown), path)
    assert str(told.value) == f"{path}: No such file or directory; change daemon.control_socket"


async def test_a_taken_port_is_told_in_an_operators_words() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen) as told:
            await serve_tcp(public_app(Daemon().shown), LOOPBACK, port)
    assert str(told.value) == (
        f"{LOOPBACK}:{port}: the port is taken by another program; stop that, or change daemon.listen"
    )


@pytest.mark.parametrize(
    ("host", "told"),
    [("192.0.2.1", "this machine has no such address"), ("nowhere.invalid", "change daemon.listen")],
)
async def test_an_address_that_is_none_of_ours_is_told(host: str, told: str) -> None:
    with pytest.raises(CannotListen, match=told):
        await serve_tcp(public_app(Daemon().shown), host, 0)


async def test_a_failure_to_listen_fails_the_start_and_leaves_no_socket_open() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ExceptionGroup) as told:
            async with anyio.create_task_group() as tasks:
                await tasks.start(serve_tcp, public_app(Daemon().shown), LOOPBACK, port)
    assert told.group_contains(CannotListen)


async def test_a_name_is_served_on_each_of_its_addresses_at_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(_host: str, port: int, **_kind: int) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(anyio, "getaddrinfo", two)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_tcp, public_app(Daemon().shown), "two.example", 0)
        async with a_client() as client:
            for address in ("127.0.0.1", "127.0.0.2"):
                assert (await client.get(f"http://{address}:{port}/-/healthy")).status_code == 200
        tasks.cancel_scope.cancel()


async def test_the_port_is_free_again_at_once_after_the_end() -> None:
    port = free_port()
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            assert await tasks.start(serve_tcp, public_app(Daemon().shown), LOOPBACK, port) == port
            async with a_client() as client:
                assert (await client.get(f"http://{LOOPBACK}:{port}/-/healthy")).status_code == 200
                tasks.cancel_scope.cancel()


async def test_signals_stay_the_daemons_own() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    async with public(Daemon()):
        assert {number: signal.getsignal(number) for number in before} == before


async def test_the_end_lets_a_request_under_way_finish() -> None:
    asked, go_on = anyio.Event(), anyio.Event()

    async def slow(_request: Request) -> Response:
        asked.set()
        await go_on.wait()
        return PlainTextResponse("done")

    answers: list[str] = []
    async with a_client() as client, anyio.create_task_group() as asking:

        async def ask(port: int) -> None:
            answers.append((await client.get(f"http://{LOOPBACK}:{port}/")).text)

        async with anyio.create_task_group() as serving:
            port = await serving.start(serve_tcp, Starlette(routes=[Route("/", slow)]), LOOPBACK, 0)
            asking.start_soon(ask, port)
            await asked.wait()
            serving.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await refused(port)
                go_on.set()
        await until(lambda: answers == ["done"])


async def refused(port: int) -> None:
    """Return once nobody listens on *port* any more."""

    def nobody() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((LOOPBACK, port)) == errno.ECONNREFUSED

    await until(nobody, what="the port is closed")


async def test_the_end_waits_neither_for_a_request_that_hangs_nor_for_an_idle_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "STOP_WITHIN", 0.2)
    asked, left = anyio.Event(), anyio.Event()

    async def hangs(_request: Request) -> Response:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()
        raise AssertionError

    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_tcp, Starlette(routes=[Route("/", hangs)]), LOOPBACK, 0)
        idle = await anyio.connect_tcp(LOOPBACK, port)
        asking = await anyio.connect_tcp(LOOPBACK, port)
        await asking.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asked.wait()
        ended_at = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert left.is_set(), "nothing of ours goes on"
    assert 0.2 <= anyio.current_time() - ended_at < 2
    assert await cut_off(idle)
    await idle.aclose()
    await asking.aclose()


async def cut_off(stream: anyio.abc.ByteStream) -> bool:
    """Whether the server ended this connection, before anything else came of it."""
    try:
        with anyio.fail_after(5):
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True
    return False


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /metr", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "],
    ids=["nothing", "half a line", "half a head"],
)
async def test_a_client_that_does_not_finish_its_request_is_cut_off(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN", 0.2)
    async with public(Daemon()) as client:
        stream = await anyio.connect_tcp(LOOPBACK, client.base_url.port or 0)
        async with stream:
            if sent:
                await stream.send(sent)
            assert await cut_off(stream)
        assert (await client.get("/-/healthy")).status_code == 200


async def test_a_client_that_goes_on_asking_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN", 0.3)
    async with public(Daemon()) as client, await anyio.connect_tcp(LOOPBACK, client.base_url.port or 0) as stream:
        connected_at = anyio.current_time()
        while anyio.current_time() - connected_at < 0.6:
            await stream.send(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            with anyio.fail_after(5):
                while not answer.endswith(b"alive\n"):
                    answer += await stream.receive()
            await anyio.sleep(0.05)


async def test_a_client_that_sends_its_body_by_drops_is_cut_off_and_orders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN", 0.2)
    daemon = Daemon()
    async with controlled(daemon, tmp_path), await anyio.connect_unix(tmp_path / "control.sock") as stream:
        await stream.send(b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{")
        assert await cut_off(stream)
    assert daemon.control.asked == []


async def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN", 0.3)
    lost = anyio.Event()
    real = server._Connection.connection_lost

    def told(connection: server._Connection, exc: Exception | None) -> None:
        real(connection, exc)
        lost.set()

    monkeypatch.setattr(server._Connection, "connection_lost", told)

    async def big(_request: Request) -> Response:
        return Response(b"x" * 20_000_000)

    async with on_tcp(Starlette(routes=[Route("/", big)])) as client:
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((LOOPBACK, client.base_url.port or 0))
            reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with anyio.fail_after(5):
                await lost.wait()


async def test_no_more_than_so_many_connections_are_held_and_later_ones_are_served_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 10)
    async with public(Daemon()) as client:
        port = client.base_url.port or 0
        idle = [await anyio.connect_tcp(LOOPBACK, port) for _ in range(10)]
        async with await anyio.connect_tcp(LOOPBACK, port) as one_too_many:
            assert await cut_off(one_too_many)
        for stream in idle:
            await stream.aclose()

        async def served() -> bool:
            try:
                return (await client.get("/-/healthy")).status_code == 200
            except httpx.TransportError:
                return False

        await until(served, what="requests are served again")


async def test_a_head_without_end_is_refused() -> None:
    async with public(Daemon()) as client:
        async with await anyio.connect_tcp(LOOPBACK, client.base_url.port or 0) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * (server.HEAD_MAX + 70_000))
            with anyio.fail_after(5):
                assert (await stream.receive()).startswith(b"HTTP/1.1 400 ")
        assert (await client.get("/-/healthy")).status_code == 200


async def test_a_request_that_is_no_http_makes_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with public(Daemon()) as client:
            async with await anyio.connect_tcp(LOOPBACK, client.base_url.port or 0) as stream:
                await stream.send(b"\x16\x03\x01 nonsense\r\n\r\n")
                with anyio.fail_after(5):
                    assert (await stream.receive()).startswith(b"HTTP/1.1 400 ")
            await client.get("/metrics")
    assert caplog.records == []
