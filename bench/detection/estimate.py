"""
The figures of one candidate in one scenario.

Needless restarts are too rare to wait for, so the year is taken apart: what noise does alone is sampled with late
answers made frequent and weighed back (each excursion begins with a late answer, whose chance is computed); blips and
own stalls are sampled evenly over the logarithm of how rare they are. ``brute_force`` plays the year as it is, to check
the sum against.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from .detectors import DEFAULT, Candidate, Core, Detector
from .watch import watch
from .world import DAY, DEPLOYS_PER_YEAR, NORMAL, YEAR, Kind, Moment, Scenario, Trouble, World, chance_late

TILT = 0.85
RAREST = 6.0  # blips and stalls down to one in 10**RAREST
GOLDEN = 0.6180339887
STALL_MEDIAN, STALL_SIGMA = 0.3, math.log(10 / 0.3) / 2.326
DEPLOY_FELT_FOR = 5400.0  # seconds; 1,000 answers at the default interval are 5,000
LATE, MISSED = 60.0, 1800.0  # seconds after a fault's begin
USELESS = (
    2.0  # seconds; a degrading service counts as failed once its median is above: half of its answers are too late
)
NEEDLESS_COSTS = 30.0  # seconds of harm that a needless restart does; a late one does a second each second
FAULTS_PER_YEAR = {Kind.REFUSE: 6, Kind.HANG: 6}
LEARNERS = 6
NOISE_BLIPS = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    variance: float = 0.0

    @property
    def error(self) -> float:
        """Half of the 95 % interval."""
        return 1.96 * math.sqrt(self.variance)

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value + other.value, self.variance + other.variance)

    def times(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.variance * factor**2)


@dataclass(frozen=True, slots=True)
class Delays:
    """From the begin of a fault, in seconds."""

    acted: Sequence[float]
    suspected: Sequence[float]

    def quantile(self, share: float, *, suspected: bool = False) -> float:
        ordered = sorted(self.suspected if suspected else self.acted)
        return ordered[math.ceil(share * len(ordered)) - 1]

    def mean(self) -> Estimate:
        return Estimate(statistics.fmean(self.acted), statistics.variance(self.acted) / len(self.acted))

    def share_over(self, seconds: float) -> float:
        return sum(delay >= seconds for delay in self.acted) / len(self.acted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a candidate does in a scenario."""

    noise: Estimate
    blips: Estimate
    stalls: Estimate
    delays: dict[Kind, Delays] = field(default_factory=dict)

    @property
    def false(self) -> Estimate:
        """Needless restarts a year."""
        return self.noise + self.blips + self.stalls

    @property
    def cost(self) -> Estimate:
        """Seconds of harm a year."""
        cost = self.false.times(NEEDLESS_COSTS)
        for kind, number in FAULTS_PER_YEAR.items():
            cost += self.delays[kind].mean().times(number)
        return cost


@dataclass(frozen=True, slots=True)
class Prepared:
    """A detector that has lived until a moment of the year."""

    detector: Detector
    moment: Moment


