"""
The faults that the demo inflicts, each for real, and how it sees with its own eyes that a thing is broken, and whole.

None of this asks reviver.
"""

import os
import secrets
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Final

import anyio
import asyncpg
import httpx
from redis.exceptions import RedisError

from . import clients
from .plan import GROUP, PACKED, STREAM, Plan
from .stack import Stack

PAUSE: Final = 0.05  # seconds between looks
PROVEN_WITHIN: Final = 10.0
STUCK_AT_LEAST: Final = 3
TROUBLE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, httpx.HTTPError)


class NotSoError(Exception):
    """Something isn't as it must be; the text says what."""


class Fault(ABC):
    """One fault, inflicted once."""

    name: ClassVar[str]
    title: ClassVar[str]
    program: ClassVar[str]
    """The program of the stack that it hits."""
    service: ClassVar[str]
    """The service of reviver's settings that this is."""
    diagnoses: ClassVar[frozenset[str]]
    """What reviver may rightly call it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.plan: Plan = stack.plan
        self.pid = 0
        """The process that was hit."""

    @abstractmethod
    async def inflict(self) -> str:
        """Break it, and say what was done."""

    @abstractmethod
    async def symptom(self) -> str:
        """
        What somebody who uses it runs into.

        Raises:
            NotSoError: Nothing: it works.
        """

    @abstractmethod
    async def proof(self) -> str:
        """
        What shows that it works again, and lost nothing.

        Raises:
            NotSoError: It doesn't, or it did; also one of ``TROUBLE``.
        """

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program's process and, if it is to die of it, see it die."""
        self.pid = self._pid_of(self.program)
        os.kill(self.pid, number)
        while number is signal.SIGKILL and self.stack.pid(self.program) == self.pid:  # noqa: ASYNC110  not our child
            await anyio.sleep(0.001)

    def must_be_new(self) -> int:
        """The process that the program is now, which must be another than before."""
        pid = self._pid_of(self.program)
        _must(pid != self.pid, f"{self.program} is still process {pid}")
        return pid

    def _pid_of(self, program: str) -> int:
        pid = self.stack.pid(program)
        if pid is None:
            raise NotSoError(f"{program} doesn't run")
        return pid


class KilledPostgres(Fault):
    """The database is gone, all at once."""

    name = "postgres"
    title = "PostgreSQL killed"
    service = "db"
    program = "postgres"
    diagnoses = frozenset({"unreachable"})

    async def inflict(self) -> str:
        """SIGKILL to the server."""
        self._api = self._pid_of("api")
        self._item = f"written before {secrets.token_hex(4)}"
        await self._insert(self._item)
        await self.signal(signal.SIGKILL)
        return f"SIGKILL to process {self.pid}, the PostgreSQL server"

    async def symptom(self) -> str:
        """No connection."""
        try:
            await (await clients.database(self.plan)).close()
        except OSError as error:
            return f"a client gets: {os.strerror(error.errno or 0)}"
        raise NotSoError("PostgreSQL accepts connections")

    async def proof(self) -> str:
        """Old rows are there, new ones can be written, and the API was never touched."""
        await self._insert("written after")
        connection = await clients.database(self.plan)
        try:
            found = await connection.fetchval("SELECT count(*) FROM orders WHERE item = $1", self._item)
        finally:
            await connection.close()
        _must(found == 1, "the row that was written before the kill is lost")
        await _must_answer(self.plan)
        pid = self.must_be_new()
        _must(self._pid_of("api") == self._api, "the API was restarted, which only depended on it")
        return f"process {pid} has the row written before the kill; the API was not restarted (still {self._api})"

    async def _insert(self, item: str) -> None:
        connection = await clients.database(self.plan)
        try:
            await connection.execute("INSERT INTO orders (item, price) VALUES ($1, 0)", item)
        finally:
            await connection.close()


class FrozenRedis(Fault):
    """The cache hangs: the kernel still accepts connections, nobody answers."""

    name = "redis"
    title = "Redis frozen"
    service = "cache"
    program = "redis"
    diagnoses = frozenset({"timeout"})

    async def inflict(self) -> str:
        """SIGSTOP to the server."""
        self._key = f"written before {secrets.token_hex(4)}"
        async with clients.cache(self.plan) as cache:
            await cache.set(self._key, "1")
        await self.signal(signal.SIGSTOP)
        return f"SIGSTOP to process {self.pid}, the Redis server: it accepts, and never answers"

    async def symptom(self) -> str:
        """Silence."""
        try:
            with anyio.fail_after(0.5):
                async with clients.cache(self.plan) as cache:
                    await cache.ping()
        except TimeoutError:
            return "a client gets: no answer to PING within 0.5 s"
        raise NotSoError("Redis answers PING")

    async def proof(self) -> str:
        """It answers, and has what it had."""
        async with clients.cache(self.plan) as cache:
            _must(await cache.ping(), "Redis doesn't answer PING")
            _must(await cache.get(self._key) == "1", "the key that was written before is lost")
        await _must_answer(self.plan)
        return f"process {self.must_be_new()} answers PING and has the key written before"


