"""The scenarios, the tables and the verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from .detectors import CANDIDATES, FIXED, AdaptiveTimeout, Candidate, Core, Phi
from .estimate import LATE, MISSED, Budget, Figures, brute_force, figures
from .world import Kind, Scenario

HEAVY = 2.0
SCENARIOS = (
    Scenario(name="plain: 0.1 % loss"),
    Scenario(name="1 % loss", loss=0.01),
    Scenario(name="5 % loss", loss=0.05),
    Scenario(name="heavy tail", sigma=HEAVY),
    Scenario(name="living", drift=True, slow_factor=10, deploy_factor=4, stalls_per_year=1460),
    Scenario(
        name="living, heavy tail, 1 % loss",
        drift=True,
        slow_factor=10,
        deploy_factor=4,
        stalls_per_year=1460,
        sigma=HEAVY,
        loss=0.01,
    ),
    Scenario(name="overloaded each night", slow_factor=200),
    Scenario(name="few blips", blips_per_year=12),
    Scenario(name="long blips", blip_median=3.0, blip_sigma=1.288),
)
CHECKED = Scenario(
    name="check",
    loss=0.05,
    sigma=1.5,
    drift=True,
    slow_factor=10,
    blips_per_year=18_250,
    stalls_per_year=14_600,
)
"""Where everything is so frequent that the whole can be played as it is."""
CHECKS = (
    Candidate(name="1 failure", make=lambda: Core(fall=1, hold=0.0)),
    Candidate(name="2 in a row", make=lambda: Core(fall=2, hold=0.0)),
    Candidate(name="3 in a row", make=lambda: Core(fall=3, hold=0.0)),
    FIXED,
    Candidate(name="fixed: timeout 1 s, after 10 s", make=lambda: Core(timeout=1.0, hold=10.0)),
    Candidate(name="timeout learnt, 0.25 to 10 s", make=lambda: AdaptiveTimeout(0.25)),
    Candidate(name="phi 8, pause 0 s", make=lambda: Phi(8, 0)),
    Candidate(name="phi 8, pause 10 s", make=lambda: Phi(8, 10)),
)

Table = Mapping[str, Figures]
COLUMNS = (
    "detector | needless restarts a year | of these by noise | refuse: restart p50 / p99 | hang: restart p50 / p99 "
    "| hang: suspect p50 / p99 | slow: restart p50 / p99 | cost"
)
BEARABLE = 0.25  # seconds of delay that count as equal
FEW = 0.05  # needless restarts a year that count as equal


def row(name: str, found: Figures) -> str:
    refuse, hang, slow = (found.delays[kind] for kind in Kind)
    return (
        f"| {name} | {found.false.value:.3g} ± {found.false.error:.2g} | {found.noise.value:.2g} "
        f"| {refuse.quantile(0.5):.1f} / {refuse.quantile(0.99):.1f} | {hang.quantile(0.5):.1f} / "
        f"{hang.quantile(0.99):.1f} | {hang.quantile(0.5, suspected=True):.1f} / "
        f"{hang.quantile(0.99, suspected=True):.1f} | {slow.quantile(0.5):.0f} / {slow.quantile(0.99):.0f} "
        f"| {found.cost.value:.0f} ± {found.cost.error:.0f} |"
    )


def late(table: Table) -> str:
    """Which detectors acted late upon a refusal or a hang, or never upon any fault."""
    told = []
    for name, found in table.items():
        after = max(found.delays[kind].share_over(LATE) for kind in (Kind.REFUSE, Kind.HANG))
        never = max(delays.share_over(MISSED) for delays in found.delays.values())
        if after or never:
            told.append(f"{name} ({after:.2%} late, {never:.2%} never)")
    return f"Refusals and hangs acted upon after more than {LATE:g} s, or faults never: {', '.join(told) or 'none'}."


def as_json(found: Figures) -> dict[str, object]:
    told: dict[str, object] = {
        "needless_per_year": found.false.value,
        "needless_error": found.false.error,
        "by_noise": found.noise.value,
        "by_blips": found.blips.value,
        "by_stalls": found.stalls.value,
        "cost_seconds_per_year": found.cost.value,
        "cost_error": found.cost.error,
    }
    for kind, delays in found.delays.items():
        told[kind.value] = {
            "restart_p50": delays.quantile(0.5),
            "restart_p99": delays.quantile(0.99),
            "suspect_p50": delays.quantile(0.5, suspected=True),
            "suspect_p99": delays.quantile(0.99, suspected=True),
            "late": delays.share_over(LATE),
            "missed": delays.share_over(MISSED),
        }
    return told


def number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def matrix(tables: Mapping[str, Table], told: Callable[[Figures], str]) -> Iterator[str]:
    """One figure of each detector in each scenario."""
    yield f"| detector | {' | '.join(tables)} |"
    yield "|" + " --- |" * (len(tables) + 1)
    for name in next(iter(tables.values())):
        yield f"| {name} | {' | '.join(told(table[name]) for table in tables.values())} |"


# ------------------------------------------------------------------------------------------------------- the verdict


def losses(found: Figures) -> list[tuple[float, float]]:
    """What is better when smaller, each with what counts as equal."""
    told = [(found.false.value, FEW + found.false.error)]
    for kind in (Kind.REFUSE, Kind.HANG):
        told += [(found.delays[kind].quantile(share), BEARABLE) for share in (0.5, 0.99)]
    return told


def dominates(one: Figures, other: Figures) -> bool:
    """Whether *one* is nowhere worse than *other* and somewhere better, beyond what counts as equal."""
    both = zip(losses(one), losses(other), strict=True)
    pairs = [(a - b, max(equal, equal_too)) for (a, equal), (b, equal_too) in both]
    return all(worse <= equal for worse, equal in pairs) and any(worse < -equal for worse, equal in pairs)


def undominated(table: Table) -> list[str]:
    names = [name for name in table if not oracle(name)]
    return [name for name in names if not any(dominates(table[other], table[name]) for other in names)]


def oracle(name: str) -> bool:
    return any(candidate.name == name and candidate.sees_all for candidate in CANDIDATES)


def cheaper(one: Figures, other: Figures) -> int:
    """1: *one* costs less than *other*; -1: more; 0: within the error."""
    difference = other.cost.value - one.cost.value
    error = (one.cost.error**2 + other.cost.error**2) ** 0.5
    return 0 if abs(difference) <= error else 1 if difference > 0 else -1


def verdict(tables: Mapping[str, Table], candidates: Sequence[Candidate] = CANDIDATES) -> Iterator[str]:
    """Lines of Markdown: who is cheaper than the fixed default, and where."""
    yield "| detector | cheaper than the default in | dearer in | best | worst | mean cost |"
    yield "| --- | --- | --- | --- | --- | --- |"
    winners = []
    for candidate in candidates:
        pairs = [(table[candidate.name], table[FIXED.name]) for table in tables.values()]
        judged = [cheaper(own, default) for own, default in pairs]
        gains = [default.cost.value - own.cost.value for own, default in pairs]
        mean = sum(own.cost.value for own, _ in pairs) / len(pairs)
        better, worse = judged.count(1), judged.count(-1)
        yield f"| {candidate.name} | {better} | {worse} | {-max(gains):+.0f} | {-min(gains):+.0f} | {mean:.0f} |"
        if candidate.adaptive and better == len(tables):
            winners.append(candidate.name)
    yield ""
    yield "Not dominated in a scenario:"
    yield ""
    for name, table in tables.items():
        yield f"* {name}: {', '.join(undominated(table))}"
    yield ""
    if winners:
        yield f"**Cheaper than the fixed default in every scenario: {', '.join(winners)}.**"
    else:
        yield "**No adaptive detector is cheaper than the fixed default in every scenario: fixed stays.**"


def checks(budget: Budget, years: float) -> Iterator[str]:
    """The sum of the parts beside the year played as it is."""
    yield f"| rule | by parts, a year | played as it is, {years:g} years | restarts seen |"
    yield "| --- | --- | --- | --- |"
    for candidate in CHECKS:
        parts = figures(candidate, CHECKED, budget).false
        restarts = brute_force(candidate, CHECKED, years, budget)
        error = 1.96 * restarts**0.5
        yield (
            f"| {candidate.name} | {parts.value:,.0f} ± {parts.error:,.0f} "
            f"| {restarts / years:,.0f} ± {error / years:,.0f} | {restarts} |"
        )
