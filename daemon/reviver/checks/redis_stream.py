"""
Whether the consumer group of a Redis stream keeps up: nothing held for too long, somebody there to work, no backlog.

Whether a consumer is alive can't be seen directly. Before Redis 7.2 its ``idle`` is the time since it was last *given*
an entry; since then it is the time since it last *asked* for one, but one that waits in ``XREADGROUP … BLOCK 0`` has
asked only once. So while nothing waits to be delivered, clients blocked on any key are given the benefit of the doubt,
and before 7.2 a quiet stream is never said to have no consumers.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final

import anyio
from pydantic import Field
from redis.exceptions import RedisError, ResponseError

from reviver.clients.asking import EVIDENCE_WITHIN, Finding, result_of
from reviver.clients.redis import FAILURES, FAULTS, Link, RedisUrl, Target, linked, parse_info, whole
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import SecretField
from reviver.model.units import Seconds, format_duration

_STUCK_READ: Final = 100  # entries looked at; more than these are told as "100 or more"
_NO_GROUP: Final = "the stream has no such group; consumers can't read from it"
_NAMED: Final = 10  # consumers named in details
_TOLD: Final = 50  # rows, and values in a row, of a reply in evidence
_TOLD_LENGTH: Final = 200  # characters of a value in evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStream:
    """Whether the consumer group of a Redis stream keeps up."""

    url: RedisUrl = field(repr=False)
    """As for the check ``redis``; usually taken from such a service by ``service = "NAME"``."""
    username: str | None = None
    password: SecretField | None = None
    stream: str
    """The stream's key."""
    group: str
    """The consumer group."""
    max_lag: Annotated[int, Field(ge=0)] | None = None
    """Entries that may wait to be delivered; ``None``: any number."""
    max_idle: Seconds = 300.0
    """An entry that was delivered and not acknowledged for longer is stuck."""
    min_consumers: Annotated[int, Field(ge=0)] = 1
    """Consumers that must be alive."""
    consumer_idle: Seconds = 300.0
    """A consumer unseen for longer counts as dead: longer than the longest task, and than its pause between reads."""

    borrows: ClassVar[frozenset[str]] = frozenset({"url", "username", "password"})
    faults: ClassVar[frozenset[FaultKind]] = FAULTS | {
        FaultKind.QUEUE_MISSING,
        FaultKind.STUCK_TASKS,
        FaultKind.NO_CONSUMERS,
        FaultKind.BACKLOG,
    }

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        """The probe, with a kept connection whose end wakes the supervisor."""
        target = Target.of(self.url, username=self.username, password=self.password)
        async with linked(target, context) as link:
            yield _Probe(self, target, link, context.timeout)

    def hosts(self) -> frozenset[str]:
        """The host that it asks."""
        return frozenset({Target.of(self.url).endpoint.machine})


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One consumer of the group, as Redis tells of it."""

    name: str
    pending: int
    unseen: float
    """Seconds since it asked for an entry, or was given one; see above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """One entry that was delivered too long ago and not acknowledged."""

    id: str
    consumer: str
    age: float
    """Seconds since it was last delivered."""
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A stream and its group at one moment."""

    length: int
    lag: int | None
    """Entries not yet delivered; ``None`` if Redis can't tell (before 7.0, or after deletions in their midst)."""
    waiting: bool
    """Whether any entry waits to be delivered."""
    pending: int
    consumers: tuple[Consumer, ...]
    stuck: tuple[Stuck, ...]
    benefit: int | None = 0
    """Clients that may be consumers that wait unseen; ``None``: there may be any number."""


def judge(view: View, settings: RedisStream, subject: str) -> Fault | None:
    """What is wrong with the group, the worst first; ``None``: nothing."""
    return (
        _stuck_fault(view, settings, subject)
        or _consumers_fault(view, settings, subject)
        or _backlog_fault(view, settings, subject)
    )


def seen(view: View, settings: RedisStream) -> int:
    """Consumers that are alive for certain."""
    return sum(consumer.unseen <= settings.consumer_idle for consumer in view.consumers)


def figures(view: View, settings: RedisStream) -> dict[str, JsonValue]:
    """The view in a few numbers."""
    return {
        "length": view.length,
        "lag": view.lag,
        "pending": view.pending,
        "consumers": len(view.consumers),
        "consumers_seen": seen(view, settings),
    }


