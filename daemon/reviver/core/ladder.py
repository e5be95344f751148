"""
Which strategy comes next, and when: the ladder of a service, gentlest first.

A rung answers some faults, has a number of attempts, pauses between them, and waits until the fault has lasted long
enough for what it costs. The next rung follows when one is exhausted; after the last, people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reviver.model.actions import Effect
from reviver.model.faults import WAIT_FOR_IT, Fault, FaultKind
from reviver.model.services import Service, Strategy
from reviver.model.units import format_duration

from .health import Belief, streak

CERTAIN_AFTER = 2.0  # seconds that a certain fault must have lasted, unless the settings say
DESTRUCTIVE_AFTER = 150.0  # the same for a destructive step (safety: model optimum for a restore)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """How far the ladder has been climbed in an incident."""

    attempts: tuple[tuple[str, int], ...] = ()
    """Attempts made, by the strategy's name."""
    not_before: float = float("-inf")
    """Backoff or cool-down: no attempt before this moment."""
    given_up: frozenset[str] = frozenset()
    """Strategies that are passed over in this incident: denied, their budget spent, or no help to what flaps."""

    def made(self, strategy: str) -> int:
        """How many attempts of *strategy* were made."""
        return dict(self.attempts).get(strategy, 0)

    def counted(self, strategy: str, *, by: int = 1) -> "Ladder":
        """The ladder after *by* more attempts of *strategy*."""
        made = dict(self.attempts)
        made[strategy] = made.get(strategy, 0) + by
        return replace(self, attempts=tuple(made.items()))

    def over(self, strategy: Strategy) -> bool:
        """Whether *strategy* has nothing more to offer."""
        return strategy.name in self.given_up or self.made(strategy.name) >= strategy.attempts


@dataclass(frozen=True, slots=True)
class Climb:
    """The strategy whose turn it is, now."""

    strategy: Strategy
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing before this moment."""

    at: float
    why: str
    strategy: str = field(default="", compare=False)
    """The strategy that waits, if one does."""


@dataclass(frozen=True, slots=True)
class Confirming:
    """The fault has not been seen often enough in a row to act upon it."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """The ladder has nothing (more) to offer for this fault."""

    reason: str


Move = Climb | WaitUntil | Confirming | HandOver


def after(strategy: Strategy, *, certain: bool) -> float:
    """
    Seconds that a fault must have lasted before *strategy* may act.

    What the settings say is obeyed. Otherwise it follows the cost of the dearest step, for most outages that end by
    themselves are short; certain evidence shortens it, except for what can't be brought back.
    """
    if strategy.after is not None:
        return strategy.after
    dearest = max((step.action.default_after for step in strategy.steps), default=0.0)
    if any(step.action.effect is Effect.DESTRUCTIVE for step in strategy.steps):
        return max(dearest, DESTRUCTIVE_AFTER)
    return min(dearest, CERTAIN_AFTER) if certain else dearest


def answering(service: Service, fault: Fault) -> Sequence[Strategy]:
    """The rungs of *service* that answer *fault*, gentlest first."""
    return [strategy for strategy in service.strategies if fault.kind in strategy.faults]


def next_move(service: Service, ladder: Ladder, belief: Belief, fault: Fault, *, now: float) -> Move:
    """
    What the ladder offers for *fault*.

    A rung is ready once it has been confirmed by ``fall`` failures in a row that it answers, and these have lasted for
    its ``after``: an odd answer among others moves nothing.
    """
    rungs = answering(service, fault)
    if not rungs:
        return _without_rung(service, belief, fault, now=now)
    rung = next((rung for rung in rungs if not ladder.over(rung)), None)
    count, since = streak(belief, (rung or rungs[-1]).faults)
    if count < service.fall:
        return Confirming()
    if rung is None:
        tried = ", ".join(f'"{rung.name}" ({_used(ladder, rung)})' for rung in rungs)
        return HandOver(f"every strategy for {fault.kind} was tried: {tried}")
    ready = since + after(rung, certain=fault.certain)
    if now < ready:
        why = f'"{rung.name}" waits until the fault has lasted for {format_duration(ready - since)}'
        return WaitUntil(ready, why, rung.name)
    if now < ladder.not_before:
        return WaitUntil(ladder.not_before, f'"{rung.name}" waits after the last attempt', rung.name)
    place = f"rung {rungs.index(rung) + 1} of {len(rungs)} for {fault.kind}"
    seen = f"{count} failures in a row that it answers, {service.fall} are needed"
    lasted = f"lasting for {format_duration(now - since)}, {format_duration(ready - since)} are needed"
    attempt = f"its attempt {ladder.made(rung.name) + 1} of {rung.attempts}"
    return Climb(rung, f"{place}; {seen}; {lasted}; {attempt}")


def _used(ladder: Ladder, rung: Strategy) -> str:
    made = f"{ladder.made(rung.name)} times"
    return f"{made}, then given up" if rung.name in ladder.given_up else made


def _without_rung(service: Service, belief: Belief, fault: Fault, *, now: float) -> Move:
    answered = {kind for strategy in service.strategies for kind in strategy.faults}
    count, since = streak(belief, set(FaultKind) - answered)
    if count < service.fall:
        return Confirming()
    if fault.kind not in WAIT_FOR_IT:
        return HandOver(f"no strategy of {service.name} answers {fault.kind}")
    patient_until = since + service.patience
    if now < patient_until:
        return WaitUntil(patient_until, f"{fault.kind} passes by itself as a rule")
    return HandOver(f"{fault.kind} has lasted for {now - since:.0f} s, and no strategy answers it")
