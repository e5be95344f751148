"""
Whether reviver should suspect itself: when much of what stands on unrelated hosts fails together, the observer is the
likelier culprit (its network, its starved host), and acting would hit everything.

Counts hosts, not services, and only those other than this machine: what shares a host may well fail together. Below
``HOSTS_MIN`` hosts a share means nothing, and the answer is always no.
"""

from collections.abc import Iterable
from dataclasses import dataclass

HOSTS_MIN = 6
FAILING_MIN = 3
FAILING_SHARE = 0.3
CALM_FOR = 60.0  # seconds below the share until the observer is trusted again

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one root service (none of its dependencies fails) stands."""

    hosts: frozenset[str]
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Whether, and since when, the observer is suspect."""

    reason: str = ""
    calm_since: float | None = None


def suspect(before: Suspicion, standings: Iterable[Standing], *, now: float) -> Suspicion:
    """The suspicion after a look at all root services."""
    hosts: dict[str, bool] = {}
    for standing in standings:
        for host in standing.hosts - LOCAL_HOSTS:
            hosts[host] = hosts.get(host, True) and standing.failing
    failing = sum(hosts.values())
    crowd = len(hosts) >= HOSTS_MIN and failing >= FAILING_MIN and failing >= FAILING_SHARE * len(hosts)
    if crowd:
        return Suspicion(reason=f"{failing} of {len(hosts)} unrelated hosts fail together: this host may be cut off")
    if not before.reason:
        return before
    calm_since = now if before.calm_since is None else before.calm_since
    if now - calm_since >= CALM_FOR:
        return Suspicion()
    return Suspicion(reason=before.reason, calm_since=calm_since)
