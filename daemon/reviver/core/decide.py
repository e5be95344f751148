"""
What to do about one service: the state machine that everything else serves.

(state, event, situation, now) → (state, commands). It awaits nothing and has no clock of its own; the supervisor
carries the commands out, in order. Every path to an effect leads through ``_climb``: the ladder offers, the guards
speak, and only then ``Start`` is said; or through a person's order.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.incidents import REVIVER
from reviver.model.ports import AttemptResult, Outcome
from reviver.model.services import Service, Strategy
from reviver.model.units import format_duration

from . import backoff
from .guards import APPROVAL, DEPENDENCY, OBSERVE, Held, Situation, dependency_down, hard_stop, lifted, may_act
from .health import Belief, Sample, Signal, judge, signalled, unproven
from .ladder import Climb, Confirming, HandOver, Ladder, WaitUntil, answering, next_move

ITSELF = "itself"
ABORTED_PAUSE = 10.0  # seconds until an attempt may follow one that was aborted before it did anything


class Stop(StrEnum):
    """Why nothing more is done by itself in an incident, whatever the fault."""

    NONE = ""
    SPENT = "spent"  # a strategy's budget: its help does not last
    UNCLEAR = "unclear"  # a destructive step may have happened, or half of it: a person must look first


@dataclass(frozen=True, slots=True)
class Asked:
    """People were asked to approve a strategy."""

    strategy: str
    until: float
    """When their approval comes too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An incident, as far as deciding needs it. Times are on the monotonic axis."""

    since: float
    """When the first question of the failure, or of the relapse, was asked."""
    faults: frozenset[FaultKind]
    """Every fault told of so far."""
    ladder: Ladder = field(default_factory=Ladder)
    attempts: int = 0
    """Attempts started, over all strategies."""
    running: str = ""
    """The strategy under way."""
    confirming_since: float | None = None
    """Since when the service wavers: down, and no fault seen often enough in a row to act upon."""
    held: tuple[str, str] = ("", "")
    """The guard and the strategy that were last told of as held."""
    held_reason: str = ""
    """Why nothing is done now, for people: a guard, a wait, or that it is theirs."""
    handed_over: frozenset[str] = frozenset()
    """For which faults (or why else) people were told."""
    stop: Stop = Stop.NONE
    escalated_at: float | None = None
    recovered_at: float | None = None
    cured_by: str = ""
    """The strategy that brought the last recovery; empty if none has, or it came by itself."""
    approval: Asked | None = None
    planned: frozenset[tuple[str, str]] = frozenset()
    """Which strategies were told of as waiting since the last attempt, and why."""
    observed: tuple[tuple[str, float], ...] = ()
    """Which strategies would have acted, and when, had they been allowed to do more than observe."""
    unproven: str = ""
    """The strategy after which the check passes and a named verification does not."""

    @property
    def open(self) -> bool:
        """Whether it still wants something done."""
        return self.recovered_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is decided about one service."""

    belief: Belief = field(default_factory=Belief)
    trouble: Trouble | None = None
    falls: tuple[float, ...] = ()
    """When it went down lately, as far as flapping looks back."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open an incident, or (*again*) the last one: it fell again soon after its recovery."""

    fault: Fault
    failing_for: float
    """Seconds since the first failed question was asked."""
    noticed_ago: float
    """Seconds since its answer came."""
    again: bool


@dataclass(frozen=True, slots=True)
class NoteFault:
    """The incident shows a fault that it hasn't shown before."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Hold:
    """Tell why recovery doesn't act now."""

    held: Held


