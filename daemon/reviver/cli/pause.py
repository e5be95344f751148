"""``reviver pause``: people take a service into their own hands."""

from typing import Annotated, Final

from cyclopts import Parameter

from .daemon import order
from .exits import OK, USAGE, Stop
from .options import Config, Json, Names, Socket, socket_path
from .output import clock, print_json

SHORT: Final = 3600.0
"""Seconds up to which a pause needs no reason: later nobody remembers why."""
LONGEST: Final = 86400.0
"""Seconds; the daemon refuses more, so that a forgotten pause ends by itself."""

For = Annotated[
    str, Parameter(name="--for", metavar="DURATION", show_default=True, help="How long, such as 90m; at most 24h.")
]
Reason = Annotated[str, Parameter(name="--reason", help="Why, for the others; needed for more than an hour.")]


def pause(
    *names: Names,
    lasting: For = "1h",
    reason: Reason = "",
    json: Json = False,
    socket: Socket = None,
    config: Config = None,
) -> int:
    """
    Keep the daemon's hands off services for a while.

    It goes on watching and telling, and starts no recovery. An attempt under way stops before its next step.
    """
    seconds = _seconds(lasting)
    if seconds > SHORT and not reason:
        raise Stop("say --reason for a pause of more than an hour; the others will want to know", USAGE)
    body = {"seconds": seconds, "reason": reason or "no reason given"}
    control = socket_path(socket, config)
    answer = order(control, "/api/v1/pause", services=list(names), **body)
    if json:
        print_json(answer)
    else:
        until = "" if answer["until"] is None else f", until {clock(answer['until'])}"
        print(f"paused: {', '.join(answer['services'])}{until}")
    return OK


def _seconds(text: str) -> float:
    from reviver.model.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Stop(f'--for "{text}": {error}', USAGE) from error
    if not 0 < seconds <= LONGEST:
        raise Stop(f'--for "{text}": a pause lasts more than nothing and at most 24h; renew it if need be', USAGE)
    return seconds
