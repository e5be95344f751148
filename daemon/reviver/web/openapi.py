"""
The API, described for programs (OpenAPI 3.1), out of the types that it is made of.

An application whose routes aren't all described here can't be made: a new route needs its line in ``OPERATIONS``.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, get_type_hints

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, create_model
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reviver import __version__
from reviver.model import incidents
from reviver.model.control import ApprovalView, ServiceView, TrustView

from . import json, orders
from .answers import Json

PATH: Final = "/api/v1/openapi.json"
Model = type[BaseModel]


def _model(name: str, base: type | None = None, *, without: frozenset[str] = frozenset(), **more: Any) -> Any:
    """The fields of the dataclass *base*, but for *without*, and *more* of them: none is ever left out of an answer."""
    told = {} if base is None else get_type_hints(base)
    known = {f.name: told[f.name] for f in fields(base) if f.name not in without} if base is not None else {}
    required: dict[str, Any] = {key: (hint, ...) for key, hint in (known | more).items()}
    return create_model(name, **required)


def _list(model: Any) -> Any:
    return GenericAlias(list, (model,))


Step = _model("Step", incidents.StepRecord)
Attempt = _model("Attempt", incidents.AttemptRecord, without=json.NOT_OF_ATTEMPT, steps=_list(Step))
Asked = _model("RequestForApproval", incidents.Request, without=json.NOT_OF_REQUEST)
_summary: Final[Any] = {"attempts_made": int, "observed": list[str], "approval": Asked | None}
Summary = _model("Incident", incidents.Incident, without=json.NOT_OF_INCIDENT, **_summary)
Moment = _model("Moment", at=float, text=str)
Full = _model(
    "IncidentInFull",
    incidents.Incident,
    without=json.NOT_OF_INCIDENT,
    **_summary,
    attempts=_list(Attempt),
    timeline=_list(Moment),
)
Decision = _model("Decision", at=float, what=str, because=list[str])
Explanation = _model(
    "Explanation",
    incident=str,
    service=str,
    state=incidents.IncidentState,
    decisions=_list(Decision),
    next=str,
    next_at=float | None,
)
Service = _model("Service", ServiceView)
Health = _model("Health", frozen=str, healthy=bool, services=GenericAlias(dict, (str, Service)))
Problem = _model("Problem", type=str, title=str, status=int, detail=str)
Done = _model("Done", service=str, message=str)
Frozen = _model("Frozen", frozen=str)
Named = _model("Named", services=list[str])

TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What may be asked at one path by one method, and what is answered."""

    says: str
    answers: Mapping[int, Any]
    """A model for JSON, or ``TEXT``, by status."""
    problems: Sequence[int] = ()
    """Statuses of ``application/problem+json``."""
    query: Mapping[str, Any] = field(default_factory=dict)
    """Types of the parameters, all of which may be left out."""
    body: Model | None = None


def _read(says: str, answer: Any, *problems: int, **more: Any) -> Operation:
    return Operation(says=says, answers={200: answer}, problems=problems, **more)


def _order(says: str, body: Model, answer: Any, *, status: int = 200) -> Operation:
    return Operation(says=says, answers={status: answer}, problems=(400, 403, 404, 409, 413), body=body)


