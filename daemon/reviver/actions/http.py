"""Asks an HTTP server to do something."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import anyio
import httpx

from reviver.clients import http
from reviver.model.actions import ActionContext, ActionError, Effect, Reconciled
from reviver.model.faults import JsonValue
from reviver.model.secrets import SecretField

LOOK_UP_WITHIN = 5.0  # seconds for the name


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, never sent twice."""

    url: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Mapping[str, str | SecretField] = field(default_factory=dict, repr=False)
    json: Mapping[str, Any] | None = None
    """Sent as a JSON body."""
    body: str | None = None
    """Sent as it is."""
    status: http.Statuses = ("2xx",)
    """Status codes that mean success; redirects are not followed."""
    effect: Effect = None  # type: ignore[assignment]  # by the method, see __post_init__
    """What sending it twice would cost; by default POST and PATCH are reversible, the others idempotent."""

    default_after: ClassVar[float] = 10.0
    default_timeout: ClassVar[float] = 30.0

    def __post_init__(self) -> None:
        http.validate_url(self.url)
        http.validate_headers(self.headers)
        http.validate_statuses(self.status)
        if self.json is not None and self.body is not None:
            raise ValueError("expected either json or body")
        if self.method in ("GET", "HEAD") and (self.json is not None or self.body is not None):
            raise ValueError(f"method: {self.method} sends no body, so json and body need POST, PUT, PATCH or DELETE")
        if not self.effect:
            repeatable = self.method not in ("POST", "PATCH")  # RFC 9110 section 9.2.2
            object.__setattr__(self, "effect", Effect.IDEMPOTENT if repeatable else Effect.REVERSIBLE)

    def targets(self) -> Sequence[str]:
        """Where it asks."""
        return (http.shown(self.url),)

    def describe(self) -> str:
        """What it would do."""
        return f"send {self._told}"

    async def preflight(self) -> Sequence[str]:
        """Nothing can be told without asking the server."""
        return ()

    async def evidence(self) -> Mapping[str, JsonValue]:
        """Nothing: what the server does, only the server knows."""
        return {}

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        """Send it and look at the answer; cancelled, the server may or may not have done it."""
        await context.note({"sending": self._told})
        began = anyio.current_time()
        place, redact = http.Place(self.url), http.redactor(self.headers)
        try:
            answer = await place.ask(self._request(), fresh=True, within=LOOK_UP_WITHIN)
        except (httpx.HTTPError, OSError) as error:
            verdict = place.judge_failure(error, self._told)
            raise ActionError(verdict if isinstance(verdict, str) else verdict.message) from error
        finally:
            await place.aclose()
        if not http.expected(answer.status, self.status):
            expected = ", ".join(str(status) for status in self.status)
            raise ActionError(f"{self._told}: status {answer.status}, expected {expected}: {answer.excerpt(redact)}")
        return {"status": answer.status, "seconds": round(anyio.current_time() - began, 3), "body": redact(answer.text)}

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        """Once it was about to be sent, only the server knows."""
        return Reconciled.UNKNOWN if notes else Reconciled.NOT_DONE

    @property
    def _told(self) -> str:
        return f"{self.method} {http.shown(self.url)}"

    def _request(self) -> http.Request:
        headers = http.headers_for_request(self.headers)
        content = self.body.encode() if self.body is not None else None
        if self.json is not None:
            content = json.dumps(self.json).encode()
            headers = {"Content-Type": "application/json", **headers}
        return http.Request(method=self.method, headers=headers, content=content)
