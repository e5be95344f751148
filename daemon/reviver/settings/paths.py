"""
Where the daemon keeps its state, where it listens, and the socket by which people control it.

The daemon and the commands must come to the same answer in different environments: systemd tells only the daemon of its
directories. So the usual places are looked at by name, and a daemon with its own state directory has its socket there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .problems import quoted

STATE_DIR: Final = Path("/var/lib/reviver")
RUNTIME_DIR: Final = Path("/run/reviver")
SOCKET_NAME: Final = "control.sock"
FREEZE_NAME: Final = "FREEZE"
SOCKET_PATH_MAX: Final = 107
"""Bytes; ``sun_path`` in unix(7), less the zero at its end."""
PORT_MAX: Final = 65535


def state_dir(written: object, environ: Mapping[str, str]) -> Path:
    """The state directory: as *written* under ``daemon.state_dir``, else systemd's, else the usual one."""
    if isinstance(written, str):
        return Path(written)
    return Path(_first(environ.get("STATE_DIRECTORY", "")) or STATE_DIR)


def control_socket(daemon: Mapping[str, object], environ: Mapping[str, str]) -> Path:
    """
    The control socket that follows from the ``[daemon]`` table, which need not be valid otherwise.

    That is ``control_socket`` if set; ``control.sock`` in the state directory if that is one of its own; else in the
    runtime directory if there is one, and in the state directory if not.
    """
    written = daemon.get("control_socket")
    if isinstance(written, str):
        return Path(written)
    own_state_dir = daemon.get("state_dir")
    if not isinstance(own_state_dir, str) or Path(own_state_dir) == STATE_DIR:
        runtime_dir = Path(_first(environ.get("RUNTIME_DIRECTORY", "")) or RUNTIME_DIR)
        if runtime_dir.is_dir():
            return runtime_dir / SOCKET_NAME
    return state_dir(own_state_dir, environ) / SOCKET_NAME


def _first(directories: str) -> str:
    """The first of several directories, as systemd lists them: https://www.freedesktop.org/software/systemd/man/systemd.exec.html."""
    return directories.split(":", 1)[0]


def absolute(written: str) -> str:
    """*written*, if it is an absolute path: the daemon's working directory is not the writer's."""
    if not written.startswith("/") or "\0" in written:
        raise ValueError(f"expected an absolute path, found {quoted(written)}")
    return written


def socket_path(written: str) -> str:
    """*written*, if a unix socket can have that path."""
    if len(absolute(written).encode()) > SOCKET_PATH_MAX:
        raise ValueError(f"expected at most {SOCKET_PATH_MAX} bytes: the system allows a socket's path no more")
    return written


def listening_address(written: str) -> str:
    """*written*, if it is ``HOST:PORT``, or ``[HOST]:PORT`` for IPv6."""
    return _host_and_port(written, port_min=0, examples='"127.0.0.1:7337" or "[::1]:7337"')


def anchor(written: str) -> str:
    """The same, for what is to be connected to: it has a port."""
    return _host_and_port(written, port_min=1, examples='"192.0.2.1:53" or "[2001:db8::1]:53"')


def _host_and_port(written: str, *, port_min: int, examples: str) -> str:
    host, colon, port = written.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    number = int(port) if port.isascii() and port.isdigit() else -1
    if not colon or not host or bare_ipv6 or not port_min <= number <= PORT_MAX:
        raise ValueError(f"expected HOST:PORT, such as {examples}, found {quoted(written)}")
    return written
