"""``reviver replay``."""

import json
from pathlib import Path

import pytest

from fakes import Target, service
from replay.recording import play
from reviver.cli import main
from reviver.model.faults import FaultKind

Captured = pytest.CaptureFixture[str]

SETTINGS = """
[daemon]
state_dir = "{0}"

[services.db]
check = "postgres"
dsn = "postgresql://app@localhost/app"
password = {{ env = "NOT_SET_HERE" }}
fall = {1}

[[services.db.recovery]]
name = "look"
faults = ["unreachable"]
after = "20s"
steps = [{{ action = "command", argv = ["/bin/true"] }}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings beside a journal with one outage of 50 s."""
    outage = [(100.0, FaultKind.UNREACHABLE), (150.0, None)]
    play(tmp_path / "journal.db", [service(Target("db")), service(Target("old"))], {"db": outage}, lasting=600.0)
    (tmp_path / "reviver.toml").write_text(SETTINGS.format(tmp_path, 4))
    return tmp_path / "reviver.toml"


def test_the_table_tells_what_would_have_been_done_and_what_to_think_of_it(config: Path, capsys: Captured) -> None:
    assert main(["replay", "-c", str(config)]) == 0
    out, err = capsys.readouterr()
    header, row, *totals = out.splitlines()
    assert header.split("  ")[0] == "SERVICE"
    assert "unreachable" in row
    assert "look: needless: it came back by itself" in row
    assert any(line.split() == ["incidents", "1", "1"] for line in totals)
    assert any(line.split() == ["look", "0", "1"] for line in totals)
    assert "the history is shorter than the 30 d asked for" in err
    assert "in the history, not in the settings: old" in err


def test_other_settings_leave_it_alone(config: Path, capsys: Captured) -> None:
    config.write_text(SETTINGS.format(config.parent, 90))
    assert main(["replay", "-c", str(config), "--last", "5m"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("")
    assert main(["replay", "-c", str(config), "--last", "10m"]) == 0
    out, err = capsys.readouterr()
    assert "left alone, over after" in out
    assert "shorter" not in err


def test_json_has_everything(config: Path, capsys: Captured) -> None:
    journal = config.parent / "journal.db"
    assert main(["replay", "-c", str(config), "--json", "--journal", str(journal), "--service", "db"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["journal"] == str(journal)
    assert told["asked_seconds"] == 30 * 86400.0
    [incident] = told["incidents"]
    assert incident["actions"][0]["verdict"] == "needless"
    assert told["now"]["attempts"] == {"look": len(incident["actions"])}
    assert told["not_in_settings"] == ["old"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--last", "30"], 64, '--last "30": expected a duration'),
        (["--last", "0s"], 64, '--last "0s": expected a duration above zero'),
        (["--service", "web"], 64, 'there is no service "web"; there are: db'),
        (["--journal", "nowhere.db"], 1, "journal: nowhere.db: No such file or directory; name the one"),
        (["--journal", "reviver.toml"], 1, "journal: reviver.toml can't be read: file is not a database"),
    ],
)
def test_what_can_not_be_done_is_said(
    config: Path, capsys: Captured, arguments: list[str], code: int, said: str
) -> None:
    assert main(["replay", "-c", str(config), *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_journal_without_a_history_is_said(config: Path, tmp_path: Path, capsys: Captured) -> None:
    play(tmp_path / "empty.db", [], {}, lasting=1.0)
    assert main(["replay", "-c", str(config), "--journal", str(tmp_path / "empty.db")]) == 1
    assert "holds no history yet" in capsys.readouterr().err


def test_bad_settings_are_refused(config: Path, capsys: Captured) -> None:
    config.write_text("[services.db]\ncheck = 'tpc'\n")
    assert main(["replay", "-c", str(config)]) == 78
    assert "services.db.check" in capsys.readouterr().err
