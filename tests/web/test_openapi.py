"""The document that describes the API describes what is there, all of it and nothing else."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reviver.core.explain import explain
from reviver.model.incidents import fold
from reviver.web import control_app, openapi, public_app
from reviver.web.json import dumps, explanation_json, incident_json, incident_summary, service_json
from web.fakes import restarted, view
from web.serving import Daemon, controlled, public


def operations(app: Starlette) -> set[tuple[str, str]]:
    found = set()
    for route in app.routes:
        assert isinstance(route, Route)
        found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    return found


def described(document: Any) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, item in document["paths"].items() for method in item}


async def test_each_application_describes_each_of_its_routes_and_nothing_else(tmp_path: Any) -> None:
    daemon = Daemon()
    async with public(daemon) as client:
        assert described((await client.get(openapi.PATH)).json()) == operations(public_app(daemon.shown))
    async with controlled(daemon, tmp_path) as client:
        assert described((await client.get(openapi.PATH)).json()) == operations(control_app(daemon.shown))


def test_what_no_application_has_is_not_described() -> None:
    assert set(openapi.OPERATIONS) == operations(control_app(Daemon().shown))


def test_a_route_that_is_not_described_is_refused() -> None:
    async def answer(_request: Request) -> Response:
        raise NotImplementedError

    with pytest.raises(KeyError, match="/api/v1/new"):
        openapi.described([Route("/api/v1/new", answer)])


def valid(document: Any, name: str, told: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema).validate(told)
    assert set(told) == set(document["components"]["schemas"][name]["properties"])


def test_what_is_told_has_the_fields_of_its_description() -> None:
    document = openapi.document(tuple(openapi.OPERATIONS))
    records = restarted("db", "db-1")
    incident, explanation = fold(records), explain(records)
    assert incident is not None
    assert explanation is not None
    valid(document, "Service", json.loads(dumps(service_json(view()))))
    valid(document, "Incident", json.loads(dumps(incident_summary(incident))))
    full = json.loads(dumps(incident_json(incident)))
    valid(document, "IncidentInFull", full)
    valid(document, "Attempt", full["attempts"][0])
    valid(document, "Step", full["attempts"][0]["steps"][0])
    valid(document, "Explanation", json.loads(dumps(explanation_json(explanation))))