@dataclass(frozen=True, slots=True)
class Plan:
    """Tell which strategy is next, when, and why not sooner."""

    strategy: str
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class AskApproval:
    """Ask people for their word on a strategy."""

    strategy: Strategy
    attempt: int
    seconds: float
    """How long their approval is waited for."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Tell what would have been done now."""

    strategy: Strategy
    asking: bool
    """Whether people would have been asked first."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Pass a strategy over for the rest of the incident."""

    strategy: str
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """Make an attempt."""

    strategy: Strategy
    """Without steps it only looks whether an earlier attempt is proven by now."""
    attempt: int
    fault: Fault | None
    by: str
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand over to people."""

    reason: str
    stop: Stop


@dataclass(frozen=True, slots=True)
class Close:
    """The service is well again, verified."""

    by: str
    down_for: float
    observed: tuple[tuple[str, float], ...] = ()
    """Which strategies would have acted, and how many seconds before."""


@dataclass(frozen=True, slots=True)
class LookAt:
    """Consider the service again at this moment, whatever its answers are."""

    at: float


Told = Open | NoteFault | Hold | Plan | AskApproval | Observe | GiveUp | Escalate | Close
"""What the journal tells of."""
Command = Told | Start | LookAt
Decision = tuple[State, tuple[Command, ...]]


class Refused(Exception):
    """A person's order can't be carried out; the text says why."""


# ---------------------------------------------------------------------------------------------- what may happen


def on_answer(state: State, sample: Sample, service: Service) -> State:
    """The state after one more answer of the check; the very same object when it changes nothing."""
    belief = judge(state.belief, sample, service)
    return state if belief is state.belief else replace(state, belief=belief)


def consider(state: State, service: Service, situation: Situation, *, now: float) -> Decision:
    """What follows from the state as it is now; to be asked after every change of it or of the situation."""
    belief, trouble = state.belief, state.trouble
    if trouble is not None and trouble.running:
        return state, ()
    if belief.health is Health.UP and trouble is not None and trouble.open:
        if belief.passes_in_row < service.rise:
            return state, ()
        if trouble.unproven:
            return _prove(state, trouble, service, situation, now=now)
        return _closed(state, trouble, belief, service, by=ITSELF, now=now)
    if belief.health is not Health.DOWN or belief.fault is None:
        return state, ()
    state, trouble, told = _told(state, belief.fault, service, now=now)
    state, commands = _move(state, trouble, belief.fault, service, situation, now=now)
    return state, (*told, *commands)


def on_attempt_ended(
    state: State, service: Service, situation: Situation, *, result: AttemptResult, random: float, now: float
) -> Decision:
    """The attempt under way has ended."""
    trouble, outcome = state.trouble, result.outcome
    if trouble is None or not trouble.running:
        raise ValueError(f"{service.name}: no attempt is under way")
    strategy = trouble.running
    trouble = replace(trouble, running="", confirming_since=None)
    if outcome in {Outcome.ABORTED, Outcome.HEALED}:
        trouble = replace(trouble, ladder=trouble.ladder.counted(strategy, by=-1))
    if outcome in {Outcome.RECOVERED, Outcome.HEALED}:
        cured = signalled(state.belief, Signal.CURED, now)
        if trouble.unproven not in {"", strategy}:  # another strategy's verification has not passed yet
            return consider(replace(state, belief=cured, trouble=trouble), service, situation, now=now)
        by = strategy if outcome is Outcome.RECOVERED else ITSELF
        return _closed(state, trouble, cured, service, by=by, now=now)
    belief = signalled(state.belief, Signal.LEFT, now)
    trouble = replace(trouble, unproven=strategy if result.unproven else trouble.unproven)
    if outcome is Outcome.UNCLEAR:
        if result.unproven:  # told by the same words
            trouble = replace(trouble, handed_over=trouble.handed_over | {UNPROVEN})
        return _escalate(replace(state, belief=belief), trouble, "", result.message, now=now, stop=Stop.UNCLEAR)
    not_before = now + _retry_in(service, trouble.ladder, strategy, outcome, random)
    trouble = replace(trouble, ladder=replace(trouble.ladder, not_before=not_before))
    state = replace(state, belief=belief, trouble=trouble)
    if result.unproven and UNPROVEN not in trouble.handed_over:
        return _escalate(state, trouble, UNPROVEN, result.message, now=now)
    return consider(state, service, situation, now=now)


def on_interrupted(state: State) -> State:
    """The daemon stops in the middle of the attempt, which its next life resumes."""
    return state if state.trouble is None else replace(state, trouble=replace(state.trouble, running=""))


def on_replaced(state: State, *, now: float) -> State:
    """The settings name another target: what was seen is not its doing. A pause holds."""
    health = Health.PAUSED if state.belief.health is Health.PAUSED else Health.UNKNOWN
    return replace(state, belief=Belief(health=health, since=now))


def on_pause(state: State, *, now: float) -> State:
    """A person said hands off."""
    return replace(state, belief=signalled(state.belief, Signal.PAUSED, now))


def on_resume(state: State, *, now: float) -> State:
    """The pause is over; the service is judged afresh."""
    return replace(state, belief=signalled(state.belief, Signal.RESUMED, now))


def on_order(
    state: State, service: Service, situation: Situation, *, strategy: str | None, by: str, now: float
) -> Decision:
    """
    A person wants a recovery now: no waiting, no budget, no approval.

    Raises:
        Refused: Nothing to recover, an attempt is under way, or a guard that no word overrides.
    """
    trouble, belief = state.trouble, state.belief
    if trouble is not None and trouble.running:
        raise Refused(f'{service.name}: an attempt of "{trouble.running}" is under way')
    if belief.health is Health.PAUSED:
        raise Refused(f"{service.name} is paused; resume it first")
    if trouble is None or not trouble.open or not (belief.health is Health.DOWN or trouble.unproven):
        raise Refused(f"{service.name} is {belief.health}, not down: there is nothing to recover")
    held = hard_stop(situation)
    if held is not None:
        raise Refused(f"{service.name}: {held.reason}")
    rung = _ordered(service, trouble, belief.fault, strategy)
    return _start(state, trouble, rung, belief.fault, by=by, why=f"{by} ordered it", now=now)


def on_approved(state: State, service: Service, situation: Situation, *, by: str, now: float) -> Decision:
    """
    A person approves what was asked for.

    Raises:
        Refused: Nothing is asked for any more, or as ``on_order``.
    """
    _, asked = _asked(state, service, now=now)
    return on_order(state, service, situation, strategy=asked.strategy, by=by, now=now)


def on_denied(state: State, service: Service, situation: Situation, *, by: str, reason: str, now: float) -> Decision:
    """A person denies what was asked for: the ladder goes on without it. Raises as ``on_approved``."""
    trouble, asked = _asked(state, service, now=now)
    said = f"denied by {by}" + (f": {reason}" if reason else "")
    state, _, gave_up = _given_up(state, trouble, asked.strategy, said)
    state, commands = consider(state, service, situation, now=now)
    return state, (gave_up, *commands)


def _asked(state: State, service: Service, *, now: float) -> tuple[Trouble, Asked]:
    trouble = state.trouble
    if trouble is None or not trouble.open or trouble.approval is None:
        raise Refused(f"{service.name}: nothing waits for an approval")
    if now >= trouble.approval.until:
        raise Refused(
            f'{service.name}: the request to approve "{trouble.approval.strategy}" has expired; '
            f'reviver recover {service.name} --strategy "{trouble.approval.strategy}" starts it'
        )
    return trouble, trouble.approval


# ------------------------------------------------------------------------------------------------ what follows


def _ordered(service: Service, trouble: Trouble, fault: Fault | None, name: str | None) -> Strategy:
    wanted = name or trouble.unproven or None
    if wanted is not None:
        named = next((s for s in service.strategies if s.name == wanted), None)
        if named is None:
            known = ", ".join(f'"{s.name}"' for s in service.strategies) or "none"
            raise Refused(f'{service.name} has no strategy "{wanted}"; it has: {known}')
        return named
    rungs = answering(service, fault) if fault is not None else []
    if not rungs:
        raise Refused(f"no strategy of {service.name} answers what is wrong; name one with --strategy")
    return next((rung for rung in rungs if not trouble.ladder.over(rung)), rungs[0])


def _retry_in(service: Service, ladder: Ladder, strategy: str, outcome: Outcome, random: float) -> float:
    rung = next((s for s in service.strategies if s.name == strategy), None)
    if rung is None or outcome is Outcome.ABORTED:
        return ABORTED_PAUSE
    return backoff.delay(ladder.made(strategy), rung.backoff, random=random)


def _closed(state: State, trouble: Trouble, belief: Belief, service: Service, *, by: str, now: float) -> Decision:
    cured_by, ladder = "" if by == ITSELF else by, trouble.ladder
    if cured_by:
        ladder = replace(ladder, not_before=now + service.cooldown)
    closed = replace(trouble, recovered_at=now, cured_by=cured_by, ladder=ladder, approval=None)
    observed = tuple((name, now - at) for name, at in trouble.observed)
    return replace(state, belief=belief, trouble=closed), (Close(by, now - trouble.since, observed),)


def _told(state: State, fault: Fault, service: Service, *, now: float) -> tuple[State, Trouble, tuple[Command, ...]]:
    """The incident that this fault belongs to, opened or opened again if need be."""
    trouble, belief = state.trouble, state.belief
    if trouble is not None and trouble.open:
        if fault.kind in trouble.faults:
            return state, trouble, ()
        trouble = replace(trouble, faults=trouble.faults | {fault.kind})
        return replace(state, trouble=trouble), trouble, (NoteFault(fault),)
    since = belief.since if belief.failing_since is None else belief.failing_since
    noticed_ago = now - max(since, belief.noticed_at)
    falls = (*(at for at in state.falls if at > now - service.flapping.within), now)
    flaps = len(falls) >= service.flapping.falls
    state = replace(state, falls=falls)
    if trouble is None or trouble.recovered_at is None or (since - trouble.recovered_at > service.stable and not flaps):
        # The cool-down holds for whatever comes after the recovery, be it another incident.
        ladder = Ladder() if trouble is None else Ladder(not_before=trouble.ladder.not_before)
        trouble = Trouble(since=since, faults=frozenset({fault.kind}), ladder=ladder)
        return replace(state, trouble=trouble), trouble, (Open(fault, now - since, noticed_ago, again=False),)
    relapsed = Trouble(
        since=since,
        faults=trouble.faults | {fault.kind},
        ladder=trouble.ladder,
        attempts=trouble.attempts,
        stop=trouble.stop,
        handed_over=trouble.handed_over & {_FLAPS},
    )
    state, opened = replace(state, trouble=relapsed), Open(fault, now - since, noticed_ago, again=True)
    if not flaps:
        return state, relapsed, (opened,)
    state, relapsed, told = _flaps(state, relapsed, service, cured_by=trouble.cured_by)
    return state, relapsed, (opened, *told)


def _flaps(
    state: State, trouble: Trouble, service: Service, *, cured_by: str
) -> tuple[State, Trouble, tuple[Command, ...]]:
    """What brought it back each time is passed over; if it came back by itself, people are told once."""
    fell = f"{service.name} fell {len(state.falls)} times within {format_duration(service.flapping.within)}"
    if cured_by:
        state, trouble, gave_up = _given_up(state, trouble, cured_by, f"{fell}: its help does not last")
        return state, trouble, (gave_up,)
    if _FLAPS in trouble.handed_over:
        return state, trouble, ()
    trouble = replace(trouble, handed_over=trouble.handed_over | {_FLAPS})
    return replace(state, trouble=trouble), trouble, (Escalate(f"{fell} and came back by itself", trouble.stop),)


def _given_up(state: State, trouble: Trouble, strategy: str, reason: str) -> tuple[State, Trouble, GiveUp]:
    ladder = replace(trouble.ladder, given_up=trouble.ladder.given_up | {strategy})
    trouble = replace(trouble, ladder=ladder, approval=None, held=("", ""), held_reason="")
    return replace(state, trouble=trouble), trouble, GiveUp(strategy, reason)


def _move(
    state: State, trouble: Trouble, fault: Fault, service: Service, situation: Situation, *, now: float
) -> Decision:
    """The next move for a service that is down and under no treatment."""
    if trouble.stop is Stop.UNCLEAR:
        return _handed_over(state, trouble, "", "an earlier step may have happened or not; people must look", now=now)
    held = dependency_down(service, situation)
    if held is not None:
        return _hold(state, trouble, "", held)
    if trouble.held[0] == DEPENDENCY:
        # A dependency's failure is no evidence against the service: it has to be confirmed anew.
        trouble = replace(trouble, held=("", ""), held_reason="")
        return replace(state, belief=unproven(state.belief), trouble=trouble), ()
    if trouble.escalated_at is not None and service.retry_after is not None:
        retry_at = trouble.escalated_at + service.retry_after
        if now >= retry_at:
            trouble = replace(
                trouble,
                ladder=Ladder(not_before=trouble.ladder.not_before),
                stop=Stop.NONE,
                handed_over=frozenset(),
                escalated_at=None,
                approval=None,
            )
        elif trouble.stop is Stop.SPENT:
            return state, (LookAt(retry_at),)
    if trouble.stop is Stop.SPENT:
        return _handed_over(state, trouble, "", f"the budget of {service.name} is spent", now=now)
    return _climb(state, trouble, fault, service, situation, now=now)


def _climb(
    state: State, trouble: Trouble, fault: Fault, service: Service, situation: Situation, *, now: float
) -> Decision:
    """The ladder offers, the guards speak."""
    move = next_move(service, trouble.ladder, state.belief, fault, now=now)
    if isinstance(move, Confirming):
        return _wavering(state, trouble, service, now=now)
    trouble = replace(trouble, confirming_since=None)
    match move:
        case HandOver(reason):
            return _handed_over(state, trouble, fault.kind, reason, now=now, retry_after=service.retry_after)
        case WaitUntil(at, why, strategy_name):
            told = () if (strategy_name, why) in trouble.planned else (Plan(strategy_name, at, why),)
            trouble = replace(
                trouble,
                held_reason=f"{why}: {format_duration(at - now)} more",
                planned=trouble.planned | {(strategy_name, why)},
            )
            return replace(state, trouble=trouble), (*told, LookAt(at))
        case Climb(strategy, why):
            barrier = may_act(service, strategy, situation, now=now)
            if barrier is None:
                return _start(state, trouble, strategy, fault, by=REVIVER, why=why, now=now)
            if isinstance(barrier, Held):
                return _not_now(state, trouble, service, strategy, situation, barrier, now=now)
            if not barrier.strategy:
                return _escalate(state, trouble, "", barrier.reason, now=now, stop=Stop.SPENT)
            state, trouble, gave_up = _given_up(state, trouble, strategy.name, barrier.reason)
            state, commands = _climb(state, trouble, fault, service, situation, now=now)
            return state, (gave_up, *commands)


def _not_now(
    state: State,
    trouble: Trouble,
    service: Service,
    strategy: Strategy,
    situation: Situation,
    held: Held,
    *,
    now: float,
) -> Decision:
    """A guard holds *strategy*; two of them want more than to be told of."""
    if held.guard == APPROVAL:
        return _approval(state, trouble, strategy, held, situation, now=now)
    if held.guard != OBSERVE or strategy.name in dict(trouble.observed):
        return _hold(state, trouble, strategy.name, held)
    barrier = may_act(service, *lifted(strategy, situation), now=now)
    asking = isinstance(barrier, Held) and barrier.guard == APPROVAL
    if isinstance(barrier, Held) and not asking:
        return _hold(state, trouble, strategy.name, barrier)
    trouble = replace(trouble, observed=(*trouble.observed, (strategy.name, now)))
    state, commands = _hold(replace(state, trouble=trouble), trouble, strategy.name, held)
    return state, (Observe(strategy, asking), *commands)


def _approval(
    state: State, trouble: Trouble, strategy: Strategy, held: Held, situation: Situation, *, now: float
) -> Decision:
    """Ask people once, wait for their word, and hand over when it doesn't come."""
    asked, within = trouble.approval, situation.policy.approval_within
    told: tuple[Command, ...] = ()
    if asked is not None and asked.strategy == strategy.name and now >= asked.until:
        reason = f'nobody approved "{strategy.name}" within {format_duration(within)}; reviver recover starts it'
        return _handed_over(state, trouble, f"approval of {strategy.name}", reason, now=now)
    if asked is None or asked.strategy != strategy.name:
        asked = Asked(strategy.name, now + within)
        told = (AskApproval(strategy, trouble.attempts + 1, within),)
        trouble = replace(trouble, approval=asked)
    state, commands = _hold(replace(state, trouble=trouble), trouble, strategy.name, held)
    return state, (*told, *commands, LookAt(asked.until))


