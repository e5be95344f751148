"""
The demo's API: a shop that writes orders into PostgreSQL and hands them to the workers by a Redis stream.

    python -m reviver.demo.api FOLDER
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import uvicorn
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import clients
from .plan import LOOPBACK, STREAM, Plan, read

ASK_WITHIN: Final = 1.0  # seconds that the database and the cache may each take
_TROUBLE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError)


class Shop:
    """What the process keeps."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.prices: dict[str, int] | None = {"tea": 4, "coffee": 5}

    @asynccontextmanager
    async def open(self, _app: Starlette) -> AsyncIterator[None]:
        """Connections, for as long as the block lasts."""
        async with clients.database_pool(self._plan) as self._database, clients.cache(self._plan) as self._cache:
            await self._database.execute(
                "CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, item text NOT NULL, price int NOT NULL)"
            )
            yield

    async def health(self, _request: Request) -> Response:
        """Whether the database and the cache answer; 503 if one doesn't."""
        self._price_of("tea")
        checks = {
            "database": await _asked(self._database.fetchval("SELECT count(*) FROM orders")),
            "cache": await _asked(self._cache.ping()),
        }
        well = all(check["status"] == "up" for check in checks.values())
        return JSONResponse({"status": "up" if well else "down", "checks": checks}, 200 if well else 503)

    async def order(self, request: Request) -> Response:
        """Write an order down, and hand it to the workers."""
        item = str(json.loads(await request.body())["item"])
        price = self._price_of(item)
        try:
            with anyio.fail_after(ASK_WITHIN):
                number = await self._database.fetchval(
                    "INSERT INTO orders (item, price) VALUES ($1, $2) RETURNING id", item, price
                )
                await self._cache.xadd(STREAM, {"order": number}, maxlen=10_000)
        except _TROUBLE:
            return JSONResponse({"error": "no order can be taken now"}, 503)
        return JSONResponse({"order": number}, 201)

    async def poison(self, _request: Request) -> Response:
        """Lose the price list, as a bug might: from now on every answer is a 500, until the process is restarted."""
        self.prices = None
        return JSONResponse({"poisoned": True})

    def _price_of(self, item: str) -> int:
        if self.prices is None:
            raise RuntimeError("the price list is gone")
        return self.prices[item]


async def _asked(answer: Awaitable[Any]) -> dict[str, str]:
    try:
        with anyio.fail_after(ASK_WITHIN):
            await answer
    except _TROUBLE:
        return {"status": "down"}
    return {"status": "up"}


def main(directory: Path) -> None:
    """Serve until told to stop."""
    plan = read(directory)
    shop = Shop(plan)
    routes = [
        Route("/health", shop.health),
        Route("/orders", shop.order, methods=["POST"]),
        Route("/poison", shop.poison, methods=["POST"]),
    ]
    app = Starlette(routes=routes, lifespan=shop.open)
    uvicorn.run(app, host=LOOPBACK, port=plan.ports["api"], log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
