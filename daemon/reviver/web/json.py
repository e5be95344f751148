"""
How the words of the model read as JSON, in the API and in what the CLI prints of it.

Times are Unix seconds, durations are seconds; ``docs/api.md`` describes the fields.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from reviver.core.explain import Explanation
from reviver.model.control import ApprovalView, ServiceView, TrustView
from reviver.model.faults import JsonValue
from reviver.model.incidents import AttemptRecord, Incident, Request, StepRecord

INCIDENTS_MAX: Final = 200  # in one answer
# What of the records is for the daemon alone, or told in another form.
NOT_OF_INCIDENT: Final = frozenset({"failing_age", "ended_age", "attempts", "timeline", "approval", "observed"})
NOT_OF_REQUEST: Final = frozenset({"expires_in"})
NOT_OF_ATTEMPT: Final = frozenset({"started_age", "ended_age", "steps"})


def dumps(value: Any) -> bytes:
    """*value* as JSON that every parser takes: no NaN, no half characters."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def plain(value: Any) -> JsonValue:
    """*value*, out of the model or out of a check's details, in JSON's own types."""
    if isinstance(value, str):  # an enum's member, too
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def service_json(view: ServiceView) -> dict[str, JsonValue]:
    """One service of ``GET /api/v1/health``."""
    return {f.name: plain(getattr(view, f.name)) for f in fields(view)}


def approval_json(view: ApprovalView) -> dict[str, JsonValue]:
    """One request of ``GET /api/v1/approvals``."""
    return {f.name: plain(getattr(view, f.name)) for f in fields(view)}


def trust_json(view: TrustView) -> dict[str, JsonValue]:
    """One strategy of ``GET /api/v1/trust``."""
    return {f.name: plain(getattr(view, f.name)) for f in fields(view)}


def incident_summary(incident: Incident) -> dict[str, JsonValue]:
    """One incident of ``GET /api/v1/incidents``: what fits into a line."""
    summary = _fields(incident, without=NOT_OF_INCIDENT)
    return summary | {
        "attempts_made": len(incident.attempts),
        "observed": [each.strategy for each in incident.observed],
        "approval": None if incident.approval is None else _fields(incident.approval, without=NOT_OF_REQUEST),
    }


def incident_json(incident: Incident) -> dict[str, JsonValue]:
    """``GET /api/v1/incidents/ID``: the incident in full, with its timeline, attempts and evidence."""
    return incident_summary(incident) | {
        "attempts": [_attempt_json(attempt) for attempt in incident.attempts],
        "timeline": [{"at": at, "text": text} for at, text in incident.timeline],
    }


def explanation_json(explanation: Explanation) -> dict[str, JsonValue]:
    """``GET /api/v1/incidents/ID/explain``."""
    incident = explanation.incident
    return {
        "incident": incident.id,
        "service": incident.service,
        "state": plain(incident.state),
        "decisions": [{"at": d.at, "what": d.what, "because": list(d.because)} for d in explanation.decisions],
        "next": explanation.next,
        "next_at": explanation.next_at,
    }


def _attempt_json(attempt: AttemptRecord) -> dict[str, JsonValue]:
    return _fields(attempt, without=NOT_OF_ATTEMPT) | {"steps": [_step_json(step) for step in attempt.steps]}


def _step_json(step: StepRecord) -> dict[str, JsonValue]:
    return _fields(step, without=frozenset())


def _fields(
    record: Incident | AttemptRecord | StepRecord | Request, *, without: frozenset[str]
) -> dict[str, JsonValue]:
    return {f.name: plain(getattr(record, f.name)) for f in fields(record) if f.name not in without}
