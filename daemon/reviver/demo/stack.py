"""
Starting, stopping and restarting the programs of the demo's stack.

    python -m reviver.demo.stack restart PROGRAM --dir FOLDER

is what reviver's strategies run. Only processes that were started here are ever ended: each is known by its pid and its
start time together.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from . import programs
from .plan import Plan, read
from .programs import NoServersError, Program

READY_WITHIN: Final = 20.0  # seconds
STOP_GRACE: Final = 1.0  # seconds that a program may take to end by itself
_PAUSE: Final = 0.02  # seconds between looks
_CLOSED: Final = "closed"


class StackError(Exception):
    """A program can't be started; the text says why."""


class Stack:
    """The programs of one demo."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.programs = programs.all_of(plan)

    def start(self, *names: str) -> None:
        """
        Start the programs called *names*, and return when all of them serve.

        Raises:
            StackError: One ended instead, or doesn't serve in time.
        """
        with self._alone():
            self._start([self.programs[name] for name in names])

    def restart(self, name: str) -> None:
        """End the program called *name* if it runs, and start it again. Raises as ``start``."""
        with self._alone():
            self._stop([self.programs[name]])
            self._start([self.programs[name]])

    def close(self) -> None:
        """End all programs, those last that others need; nothing can be started any more."""
        with self._alone():
            (self.plan.directory / _CLOSED).touch()
            for name in reversed(list(self.programs)):
                self._stop([self.programs[name]])

    def pid(self, name: str) -> int | None:
        """The process that is program *name*; ``None`` if it doesn't run."""
        return _running(self.plan.pidfile(name))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the stack: a restart by reviver must not cross the demo's end."""
        lock = os.open(self.plan.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _start(self, started: list[Program]) -> None:
        if (self.plan.directory / _CLOSED).exists():
            raise StackError("the demo is over")
        for program in started:
            self._spawn(program)
        for program in started:
            self._until_served(program)

    def _spawn(self, program: Program) -> None:
        with self.plan.log(program.name).open("ab") as log:
            process = subprocess.Popen(program.argv, stdout=log, stderr=log, **programs.as_user(program.user))
        pidfile = self.plan.pidfile(program.name)
        pidfile.with_suffix(".new").write_text(f"{process.pid}\n{_start_time(process.pid)}\n")
        pidfile.with_suffix(".new").replace(pidfile)
        process.returncode = 0  # from here on it is known by its pidfile alone

    def _until_served(self, program: Program) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while True:
            pid = self.pid(program.name)
            if pid is not None and program.serves(pid):
                return
            if pid is None:
                if not program.waits_for_predecessor:
                    raise StackError(f"{program.name} ended instead of serving; see {self.plan.log(program.name)}")
                _unlock(program)
                self._spawn(program)
            if time.monotonic() > deadline:
                where = self.plan.log(program.name)
                raise StackError(f"{program.name} doesn't serve within {READY_WITHIN:g} s; see {where}")
            time.sleep(_PAUSE)

    def _stop(self, stopped: list[Program]) -> None:
        for number in (None, signal.SIGKILL):
            pids = {program.name: self.pid(program.name) for program in stopped}
            for program in stopped:
                _signal(pids[program.name], program.stop if number is None else number)
            if _until(lambda: all(self.pid(program.name) is None for program in stopped), within=STOP_GRACE):
                return


def _unlock(program: Program) -> None:
    """Take away the lock of a killed predecessor that nobody reaps: a zombie holds nothing, yet its pid is taken."""
    if program.lock is None:
        return
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(program.lock.read_text().splitlines()[0])
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            program.lock.unlink()


def _running(pidfile: Path) -> int | None:
    try:
        pid, started = map(int, pidfile.read_text().split())
    except (OSError, ValueError):
        return None
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # if it was our child and has ended, it is gone from now on
    return pid if _start_time(pid) == started else None


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of process *pid* (proc(5)); ``None`` if it has ended."""
    with contextlib.suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if state not in {"Z", "X"}:
            return int(rest[18])
    return None


def _signal(pid: int | None, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)


def _until(holds: Callable[[], bool], *, within: float) -> bool:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reviver.demo.stack", description="One program of the demo.")
    parser.add_argument("verb", choices=["restart"])
    parser.add_argument("program")
    parser.add_argument("--dir", type=Path, required=True, help="the demo's folder")
    wanted = parser.parse_args()
    try:
        stack = Stack(read(wanted.dir))
        if wanted.program not in stack.programs:
            parser.error(f"there is no {wanted.program}; there are: {', '.join(stack.programs)}")
        stack.restart(wanted.program)
    except (StackError, NoServersError, OSError) as error:
        sys.stderr.write(f"{wanted.program} is not restarted: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
