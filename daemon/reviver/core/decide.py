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
from .guards import DEPENDENCY, Held, Situation, Spent, dependency_down, hard_stop, may_act
from .health import Belief, Sample, Signal, judge, signalled, unproven
from .ladder import Climb, Confirming, HandOver, Ladder, WaitUntil, answering, next_move

ITSELF = "itself"
ABORTED_PAUSE = 10.0  # seconds until an attempt may follow one that was aborted before it did anything


class Stop(StrEnum):
    """Why nothing more is done by itself in an incident, whatever the fault."""

    NONE = ""
    SPENT = "spent"  # a strategy's budget: its help does not last
    UNCLEAR = "unclear"  # a destructive step may have happened, or half of it: a person must look first


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
class Start:
    """Make an attempt."""

    strategy: Strategy
    """Without steps it only looks whether an earlier attempt is proven by now."""
    attempt: int
    fault: Fault | None
    by: str


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


@dataclass(frozen=True, slots=True)
class LookAt:
    """Consider the service again at this moment, whatever its answers are."""

    at: float


Told = Open | NoteFault | Hold | Escalate | Close
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
        return _closed(trouble, belief, by=ITSELF, now=now)
    if belief.health is not Health.DOWN or belief.fault is None:
        return state, ()
    trouble, told = _told(trouble, belief, belief.fault, service, now=now)
    state, commands = _move(replace(state, trouble=trouble), trouble, belief.fault, service, situation, now=now)
    return state, (*told, *commands)


def on_attempt_ended(
    state: State, service: Service, situation: Situation, *, result: AttemptResult, random: float, now: float
) -> Decision:
    """The attempt under way has ended."""
    trouble, outcome = state.trouble, result.outcome
    if trouble is None or not trouble.running:
        raise ValueError(f"{service.name}: no attempt is under way")
    strategy = trouble.running
    trouble = replace(trouble, running="", held=("", ""), held_reason="", confirming_since=None)
    if outcome in {Outcome.ABORTED, Outcome.HEALED}:
        trouble = replace(trouble, ladder=trouble.ladder.counted(strategy, by=-1))
    if outcome in {Outcome.RECOVERED, Outcome.HEALED}:
        cured = signalled(state.belief, Signal.CURED, now)
        if trouble.unproven not in {"", strategy}:  # another strategy's verification has not passed yet
            return consider(State(belief=cured, trouble=trouble), service, situation, now=now)
        return _closed(trouble, cured, by=strategy if outcome is Outcome.RECOVERED else ITSELF, now=now)
    belief = signalled(state.belief, Signal.LEFT, now)
    trouble = replace(trouble, unproven=strategy if result.unproven else trouble.unproven)
    if outcome is Outcome.UNCLEAR:
        if result.unproven:  # told by the same words
            trouble = replace(trouble, handed_over=trouble.handed_over | {_UNPROVEN})
        return _escalate(State(belief=belief, trouble=trouble), trouble, "", result.message, now=now, stop=Stop.UNCLEAR)
    not_before = now + _retry_in(service, trouble.ladder, strategy, outcome, random)
    trouble = replace(trouble, ladder=replace(trouble.ladder, not_before=not_before))
    state = State(belief=belief, trouble=trouble)
    if result.unproven and _UNPROVEN not in trouble.handed_over:
        return _escalate(state, trouble, _UNPROVEN, result.message, now=now)
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
    return _start(state, trouble, _ordered(service, trouble, belief.fault, strategy), belief.fault, by=by, now=now)


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
    return next((rung for rung in rungs if trouble.ladder.made(rung.name) < rung.attempts), rungs[0])


def _retry_in(service: Service, ladder: Ladder, strategy: str, outcome: Outcome, random: float) -> float:
    rung = next((s for s in service.strategies if s.name == strategy), None)
    if rung is None or outcome is Outcome.ABORTED:
        return ABORTED_PAUSE
    return backoff.delay(max(1, ladder.made(strategy)), rung.backoff, random=random)


def _closed(trouble: Trouble, belief: Belief, *, by: str, now: float) -> Decision:
    closed = replace(trouble, recovered_at=now, unproven="", confirming_since=None)
    return State(belief=belief, trouble=closed), (Close(by, now - trouble.since),)


