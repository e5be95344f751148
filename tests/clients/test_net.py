"""What errors of the operating system say about a service."""

import errno
import os
import socket
import ssl
import threading

import anyio
import pytest

from reviver.clients.net import Endpoint, Resolver, causes, errno_of, first_of, judge, nobody_listens
from reviver.model.faults import Fault
from reviver.model.faults import FaultKind as F
from servers import free_port

REMOTE = Endpoint("db.example", 5432)


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_somebody_listens_until_nobody_does(family: socket.AddressFamily, address: str) -> None:
    port = free_port()
    assert nobody_listens(port)
    with socket.socket(family) as server:
        server.bind((address, port))
        assert nobody_listens(port)  # bound is not yet listened on
        server.listen()
        assert not nobody_listens(port)
    assert nobody_listens(port)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (error(errno.ECONNREFUSED), F.UNREACHABLE),
        (error(errno.EHOSTUNREACH), F.UNREACHABLE),
        (error(errno.ECONNRESET), F.UNREACHABLE),
        (ConnectionError("closed"), F.UNREACHABLE),
        (EOFError(), F.UNREACHABLE),
        (error(errno.ETIMEDOUT), F.TIMEOUT),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), F.NAME_UNRESOLVED),
        (ssl.SSLError(1, "wrong version number"), F.TLS_INVALID),
    ],
)
def test_each_failure_of_the_network_has_its_fault(failure: Exception, kind: F) -> None:
    verdict = judge(failure, REMOTE, "it")
    assert isinstance(verdict, Fault)
    assert verdict.kind is kind
    assert not verdict.certain


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EACCES])
def test_trouble_of_this_host_says_nothing_about_the_service(number: int) -> None:
    assert isinstance(judge(error(number), REMOTE, "it"), str)


def test_what_is_no_failure_of_the_network_is_left_to_others() -> None:
    assert judge(ValueError("no"), REMOTE, "it") is None


def test_a_remote_refusal_is_never_certain_and_a_local_one_only_if_nobody_listens() -> None:
    refused = error(errno.ECONNREFUSED)
    port = free_port()
    for host, certain in {
        "127.0.0.1": True,
        "127.9.9.9": True,
        "::1": True,
        "localhost": True,
        "10.0.0.1": False,
    }.items():
        verdict = judge(refused, Endpoint(host, port), "it")
        assert isinstance(verdict, Fault)
        assert verdict.certain is certain, host
    with socket.create_server(("127.0.0.1", port)):
        verdict = judge(refused, Endpoint("127.0.0.1", port), "it")
        assert isinstance(verdict, Fault)
        assert not verdict.certain


def test_the_reason_is_found_where_libraries_hide_it() -> None:
    try:
        try:
            raise error(errno.ECONNREFUSED)
        except OSError as hidden:
            raise RuntimeError("something went wrong") from hidden
    except RuntimeError as shown:
        verdict = judge(shown, REMOTE, "it")
    assert isinstance(verdict, Fault)
    assert "connection refused" in verdict.message


def test_an_error_that_is_its_own_cause_ends() -> None:
    loop = ValueError("loop")
    loop.__context__ = loop
    assert list(causes(loop)) == [loop]


def test_of_several_addresses_a_refusal_counts_for_more_than_a_missing_ipv6() -> None:
    told = "Multiple exceptions: [Errno 99] Connect call failed ('::1', 1), [Errno 111] Connect call failed ('::2', 1)"
    assert errno_of(OSError(told)) == errno.ECONNREFUSED


async def test_the_first_address_that_answers_is_taken_and_what_it_says_is_final() -> None:
    class SaysNoError(Exception):
        pass

    async def connect(address: str) -> str:
        if address == "refuses":
            raise error(errno.ECONNREFUSED)
        if address == "no route":
            raise error(errno.EHOSTUNREACH)
        if address == "says no":
            raise SaysNoError
        return address

    failures = (OSError, SaysNoError)
    assert await first_of(["refuses", "answers"], connect, failures) == "answers"
    with pytest.raises(SaysNoError):
        await first_of(["refuses", "says no", "answers"], connect, failures)
    with pytest.raises(ConnectionRefusedError):
        await first_of(["refuses", "no route"], connect, failures)


async def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    for host in ("127.0.0.1", "::1", "/run/it.sock"):
        assert await Resolver().addresses(Endpoint(host, 1), within=1.0) == [host]


async def test_a_look_up_that_hangs_is_waited_for_and_not_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, calls = threading.Event(), []

    def hang(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        calls.append(host)
        go_on.wait(10)
        return [(None, None, None, None, ("10.0.0.1", 0)), (None, None, None, None, ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = Resolver()
    for _ in range(3):
        with pytest.raises(socket.gaierror, match="no answer within 40 ms"):
            await resolver.addresses(REMOTE, within=0.05)
    with anyio.move_on_after(0.05):
        await resolver.addresses(REMOTE, within=5.0)
    assert calls == ["db.example"]
    go_on.set()
    assert await resolver.addresses(REMOTE, within=5.0) == ["10.0.0.1"]
    assert await resolver.addresses(REMOTE, within=5.0) == ["10.0.0.1"]
    assert calls == ["db.example"] * 2


async def test_a_name_that_is_no_name_is_told_like_one_that_does_not_exist() -> None:
    for host in ("x" * 64 + ".example", "nowhere.invalid"):
        with pytest.raises(socket.gaierror):
            await Resolver().addresses(Endpoint(host, 1), within=5.0)


def test_an_endpoint_reads_as_people_write_it() -> None:
    assert str(Endpoint("::1", 5432)) == "[::1]:5432"
    assert str(Endpoint("db", 5432)) == "db:5432"
    assert str(Endpoint("/run/it.sock")) == "/run/it.sock"
