"""Processes and programs, on real ones."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from reviver.clients import process, program
from reviver.model.secrets import Secret
from servers import until

PATIENCE = 10.0


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@contextmanager
def running(*argv: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(argv or ("sleep", "60"), **options) as other:
        try:
            yield other
        finally:
            other.kill()


def descriptors() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


def gone(pid: int) -> bool:
    """Orphans are reaped by somebody else, perhaps late: a zombie is gone."""
    return not process.alive(pid)


async def test_a_program_that_ends_is_told_by_its_code_and_its_words() -> None:
    ended = await program.run(["sh", "-c", "echo out; echo first >&2; echo last >&2; exit 3"])
    assert (ended.exit_code, ended.signal, ended.timed_out) == (3, "", False)
    assert ended.stdout == "out\n"
    assert ended.stderr == "first\nlast\n"
    assert ended.last_words == "last"
    assert ended.how.startswith("exit code 3 after ")


async def test_a_program_ended_by_a_signal_has_no_exit_code() -> None:
    ended = await program.run(["sh", "-c", "kill -SEGV $$"])
    assert ended.exit_code is None
    assert ended.signal == "SIGSEGV"
    assert ended.how.startswith("ended by SIGSEGV after ")


async def test_a_realtime_signal_has_a_name_too() -> None:
    ended = await program.run(["sh", "-c", "kill -40 $$"])
    assert ended.signal == "signal 40"


@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (["no-such-program"], None, "no-such-program: no such program in "),
        (["/no/such/program"], None, "/no/such/program: no such program"),
        (["/etc/passwd"], None, "/etc/passwd: not executable for this user"),
        (["true"], "/no/such/directory", "/no/such/directory: no such directory"),
    ],
)
async def test_what_cannot_be_started_says_why(argv: list[str], cwd: str | None, reason: str) -> None:
    with pytest.raises(program.NotStartedError) as refused:
        await program.run(argv, cwd=cwd)
    assert str(refused.value).startswith(reason)
    assert program.obstacle(argv[0], cwd=cwd) == str(refused.value)


async def test_a_file_that_is_no_program_says_why(tmp_path: Path) -> None:
    file = tmp_path / "garbage"
    file.write_bytes(b"\x01\x02\x03")
    file.chmod(0o755)
    with pytest.raises(program.NotStartedError, match="could not be started: Exec format error"):
        await program.run([str(file)])


def test_what_can_be_started_has_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    assert program.obstacle("true") is None
    assert program.obstacle(str(file)) is None
    assert program.obstacle("./program", cwd=str(tmp_path)) is None


async def test_it_sees_only_the_environment_meant_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    ended = await program.run(["/usr/bin/env"], env={"PGPASSWORD": Secret("s3cret"), "MODE": "x"})
    names = {line.partition("=")[0] for line in ended.stdout.splitlines()}
    assert names == {"PATH", "LANG", "HOME", "PGPASSWORD", "MODE"}
    assert "PGPASSWORD=s3cret" in ended.stdout


async def test_it_runs_where_it_is_told_with_nothing_to_read(tmp_path: Path) -> None:
    ended = await program.run(["sh", "-c", "pwd; cat"], cwd=str(tmp_path))
    assert ended.stdout == f"{tmp_path}\n"


async def test_of_a_long_output_the_start_and_the_end_are_kept() -> None:
    size = 3_000_000
    code = f"import sys; sys.stdout.write('START' + 'x' * {size} + 'END')"
    ended = await program.run(python(code))
    assert ended.exit_code == 0
    assert ended.stdout.startswith("STARTxxx")
    assert ended.stdout.endswith("xxxEND")
    assert f"... {size + 8 - program.OUTPUT_LIMIT} bytes left out ..." in ended.stdout
    assert len(ended.stdout) < program.OUTPUT_LIMIT + 100


async def test_bytes_that_are_no_text_are_shown_somehow() -> None:
    ended = await program.run(["printf", r"a\377b"])
    assert ended.stdout == "a\ufffdb"


async def test_at_the_deadline_it_is_ended_and_what_it_said_is_kept() -> None:
    began = anyio.current_time()
    ended = await program.run(["sh", "-c", "echo so far; exec sleep 60"], timeout=0.3)
    assert anyio.current_time() - began < PATIENCE
    assert ended.timed_out
    assert ended.exit_code is None
    assert ended.stdout == "so far\n"
    assert ended.how.startswith("not finished within ")


async def test_one_that_ends_well_on_sigterm_has_still_timed_out() -> None:
    ended = await program.run(["sh", "-c", "trap 'echo asked; exit 0' TERM; while :; do sleep 0.01; done"], timeout=0.3)
    assert ended.timed_out
    assert ended.exit_code is None
    assert ended.stdout == "asked\n"


async def test_one_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    ended = await program.run(["sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done"], timeout=0.2, grace=0.2)
    assert ended.signal == "SIGKILL"
    assert ended.stdout == "on\n"


async def test_one_that_says_much_while_it_is_being_ended_is_not_stuck_in_that() -> None:
    code = (
        "import signal, sys, time\n"
        "def farewell(*_):\n sys.stderr.write('x' * 300_000 + 'END'); sys.stderr.flush(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, farewell)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    ended = await program.run(python(code), timeout=0.7, grace=PATIENCE)
    assert ended.stderr.endswith("END")
    assert ended.signal == ""


async def test_a_stopped_one_is_ended_too() -> None:
    ended = await program.run(["sh", "-c", "kill -STOP $$"], timeout=0.2, grace=0.2)
    assert ended.timed_out
    assert ended.signal == "SIGKILL"


async def test_at_the_deadline_its_children_end_as_well(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    await program.run(["sh", "-c", f"sleep 60 & echo $! > {file}; wait"], timeout=0.5)
    pid = int(file.read_text())
    await until(lambda: gone(pid))


async def test_cancelled_it_leaves_nothing_running_and_no_zombie() -> None:
    tokens: list[process.Token] = []

    async def started(token: process.Token) -> None:
        tokens.append(token)

    async def run() -> None:
        await program.run(["sh", "-c", "sleep 60 & wait"], started=started)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await until(lambda: bool(tokens))
            group.cancel_scope.cancel()
    assert process.token(tokens[0].pid) is None


async def test_cancelled_at_any_moment_of_its_start_it_leaves_nothing_running() -> None:
    others = children()  # of other tests
    for tenth in range(40):
        with anyio.move_on_after(tenth / 10_000):
            await program.run(["sleep", "60"])
    await until(lambda: children() <= others)


def test_a_child_that_was_started_just_as_its_caller_gave_up_is_ended() -> None:
    start = program._Start(["sleep", "60"], program.environment({}), None)
    child = start()
    start.abandon()
    assert gone(child.token.pid)


def children() -> set[str]:
    """The children of this process: of each of its threads, for a child belongs to the thread that started it."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


