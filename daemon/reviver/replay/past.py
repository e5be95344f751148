"""
What each service would have answered at any recorded moment.

Runs of alike answers become stretches of time. A change lies halfway between the last answer before it and the first
after it, for nobody saw it happen; unless an event told of it. Where nobody looked, there is no answer.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reviver.incidents.history import HEALTHY, UNKNOWN, VOID, Begun
from reviver.model.faults import Fault, FaultKind
from reviver.model.journal import Record

MESSAGE_LOST = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Alike answers in a row, as the history has them; times are seconds on the replay's axis."""

    service: str
    answer: str
    certain: bool
    begun: Begun
    woken: bool
    since: float
    until: float
    latency: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which a service would have given one answer."""

    since: float
    until: float
    fault: Fault | None
    unknown: str | None
    void: bool
    """Whether reviver itself was late, so that nothing is known."""
    latency: float
    woken: bool
    """Whether an event told of its beginning."""
    begun: Begun
    life: int
    """Counts the daemon's lives, and this service's times in its settings."""

    @property
    def healthy(self) -> bool:
        """Whether the service was well."""
        return self.fault is None and self.unknown is None and not self.void


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which nobody looked at a service."""

    service: str
    since: float
    until: float
    why: Begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A service failed, from the first failure on until it was seen to be well."""

    service: str
    since: float
    until: float | None
    """``None``: nobody saw its end."""
    fault: FaultKind
    unseen: bool = False
    """Whether it ended while nobody looked."""

    def contains(self, moment: float) -> bool:
        """Whether it was under way at *moment*."""
        return self.since <= moment and (self.until is None or moment <= self.until)


class Truth:
    """One service's past."""

    def __init__(self, service: str, runs: Sequence[Run]) -> None:
        self.service = service
        self.stretches = _stretches(runs)
        self._starts = [stretch.since for stretch in self.stretches]

    def at(self, moment: float) -> Stretch | None:
        """The stretch that *moment* lies in; ``None`` if nobody looked then."""
        place = bisect_right(self._starts, moment) - 1
        if place < 0 or moment > self.stretches[place].until:
            return None
        return self.stretches[place]

    def after(self, moment: float) -> Stretch | None:
        """The first stretch that begins after *moment*."""
        place = bisect_right(self._starts, moment)
        return self.stretches[place] if place < len(self.stretches) else None

    def gaps(self) -> list[Gap]:
        """When nobody looked, between its first answer and its last."""
        return [
            Gap(service=self.service, since=before.until, until=after.since, why=after.begun)
            for before, after in zip(self.stretches, self.stretches[1:], strict=False)
            if after.begun is not Begun.CHANGE
        ]

    def outages(self) -> list[Outage]:
        """When it failed."""
        found: list[Outage] = []
        since: float | None = None
        kind = FaultKind.UNREACHABLE
        for stretch in self.stretches:
            if stretch.fault is not None and since is None:
                since, kind = stretch.since, stretch.fault.kind
            elif stretch.healthy and since is not None:
                unseen = stretch.begun is not Begun.CHANGE
                found.append(Outage(service=self.service, since=since, until=stretch.since, fault=kind, unseen=unseen))
                since = None
        if since is not None:
            found.append(Outage(service=self.service, since=since, until=None, fault=kind))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person ordered: hands off one service (or, empty, all of them) from a moment on, or that this is over."""

    service: str
    at: float
    hands_off: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """All that is recorded of a time."""

    since: float
    until: float
    truths: dict[str, Truth]
    records: Sequence[Record]
    """What its journal says of the incidents that were opened in it."""
    orders: Sequence[Order]


def _stretches(runs: Iterable[Run]) -> list[Stretch]:
    found: list[Stretch] = []
    since_at_least, life = float("-inf"), 0
    ordered = list(runs)
    for run, following in zip(ordered, [*ordered[1:], None], strict=True):
        since = max(run.since, since_at_least)
        until = max(run.until, since)
        if found and run.begun is Begun.CHANGE:
            since = found[-1].until
        if following is not None and following.begun is Begun.CHANGE:
            until = max(since, following.since if following.woken else (run.until + following.since) / 2)
        since_at_least = until
        life += run.begun is Begun.START
        found.append(_stretch(run, since, until, life))
    return found


def _stretch(run: Run, since: float, until: float, life: int) -> Stretch:
    fault: Fault | None = None
    unknown: str | None = None
    if run.answer == UNKNOWN:
        unknown = run.message or MESSAGE_LOST
    elif run.answer not in {HEALTHY, VOID}:
        try:
            kind = FaultKind(run.answer)
            fault = Fault(kind=kind, message=run.message or MESSAGE_LOST, certain=run.certain)
        except ValueError:  # a fault that this version does not know
            unknown = f"{run.answer}: {run.message}"
    return Stretch(
        since=since,
        until=until,
        fault=fault,
        unknown=unknown,
        void=run.answer == VOID,
        latency=run.latency,
        woken=run.woken,
        begun=run.begun,
        life=life,
    )
