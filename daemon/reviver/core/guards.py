"""
Reasons not to act now. Each guard answers for itself; the first that speaks is told.

A guard that can't be asked holds: nobody is harmed by a recovery that comes later, or by a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reviver.model.services import DaemonPolicy, Mode, Service, Strategy
from reviver.model.units import format_duration

from .budget import tightest

DEPENDENCY = "dependency"
APPROVAL = "approval"
OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Held:
    """Not now."""

    guard: str
    """A stable word, for metrics."""
    reason: str
    until: float | None = None
    """When to look again, if that is known; else when something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is the case outside of the one service, as far as it bears on acting."""

    policy: DaemonPolicy
    dependencies_down: tuple[str, ...] = ()
    """Services that it depends on, directly or not, and that aren't known to be up."""
    running: tuple[str, ...] = ()
    """Services with an attempt under way."""
    used_at: Sequence[float] = ()
    """When reviver made attempts, for any service; oldest first."""
    used_here_at: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The same for this service alone, by the strategy's name."""
    stand_down: Held | None = None
    """Others are at work on the service: in a maintenance window, under a lock, with a deploy."""
    demoted: Mapping[str, str] = field(default_factory=dict)
    """Why strategies of this service have lost trust, by their names; a person must approve."""
    observer_suspect: str = ""
    frozen: str = ""
    """Why everything is held, if a person has frozen reviver."""
    journal_broken: str = ""
    stopping: bool = False
    """The daemon is about to end."""


@dataclass(frozen=True, slots=True)
class Spent:
    """A budget is used up, so the help does not last."""

    reason: str
    strategy: str = ""
    """The strategy whose own it is: the ladder goes on without it. Empty: it is the service's, and people must look."""


def may_act(service: Service, strategy: Strategy, situation: Situation, *, now: float) -> Held | Spent | None:
    """Why *strategy* may not act on *service* by itself now; ``None`` if it may."""
    held = hard_stop(situation) or _policy(service, strategy, situation) or dependency_down(service, situation)
    if held is not None:
        return held
    if situation.stand_down is not None:
        return situation.stand_down
    if situation.observer_suspect:
        return Held("observer", situation.observer_suspect)
    if len(situation.running) >= situation.policy.at_once:
        return Held("at_once", f"the recovery of {', '.join(situation.running)} is under way")
    return _budgets(service, strategy, situation, now=now)


def lifted(strategy: Strategy, situation: Situation) -> tuple[Strategy, Situation]:
    """Both as if nothing were only observed: to tell what would have been done."""
    policy = situation.policy
    if policy.mode is Mode.OBSERVE:
        situation = replace(situation, policy=replace(policy, mode=Mode.AUTO))
    return replace(strategy, mode=Mode.AUTO) if strategy.mode is Mode.OBSERVE else strategy, situation


def dependency_down(service: Service, situation: Situation) -> Held | None:
    """Root first: what a service needs is recovered before it is judged itself."""
    down = situation.dependencies_down
    if not down:
        return None
    verb = "is" if len(down) == 1 else "are"
    return Held(DEPENDENCY, f"{', '.join(down)} {verb} not up; {service.name} is looked at again once that is")


def hard_stop(situation: Situation) -> Held | None:
    """What not even a person's word overrides."""
    if situation.stopping:
        return Held("stopping", "reviver is stopping")
    if situation.journal_broken:
        return Held("journal", f"the journal can't be written, so nothing is started: {situation.journal_broken}")
    if situation.frozen:
        return Held("freeze", situation.frozen)
    if situation.policy.mode is Mode.OBSERVE:
        return Held(OBSERVE, 'the daemon only observes ([daemon] mode = "observe")')
    return None


def _policy(service: Service, strategy: Strategy, situation: Situation) -> Held | None:
    modes = {strategy.mode, situation.policy.mode}
    if Mode.OBSERVE in modes:
        return Held(OBSERVE, f'"{strategy.name}" only observes (mode = "observe")')
    if strategy.name in situation.demoted:
        name = strategy.name if strategy.name.isidentifier() else f'"{strategy.name}"'
        return Held(
            APPROVAL,
            f'"{strategy.name}" was demoted to approve: {situation.demoted[strategy.name]}; '
            f"reviver approve {service.name} starts it, reviver promote {service.name} {name} trusts it again",
        )
    if Mode.APPROVE in modes:
        return Held(APPROVAL, f'"{strategy.name}" waits for a person: reviver approve {service.name}')
    return None


def _budgets(service: Service, strategy: Strategy, situation: Situation, *, now: float) -> Held | Spent | None:
    here = sorted(at for uses in situation.used_here_at.values() for at in uses)
    _, budget = tightest(service.budgets, here, now=now)
    if budget is not None:
        return Spent(
            f"the budget of {service.name} is spent: reviver made {budget.attempts} attempts within "
            f"{format_duration(budget.per)}"
        )
    _, budget = tightest(strategy.budgets, situation.used_here_at.get(strategy.name, ()), now=now)
    if budget is not None:
        return Spent(
            f'the budget of "{strategy.name}" on {service.name} is spent: it ran {budget.attempts} times within '
            f"{format_duration(budget.per)}",
            strategy.name,
        )
    until, budget = tightest([situation.policy.budget], situation.used_at, now=now)
    if budget is not None:
        return Held(
            "budget",
            f"reviver's overall budget is spent: {budget.attempts} attempts in {format_duration(budget.per)}; "
            f"the next may start in {format_duration(until - now)}",
            until,
        )
    return None
