"""The two applications: one that only tells, for anybody; one that also takes orders, for the unix socket."""

import ipaddress
import socket
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from reviver.model.control import Control
from reviver.model.journal import Journal

from . import orders, pages
from .answers import HANDLERS, Problem
from .openapi import described


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What there is to tell, and whom to pass orders to."""

    control: Control
    metrics: pages.Scraped
    journal: Journal


def public_app(shown: Shown) -> Starlette:
    """Metrics, health and incidents: nothing in it changes anything."""
    told = pages.Pages(shown.control, shown.metrics, shown.journal, pages.INDEX)
    return Starlette(routes=described(told.routes()), exception_handlers=HANDLERS, middleware=[Middleware(LocalNames)])


def control_app(shown: Shown) -> Starlette:
    """The same and people's orders; for a unix socket, whose file mode says who may."""
    told = pages.Pages(shown.control, shown.metrics, shown.journal, pages.INDEX + orders.INDEX)
    routes = described([*told.routes(), *orders.Orders(shown.control).routes()])
    return Starlette(routes=routes, exception_handlers=HANDLERS)


class LocalNames:
    """
    Refuses requests over loopback that don't call this machine by a local name.

    Otherwise any web page could read what is here through the visitor's browser, by letting its own name point to
    127.0.0.1 (DNS rebinding). From other hosts the daemon is reached only where the settings say so.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._names = frozenset({"localhost", socket.gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421."""
        if scope["type"] == "http" and scope.get("server") and _is_loopback(scope["server"][0]):
            name = _name(Headers(scope=scope).get("host", ""))
            if name and name not in self._names and not _is_loopback(name):
                text = f'Host "{name[:200]}" is no name of this machine on loopback; ask for localhost or 127.0.0.1'
                await Problem(421, text)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
