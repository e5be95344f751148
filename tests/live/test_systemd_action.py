"""The systemd actions; those on a booted systemd stand in ``systemd_inside.py``."""

import sys
from pathlib import Path

import pytest

from reviver.actions.systemd import Reload, Restart, Start, Stop, restarted
from reviver.clients import program, systemd
from reviver.clients.systemd import UnitState
from reviver.model.actions import Action, Effect, Reconciled

TESTS = Path(__file__).parents[1]


@pytest.mark.systemd
async def test_on_a_booted_systemd() -> None:
    command = [str(TESTS / "with_systemd.sh"), "--bind", str(TESTS.parent), "--bind", sys.prefix, "--", sys.executable]
    command += ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={TESTS.parent}"]
    command += [str(Path(__file__).with_name("systemd_inside.py"))]
    ended = await program.run(command, timeout=110)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
    assert " skipped" not in ended.stdout


@pytest.mark.parametrize(
    "unit",
    ["", "redis", "-redis.service", "redis.exe", "a b.service", "*.service", "foo@.service", "../x.service",
     "x.service\n", "a" * 250 + ".service", "--now.service", "a/b.service", "a;b.service"],
)  # fmt: skip
def test_what_names_no_single_unit_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match=r"^unit: "):
        Restart(unit=unit)


@pytest.mark.parametrize(
    "unit",
    ["redis-server.service", "postgresql@15-main.service", "dbus.socket", r"dev-disk-by\x2dlabel.mount", "a:b_c.timer"],
)
def test_what_names_a_unit_is_taken(unit: str) -> None:
    assert Restart(unit=unit).unit == unit


def test_each_says_what_it_would_do_and_what_twice_would_cost() -> None:
    actions: list[Action] = [kind(unit="x.service") for kind in (Start, Stop, Restart, Reload)]
    assert [action.describe() for action in actions] == [
        "start unit x.service",
        "stop unit x.service",
        "restart unit x.service",
        "reload unit x.service",
    ]
    idempotent, reversible = Effect.IDEMPOTENT, Effect.REVERSIBLE
    assert [action.effect for action in actions] == [idempotent, reversible, reversible, idempotent]
    assert [action.default_after for action in actions] == [20.0, 20.0, 20.0, 10.0]


async def test_where_no_systemd_runs_the_preflight_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text('#!/bin/sh\necho "System has not been booted with systemd as init system (PID 1)." >&2; exit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    [line] = await Restart(unit="x.service").preflight()
    assert line == "systemd does not tell of x.service: System has not been booted with systemd as init system (PID 1)."
    fake.unlink()
    [line] = await Start(unit="x.service").preflight()
    assert line.startswith("systemctl: no such program in ")
    found = await systemd.evidence("x.service")
    assert str(found["error"]).startswith("systemctl: no such program")


def state(active: str, invocation: str) -> UnitState:
    return UnitState(
        unit="x.service", load_state="loaded", active_state=active, sub_state="", result="", main_pid=0,
        exec_main_code=0, exec_main_status=0, n_restarts=0, invocation_id=invocation, job=False, can_reload=False,
        is_oneshot=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("active", state("active", "1"), Reconciled.NOT_DONE),  # still the same run
        ("active", state("active", "2"), Reconciled.DONE),
        ("active", state("failed", "1"), Reconciled.UNKNOWN),  # stopped by us, or by itself?
        ("active", state("failed", "2"), Reconciled.UNKNOWN),
        ("active", state("inactive", ""), Reconciled.UNKNOWN),
        ("failed", state("active", "2"), Reconciled.DONE),
        ("failed", state("failed", "1"), Reconciled.NOT_DONE),
        ("failed", state("failed", "2"), Reconciled.UNKNOWN),  # it was started and fell again
        ("failed", None, Reconciled.UNKNOWN),
    ],
)
def test_what_became_of_a_restart(was: str, now: UnitState | None, expected: Reconciled) -> None:
    notes = [{"boot_id": "b", "invocation_id": "1", "active_state": was}]
    assert restarted(notes, now, boot_id="b") is expected


def test_a_reboot_is_as_good_as_a_restart() -> None:
    notes = [{"boot_id": "earlier", "invocation_id": "1", "active_state": "active"}]
    assert restarted(notes, state("active", "1"), boot_id="b") is Reconciled.DONE
    assert restarted(notes, state("failed", "1"), boot_id="b") is Reconciled.UNKNOWN


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        ("success", 0, "active (running)"),
        ("exit-code", 3, "active (exit code 3)"),
        ("exit-code", 203, "active (exit code 203: its program can't be executed)"),
        ("signal", 11, "active (ended by SIGSEGV)"),
        ("oom-kill", 9, "active (the kernel killed it for want of memory)"),
        ("start-limit-hit", 0, "active (it was started too often, systemd's start limit holds it)"),
        ("something-new", 0, "active (something-new)"),
    ],
)
def test_a_result_is_told_in_words(result: str, status: int, words: str) -> None:
    told = UnitState(
        unit="x.service", load_state="loaded", active_state="active", sub_state="running", result=result, main_pid=0,
        exec_main_code=0, exec_main_status=status, n_restarts=0, invocation_id="", job=False, can_reload=False,
        is_oneshot=False,
    ).told  # fmt: skip
    assert told == words
