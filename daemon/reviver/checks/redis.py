"""Whether a Redis (or Valkey) answers, has the role that it should have, and persists what it is given."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import anyio
from redis.exceptions import BusyLoadingError, RedisError

from reviver.clients.asking import EVIDENCE_WITHIN, Finding, result_of
from reviver.clients.redis import FAILURES, FAULTS, Link, RedisUrl, Target, linked, parse_info, whole
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import SecretField

Role = Literal["primary", "replica", "any"]
Info = Mapping[str, str]

_DETAILS: Final = ("redis_version", "valkey_version", "role", "connected_clients", "maxclients", "blocked_clients",
                   "used_memory", "maxmemory", "evicted_keys", "uptime_in_seconds")  # fmt: skip
_LOADING: Final = ("loading_start_time", "loading_total_bytes", "loading_loaded_perc", "loading_eta_seconds")
_PERSISTENCE: Final = ("rdb_last_bgsave_status", "rdb_last_save_time", "rdb_changes_since_last_save", "aof_enabled",
                       "aof_last_write_status", "aof_last_bgrewrite_status")  # fmt: skip
_REPLICATION: Final = ("role", "master_host", "master_port", "master_link_status", "master_sync_in_progress",
                       "master_link_down_since_seconds", "connected_slaves")  # fmt: skip
_MEMORY: Final = ("used_memory", "used_memory_rss", "maxmemory", "maxmemory_policy", "mem_fragmentation_ratio",
                  "mem_clients_normal", "evicted_keys")  # fmt: skip
_ACTIVITY: Final = ("instantaneous_ops_per_sec", "total_connections_received", "rejected_connections", "keyspace_hits",
                    "keyspace_misses", "expired_keys", "latest_fork_usec", "total_error_replies")  # fmt: skip
_CLIENTS_READ: Final = 2000  # clients that evidence looks at
_SLOW_READ: Final = 10  # slow commands that evidence looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Whether a Redis (or Valkey) answers, has the role that it should have, and persists what it is given."""

    url: RedisUrl = field(repr=False)
    """``redis://HOST:PORT/DB``, ``rediss://…`` for TLS, or ``unix:///PATH``."""
    username: str | None = None
    """The ACL user; ``None``: the one in the URL, or the default user."""
    password: SecretField | None = None
    """Wins over one in the URL."""
    expect: Role = "primary"
    """The role that it must have: clients that write need a primary."""

    borrows: ClassVar[frozenset[str]] = frozenset({"url", "username", "password"})
    faults: ClassVar[frozenset[FaultKind]] = FAULTS | {FaultKind.RDB_FAILING, FaultKind.AOF_FAILING}

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        """The probe, with a kept connection whose end wakes the supervisor."""
        target = Target.of(self.url, username=self.username, password=self.password)
        async with linked(target, context) as link:
            yield _Probe(target, link, context.timeout, self.expect)

    def hosts(self) -> frozenset[str]:
        """The host that it asks."""
        return frozenset({Target.of(self.url).endpoint.machine})


class _Probe:
    def __init__(self, target: Target, link: Link, timeout: float, expect: Role) -> None:
        self._target = target
        self._link = link
        self._timeout = timeout
        self._expect = expect

    async def ask(self, *, fresh: bool) -> CheckResult:
        """PING and INFO, in one round trip."""
        return await result_of(
            lambda: self._look(fresh), timeout=self._timeout, failures=FAILURES, explain=self._target.explain
        )

    async def evidence(self) -> Mapping[str, JsonValue]:
        """What it was busy with, and for whom."""
        evidence: dict[str, JsonValue] = {}
        try:
            with anyio.fail_after(EVIDENCE_WITHIN):
                replies = await self._link.ask(
                    ("INFO",), ("SLOWLOG", "GET", _SLOW_READ), ("CLIENT", "LIST"), fresh=True
                )
        except FAILURES as error:
            verdict = self._target.explain(error)
            return {"redis": f"could not be had: {verdict.message if isinstance(verdict, Fault) else verdict}"}
        readers: dict[str, Callable[[Any], JsonValue]] = {
            "info": _info_evidence,
            "slow_commands": _slow_commands,
            "clients": _clients,
        }
        for (name, read), reply in zip(readers.items(), replies, strict=True):
            try:
                refused = isinstance(reply, RedisError)
                evidence[name] = self._target.redact(f"could not be had: {reply}") if refused else read(reply)
            except ValueError:
                evidence[name] = "could not be had: not the reply of a Redis"
        return evidence

    async def _look(self, fresh: bool) -> Finding:
        ping, text = await self._link.ask(("PING",), ("INFO",), fresh=fresh)
        if isinstance(text, RedisError):
            return self._target.explain(ping if isinstance(ping, RedisError) else text)
        info = parse_info(text)
        fault = self._reply_fault(ping, info) or judge(info, self._expect, str(self._target))
        if fault is None and info.get("cluster_enabled") == "1":
            fault = await self._cluster_fault(fresh)
        return fault or _figures(info, _DETAILS)

    def _reply_fault(self, ping: Any, info: Info) -> Finding | None:
        """What PING says, which Redis answers with an error when it wouldn't take a write for the disk's sake."""
        if ping == "PONG":
            return None
        if not isinstance(ping, RedisError):
            return Fault(kind=FaultKind.BAD_PROTOCOL, message=f"{self._target}: it answers PING with {ping!r}")
        role_fault = None if isinstance(ping, BusyLoadingError) else _role_fault(info, self._expect, str(self._target))
        return role_fault or self._target.explain(ping, _figures(info, (*_LOADING, *_PERSISTENCE, *_REPLICATION)))

    async def _cluster_fault(self, fresh: bool) -> Finding | None:
        (reply,) = await self._link.ask(("CLUSTER", "INFO"), fresh=fresh)
        if isinstance(reply, RedisError):
            return self._target.explain(reply)
        cluster = parse_info(reply)
        if cluster.get("cluster_state") == "ok":
            return None
        message = (
            f"{self._target}: its cluster is down: {cluster.get('cluster_slots_ok')} of 16384 slots are served, "
            f"{cluster.get('cluster_slots_fail')} have failed"
        )
        return Fault(kind=FaultKind.CLUSTER_DOWN, message=message, details=_figures(cluster, tuple(cluster)[:20]))


