"""How long to wait before the next attempt of a strategy."""

from typing import assert_never

from reviver.model.services import Backoff, Jitter


def delay(attempt: int, policy: Backoff, *, random: float) -> float:
    """
    Seconds to wait before *attempt* (the first retry is 1), never more than ``policy.max``.

    Args:
        attempt: 1 or more.
        policy: The strategy's backoff.
        random: In [0, 1), drawn by the caller so that a replay gives the same pause.

    Source of the jitters: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/; unlike there,
    "full" starts from the initial pause and not from zero, for a retry at once is what backoff is to prevent.
    """
    ceiling = min(policy.initial, policy.max)
    for _ in range(attempt - 1):
        ceiling = min(ceiling * policy.factor, policy.max)
    match policy.jitter:
        case Jitter.NONE:
            return ceiling
        case Jitter.EQUAL:
            return ceiling / 2 + random * ceiling / 2
        case Jitter.FULL:
            floor = min(policy.initial, ceiling)
            return floor + random * (ceiling - floor)
        case _:
            assert_never(policy.jitter)
