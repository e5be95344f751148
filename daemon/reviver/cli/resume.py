"""``reviver resume``: the daemon may act again."""

from .daemon import order
from .exits import OK
from .options import Config, Json, Names, Socket, socket_path
from .output import print_json


def resume(*names: Names, json: Json = False, socket: Socket = None, config: Config = None) -> int:
    """
    End a pause.

    Without names: every pause.
    """
    answer = order(socket_path(socket, config), "/api/v1/resume", services=list(names))
    if json:
        print_json(answer)
    else:
        print(f"resumed: {', '.join(answer['services']) or 'none was paused'}")
    return OK