def judge(info: Info, expect: Role, subject: str) -> Fault | None:
    """What is wrong with a Redis that answers, from its ``INFO``; ``None``: nothing."""
    return (
        _role_fault(info, expect, subject)
        or _link_fault(info, subject)
        or _memory_fault(info, subject)
        or _persistence_fault(info, subject)
    )


def _role_fault(info: Info, expect: Role, subject: str) -> Fault | None:
    role = "replica" if info.get("role") == "slave" else "primary"
    if expect in {"any", role}:
        return None
    if role == "replica":
        message = f"{subject}: it is a read-only replica of {info.get('master_host')}:{info.get('master_port')}"
        message += ", expected was a primary: clients can't write"
        return Fault(kind=FaultKind.READ_ONLY_REPLICA, message=message, details=_figures(info, _REPLICATION))
    message = f"{subject}: it is a primary, expected was a replica: it replicates nothing"
    return Fault(kind=FaultKind.REPLICATION_BROKEN, message=message, details=_figures(info, _REPLICATION))


def _link_fault(info: Info, subject: str) -> Fault | None:
    if info.get("role") != "slave" or info.get("master_link_status") == "up":
        return None
    if info.get("master_sync_in_progress") == "1":
        state = "is copying everything from"
    else:
        state = f"has had no link for {info.get('master_link_down_since_seconds', '?')} s to"
    primary = f"{info.get('master_host')}:{info.get('master_port')}"
    message = f"{subject}: the replica {state} its primary {primary}: what it serves is old"
    return Fault(kind=FaultKind.REPLICATION_BROKEN, message=message, details=_figures(info, _REPLICATION))


def _memory_fault(info: Info, subject: str) -> Fault | None:
    limit = int(info.get("maxmemory", 0))
    used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
    if not limit or used <= limit or info.get("maxmemory_policy") != "noeviction":
        return None
    message = f"{subject}: {used} of {limit} bytes of maxmemory are used and nothing may be evicted: writes are refused"
    return Fault(kind=FaultKind.OUT_OF_MEMORY, message=message, details=_figures(info, _MEMORY))


def _persistence_fault(info: Info, subject: str) -> Fault | None:
    if info.get("aof_enabled") == "1" and "err" in {
        info.get("aof_last_write_status"),
        info.get("aof_last_bgrewrite_status"),
    }:
        message = f"{subject}: the append-only file can't be written: a crash would lose what was written since"
        return Fault(kind=FaultKind.AOF_FAILING, message=message, details=_figures(info, _PERSISTENCE))
    if info.get("rdb_last_bgsave_status") == "err":
        changes = info.get("rdb_changes_since_last_save", "?")
        message = f"{subject}: the last snapshot failed: a crash would lose {changes} changes since the one before"
        return Fault(kind=FaultKind.RDB_FAILING, message=message, details=_figures(info, _PERSISTENCE))
    return None


def _figures(info: Info, names: tuple[str, ...]) -> dict[str, JsonValue]:
    return {name: _number(info[name]) for name in names if name in info}


def _number(text: str) -> JsonValue:
    try:
        return int(text)
    except ValueError:
        return text[:200]


def _info_evidence(reply: str) -> JsonValue:
    return _figures(parse_info(reply), (*_DETAILS, *_MEMORY, *_PERSISTENCE, *_REPLICATION, *_ACTIVITY))


def _slow_commands(reply: object) -> JsonValue:
    """The slowest of late, by name only: keys and values are the clients' own."""
    if not isinstance(reply, list):
        raise ValueError("not a reply to SLOWLOG GET")
    return [_slow_command(entry) for entry in reply[:_SLOW_READ]]


def _slow_command(entry: object) -> JsonValue:
    match entry:
        case [_, int() as at, int() as microseconds, [str() as command, *arguments], *_]:
            return {
                "at": whole(at),
                "milliseconds": whole(microseconds) / 1000,
                "command": command.upper()[:40],
                "arguments": len(arguments),
            }
        case _:
            raise ValueError("not a reply to SLOWLOG GET")


def _clients(reply: object) -> JsonValue:
    """How many there are, from where, with what last command, and how many wait."""
    if not isinstance(reply, str):
        raise ValueError("not a reply to CLIENT LIST")
    lines = reply.splitlines()
    clients = [dict(pair.split("=", 1) for pair in line.split() if "=" in pair) for line in lines[:_CLIENTS_READ]]
    return {
        "count": len(lines),
        "blocked": sum("b" in client.get("flags", "") for client in clients),
        "by_address": dict(Counter(client.get("addr", "?").rpartition(":")[0] for client in clients).most_common(10)),
        "by_name": dict(Counter(client.get("name") or "(none)" for client in clients).most_common(10)),
        "by_command": dict(Counter(client.get("cmd", "?") for client in clients).most_common(10)),
        "longest_idle_seconds": max((int(client.get("idle", 0)) for client in clients), default=0),
    }


_EVIDENCE: Final[dict[str, Callable[[Any], JsonValue]]] = {
    "info": _info_evidence,
    "slow_commands": _slow_commands,
    "clients": _clients,
}
