"""The commands that talk to the running daemon, against the web's own control app on a real socket."""

import json
import os
import re
import socket as sockets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from cli.stage import INCIDENT, MESSAGE, OPENED_AT, Control, Journal, daemon, reviver, view
from reviver.model.control import ApprovalView, TrustView

Captured = pytest.CaptureFixture[str]


async def test_status_off_a_terminal_has_one_line_for_each_service_with_all_that_is_known(
    socket: Path, capsys: Captured
) -> None:
    async with daemon(socket, Control(), Journal()):
        code = await reviver("status", "--socket", str(socket))
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert code == 0
    assert [line.split()[:2] for line in lines] == [
        ["SERVICE", "HEALTH"],
        ["db", "recovering"],
        ["cache", "up"],
        ["api", "down"],
        ["tasks", "paused"],
        ["mail", "unknown"],
    ]
    assert lines[1].endswith(f'timeout: {MESSAGE}; attempt 2: strategy "restart"; incident {INCIDENT}')
    assert lines[3].endswith("held: db, which it depends on, is recovering")
    assert lines[2].endswith("MAINTENANCE until 2152-12-12 04:00 CET: weekly vacuum")
    assert "paused by ann for another" in lines[4]
    assert lines[4].endswith(": disk swap")
    assert lines[5].split() == ["mail", "unknown", "-", "-", "-"]
    assert told.err == "1 of 5 up\n"


async def test_status_tells_for_how_long(socket: Path, capsys: Captured) -> None:
    since = time.time() - 7260  # noqa: TID251  what the daemon's clock says
    async with daemon(socket, Control({"db": view(since=since)}), Journal()):
        await reviver("status", "--socket", str(socket))
    assert "2 h 1 min" in capsys.readouterr().out


