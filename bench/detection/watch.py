"""One watch: a detector asks a world until it acts, or until nothing is left of what went wrong."""

import math
from dataclasses import dataclass

from reviver.core.health import void
from reviver.recovery.run import SYMPTOM_FRESH

from .detectors import Detector, sample
from .world import World


@dataclass(slots=True)
class Seen:
    """What a watch came to."""

    acted_at: float | None
    suspected_at: float | None
    """When the service was shown as suspect, and has not been calm since."""
    ended_at: float
    failed: bool
    """Whether any question failed."""
    failing_from: float = math.inf
    """When the first question that failed was asked."""


def watch(detector: Detector, world: World, *, until: float, calm_from: float = math.inf, acts: bool = True) -> Seen:
    """
    Ask from `detector.due` on until it acts, until it is calm after *calm_from*, or *until*.

    As recovery does, a symptom older than ``SYMPTOM_FRESH`` is looked at again before anything is done; a question
    under way is waited for. With *acts* false it is only watched.
    """
    seen = Seen(None, None, detector.due, failed=False)
    while True:
        at = world.awake(detector.due)
        decided_at, symptom_at = detector.acts_at, detector.symptom_at
        if not acts or decided_at > at:
            if at >= until:
                return seen
            _ask(detector, world, seen, at)
            if not acts or decided_at > seen.ended_at:
                if detector.calm and seen.ended_at >= calm_from:
                    return seen
                continue
            at = seen.ended_at
        else:
            at = world.awake(decided_at)
        if decided_at - symptom_at <= SYMPTOM_FRESH:
            return _acted(seen, decided_at)
        failed = _ask(detector, world, seen, at)
        if failed:
            return _acted(seen, seen.ended_at)
        if failed is None:
            detector.look_failed_to_tell(seen.ended_at)


def _acted(seen: Seen, at: float) -> Seen:
    seen.acted_at = seen.ended_at = at
    if seen.suspected_at is None:
        seen.suspected_at = at
    return seen


def _ask(detector: Detector, world: World, seen: Seen, at: float) -> bool | None:
    """Whether the service failed; ``None``: can't tell."""
    suspect_at, timeout = detector.suspect_at, detector.timeout
    acts_in = detector.acts_at - at
    answer = world.ask(at, timeout=timeout, matters_after=acts_in if acts_in > 0 else timeout)
    heard = sample(at, answer)
    proves_nothing = void(heard, timeout=timeout)
    detector.hear(heard)
    seen.ended_at = answer.at
    if detector.calm:
        seen.suspected_at = None
    elif seen.suspected_at is None and min(suspect_at, detector.suspect_at) <= answer.at:
        seen.suspected_at = min(suspect_at, detector.suspect_at)
    if proves_nothing:
        return None
    if answer.fault is not None:
        if not seen.failed:
            seen.failing_from = at
        seen.failed = True
    return answer.fault is not None
