"""What a seed sets up: which services there are, what hangs on what, and how each is to be kept alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from reviver.model.actions import Effect
from reviver.model.checks import Check
from reviver.model.faults import FaultKind
from reviver.model.services import (
    Backoff,
    Budget,
    Criticality,
    DaemonPolicy,
    Flapping,
    Jitter,
    Mode,
    Service,
    Step,
    Strategy,
    Verification,
)

from .things import Asking, Deed, Proof, Thing

T = TypeVar("T")

KINDS = (
    FaultKind.UNREACHABLE,
    FaultKind.TIMEOUT,
    FaultKind.BAD_STATUS,
    FaultKind.DATABASE_MISSING,
    FaultKind.STARTING_UP,
    FaultKind.DEPENDENCY_REPORTED_DOWN,
)
"""What things fall ill with; a ladder answers some of them."""

NAMES = ("db", "cache", "queue", "api", "web", "mail", "search", "shop")


def spread(random: Random, low: float, high: float) -> float:
    """From *low* to *high*, each order of magnitude as likely as another; not too exact, for people to read."""
    return float(f"{low * (high / low) ** random.random():.3g}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a seed sets up. Everything else follows from it, and from the story."""

    seed: int
    names: tuple[str, ...]
    needs: dict[str, tuple[str, ...]]
    """Declared dependencies."""
    hard: dict[str, tuple[str, ...]]
    """Those of them without which the service fails, too."""
    hosts: dict[str, str]
    between: float
    """Mean seconds between two episodes."""
    off: frozenset[str]
    """Names of happenings and outcomes that this seed does without."""
    lag_every: float
    """Seconds between the looks of the daemon's own lag meter."""


def plan_of(seed: int, kinds: list[str]) -> Plan:
    """The plan of *seed*; *kinds*: all that may be switched off."""
    random = Random(f"{seed}/plan")
    names = NAMES[: random.choice([1, 2, 3, 3, 4, 4, 5, 6, 8])]
    crowd = len(names) >= 6
    needs: dict[str, tuple[str, ...]] = {}
    for number, name in enumerate(names):
        few = random.choice([0, 0, 0, 1] if crowd else [0, 1, 1, 2])
        needs[name] = tuple(sorted(random.sample(names[:number], min(few, number)), key=names.index))
    shared = random.random() < 0.3
    return Plan(
        seed=seed,
        names=names,
        needs=needs,
        hard={name: tuple(each for each in needs[name] if random.random() < 0.6) for name in names},
        hosts={name: "localhost" if shared else f"{name}.example" for name in names},
        between=spread(random, 600.0, 86400.0) if random.random() < 0.25 else random.uniform(1.0, 60.0) * 86400.0,
        off=frozenset(random.sample(kinds, len(kinds) // 2)),
        lag_every=0.1 if random.random() < 0.05 else 2.0,
    )


@dataclass
class Catalogue:
    """The settings in every variant; the same object each time, for the daemon compares them."""

    plan: Plan
    things: dict[str, Thing]
    deed: Callable[..., Deed]
    vantage: Check
    _services: dict[tuple[str, int], Service] = field(default_factory=dict)

    def service(self, name: str, variant: int) -> Service:
        """The settings of *name*; another *variant* for another state of the settings' file."""
        if (name, variant) not in self._services:
            self._services[name, variant] = self._drawn(name, variant)
        return self._services[name, variant]

    def policy(self, variant: int) -> DaemonPolicy:
        """The daemon's own settings."""
        random = Random(f"{self.plan.seed}/policy/{variant}")
        modes = [Mode.AUTO] * 8 + [Mode.APPROVE, Mode.OBSERVE]
        return DaemonPolicy(
            mode=random.choice(modes),
            at_once=random.choice([1, 1, 1, 2, 3]),
            budget=Budget(attempts=random.randrange(2, 9), per=spread(random, 60, 7200)),
            evidence_within=random.choice([0.5, 3.0]),
            approval_within=spread(random, 20.0, 900.0),
            suspect_share=random.choice([0.3, 0.3, 0.5]),
            anchors=random.choice([(), (), ("192.0.2.1:53",)]),
            tie_break=random.choice([None, None, Verification(kind="vantage", check=self.vantage, timeout=1.0)]),
        )

    def _drawn(self, name: str, variant: int) -> Service:
        random, plan = Random(f"{self.plan.seed}/{name}/{variant}"), self.plan
        interval = spread(random, 1.0, 60.0)
        rungs = random.choice([0, 1, 1, 2, 2, 3])
        return Service(
            name=name,
            kind="thing",
            check=Asking(thing=self.things[name], variant=variant // 2),
            interval=interval,
            timeout=spread(random, 0.5, 5.0),
            confirm=spread(random, 0.5, 3.0),
            fall=random.randrange(2, 6) if random.random() < 0.3 else 4,
            rise=random.randrange(1, 5),
            fresh_every=spread(random, 5.0, 120.0),
            stable=spread(random, 10.0, 3600.0),
            depends_on=plan.needs[name],
            criticality=random.choice(list(Criticality)),
            strategies=tuple(self._rung(random, name, number, rungs) for number in range(rungs)),
            budgets=_budgets(random),
            cooldown=spread(random, 1.0, 120.0),
            flapping=Flapping(falls=random.randrange(2, 6), within=spread(random, 60.0, 7200.0)),
            retry_after=spread(random, 30.0, 3600.0) if random.random() < 0.4 else None,
            patience=spread(random, 20.0, 600.0),
        )

    def _rung(self, random: Random, name: str, number: int, rungs: int) -> Strategy:
        thing = self.things[name]
        strategy = f"rung{number}"
        effects = [Effect.IDEMPOTENT] * 3 + [Effect.REVERSIBLE] * 2 + [Effect.DESTRUCTIVE] * (1 + number)
        takes = [spread(random, 0.1, 8.0) for _ in range(random.choice([1, 1, 1, 2, 3]))]
        steps = tuple(
            Step(
                kind=f"deed.{number}.{step}",
                action=self.deed(
                    thing=thing,
                    strategy=strategy,
                    rung=number,
                    step=step,
                    effect=random.choice(effects),
                    takes=seconds,
                    notes=random.random() < 0.4,
                ),
                timeout=seconds + spread(random, 1.0, 20.0),
            )
            for step, seconds in enumerate(takes)
        )
        verify = (Verification(kind="proof", check=Proof(thing=thing), timeout=1.0),) if random.random() < 0.3 else ()
        return Strategy(
            name=strategy,
            faults=frozenset({FaultKind.UNREACHABLE, *random.sample(KINDS, random.randrange(1, len(KINDS) + 1))}),
            steps=steps,
            after=random.choice([None, 0.0, 0.0, spread(random, 1.0, 120.0)]),
            attempts=random.randrange(1, 6),
            backoff=Backoff(
                initial=spread(random, 1.0, 300.0),
                factor=random.choice([1.0, 2.0, 3.0]),
                max=spread(random, 30.0, 600.0),
                jitter=random.choice(list(Jitter)),
            ),
            budgets=_budgets(random),
            mode=random.choice([Mode.AUTO] * 6 + [Mode.APPROVE, Mode.OBSERVE]),
            verify=verify,
            verify_within=spread(random, 2.0, 30.0),
        )


def _budgets(random: Random) -> tuple[Budget, ...]:
    few = random.choice([0, 1, 1, 2])
    return tuple(Budget(attempts=random.randrange(1, 8), per=spread(random, 300.0, 86400.0)) for _ in range(few))