async def test_status_on_a_terminal_is_in_colour_and_80_columns_wide(
    socket: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    async with daemon(socket, Control(), Journal()):
        await reviver("status", "--socket", str(socket))
    out = capsys.readouterr().out
    assert "\x1b[1;31mdown" in out
    plain = _without_codes(out)
    assert max(map(len, plain.splitlines())) <= 80
    assert "no answer within 2 s" in " ".join(plain.split())  # where a line breaks depends on how long ago it was


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
async def test_a_terminal_without_colour_gets_none(
    socket: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    async with daemon(socket, Control(), Journal()):
        await reviver("status", "--socket", str(socket))
    out = capsys.readouterr().out
    assert "recovering" in out
    assert "\x1b[3" not in out
    assert "1;31m" not in out


async def test_status_says_why_reviver_suspects_itself(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(suspect="this host was suspended for 60 s"), Journal()):
        await reviver("status", "--socket", str(socket))
    said = "reviver suspects itself: this host was suspended for 60 s\n"
    assert capsys.readouterr().err.endswith(said)


async def test_status_as_json_is_what_the_daemon_answers(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        code = await reviver("status", "--json", "--socket", str(socket))
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert code == 0
    assert answer["healthy"] is False
    assert answer["services"]["db"]["fault"] == "timeout"
    assert told.err == ""


async def test_status_quiet_is_about_the_daemon_not_about_its_services(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver("status", "--quiet", "--socket", str(socket)) == 0
    assert capsys.readouterr() == ("", "")
    assert await reviver("status", "--quiet", "--socket", str(socket)) == 69


async def test_status_imports_no_client_no_settings_and_no_table_maker(socket: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "reviver", "status", "--json", "--socket", str(socket)]
    async with daemon(socket, Control(), Journal()):
        done = await anyio.run_process(command)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "reviver.cli.daemon" in imported
    roots = {name.partition(".")[0] for name in imported}
    assert not roots & {"asyncpg", "redis", "prometheus_client", "httpx", "starlette", "pydantic", "structlog", "rich"}
    assert not [name for name in imported if name.startswith(("reviver.checks", "reviver.settings", "reviver.web"))]


async def test_incidents_are_listed_newest_first_with_how_long_it_took(socket: Path, capsys: Captured) -> None:
    journal = Journal()
    async with daemon(socket, Control(), journal):
        code = await reviver("incidents", "--service", "db", "-n", "3", "--socket", str(socket))
    header, line = capsys.readouterr().out.splitlines()
    assert code == 0
    assert journal.wanted == [(3, "db")]
    assert header.split() == ["INCIDENT", "STATE", "NOTICED", "RECOVERED", "WHAT"]
    assert re.split(" {2,}", line) == [INCIDENT, "recovered", "1.1 s", "25.7 s", "timeout; by restart"]


async def test_no_incidents_are_said_on_stderr_and_are_an_empty_list_for_programs(
    socket: Path, capsys: Captured
) -> None:
    async with daemon(socket, Control(), Journal(records=())):
        assert await reviver("incidents", "--socket", str(socket)) == 0
        assert capsys.readouterr() == ("", "no incidents\n")
        assert await reviver("incidents", "--json", "--socket", str(socket)) == 0
    assert json.loads(capsys.readouterr().out) == {"incidents": []}


async def test_an_incident_is_told_with_its_timeline_and_evidence(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        code = await reviver("incidents", INCIDENT, "--socket", str(socket))
    out = capsys.readouterr().out
    assert code == 0
    facts, timeline, evidence = out.split("\n\n")
    assert f"fault          timeout: {MESSAGE}" in facts
    assert "recovered in   25.7 s, by restart" in facts
    assert "reason" not in facts
    first, *_, last = timeline.splitlines()[1:]
    assert first.endswith(f"+3.1 s   db is down: timeout: {MESSAGE}")
    assert last.endswith("+25.7 s  db recovered by restart after 25.70 s")
    assert json.loads(evidence.partition("\n")[2])["connections"] == 97


async def test_an_unknown_incident_is_bad_usage(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver("incidents", "no such?one", "--socket", str(socket)) == 64
    assert capsys.readouterr().err.startswith('reviver: there is no incident "no such?one"')


async def test_recover_passes_on_what_was_typed(socket: Path, capsys: Captured) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        code = await reviver("recover", "db", "--strategy", "restore", "--dry-run", "--socket", str(socket))
    assert code == 0
    assert control.told == [("recover", "db", "restore", True)]
    assert capsys.readouterr().out == 'db: attempt 1, strategy "restore": reviver will restart it\n'


EARNED = TrustView(
    service="db",
    strategy="restart",
    mode="approve",
    tries=5,
    cures=4,
    relapses_1h=1,
    relapses_24h=3,
    last_cure=OPENED_AT,
    last_relapse=OPENED_AT + 3600,
    demoted="it broke api",
)


async def test_trust_has_a_line_for_each_strategy_with_why_it_was_demoted(socket: Path, capsys: Captured) -> None:
    control = Control(trusted=[EARNED, TrustView(service="cache", strategy="flush the cache", mode="auto")])
    async with daemon(socket, control, Journal()):
        code = await reviver("trust", "--socket", str(socket))
    header, demoted, unused = (re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines())
    assert code == 0
    assert header == ["SERVICE", "STRATEGY", "MODE", "TRIES", "CURES", "RELAPSES-1H", "RELAPSES-24H", "LAST"]
    assert demoted == ["db", "restart", "approve", "5", "4", "1", "3", f"{demoted[-1]}"]
    assert re.fullmatch(r"relapse 2026-03-01 \d\d:02:11; demoted: it broke api", demoted[-1])
    assert unused == ["cache", "flush the cache", "auto", "0", "0", "0", "0", "-"]


async def test_trust_of_one_service_as_json_is_what_the_daemon_answers(socket: Path, capsys: Captured) -> None:
    control = Control(trusted=[EARNED, TrustView(service="cache", strategy="flush", mode="auto")])
    async with daemon(socket, control, Journal()):
        assert await reviver("trust", "db", "--json", "--socket", str(socket)) == 0
        [one] = json.loads(capsys.readouterr().out)["strategies"]
        assert await reviver("trust", "dB", "--socket", str(socket)) == 64
    assert (one["service"], one["demoted"], one["relapses_24h"]) == ("db", "it broke api", 3)
    assert 'there is no service "dB"' in capsys.readouterr().err


async def test_without_any_strategy_trust_says_so_on_stderr(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver("trust", "--socket", str(socket)) == 0
    assert capsys.readouterr() == ("", "no strategies\n")


async def test_promote_passes_on_what_was_typed_and_prints_what_holds_now(socket: Path, capsys: Captured) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("promote", "db", "flush the cache", "--socket", str(socket)) == 0
    assert control.told == [("promote", "db", "flush the cache")]
    assert capsys.readouterr().out == '"flush the cache" of db is trusted again: its mode is auto\n'


async def test_recover_acts_unless_told_that_it_is_dry(socket: Path) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("recover", "db", "--socket", str(socket)) == 0
    assert control.told == [("recover", "db", None, False)]


@pytest.mark.parametrize("command", [["recover", "db"], ["pause", "db"], ["resume"], ["promote", "db", "restart"]])
async def test_what_a_guard_refuses_may_be_tried_later(socket: Path, capsys: Captured, command: list[str]) -> None:
    async with daemon(socket, Control(refuse="db: an attempt is running; wait for its end"), Journal()):
        assert await reviver(*command, "--socket", str(socket)) == 75
    assert capsys.readouterr() == ("", "reviver: db: an attempt is running; wait for its end\n")


@pytest.mark.parametrize("command", ["recover", "pause", "resume"])
async def test_an_unknown_service_is_bad_usage(socket: Path, capsys: Captured, command: str) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver(command, "d b?b", "--socket", str(socket)) == 64
    assert capsys.readouterr().err == 'reviver: there is no service "d b?b"\n'


async def test_a_pause_lasts_an_hour_unless_said_otherwise_and_says_until_when(socket: Path, capsys: Captured) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("pause", "db", "cache", "--socket", str(socket)) == 0
    assert control.told == [("pause", ["db", "cache"], "no reason given", 3600.0)]
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(OPENED_AT))
    assert capsys.readouterr().out == f"paused: db, cache, until {until}\n"


async def test_a_pause_without_names_is_for_all(socket: Path) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("pause", "--for", "24h", "--reason", "move", "--json", "--socket", str(socket)) == 0
    assert control.told == [("pause", [], "move", 86400.0)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "61m"], "--reason"),
        (["--for", "25h", "--reason", "x"], "at most 24h"),
        (["--for", "0s"], "more than nothing"),
        (["--for", "soon"], "expected a duration"),
    ],
)
async def test_a_pause_that_nobody_would_understand_later_is_not_asked_for(
    socket: Path, capsys: Captured, arguments: list[str], said: str
) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("pause", *arguments, "--socket", str(socket)) == 64
    assert control.told == []
    assert said in capsys.readouterr().err


async def test_resume_names_what_it_resumed(socket: Path, capsys: Captured) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("resume", "db", "--socket", str(socket)) == 0
    assert control.told == [("resume", ["db"])]
    assert capsys.readouterr().out == "resumed: db\n"


@pytest.mark.parametrize(
    "command", [["status"], ["incidents"], ["recover", "db"], ["pause"], ["resume"], ["trust"]], ids=lambda c: c[0]
)
async def test_without_a_daemon_each_command_says_so_with_69(
    socket: Path, capsys: Captured, command: list[str]
) -> None:
    assert await reviver(*command, "--socket", str(socket)) == 69
    expected = f"reviver: no daemon answers on {socket}: no such file or directory; start it, or name its --socket\n"
    assert capsys.readouterr() == ("", expected)


async def test_a_dead_daemons_socket_is_69(socket: Path, capsys: Captured) -> None:
    with sockets.socket(sockets.AF_UNIX) as left_behind:
        left_behind.bind(str(socket))
    assert await reviver("status", "--socket", str(socket)) == 69
    assert "connection refused" in capsys.readouterr().err


async def test_a_hanging_daemon_is_69_within_the_deadline(
    socket: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reviver.cli.daemon.DEADLINE", 0.05)
    with sockets.socket(sockets.AF_UNIX) as hanging:
        hanging.bind(str(socket))
        hanging.listen()
        assert await reviver("status", "--socket", str(socket)) == 69
    assert "did not answer within 0.05 s" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b""])
async def test_something_else_behind_the_socket_is_69(socket: Path, capsys: Captured, answer: bytes) -> None:
    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(answer)

    async with await anyio.create_unix_listener(socket) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        assert await reviver("status", "--socket", str(socket)) == 69
        group.cancel_scope.cancel()
    assert str(socket) in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
async def test_who_may_not_open_the_socket_is_told_whom_to_be(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver("status", "--quiet", "--socket", str(socket)) == 0
        with _nobody():
            assert await reviver("status", "--socket", str(socket)) == 77
    assert capsys.readouterr().err == f"reviver: {socket}: not permitted; be root, or in the socket's group (reviver)\n"


async def test_the_socket_is_where_the_settings_put_it_even_while_they_are_wrong(
    socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "reviver.toml"
    settings.write_text(f'[daemon]\ncontrol_socket = "{socket}"\nlistne = 1\n[services.db]\nchekc = "tcp"\n')
    async with daemon(socket, Control(), Journal()):
        assert await reviver("status", "--config", str(settings)) == 0
        monkeypatch.setenv("REVIVER_CONFIG", str(settings))
        assert await reviver("status") == 0


async def test_settings_that_were_named_and_cannot_be_read_are_78(tmp_path: Path, capsys: Captured) -> None:
    assert await reviver("status", "-c", str(tmp_path / "none.toml")) == 78
    assert "no such file" in capsys.readouterr().err.lower()
    (tmp_path / "bad.toml").write_text("[daemon")
    assert await reviver("status", "-c", str(tmp_path / "bad.toml")) == 78
    assert "--socket" in capsys.readouterr().err


def _without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@contextmanager
def _nobody() -> Iterator[None]:
    """The block is run as a user who has no rights."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


WAITING = ApprovalView(
    service="db",
    incident=INCIDENT,
    strategy="restore",
    attempt=2,
    fault="database_missing",
    message="there is no database fuse",
    plan=("restore /backups/fuse.dump into fuse_new", "swap fuse_new for fuse"),
    destructive=True,
    token="0123456789ab",
    expires_at=OPENED_AT,
)


async def test_approve_shows_exactly_what_would_be_done_and_approves_that_very_plan(
    socket: Path, capsys: Captured
) -> None:
    control = Control(waiting=[WAITING])
    async with daemon(socket, control, Journal()):
        code = await reviver("approve", "db", "--yes", "--socket", str(socket))
    told = capsys.readouterr().out
    assert code == 0
    assert "  1. restore /backups/fuse.dump into fuse_new\n  2. swap fuse_new for fuse\n" in told
    assert "This can't be brought back." in told
    assert control.told == [("approve", "db", "0123456789ab")]


async def test_without_a_terminal_and_without_yes_nothing_is_approved(socket: Path, capsys: Captured) -> None:
    control = Control(waiting=[WAITING])
    async with daemon(socket, control, Journal()):
        code = await reviver("approve", "db", "--socket", str(socket))
    assert (code, control.told) == (64, [])
    assert "say --yes" in capsys.readouterr().err


async def test_approve_without_a_name_lists_what_waits_and_approves_nothing(socket: Path, capsys: Captured) -> None:
    control = Control(waiting=[WAITING])
    async with daemon(socket, control, Journal()):
        assert await reviver("approve", "--socket", str(socket)) == 0
    assert 'strategy "restore" would' in capsys.readouterr().out
    assert control.told == []


async def test_where_nothing_waits_approve_says_so(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver("approve", "db", "--yes", "--socket", str(socket)) == 75
        assert await reviver("approve", "--socket", str(socket)) == 0
    assert capsys.readouterr().err.count("nothing waits for an approval") == 2


async def test_deny_passes_the_reason_on(socket: Path, capsys: Captured) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("deny", "db", "--reason", "a bad dump", "--socket", str(socket)) == 0
    assert control.told == [("deny", "db", "a bad dump")]
    assert "is given up" in capsys.readouterr().out


async def test_a_freeze_is_told_by_status_until_it_is_thawed(socket: Path, capsys: Captured) -> None:
    control = Control()
    async with daemon(socket, control, Journal()):
        assert await reviver("freeze", "--reason", "a bad feeling", "--socket", str(socket)) == 0
        assert capsys.readouterr().out.endswith(": a bad feeling\n")
        await reviver("status", "--socket", str(socket))
        assert "a bad feeling" in capsys.readouterr().err
        assert await reviver("thaw", "--socket", str(socket)) == 0
        assert capsys.readouterr().out == "thawed\n"


async def test_a_files_freeze_is_not_thawed_by_a_word(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(ice="frozen by file /run/reviver/FREEZE: it is there"), Journal()):
        assert await reviver("thaw", "--socket", str(socket)) == 75
    assert capsys.readouterr().err.startswith("still frozen by file /run/reviver/FREEZE")


async def test_explain_tells_each_decision_and_what_comes_next(socket: Path, capsys: Captured) -> None:
    async with daemon(socket, Control(), Journal()):
        assert await reviver("explain", INCIDENT, "--socket", str(socket)) == 0
        by_id = capsys.readouterr().out
        assert await reviver("explain", "db", "--socket", str(socket)) == 0
        assert capsys.readouterr().out == by_id
        assert await reviver("explain", "nothing-such", "--socket", str(socket)) == 64
    assert by_id.startswith(f"{INCIDENT}: db recovered\n")
    assert "confirmed 3.1 s after the first question that failed" in by_id
    assert by_id.splitlines()[-1].startswith("next: nothing: it has recovered")
