"""
Talking to the running daemon over its control socket.

By the standard library's client: ``status`` runs often, and importing httpx would make up a third of its time.
"""

import http.client
import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from .exits import FAILED, FORBIDDEN, HELD, UNREACHABLE, USAGE, Stop

DEADLINE: Final = 10.0
"""Seconds: the daemon answers from memory, and a pause waits for one write to the journal."""

_CODES = {400: USAGE, 401: FORBIDDEN, 403: FORBIDDEN, 404: USAGE, 409: HELD, 503: HELD}


def ask(control_socket: Path, path: str, **parameters: Any) -> dict[str, Any]:
    """What the daemon answers to GET *path*; raises as ``_answer``."""
    wanted = {key: value for key, value in parameters.items() if value is not None}
    return _answer(control_socket, "GET", f"{path}?{urlencode(wanted)}", None)


def order(control_socket: Path, path: str, **body: Any) -> dict[str, Any]:
    """What the daemon answers to POST *path*; raises as ``_answer``."""
    return _answer(control_socket, "POST", path, json.dumps(body).encode())


def _answer(control_socket: Path, method: str, path: str, body: bytes | None) -> dict[str, Any]:
    """
    The daemon's answer.

    Raises:
        Stop: It did not answer, or refused; the exit code says which.
    """
    stranger = Stop(f"what listens on {control_socket} does not answer as reviver does", UNREACHABLE)
    connection = _Connection(control_socket)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except TimeoutError as error:
        text = f"the daemon took the connection on {control_socket} and did not answer within {DEADLINE:g} s; it hangs"
        raise Stop(text, UNREACHABLE) from error
    except PermissionError as error:
        text = f"{control_socket}: not permitted; be root, or in the socket's group (reviver)"
        raise Stop(text, FORBIDDEN) from error
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        text = f"no daemon answers on {control_socket}: {said}; start it, or name its --socket"
        raise Stop(text, UNREACHABLE) from error
    except (http.client.HTTPException, ValueError) as error:
        raise stranger from error
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise stranger
    if response.status < HTTPStatus.BAD_REQUEST:
        return answer
    raise Stop(str(answer.get("detail", response.reason)), _CODES.get(response.status, FAILED))


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        """Open the socket, within the deadline."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(self._path))