_FLAPS = "flaps"
_THEIRS = "handed over to people: {}"
_WAVERS = "wavers"
UNPROVEN = "unproven"


def _wavering(state: State, trouble: Trouble, service: Service, *, now: float) -> Decision:
    """Down, and no fault often enough in a row: people are told when that lasts."""
    if trouble.confirming_since is None:
        trouble = replace(trouble, confirming_since=now)
        return replace(state, trouble=trouble), (LookAt(now + service.patience),)
    if now < trouble.confirming_since + service.patience:
        return state, ()
    reason = f"{service.name} wavers: for {now - trouble.confirming_since:.0f} s it neither stayed up nor failed alike"
    return _handed_over(state, trouble, _WAVERS, reason, now=now)


def _prove(state: State, trouble: Trouble, service: Service, situation: Situation, *, now: float) -> Decision:
    """The check passes; whether the strategy's own verification does by now is looked at again and again."""
    strategy = next((s for s in service.strategies if s.name == trouble.unproven), None)
    if strategy is None or not strategy.verify:  # the settings ask for no proof any more
        return _closed(state, trouble, state.belief, service, by=ITSELF, now=now)
    if hard_stop(situation) is not None:
        return state, ()
    if now < trouble.ladder.not_before:
        return state, (LookAt(trouble.ladder.not_before),)
    why = "the check passes, and whether the strategy's own verification does by now is looked at again"
    return _start(state, trouble, replace(strategy, steps=()), None, by=REVIVER, why=why, now=now)


