"""``reviver approve`` and ``reviver deny``: a person's word on what the daemon asks for."""

import sys
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from .daemon import ask, order
from .exits import HELD, OK, USAGE, Stop
from .options import Config, Json, Socket, socket_path
from .output import clock, print_json, say

Service = Annotated[str, Parameter(help="The service's name.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], help="Approve without being asked once more.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why, for the others.")]


def approve(
    service: Annotated[str | None, Parameter(help="The service's name; without it, all that waits is listed.")] = None,
    /,
    *,
    yes: Yes = False,
    json: Json = False,
    socket: Socket = None,
    config: Config = None,
) -> int:
    """
    Show what waits for a person's word, and let it start.

    Says exactly what would be done, and approves that very plan: if another would be done by now, the daemon refuses.
    Nothing waits: exit code 75.
    """
    control = socket_path(socket, config)
    waiting = ask(control, "/api/v1/approvals")["approvals"]
    if service is None:
        if json:
            print_json({"approvals": waiting})
        else:
            for request in waiting:
                _show(request)
            say("" if waiting else "nothing waits for an approval")
        return OK
    request = next((each for each in waiting if each["service"] == service), None)
    if request is None:
        raise Stop(
            f"{service}: nothing waits for an approval; reviver recover {service} starts its next strategy", HELD
        )
    if not json:
        _show(request)
    if not yes:
        _ask_once_more(service)
    path = f"/api/v1/services/{quote(service, safe='')}/approve"
    answer = order(control, path, token=request["token"])
    if json:
        print_json(answer)
    else:
        print(answer["message"])
    return OK


def deny(
    service: Service,
    /,
    *,
    reason: Reason = "",
    json: Json = False,
    socket: Socket = None,
    config: Config = None,
) -> int:
    """
    Deny what a service waits with: the ladder goes on without it in this incident.

    Nothing waits: exit code 75.
    """
    answer = order(socket_path(socket, config), f"/api/v1/services/{quote(service, safe='')}/deny", reason=reason)
    if json:
        print_json(answer)
    else:
        print(answer["message"])
    return OK


def _show(request: dict[str, Any]) -> None:
    print(f"{request['service']}: {request['fault']}: {request['message']}")
    print(f'incident {request["incident"]}, attempt {request["attempt"]}: strategy "{request["strategy"]}" would')
    for number, line in enumerate(request["plan"], start=1):
        print(f"  {number}. {line}")
    if request["destructive"]:
        print("This can't be brought back.")
    print(f"The request holds until {clock(request['expires_at'])}.\n")


def _ask_once_more(service: str) -> None:
    if not sys.stdin.isatty():
        raise Stop("nobody can be asked once more here; say --yes to approve", USAGE)
    if input(f'Type "{service}" to approve: ').strip() != service:
        raise Stop("not approved", HELD)
