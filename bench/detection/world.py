"""
The world that is watched: how long an answer takes, and what goes wrong. Times are seconds; 0 is a regular question.

A probe is a fresh TCP connection and one request. Each round trip may be lost and is sent again by Linux's timers; the
server's time is lognormal, around a level that drifts, jumps with a deploy and rises in the slow phase of the night.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from random import Random
from statistics import NormalDist

from reviver.model.faults import FaultKind

DAY = 86400.0
YEAR = 365 * DAY
SYN_AGAIN = (0.0, 1.0, 3.0, 7.0, 15.0)  # seconds until the SYN that gets through was sent, by the number lost before it
DATA_AGAIN = (0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6)  # the same for the request
DOUBLES_EVERY = 60.0  # seconds; how fast a service degrades that degrades slowly
LEVEL_MAX = 1e5
DEPLOYS_PER_YEAR = 4
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A service's year."""

    name: str
    loss: float = 0.001
    """Of packets, each way."""
    sigma: float = 1.0
    """Of the server time's logarithm; its median is `median`."""
    median: float = 0.005
    blips_per_year: float = 365.0
    """Outages that end by themselves, lognormal, half of them refusals and half hangs."""
    blip_median: float = 1.0
    blip_sigma: float = math.log(16) / 2.326  # p99 16 s
    drift: bool = False
    """Whether the level goes from half to double and back each day."""
    slow_factor: float = 1.0
    """Of the level in the slow phase that begins each day."""
    slow_for: float = 1200.0
    deploy_factor: float = 1.0
    """Of the level, for good, with each deploy."""
    stalls_per_year: float = 0.0
    """Times that reviver's own loop stands still: median 0.3 s, p99 10 s."""


class Kind(Enum):
    """What goes wrong with the service."""

    REFUSE = "refuse"
    HANG = "hang"  # accepts, and answers once it is over
    SLOW = "slow"  # its level doubles again and again