def _start(
    state: State, trouble: Trouble, strategy: Strategy, fault: Fault | None, *, by: str, why: str, now: float
) -> Decision:
    attempt = trouble.attempts + 1
    trouble = replace(
        trouble,
        running=strategy.name,
        attempts=attempt,
        ladder=trouble.ladder.counted(strategy.name),
        held=("", ""),
        held_reason="",
        planned=frozenset(),
        approval=None,
    )
    if by != REVIVER:  # a person has looked; what follows is told anew
        trouble = replace(trouble, stop=Stop.NONE, handed_over=frozenset(), escalated_at=None)
    belief = signalled(state.belief, Signal.TREATED, now)
    return replace(state, belief=belief, trouble=trouble), (Start(strategy, attempt, fault, by, why),)


def _handed_over(
    state: State, trouble: Trouble, why: str, reason: str, *, now: float, retry_after: float | None = None
) -> Decision:
    """Tell people, once for each *why*; then wait for the cool-down, if there is one."""
    if why in trouble.handed_over:
        state = replace(state, trouble=replace(trouble, held_reason=_THEIRS.format(reason)))
        if trouble.escalated_at is None or retry_after is None:
            return state, ()
        return state, (LookAt(trouble.escalated_at + retry_after),)
    return _escalate(state, trouble, why, reason, now=now)


def _escalate(state: State, trouble: Trouble, why: str, reason: str, *, now: float, stop: Stop = Stop.NONE) -> Decision:
    trouble = replace(
        trouble,
        escalated_at=now,
        handed_over=trouble.handed_over | {why},
        held_reason=_THEIRS.format(reason),
        stop=stop or trouble.stop,
    )
    return replace(state, trouble=trouble), (Escalate(reason, trouble.stop),)


def _hold(state: State, trouble: Trouble, strategy: str, held: Held) -> Decision:
    look: tuple[Command, ...] = () if held.until is None else (LookAt(held.until),)
    if trouble.held == (held.guard, strategy):  # told already; what it says of times goes on
        return replace(state, trouble=replace(trouble, held_reason=held.reason)), look
    trouble = replace(trouble, held=(held.guard, strategy), held_reason=held.reason)
    return replace(state, trouble=trouble), (Hold(held), *look)
