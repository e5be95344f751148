"""Answers: JSON, and errors as ``application/problem+json`` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from reviver.model.control import ControlRefused
from reviver.model.journal import JournalError

from .json import dumps


class Json(Response):
    """A value of the model as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return dumps(content)


class Problem(Json):
    """An error: what went wrong, in a line for an operator."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        title = HTTPStatus(status).phrase
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        super().__init__(body, status, headers)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """No such page, wrong method, bad request."""
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:  # the framework's own
        detail = f"{request.method} {request.url.path}: {detail.lower()}; GET / lists what can be asked"
    return Problem(error.status_code, detail, dict(error.headers or {}))


async def on_refused(_request: Request, error: ControlRefused) -> Response:
    """An order can't be granted now."""
    return Problem(404 if error.unknown_service else 409, str(error))


async def on_journal_error(_request: Request, error: JournalError) -> Response:
    """The journal can't be read."""
    return Problem(503, str(error))


async def on_crash(_request: Request, _error: Exception) -> Response:
    """A bug; the framework raises it on, and the server logs it with its traceback."""
    return Problem(500, "reviver failed to answer; its log says why")


HANDLERS: Final[Mapping[Any, Any]] = {
    HTTPException: on_http_exception,
    ControlRefused: on_refused,
    JournalError: on_journal_error,
    Exception: on_crash,
}