Seeds = Callable[[str, int], Random]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much is simulated; every candidate is given the same dice."""

    trials: int = 300
    seed: int = 1

    def dice(self, scenario: Scenario, what: str, number: int) -> Random:
        return Random(f"{self.seed} {scenario.name} {what} {number}")


def figures(candidate: Candidate, scenario: Scenario, budget: Budget) -> Figures:
    holds = learnt_holds(candidate, scenario, budget)

    def at(moments: Iterable[Moment]) -> list[Prepared]:
        return [prepare(candidate, scenario, m, budget, holds[n % len(holds)], n) for n, m in enumerate(moments)]

    year = at(year_round(scenario, at_most=budget.trials))
    some = min(24, budget.trials)
    strata = [(1.0, [p for p in year if not in_slow_phase(scenario, p.moment)])]
    if scenario.slow_factor > 1:
        share = scenario.slow_for / DAY
        strata.append((share, at(Moment((n + 0.5) / some * scenario.slow_for) for n in range(some))))
    if scenario.deploy_factor > 1:
        share = DEPLOYS_PER_YEAR * DEPLOY_FELT_FOR / YEAR
        ages = ((n + 0.5) / some * DEPLOY_FELT_FOR for n in range(some))
        strata.append(
            (
                share,
                at(
                    Moment(scenario.slow_for + n / some * (DAY - scenario.slow_for), -age) for n, age in enumerate(ages)
                ),
            )
        )
    strata[0] = (1.0 - sum(share for share, _ in strata[1:]), strata[0][1])
    return Figures(
        noise=sum((noise(each, scenario, budget).times(share) for share, each in strata), Estimate(0.0)),
        blips=blips(year, scenario, budget),
        stalls=stalls(year, scenario, budget),
        delays={kind: delays(year, scenario, kind, budget) for kind in Kind},
    )


# --------------------------------------------------------------------------------------------- what was lived before


def year_round(scenario: Scenario, *, at_most: int) -> list[Moment]:
    """Moments that stand for the year, the slow phase among them by its share."""
    number = min(at_most, 72 if scenario.drift or scenario.slow_factor > 1 else 24)
    return [Moment((n + 0.5) / number * DAY) for n in range(number)]


def in_slow_phase(scenario: Scenario, moment: Moment) -> bool:
    return scenario.slow_factor > 1 and moment.of_day < scenario.slow_for


def prepare(
    candidate: Candidate, scenario: Scenario, moment: Moment, budget: Budget, hold: float | None, number: int
) -> Prepared:
    """The detector after the regular answers that it remembers."""
    detector = candidate.make() if hold is None else Core(hold=hold)
    if detector.remembers:
        world = World(scenario, budget.dice(scenario, f"past {moment}", number), moment=moment)
        for back in range(detector.remembers, 0, -1):
            at = -back * DEFAULT.interval
            latency = sum(world.draw(world.level(at)))
            within = latency <= detector.timeout
            detector.learn(latency if within else None, at + latency)
        detector.due = 0.0
    return Prepared(detector, moment)


def learnt_holds(candidate: Candidate, scenario: Scenario, budget: Budget) -> list[float | None]:
    """What `after` has become in some years of seeing blips; it sees none to its end that it ends by a restart."""
    if candidate.learns_hold is None:
        return [None]
    found: list[float | None] = []
    for year in range(LEARNERS):
        dice = budget.dice(scenario, "learning", year)
        hold, seen = 20.0, noise_blips(scenario, dice)
        for number in range(poisson(scenario.blips_per_year, dice)):
            length = blip_length(scenario, dice.random())
            moment = Moment(dice.random() * DAY)
            length_seen = seen_length(scenario, Core(hold=hold), moment, dice, length, to_the_end=candidate.sees_all)
            if length_seen:
                seen.append((length_seen, 1.0))
            if number % 10 == 9:
                hold = candidate.learns_hold(seen)
        found.append(candidate.learns_hold(seen))
    return found


def noise_blips(scenario: Scenario, dice: Random) -> list[tuple[float, float]]:
    """A year's failures of single answers, which look like short blips; each found stands for many."""
    found = []
    for _ in range(NOISE_BLIPS):
        moment = Moment(dice.random() * DAY)
        world = World(scenario, dice, moment=moment, tilt=0.0)
        late = chance_late(scenario, world.level(0.0), DEFAULT.timeout)
        seen = watch(Core(), world, until=600.0, calm_from=0.0)
        if seen.acted_at is None:
            found.append((seen.ended_at - seen.failing_from, YEAR / DEFAULT.interval * late / NOISE_BLIPS))
    return found


def seen_length(
    scenario: Scenario, detector: Detector, moment: Moment, dice: Random, length: float, *, to_the_end: bool
) -> float:
    """How long a blip is seen to last; 0 if it isn't seen, or is ended by a restart."""
    onset = dice.random() * DEFAULT.interval
    kind = Kind.HANG if dice.random() < 0.5 else Kind.REFUSE
    world = World(scenario, dice, moment=moment, troubles=[Trouble(kind, onset, onset + length)])
    seen = watch(detector, world, until=onset + length + 600, calm_from=onset + length, acts=not to_the_end)
    return seen.ended_at - seen.failing_from if seen.failed and seen.acted_at is None else 0.0


def poisson(mean: float, dice: Random) -> int:
    number, at = 0, dice.expovariate(1.0)
    while at < mean:
        number, at = number + 1, at + dice.expovariate(1.0)
    return number


def blip_length(scenario: Scenario, rarity: float) -> float:
    """The length that is exceeded with the chance *rarity*."""
    return lognormal(scenario.blip_median, scenario.blip_sigma, rarity)


def lognormal(median: float, sigma: float, rarity: float) -> float:
    return median * math.exp(-sigma * NORMAL.inv_cdf(min(1 - 1e-12, max(1e-12, rarity))))


# -------------------------------------------------------------------------------------------------- needless restarts


