"""``reviver check``: real sockets where a kind that exists is asked, kinds of our own where one must misbehave."""

import json
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from reviver.cli import main
from reviver.kinds import Kinds
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.faults import Fault, FaultKind
from reviver.model.secrets import SecretField
from servers import LOOPBACK, free_port

Captured = pytest.CaptureFixture[str]


TOGETHER: list[object] = []
"""Those that wait for one another."""


@dataclass(frozen=True, kw_only=True)
class Fake:
    """A kind whose answer stands in the settings."""

    answer: str = "up"
    password: SecretField | None = None

    faults: ClassVar = frozenset({FaultKind.AUTH_FAILED, FaultKind.TIMEOUT})
    borrows: ClassVar[frozenset[str]] = frozenset()

    def hosts(self) -> frozenset[str]:
        return frozenset()

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator["Fake"]:
        yield self

    async def evidence(self) -> dict[str, Any]:
        return {}

    async def ask(self, *, fresh: bool) -> CheckResult:
        assert fresh
        secret = self.password.reveal() if self.password else ""
        match self.answer:
            case "up":
                return CheckResult(latency=0.0125, details={"version": f"7.0 {secret}"})
            case "fault":
                fault = Fault(
                    kind=FaultKind.AUTH_FAILED, message=f"{secret} | refused", certain=True, details={"said": secret}
                )
                return CheckResult(latency=0.5, fault=fault)
            case "unknown":
                return CheckResult(latency=0.0, unknown="its program is missing")
            case "only together":
                TOGETHER.append(self)
                while len(TOGETHER) < 2:  # noqa: ASYNC110  an event would outlive its loop
                    await anyio.sleep(0.001)
                return CheckResult(latency=0.0)
            case "hang":
                await anyio.sleep_forever()
        raise RuntimeError(f"oops {secret}")


@pytest.fixture
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.kinds.installed", lambda: Kinds(checks={"fake": Fake}))
    monkeypatch.setenv("SECRET", "hunter2-hunter2")


def fakes(tmp_path: Path, **answers: str) -> str:
    """The path of settings with a service for each answer."""
    path = tmp_path / "reviver.toml"
    table = '[services.{}]\ncheck = "fake"\nanswer = "{}"\npassword = {{ env = "SECRET" }}\ntimeout = "50ms"\n'
    path.write_text("".join(table.format(name, answer) for name, answer in answers.items()))
    return str(path)


@contextmanager
def listening() -> Iterator[int]:
    """A port that accepts connections."""
    with sockets.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def tcp(tmp_path: Path, **ports: int) -> str:
    """The path of settings with a ``tcp`` service for each port."""
    path = tmp_path / "reviver.toml"
    table = '[services.{}]\ncheck = "tcp"\naddress = "127.0.0.1:{}"\n'
    path.write_text("".join(table.format(name, port) for name, port in ports.items()))
    return str(path)


