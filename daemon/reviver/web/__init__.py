"""
What reviver answers over HTTP: metrics, health and incidents to anybody who can reach it, orders over the unix socket.

Knows the daemon by ``model.control`` alone, and trusts that what it is shown is free of secrets.
"""

from .app import Shown, control_app, public_app
from .json import incident_json
from .server import CannotListen, serve_tcp, serve_unix

__all__ = ["CannotListen", "Shown", "control_app", "incident_json", "public_app", "serve_tcp", "serve_unix"]
