"""``reviver status``: what the running daemon believes, and what it does about it."""

from typing import Annotated, Any

from cyclopts import Parameter

from .daemon import ask
from .exits import OK
from .options import Config, Json, Socket, socket_path
from .output import Row, print_json, print_table, say, seconds

Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], help="Print nothing; the exit code tells if it is alive.")]


def status(*, quiet: Quiet = False, json: Json = False, socket: Socket = None, config: Config = None) -> int:
    """
    Show what the running daemon believes and does.

    The exit code tells of the daemon, not of the services: 0 if it answers, 69 if not. So `reviver status --quiet` is
    the health check of a container; for the services' own health there is `reviver check`.
    """
    from reviver.clients.clock import SystemClock

    health = ask(socket_path(socket, config), "/api/v1/health")
    if quiet:
        return OK
    if json:
        print_json(health)
        return OK
    services = health["services"]
    if health["frozen"]:
        say(health["frozen"])
    now = SystemClock().wall()
    print_table(("SERVICE", "HEALTH", "FOR", "LATENCY", "WHAT"), [_row(n, s, now) for n, s in services.items()])
    up = sum(service["health"] == "up" for service in services.values())
    say(f"{up} of {len(services)} up")
    if health["observer_suspect"]:
        say(f"reviver suspects itself: {health['observer_suspect']}")
    return OK


def _row(name: str, service: dict[str, Any], now: float) -> Row:
    since = service["since"]
    lasting = None if since is None else now - since
    return name, service["health"], seconds(lasting), seconds(service["latency_seconds"]), _told(service, now)


def _told(service: dict[str, Any], now: float) -> list[str]:
    """What is wrong with a service and what becomes of it, a line each."""
    lines = []
    if service["fault"] or service["message"]:
        lines.append(": ".join(part for part in (service["fault"], service["message"]) if part))
    if service["attempt"]:
        lines.append(f'attempt {service["attempt"]}: strategy "{service["strategy"]}"')
    if service["paused_until"] is not None:
        why = f": {service['paused_reason']}" if service["paused_reason"] else ""
        lines.append(f"paused by {service['paused_by']} for another {seconds(service['paused_until'] - now)}{why}")
    if service["maintenance_until"] is not None:
        lines.append(f"MAINTENANCE {service['maintenance']}")
    if service["held"]:
        lines.append(f"held: {service['held']}")
    if service["incident"]:
        lines.append(f"incident {service['incident']}")
    return lines