def noise(each: Sequence[Prepared], scenario: Scenario, budget: Budget) -> Estimate:
    """A year of nothing but healthy answers, some of them late."""
    found: list[float] = []
    per_moment = max(1, budget.trials // len(each))
    for number, prepared in enumerate(each):
        acted, lasted = [], []
        for trial in range(per_moment):
            dice = budget.dice(scenario, "noise", number * per_moment + trial)
            world = World(scenario, dice, moment=prepared.moment, tilt=TILT)
            seen = watch(prepared.detector.fork(), world, until=3600.0, calm_from=0.0)
            acted.append(world.weight if seen.acted_at is not None else 0.0)
            lasted.append(world.weight * seen.ended_at)
        cycle = DEFAULT.interval + statistics.fmean(lasted)
        found += [YEAR / cycle * weight for weight in acted]
    return Estimate(statistics.fmean(found), statistics.variance(found) / len(found))


def rare_events(
    trial: Callable[[int, float], bool], median: float, sigma: float, per_year: float, trials: int
) -> Estimate:
    """Events a year that *trial* is true of, given a number and a lognormal length."""
    found = []
    for number in range(trials):
        exponent = RAREST * (number + (number * GOLDEN) % 1) / trials
        weight = 10.0**-exponent * math.log(10) * RAREST
        found.append(weight * trial(number, lognormal(median, sigma, 10.0**-exponent)))
    pairs = zip(found[::2], found[1::2], strict=False)  # neighbours are alike: their difference is the error
    return Estimate(statistics.fmean(found), sum((a - b) ** 2 for a, b in pairs) / len(found) ** 2).times(per_year)


def blips(each: Sequence[Prepared], scenario: Scenario, budget: Budget) -> Estimate:
    def acts(number: int, length: float) -> bool:
        dice = budget.dice(scenario, "blip", number)
        prepared = dice.choice(each)
        onset = dice.random() * DEFAULT.interval
        kind = Kind.HANG if number // 2 % 2 else Kind.REFUSE
        world = World(scenario, dice, moment=prepared.moment, troubles=[Trouble(kind, onset, onset + length)])
        seen = watch(prepared.detector.fork(), world, until=onset + length + 600, calm_from=onset + length)
        return seen.acted_at is not None

    median, sigma = scenario.blip_median, scenario.blip_sigma
    return rare_events(acts, median, sigma, scenario.blips_per_year, 2 * budget.trials)


def stalls(each: Sequence[Prepared], scenario: Scenario, budget: Budget) -> Estimate:
    if not scenario.stalls_per_year:
        return Estimate(0.0)

    def acts(number: int, length: float) -> bool:
        dice = budget.dice(scenario, "stall", number)
        prepared = dice.choice(each)
        start = dice.random() * DEFAULT.interval
        world = World(scenario, dice, moment=prepared.moment, stalls=[(start, start + length)])
        seen = watch(prepared.detector.fork(), world, until=start + length + 600, calm_from=start + length)
        return seen.acted_at is not None

    return rare_events(acts, STALL_MEDIAN, STALL_SIGMA, scenario.stalls_per_year, budget.trials)


# -------------------------------------------------------------------------------------------------------- true faults


def delays(each: Sequence[Prepared], scenario: Scenario, kind: Kind, budget: Budget) -> Delays:
    acted, suspected = [], []
    for number in range(budget.trials):
        dice = budget.dice(scenario, kind.value, number)
        prepared = each[number % len(each)]
        onset = start = (number + dice.random()) / budget.trials * DEFAULT.interval
        if kind is Kind.SLOW:
            level = World(scenario, dice, moment=prepared.moment).level(0.0)
            onset += max(0.0, 60.0 * math.log2(USELESS / (scenario.median * level)))
        world = World(scenario, dice, moment=prepared.moment, troubles=[Trouble(kind, start, math.inf)])
        seen = watch(prepared.detector.fork(), world, until=onset + MISSED)
        acted.append(MISSED if seen.acted_at is None else seen.acted_at - onset)
        suspected.append(MISSED if seen.suspected_at is None else seen.suspected_at - onset)
    return Delays(acted, suspected)


# -------------------------------------------------------------------------------------------------------- brute force


def brute_force(candidate: Candidate, scenario: Scenario, years: float, budget: Budget) -> int:
    """Needless restarts in *years* played as they are; each also ends the blip or stall that it was for."""
    dice, until = budget.dice(scenario, "brute force", 0), years * YEAR
    detector = prepare(candidate, scenario, Moment(), budget, None, 0).detector
    troubles, stalled, at = [], [], 0.0
    while (at := at + dice.expovariate(scenario.blips_per_year / YEAR)) < until:
        kind = Kind.HANG if dice.random() < 0.5 else Kind.REFUSE
        troubles.append(Trouble(kind, at, at + blip_length(scenario, dice.random())))
        at = troubles[-1].end
    at = 0.0
    while scenario.stalls_per_year and (at := at + dice.expovariate(scenario.stalls_per_year / YEAR)) < until:
        stalled.append((at, at + lognormal(STALL_MEDIAN, STALL_SIGMA, dice.random())))
        at = stalled[-1][1]
    world, restarts = World(scenario, dice, troubles=troubles, stalls=stalled), 0
    while (acted_at := watch(detector, world, until=until).acted_at) is not None:
        restarts += 1
        world.cure(acted_at)
        detector.restarted(acted_at)
    return restarts
