"""
Who watches: reviver's own core with fixed settings, the core with settings that learn, and a phi-accrual detector.

All are asked in the same way by ``watch``: when the next question is due, how long it may take, and from when on they
would act if they heard nothing more.
"""

import copy
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from reviver.actions.systemd import Restart
from reviver.checks.tcp import Tcp
from reviver.core.decide import ABORTED_PAUSE
from reviver.core.health import Belief, Sample, judge, pause_until_next, void
from reviver.core.ladder import Climb, Ladder, WaitUntil, next_move
from reviver.model.checks import CheckResult
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.services import Service, Step, Strategy

from .world import NORMAL, YEAR, Answer

RESTART = Strategy(
    name="restart",
    faults=frozenset({FaultKind.UNREACHABLE, FaultKind.TIMEOUT}),
    steps=(Step(kind="systemd.restart", action=Restart(unit="it.service"), timeout=Restart.default_timeout),),
)
DEFAULT = Service(name="it", kind="tcp", check=Tcp(address="localhost:1"), strategies=(RESTART,))
"""A service with every setting at its default."""

WELL = CheckResult(latency=0.0)
ILL = {kind: CheckResult(latency=0.0, fault=Fault(kind=kind, message=kind)) for kind in RESTART.faults}


def sample(asked_at: float, answer: Answer) -> Sample:
    result = WELL if answer.fault is None else ILL[answer.fault]
    return Sample(result=result, asked_at=asked_at, answered_at=answer.at, lag=answer.lag)


class Detector(Protocol):
    """Whoever asks a service and decides when to restart it."""

    due: float
    """When the next question is asked."""
    acts_at: float
    """When it would act if it heard nothing more."""
    suspect_at: float
    """When it would show the service as suspect if it heard nothing more."""

    @property
    def remembers(self) -> int:
        """Regular answers that its state depends on."""

    @property
    def timeout(self) -> float:
        """Of the next question."""

    @property
    def symptom_at(self) -> float:
        """When it last saw a failure."""

    @property
    def calm(self) -> bool:
        """Whether nothing is left of an earlier failure."""

    def hear(self, heard: Sample) -> None: ...

    def look_failed_to_tell(self, now: float) -> None:
        """The last look before acting was void."""

    def learn(self, latency: float | None, at: float) -> None:
        """One regular answer of the past, or ``None`` for a failure."""

    def restarted(self, now: float) -> None:
        """The service was restarted and is well."""

    def fork(self) -> Self: ...


class Core:
    """reviver's own core with its settings as they are."""

    remembers = 0
    belief: Belief

    def __init__(self, *, hold: float | None = None, **settings: float) -> None:
        strategies = (replace(RESTART, after=hold),)
        self.service = replace(DEFAULT, strategies=strategies, **settings)  # type: ignore[arg-type]  # all numbers
        self.restarted(-self.service.interval)

    @property
    def timeout(self) -> float:
        return self.service.timeout

    @property
    def calm(self) -> bool:
        return self.belief.health is Health.UP

    @property
    def symptom_at(self) -> float:
        return self.belief.fault_at

    def hear(self, heard: Sample) -> None:
        self.adapt(heard)
        self.belief = judge(self.belief, heard, self.service)
        self.due = self._next_question(heard.answered_at)
        self.acts_at = self._would_act(heard.answered_at)
        self.suspect_at = math.inf if self.calm else self.belief.since

    def adapt(self, heard: Sample) -> None:
        """Learn from the answer; what doesn't adapt doesn't."""

    def look_failed_to_tell(self, now: float) -> None:
        self.ladder = Ladder(not_before=now + ABORTED_PAUSE)
        self.acts_at = self._would_act(now)

    def restarted(self, now: float) -> None:
        self.belief = Belief(health=Health.UP, since=now, passes_in_row=self.service.rise)
        self.ladder = Ladder()
        self.due = on_grid(now, self.service.interval)
        self.acts_at = self.suspect_at = math.inf

    def learn(self, latency: float | None, at: float) -> None: ...

    def fork(self) -> Self:
        return copy.copy(self)

    def _next_question(self, now: float) -> float:
        """As the supervisor puts it: after the core's pause, or on the regular grid."""
        pause = pause_until_next(self.belief, self.service)
        return on_grid(now, self.service.interval) if pause >= self.service.interval else now + pause

    def _would_act(self, now: float) -> float:
        belief = self.belief
        if belief.health is not Health.DOWN or belief.fault is None:
            return math.inf
        move = next_move(self.service, self.ladder, belief, belief.fault, now=now)
        return now if isinstance(move, Climb) else move.at if isinstance(move, WaitUntil) else math.inf


