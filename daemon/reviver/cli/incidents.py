"""``reviver incidents``: what went wrong and what became of it."""

from json import dumps
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import Parameter

from .daemon import ask
from .exits import OK
from .options import Config, Json, Socket, socket_path
from .output import Row, clock, print_json, print_table, say, seconds, time_of_day

Incident = Annotated[str | None, Parameter(help="Tell this one in full: its timeline, and the evidence taken.")]
Service = Annotated[str | None, Parameter(name="--service", help="Of this service only.")]
Limit = Annotated[int, Parameter(name=["--limit", "-n"], show_default=True, help="At most so many.")]

HEADERS: Final = ("INCIDENT", "STATE", "NOTICED", "RECOVERED", "WHAT")
"""``NOTICED`` and ``RECOVERED`` say how long it took. The id begins with the service's name."""


def incidents(
    incident: Incident = None,
    /,
    *,
    service: Service = None,
    limit: Limit = 20,
    json: Json = False,
    socket: Socket = None,
    config: Config = None,
) -> int:
    """List the latest incidents, newest first, or tell one in full."""
    control = socket_path(socket, config)
    if incident is None:
        answer = ask(control, "/api/v1/incidents", limit=limit, service=service)
    else:
        answer = ask(control, f"/api/v1/incidents/{quote(incident, safe='')}")
    if json:
        print_json(answer)
    elif incident is not None:
        _tell(answer)
    elif answer["incidents"]:
        print_table(HEADERS, [_row(each) for each in answer["incidents"]])
    else:
        say("no incidents")
    return OK


def _row(incident: dict[str, Any]) -> Row:
    return (
        incident["id"],
        incident["state"],
        seconds(incident["noticed_at"] - incident["failing_since"]),
        seconds(incident["recovered_in"]),
        [incident["fault"], *_ending(incident)],
    )


def _ending(incident: dict[str, Any]) -> list[str]:
    """What ended it, or why nothing did yet."""
    if incident["recovered_by"]:
        return [f"by {incident['recovered_by']}"]
    return [incident["reason"]] if incident["reason"] else []


def _tell(incident: dict[str, Any]) -> None:
    """All of one incident: the facts, the timeline, the evidence."""
    print_table(None, _facts(incident))
    print("\nTimeline")
    since = incident["failing_since"]
    rows = [(time_of_day(e["at"]), f"+{seconds(e['at'] - since)}", e["text"]) for e in incident["timeline"]]
    print_table(None, rows)
    for attempt in incident["attempts"]:
        if attempt["evidence"]:
            print(f"\nEvidence before attempt {attempt['attempt']}")
            print(dumps(attempt["evidence"], indent=2, ensure_ascii=False))


def _facts(incident: dict[str, Any]) -> list[Row]:
    certain = ", certain" if incident["certain"] else ""
    recovered = f"{seconds(incident['recovered_in'])}, by {incident['recovered_by']}"
    facts: list[Row] = [
        ("incident", incident["id"]),
        ("service", incident["service"]),
        ("state", incident["state"]),
        ("severity", incident["severity"]),
        ("impact", ", ".join(incident["impact"])),
        ("fault", f"{incident['fault']}{certain}: {incident['message']}"),
        ("failing since", clock(incident["failing_since"])),
        ("noticed in", seconds(incident["noticed_at"] - incident["failing_since"])),
        ("confirmed in", seconds(incident["confirmed_in"])),
        ("recovered in", recovered if incident["recovered_in"] is not None else ""),
        ("relapses", str(incident["relapses"])),
        ("reason", incident["reason"]),
    ]
    return [fact for fact in facts if fact[1] not in {"", "0"}]
