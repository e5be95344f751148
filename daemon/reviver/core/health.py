"""
What to believe of a service after one more answer, and when to ask again.

Decides from counted answers alone: thresholds, quick confirming probes, no verdict from a sample that reviver itself
delayed. Knows nothing of recovery; that is ``decide``'s business.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from reviver.model.checks import CheckResult
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.services import Service

CERTAIN_PAUSE = 0.1  # seconds between confirming probes when the process is known to be gone
PASS_PAUSE = 0.25  # seconds between the passes that lead a failed service back up
DOWN_PAUSE = 5.0  # a service that is down is asked this often, in seconds, or every interval if that is shorter
RUNS_KEPT = 16  # changes of kind that are remembered within a row of failures
VOID_SHARE = 0.25  # of the timeout: when our own loop lagged longer than this, a failure proves nothing (safety: P6)


class Signal(StrEnum):
    """What one answer, or an attempt, means for the belief."""

    PASSED = "passed"  # healthy, fewer than `rise` times in a row
    ROSE = "rose"  # healthy `rise` times in a row
    FAILED = "failed"  # a fault, fewer than `fall` times in a row
    FELL = "fell"  # a fault `fall` times in a row
    BLINDED = "blinded"  # the check could not tell `fall` times in a row
    TREATED = "treated"  # an attempt starts
    CURED = "cured"  # an attempt ended with its verification passed
    LEFT = "left"  # an attempt ended without recovery
    PAUSED = "paused"  # a person said hands off
    RESUMED = "resumed"  # … and took it back


_H, _S = Health, Signal

TRANSITIONS: dict[Health, dict[Signal, Health]] = {
    _H.UNKNOWN: {_S.PASSED: _H.UP, _S.ROSE: _H.UP, _S.FAILED: _H.SUSPECT, _S.FELL: _H.DOWN, _S.PAUSED: _H.PAUSED},
    _H.UP: {_S.FAILED: _H.SUSPECT, _S.FELL: _H.DOWN, _S.BLINDED: _H.UNKNOWN, _S.PAUSED: _H.PAUSED},
    _H.SUSPECT: {
        _S.PASSED: _H.UP,
        _S.ROSE: _H.UP,
        _S.FELL: _H.DOWN,
        _S.BLINDED: _H.UNKNOWN,
        _S.PAUSED: _H.PAUSED,
    },
    _H.DOWN: {_S.ROSE: _H.UP, _S.TREATED: _H.RECOVERING, _S.PAUSED: _H.PAUSED},
    _H.RECOVERING: {_S.CURED: _H.UP, _S.LEFT: _H.DOWN, _S.PAUSED: _H.PAUSED},
    _H.PAUSED: {_S.RESUMED: _H.UNKNOWN},
}
"""Every change of health; a signal that a row lacks changes nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """Failures of one kind in a row."""

    kind: FaultKind
    since: float
    """When the first of them was asked for."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is believed of one service. Times are seconds on the monotonic axis."""

    health: Health = Health.UNKNOWN
    since: float = 0.0
    """When the health became what it is."""
    failures_in_row: int = 0
    """Counted faults since the last pass."""
    passes_in_row: int = 0
    """Counted passes since the last fault."""
    unknowns_in_row: int = 0
    runs: tuple[Run, ...] = ()
    """The failures in a row by kind, newest last."""
    failing_since: float | None = None
    """When the first question of this row of failures was asked; kept until the service is up again."""
    noticed_at: float = 0.0
    """When the first answer of this row of failures came."""
    fault: Fault | None = None
    """The latest fault while it is failing."""
    fault_at: float = 0.0
    """When the latest fault was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer with its place in time."""

    result: CheckResult
    asked_at: float
    answered_at: float
    lag: float = 0.0
    """The longest time, in seconds, that our own loop was late while the question was under way."""


def void(sample: Sample, *, timeout: float) -> bool:
    """Whether *sample* is a failure that our own lateness may have forged. A pass is always a pass."""
    return sample.result.fault is not None and sample.lag > VOID_SHARE * timeout