def _stuck_fault(view: View, settings: RedisStream, subject: str) -> Fault | None:
    if not view.stuck:
        return None
    count = f"{len(view.stuck)} or more" if len(view.stuck) >= _STUCK_READ else str(len(view.stuck))
    oldest = max(entry.age for entry in view.stuck)
    holders = Counter(entry.consumer for entry in view.stuck).most_common(_NAMED)
    unseen = {consumer.name: consumer.unseen for consumer in view.consumers}
    names = ", ".join(
        f"{name} ({held}, unseen for {format_duration(unseen.get(name, 0))})" for name, held in holders[:3]
    )
    message = (
        f"{subject}: {count} entries were delivered over {format_duration(settings.max_idle)} ago and never "
        f"acknowledged, the oldest {format_duration(oldest)} ago; held by {names}"
    )
    details: dict[str, JsonValue] = {
        **figures(view, settings),
        "stuck": len(view.stuck),
        "oldest_seconds": round(oldest, 1),
        "most_deliveries": max(entry.deliveries for entry in view.stuck),
        "held_by": {name: {"entries": held, "unseen_seconds": round(unseen.get(name, 0), 1)} for name, held in holders},
    }
    return Fault(kind=FaultKind.STUCK_TASKS, message=message, details=details)


def _consumers_fault(view: View, settings: RedisStream, subject: str) -> Fault | None:
    alive = seen(view, settings)
    if alive >= settings.min_consumers:
        return None
    if not view.waiting and (view.benefit is None or alive + view.benefit >= settings.min_consumers):
        return None
    message = (
        f"{subject}: {alive} of at least {settings.min_consumers} consumers were seen in the last "
        f"{format_duration(settings.consumer_idle)}"
    )
    message += f"; {'entries' if view.lag is None else view.lag} wait for one" if view.waiting else ""
    return Fault(kind=FaultKind.NO_CONSUMERS, message=message, details=figures(view, settings))


def _backlog_fault(view: View, settings: RedisStream, subject: str) -> Fault | None:
    if settings.max_lag is None or view.lag is None or view.lag <= settings.max_lag:
        return None
    message = f"{subject}: {view.lag} entries wait to be delivered, allowed are {settings.max_lag}"
    return Fault(kind=FaultKind.BACKLOG, message=message, details=figures(view, settings))


class _NoRedis(ValueError):
    """A reply that no Redis would give."""


