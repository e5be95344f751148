"""This host's default routes, and whether anything answers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from reviver.clients.uplink import ANSWER_WITHIN, SystemUplink
from servers import LOOPBACK, free_port

HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
REJECTING = "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"
HALF = "tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
LINK = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
ZEROES = "0" * 32
DEFAULT6 = f"{ZEROES} 00 {ZEROES} 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n"
REJECTING6 = f"{ZEROES} 00 {ZEROES} 00 {ZEROES} ffffffff 00000001 00000000 00200200       lo\n"
LINK6 = f"fe800000000000000000000000000000 40 {ZEROES} 00 {ZEROES} 00000100 00000001 00000000 00000001     eth0\n"


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "there"),
    [
        (HEADING + DEFAULT + LINK, "", True),
        (HEADING + LINK, "", False),
        (HEADING, REJECTING6 + LINK6, False),
        (HEADING, LINK6 + DEFAULT6 + REJECTING6, True),
        (HEADING + REJECTING + LINK, "", False),
        (HEADING + REJECTING + DEFAULT, "", True),
        (HEADING + HALF + LINK, "", False),
        (HEADING + DEFAULT, None, True),
        (HEADING + LINK, None, False),
        ("", "", False),
        (None, None, True),
    ],
    ids=[
        "a default route",
        "only the link's",
        "IPv6's own rejecting one",
        "IPv6 alone has one",
        "unreachable by order",
        "two of them",
        "half of the internet",
        "without IPv6",
        "without IPv6 and route",
        "empty",
        "unreadable",
    ],
)
def test_a_default_route_is_one_that_leads_somewhere(
    tmp_path: Path, ipv4: str | None, ipv6: str | None, there: bool
) -> None:
    if ipv4 is not None:
        (tmp_path / "route").write_text(ipv4)
    if ipv6 is not None:
        (tmp_path / "ipv6_route").write_text(ipv6)
    assert SystemUplink(tmp_path).has_default_route() is there


def test_this_hosts_own_tables_can_be_read() -> None:
    tables = Path("/proc/self/net")
    listed = [line.split() for line in (tables / "route").read_text().splitlines()[1:]]
    if any((line[1], line[7], line[3]) == ("00000000", "00000000", "0003") for line in listed):
        assert SystemUplink().has_default_route()


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that never answers: its backlog is full."""
    with socket.create_server((LOOPBACK, 0), backlog=0) as server:
        address = server.getsockname()
        with socket.socket() as first, socket.socket() as second:
            for each in (first, second):
                each.setblocking(False)
                each.connect_ex(address)
            yield f"{LOOPBACK}:{address[1]}"


async def test_one_that_answers_suffices_and_is_not_delayed_by_one_that_does_not(silent: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        began = anyio.current_time()
        assert await SystemUplink().any_answers([silent, f"{LOOPBACK}:{server.getsockname()[1]}"])
        assert anyio.current_time() - began < ANSWER_WITHIN / 2


async def test_a_refusal_is_an_answer() -> None:
    assert await SystemUplink().any_answers([f"{LOOPBACK}:{free_port()}"])


async def test_silence_is_none_and_ends(silent: str) -> None:
    with anyio.fail_after(2 * ANSWER_WITHIN):
        assert not await SystemUplink().any_answers([silent, silent])


async def test_a_name_without_address_does_not_answer() -> None:
    assert not await SystemUplink().any_answers(["nobody.invalid:53"])
