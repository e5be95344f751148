"""
What to do about one service: the state machine that everything else serves.

(state, event, situation, now) → (state, commands). It awaits nothing and has no clock of its own; the supervisor
carries the commands out, in order. Every path to an effect leads through ``_move``: the ladder offers, the guards
speak, and only then ``Start`` is said.
"""

from dataclasses import dataclass, field, replace

from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.ports import Outcome
from reviver.model.services import Service, Strategy

from . import backoff
from .guards import DEPENDENCY, Held, Situation, Spent, dependency_down, hard_stop, may_act
from .health import Belief, Sample, Signal, judge, signalled
from .ladder import Climb, HandOver, Ladder, WaitUntil, answering, next_move

REVIVER = "reviver"
ITSELF = "itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An incident, as far as deciding needs it. Times are on the monotonic axis."""

    since: float
    """When the first question of the failure, or of the relapse, was asked."""
    own_since: float = float("-inf")
    """When its dependencies came back, if they were down: what fails since then may be its own fault."""
    faults: frozenset[FaultKind]
    """Every fault told of so far."""
    ladder: Ladder = field(default_factory=Ladder)
    attempts: int = 0
    """Attempts started, over all strategies."""
    running: str = ""
    """The strategy under way."""
    held: tuple[str, str] = ("", "")
    """The guard and the strategy that were last told of as held."""
    held_reason: str = ""
    escalated_at: float | None = None
    recovered_at: float | None = None

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
    attempt: int
    fault: Fault
    by: str


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand over to people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """The service is well again, verified."""

    by: str
    down_for: float


@dataclass(frozen=True, slots=True)
class LookAt:
    """Consider the service again at this moment, whatever its answers are."""

    at: float


Command = Open | NoteFault | Hold | Start | Escalate | Close | LookAt
Decision = tuple[State, tuple[Command, ...]]


class Refused(Exception):
    """A person's order can't be carried out; the text says why."""


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
        return _closed(trouble, belief, by=ITSELF, now=now)
    if belief.health is not Health.DOWN or belief.fault is None:
        return state, ()
    trouble, told = _told(trouble, belief, belief.fault, service, now=now)
    state, commands = _move(replace(state, trouble=trouble), trouble, belief.fault, service, situation, now=now)
    return state, (*told, *commands)


def on_attempt_ended(
    state: State, service: Service, situation: Situation, *, outcome: Outcome, message: str, random: float, now: float
) -> Decision:
    """The attempt under way has ended."""
    trouble = state.trouble
    if trouble is None or not trouble.running:
        raise ValueError(f"{service.name}: no attempt is under way")
    strategy = trouble.running
    trouble = replace(trouble, running="", held=("", ""), held_reason="")
    if outcome in {Outcome.RECOVERED, Outcome.HEALED}:
        by = strategy if outcome is Outcome.RECOVERED else ITSELF
        return _closed(trouble, signalled(state.belief, Signal.CURED, now), by=by, now=now)
    belief = signalled(state.belief, Signal.LEFT, now)
    if outcome is Outcome.UNCLEAR:
        return State(belief=belief, trouble=replace(trouble, escalated_at=now)), (Escalate(message),)
    not_before = now + _retry_in(service, trouble.ladder, strategy, outcome, random)
    if outcome is Outcome.ABORTED:
        trouble = replace(trouble, ladder=trouble.ladder.counted(strategy, by=-1))
    trouble = replace(trouble, ladder=replace(trouble.ladder, not_before=not_before))
    return consider(State(belief=belief, trouble=trouble), service, situation, now=now)


def on_interrupted(state: State) -> State:
    """The daemon stops in the middle of the attempt, which its next life resumes."""
    return state if state.trouble is None else replace(state, trouble=replace(state.trouble, running=""))


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
    trouble, fault = state.trouble, state.belief.fault
    if trouble is not None and trouble.running:
        raise Refused(f'{service.name}: an attempt of "{trouble.running}" is under way')
    if state.belief.health is Health.PAUSED:
        raise Refused(f"{service.name} is paused; resume it first")
    if state.belief.health is not Health.DOWN or trouble is None or fault is None:
        raise Refused(f"{service.name} is {state.belief.health}, not down: there is nothing to recover")
    held = hard_stop(situation)
    if held is not None:
        raise Refused(f"{service.name}: {held.reason}")
    return _start(state, trouble, _ordered(service, trouble, fault, strategy), fault, by=by, now=now)


