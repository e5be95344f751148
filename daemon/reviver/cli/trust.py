"""``reviver trust``: what each strategy has earned."""

from typing import Annotated, Any, Final

from cyclopts import Parameter

from .daemon import ask
from .exits import OK
from .options import Config, Json, Socket, socket_path
from .output import Row, clock, print_json, print_table, say

Service = Annotated[str | None, Parameter(help="Of this service only.")]

HEADERS: Final = ("SERVICE", "STRATEGY", "MODE", "TRIES", "CURES", "RELAPSES-1H", "RELAPSES-24H", "LAST")


def trust(service: Service = None, /, *, json: Json = False, socket: Socket = None, config: Config = None) -> int:
    """
    Show what each strategy has earned in the last 90 days.

    A try is an attempt that came to a step; a cure is a try that was verified; a relapse is a fall of the service
    within an hour, or a day, of a cure. `reviver promote` trusts a strategy again that was demoted.
    """
    answer = ask(socket_path(socket, config), "/api/v1/trust", service=service)
    if json:
        print_json(answer)
    elif answer["strategies"]:
        print_table(HEADERS, [_row(each) for each in answer["strategies"]])
    else:
        say("no strategies")
    return OK


def _row(strategy: dict[str, Any]) -> Row:
    counts = [str(strategy[name]) for name in ("tries", "cures", "relapses_1h", "relapses_24h")]
    return (strategy["service"], strategy["strategy"], strategy["mode"], *counts, _last(strategy))


def _last(strategy: dict[str, Any]) -> list[str]:
    """The latest cure or relapse, and why it was demoted."""
    told = [(at, word) for word in ("cure", "relapse") if (at := strategy[f"last_{word}"]) is not None]
    latest = [f"{word} {clock(at)}" for at, word in sorted(told)[-1:]]
    return [*latest, f"demoted: {strategy['demoted']}"] if strategy["demoted"] else latest