_HEALTHY = _read("200 while the daemon runs", TEXT)
_READY = Operation(
    says="200 once every service has been asked and while the journal can be written", answers={200: TEXT, 503: TEXT}
)
_PAUSED = _model("Paused", services=list[str], until=float | None)
_LIMIT = Annotated[int, Field(ge=1, le=json.INCIDENTS_MAX)]

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/"): _read("What can be asked, for people", TEXT),
    ("GET", PATH): _read("This document", _model("Document", openapi=str, info=JsonValue, paths=JsonValue)),
    ("GET", "/metrics"): _read("For Prometheus", TEXT),
    ("GET", "/-/healthy"): _HEALTHY,
    ("GET", "/healthz"): _HEALTHY,
    ("GET", "/-/ready"): _READY,
    ("GET", "/readyz"): _READY,
    ("GET", "/api/v1/health"): _read("Every service: its health, its fault, what is done about it", Health),
    ("GET", "/api/v1/approvals"): _read(
        "What waits for a person's word", _model("Approvals", approvals=_list(_model("Approval", ApprovalView)))
    ),
    ("GET", "/api/v1/trust"): _read(
        "Every strategy: its tries, cures and relapses",
        _model("Trust", strategies=_list(_model("Strategy", TrustView))),
        404,
        query={"service": str},
    ),
    ("GET", "/api/v1/incidents"): _read(
        "The latest incidents, newest first",
        _model("Incidents", incidents=_list(Summary)),
        400,
        503,
        query={"limit": _LIMIT, "service": str},
    ),
    ("GET", "/api/v1/incidents/{incident}"): _read("One incident in full", Full, 404, 503),
    ("GET", "/api/v1/incidents/{incident}/explain"): _read(
        "Why each decision was taken, and what comes next; for an incident, or a service's latest",
        Explanation,
        404,
        503,
    ),
    ("POST", "/api/v1/pause"): _order("Hands off the services named, or all", orders.Pause, _PAUSED),
    ("POST", "/api/v1/resume"): _order("Hands on again", orders.Resume, Named),
    ("POST", "/api/v1/services/{service}/pause"): _order("Hands off one service", orders.PauseOne, _PAUSED),
    ("POST", "/api/v1/services/{service}/resume"): _order("Hands on one service again", orders.Nothing, Named),
    ("POST", "/api/v1/services/{service}/recover"): Operation(
        says="A recovery now: 202 when it has started, 200 when it is only described",
        answers=dict.fromkeys((200, 202), _model("Recovery", service=str, message=str, dry_run=bool)),
        problems=(400, 403, 404, 409, 413),
        body=orders.Recover,
    ),
    ("POST", "/api/v1/services/{service}/approve"): _order("What waits may start", orders.Approve, Done, status=202),
    ("POST", "/api/v1/services/{service}/deny"): _order("What waits may not start", orders.Because, Done),
    ("POST", "/api/v1/services/{service}/promote"): _order(
        "A strategy that was demoted is trusted again",
        orders.Promote,
        _model("Promoted", service=str, strategy=str, message=str),
    ),
    ("POST", "/api/v1/freeze"): _order("Hold everything before its next effect", orders.Because, Frozen),
    ("POST", "/api/v1/thaw"): _order("Hold it no more", orders.Nothing, Frozen),
    ("POST", "/-/reload"): _order(
        "Read the settings again: all or nothing", orders.Nothing, _model("Reloaded", reloaded=Literal[True])
    ),
}


def described(routes: Sequence[Route]) -> list[Route]:
    """
    *routes*, and one that describes them all.

    Raises:
        KeyError: One of them isn't described in ``OPERATIONS``.
    """

    async def answer(_request: Request) -> Response:
        return Json(document(named))

    together = [Route(PATH, answer), *routes]
    named = tuple(
        (method, route.path) for route in together for method in sorted(route.methods or ()) if method != "HEAD"
    )
    undescribed = [operation for operation in named if operation not in OPERATIONS]
    if undescribed:
        raise KeyError(f"no description in OPERATIONS: {undescribed}")
    return together


@functools.cache
def document(named: Sequence[tuple[str, str]]) -> dict[str, JsonValue]:
    """The OpenAPI document of an application that has the operations *named*."""
    models = {
        m
        for name in named
        for m in (*OPERATIONS[name].answers.values(), OPERATIONS[name].body)
        if m not in {TEXT, None}
    }
    ordered = sorted({*models, Problem}, key=lambda model: str(model.__name__))
    refs, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    at = {model: schema for (model, _mode), schema in refs.items()}
    paths: dict[str, Any] = {}
    for method, path in named:
        paths.setdefault(path, {})[method.lower()] = _operation(path, OPERATIONS[method, path], at)
    return {
        "openapi": "3.1.0",
        "info": {"title": "reviver", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas.get("$defs", {})},
    }


def _operation(path: str, operation: Operation, at: Mapping[Any, Any]) -> dict[str, Any]:
    parts = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parts]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": TypeAdapter(kind).json_schema()}
        for name, kind in operation.query.items()
    ]
    answers = {
        status: (TEXT, {"type": "string"}) if kind is TEXT else ("application/json", at[kind])
        for status, kind in operation.answers.items()
    }
    answers |= dict.fromkeys(operation.problems, ("application/problem+json", at[Problem]))
    told: dict[str, Any] = {
        "summary": operation.says,
        "parameters": parameters,
        "responses": {
            str(status): {"description": _STATUS.get(status, ""), "content": {media: {"schema": schema}}}
            for status, (media, schema) in sorted(answers.items())
        },
    }
    if operation.body is not None:
        required = any(each.is_required() for each in operation.body.model_fields.values())
        told["requestBody"] = {"required": required, "content": {"application/json": {"schema": at[operation.body]}}}
    return told


_STATUS: Final = {
    200: "as it is asked",
    202: "it has started",
    400: "what is asked is wrong; detail says what",
    403: "orders are taken over the unix socket only",
    404: "there is none of that name",
    409: "it can't be granted now; detail says why",
    413: "the body is too long",
    503: "not now; the text says why",
}
