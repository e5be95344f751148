"""Exit codes, as sysexits(3) has them; only ``check`` speaks the monitoring plugins' language."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 64
UNREACHABLE: Final = 69
"""No daemon answers on the control socket."""
HELD: Final = 75
"""Try later: a guard, a pause or a running attempt speaks against it."""
FORBIDDEN: Final = 77
BAD_CONFIG: Final = 78

HEALTHY: Final = 0
FAULT: Final = 2
UNKNOWN: Final = 3
"""Also what ``check`` answers when it can't ask at all: bad usage, bad settings."""


class Stop(Exception):
    """The command can't go on; the text is a line for whoever typed it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