async def test_a_server_that_it_started_goes_on_and_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    began = anyio.current_time()
    ended = await program.run(["sh", "-c", f"sleep 60 & echo $! > {file}; echo started"])  # holds stdout open
    assert anyio.current_time() - began < PATIENCE
    assert ended.exit_code == 0
    assert ended.stdout == "started\n"
    pid = int(file.read_text())
    assert process.alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_what_it_left_running_can_be_ended_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    ended = await program.run(["sh", "-c", f"sleep 60 & echo $! > {file}"], end_group=True)
    assert ended.exit_code == 0
    pid = int(file.read_text())
    await until(lambda: gone(pid))


async def test_a_failed_note_ends_it() -> None:
    tokens: list[process.Token] = []

    async def started(token: process.Token) -> None:
        tokens.append(token)
        raise LookupError("the journal is full")

    with pytest.raises(LookupError, match="the journal is full"):
        await program.run(["sleep", "60"], started=started)
    assert gone(tokens[0].pid)


async def test_a_status_that_somebody_else_has_reaped_is_no_success() -> None:
    async def reap(token: process.Token) -> None:
        os.kill(token.pid, signal.SIGKILL)
        os.waitpid(token.pid, 0)  # noqa: ASYNC222  it was killed

    ended = await program.run(["sleep", "60"], started=reap)
    assert ended.exit_code is None
    assert "nobody knows how" in ended.how