def _told(
    trouble: Trouble | None, belief: Belief, fault: Fault, service: Service, *, now: float
) -> tuple[Trouble, tuple[Command, ...]]:
    """The incident that this fault belongs to, opened or opened again if need be."""
    since = belief.since if belief.failing_since is None else belief.failing_since
    noticed_ago = now - max(since, belief.noticed_at)
    if trouble is None or (trouble.recovered_at is not None and since - trouble.recovered_at > service.stable):
        opened = Open(fault, now - since, noticed_ago, again=False)
        return Trouble(since=since, faults=frozenset({fault.kind})), (opened,)
    faults = trouble.faults | {fault.kind}
    if trouble.recovered_at is not None:
        relapsed = Trouble(
            since=since,
            faults=faults,
            ladder=trouble.ladder,
            attempts=trouble.attempts,
            stop=trouble.stop,
        )
        return relapsed, (Open(fault, now - since, noticed_ago, again=True),)
    if fault.kind not in trouble.faults:
        return replace(trouble, faults=faults), (NoteFault(fault),)
    return trouble, ()


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
        return State(belief=unproven(state.belief), trouble=trouble), ()
    if trouble.escalated_at is not None and service.retry_after is not None:
        retry_at = trouble.escalated_at + service.retry_after
        if now >= retry_at:
            trouble = replace(trouble, ladder=Ladder(), stop=Stop.NONE, handed_over=frozenset(), escalated_at=None)
            state = replace(state, trouble=trouble)
        elif trouble.stop is Stop.SPENT:
            return state, (LookAt(retry_at),)
    if trouble.stop is Stop.SPENT:
        return _handed_over(state, trouble, "", "a strategy's budget is spent", now=now)
    return _climb(state, trouble, fault, service, situation, now=now)


def _climb(
    state: State, trouble: Trouble, fault: Fault, service: Service, situation: Situation, *, now: float
) -> Decision:
    """The ladder offers, the guards speak."""
    move = next_move(service, trouble.ladder, state.belief, fault, now=now)
    if isinstance(move, Confirming):
        return _wavering(state, trouble, service, now=now)
    trouble = replace(trouble, confirming_since=None)
    state = replace(state, trouble=trouble)
    match move:
        case HandOver(reason):
            return _handed_over(state, trouble, fault.kind, reason, now=now, retry_after=service.retry_after)
        case WaitUntil(at, why):
            trouble = replace(trouble, held_reason=f"{why}: {format_duration(at - now)} more")
            return replace(state, trouble=trouble), (LookAt(at),)
        case Climb(strategy):
            barrier = may_act(service, strategy, situation, now=now)
            if barrier is None:
                return _start(state, trouble, strategy, fault, by=REVIVER, now=now)
            if isinstance(barrier, Spent):
                return _escalate(state, trouble, "", barrier.reason, now=now, stop=Stop.SPENT)
            return _hold(state, trouble, strategy.name, barrier)


_THEIRS = "handed over to people: {}"
_WAVERS = "wavers"
_UNPROVEN = "unproven"


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
        return _closed(trouble, state.belief, by=ITSELF, now=now)
    if hard_stop(situation) is not None:
        return state, ()
    if now < trouble.ladder.not_before:
        return state, (LookAt(trouble.ladder.not_before),)
    return _start(state, trouble, replace(strategy, steps=()), None, by=REVIVER, now=now)


def _start(state: State, trouble: Trouble, strategy: Strategy, fault: Fault | None, *, by: str, now: float) -> Decision:
    attempt = trouble.attempts + 1
    trouble = replace(
        trouble,
        running=strategy.name,
        attempts=attempt,
        ladder=trouble.ladder.counted(strategy.name),
        held=("", ""),
        held_reason="",
    )
    if by != REVIVER:  # a person has looked; what follows is told anew
        trouble = replace(trouble, stop=Stop.NONE, handed_over=frozenset(), escalated_at=None)
    belief = signalled(state.belief, Signal.TREATED, now)
    return State(belief=belief, trouble=trouble), (Start(strategy, attempt, fault, by),)


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
    if trouble.held == (held.guard, strategy):
        return state, look
    trouble = replace(trouble, held=(held.guard, strategy), held_reason=held.reason)
    return replace(state, trouble=trouble), (Hold(held), *look)
