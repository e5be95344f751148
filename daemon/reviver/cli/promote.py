"""``reviver promote``: a person's word that a strategy is trusted again."""

from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from .daemon import order
from .exits import OK
from .options import Config, Json, Socket, socket_path
from .output import print_json


def promote(
    service: Annotated[str, Parameter(help="The service's name.")],
    strategy: Annotated[str, Parameter(help="The strategy's name, as reviver trust lists it.")],
    /,
    *,
    json: Json = False,
    socket: Socket = None,
    config: Config = None,
) -> int:
    """
    Trust a demoted strategy again.

    It acts by itself as far as the settings say. Its relapses so far are no longer held against it.
    """
    path = f"/api/v1/services/{quote(service, safe='')}/promote"
    answer = order(socket_path(socket, config), path, strategy=strategy)
    if json:
        print_json(answer)
    else:
        print(answer["message"])
    return OK
