"""``reviver explain``: why each decision of an incident was taken, and what comes next."""

from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from .daemon import ask
from .exits import OK
from .options import Config, Json, Socket, socket_path
from .output import clock, print_json, time_of_day

Incident = Annotated[str, Parameter(help="The incident's id, or a service's name: its latest incident.")]


def explain(incident: Incident, /, *, json: Json = False, socket: Socket = None, config: Config = None) -> int:
    """
    Say why each decision of an incident was taken, and what comes next.

    From the journal alone: which answers, which thresholds, which guard, which rung of the ladder.
    """
    answer = ask(socket_path(socket, config), f"/api/v1/incidents/{quote(incident, safe='')}/explain")
    if json:
        print_json(answer)
        return OK
    print(f"{answer['incident']}: {answer['service']} {answer['state']}")
    for decision in answer["decisions"]:
        _tell(decision)
    at = "" if answer["next_at"] is None else f" ({clock(answer['next_at'])})"
    print(f"\nnext{at}: {answer['next']}")
    return OK


def _tell(decision: dict[str, Any]) -> None:
    print(f"\n{time_of_day(decision['at'])}  {decision['what']}")
    for line in decision["because"]:
        print(f"          {line}")
