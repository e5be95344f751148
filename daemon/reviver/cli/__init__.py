"""
The commands, one file each: parse, call, print. Data goes to stdout, talk to stderr.

What is heavy (settings, kinds, rich, clients) is imported by the functions that need it: ``status`` runs often.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from cyclopts import App, CycloptsError, Parameter

from reviver import __version__

from . import exits
from .approve import approve, deny
from .audit import audit
from .check import check
from .completion import completion
from .demo import demo
from .explain import explain
from .freeze import freeze, thaw
from .incidents import incidents
from .pause import pause
from .promote import promote
from .recover import recover
from .replay import replay
from .resume import resume
from .run import run
from .schema import schema
from .status import status
from .trust import trust
from .validate import validate

Command: TypeAlias = Callable[..., int]
"""Returns the exit code."""

COMMANDS: Final[Sequence[Command]] = (
    run,
    status,
    incidents,
    explain,
    recover,
    approve,
    deny,
    pause,
    resume,
    freeze,
    thaw,
    trust,
    promote,
    check,
    audit,
    validate,
    replay,
    schema,
    demo,
    completion,
)
"""In the order in which ``reviver --help`` lists them."""

app = App(
    name="reviver",
    help="Watches PostgreSQL, Redis, HTTP APIs and queues, names the fault, recovers, and proves it.",
    version=__version__,
    default_parameter=Parameter(negative=(), show_default=False),
    result_action="return_int_as_exit_code_else_zero",
    print_error=False,
    exit_on_error=False,
)
for _place, _command in enumerate(COMMANDS):
    app.command(_command, sort_key=_place)

_NOT_ASKED: Final = {exits.FAILED, exits.USAGE, exits.BAD_CONFIG}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code after doing what *arguments* (default: the process's) say."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = int(app(tokens))
        sys.stdout.flush()
    except CycloptsError as error:
        print(f"reviver: {error} See reviver --help.", file=sys.stderr)
        code = exits.USAGE
    except exits.Stop as stop:
        print(f"reviver: {stop}", file=sys.stderr)
        code = stop.code
    except BrokenPipeError:  # whoever reads has seen enough; the interpreter flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # as if ended by SIGPIPE
    # To a monitoring system 1 is a warning and 2 a fault of the target; what kept us from asking is neither.
    return exits.UNKNOWN if tokens[:1] == ["check"] and code in _NOT_ASKED else code
