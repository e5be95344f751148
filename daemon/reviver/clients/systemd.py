"""
systemd, asked and told through ``systemctl``.

Not over D-Bus: as root ``systemctl`` needs no bus daemon, unprivileged it takes the same way (and the same polkit
rules) as a D-Bus client would, and what only D-Bus has, the result of a job as a word, stands in the unit's own
``Result``. A question costs about 10 ms.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from reviver.model.faults import JsonValue

from . import process, program

ENV: Final = {"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
JOURNAL_LINES: Final = 40
JOURNAL_WIDTH: Final = 300

_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\][A-Za-z0-9:_.\\@-]*"
    r"\.(?:service|socket|target|timer|path|mount|automount|swap|slice|scope|device)"
)
_PROPERTIES: Final = (
    "LoadState", "ActiveState", "SubState", "Result", "MainPID", "ExecMainCode", "ExecMainStatus", "NRestarts",
    "InvocationID", "Job", "CanReload", "Type",
)  # fmt: skip
_RESULTS: Final = {
    "core-dump": "it crashed and dumped core",
    "oom-kill": "the kernel killed it for want of memory",
    "watchdog": "its watchdog got no sign of life",
    "timeout": "it took longer than its time for starting or stopping",
    "start-limit-hit": "it was started too often, systemd's start limit holds it",
    "protocol": "it did not follow its notification protocol",
    "resources": "systemd lacked resources to start it",
    "exec-condition": "its ExecCondition= spoke against it",
}
_EXIT_CODES: Final = {  # systemd's own, systemd.exec(5)
    200: "its working directory can't be entered",
    203: "its program can't be executed",
    217: "its user is unknown",
    226: "its namespaces can't be set up",
    243: "its credentials can't be set up",
}


_GENERATED: Final = "/run/systemd/generator"  # and generator.early, generator.late


class SystemdError(Exception):
    """systemd can't be asked, or refused; the text is a line for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """What systemd says of a unit; the words are those of ``systemctl show``."""

    unit: str
    load_state: str
    """``loaded``, ``not-found``, ``masked``, ``bad-setting``, ``error``."""
    active_state: str
    """``active``, ``reloading``, ``inactive``, ``failed``, ``activating``, ``deactivating``."""
    sub_state: str
    """By type of unit: ``running``, ``dead``, ``auto-restart``, ``stop-sigterm``, …"""
    result: str
    """How it last ended: ``success``, ``exit-code``, ``signal``, ``oom-kill``, ``start-limit-hit``, …"""
    main_pid: int
    """0: none."""
    exec_main_code: int
    """How the main process ended: 0 it has not, 1 by itself, 2 killed, 3 killed and dumped."""
    exec_main_status: int
    """Its exit code, or the signal's number."""
    n_restarts: int
    """By systemd itself, since it was last started by somebody."""
    invocation_id: str
    """Another one for each start; empty if it was never started, or reset since."""
    job: bool
    """Whether systemd has a job for it under way or in its queue."""
    can_reload: bool
    is_oneshot: bool
    """Whether it is meant to end by itself (``Type=oneshot``)."""

    @property
    def told(self) -> str:
        """What it is, in words: ``failed (exit code 7)``."""
        if self.load_state != "loaded":
            return self.load_state
        why = self.why
        return f"{self.active_state} ({why})" if why else f"{self.active_state} ({self.sub_state})"

    @property
    def why(self) -> str:
        """Why it failed, in words; empty if it did not."""
        if self.result in ("success", ""):
            return ""
        if self.result == "exit-code":
            meaning = _EXIT_CODES.get(self.exec_main_status)
            return f"exit code {self.exec_main_status}" + (f": {meaning}" if meaning else "")
        if self.result == "signal":
            return f"ended by {process.signal_name(self.exec_main_status)}"
        return _RESULTS.get(self.result, self.result)


def validate_unit(unit: str) -> None:
    """
    Refuse what is no name of one unit.

    Raises:
        ValueError: What was expected.
    """
    if len(unit) > 255 or not _UNIT.fullmatch(unit):
        raise ValueError(f'unit: expected a name with its suffix, such as "redis-server.service", got "{unit}"')
    if "@." in unit:
        raise ValueError(f'unit: "{unit}" is a template; name an instance, such as "{unit.replace("@.", "@main.")}"')


