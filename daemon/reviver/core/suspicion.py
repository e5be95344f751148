"""
Whether reviver should doubt itself rather than what it watches: acting on the word of a blind observer hits everything.

Four reasons, each held on to for a while after its cause was last seen:

* ``crowd``: a set share of what stands on unrelated hosts fails together. This host may be cut off.
* ``network``: this host has lost its default route, or none of the anchors that the settings name answers.
* ``lag``: reviver's own event loop was late. It was starved or stopped, and may have mistaken that for silence.
* ``suspended``: the host was suspended. Connections and services need a moment afterwards.

The last two say that reviver itself saw nothing, and hold everything. The first two say that the network between it and
the others may be gone, and hold what is asked over it: a database that crashed on this very host is recovered. They are
conclusions, too, so a second vantage that sees the same failures refutes them; that this host has no default route is a
plain fact, which it doesn't.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why reviver doubts itself. The words are those of the metric's label."""

    CROWD = "crowd"
    LAG = "lag"
    NETWORK = "network"
    SUSPENDED = "suspended"


CALM = {
    Reason.CROWD: 60.0,  # what comes back after a real outage comes back in waves; a minute tells waves from the end
    Reason.LAG: 10.0,  # two rounds of questions at the usual interval, asked by a loop that turns
    Reason.NETWORK: 30.0,  # routes, names and connections settle, and each service passes `rise` times if it is well
    Reason.SUSPENDED: 30.0,  # the same: after a resume the network comes up last
}
"""Seconds without its cause until a reason no longer holds."""
HOLDS_EVERYTHING = frozenset({Reason.LAG, Reason.SUSPENDED})

HOSTS_MIN = 6  # with fewer, a share means nothing: two of five is one broken switch or two broken services
FAILING_MIN = 3  # two that fail together happen by chance
LATE_FROM = 1.0  # seconds; the confirming probes' distance: later than that, "in a row" has lost its meaning
CONFIRMED_FOR = 15.0  # seconds for which the tie-break's word counts; it is asked every 10

_LOCAL_NAMES = frozenset({"localhost", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one root service (none of its dependencies fails) stands."""

    hosts: frozenset[str]
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One reason, as it was last seen."""

    reason: Reason
    text: str
    """For operators: what was seen, with numbers."""
    seen_at: float
    refutable: bool = False
    """Whether it is only a conclusion from failures, which a second vantage can confirm to be real."""

    @property
    def until(self) -> float:
        """When it ends, unless its cause is seen again."""
        return self.seen_at + CALM[self.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What reviver holds against itself now; nothing, as a rule."""

    doubts: tuple[Doubt, ...] = ()
    confirmed: bool = False
    """Whether a second vantage confirms that the failures are real."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason, in the order of the words."""
        return tuple(doubt.reason for doubt in self.doubts)

    @property
    def until(self) -> float | None:
        """When it ends if nothing more is seen; ``None`` if there is none."""
        return max((doubt.until for doubt in self.doubts), default=None)

    @property
    def text(self) -> str:
        """All of it for operators; empty if there is none."""
        text = _joined(self.doubts)
        return f"{text}; the tie-break confirms that the failures are real" if self.confirmed else text

    def against(self, *, over_network: bool) -> str:
        """Why a service must not be recovered now; *over_network*: whether all that is known of it came over one."""
        return _joined(
            doubt
            for doubt in self.doubts
            if (over_network or doubt.reason in HOLDS_EVERYTHING) and not (self.confirmed and doubt.refutable)
        )


def suspect(before: Suspicion, seen: Iterable[Doubt], *, confirmed_at: float | None, now: float) -> Suspicion:
    """The suspicion after one more look, which found the causes *seen*; *confirmed_at*: the tie-break's last word."""
    doubts = {doubt.reason: doubt for doubt in before.doubts}
    for doubt in seen:
        if doubt.reason not in doubts or doubt.seen_at >= doubts[doubt.reason].seen_at:
            doubts[doubt.reason] = doubt
    held_on = tuple(doubts[reason] for reason in Reason if reason in doubts and now < doubts[reason].until)
    confirmed = confirmed_at is not None and now - confirmed_at <= CONFIRMED_FOR
    return Suspicion(doubts=held_on, confirmed=confirmed and any(doubt.refutable for doubt in held_on))


def crowd(standings: Iterable[Standing], *, share: float, now: float) -> Doubt | None:
    """
    Whether so much fails together that the observer is the likelier culprit.

    Counts hosts, not services, and only those other than this machine: what shares a host may well fail together. Below
    ``HOSTS_MIN`` hosts a share means nothing, and the answer is always no.
    """
    hosts: dict[str, bool] = {}
    for standing in standings:
        for host in standing.hosts:
            if not is_local(host):
                hosts[host] = hosts.get(host, True) and standing.failing
    failing = sum(hosts.values())
    if len(hosts) < HOSTS_MIN or failing < FAILING_MIN or failing < share * len(hosts):
        return None
    text = f"{failing} of {len(hosts)} unrelated hosts fail together: this host may be cut off"
    return Doubt(reason=Reason.CROWD, text=text, seen_at=now, refutable=True)


def late(seconds: float, *, at: float) -> Doubt:
    """The loop was *seconds* late."""
    return Doubt(reason=Reason.LAG, text=f"reviver itself was {seconds:.1f} s late", seen_at=at)


def suspended(seconds: float, *, at: float) -> Doubt:
    """The host was suspended for *seconds*, until *at*."""
    return Doubt(reason=Reason.SUSPENDED, text=f"this host was suspended for {seconds:.0f} s", seen_at=at)


def route_lost(*, now: float) -> Doubt:
    """There was a default route, and there is none."""
    return Doubt(reason=Reason.NETWORK, text="this host has lost its default route", seen_at=now)


def anchors_silent(count: int, *, now: float) -> Doubt:
    """None of the *count* anchors answers."""
    text = f"none of the {count} anchors answers: this host's network may be gone"
    return Doubt(reason=Reason.NETWORK, text=text, seen_at=now, refutable=True)


def is_local(host: str) -> bool:
    """Whether *host* is this machine for certain."""
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _joined(doubts: Iterable[Doubt]) -> str:
    return "; ".join(doubt.text for doubt in doubts)
