"""What log lines say, to whom, and what they never say."""

import io
import json
import logging
import os
import pty
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from reviver import logs
from reviver.model import events as e
from reviver.model import journal as j
from reviver.model.checks import CheckResult
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.secrets import Redactor, Secret

REFUSED = Fault(kind=FaultKind.UNREACHABLE, message="127.0.0.1:6379: connection refused", certain=True)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("reviver")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers, root.level, ours.level = before
    for logger in (root, ours):
        logger.setLevel(logger.level)  # forgets what children have cached
    structlog.reset_defaults()
    logs.subscriber(Redactor())


class Output(io.StringIO):
    """Where the lines go."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def listening(level: str = "debug", *secrets: str) -> tuple[e.Subscriber, Output]:
    """A subscriber whose lines can be read."""
    output = Output()
    logs.configure(level, stream=output)
    return logs.subscriber(Redactor(Secret(s) for s in secrets)), output


def checked(**result: Any) -> e.Checked:
    return e.Checked(
        service="db", kind="postgres", result=CheckResult(latency=0.01, **result), fresh=False, late=0.0, void=False
    )


def changed(old: Health, new: Health, fault: Fault | None = None) -> e.HealthChanged:
    return e.HealthChanged(service="db", old=old, new=new, fault=fault, failing_for=None if fault is None else 1.23456)


def opened(**fields: Any) -> j.IncidentOpened:
    wanted: dict[str, Any] = {
        "service": "db",
        "incident": "db-1",
        "fault": FaultKind.UNREACHABLE,
        "message": "connection refused",
        "certain": False,
        "severity": j.Severity.SEV1,
        "impact": ("api",),
        "failing_for": 4.56789,
        "noticed_ago": 4.0,
    }
    return j.IncidentOpened(**(wanted | fields))


def test_an_incident_is_one_line_with_a_constant_name_and_fields() -> None:
    tell, output = listening()
    tell(opened(details={"much": "text"}))
    [line] = output.lines
    said_at = datetime.fromisoformat(line.pop("timestamp"))
    assert said_at.utcoffset() == timedelta(0)
    assert line == {
        "level": "error",
        "event": "incident.opened",
        "service": "db",
        "incident": "db-1",
        "fault": "unreachable",
        "message": "connection refused",
        "certain": False,
        "severity": "sev1",
        "impact": ["api"],
        "failing_for": 4.568,
        "noticed_ago": 4.0,
    }


def test_a_check_that_went_well_has_no_line_at_any_level() -> None:
    tell, output = listening("debug")
    tell(checked())
    assert output.getvalue() == ""


def test_a_failure_warns_once_and_not_at_each_probe() -> None:
    tell, output = listening("info")
    tell(checked(fault=REFUSED))
    tell(changed(Health.UP, Health.SUSPECT, REFUSED))
    for _ in range(10):
        tell(checked(fault=REFUSED))
    [line] = output.lines
    assert (line["level"], line["event"], line["new"]) == ("warning", "health.changed", "suspect")
    assert (line["fault"], line["message"], line["certain"]) == ("unreachable", REFUSED.message, True)
    assert line["failing_for"] == 1.235


def test_at_level_debug_each_failed_probe_has_a_line() -> None:
    tell, output = listening("debug")
    tell(checked(fault=REFUSED))
    tell(checked(fault=REFUSED))
    assert [line["event"] for line in output.lines] == ["check.failed"] * 2


def test_a_check_that_cannot_tell_says_so_once_until_it_can_again() -> None:
    tell, output = listening("info")
    for _ in range(3):
        tell(checked(unknown="psql isn't installed"))
    tell(checked(unknown="out of file descriptors"))
    tell(checked())
    tell(checked(unknown="out of file descriptors"))
    assert [(line["event"], line["reason"]) for line in output.lines] == [
        ("check.cannot_tell", "psql isn't installed"),
        ("check.cannot_tell", "out of file descriptors"),
        ("check.cannot_tell", "out of file descriptors"),
    ]


@pytest.mark.parametrize(
    ("event", "level", "name"),
    [
        (changed(Health.SUSPECT, Health.DOWN, REFUSED), "warning", "health.changed"),
        (changed(Health.RECOVERING, Health.UP), "info", "health.changed"),
        (e.Blip(service="db", fault=REFUSED, seconds=1.5), "info", "service.blipped"),
        (e.LoopLagged(seconds=0.3), "debug", "loop.lagged"),
        (e.LoopLagged(seconds=1.0), "warning", "loop.lagged"),
        (e.JournalStateChanged(writable=False, reason="disk full"), "error", "journal.unwritable"),
        (e.JournalStateChanged(writable=True, reason=""), "info", "journal.writable"),
        (
            e.ObserverSuspected(reason="5 of 6 failed together", reasons=("crowd",), confirmed=False),
            "warning",
            "observer.suspected",
        ),
        (e.ObserverSuspected(reason="", reasons=(), confirmed=False), "info", "observer.trusted"),
        (e.ServicesChanged(added=(("db", "postgres"),), removed=()), "info", "services.changed"),
        (e.ConfigReloaded(error="line 3"), "error", "config.rejected"),
        (e.ConfigReloaded(error=""), "info", "config.reloaded"),
        (opened(), "error", "incident.opened"),
        (j.RecoveryHeld(service="db", guard="budget", reason="spent"), "warning", "recovery.held"),
        (j.IncidentEscalated(service="db", reason="no strategy is left"), "error", "incident.escalated"),
        (j.IncidentRecovered(service="db", by="restart", down_for=7.0), "info", "incident.recovered"),
        (j.StepEnded(service="db", attempt=1, step=0, outcome=j.StepOutcome.DONE, seconds=1.0), "info", "step.ended"),
        (
            j.StepEnded(service="db", attempt=1, step=0, outcome=j.StepOutcome.FAILED, seconds=1.0),
            "warning",
            "step.ended",
        ),
        (
            j.VerificationEnded(service="db", attempt=1, passed=False, message="no", seconds=1.0),
            "warning",
            "verification.ended",
        ),
        (
            j.AttemptEnded(service="db", attempt=1, strategy="restart", outcome="recovered", message="", seconds=1.0),
            "info",
            "attempt.ended",
        ),
        (
            j.AttemptEnded(service="db", attempt=1, strategy="restart", outcome="unclear", message="", seconds=1.0),
            "error",
            "attempt.ended",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_thing_that_happens_has_its_level_and_name(event: e.Event, level: str, name: str) -> None:
    tell, output = listening("debug")
    tell(event)
    [line] = output.lines
    assert (line["level"], line["event"]) == (level, name)


def test_every_kind_of_journal_entry_is_named_after_its_type() -> None:
    for entry_type in j.ENTRY_TYPES:
        assert entry_type.type.count("_") == 1, "the log's name is the type with its underscore turned into a dot"


def test_evidence_stays_out_of_the_log() -> None:
    tell, output = listening("debug")
    tell(j.EvidenceTaken(service="db", attempt=1, evidence={"queries": ["SELECT 1"]}))
    assert "SELECT" not in output.getvalue()
    assert output.lines[0]["event"] == "evidence.taken"


def test_a_level_leaves_out_what_is_below_it() -> None:
    tell, output = listening("warning")
    tell(e.ConfigReloaded(error=""))
    tell(e.ConfigReloaded(error="bad"))
    assert [line["event"] for line in output.lines] == ["config.rejected"]


def test_a_thousand_new_services_make_one_short_line() -> None:
    tell, output = listening()
    tell(e.ServicesChanged(added=tuple((f"service-{n}", "tcp") for n in range(1000)), removed=("old",)))
    [line] = output.lines
    assert (line["added"], line["removed"]) == (1000, 1)
    assert len(output.getvalue()) < 1000


def test_a_reload_that_changes_no_service_makes_no_line_about_services() -> None:
    tell, output = listening()
    tell(e.ServicesChanged(added=(), removed=()))
    assert output.lines == []


def test_no_secret_is_in_any_line_of_ours_or_of_a_library() -> None:
    tell, output = listening("debug", "hunter2")
    leaky = Fault(kind=FaultKind.AUTH_FAILED, message="postgresql://fuse:s3cret@localhost refused hunter2")
    tell(changed(Health.UP, Health.SUSPECT, leaky))
    tell(j.StepEnded(service="db", attempt=1, step=0, outcome=j.StepOutcome.DONE, seconds=1, result={"a": ["hunter2"]}))
    logging.getLogger("some.library").warning("logging in with %s", "hunter2")
    logging.getLogger("reviver.app").info("daemon.said", extra={"what": "hunter2", "object": Leaky()})
    structlog.get_logger().error("direct", what={"nested": Leaky()})
    try:
        raise RuntimeError("hunter2")
    except RuntimeError:
        logging.getLogger("reviver.app").exception("action.crashed")
    assert len(output.lines) == 6
    assert "hunter2" not in output.getvalue()
    assert "s3cret" not in output.getvalue()
    assert "RuntimeError: ***" in output.lines[-1]["exception"]


def test_on_a_terminal_an_object_that_shows_a_secret_does_not() -> None:
    output = Output()
    logs.configure("info", stream=output, json=False)
    logs.subscriber(Redactor([Secret("hunter2")]))
    structlog.get_logger().error("direct", what=Leaky(), nested=[Leaky()])
    assert "Leaky(***)" in output.getvalue()
    assert "hunter2" not in output.getvalue()


class Leaky:
    """Shows a secret to whoever prints it."""

    def __repr__(self) -> str:
        return "Leaky(hunter2)"


def test_what_a_target_says_can_forge_no_line_and_move_no_cursor() -> None:
    for as_json in (True, False):
        output = Output()
        logs.configure("info", stream=output, json=as_json)
        tell = logs.subscriber(Redactor())
        hostile = Fault(kind=FaultKind.BAD_BODY, message='x\r\n{"event": "incident.recovered"}\x1b[2J\x00')
        tell(changed(Health.UP, Health.SUSPECT, hostile))
        assert len(output.getvalue().splitlines()) == 1
        assert not {"\x1b", "\x00", "\r"} & set(output.getvalue())


def test_our_own_records_of_the_standard_library_keep_their_name_and_fields() -> None:
    _, output = listening("info")
    logging.getLogger("reviver.app").info("daemon.stopping", extra={"signal": "SIGTERM"})
    [line] = output.lines
    assert (line["level"], line["event"], line["signal"]) == ("info", "daemon.stopping", "SIGTERM")


def test_a_library_is_heard_from_warning_upwards_under_one_name() -> None:
    _, output = listening("debug")
    logging.getLogger("httpx").info("HTTP Request: GET http://localhost/health")
    logging.getLogger("httpx").warning("pool of %d is full", 3)
    [line] = output.lines
    assert (line["event"], line["logger"], line["message"]) == ("library.said", "httpx", "pool of 3 is full")


def test_a_logger_made_before_the_configuration_obeys_it() -> None:
    early = structlog.get_logger()
    _, output = listening("info")
    early.info("said.late")
    assert [line["event"] for line in output.lines] == ["said.late"]


def test_a_standard_error_that_cannot_be_written_stops_nobody() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    stream = open(full, "w", closefd=False)  # noqa: SIM115  closed below, once it can be
    try:
        logs.configure("info", stream=stream)
        tell = logs.subscriber(Redactor())
        for _ in range(1000):
            tell(opened())
        logging.getLogger("some.library").error("no room")
    finally:
        with Path(os.devnull).open("w") as anywhere:
            os.dup2(anywhere.fileno(), full)
        stream.close()
        os.close(full)


def test_a_closed_standard_error_stops_nobody() -> None:
    tell, output = listening()
    output.close()
    tell(opened())


def test_on_a_terminal_lines_are_coloured_text_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert b"\x1b[" in said_on_a_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = said_on_a_terminal()
    assert b"\x1b[" not in plain
    assert b"incident.opened" in plain
    assert b"service=db" in plain


def said_on_a_terminal() -> bytes:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        logs.configure("info", stream=terminal)
        logs.subscriber(Redactor())(opened())
        said = os.read(ours, 65536)
    os.close(ours)
    return said


def said_into_a_pipe() -> list[str]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.environ["JOURNAL_STREAM"] = os.environ["JOURNAL_STREAM"].replace(
            "HERE", f"{os.fstat(writing).st_dev}:{os.fstat(writing).st_ino}"
        )
        logs.configure("debug", stream=stream)
        tell = logs.subscriber(Redactor())
        tell(opened())
        tell(e.ConfigReloaded(error=""))
        tell(checked(fault=REFUSED))
        logging.getLogger("some.library").warning("look out")
    with os.fdopen(reading) as read:
        return read.read().splitlines()


def test_in_the_journal_each_line_starts_with_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "HERE")
    lines = said_into_a_pipe()
    assert [line[:4] for line in lines] == ["<3>{", "<6>{", "<7>{", "<4>{"]
    assert json.loads(lines[0][3:])["event"] == "incident.opened"


def test_a_stream_that_is_not_the_journal_gets_no_priorities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")  # inherited; our stream was redirected
    assert [line[0] for line in said_into_a_pipe()] == ["{"] * 4


def test_the_standard_error_is_where_lines_go_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logs.subscriber(Redactor())(opened())
    assert json.loads(capsys.readouterr().err)["event"] == "incident.opened"