def test_all_healthy_is_0(tmp_path: Path, capsys: Captured) -> None:
    with listening() as one, listening() as two:
        assert main(["check", "-c", tcp(tmp_path, one=one, two=two)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["SERVICE", "HEALTH"], ["one", "up"], ["two", "up"]]


def test_a_fault_is_2_and_the_other_services_are_told_all_the_same(tmp_path: Path, capsys: Captured) -> None:
    with listening() as open_port:
        assert main(["check", "--json", "-c", tcp(tmp_path, closed=free_port(), well=open_port)]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["healthy"] is False
    assert list(answer["services"]) == ["closed", "well"]
    closed, well = answer["services"].values()
    assert (closed["health"], closed["fault"], well["health"], well["fault"]) == ("down", "unreachable", "up", None)
    assert set(closed) == {"health", "fault", "message", "latency_seconds", "certain", "details"}


def test_only_the_named_are_asked(tmp_path: Path, capsys: Captured) -> None:
    with listening() as open_port:
        settings = tcp(tmp_path, closed=free_port(), well=open_port, also=open_port)
        assert main(["check", "well", "also", "--config", settings]) == 0
    assert "closed" not in capsys.readouterr().out


def test_one_name_is_answered_in_a_plugins_line(tmp_path: Path, capsys: Captured) -> None:
    with listening() as open_port:
        assert main(["check", "db", "-c", tcp(tmp_path, db=open_port)]) == 0
    text, _, figures = capsys.readouterr().out.partition(" | ")
    assert text.startswith("DB OK - answered in ")
    assert figures.startswith("latency=0.")
    assert figures.endswith("s;;;0\n")


@pytest.mark.usefixtures("_fakes")
def test_a_bar_in_a_message_does_not_forge_figures(tmp_path: Path, capsys: Captured) -> None:
    assert main(["check", "db", "-c", fakes(tmp_path, db="fault")]) == 2
    assert capsys.readouterr().out == "DB CRITICAL - auth_failed: *** / refused | latency=0.500s;;;0\n"


@pytest.mark.usefixtures("_fakes")
@pytest.mark.parametrize("form", [[], ["--json"], ["a", "b"], ["a"], ["b"], ["c"]])
def test_secrets_are_in_no_form_of_the_output(tmp_path: Path, capsys: Captured, form: list[str]) -> None:
    main(["check", *form, "-c", fakes(tmp_path, a="fault", b="crash", c="up")])
    told = capsys.readouterr()
    assert "hunter2" not in told.out + told.err
    assert form == ["c"] or "***" in told.out


@pytest.mark.usefixtures("_fakes")
@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"a": "up"}, 0),
        ({"a": "up", "b": "unknown"}, 3),
        ({"a": "fault", "b": "unknown"}, 2),
        ({"a": "unknown", "b": "fault"}, 2),
        ({"a": "crash"}, 3),
        ({"a": "hang"}, 2),
        ({}, 0),
    ],
    ids=str,
)
def test_the_worst_answer_is_the_exit_code(tmp_path: Path, answers: dict[str, str], code: int) -> None:
    assert main(["check", "-c", fakes(tmp_path, **answers)]) == code


@pytest.mark.usefixtures("_fakes")
def test_all_are_asked_at_the_same_time(tmp_path: Path) -> None:
    TOGETHER.clear()
    assert main(["check", "-c", fakes(tmp_path, a="only together", b="only together")]) == 0


@pytest.mark.usefixtures("_fakes")
def test_a_hang_is_a_timeout_and_delays_only_itself(tmp_path: Path, capsys: Captured) -> None:
    main(["check", "--json", "-c", fakes(tmp_path, a="hang", b="hang", c="up")])
    services = json.loads(capsys.readouterr().out)["services"]
    assert services["a"]["fault"] == services["b"]["fault"] == "timeout"
    assert services["c"]["latency_seconds"] == 0.0125
    assert services["c"]["details"] == {"version": "7.0 ***"}
    assert services["a"]["latency_seconds"] < 1.5


@pytest.mark.usefixtures("_fakes")
def test_a_crash_of_a_check_is_no_fault_of_the_target(tmp_path: Path, capsys: Captured) -> None:
    main(["check", "--json", "-c", fakes(tmp_path, a="crash")])
    fact = json.loads(capsys.readouterr().out)["services"]["a"]
    assert (fact["health"], fact["fault"]) == ("unknown", None)
    assert "defect of the check" in fact["message"]


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["-c", "none.toml"], ["-c", "bad.toml"], ["nobody", "-c", "good.toml"], []],
    ids=["usage", "no such file", "bad settings", "no such service", "no settings"],
)
def test_what_cannot_be_asked_is_unknown_never_a_warning_or_a_fault(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "bad.toml").write_text('[services.db]\ncheck = "nonsense"\n')
    (tmp_path / "good.toml").write_text("")
    assert main(["check", *arguments]) == 3
