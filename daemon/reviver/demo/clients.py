"""Clients of the demo's own database and cache: without retries, within deadlines."""

from typing import TYPE_CHECKING, Any, Final

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .plan import DATABASE, LOOPBACK, USER, Plan

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]

WITHIN: Final = 2.0  # seconds for connecting, and for each command


def database_pool(plan: Plan) -> "Pool":
    """A pool that connects when it is used, and again when the database has been away; for ``async with``."""
    return asyncpg.create_pool(min_size=0, max_size=4, timeout=WITHIN, **_login(plan))


async def database(plan: Plan) -> "Connection":
    """A connection of its own; the caller closes it."""
    return await asyncpg.connect(timeout=WITHIN, **_login(plan))


def cache(plan: Plan) -> Redis:
    """A client; for ``async with``."""
    return Redis(
        host=LOOPBACK,
        port=plan.ports["redis"],
        password=plan.password,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=WITHIN,
        socket_connect_timeout=WITHIN,
        decode_responses=True,
    )


def _login(plan: Plan) -> dict[str, Any]:
    return {
        "host": LOOPBACK,
        "port": plan.ports["postgres"],
        "user": USER,
        "password": plan.password,
        "database": DATABASE,
        "command_timeout": WITHIN,
        "ssl": False,
    }
