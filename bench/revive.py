"""From SIGKILL of a Redis to the first PONG of its successor, beside the server's own start."""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from servers import LOOPBACK, free_port

TITLE = "SIGKILL of a Redis until it serves again"
ROUNDS = 7
SETTLE = 6.0  # seconds between kills, so that nobody's brake against crash loops is measured
GIVE_UP = 60.0  # seconds


def pong(port: int) -> bool:
    with suppress(OSError), socket.create_connection((LOOPBACK, port), 1) as sock:
        sock.settimeout(1)
        sock.sendall(b"PING\r\n")
        return sock.recv(16).startswith(b"+PONG")
    return False


def wait_for(holds: Callable[[], bool]) -> float:
    """Seconds until *holds*."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > GIVE_UP:
            raise TimeoutError
        time.sleep(0.001)
    return time.monotonic() - started


def redis_argv(directory: Path, port: int, *more: str) -> list[str]:
    options = ["--port", str(port), "--bind", LOOPBACK, "--dir", str(directory), "--save", ""]
    return [str(shutil.which("redis-server")), *options, "--pidfile", str(directory / "redis.pid"), *more]


def own_start(directory: Path) -> list[float]:
    """Spawn until PONG: what no supervisor can beat."""
    port, seen = free_port(), []
    for _ in range(ROUNDS):
        started = time.monotonic()
        process = subprocess.Popen(redis_argv(directory, port), stdout=subprocess.DEVNULL)
        wait_for(lambda: pong(port))
        seen.append(time.monotonic() - started)
        process.kill()
        process.wait()
    return seen


def succeeded(pidfile: Path, pid: int, port: int) -> bool:
    """Whether another process than *pid* serves."""
    return pidfile.read_text().strip() not in {"", str(pid)} and pong(port)


def killed(directory: Path, port: int) -> list[float]:
    """Kill it again and again; seconds until it serves."""
    wait_for(lambda: pong(port))
    seen = []
    for _ in range(ROUNDS):
        time.sleep(SETTLE)
        pid = int((directory / "redis.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        wait_for(partial(succeeded, directory / "redis.pid", pid, port))
        seen.append(time.monotonic() - started)
    return seen


@contextmanager
def running(argv: list[str], directory: Path) -> Iterator[None]:
    with (directory / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory, start_new_session=True)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            with suppress(OSError, ValueError):
                os.kill(int((directory / "redis.pid").read_text()), signal.SIGKILL)


def by_reviver(directory: Path) -> list[float]:
    port = free_port()
    argv = redis_argv(directory, port, "--daemonize", "yes")
    subprocess.run(argv, check=True)
    (directory / "reviver.toml").write_text(f"""
        [daemon]
        listen = "{LOOPBACK}:{free_port()}"
        state_dir = "{directory}/state"
        budget = {{ attempts = 1000, per = "1h" }}
        [services.cache]
        check = "redis"
        url = "redis://{LOOPBACK}:{port}/0"
        interval = "10s"
        stable = "1s"
        pidfile = "{directory}/redis.pid"
        budgets = [{{ attempts = 1000, per = "1h" }}]
        [[services.cache.recovery]]
        name = "restart"
        faults = ["unreachable", "timeout"]
        after = "0s"
        steps = [{{ action = "command", argv = {str(argv).replace("'", '"')} }}]
        """)
    with running([sys.executable, "-m", "reviver", "run", "-c", str(directory / "reviver.toml")], directory):
        time.sleep(3)
        return killed(directory, port)


def by_supervisor(directory: Path) -> list[float]:
    port = free_port()
    program = " ".join(part or '""' for part in redis_argv(directory, port))
    (directory / "s.conf").write_text(
        f"[supervisord]\nnodaemon=true\npidfile={directory}/s.pid\nlogfile={directory}/s.log\n"
        f"[program:redis]\ncommand={program}\nautorestart=true\nstartsecs=0\n"
    )
    with running([str(shutil.which("supervisord")), "-c", str(directory / "s.conf")], directory):
        return killed(directory, port)


def by_monit(directory: Path) -> list[float]:
    port = free_port()
    start = directory / "start.sh"
    start.write_text("#!/bin/sh\nexec " + " ".join(f"'{p}'" for p in redis_argv(directory, port, "--daemonize", "yes")))
    start.chmod(0o755)
    rc = directory / "monitrc"
    rc.write_text(
        f"set daemon 1\nset pidfile {directory}/m.pid\nset statefile {directory}/m.state\nset idfile {directory}/m.id\n"
        f'check process redis with pidfile {directory}/redis.pid\n  start program = "{start}"\n'
        f'  stop program = "/bin/true"\n  if failed host {LOOPBACK} port {port} protocol redis then restart\n'
    )
    rc.chmod(0o600)
    with running([str(shutil.which("monit")), "-I", "-c", str(rc)], directory):
        return killed(directory, port)


async def main() -> None:
    rows: dict[str, Callable[[Path], list[float]]] = {
        "the server's own start": own_start,
        "reviver (10 s interval)": by_reviver,
        "supervisor": by_supervisor,
        "Monit (1 s cycle)": by_monit,
    }
    print("| who | median ms | min | max | times own start |")
    print("| --- | --- | --- | --- | --- |")
    floor = 0.0
    for name, run in rows.items():
        with tempfile.TemporaryDirectory(prefix="reviver-bench-", ignore_cleanup_errors=True) as directory:
            seen = run(Path(directory))
        median = statistics.median(seen)
        floor = floor or median
        print(f"| {name} | {median * 1e3:.0f} | {min(seen) * 1e3:.0f} | {max(seen) * 1e3:.0f} | {median / floor:.1f} |")
