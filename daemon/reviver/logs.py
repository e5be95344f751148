"""
What reviver says on its standard error: one line for each thing that happened, none for a check that went well.

Lines are JSON, or coloured text on a terminal. Event names are constant (``incident.opened``), the rest are fields, so
that lines can be counted; times are RFC 3339 in UTC. Every line passes the redactor, those of libraries included.

**A standard error that nobody reads blocks the daemon** once the pipe is full (64 KiB), like any other program's;
under systemd the journal reads it. A standard error that can't be written (closed, or a full disk behind it) loses
lines and nothing else: telling must never stop watching.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .model import events as e
from .model import journal as j
from .model.faults import Fault
from .model.health import Health
from .model.ports import Outcome
from .model.secrets import Redactor

TRACEBACK_MAX: Final = 16_000  # characters; other texts are cut at the redactor's own limit
NAMES_MAX: Final = 20  # services named in one line
LAG_WORTH_A_WARNING: Final = 1.0  # seconds

_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # sd-daemon(3)
_FIRST: Final = ("timestamp", "level", "event")
_extra: Final = structlog.stdlib.ExtraAdder()
_BULKY: Final = frozenset({"details", "evidence", "note", "samples", "thresholds", "well"})  # the journal has them


class _Redaction:
    """The last processor before rendering; the redactor comes once the settings are known."""

    def __init__(self) -> None:
        self.redactor = Redactor()

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        traceback = line.pop("exception", None)
        ordered = {**{name: line.pop(name) for name in _FIRST if name in line}, **line}
        redacted: EventDict = self.redactor.tree(ordered)
        if traceback is not None:
            redacted["exception"] = self.redactor(str(traceback), limit=TRACEBACK_MAX)
        return redacted


_redaction: Final = _Redaction()


class _Stream:
    """A stream whose failure (full, gone, closed) loses lines and raises nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(level: str, *, stream: TextIO | None = None, json: bool | None = None) -> None:
    """
    Let all log lines of *level* (``debug``, ``info``, ``warning``, ``error``) and above go to *stream* (the standard
    error), as JSON or as text for people (*json* not given: text when *stream* is a terminal).

    That includes what goes through the standard library's ``logging``; libraries get a word from ``warning`` upwards
    only, for some say something about each request that they make. Text has colours unless ``NO_COLOR`` is set
    (https://no-color.org). When *stream* is the systemd journal, each JSON line starts with its priority, which the
    journal takes off again (sd-daemon(3)).
    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[Processor] = [
        structlog.processors.format_exc_info,
        _redaction,
        *_renderers(stream, as_json=not stream.isatty() if json is None else json),
    ]
    output = _Stream(stream)
    structlog.configure(
        processors=[*common, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(output),  # type: ignore[arg-type]  # needs write and flush only
        cache_logger_on_first_use=False,
    )
    _take_stdlib(output, threshold, common, ending)


def subscriber(redactor: Redactor) -> e.Subscriber:
    """The subscriber that tells events as lines; from now on every line passes *redactor*. After ``configure``."""
    _redaction.redactor = redactor
    return _Narrator().tell


def _renderers(stream: TextIO, *, as_json: bool) -> list[Processor]:
    if not as_json:
        colours = stream.isatty() and not os.environ.get("NO_COLOR")
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False, exception_formatter=plain)]
    json = structlog.processors.JSONRenderer()
    if not _is_journal(stream):
        return [json]

    def with_priority(logger: WrappedLogger, method: str, line: EventDict) -> str:
        return f"<{_PRIORITIES[line['level']]}>{json(logger, method, line)!s}"

    return [with_priority]


def _is_journal(stream: TextIO) -> bool:
    """Whether *stream* is the connection to the journal that systemd made (systemd.exec(5), ``$JOURNAL_STREAM``)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _take_stdlib(output: _Stream, threshold: int, common: list[Processor], ending: list[Processor]) -> None:
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, _from_stdlib],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger("reviver").setLevel(threshold)