def _ordered(service: Service, trouble: Trouble, fault: Fault, name: str | None) -> Strategy:
    if name is not None:
        named = next((s for s in service.strategies if s.name == name), None)
        if named is None:
            known = ", ".join(f'"{s.name}"' for s in service.strategies) or "none"
            raise Refused(f'{service.name} has no strategy "{name}"; it has: {known}')
        return named
    rungs = answering(service, fault)
    if not rungs:
        raise Refused(f"no strategy of {service.name} answers {fault.kind}; name one with --strategy")
    return next((rung for rung in rungs if trouble.ladder.made(rung.name) < rung.attempts), rungs[0])


def _retry_in(service: Service, ladder: Ladder, strategy: str, outcome: Outcome, random: float) -> float:
    rung = next((s for s in service.strategies if s.name == strategy), None)
    if rung is None or outcome is Outcome.ABORTED:
        return service.confirm
    return backoff.delay(max(1, ladder.made(strategy)), rung.backoff, random=random)


def _closed(trouble: Trouble, belief: Belief, *, by: str, now: float) -> Decision:
    return State(belief=belief, trouble=replace(trouble, recovered_at=now)), (Close(by, now - trouble.since),)


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
        relapsed = replace(
            trouble, since=since, faults=faults, recovered_at=None, escalated_at=None, held=("", ""), held_reason=""
        )
        return relapsed, (Open(fault, now - since, noticed_ago, again=True),)
    if fault.kind not in trouble.faults:
        # What was handed over was another fault; this one may have rungs of its own.
        return replace(trouble, faults=faults, escalated_at=None), (NoteFault(fault),)
    return trouble, ()


def _move(
    state: State, trouble: Trouble, fault: Fault, service: Service, situation: Situation, *, now: float
) -> Decision:
    """The next move for a service that is down and under no treatment."""
    if trouble.escalated_at is not None:
        if service.retry_after is None:
            return state, ()
        if now < trouble.escalated_at + service.retry_after:
            return state, (LookAt(trouble.escalated_at + service.retry_after),)
        trouble = replace(trouble, ladder=Ladder(), escalated_at=None)
        state = replace(state, trouble=trouble)
    held = dependency_down(service, situation)
    if held is not None:
        return _hold(state, trouble, "", held)
    if trouble.held[0] == DEPENDENCY:
        # A dependency's failure is no evidence against the service: it has to be confirmed anew.
        trouble = replace(trouble, held=("", ""), held_reason="", own_since=now)
        return State(belief=replace(state.belief, failures_in_row=0), trouble=trouble), ()
    if state.belief.failures_in_row < service.fall:
        return state, ()
    return _climb(state, trouble, fault, service, situation, now=now)


def _climb(
    state: State, trouble: Trouble, fault: Fault, service: Service, situation: Situation, *, now: float
) -> Decision:
    """The ladder offers, the guards speak."""
    failing_since = max(trouble.since, trouble.own_since)
    match next_move(service, trouble.ladder, fault, failing_since=failing_since, now=now):
        case HandOver(reason):
            return _escalate(state, trouble, reason, now=now)
        case WaitUntil(at, _):
            return state, (LookAt(at),)
        case Climb(strategy):
            barrier = may_act(service, strategy, situation, now=now)
            if barrier is None:
                return _start(state, trouble, strategy, fault, by=REVIVER, now=now)
            if isinstance(barrier, Spent):
                return _escalate(state, trouble, barrier.reason, now=now)
            return _hold(state, trouble, strategy.name, barrier)


def _start(state: State, trouble: Trouble, strategy: Strategy, fault: Fault, *, by: str, now: float) -> Decision:
    attempt = trouble.attempts + 1
    trouble = replace(
        trouble,
        running=strategy.name,
        attempts=attempt,
        ladder=trouble.ladder.counted(strategy.name),
        held=("", ""),
        held_reason="",
        escalated_at=None,
    )
    belief = signalled(state.belief, Signal.TREATED, now)
    return State(belief=belief, trouble=trouble), (Start(strategy, attempt, fault, by),)


def _escalate(state: State, trouble: Trouble, reason: str, *, now: float) -> Decision:
    return replace(state, trouble=replace(trouble, escalated_at=now)), (Escalate(reason),)


def _hold(state: State, trouble: Trouble, strategy: str, held: Held) -> Decision:
    look: tuple[Command, ...] = () if held.until is None else (LookAt(held.until),)
    if trouble.held == (held.guard, strategy):
        return state, look
    trouble = replace(trouble, held=(held.guard, strategy), held_reason=held.reason)
    return replace(state, trouble=trouble), (Hold(held), *look)
