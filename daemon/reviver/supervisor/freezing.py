"""
The freeze: everything is held before the next effect, whatever it is for, until a person thaws it.

It needs neither network nor disk: it is a flag in memory, set by the control socket, by a signal, or by a file. The
journal keeps it over a restart if it can be written; while it can't be, nothing is started anyway.
"""

import os
from collections.abc import Callable
from pathlib import Path

import anyio

from reviver.clients import files

LOOK_EVERY = 0.4  # seconds; with LOOK_WITHIN, a freeze by file is obeyed within a second
LOOK_WITHIN = 0.5  # seconds that the file system may take to answer
BY_FILE = "file "
"""How the name of who froze begins when it is a file: such a freeze ends with the file."""

Tell = Callable[[str], None]


async def watch(file: Path, tell: Tell) -> None:
    """*tell* why *file* freezes reviver (empty: it doesn't), at each change. Runs until cancelled."""
    asking, last = files.MayHang(), ""
    while True:
        why = await _look(file, asking)
        if why != last:
            last = why
            tell(why)
        await anyio.sleep(LOOK_EVERY)


async def _look(file: Path, asking: files.MayHang) -> str:
    try:
        there = await asking.call(str(file), lambda: os.path.lexists(file), within=LOOK_WITHIN)
    except TimeoutError:  # can't be told, and nobody is harmed by an action that comes later
        return f"{file} can't be looked at: its file system does not answer within {LOOK_WITHIN:g} s"
    except OSError as error:
        return f"{file} can't be looked at: {error.strerror}"
    return f"{file} is there" if there else ""