def _from_stdlib(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """A record of the standard library's logging: our own are event names with fields, a library's is a text."""
    record: logging.LogRecord = line["_record"]
    if record.name.partition(".")[0] == "reviver":
        return _extra(logger, method, line)
    return {**line, "event": "library.said", "logger": record.name, "message": line["event"]}


_HEALTH_LEVELS: Final[Mapping[Health, str]] = {
    Health.SUSPECT: "warning",
    Health.DOWN: "warning",
    Health.UNKNOWN: "warning",
}
_ENTRY_LEVELS: Final[Mapping[type[j.Entry], str]] = {
    j.IncidentOpened: "error",
    j.IncidentReopened: "error",
    j.IncidentEscalated: "error",
    j.FaultChanged: "warning",
    j.RecoveryHeld: "warning",
    j.ApprovalRequested: "error",  # people must do something
    j.StrategyAbandoned: "warning",
    j.RecoveryObserved: "warning",
    j.DaemonFrozen: "warning",
    j.StrategyDemoted: "error",
    j.CauseFound: "error",
    j.EvidenceTaken: "debug",
    j.StepNoted: "debug",
}
_GOOD_OUTCOMES: Final = frozenset({Outcome.RECOVERED, Outcome.HEALED, j.StepOutcome.DONE})


class _Narrator:
    """Tells events as lines. Remembers only which checks can't tell, so as to say that once and not at each probe."""

    def __init__(self) -> None:
        self._log = structlog.get_logger().bind()
        self._unknown: dict[str, str] = {}
        self._tellers: Mapping[type, Callable[[Any], None]] = {
            e.Checked: self._checked,
            e.HealthChanged: self._health_changed,
            e.Blip: self._blip,
            e.LoopLagged: self._loop_lagged,
            e.JournalStateChanged: self._journal_state_changed,
            e.ObserverSuspected: self._observer_suspected,
            e.Frozen: lambda _event: None,  # told by `DaemonFrozen`
            e.MaintenanceChanged: self._maintenance_changed,
            e.ServicesChanged: self._services_changed,
            e.ConfigReloaded: self._config_reloaded,
        }

    def tell(self, event: e.Event) -> None:
        """Write the line of *event*, if it has one."""
        self._tellers.get(type(event), self._entry)(event)

    def _checked(self, event: e.Checked) -> None:
        fault, unknown = event.result.fault, event.result.unknown
        if fault is not None:  # HealthChanged says so aloud, once
            self._log.debug("check.failed", service=event.service, void=event.void, **_told(fault))
        elif unknown is None:
            if self._unknown:
                self._unknown.pop(event.service, None)
        elif self._unknown.get(event.service) != unknown:
            self._unknown[event.service] = unknown
            self._log.warning("check.cannot_tell", service=event.service, reason=unknown)

    def _health_changed(self, event: e.HealthChanged) -> None:
        self._say(
            _HEALTH_LEVELS.get(event.new, "info"),
            "health.changed",
            service=event.service,
            old=event.old,
            new=event.new,
            **({} if event.fault is None else _told(event.fault)),
            **({} if event.failing_for is None else {"failing_for": event.failing_for}),
        )

    def _blip(self, event: e.Blip) -> None:
        self._say("info", "service.blipped", service=event.service, seconds=event.seconds, **_told(event.fault))

    def _loop_lagged(self, event: e.LoopLagged) -> None:
        level = "warning" if event.seconds >= LAG_WORTH_A_WARNING else "debug"
        self._say(level, "loop.lagged", seconds=event.seconds)

    def _journal_state_changed(self, event: e.JournalStateChanged) -> None:
        if event.writable:
            self._say("info", "journal.writable")
        else:
            self._say("error", "journal.unwritable", reason=event.reason)

    def _observer_suspected(self, event: e.ObserverSuspected) -> None:
        if event.reason:
            self._say("warning", "observer.suspected", reason=event.reason, confirmed=event.confirmed)
        else:
            self._say("info", "observer.trusted")

    def _maintenance_changed(self, event: e.MaintenanceChanged) -> None:
        if event.told:
            self._say("info", "maintenance.began", service=event.service, window=event.told)
        else:
            self._say("info", "maintenance.ended", service=event.service)

    def _services_changed(self, event: e.ServicesChanged) -> None:
        for name in event.removed:
            self._unknown.pop(name, None)
        if not event.added and not event.removed:
            return
        self._say(
            "info",
            "services.changed",
            added=len(event.added),
            removed=len(event.removed),
            added_names=[name for name, _kind in event.added[:NAMES_MAX]],
            removed_names=event.removed[:NAMES_MAX],
        )

    def _config_reloaded(self, event: e.ConfigReloaded) -> None:
        if event.error:
            self._say("error", "config.rejected", reason=event.error)
        else:
            self._say("info", "config.reloaded")

    def _entry(self, entry: j.Entry) -> None:
        """A journal entry: ``step_ended`` is told as ``step.ended``, with its fields."""
        line = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name not in _BULKY}
        kept = {name: value for name, value in line.items() if value not in ("", None, (), {})}
        self._say(_entry_level(entry), entry.type.replace("_", ".", 1), **kept)

    def _say(self, level: str, event: str, **line: Any) -> None:
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
        getattr(self._log, level)(event, **rounded)


def _told(fault: Fault) -> dict[str, Any]:
    return {"fault": fault.kind, "message": fault.message, "certain": fault.certain}


def _entry_level(entry: j.Entry) -> str:
    match entry:
        case j.AttemptEnded(outcome=Outcome.UNCLEAR):
            return "error"
        case j.StepEnded(outcome=outcome) | j.AttemptEnded(outcome=outcome):
            return "info" if outcome in _GOOD_OUTCOMES else "warning"
        case j.VerificationEnded(passed=passed):
            return "info" if passed else "warning"
        case _:
            return _ENTRY_LEVELS.get(type(entry), "info")
