"""
What may be asked of the daemon, over the unix socket only: pause, resume, recover, reload.

Whoever may open the socket may order; the kernel tells who it was, and the journal keeps the name.
"""

import pwd
from typing import Annotated, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from reviver.model.control import Control

from .answers import Json

BODY_MAX = 64 * 1024  # bytes
NAME_WITHIN = 1.0  # seconds that the look-up of a user's name may take: it may ask a network

INDEX = """
POST /api/v1/pause               {"services": [NAME…], "seconds": 3600, "reason": "…"}; none named: all
POST /api/v1/resume              {"services": [NAME…]}; none named: all that are paused
POST /api/v1/services/NAME/pause     {"seconds": 3600, "reason": "…"}
POST /api/v1/services/NAME/resume
POST /api/v1/services/NAME/recover   {"strategy": "…", "dry_run": false}
POST /api/v1/services/NAME/approve   {"token": "…"}; the token of GET /api/v1/approvals names the plan
POST /api/v1/services/NAME/deny      {"reason": "…"}
POST /api/v1/freeze              {"reason": "…"}; everything is held before its next effect, at once
POST /api/v1/thaw
POST /api/v1/services/NAME/promote   {"strategy": "…"}: trust it again
POST /-/reload                   read the settings again: all or nothing
"""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Nothing(_Body):
    """No particulars."""


Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=10_000)]


class PauseOne(_Body):
    """How long, and why."""

    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3600.0
    reason: Annotated[str, Field(max_length=1000)] = ""


class Pause(PauseOne):
    """Which services, how long, and why."""

    services: Names = []


class Resume(_Body):
    """Which services."""

    services: Names = []


class Recover(_Body):
    """With which strategy, and whether to say only what would be done."""

    strategy: Annotated[str, Field(max_length=200)] | None = None
    dry_run: bool = False


class Approve(_Body):
    """Which plan."""

    token: Annotated[str, Field(min_length=1, max_length=100)]


class Because(_Body):
    """Why."""

    reason: Annotated[str, Field(max_length=1000)] = ""


class Promote(_Body):
    """Which strategy."""

    strategy: Annotated[str, Field(min_length=1, max_length=200)]


B = TypeVar("B", bound=_Body)


class Orders:
    """What changes the daemon's mind."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/api/v1/pause", self.pause, methods=["POST"]),
            Route("/api/v1/resume", self.resume, methods=["POST"]),
            Route("/api/v1/services/{service}/pause", self.pause_one, methods=["POST"]),
            Route("/api/v1/services/{service}/resume", self.resume_one, methods=["POST"]),
            Route("/api/v1/services/{service}/recover", self.recover, methods=["POST"]),
            Route("/api/v1/services/{service}/approve", self.approve, methods=["POST"]),
            Route("/api/v1/services/{service}/deny", self.deny, methods=["POST"]),
            Route("/api/v1/freeze", self.freeze, methods=["POST"]),
            Route("/api/v1/thaw", self.thaw, methods=["POST"]),
            Route("/api/v1/services/{service}/promote", self.promote, methods=["POST"]),
            Route("/-/reload", self.reload, methods=["POST"]),
        ]

    # None of these has a deadline: the daemon isn't the outside world, and half an order is worse than a late answer.

    async def pause(self, request: Request) -> Response:
        """Hands off the services named, or all."""
        body = await _body(request, Pause)
        return await self._paused(request, body.services, body)

    async def pause_one(self, request: Request) -> Response:
        """Hands off one service."""
        return await self._paused(request, [request.path_params["service"]], await _body(request, PauseOne))

    async def _paused(self, request: Request, services: list[str], body: PauseOne) -> Response:
        by = await _who(request)
        names = await self._control.pause(services, by=by, reason=body.reason, seconds=body.seconds)
        views = self._control.health()
        until = [views[name].paused_until for name in names if name in views]
        return Json({"services": names, "until": max((at for at in until if at is not None), default=None)})

    async def resume(self, request: Request) -> Response:
        """Hands on again."""
        body = await _body(request, Resume)
        return Json({"services": await self._control.resume(body.services, by=await _who(request))})

    async def resume_one(self, request: Request) -> Response:
        """Hands on one service again."""
        await _body(request, Nothing)
        services = [request.path_params["service"]]
        return Json({"services": await self._control.resume(services, by=await _who(request))})

    async def recover(self, request: Request) -> Response:
        """A recovery now: 202 when it has started, 200 when it was only described."""
        body = await _body(request, Recover)
        service = request.path_params["service"]
        message = await self._control.recover(
            service, by=await _who(request), strategy=body.strategy, dry_run=body.dry_run
        )
        answer = {"service": service, "message": message, "dry_run": body.dry_run}
        return Json(answer, 200 if body.dry_run else 202)

    async def approve(self, request: Request) -> Response:
        """What waits may start: 202 when it has."""
        body, service = await _body(request, Approve), request.path_params["service"]
        message = await self._control.approve(service, by=await _who(request), token=body.token)
        return Json({"service": service, "message": message}, 202)

    async def deny(self, request: Request) -> Response:
        """What waits may not start."""
        body, service = await _body(request, Because), request.path_params["service"]
        message = await self._control.deny(service, by=await _who(request), reason=body.reason)
        return Json({"service": service, "message": message})

    async def freeze(self, request: Request) -> Response:
        """Hold everything."""
        body = await _body(request, Because)
        return Json({"frozen": self._control.freeze(by=await _who(request), reason=body.reason or "no reason given")})

    async def thaw(self, request: Request) -> Response:
        """Hold it no more."""
        await _body(request, Nothing)
        return Json({"frozen": self._control.thaw(by=await _who(request))})

    async def promote(self, request: Request) -> Response:
        """A strategy that was demoted is trusted again."""
        body = await _body(request, Promote)
        service = request.path_params["service"]
        message = await self._control.promote(service, body.strategy, by=await _who(request))
        return Json({"service": service, "strategy": body.strategy, "message": message})

    async def reload(self, request: Request) -> Response:
        """The settings anew."""
        await _body(request, Nothing)
        await _who(request)
        await self._control.reload()
        return Json({"reloaded": True})


async def _body(request: Request, model: type[B]) -> B:
    """The particulars of an order; an empty body has the defaults."""
    text = bytearray()
    try:
        async for chunk in request.stream():
            text += chunk
            if len(text) > BODY_MAX:
                raise HTTPException(413, f"the body is longer than {BODY_MAX // 1024} KiB")
    except ClientDisconnect as error:
        raise HTTPException(400, "the client went away before its request was complete") from error
    try:
        return model.model_validate_json(bytes(text) or b"{}")
    except ValidationError as error:
        problems = (": ".join([*[".".join(map(str, e["loc"]))][: bool(e["loc"])], e["msg"]]) for e in error.errors())
        raise HTTPException(400, "; ".join(problems)) from error


async def _who(request: Request) -> str:
    """The user at the other end of the socket, by name."""
    uid = getattr(request.state, "peer_uid", None)
    if uid is None:
        raise HTTPException(403, "orders are taken over the unix socket only, where the kernel tells who asks")
    try:
        with anyio.fail_after(NAME_WITHIN):
            found = await anyio.to_thread.run_sync(pwd.getpwuid, uid, abandon_on_cancel=True)
    except (KeyError, OSError):  # TimeoutError is an OSError
        return f"uid {uid}"
    return found.pw_name