def judge(belief: Belief, sample: Sample, service: Service) -> Belief:
    """The belief after *sample*."""
    result = sample.result
    if void(sample, timeout=service.timeout):
        return belief
    if result.healthy:
        return _passed(belief, sample, service)
    if result.fault is None:
        unknowns = belief.unknowns_in_row + 1
        blinded = replace(belief, unknowns_in_row=unknowns, passes_in_row=0)
        return _blinded(blinded, sample.answered_at) if unknowns >= service.fall else blinded
    failures = belief.failures_in_row + 1
    failed = replace(
        belief,
        failures_in_row=failures,
        passes_in_row=0,
        unknowns_in_row=0,
        runs=_lengthened(belief.runs, result.fault.kind, sample.asked_at),
        failing_since=sample.asked_at if belief.failing_since is None else belief.failing_since,
        noticed_at=sample.answered_at if belief.failing_since is None else belief.noticed_at,
        fault=result.fault,
        fault_at=sample.answered_at,
    )
    return signalled(failed, Signal.FELL if failures >= service.fall else Signal.FAILED, sample.answered_at)


def _lengthened(runs: tuple[Run, ...], kind: FaultKind, asked_at: float) -> tuple[Run, ...]:
    if runs and runs[-1].kind is kind:
        return (*runs[:-1], Run(kind, runs[-1].since, runs[-1].count + 1))
    return (*runs[-RUNS_KEPT + 1 :], Run(kind, asked_at, 1))


def _blinded(belief: Belief, now: float) -> Belief:
    """What was seen before proves nothing after so long a blindness; an incident that is open stays open."""
    blinded = signalled(replace(belief, failures_in_row=0, runs=()), Signal.BLINDED, now)
    return replace(blinded, failing_since=None, fault=None) if blinded.health is Health.UNKNOWN else blinded


def streak(belief: Belief, kinds: Collection[FaultKind]) -> tuple[int, float]:
    """How many of the latest failures in a row were of *kinds*, and when the first of these was asked for."""
    count, since = 0, float("inf")
    for run in reversed(belief.runs):
        if run.kind not in kinds:
            break
        count, since = count + run.count, run.since
    return count, since


def unproven(belief: Belief) -> Belief:
    """The belief with its failures in a row forgotten: they have to be confirmed anew."""
    return replace(belief, failures_in_row=0, runs=())


def _passed(belief: Belief, sample: Sample, service: Service) -> Belief:
    if belief.health is Health.UP and belief.passes_in_row >= service.rise:
        return belief  # the healthy path, nearly always
    passes = belief.passes_in_row + 1
    signal = Signal.ROSE if passes >= service.rise else Signal.PASSED
    passed = signalled(
        replace(belief, passes_in_row=passes, failures_in_row=0, unknowns_in_row=0, runs=()), signal, sample.answered_at
    )
    well = passed.health is Health.UP or (passed.health is Health.PAUSED and signal is Signal.ROSE)
    return replace(passed, failing_since=None, fault=None) if well else passed


def signalled(belief: Belief, signal: Signal, now: float) -> Belief:
    """The belief after *signal*, with its counters as they are."""
    health = TRANSITIONS[belief.health].get(signal, belief.health)
    if health is belief.health:
        return belief
    if signal is Signal.RESUMED:  # judged afresh
        return Belief(health=health, since=now)
    if signal is Signal.CURED:
        return replace(belief, health=health, since=now, failures_in_row=0, runs=(), failing_since=None, fault=None)
    if signal is Signal.TREATED:  # what passed before the treatment proves nothing about it
        return replace(belief, health=health, since=now, passes_in_row=0)
    return replace(belief, health=health, since=now)


def pause_until_next(belief: Belief, service: Service) -> float:
    """Seconds from one answer to the next question, while the regular interval doesn't serve; else the interval."""
    if belief.health in {Health.PAUSED, Health.UP}:
        return service.interval
    if belief.passes_in_row:
        return min(PASS_PAUSE, service.interval)
    if belief.health is Health.SUSPECT or (belief.health is Health.DOWN and belief.failures_in_row < service.fall):
        certain = belief.fault is not None and belief.fault.certain
        return min(CERTAIN_PAUSE if certain else service.confirm, service.interval)
    if belief.health in {Health.DOWN, Health.RECOVERING}:
        return min(DOWN_PAUSE, service.interval)
    return service.interval
