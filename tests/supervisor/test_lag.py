"""How late reviver itself is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from fakes import FakeClock, Recorder
from reviver.core.suspicion import Reason
from reviver.model.events import LoopLagged
from reviver.supervisor.lag import EVERY, LagMeter
from virtual import stall, virtual


class Measured:
    """A meter under way, with its clock and what it told."""

    def __init__(self) -> None:
        self.clock, self.recorder = FakeClock(), Recorder()
        self.meter = LagMeter(self.clock, self.recorder)

    @property
    def told(self) -> list[float]:
        return [event.seconds for event in self.recorder.of(LoopLagged)]


@asynccontextmanager
async def measuring() -> AsyncIterator[Measured]:
    measured = Measured()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(measured.meter.run)
        await anyio.sleep(1)
        yield measured
        tasks.cancel_scope.cancel()


@virtual
async def test_a_loop_that_turns_is_not_late() -> None:
    async with measuring() as measured:
        await anyio.sleep(60)
        assert measured.told == []
        assert measured.meter.worst_since(0.0) == pytest.approx(0.0, abs=1e-3)


@virtual
async def test_a_stall_is_noted_for_what_was_under_way_and_not_for_what_came_later() -> None:
    async with measuring() as measured:
        stall(2.0)
        assert measured.meter.worst_since(0.5) == pytest.approx(2.0, abs=EVERY)
        await anyio.sleep(1)
        assert measured.meter.worst_since(0.5) == pytest.approx(2.0, abs=EVERY)
        assert measured.meter.worst_since(anyio.current_time() - 0.5) < 0.01
        assert measured.told == [pytest.approx(2.0, abs=EVERY)]


@virtual
async def test_a_suspension_is_known_even_before_the_meter_has_woken_up() -> None:
    async with measuring() as measured:
        measured.clock.suspended += 3600.0
        assert measured.meter.worst_since(anyio.current_time() - 0.01) >= 3599.0
        await anyio.sleep(1)
        assert measured.told == [pytest.approx(3600.0, abs=EVERY)]
        assert measured.meter.worst_since(anyio.current_time() - 0.5) < 0.01


@virtual
async def test_lateness_from_a_second_on_is_held_against_reviver_at_once_and_remembered() -> None:
    async with measuring() as measured:
        stall(0.9)
        assert measured.meter.doubts() == []
        await anyio.sleep(1)
        stall(2.0)
        [doubt] = measured.meter.doubts()
        assert (doubt.reason, doubt.seen_at) == (Reason.LAG, anyio.current_time())
        at = anyio.current_time()
        await anyio.sleep(60)
        [doubt] = measured.meter.doubts()
        assert doubt.reason is Reason.LAG
        assert doubt.seen_at == pytest.approx(at, abs=EVERY)


@virtual
async def test_a_suspension_is_no_lateness() -> None:
    async with measuring() as measured:
        measured.clock.suspended += 60.0
        assert [doubt.reason for doubt in measured.meter.doubts()] == [Reason.SUSPENDED]
        await anyio.sleep(1)
        assert [doubt.reason for doubt in measured.meter.doubts()] == [Reason.SUSPENDED]


@virtual
async def test_before_it_measures_nothing_is_late() -> None:
    assert LagMeter(FakeClock(), Recorder()).worst_since(0.0) == 0.0
    assert LagMeter(FakeClock(), Recorder()).doubts() == []
