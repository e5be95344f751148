"""What a check costs in CPU, against the bare call of the driver that it rests on; kept connections, one process."""

import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
import asyncpg
import httpx
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from reviver.checks.http import Http
from reviver.checks.postgres import Postgres
from reviver.checks.redis import Redis
from reviver.clients.clock import SystemClock
from reviver.clients.uplink import SystemUplink
from reviver.incidents.scribe import Scribe
from reviver.metrics import Metrics
from reviver.model.checks import Check
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Service
from reviver.supervisor.supervisor import Supervisor
from reviver.supervisor.watched import Watched
from servers import listening, running_postgres, running_redis, until

TITLE = "CPU per check, against the bare driver call"
ROUNDS, CALLS = 15, 100

Call = Callable[[], Awaitable[object]]


async def microseconds(call: Call) -> float:
    """CPU time of this process per call."""
    started = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - started) / CALLS * 1e6


async def side_by_side(**calls: Call) -> dict[str, float]:
    """Medians of rounds in which each call has its turn."""
    seen: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            seen[name].append(await microseconds(call))
    return {name: statistics.median(values[1:]) for name, values in seen.items()}


async def answer_ok(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def compare(name: str, check: Check, bare: Call) -> None:
    """One row: the driver's call, the probe, and the probe through the supervisor with metrics."""
    clock = SystemClock()
    metrics = Metrics(clock)
    service = Service(name=name, kind=name, check=check, interval=3600.0, fresh_every=3600.0)
    supervisor = Supervisor(
        services={name: service},
        policy=DaemonPolicy(),
        clock=clock,
        random=lambda: 0.5,
        scribe=Scribe(None, metrics.on_event),  # type: ignore[arg-type]  # a healthy service writes nothing
        emit=metrics.on_event,
        recoverer=None,  # type: ignore[arg-type]  # nor does it need recovery
        redact=Redactor(),
        uplink=SystemUplink(),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(supervisor.run)
        watched = supervisor.watched[name]
        await until(lambda: watched.result is not None and watched.result.healthy, what=f"{name} is healthy")
        found = await side_by_side(bare=bare, probe=lambda: kept(watched), check=lambda: through(supervisor, watched))
        tasks.cancel_scope.cancel()
    print(
        f"| {name} | {found['bare']:.0f} | {found['probe']:.0f} | {found['check']:.0f} "
        f"| **{found['check'] / found['bare']:.2f}** |"
    )


async def kept(watched: Watched) -> None:
    assert watched.probe is not None
    assert (await watched.probe.ask(fresh=False)).healthy


async def through(supervisor: Supervisor, watched: Watched) -> None:
    await supervisor._ask_when_due(watched)  # noqa: SLF001  what the schedule calls


async def main() -> None:
    print("| kind | driver µs | probe µs | whole check µs | check / driver |")
    print("| --- | --- | --- | --- | --- |")
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres())
        connection = await asyncpg.connect(postgres.dsn)
        stack.push_async_callback(connection.close)
        await compare("postgres", Postgres(dsn=postgres.dsn), lambda: connection.fetchval("SELECT 1"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_redis())
        client = redis.asyncio.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0), socket_timeout=2)
        stack.push_async_callback(client.aclose)
        await compare("redis", Redis(url=server.url), client.ping)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(answer_ok))
        url = f"http://127.0.0.1:{port}/"
        bare = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        await compare("http", Http(url=url), lambda: bare.get(url))
