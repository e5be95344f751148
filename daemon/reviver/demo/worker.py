"""
The demo's worker: packs the orders that the API puts into a Redis stream.

    python -m reviver.demo.worker FOLDER

It takes some orders at a time. Killed in between, it leaves them behind: handed out, never acknowledged, and nobody
else gets them. So each worker begins by claiming what a dead one has left.
"""

import os
import sys
from pathlib import Path
from typing import Any, Final

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from . import clients
from .plan import GROUP, PACKED, STREAM, read

AT_ONCE: Final = 5
PACKING: Final = 0.1  # seconds for each order
NOTHING_FOR: Final = 500  # milliseconds to wait for an order
ABANDONED: Final = 1000  # milliseconds after which an order that another worker was handed is abandoned
AGAIN: Final = 0.2  # seconds until a cache that has failed is asked again

Order = tuple[str, dict[str, str]]


async def main(directory: Path) -> None:
    """Pack until ended."""
    async with clients.cache(read(directory)) as cache:
        while True:
            try:
                await _work(cache)
            except (RedisError, OSError):  # the cache is away: not this program's to mend
                await anyio.sleep(AGAIN)


async def _work(cache: Redis) -> None:
    me = f"worker-{os.getpid()}"
    try:
        await cache.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # there already
            raise
    _, abandoned, _ = await cache.xautoclaim(STREAM, GROUP, me, min_idle_time=ABANDONED, count=1000)
    await _pack(cache, abandoned)
    await _pack(cache, await _orders(cache, me, since="0"))  # its own, if the cache failed in their midst
    while True:
        await _pack(cache, await _orders(cache, me, since=">"))


async def _orders(cache: Redis, me: str, *, since: str) -> list[Order]:
    found: Any = await cache.xreadgroup(GROUP, me, {STREAM: since}, count=AT_ONCE, block=NOTHING_FOR)
    return [order for _, orders in found for order in orders]


async def _pack(cache: Redis, orders: list[Order]) -> None:
    for entry, order in orders:
        await anyio.sleep(PACKING)
        async with cache.pipeline(transaction=True) as together:
            together.hset(PACKED, entry, order["order"])
            together.xack(STREAM, GROUP, entry)
            await together.execute()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
