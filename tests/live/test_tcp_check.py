"""The tcp check, on real sockets."""

import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from pydantic import TypeAdapter, ValidationError

from reviver.checks.tcp import Tcp
from reviver.clients import net
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import FaultKind
from servers import LOOPBACK, free_port
from web_servers import overrun


@asynccontextmanager
async def opened(address: str, timeout: float = 2.0) -> AsyncIterator[Probe]:  # noqa: ASYNC109
    async with Tcp(address=address).open(CheckContext(service="x", timeout=timeout, wake=lambda _: None)) as probe:
        yield probe


async def ask(address: str, timeout: float = 2.0) -> CheckResult:  # noqa: ASYNC109
    async with opened(address, timeout) as probe:
        return await probe.ask(fresh=True)


async def test_a_port_that_accepts_is_healthy() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        address = f"{LOOPBACK}:{server.getsockname()[1]}"
        async with opened(address) as probe:
            result = await probe.ask(fresh=False)
            assert await probe.evidence() == {address: "accepted"}
    assert result.healthy
    assert 0 < result.latency < 2


async def test_a_name_is_looked_up_and_whichever_address_accepts_will_do() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:  # "localhost" may be ::1 as well
        assert (await ask(f"localhost:{server.getsockname()[1]}")).healthy


async def test_an_ipv6_address_stands_in_brackets() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert (await ask(f"[::1]:{server.getsockname()[1]}")).healthy


@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "[::1]"])
async def test_a_refusal_of_this_host_with_no_owner_of_the_port_is_certain(host: str) -> None:
    address = f"{host}:{free_port()}"
    fault = (await ask(address)).fault
    assert fault is not None
    assert fault.kind is FaultKind.UNREACHABLE
    assert fault.certain
    assert fault.message.startswith(f"{address}: connection refused")


async def test_a_listener_that_never_accepts_with_a_full_queue_is_a_timeout() -> None:
    with overrun() as (host, port):
        address = f"{host}:{port}"
        result = await ask(address, timeout=0.3)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.TIMEOUT
    assert not result.fault.certain
    assert result.fault.message == f"{address}: no connection within 300 ms"
    assert 0.3 <= result.latency < 1


async def test_a_silent_address_of_a_name_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with overrun() as (silent, port), socket.create_server(("127.0.0.2", port)):
        monkeypatch.setattr(net, "_look_up", lambda _: [silent, "127.0.0.2"])
        result = await ask(f"two.example:{port}", timeout=5.0)
    assert result.healthy
    assert result.latency < 2


async def test_cancelled_it_goes_at_once() -> None:
    began = anyio.current_time()
    with overrun() as (host, port), anyio.move_on_after(0.1) as scope:
        await ask(f"{host}:{port}", timeout=60.0)
    assert scope.cancelled_caught
    assert anyio.current_time() - began < 2


async def test_a_name_without_an_address_is_told_as_such() -> None:
    address = f"{'a' * 64}.invalid:80"  # too long a label: no name server needs to be asked
    fault = (await ask(address)).fault
    assert fault is not None
    assert fault.kind is FaultKind.NAME_UNRESOLVED
    assert fault.message.startswith(f"{address}: the name can't be resolved: ")


async def test_without_descriptors_of_its_own_it_can_not_tell() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        address = f"{LOOPBACK}:{server.getsockname()[1]}"
        async with opened(address) as probe:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                result = await probe.ask(fresh=False)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert result.fault is None
            assert result.unknown is not None
            assert "no file descriptors left" in result.unknown
            assert (await probe.ask(fresh=False)).healthy


@pytest.mark.parametrize(
    ("address", "host"),
    [("db:5432", "db"), ("[::1]:80", "localhost"), ("10.0.0.1:1", "10.0.0.1")],
)
def test_the_host_is_known(address: str, host: str) -> None:
    assert Tcp(address=address).hosts() == {host}


@pytest.mark.parametrize(
    "address",
    ["", "db", "db:", ":5432", "db:0", "db:65536", "db:x", "::1:80", "[::1]", "db:-1", "db:٣", "/run/x.sock:1", "[]:1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match='expected "host:port"'):
        TypeAdapter[Any](Tcp).validate_python({"address": address})