class _Probe:
    def __init__(self, settings: RedisStream, target: Target, link: Link, timeout: float) -> None:
        self._settings = settings
        self._target = target
        self._link = link
        self._timeout = timeout
        self._subject = f"{target}: stream {settings.stream}, group {settings.group}"

    async def ask(self, *, fresh: bool) -> CheckResult:
        """The group, its consumers and its oldest unacknowledged entries, in one round trip as a rule."""
        return await result_of(
            lambda: self._look(fresh), timeout=self._timeout, failures=FAILURES, explain=self._target.explain
        )

    async def evidence(self) -> Mapping[str, JsonValue]:
        """Who holds what."""
        key, group = self._settings.stream, self._settings.group
        questions: dict[str, tuple[str | int, ...]] = {
            "groups": ("XINFO", "GROUPS", key),
            "consumers": ("XINFO", "CONSUMERS", key, group),
            "oldest_pending": ("XPENDING", key, group, "-", "+", 20),
        }
        try:
            with anyio.fail_after(EVIDENCE_WITHIN):
                replies = await self._link.ask(*questions.values(), fresh=True)
        except FAILURES as error:
            verdict = self._target.explain(error)
            return {"stream": f"could not be had: {verdict.message if isinstance(verdict, Fault) else verdict}"}
        return {name: self._told(reply) for name, reply in zip(questions, replies, strict=True)}

    def _told(self, reply: object) -> JsonValue:
        """A reply as evidence: rows of short values, as Redis gives them."""
        if isinstance(reply, RedisError):
            return self._target.redact(f"could not be had: {reply}")
        rows = reply[:_TOLD] if isinstance(reply, list) else []
        return [
            [each if isinstance(each, int) else str(each)[:_TOLD_LENGTH] for each in row[:_TOLD]]
            for row in rows
            if isinstance(row, list)
        ]

    async def _look(self, fresh: bool) -> Finding:
        key, group = self._settings.stream, self._settings.group
        stuck_after = int(self._settings.max_idle * 1000)
        replies = await self._link.ask(
            ("XLEN", key),
            ("XINFO", "GROUPS", key),
            ("XINFO", "CONSUMERS", key, group),
            ("XPENDING", key, group, "IDLE", stuck_after, "-", "+", _STUCK_READ),
            fresh=fresh,
        )
        for reply in replies:
            if isinstance(reply, RedisError):
                return self._missing(reply) or self._target.explain(reply)
        length, groups, consumers, stuck = replies
        found = next((each for each in map(_pairs, _list(groups)) if each.get("name") == group), None)
        if found is None:  # it was made between two of the commands
            return self._missing_fault(_NO_GROUP)
        view = await self._view(whole(length), found, _list(consumers), _list(stuck), fresh=fresh)
        return judge(view, self._settings, self._subject) or figures(view, self._settings)

    def _missing(self, reply: RedisError) -> Fault | None:
        if not isinstance(reply, ResponseError):
            return None
        text = str(reply)
        if text.startswith("WRONGTYPE"):
            return self._missing_fault("the key holds something else than a stream")
        if "no such key" in text:
            return self._missing_fault("there is no such stream; nobody has written to it, or it was deleted")
        return self._missing_fault(_NO_GROUP) if text.startswith("NOGROUP") else None

    def _missing_fault(self, why: str) -> Fault:
        return Fault(kind=FaultKind.QUEUE_MISSING, message=f"{self._subject}: {why}")

    async def _view(
        self, length: int, group: Mapping[str, Any], consumers: list[Any], stuck: list[Any], *, fresh: bool
    ) -> View:
        lag = None if group.get("lag") is None else whole(group["lag"])
        waiting = bool(lag) if lag is not None else await self._any_waiting(group.get("last-delivered-id"), fresh)
        view = View(
            length=length,
            lag=lag,
            waiting=waiting,
            pending=whole(group.get("pending")),
            consumers=tuple(_consumer(_pairs(each)) for each in consumers),
            stuck=tuple(_stuck(each) for each in stuck),
        )
        if not waiting and seen(view, self._settings) < self._settings.min_consumers:
            return replace(view, benefit=await self._benefit(fresh))
        return view

    async def _any_waiting(self, delivered: object, fresh: bool) -> bool:
        """Whether there is an entry after the last delivered one, where Redis doesn't know the lag."""
        if not isinstance(delivered, str):
            raise _NoRedis
        (reply,) = await self._link.ask(
            ("XRANGE", self._settings.stream, f"({delivered}", "+", "COUNT", 1), fresh=fresh
        )
        if isinstance(reply, RedisError):
            raise reply
        return bool(reply)

    async def _benefit(self, fresh: bool) -> int | None:
        """How many consumers may wait unseen; ``None``: any number."""
        (reply,) = await self._link.ask(("INFO",), fresh=fresh)
        if isinstance(reply, RedisError):
            return None
        info = parse_info(reply)
        version = tuple(int(part) for part in info.get("redis_version", "0.0").split(".")[:2])
        return int(info.get("blocked_clients", 0)) if version >= (7, 2) else None


def _list(reply: object) -> list[Any]:
    if not isinstance(reply, list):
        raise _NoRedis
    return reply


def _pairs(reply: object) -> dict[Any, Any]:
    flat = _list(reply)
    if any(not isinstance(name, str) for name in flat[::2]):
        raise _NoRedis
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _consumer(found: Mapping[str, Any]) -> Consumer:
    match found:
        case {"name": str() as name, "pending": pending, "idle": idle}:
            return Consumer(name=name, pending=whole(pending), unseen=whole(idle) / 1000)
        case _:
            raise _NoRedis


def _stuck(found: object) -> Stuck:
    match found:
        case [str() as entry, str() as consumer, idle, deliveries]:
            return Stuck(id=entry, consumer=consumer, age=whole(idle) / 1000, deliveries=whole(deliveries))
        case _:
            raise _NoRedis
