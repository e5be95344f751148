"""``reviver recover``: a person's word that a recovery shall start now."""

from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from .daemon import order
from .exits import OK
from .options import Config, Json, Socket, socket_path
from .output import print_json

Strategy = Annotated[str | None, Parameter(name="--strategy", help="This strategy instead of the ladder's next.")]
DryRun = Annotated[bool, Parameter(name="--dry-run", help="Only say what would be done.")]


def recover(
    service: Annotated[str, Parameter(help="The service's name.")],
    /,
    *,
    strategy: Strategy = None,
    dry_run: DryRun = False,
    json: Json = False,
    socket: Socket = None,
    config: Config = None,
) -> int:
    """
    Start a service's recovery now.

    Waiting times, budgets and a wanted approval are overridden by your word; a running attempt, a pause,
    `mode = "observe"` and a broken journal are not: then the exit code is 75.
    """
    path = f"/api/v1/services/{quote(service, safe='')}/recover"
    answer = order(socket_path(socket, config), path, strategy=strategy, dry_run=dry_run)
    if json:
        print_json(answer)
    else:
        print(answer["message"])
    return OK
