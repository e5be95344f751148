"""``reviver freeze`` and ``reviver thaw``: the switch that stops everything."""

from typing import Annotated

from cyclopts import Parameter

from .daemon import order
from .exits import HELD, OK
from .options import Config, Json, Socket, socket_path
from .output import print_json, say

Reason = Annotated[str, Parameter(name="--reason", help="Why, for the others.")]


def freeze(*, reason: Reason = "", json: Json = False, socket: Socket = None, config: Config = None) -> int:
    """
    Hold everything before its next effect, at once, until it is thawed.

    Watching and telling go on. It outlives a restart of the daemon. The same without this command: `touch` the file
    FREEZE beside the control socket, or send the daemon SIGUSR1.
    """
    answer = order(socket_path(socket, config), "/api/v1/freeze", reason=reason)
    if json:
        print_json(answer)
    else:
        print(answer["frozen"])
    return OK


def thaw(*, json: Json = False, socket: Socket = None, config: Config = None) -> int:
    """
    End a freeze.

    One by a file ends when the file is taken away: until then the exit code is 75.
    """
    answer = order(socket_path(socket, config), "/api/v1/thaw")
    if json:
        print_json(answer)
    elif not answer["frozen"]:
        print("thawed")
    if answer["frozen"]:
        say(f"still {answer['frozen']}")
        return HELD
    return OK
