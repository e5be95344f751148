"""A settings file, read: all of it is right, or all that is wrong is told at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, time
from pathlib import Path
from typing import Any, Final

from reviver.model.secrets import Resolver, Secret, is_secret_name
from reviver.model.services import Budget, DaemonPolicy, Service, Verification

from .known import KnownKinds
from .maintenance import maintenance
from .paths import FREEZE_NAME, control_socket, socket_path, state_dir
from .places import lines
from .problems import Place, Problem, SettingsError, key, values
from .reading import Reading
from .secrets import resolve, world_readable
from .services import DEFAULTS, services
from .strategies import Owner, verification
from .syntax import DEPTH_MAX, SyntaxProblem, document
from .tables import DaemonTable, FileTable, LogLevel

BITS_MAX: Final = 64
_NAMED_BY_USER: Final = {"headers", "env"}
_PASSWORD_IN_URL: Final = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """What the daemon itself is told."""

    state_dir: Path
    control_socket: Path
    policy: DaemonPolicy
    freeze_file: Path
    listen: str = "127.0.0.1:7337"
    """``HOST:PORT`` of the metrics, the API and the status page; ``[HOST]:PORT`` for IPv6; port 0: any free one."""
    log_level: LogLevel = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a settings file says."""

    path: Path
    daemon: DaemonSettings
    services: Mapping[str, Service]
    """In the order of the file."""
    secrets: tuple[Secret, ...]
    """Every secret that was resolved, for a ``Redactor``."""
    warnings: tuple[Problem, ...]
    """What is valid and likely not meant."""


def load(path: Path, kinds: KnownKinds, *, resolve_secret: Resolver = resolve) -> Settings:
    """
    The settings that the file *path* says.

    Raises:
        SettingsError: It can't be read, or something in it is wrong; tells everything that is.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(file=path, line=None, key="", message=f"can't be read: {error.strerror}")
        raise SettingsError([problem]) from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(file=path, line=line, key="", message="isn't UTF-8 text")]) from error
    return parse(text, kinds, path=path, resolve_secret=resolve_secret)


def parse(
    text: str,
    kinds: KnownKinds,
    *,
    path: Path,
    resolve_secret: Resolver = resolve,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """
    The settings that *text* says; *path* is named in problems.

    Raises:
        SettingsError: Something in it is wrong; tells everything that is.
    """
    try:
        written = document(text)
    except SyntaxProblem as error:
        raise SettingsError([Problem(file=path, line=error.line, key="", message=str(error))]) from error
    reading = Reading(kinds, resolve_secret)
    for place, value in values(written):
        if isinstance(value, date | time):
            reading.findings.error(place, "a date or a time has no place here; a text stands in quotation marks")
        why = "nested too deeply" if len(place) > DEPTH_MAX else _too_long(value)
        if why:
            raise SettingsError([Problem(file=path, line=lines(text)[place], key="", message=why)])
    reading.typed(FileTable, written, ())
    daemon = _daemon(reading, _table(written, "daemon"), environ)
    found = services(reading, _table(written, "services"))
    windows = maintenance(reading, written.get("maintenance"), _table(written, "services").keys())
    _warn(reading, written)
    problems, warnings = _placed(reading, text, path)
    if problems or daemon is None:
        raise SettingsError(problems)
    daemon = replace(daemon, policy=replace(daemon.policy, maintenance=windows))
    secrets = tuple(reading.secrets.values())
    return Settings(path=path, daemon=daemon, services=found, secrets=secrets, warnings=warnings)


def _too_long(value: object) -> str:
    """Why *value* can't be read on: the parser takes any number, and nothing after it does."""
    return "a number of more than 64 bits" if isinstance(value, int) and value.bit_length() > BITS_MAX else ""


def _table(written: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The table *name*, empty if it isn't there, or is no table, which is told elsewhere."""
    table = written.get(name)
    return table if isinstance(table, Mapping) else {}


def _daemon(reading: Reading, written: Mapping[str, Any], environ: Mapping[str, str]) -> DaemonSettings | None:
    place = ("daemon",)
    typed = reading.typed(DaemonTable, written, place)
    tie_break = None
    if isinstance(written.get("tie_break"), Mapping):
        tie_break = _tie_break(reading, written["tie_break"])
        typed = typed if tie_break else None
    if typed is None:
        return None
    socket = control_socket(written, environ)
    try:
        socket_path(str(socket))
    except ValueError as error:
        reading.findings.error((*place, "control_socket"), str(error))
    if "budget" in typed:
        typed["budget"] = Budget(**typed["budget"])
    typed |= {"anchors": tuple(typed.get("anchors", ())), "tie_break": tie_break}
    policy = {field.name: typed.pop(field.name) for field in fields(DaemonPolicy) if field.name in typed}
    paths = {
        "state_dir": state_dir(written.get("state_dir"), environ),
        "control_socket": socket,
        "freeze_file": Path(typed.get("freeze_file", socket.parent / FREEZE_NAME)),
    }
    return DaemonSettings(**{**typed, **paths}, policy=DaemonPolicy(**policy))


def _tie_break(reading: Reading, written: Mapping[str, Any]) -> Verification | None:
    nobody = Owner(place=("daemon",), kind="", check=None, timeout=DEFAULTS["timeout"], written={})
    return verification(reading, written, ("daemon", "tie_break"), nobody)


def _warn(reading: Reading, written: Mapping[str, Any]) -> None:
    if not _table(written, "services"):
        reading.findings.warn((), "there is no service: nothing is watched; add a table [services.NAME]")
    exposed = {name for name in reading.secret_files if world_readable(name)}
    for place, value in values(written):
        if isinstance(value, dict) and value.keys() == {"file"} and (name := str(value["file"])) in exposed:
            reading.findings.warn(place, f"everybody on this host can read {name}; chmod o= {name}")
        elif isinstance(value, str) and (secret := _secret_in(place, value)):
            reading.secrets.setdefault(secret, Secret(secret))
            reading.findings.warn(place, "a password stands in this file; take it out, and give it by reference")


def _secret_in(place: Place, text: str) -> str:
    """The secret that stands in *text*, a header or a variable named like one, or a URL; else nothing."""
    if len(place) > 1 and place[-2] in _NAMED_BY_USER and is_secret_name(str(place[-1])):
        return text
    found = _PASSWORD_IN_URL.search(text)
    return found[1] if found else ""


def _placed(reading: Reading, text: str, path: Path) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """The errors and the warnings, each with its line, in the order of the file."""
    findings = reading.findings
    if not findings.errors and not findings.warnings:
        return (), ()
    known = lines(text)

    def problem(place: Place, message: str) -> Problem:
        ancestors = (place[:depth] for depth in range(len(place), 0, -1))
        line = next((known[ancestor] for ancestor in ancestors if ancestor in known), 1)
        return Problem(file=path, line=line, key=key(place), message=message)

    def in_order(found: list[tuple[Place, str]]) -> tuple[Problem, ...]:
        return tuple(sorted((problem(*each) for each in found), key=lambda problem: problem.line or 0))

    return in_order(findings.errors), in_order(findings.warnings)