async def unit_state(unit: str, *, timeout: float = 2.0) -> UnitState:  # noqa: ASYNC109  said in the error
    """
    The state of *unit* now; ``load_state`` tells whether there is such a unit at all.

    Raises:
        SystemdError: systemd did not answer, for instance because this host does not run it.
    """
    ended = await _ask(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", unit], timeout=timeout)
    if ended.exit_code != 0:
        raise SystemdError(f"systemd does not tell of {unit}: {_first_line(ended)}")
    found = dict(line.partition("=")[::2] for line in ended.stdout.splitlines())
    return UnitState(
        unit=unit,
        load_state=found.get("LoadState", ""),
        active_state=found.get("ActiveState", ""),
        sub_state=found.get("SubState", ""),
        result=found.get("Result", ""),
        main_pid=_number(found.get("MainPID")),
        exec_main_code=_number(found.get("ExecMainCode")),
        exec_main_status=_number(found.get("ExecMainStatus")),
        n_restarts=_number(found.get("NRestarts")),
        invocation_id=found.get("InvocationID", ""),
        job=bool(found.get("Job")),
        can_reload=found.get("CanReload") == "yes",
        is_oneshot=found.get("Type") == "oneshot",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFiles:
    """The files that make a unit what it is."""

    paths: tuple[str, ...]
    """Its unit file, the drop-ins, the programs that it starts; not what generators write anew at each boot."""
    reload_due: bool
    """Whether they were changed and systemd has not read them since."""


async def unit_files(unit: str, *, timeout: float = 2.0) -> UnitFiles:  # noqa: ASYNC109  said in the error
    """
    The files of *unit*; of one that isn't there, none.

    Raises:
        SystemdError: systemd did not answer.
    """
    properties = "FragmentPath,DropInPaths,ExecStart,NeedDaemonReload"
    ended = await _ask(["systemctl", "show", f"--property={properties}", "--", unit], timeout=timeout)
    if ended.exit_code != 0:
        raise SystemdError(f"systemd does not tell of {unit}: {_first_line(ended)}")
    lines = [line.partition("=")[::2] for line in ended.stdout.splitlines()]
    found = dict(lines)
    paths = [found.get("FragmentPath", ""), *found.get("DropInPaths", "").split()]
    for name, value in lines:
        if name == "ExecStart":  # once for each command: { path=/bin/x ; argv[]=… }
            paths += re.findall(r"\{ path=(.*?) ; argv", value)
    own = [path for path in paths if path.startswith("/") and not path.startswith(_GENERATED)]
    return UnitFiles(paths=tuple(own), reload_due=found.get("NeedDaemonReload") == "yes")


async def order(verb: str, unit: str) -> None:
    """
    Have systemd *verb* (``start``, ``stop``, ``restart``, ``reload``, ``reset-failed``) *unit*, and wait for the end.

    It has no deadline but the caller's. Cancelled, it stops waiting; what systemd has begun goes on.

    Raises:
        SystemdError: systemd refused, or the unit failed; then its state tells why.
    """
    ended = await _ask(["systemctl", "--no-ask-password", verb, "--", unit], timeout=None)
    if ended.exit_code == 0:
        return
    said = _first_line(ended)
    if "authentication required" in said or "Access denied" in said or "Permission denied" in said:
        said = f"this user may not {verb} it; allow it by a polkit rule"
    raise SystemdError(said)


async def evidence(unit: str, *, timeout: float = 2.0) -> Mapping[str, JsonValue]:  # noqa: ASYNC109  said in the error
    """The state of *unit* and the last lines of its journal, bounded; what can't be had is said, not raised."""
    found: dict[str, JsonValue] = {}
    try:
        found |= asdict(await unit_state(unit, timeout=timeout))
    except SystemdError as error:
        found["error"] = str(error)
    argv = ["journalctl", "--quiet", "--no-pager", "--output=short-iso", f"--lines={JOURNAL_LINES}", f"--unit={unit}"]
    try:
        ended = await _ask(argv, timeout=timeout)
        lines = ended.stdout.splitlines()[-JOURNAL_LINES:]
        found["journal"] = [line[:JOURNAL_WIDTH] for line in lines] or f"nothing, or not readable: {ended.last_words}"
    except SystemdError as error:
        found["journal"] = str(error)
    return found


async def _ask(argv: list[str], *, timeout: float | None) -> program.Ended:  # noqa: ASYNC109  said in the error
    try:
        ended = await program.run(argv, env=ENV, timeout=timeout, grace=0.2)
    except program.NotStartedError as error:
        raise SystemdError(str(error)) from error
    if ended.timed_out:
        raise SystemdError(f"systemd: no answer to {' '.join(argv[:2])} within {timeout:g} s")
    return ended


def _first_line(ended: program.Ended) -> str:
    lines = ended.stderr.splitlines() or ended.stdout.splitlines() or [ended.how]
    return lines[0].strip()


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