class PoisonedApi(Fault):
    """The API's process lives and answers, and every answer is a 500."""

    name = "api"
    title = "API poisoned"
    service = "api"
    program = "api"
    diagnoses = frozenset({"bad_status"})

    async def inflict(self) -> str:
        """A request that spoils what the process keeps in memory."""
        self.pid = self._pid_of(self.program)
        async with _http(self.plan) as client:
            (await client.post("/poison")).raise_for_status()
        return f"a request spoils the memory of process {self.pid}, the API: only a restart clears it"

    async def symptom(self) -> str:
        """Status 500."""
        async with _http(self.plan) as client:
            status = (await client.get("/health")).status_code
        _must(status == httpx.codes.INTERNAL_SERVER_ERROR, f"the API answers {status}")
        return f"a client gets: status {status}"

    async def proof(self) -> str:
        """It takes orders."""
        await _must_answer(self.plan)
        async with _http(self.plan) as client:
            status = (await client.post("/orders", json={"item": "coffee"})).status_code
        _must(status == httpx.codes.CREATED, f"an order is answered with {status}")
        return f"process {self.must_be_new()} answers 200 and takes an order"


class KilledWorker(Fault):
    """The worker dies with orders in its hands."""

    name = "worker"
    title = "Worker killed"
    service = "tasks"
    program = "worker"
    diagnoses = frozenset({"stuck_tasks", "no_consumers"})

    async def inflict(self) -> str:
        """SIGKILL while it has several orders."""
        async with _http(self.plan) as client, anyio.create_task_group() as customers:
            for _ in range(3 * STUCK_AT_LEAST):
                customers.start_soon(_order, client)
        with anyio.fail_after(PROVEN_WITHIN):
            while len(await self._pending()) < STUCK_AT_LEAST:  # noqa: ASYNC110  Redis doesn't tell by itself
                await anyio.sleep(0.01)
        await self.signal(signal.SIGKILL)
        self._stuck = await self._pending()
        return f"SIGKILL to process {self.pid}, the worker, with {len(self._stuck)} orders in its hands"

    async def symptom(self) -> str:
        """Orders that nobody works on."""
        _must(self.stack.pid("worker") is None, "there is a worker")
        left = self._stuck & await self._pending()
        _must(len(left) == len(self._stuck) > 0, "somebody packs what the worker left")
        return f"{len(left)} orders are handed out, and nobody packs them"

    async def proof(self) -> str:
        """Every single one of them is packed and acknowledged."""
        async with clients.cache(self.plan) as cache:
            packed = len(self._stuck & set(await cache.hkeys(PACKED)))
        left = self._stuck & await self._pending()
        _must(packed == len(self._stuck) and not left, f"{packed} of {len(self._stuck)} stuck orders are packed")
        return f"process {self.must_be_new()} has packed and acknowledged all {packed} stuck orders"

    async def _pending(self) -> frozenset[str]:
        async with clients.cache(self.plan) as cache:
            found = await cache.xpending_range(STREAM, GROUP, "-", "+", 1000)
        return frozenset(str(entry["message_id"]) for entry in found)


FAULTS: Final[Mapping[str, type[Fault]]] = {
    fault.name: fault for fault in (KilledPostgres, FrozenRedis, PoisonedApi, KilledWorker)
}


async def proven(fault: Fault) -> str:
    """
    The proof that *fault* is mended; what follows a recovery by itself may take a moment.

    Raises:
        NotSoError: It isn't.
    """
    why = ""
    with anyio.move_on_after(PROVEN_WITHIN):
        while True:
            try:
                return await fault.proof()
            except NotSoError as error:
                why = str(error)
            except TROUBLE as error:
                why = str(error) or "no answer"
            await anyio.sleep(PAUSE)
    raise NotSoError(f"not proven within {PROVEN_WITHIN:g} s: {why}")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotSoError(otherwise)


def _http(plan: Plan) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=plan.url("api"), timeout=clients.WITHIN, trust_env=False)


async def _must_answer(plan: Plan) -> None:
    async with _http(plan) as client:
        status = (await client.get("/health")).status_code
    _must(status == httpx.codes.OK, f"the API answers {status}")


async def _order(client: httpx.AsyncClient) -> None:
    with suppress(httpx.HTTPError):  # then there is one order less
        await client.post("/orders", json={"item": "tea"})
