"""Who is due when."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.supervisor.schedule import SLOT, Schedule
from virtual import virtual


@given(st.floats(0, 1e8))
def test_nobody_is_due_before_the_moment_and_no_later_than_a_slot_after_it(at: float) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("db", at)
    assert schedule.due(at - SLOT / 1000) == [] or at < SLOT / 1000
    assert schedule.due(at + SLOT * 1.001) == ["db"]


@given(st.floats(0, 1e8))
def test_who_waits_for_a_moment_is_woken_at_it_and_never_a_hair_before(at: float) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("db", at)
    assert schedule._slots[0] * SLOT >= at


def test_a_key_put_again_is_due_at_the_new_moment_only() -> None:
    schedule: Schedule[str] = Schedule()
    for at in (5.0, 9.0, 2.0, 5.0):
        schedule.put("db", at)
    assert [schedule.due(float(now)) for now in range(11)] == [[], [], [], [], [], ["db"], [], [], [], [], []]


def test_a_dropped_key_is_never_due() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("db", 5.0)
    schedule.drop("db")
    schedule.drop("never put")
    assert schedule.due(100.0) == []


def test_keys_of_one_slot_are_due_together_in_the_order_they_were_put() -> None:
    schedule: Schedule[str] = Schedule()
    for key in ("a", "b", "c"):
        schedule.put(key, 5.0)
    schedule.put("b", 5.0)
    assert schedule.due(5.0) == ["a", "b", "c"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.floats(0, 10))), max_size=30))
def test_each_key_is_due_once_at_its_last_moment(changes: list[tuple[str, float | None]]) -> None:
    schedule: Schedule[str] = Schedule()
    last: dict[str, float] = {}
    for key, at in changes:
        if at is None:
            schedule.drop(key)
            last.pop(key, None)
        else:
            schedule.put(key, at)
            last[key] = at
    seen: dict[str, float] = {}
    for tick in range(1000):
        for key in schedule.due(tick * SLOT):
            assert key not in seen
            seen[key] = tick * SLOT
    assert seen == {key: pytest.approx(at, abs=SLOT * 1.01) for key, at in last.items()}


@virtual
async def test_waiting_ends_with_the_next_slot() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("db", 5.0)
    await schedule.wait(at_most=100.0)
    assert anyio.current_time() == pytest.approx(5.0)
    assert schedule.due(anyio.current_time()) == ["db"]


@virtual
async def test_waiting_ends_when_something_sooner_is_put_in() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("db", 50.0)

    async def put_sooner() -> None:
        await anyio.sleep(3)
        schedule.put("api", 4.0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put_sooner)
        await schedule.wait(at_most=100.0)
    assert anyio.current_time() == pytest.approx(3.0)


@virtual
async def test_waiting_is_over_at_once_when_something_is_overdue() -> None:
    schedule: Schedule[str] = Schedule()
    await anyio.sleep(10)
    schedule.put("db", 5.0)
    await schedule.wait(at_most=100.0)
    assert anyio.current_time() == 10


@virtual
async def test_waiting_without_anything_due_ends_at_its_longest() -> None:
    await Schedule[str]().wait(at_most=1.0)
    assert anyio.current_time() == pytest.approx(1.0)