def on_grid(now: float, interval: float) -> float:
    return (now // interval + 1) * interval


class Window:
    """The latest latencies in order of size."""

    def __init__(self, size: int) -> None:
        self._latest: deque[float] = deque(maxlen=size)
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        if len(self._latest) == self._latest.maxlen:
            del self._sorted[bisect_left(self._sorted, self._latest[0])]
        self._latest.append(value)
        insort(self._sorted, value)

    def quantile(self, share: float) -> float:
        return self._sorted[math.ceil(share * len(self._sorted)) - 1]

    def __len__(self) -> int:
        return len(self._sorted)

    def copy(self) -> "Window":
        other = copy.copy(self)
        other._latest, other._sorted = self._latest.copy(), self._sorted.copy()  # noqa: SLF001
        return other


class AdaptiveTimeout(Core):
    """The timeout is three times the p99.9 of the last 1,000 successes, between two bounds."""

    remembers = 1200

    def __init__(self, least: float, most: float = 10.0) -> None:
        super().__init__()
        self._least, self._most = least, most
        self.window = Window(1000)

    def adapt(self, heard: Sample) -> None:
        if heard.result.healthy:
            self.learn(heard.answered_at - heard.asked_at, heard.answered_at)

    def learn(self, latency: float | None, at: float) -> None:  # noqa: ARG002
        if latency is None:
            return
        self.window.add(latency)
        timeout = min(self._most, max(self._least, 3 * self.window.quantile(0.999)))
        if len(self.window) >= 100 and timeout != self.service.timeout:
            self.service = replace(self.service, timeout=timeout)

    def fork(self) -> Self:
        other = copy.copy(self)
        other.window = self.window.copy()
        return other


class AdaptiveFall(Core):
    """The fewest failures in a row that noise makes less than once in ten years, by the share of lone failures."""

    remembers = 5_000

    def __init__(self) -> None:
        super().__init__()
        self.failed: deque[bool] = deque(maxlen=self.remembers)
        self._failures = 0

    def adapt(self, heard: Sample) -> None:
        if heard.result.healthy or self.belief.failures_in_row == 0:  # the first of a row is what noise would be
            self.learn(None if heard.result.fault else 0.0, heard.answered_at)

    def learn(self, latency: float | None, at: float) -> None:  # noqa: ARG002
        if len(self.failed) == self.failed.maxlen:
            self._failures -= self.failed[0]
        self.failed.append(latency is None)
        self._failures += latency is None
        if len(self.failed) >= 1000:
            share = (self._failures + 1) / (len(self.failed) + 1)
            fall = math.ceil(math.log(0.1 * DEFAULT.interval / YEAR) / math.log(share)) if share < 1 else 8
            if (fall := min(8, max(2, fall))) != self.service.fall:
                self.service = replace(self.service, fall=fall)

    def fork(self) -> Self:
        other = copy.copy(self)
        other.failed = self.failed.copy()
        return other


class Phi:
    """
    Phi-accrual: suspicion grows with the time since the last success, by the normal distribution of earlier gaps.

    As a guest in reviver it looks again before it acts, and forgets the time that reviver itself was late.
    """

    remembers = 1000
    least_deviation = 0.1  # seconds, as in Akka

    def __init__(self, threshold: float, pause: float) -> None:
        self.timeout = DEFAULT.interval
        self.pause = pause
        self.restarted(-DEFAULT.interval)
        self._deviations = -NORMAL.inv_cdf(10.0**-threshold)
        self._deviations_suspect = -NORMAL.inv_cdf(10.0 ** -(threshold / 2))
        self.gaps: deque[float] = deque(maxlen=1000)
        self._sum = self._squares = 0.0

    def restarted(self, now: float) -> None:
        self.due, self.symptom_at, self.calm = on_grid(now, DEFAULT.interval), -math.inf, True
        self.acts_at = self.suspect_at = math.inf
        self._last: float | None = None

    def hear(self, heard: Sample) -> None:
        self.due = on_grid(heard.answered_at, DEFAULT.interval)
        if void(heard, timeout=self.timeout):
            if self._last is not None:
                self._last += heard.lag
        elif heard.result.healthy:
            self.learn(0.0, heard.answered_at)
            self.calm = True
        else:
            self.symptom_at, self.calm = heard.answered_at, False
        self._expect()

    def look_failed_to_tell(self, now: float) -> None:
        self.acts_at = now + ABORTED_PAUSE

    def learn(self, latency: float | None, at: float) -> None:
        if latency is None:
            return
        if self._last is not None:
            if len(self.gaps) == self.gaps.maxlen:
                self._sum -= self.gaps[0]
                self._squares -= self.gaps[0] ** 2
            gap = at - self._last
            self.gaps.append(gap)
            self._sum += gap
            self._squares += gap**2
        self._last = at
        self._expect()

    def _expect(self) -> None:
        if self._last is None or len(self.gaps) < 10:
            return
        mean = self._sum / len(self.gaps)
        deviation = max(self.least_deviation, math.sqrt(max(0.0, self._squares / len(self.gaps) - mean**2)))
        self.acts_at = self._last + mean + self.pause + self._deviations * deviation
        self.suspect_at = self._last + mean + self.pause + self._deviations_suspect * deviation

    def fork(self) -> Self:
        other = copy.copy(self)
        other.gaps = self.gaps.copy()
        return other


# ------------------------------------------------------------------------------------ a hold that is learnt from blips

Blips = list[tuple[float, float]]
"""Lengths as seen, with their number in a year."""
HoldRule = Callable[[Blips], float]


def longest_but_few(blips: Blips) -> float:
    """The p99.9 of the blips seen, from 10 to 60 s."""
    left = 0.001 * sum(number for _, number in blips)
    for length, number in sorted(blips, reverse=True):
        left -= number
        if left < 0:
            return min(60.0, max(10.0, length))
    return 20.0


def cheapest(blips: Blips, *, needless: float = 30.0, faults: float = 12.0) -> float:
    """The hold, from 5 to 60 s, that would have cost least: seconds of needless restarts and of waiting."""
    holds = [float(hold) for hold in range(5, 61)]
    return min(holds, key=lambda hold: needless * sum(n for length, n in blips if length > hold) + faults * hold)


# ------------------------------------------------------------------------------------------------------ the candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One row of the comparison."""

    name: str
    make: Callable[[], Detector] = Core
    adaptive: bool = False
    learns_hold: HoldRule | None = None
    sees_all: bool = False
    """Whether it is told how long an outage would have lasted that it has ended by a restart: nobody can know."""


FIXED = Candidate(name="fixed: the defaults")
CANDIDATES = (
    FIXED,
    Candidate(name="fixed: timeout 1 s", make=lambda: Core(timeout=1.0)),
    Candidate(name="fixed: timeout 3.5 s", make=lambda: Core(timeout=3.5)),
    Candidate(name="fixed: after 10 s", make=lambda: Core(hold=10.0)),
    Candidate(name="fixed: after 15 s", make=lambda: Core(hold=15.0)),
    Candidate(name="fixed: after 45 s", make=lambda: Core(hold=45.0)),
    Candidate(name="timeout learnt, 2 to 10 s", make=lambda: AdaptiveTimeout(2.0), adaptive=True),
    Candidate(name="timeout learnt, 0.25 to 10 s", make=lambda: AdaptiveTimeout(0.25), adaptive=True),
    Candidate(name="fall learnt, 2 to 8", make=AdaptiveFall, adaptive=True),
    Candidate(name="after learnt: p99.9 of blips", adaptive=True, learns_hold=longest_but_few),
    Candidate(name="after learnt: least cost", adaptive=True, learns_hold=cheapest),
    Candidate(name="after by an oracle: least cost", learns_hold=cheapest, sees_all=True),
    *(
        Candidate(
            name=f"phi {threshold}, pause {pause} s",
            make=lambda threshold=threshold, pause=pause: Phi(threshold, pause),  # type: ignore[misc]
            adaptive=True,
        )
        for threshold in (8, 12)
        for pause in (0, 3, 10)
    ),
)
