"""
What reviver tells the service manager that started it: ready, reloading, stopping, still alive (sd_notify(3)).

Ten lines of datagrams: no library does more. Nothing here raises into the caller or waits: a service manager that
doesn't listen must not stop the watching.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_MAX_STATUS = 500  # characters; a datagram must fit into the socket's buffer


class Notifier:
    """The line to the service manager; says nothing when nobody asked for it (``$NOTIFY_SOCKET`` is unset)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Start-up, or a reload, is over."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """A line about how things are, for ``systemctl status``."""
        self._send("STATUS=" + " ".join(text.split())[:_MAX_STATUS])

    def reloading(self) -> None:
        """The settings are being read again; ``ready`` says that it is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """The daemon is alive. To be said only by the loop that does the work."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(errors="replace"), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds of silence after which the service manager kills us; ``None`` if it doesn't (sd_watchdog_enabled(3))."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        pid = int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and pid == os.getpid() else None
