"""Health: what the supervisor believes of a service after thresholds."""

from enum import StrEnum


class Health(StrEnum):
    """The belief about one service."""

    UNKNOWN = "unknown"  # not asked yet, or the check can't tell
    UP = "up"
    SUSPECT = "suspect"  # failed, not yet confirmed: shown, not acted upon
    DOWN = "down"  # confirmed
    RECOVERING = "recovering"  # an attempt is under way
    PAUSED = "paused"  # a person told reviver to keep its hands off
