"""The command check, with real programs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import TypeAdapter, ValidationError

from reviver.checks.command import Command
from reviver.clients import process
from reviver.model.checks import Check, CheckContext, CheckResult, Probe
from reviver.model.faults import FaultKind
from reviver.model.secrets import Secret
from servers import until


@asynccontextmanager
async def opened(check: Check, timeout: float = 5.0) -> AsyncIterator[Probe]:  # noqa: ASYNC109
    async with check.open(CheckContext(service="x", timeout=timeout, wake=lambda _: None)) as probe:
        yield probe


async def ask(check: Check, timeout: float = 5.0) -> CheckResult:  # noqa: ASYNC109
    async with opened(check, timeout) as probe:
        return await probe.ask(fresh=True)


def sh(script: str, **settings: Any) -> Command:
    return Command(argv=("sh", "-c", script), **settings)


async def test_exit_code_0_is_healthy() -> None:
    result = await ask(sh("true"))
    assert result.healthy
    assert 0 < result.latency < 5


async def test_another_exit_code_is_a_failure_with_the_last_line_of_stderr() -> None:
    result = await ask(sh("echo out; echo no such host >&2; exit 3"))
    assert result.fault is not None
    assert result.fault.kind is FaultKind.COMMAND_FAILED
    assert result.fault.message.startswith("sh: exit code 3 after ")
    assert result.fault.message.endswith(": no such host")
    assert result.fault.details == {"exit_code": 3, "signal": ""}


async def test_a_signal_is_a_failure() -> None:
    result = await ask(sh("kill -KILL $$"))
    assert result.fault is not None
    assert "ended by SIGKILL" in result.fault.message
    assert result.fault.details["signal"] == "SIGKILL"


async def test_exit_codes_can_be_chosen() -> None:
    assert (await ask(sh("exit 3", exit_codes=frozenset({0, 3})))).healthy
    assert not (await ask(sh("exit 0", exit_codes=frozenset({3})))).healthy


async def test_an_output_that_lacks_the_text_is_a_failure_even_with_exit_code_0() -> None:
    assert (await ask(sh("echo PONG", stdout="PONG"))).healthy
    result = await ask(sh("echo PONG >&2; echo LOADING", stdout="PONG"))
    assert result.fault is not None
    assert result.fault.kind is FaultKind.COMMAND_FAILED
    assert 'its output lacks "PONG"' in result.fault.message


async def test_a_program_that_is_missing_says_nothing_about_the_service(tmp_path: Path) -> None:
    file = tmp_path / "plain"
    file.write_text("x")
    for program in ("no-such-program", "/no/such/program", str(file)):
        result = await ask(Command(argv=(program,)))
        assert result.fault is None
        assert not result.healthy
        assert result.unknown is not None
        assert result.unknown.startswith(f"{program}: ")


async def test_a_hanging_program_is_a_timeout_and_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    began = anyio.current_time()
    result = await ask(sh(f"echo $$ >{file}; echo waiting for x >&2; trap '' TERM; while :; do sleep 1; done"), 0.3)
    assert 0.3 <= anyio.current_time() - began < 3
    assert result.fault is not None
    assert result.fault.kind is FaultKind.TIMEOUT
    assert result.fault.message.endswith("waiting for x")
    pid = int(file.read_text())
    await until(lambda: not process.alive(pid))


async def test_what_a_program_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert (await ask(sh(f"sleep 60 & echo $! >{file}"))).healthy
    pid = int(file.read_text())
    await until(lambda: not process.alive(pid))


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def children() -> set[str]:
    """The children of this process: of each of its threads, for a child belongs to the thread that started it."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


async def test_many_questions_leave_no_process_and_no_descriptor() -> None:
    others = children()  # of other tests
    async with opened(sh("true")) as probe:
        await probe.ask(fresh=False)
        before = descriptors()
        for _ in range(20):
            assert (await probe.ask(fresh=False)).healthy
        assert descriptors() <= before
    assert children() <= others


async def test_a_secret_reaches_the_program_and_no_message() -> None:
    check = sh(
        'echo "$PGPASSWORD"; echo "login with $PGPASSWORD failed" >&2; exit 1', env={"PGPASSWORD": Secret("hush")}
    )
    async with opened(check) as probe:
        result = await probe.ask(fresh=True)
        evidence = await probe.evidence()
    assert result.fault is not None
    assert result.fault.message.endswith("login with *** failed")
    assert "hush" not in repr((check, result, evidence))


async def test_the_evidence_is_what_the_last_run_said() -> None:
    async with opened(sh("echo out; echo err >&2; exit 1")) as probe:
        assert await probe.evidence() == {"sh": "the last run was not started"}
        await probe.ask(fresh=True)
        evidence = await probe.evidence()
    assert evidence["stdout"] == "out\n"
    assert evidence["stderr"] == "err\n"
    assert str(evidence["sh"]).startswith("exit code 1")


async def test_cancelled_it_ends_the_program(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    async with opened(sh(f"echo $$ >{file}; exec sleep 60")) as probe, anyio.create_task_group() as group:

        async def question() -> None:
            await probe.ask(fresh=True)
            pytest.fail("it was cancelled")

        group.start_soon(question)
        await until(lambda: file.exists() and file.read_text() != "")
        group.cancel_scope.cancel()
    await until(lambda: not process.alive(int(file.read_text())))  # a start that was given up ends in its own thread


def test_it_asks_no_host() -> None:
    assert sh("true").hosts() == frozenset()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, "argv"), ({"argv": []}, "argv: expected a program"), ({"argv": ["a\0"]}, "NUL"),
     ({"argv": ["true"], "exit_codes": []}, "exit_codes: "), ({"argv": "true"}, "argv"),
     ({"argv": ["true"], "env": {"A=B": "x"}}, "env: "), ({"argv": ["true"], "env": {"A": 1}}, "env")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter(Command).validate_python(settings)


def test_settings_are_read_as_written_in_toml() -> None:
    check = TypeAdapter(Command).validate_python(
        {"argv": ["pg_isready"], "exit_codes": [0, 1], "env": {"P": {"env": "X"}, "Q": "plain"}},
        context={"resolve_secret": lambda reference: f"value of {reference['env']}"},
    )
    assert check.argv == ("pg_isready",)
    assert check.exit_codes == {0, 1}
    secret = check.env["P"]
    assert isinstance(secret, Secret)
    assert secret.reveal() == "value of X"
    assert check.env["Q"] == "plain"


async def test_no_part_of_a_secret_stays_where_its_output_is_cut() -> None:
    for before, after in ((290, 0), (0, 1995)):
        check = sh(f"printf '%{before}s%s%{after}s' x $T y | tr ' ' z; exit 3", env={"T": Secret("hunter2-hunter2")})
        async with opened(check) as probe:
            result = await probe.ask(fresh=True)
            evidence = await probe.evidence()
        assert "hunter" not in str(result)
        assert "unter2" not in str(evidence)