async def test_a_flood_of_output_leaves_the_event_loop_responsive() -> None:
    late: list[float] = []

    async def beat() -> None:
        while True:
            due = anyio.current_time() + 0.01
            await anyio.sleep(0.01)
            late.append(anyio.current_time() - due)

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        ended = await program.run(["sh", "-c", "exec yes"], timeout=0.5)
        group.cancel_scope.cancel()
    assert ended.timed_out
    left_out = re.search(r"(\d+) bytes left out", ended.stdout)
    assert left_out is not None
    assert int(left_out[1]) < 20_000_000  # "yes" writes gigabytes a second if it is let
    assert sorted(late)[len(late) // 2] < 0.05


async def test_no_descriptor_is_left_open() -> None:
    await program.run(["true"])
    before = len(descriptors())
    for _ in range(5):
        await program.run(["true"])
        await program.run(["sleep", "60"], timeout=0.05)
        with pytest.raises(program.NotStartedError):
            await program.run(["no-such-program"])
    assert len(descriptors()) <= before


async def test_out_of_descriptors_it_says_so_and_leaves_nothing_running() -> None:
    others = children()  # of other tests
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await program.run(["true"])
    used = max(descriptors())
    spare = [os.dup(0) for _ in range(used)]  # no gaps below the limit
    used = max(spare)
    refusals: list[str] = []
    try:
        for limit in range(used + 1, used + 13):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                await program.run(["true"])
            except program.NotStartedError as error:
                refusals.append(str(error))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)
    assert 1 < len(refusals) < 12
    assert all("Too many open files" in refusal for refusal in refusals)
    assert children() <= others


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        ([], {}),
        ([""], {}),
        (["true", "a\0b"], {}),
        (["true"], {"": "x"}),
        (["true"], {"A=B": "x"}),
        (["true"], {"A": "\0"}),
    ],
)
def test_what_no_system_could_take_is_refused(argv: list[str], env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^argv: |^env: "):
        program.validate(argv, env)


# Other processes


async def test_the_end_of_any_process_is_seen_at_once() -> None:
    with running() as other:
        assert process.alive(other.pid)
        ended_at: list[float] = []

        async def watch() -> None:
            await process.wait_exit(other.pid)
            ended_at.append(time.monotonic())

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                assert not ended_at
                other.kill()
        assert gone(other.pid)  # a zombie until this block ends
    assert gone(other.pid)
    with anyio.fail_after(PATIENCE):
        await process.wait_exit(other.pid)


def test_a_token_survives_a_journal() -> None:
    mine = process.token(os.getpid())
    assert mine is not None
    assert mine == process.token(os.getpid())
    assert process.Token.from_note(mine.note()) == mine
    assert process.Token.from_note({"file": "x"}) is None
    assert process.token(2**22) is None


async def test_the_child_of_an_earlier_life_is_ended_with_its_group(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with running("sh", "-c", f"sleep 60 & echo $! > {file}; wait", start_new_session=True) as child:
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
        token = process.token(child.pid)
        assert token is not None
        assert await process.end_earlier(token)
        assert gone(child.pid)
        await until(lambda: gone(int(file.read_text())))
        assert not await process.end_earlier(token)
    assert not await process.end_earlier(token)


async def test_a_later_process_with_the_same_pid_is_left_alone() -> None:
    with running(start_new_session=True) as other:
        token = process.token(other.pid)
        assert token is not None
        earlier = process.Token(pid=token.pid, start_time=token.start_time - 1, boot_id=token.boot_id)
        rebooted = process.Token(pid=token.pid, start_time=token.start_time, boot_id="another")
        assert not await process.end_earlier(earlier)
        assert not await process.end_earlier(rebooted)
        assert process.alive(other.pid)
        other.kill()


@pytest.mark.parametrize(
    ("text", "pid"),
    [("4711\n", 4711), ("4711", 4711), ("4711\n/data\n170\n", 4711), (" 7 \n", 7), ("", None), ("x\n", None),
     ("-1\n", None), ("0\n", None), ("99999999999\n", None), ("12 34\n", None)],
)  # fmt: skip
def test_a_pidfile_names_a_pid_or_nothing(tmp_path: Path, text: str, pid: int | None) -> None:
    file = tmp_path / "pid"
    file.write_text(text)
    assert process.read_pidfile(file) == pid


def test_no_pidfile_names_nothing(tmp_path: Path) -> None:
    assert process.read_pidfile(tmp_path / "none") is None
    assert process.read_pidfile(tmp_path) is None
    os.mkfifo(tmp_path / "pipe")
    assert process.read_pidfile(tmp_path / "pipe") is None


async def test_a_stopped_process_is_described_as_stopped() -> None:
    with running(env={"SECRET": "hush"}) as other:
        other.send_signal(signal.SIGSTOP)
        await until(lambda: process.describe(other.pid)["state"] == "stopped")
        told = process.describe(other.pid)
        other.kill()
    assert told["name"] == "sleep"
    assert told["threads"] == 1
    assert told["file_descriptors"] >= 3  # type: ignore[operator]
    assert "hush" not in str(told)


def test_a_description_tells_the_memory_in_bytes() -> None:
    rss = process.describe(os.getpid())["rss_bytes"]
    assert isinstance(rss, int)
    assert 10_000_000 < rss < 10_000_000_000


def test_no_process_is_described_as_such() -> None:
    assert process.describe(2**22) == {"pid": 2**22, "state": "not there, or hidden"}
