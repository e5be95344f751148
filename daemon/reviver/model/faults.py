"""
Faults: the typed reason of a failure.

A check names the fault as precisely as the system lets it; strategies select on it; nobody later derives it again from
a text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from pydantic import JsonValue as JsonValue  # noqa: PLC0414  what may stand in details, evidence, journal entries

NOTHING: Mapping[str, JsonValue] = MappingProxyType({})
"""No details."""


class FaultKind(StrEnum):
    """Every fault that a check may report, by family."""

    # any
    UNREACHABLE = "unreachable"  # refused, reset, no route
    NAME_UNRESOLVED = "name_unresolved"  # DNS has no answer; restarting the target can't help
    TIMEOUT = "timeout"  # accepted, or silent, and never answered
    TLS_INVALID = "tls_invalid"
    TLS_EXPIRING = "tls_expiring"
    AUTH_FAILED = "auth_failed"
    SLOW = "slow"
    BAD_PROTOCOL = "bad_protocol"  # something else answers on that port
    # postgres
    TOO_MANY_CONNECTIONS = "too_many_connections"
    STARTING_UP = "starting_up"
    SHUTTING_DOWN = "shutting_down"
    IN_RECOVERY = "in_recovery"
    READ_ONLY = "read_only"
    REPLICA_LAG = "replica_lag"
    LOCK_STORM = "lock_storm"
    LONG_TRANSACTION = "long_transaction"
    DISK_FULL = "disk_full"
    WAL_ARCHIVE_FAILING = "wal_archive_failing"
    XID_WRAPAROUND = "xid_wraparound"
    DATABASE_MISSING = "database_missing"
    SCHEMA_DRIFT = "schema_drift"
    MIGRATION_FAILED = "migration_failed"
    MIGRATION_PENDING = "migration_pending"
    DATA_CORRUPT = "data_corrupt"
    # redis
    LOADING = "loading"
    MISCONF = "misconf"
    RDB_FAILING = "rdb_failing"
    AOF_FAILING = "aof_failing"
    OUT_OF_MEMORY = "out_of_memory"
    EVICTING = "evicting"
    READ_ONLY_REPLICA = "read_only_replica"
    REPLICATION_BROKEN = "replication_broken"
    TOO_MANY_CLIENTS = "too_many_clients"
    BLOCKED_BY_SCRIPT = "blocked_by_script"
    CLUSTER_DOWN = "cluster_down"
    # http
    BAD_STATUS = "bad_status"
    BAD_BODY = "bad_body"
    OVERLOADED = "overloaded"  # 429, or 503 with Retry-After: it asks for less load, not for a restart
    UNHEALTHY_NODE = "unhealthy_node"
    ALL_NODES_DOWN = "all_nodes_down"
    DEPENDENCY_REPORTED_DOWN = "dependency_reported_down"
    # queue
    NO_CONSUMERS = "no_consumers"
    BACKLOG = "backlog"
    STUCK_TASKS = "stuck_tasks"
    DEAD_LETTERS = "dead_letters"
    BROKER_ALARM = "broker_alarm"
    STALLED = "stalled"
    QUEUE_MISSING = "queue_missing"  # the stream, queue or consumer group isn't there
    # command
    COMMAND_FAILED = "command_failed"
    # host
    PROCESS_MISSING = "process_missing"
    LOG_PATTERN = "log_pattern"
    METRICS_MISSING = "metrics_missing"
    ALERTS_SILENT = "alerts_silent"
    CLOCK_JUMP = "clock_jump"


WAIT_FOR_IT = frozenset({FaultKind.STARTING_UP, FaultKind.SHUTTING_DOWN, FaultKind.LOADING, FaultKind.OVERLOADED})
"""Faults that pass by themselves as a rule: handed to people only when they last, and never for want of a strategy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a service, in a form that strategies select on and a person can read."""

    kind: FaultKind
    message: str
    """One line for an operator: what happened, with numbers. No secrets, no class names."""
    certain: bool = False
    """
    Whether the evidence leaves no doubt: the process is gone, the unit has failed and nobody restarts it, a local port
    refuses and no process owns it. Certain faults are confirmed sooner and may be acted upon sooner.
    """
    details: Mapping[str, JsonValue] = field(default_factory=lambda: NOTHING)
    """What a person would want to know next, bounded: a few dozen short values."""
