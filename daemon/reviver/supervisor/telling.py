"""What the journal says of the core's commands."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import assert_never

from reviver.core import decide, severity
from reviver.model import journal as j
from reviver.model.services import Service

from .watched import Watched


def told(watched: Watched, command: decide.NoteFault | decide.Hold | decide.Escalate | decide.Close) -> j.Entry:
    """What the journal says of *command*."""
    match command:
        case decide.NoteFault(fault):
            return j.FaultChanged(
                service=watched.name,
                incident=watched.incident,
                fault=fault.kind,
                message=fault.message,
                certain=fault.certain,
            )
        case decide.Hold(held):
            return j.RecoveryHeld(service=watched.name, incident=watched.incident, guard=held.guard, reason=held.reason)
        case decide.Escalate(reason, stop):
            return j.IncidentEscalated(service=watched.name, incident=watched.incident, reason=reason, stops=stop.value)
        case decide.Close(by, down_for):
            return j.IncidentRecovered(service=watched.name, incident=watched.incident, by=by, down_for=down_for)
        case _:
            assert_never(command)


def opened(watched: Watched, command: decide.Open, services: Mapping[str, Service], *, wall: float) -> j.Entry:
    """The opening of an incident, or of the last one again; a new one gets its id."""
    fault = command.fault
    if command.again:
        return j.IncidentReopened(
            service=watched.name,
            incident=watched.incident,
            fault=fault.kind,
            message=fault.message,
            certain=fault.certain,
            failing_for=command.failing_for,
        )
    affected = severity.impact(watched.name, services)
    at = datetime.fromtimestamp(wall, UTC)
    watched.incident = f"{watched.name}-{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}"
    return j.IncidentOpened(
        service=watched.name,
        incident=watched.incident,
        fault=fault.kind,
        message=fault.message,
        certain=fault.certain,
        severity=severity.severity(watched.name, affected, services),
        impact=affected,
        failing_for=command.failing_for,
        noticed_ago=command.noticed_ago,
        details=fault.details,
    )
