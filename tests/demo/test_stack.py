"""The stack starts, ends and restarts real programs, and touches no others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from reviver.demo import plan, programs
from reviver.demo.plan import Plan
from reviver.demo.programs import NoServersError
from reviver.demo.stack import Stack, StackError


def restart(program: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """What reviver's strategies run."""
    argv = [sys.executable, "-m", "reviver.demo.stack", "restart", program, "--dir", str(directory)]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def belonging_to(sessions: set[int]) -> list[str]:
    """Processes that run in one of *sessions*, or whose parents lead one: PostgreSQL's leave its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = entry.read_text().rpartition(")")
            state, parent, _group, session, *_ = rest.split()
        except OSError:
            continue
        if state != "Z" and ({int(parent), int(session), int(entry.parent.name)} & sessions):
            found.append(name)
    return found


def test_the_stack_serves_and_its_end_leaves_no_process(new_plan: Plan) -> None:
    programs.prepare(new_plan)
    running = Stack(new_plan)
    running.start("postgres", "redis")
    running.start("api", "worker", "customers")
    pids = {pid for name in running.programs if (pid := running.pid(name)) is not None}
    answer = httpx.get(f"{new_plan.url('api')}/health", trust_env=False)
    during = belonging_to(pids)
    running.close()
    assert answer.json()["checks"] == {"database": {"status": "up"}, "cache": {"status": "up"}}
    assert len(pids) == 5
    assert len(during) > 5, "PostgreSQL has processes of its own"
    assert belonging_to(pids) == []
    assert all(running.pid(name) is None for name in running.programs)


def test_nothing_can_be_started_once_the_stack_is_closed(new_plan: Plan) -> None:
    running = Stack(new_plan)
    running.close()
    with pytest.raises(StackError, match="over"):
        running.start("customers")
    done = restart("customers", new_plan.directory)
    assert (done.returncode, done.stderr) == (1, "customers is not restarted: the demo is over\n")


def test_the_restart_command_renews_one_program_and_no_other(stack: Stack) -> None:
    before = {name: stack.pid(name) for name in stack.programs}
    done = restart("redis", stack.plan.directory)
    after = {name: stack.pid(name) for name in stack.programs}
    assert (done.returncode, done.stderr) == (0, "")
    assert after.pop("redis") not in {None, before.pop("redis")}
    assert after == before


def test_the_restart_command_starts_a_killed_postgres(stack: Stack) -> None:
    before = stack.pid("postgres")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    while stack.pid("postgres") == before:
        pass
    done = restart("postgres", stack.plan.directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert stack.pid("postgres") not in {None, before}


def test_the_restart_command_names_the_programs_that_there_are(stack: Stack) -> None:
    done = restart("postgrse", stack.plan.directory)
    assert done.returncode == 2
    assert "there is no postgrse; there are: postgres, redis, api, worker, customers" in done.stderr


def test_a_program_that_ends_instead_of_serving_is_told_with_its_log(new_plan: Plan) -> None:
    running = Stack(new_plan)  # without the configuration that it needs
    with pytest.raises(StackError, match=r"redis ended instead of serving; see .*/redis\.log"):
        running.start("redis")


def test_a_pid_that_belongs_to_another_process_by_now_is_not_taken_for_ours(new_plan: Plan) -> None:
    new_plan.pidfile("api").write_text(f"{os.getpid()}\n1\n")
    running = Stack(new_plan)
    assert running.pid("api") is None
    running.close()  # and this process lives


def test_secrets_are_readable_by_their_owner_alone_and_in_no_argument(stack: Stack) -> None:
    modes = {path.name: path.stat().st_mode & 0o077 for path in stack.plan.directory.iterdir() if path.is_file()}
    assert modes["password"] == modes["plan.json"] == 0
    assert not any(stack.plan.password in argument for each in stack.programs.values() for argument in each.argv)


def test_a_stack_knows_the_way_back_to_its_plan(new_plan: Plan) -> None:
    assert plan.read(new_plan.directory) == new_plan
    assert len(set(new_plan.ports.values())) == len(plan.LISTENING)


def test_a_missing_server_is_told_with_what_to_install(new_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NoServersError, match=r"is not installed; install it with: pip install 'reviver\[demo\]'"):
        programs.prepare(new_plan)


def test_a_machine_without_a_valkey_is_told(new_plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "_wheel", lambda _package: tmp_path)
    with pytest.raises(NoServersError, match="no server for this kind of machine"):
        programs.all_of(new_plan)
