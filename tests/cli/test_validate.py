"""``reviver validate`` and ``reviver schema``."""

import json
from pathlib import Path

import pytest

from reviver import kinds
from reviver.cli import main
from reviver.settings.schema import render_schema

Captured = pytest.CaptureFixture[str]

GOOD = """
[services.db]
check = "tcp"
address = "127.0.0.1:5432"

[[services.db.recovery]]
name = "look"
faults = ["unreachable"]
steps = [{ action = "command", argv = ["/bin/true"] }]
"""
DOUBTFUL = GOOD.replace('address = "127.0.0.1:5432"', 'address = "127.0.0.1:5432"\ntimeout = "1s"')
BAD = '[daemon]\nlistne = "x"\n\n[services.db]\ncheck = "tpc"\n'


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file, still empty."""
    return tmp_path / "reviver.toml"


def test_good_settings_are_counted(settings: Path, capsys: Captured) -> None:
    settings.write_text(GOOD)
    assert main(["validate", "-c", str(settings)]) == 0
    assert capsys.readouterr() == (f"{settings} is valid: 1 service, 1 strategy\n", "")


def test_each_problem_is_a_line_on_stderr_and_the_code_is_78(settings: Path, capsys: Captured) -> None:
    settings.write_text(BAD)
    assert main(["validate", "-c", str(settings)]) == 78
    told = capsys.readouterr()
    first, second = told.err.splitlines()
    assert told.out == ""
    assert first.startswith(f"{settings}:2: daemon.listne: ")
    assert second.startswith(f"{settings}:5: services.db.check: ")


def test_problems_as_json_have_their_place(settings: Path, capsys: Captured) -> None:
    settings.write_text(BAD)
    assert main(["validate", "--json", "-c", str(settings)]) == 78
    told = capsys.readouterr()
    first, second = json.loads(told.out)
    assert first["file"] == str(settings)
    assert (first["line"], first["key"], first["severity"]) == (2, "daemon.listne", "error")
    assert (second["line"], second["key"]) == (5, "services.db.check")
    assert told.err == ""


def test_a_warning_is_said_and_is_no_failure(settings: Path, capsys: Captured) -> None:
    settings.write_text(DOUBTFUL)
    assert main(["validate", "-c", str(settings)]) == 0
    told = capsys.readouterr()
    assert "is valid" in told.out
    assert told.err.startswith(f"{settings}:")
    assert told.err.endswith(" (warning)\n")
    assert main(["validate", "--json", "-c", str(settings)]) == 0
    [problem] = json.loads(capsys.readouterr().out)
    assert problem["severity"] == "warning"


def test_good_settings_are_an_empty_list_for_programs(settings: Path, capsys: Captured) -> None:
    settings.write_text(GOOD)
    assert main(["validate", "--json", "-c", str(settings)]) == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_settings_that_are_not_there_are_78(tmp_path: Path, capsys: Captured) -> None:
    assert main(["validate", "-c", str(tmp_path / "none.toml")]) == 78
    assert "none.toml" in capsys.readouterr().err
    assert main(["validate"]) == 78
    assert "--config or $REVIVER_CONFIG" in capsys.readouterr().err


def test_the_settings_are_looked_for_in_the_documented_order(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> str:
        assert main(["validate"]) == 0
        return capsys.readouterr().out.partition(" ")[0]

    here = tmp_path / "config/reviver.toml"
    here.parent.mkdir()
    for path in (here, tmp_path / "etc.toml", tmp_path / "env.toml", tmp_path / "option.toml"):
        path.write_text(GOOD)
    (tmp_path / "etc.toml").rename(tmp_path / "elsewhere")
    assert found() == "config/reviver.toml"
    (tmp_path / "elsewhere").rename(tmp_path / "etc.toml")
    assert found() == str(tmp_path / "etc.toml")
    monkeypatch.setenv("REVIVER_CONFIG", str(tmp_path / "env.toml"))
    assert found() == str(tmp_path / "env.toml")
    assert main(["validate", "--config", "option.toml"]) == 0
    assert capsys.readouterr().out.startswith("option.toml ")


def test_secrets_are_in_no_problem(settings: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2-hunter2")
    settings.write_text('[services.c]\ncheck = "redis"\nurl = "nonsense"\npassword = { env = "SECRET" }\nx = 1\n')
    assert main(["validate", "-c", str(settings)]) == 78
    told = capsys.readouterr()
    assert "services.c.x" in told.err
    assert "hunter2" not in told.err + told.out


def test_the_schema_is_that_of_the_installed_kinds(capsys: Captured) -> None:
    assert main(["schema"]) == 0
    out = capsys.readouterr().out
    assert out == render_schema(kinds.installed())
    assert "tcp" in out
