"""The real clock."""

import asyncio
import contextvars
import time

import anyio

from reviver.clients.clock import SystemClock


async def test_its_time_is_the_event_loops() -> None:
    assert abs(SystemClock().monotonic() - anyio.current_time()) < 0.1


async def test_it_can_be_asked_outside_of_any_task_where_a_connections_end_is_told() -> None:
    clock, told = SystemClock(), asyncio.Event()
    seen: list[float] = []

    def lost() -> None:
        seen.append(clock.monotonic())
        told.set()

    asyncio.get_running_loop().call_soon(lost, context=contextvars.Context())
    await asyncio.wait_for(told.wait(), 5)
    assert seen


def test_what_never_jumps_goes_on_and_the_wall_is_unix_time() -> None:
    clock = SystemClock()
    before = clock.boottime()
    assert clock.boottime() >= before >= 0
    assert abs(clock.wall() - time.time()) < 5  # noqa: TID251  what it is compared with
    assert len(clock.boot_id()) == 36
