"""What the service manager is told, on real sockets."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reviver.systemd import Notifier, watchdog_seconds


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A service manager's end of the line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(2)
        yield sock


def said_to(sock: socket.socket) -> str:
    return sock.recv(4096).decode()


def test_each_word_arrives_as_sd_notify_wants_it(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as line:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.ready()
        assert said_to(line) == "READY=1"
        notifier.status("2 of 3 services up;\ncache down")
        assert said_to(line) == "STATUS=2 of 3 services up; cache down"
        notifier.watchdog()
        assert said_to(line) == "WATCHDOG=1"
        notifier.stopping()
        assert said_to(line) == "STOPPING=1"


def test_a_reload_tells_the_monotonic_time_of_its_beginning_in_microseconds(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as line:
        before = time.monotonic_ns() // 1000
        Notifier({"NOTIFY_SOCKET": address}).reloading()
        first, second = said_to(line).splitlines()
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_an_abstract_socket_is_found() -> None:
    with manager(f"\0reviver-test-{os.getpid()}") as line:
        Notifier({"NOTIFY_SOCKET": f"@reviver-test-{os.getpid()}"}).ready()
        assert said_to(line) == "READY=1"


def test_a_manager_that_does_not_listen_holds_nobody_up_and_raises_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address):
        notifier = Notifier({"NOTIFY_SOCKET": address})
        started = time.monotonic()
        for _ in range(5000):  # far more than the socket's queue holds
            notifier.watchdog()
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "relative", "\0", "/" + "x" * 300, "@" + "x" * 300])
def test_an_address_that_leads_nowhere_raises_nothing(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).ready()


def test_without_an_address_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was opened"))
    Notifier({}).ready()


def test_a_status_with_half_characters_raises_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as line:
        Notifier({"NOTIFY_SOCKET": address}).status("odd \udc80 name" + "x" * 100_000)
        assert said_to(line).startswith("STATUS=odd ? name")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_names_us(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ) == seconds
