"""The action http.request, on real servers."""

import json
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.abc
import pytest
from pydantic import TypeAdapter, ValidationError

from reviver.actions.http import Request
from reviver.model.actions import Action, ActionContext, ActionError, Effect, Reconciled
from reviver.model.faults import JsonValue
from reviver.model.secrets import Secret
from servers import LOOPBACK, free_port
from web_servers import says, says_bytes, says_nothing, serving


class Journal:
    """Keeps what an action notes."""

    def __init__(self) -> None:
        self.notes: list[Mapping[str, JsonValue]] = []
        self.context = ActionContext(service="api", fault=None, note=self._note)

    async def _note(self, note: Mapping[str, JsonValue]) -> None:
        self.notes.append(note)


def sent(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


async def test_a_post_sends_its_json_and_tells_the_answer() -> None:
    async with serving(says("201 Created", b"id 7")) as server:
        action = Request(url=server.url("/drain?node=1"), json={"node": 1, "why": "stück"})
        result = await action.run(Journal().context)
    first, headers, body = sent(b"".join(server.requests))
    assert first == "POST /drain?node=1 HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    assert json.loads(body) == {"node": 1, "why": "stück"}
    assert (result["status"], result["body"]) == (201, "id 7")


async def test_a_put_sends_its_text_as_it_is() -> None:
    async with serving(says()) as server:
        headers: dict[str, str | Secret] = {"Content-Type": "text/plain"}
        await Request(url=server.url(), method="PUT", body="maint", headers=headers).run(Journal().context)
    first, headers_sent, body = sent(b"".join(server.requests))
    assert first == "PUT /health HTTP/1.1"
    assert headers_sent["content-type"] == "text/plain"
    assert body == b"maint"


async def test_another_status_is_a_failure_with_the_start_of_the_body() -> None:
    async with serving(says("409 Conflict", b"already drained")) as server:
        url = server.url("/drain")
        with pytest.raises(ActionError) as failed:
            await Request(url=url).run(Journal().context)
        assert str(failed.value) == f'POST {url}: status 409, expected 2xx: "already drained"'
        assert (await Request(url=url, status=("2xx", 409)).run(Journal().context))["status"] == 409


async def test_a_refusal_is_a_failure() -> None:
    url = f"http://{LOOPBACK}:{free_port()}/"
    with pytest.raises(ActionError, match=f"^POST {url}: connection refused"):
        await Request(url=url).run(Journal().context)


@pytest.mark.parametrize("data", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_request_is_never_sent_twice(data: bytes) -> None:
    async with serving(says_bytes(data)) as server:
        for method in ("POST", "GET"):
            request = TypeAdapter(Request).validate_python({"url": server.url(), "method": method})
            with pytest.raises(ActionError):
                await request.run(Journal().context)
    assert server.connections == 2


async def test_it_is_noted_before_it_is_sent() -> None:
    journal = Journal()
    noted_first: list[bool] = []

    async def talk(stream: anyio.abc.ByteStream) -> None:
        noted_first.append(bool(journal.notes))
        await says()(stream)

    async with serving(talk) as server:
        await Request(url=server.url("/x?token=hush")).run(journal.context)
        assert journal.notes == [{"sending": f"POST {server.url('/x')}"}]
    assert noted_first == [True]


async def test_cancelled_it_goes_at_once() -> None:
    async with serving(says_nothing) as server:
        with anyio.move_on_after(0.1) as scope:
            await Request(url=server.url()).run(Journal().context)
    assert scope.cancelled_caught


async def test_after_a_crash_only_the_server_knows() -> None:
    action = Request(url="http://localhost/")
    assert await action.reconcile([]) is Reconciled.NOT_DONE
    assert await action.reconcile([{"sending": "POST http://localhost/"}]) is Reconciled.UNKNOWN


async def test_a_secret_reaches_the_server_and_nothing_else() -> None:
    async with serving(says("500 Oops", b"bad key Bearer hush")) as server:
        action = Request(url=server.url(), headers={"Authorization": Secret("Bearer hush")})
        journal = Journal()
        with pytest.raises(ActionError) as failed:
            await action.run(journal.context)
    assert sent(server.requests[0])[1]["authorization"] == "Bearer hush"
    assert "hush" not in str(failed.value) + repr(action) + action.describe() + repr(journal.notes)


@pytest.mark.parametrize(
    ("method", "effect"),
    [("GET", "idempotent"), ("HEAD", "idempotent"), ("PUT", "idempotent"), ("DELETE", "idempotent"),
     ("POST", "reversible"), ("PATCH", "reversible")],
)  # fmt: skip
def test_what_twice_would_cost_follows_the_method_unless_told(method: str, effect: str) -> None:
    action: Action = TypeAdapter[Any](Request).validate_python({"url": "http://a/x", "method": method})
    assert action.effect is Effect(effect)
    assert action.describe() == f"send {method} http://a/x"
    told = TypeAdapter(Request).validate_python({"url": "http://a/", "method": method, "effect": "destructive"})
    assert told.effect is Effect.DESTRUCTIVE


@pytest.mark.parametrize(
    "settings",
    [{}, {"url": "a"}, {"url": "http://a/", "method": "get"}, {"url": "http://a/", "json": {}, "body": ""},
     {"url": "http://a/", "method": "GET", "body": "x"}, {"url": "http://a/", "status": ["ok"]},
     {"url": "http://a/", "headers": {"A": "\n"}}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Request).validate_python(settings)