@dataclass(frozen=True, slots=True)
class Trouble:
    kind: Kind
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in the year the second 0 lies."""

    of_day: float = 0.0
    """Seconds since the slow phase began."""
    deployed_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Answer:
    fault: FaultKind | None
    at: float
    lag: float = 0.0


@lru_cache
def delays(loss: float) -> tuple[tuple[float, float], ...]:
    """Every delay by lost packets with its probability, likeliest first."""
    lost = 1 - (1 - loss) ** 2
    found = []
    for lost_syns, first in enumerate(SYN_AGAIN):
        for lost_requests, second in enumerate(DATA_AGAIN):
            chance = lost ** (lost_syns + lost_requests)
            chance *= 1.0 if lost_syns == len(SYN_AGAIN) - 1 else 1 - lost
            chance *= 1.0 if lost_requests == len(DATA_AGAIN) - 1 else 1 - lost
            found.append((chance, first + second))
    return tuple(sorted(found, reverse=True))


def tail(scenario: Scenario, level: float, delay: float, limit: float) -> float:
    """The chance that an answer with this *delay* takes longer than *limit*."""
    if limit <= delay:
        return 1.0
    z = math.log((limit - delay) / (scenario.median * level)) / scenario.sigma
    return 0.5 * math.erfc(z / math.sqrt(2))


@lru_cache(maxsize=100_000)
def chance_late(scenario: Scenario, level: float, limit: float) -> float:
    """The chance that a healthy answer takes longer than *limit*."""
    return sum(chance * tail(scenario, level, delay, limit) for chance, delay in delays(scenario.loss))


class World:
    """One service, from one moment of its year on."""

    def __init__(
        self,
        scenario: Scenario,
        random: Random,
        *,
        moment: Moment = Moment(),
        troubles: Sequence[Trouble] = (),
        stalls: Sequence[tuple[float, float]] = (),
        tilt: float | None = None,
    ) -> None:
        self.scenario = scenario
        self.random = random
        self.moment = moment
        self.troubles = troubles
        self.stalls = stalls
        self.tilt = tilt
        """Draw late answers with this chance instead of theirs, and keep account of it in `weight`."""
        self.weight = 1.0
        """How much likelier all that was drawn would have been without the tilt."""
        self.first_is_late = tilt is not None
        self._none_lost = delays(scenario.loss)[0][0]
        self._passed = self._stalls_passed = 0

    def level(self, at: float) -> float:
        scenario, level = self.scenario, 1.0
        of_day = (at + self.moment.of_day) % DAY
        if scenario.drift:
            level = 2.0 ** math.sin(2 * math.pi * of_day / DAY)
        if of_day < scenario.slow_for:
            level *= scenario.slow_factor
        if at >= self.moment.deployed_at:
            level *= scenario.deploy_factor
        return level

    def awake(self, at: float) -> float:
        """*at*, or the end of our own stall."""
        stall = self._stall(at)
        return max(at, stall[1]) if stall is not None and stall[0] <= at else at

    def ask(self, at: float, *, timeout: float, matters_after: float) -> Answer:
        """The answer to a question; whether it takes longer than *matters_after* is what may be tilted."""
        trouble, level = self._trouble(at), self.level(at)
        if trouble is not None and trouble.kind is Kind.SLOW and at >= trouble.start:
            level = min(LEVEL_MAX, level * 2 ** ((at - trouble.start) / DOUBLES_EVERY))
        if self.tilt is None or (trouble is not None and at >= trouble.start):
            delay, takes = self.draw(level)
        else:
            delay, takes = self._tilted(level, min(timeout, matters_after), self.tilt)
        fault, ends = None, at + delay + takes
        if trouble is not None and trouble.start <= at + delay < trouble.end:
            if trouble.kind is Kind.REFUSE:
                fault, ends = FaultKind.UNREACHABLE, at + delay
            elif trouble.kind is Kind.HANG:
                ends = trouble.end + takes
        if ends > at + timeout:
            fault, ends = FaultKind.TIMEOUT, at + timeout
        return self._through_stall(at, Answer(fault, ends), timeout)

    def _through_stall(self, at: float, answer: Answer, timeout: float) -> Answer:
        """A loop that stands still sees its own deadline pass, whatever has come in."""
        stall = self._stall(at)
        if stall is None or stall[0] >= answer.at:
            return answer
        start, end = stall
        if at + timeout <= end:
            return Answer(FaultKind.TIMEOUT, end, end - start)
        return Answer(answer.fault, max(answer.at, end), end - start)

    def _trouble(self, at: float) -> Trouble | None:
        """The trouble that is, or comes next."""
        while self._passed < len(self.troubles) and self.troubles[self._passed].end <= at:
            self._passed += 1
        return self.troubles[self._passed] if self._passed < len(self.troubles) else None

    def _stall(self, at: float) -> tuple[float, float] | None:
        while self._stalls_passed < len(self.stalls) and self.stalls[self._stalls_passed][1] <= at:
            self._stalls_passed += 1
        return self.stalls[self._stalls_passed] if self._stalls_passed < len(self.stalls) else None

    def cure(self, at: float) -> None:
        """End what is wrong."""
        trouble, stall = self._trouble(at), self._stall(at)
        self._passed += trouble is not None and trouble.start <= at
        self._stalls_passed += stall is not None and stall[0] <= at

    # ------------------------------------------------------------------------------------------------- drawing

    def draw(self, level: float) -> tuple[float, float]:
        """The delay by lost packets, and the server's time."""
        scenario = self.scenario
        takes = scenario.median * level * math.exp(scenario.sigma * self.random.gauss(0.0, 1.0))
        left = self.random.random() - self._none_lost
        if left < 0:
            return 0.0, takes
        for chance, delay in delays(scenario.loss)[1:]:
            left -= chance
            if left < 0:
                return delay, takes
        return 0.0, takes

    def _tilted(self, level: float, limit: float, tilt: float) -> tuple[float, float]:
        late = chance_late(self.scenario, level, limit)
        drawn_late = 1.0 if self.first_is_late else max(tilt, late)
        self.first_is_late = False
        if self.random.random() < drawn_late:
            self.weight *= late / drawn_late
            return self.draw_late(level, limit, late)
        self.weight *= (1 - late) / (1 - drawn_late)
        return self.draw_within(level, limit)

    def draw_within(self, level: float, limit: float) -> tuple[float, float]:
        while True:
            delay, takes = self.draw(level)
            if delay + takes <= limit:
                return delay, takes

    def draw_late(self, level: float, limit: float, late: float) -> tuple[float, float]:
        left = self.random.random() * late
        for chance, delay in delays(self.scenario.loss):
            beyond = tail(self.scenario, level, delay, limit)
            left -= chance * beyond
            if left < 0:
                break
        z = (
            -NORMAL.inv_cdf(max(1e-300, beyond * self.random.random()))
            if limit > delay
            else self.random.gauss(0.0, 1.0)
        )
        return delay, self.scenario.median * level * math.exp(self.scenario.sigma * z)
