"""
The systemd actions, on a systemd that really booted: run by ``test_systemd_action.py`` inside ``with_systemd.sh``.

Its name keeps pytest from collecting it outside.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from reviver.actions.systemd import Reload, Restart, Start, Stop
from reviver.clients import files, process, systemd
from reviver.model.actions import Action, ActionContext, ActionError, Reconciled
from reviver.model.faults import JsonValue
from servers import until

UNITS = Path("/etc/systemd/system")
_names = (f"reviver-test-{number}.service" for number in itertools.count())


class Journal:
    """Keeps what an action notes."""

    def __init__(self) -> None:
        self.notes: list[Mapping[str, JsonValue]] = []
        self.context = ActionContext(service="db", fault=None, note=self._note)

    async def _note(self, note: Mapping[str, JsonValue]) -> None:
        self.notes.append(note)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], check=False, capture_output=True)


def make_unit(service: str, unit: str = "") -> str:
    name = next(_names)
    (UNITS / name).write_text(f"[Unit]\n{unit}\n[Service]\n{service}\n")
    systemctl("daemon-reload")
    return name


def sleeper(extra: str = "") -> str:
    return make_unit(f"ExecStart=/bin/sleep 1000\n{extra}")


async def test_what_is_stopped_is_started(journal: Journal) -> None:
    unit = sleeper()
    result = await Start(unit=unit).run(journal.context)
    state = await systemd.unit_state(unit)
    assert state.active_state == "active"
    assert process.describe(state.main_pid)["name"] == "sleep"
    assert result == {
        "state": "active (running)",
        "main_pid": state.main_pid,
        "n_restarts": 0,
        "was": "inactive (dead)",
    }


async def test_what_runs_is_left_alone_by_a_start_and_replaced_by_a_restart(journal: Journal) -> None:
    unit = sleeper()
    await Start(unit=unit).run(journal.context)
    first = (await systemd.unit_state(unit)).main_pid
    await Start(unit=unit).run(journal.context)
    assert (await systemd.unit_state(unit)).main_pid == first
    await Restart(unit=unit).run(journal.context)
    second = (await systemd.unit_state(unit)).main_pid
    assert second != first
    assert process.alive(second)
    assert not process.alive(first)


async def test_a_frozen_unit_is_restarted(journal: Journal) -> None:
    unit = sleeper("TimeoutStopSec=1")
    await Start(unit=unit).run(journal.context)
    frozen = (await systemd.unit_state(unit)).main_pid
    os.kill(frozen, signal.SIGSTOP)
    await Restart(unit=unit).run(journal.context)
    state = await systemd.unit_state(unit)
    assert state.active_state == "active"
    assert state.main_pid != frozen


async def test_what_runs_is_stopped_and_stays_so(journal: Journal) -> None:
    unit = sleeper("Restart=always\nRestartSec=0")
    await Start(unit=unit).run(journal.context)
    result = await Stop(unit=unit).run(journal.context)
    assert result["state"] == "inactive (dead)"
    assert (await systemd.unit_state(unit)).active_state == "inactive"


async def test_a_reload_reaches_the_unit_without_interrupting_it(journal: Journal, tmp_path: Path) -> None:
    mark = tmp_path / "reloaded"
    unit = sleeper(f"ExecReload=/bin/touch {mark}")
    await Start(unit=unit).run(journal.context)
    pid = (await systemd.unit_state(unit)).main_pid
    assert await Reload(unit=unit).preflight() == []
    await Reload(unit=unit).run(journal.context)
    assert mark.exists()
    assert (await systemd.unit_state(unit)).main_pid == pid


async def test_what_cannot_be_reloaded_says_so_beforehand_and_when_tried(journal: Journal) -> None:
    unit = sleeper()
    assert await Reload(unit=unit).preflight() == [f"{unit}: inactive (dead): only what runs can be reloaded"]
    await Start(unit=unit).run(journal.context)
    assert await Reload(unit=unit).preflight() == [f"{unit}: its unit file has no ExecReload="]
    with pytest.raises(ActionError, match=f"{unit}: reload failed: .*not applicable"):
        await Reload(unit=unit).run(journal.context)


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ('Type=oneshot\nExecStart=/bin/sh -c "exit 7"', "restart failed: exit code 7"),
        ("Type=exec\nExecStart=/no/such/program", "restart failed: exit code 203: its program can't be executed"),
        ("Type=exec\nUser=nosuchuser\nExecStart=/bin/true", "restart failed: exit code 217: its user is unknown"),
        ('Type=notify\nExecStart=/bin/sh -c "kill -SEGV $$$$"', "restart failed: ended by SIGSEGV"),
        ("Type=notify\nTimeoutStartSec=1\nExecStart=/bin/sleep 9", "restart failed: it took longer than its time"),
        ("Type=notify\nExecStart=/bin/true", "restart failed: it did not follow its notification protocol"),
    ],
)
async def test_a_unit_that_fails_says_why(journal: Journal, service: str, reason: str) -> None:
    unit = make_unit(service)
    with pytest.raises(ActionError, match=f"^{unit}: {reason}"):
        await Restart(unit=unit).run(journal.context)


async def test_a_unit_that_fails_right_after_its_start_is_a_failure(journal: Journal) -> None:
    unit = make_unit("ExecStart=/bin/sleep 1000\nExecStartPost=/bin/sh -c 'exit 4'")
    with pytest.raises(ActionError, match=unit):
        await Start(unit=unit).run(journal.context)


async def test_a_dependency_that_fails_is_told(journal: Journal) -> None:
    broken = make_unit('Type=oneshot\nExecStart=/bin/sh -c "exit 7"')
    unit = make_unit("ExecStart=/bin/sleep 1000", unit=f"Requires={broken}\nAfter={broken}")
    with pytest.raises(ActionError, match="dependency"):
        await Start(unit=unit).run(journal.context)


async def test_an_unmet_condition_is_no_success(journal: Journal) -> None:
    unit = make_unit("ExecStart=/bin/sleep 1000", unit="ConditionPathExists=/no/such/file")
    with pytest.raises(ActionError, match="not running after its start: a condition in its unit file isn't met"):
        await Start(unit=unit).run(journal.context)


async def test_a_oneshot_unit_that_ran_is_a_success(journal: Journal, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    unit = make_unit(f"Type=oneshot\nExecStart=/bin/touch {mark}")
    await Start(unit=unit).run(journal.context)
    assert mark.exists()


async def test_systemds_start_limit_is_lifted_once_and_that_is_said(journal: Journal) -> None:
    unit = sleeper()
    for _ in range(10):
        systemctl("restart", unit)
    assert (await systemd.unit_state(unit)).result == "start-limit-hit"
    result = await Restart(unit=unit).run(journal.context)
    assert "start limit" in str(result["reset_failed"])
    assert (await systemd.unit_state(unit)).active_state == "active"


async def test_a_start_limit_hit_by_the_restart_itself_is_lifted(journal: Journal) -> None:
    unit = make_unit("ExecStart=/bin/sleep 1000", unit="StartLimitBurst=1\nStartLimitIntervalSec=1h")
    systemctl("start", unit)
    result = await Restart(unit=unit).run(journal.context)
    assert "reset_failed" in result
    assert (await systemd.unit_state(unit)).active_state == "active"


async def test_a_unit_that_systemd_gave_up_after_crashes_is_started_again(journal: Journal) -> None:
    unit = make_unit("ExecStart=/bin/sleep 1000\nRestart=always", unit="StartLimitBurst=2\nStartLimitIntervalSec=1h")
    systemctl("start", unit)

    async def given_up() -> bool:
        state = await systemd.unit_state(unit)
        if state.main_pid:
            with suppress(ProcessLookupError):
                os.kill(state.main_pid, signal.SIGKILL)
        return state.active_state == "failed"

    await until(given_up)
    assert (await systemd.unit_state(unit)).result == "signal"  # not what one would look for
    result = await Restart(unit=unit).run(journal.context)
    assert "reset_failed" in result
    assert (await systemd.unit_state(unit)).active_state == "active"


async def test_a_start_limit_hit_again_is_a_failure(journal: Journal) -> None:
    unit = make_unit("Type=oneshot\nExecStart=/bin/false", unit="StartLimitBurst=1\nStartLimitIntervalSec=1h")
    with pytest.raises(ActionError, match="exit code 1"):
        await Restart(unit=unit).run(journal.context)
    with pytest.raises(ActionError, match="exit code 1"):  # lifted: it fails for its own reason again
        await Restart(unit=unit).run(journal.context)


async def test_a_unit_that_systemd_is_restarting_is_waited_for_not_restarted(journal: Journal) -> None:
    unit = sleeper("Restart=always\nRestartSec=1")
    systemctl("start", unit)
    first = (await systemd.unit_state(unit)).main_pid
    os.kill(first, signal.SIGKILL)

    async def restarting() -> bool:
        return (await systemd.unit_state(unit)).sub_state == "auto-restart"

    await until(restarting)
    result = await Restart(unit=unit).run(journal.context)
    state = await systemd.unit_state(unit)
    assert result["waited_only"] == "systemd was starting it by itself"
    assert state.active_state == "active"
    assert state.main_pid != first
    assert state.n_restarts == 1  # systemd's own: a restart by somebody resets it


async def test_a_unit_that_is_starting_is_not_interrupted(journal: Journal, tmp_path: Path) -> None:
    mark = tmp_path / "starts"
    script = f"echo >>{mark}; sleep 1; systemd-notify --ready; exec sleep 1000"
    unit = make_unit(f"Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '{script}'")
    systemctl("start", "--no-block", unit)
    await until(mark.exists)
    result = await Restart(unit=unit).run(journal.context)
    assert "waited_only" in result
    assert mark.read_text() == "\n"


@pytest.mark.parametrize("kind", [Start, Stop, Restart, Reload])
async def test_an_unknown_unit_is_told_beforehand_and_when_tried(
    journal: Journal, kind: type[Start | Stop | Restart | Reload]
) -> None:
    action: Action = kind(unit="no-such-thing.service")
    [line] = await action.preflight()
    assert line.startswith("no-such-thing.service: not-found")
    with pytest.raises(ActionError, match=r"no-such-thing\.service.*not (found|loaded)"):
        await action.run(journal.context)


async def test_a_masked_unit_is_told_beforehand_and_when_tried(journal: Journal) -> None:
    unit = next(_names)
    (UNITS / unit).symlink_to("/dev/null")
    systemctl("daemon-reload")
    assert await Restart(unit=unit).preflight() == [f"{unit}: masked"]
    with pytest.raises(ActionError, match="masked"):
        await Restart(unit=unit).run(journal.context)


def test_without_the_right_to_it_the_message_says_what_to_do() -> None:
    unit = sleeper()
    code = (
        "import anyio; from reviver.actions.systemd import Restart; from reviver.model.actions import *\n"
        "async def note(_): pass\n"
        "async def main():\n"
        f" action = Restart(unit={unit!r}); print(await action.preflight())\n"
        " try: await action.run(ActionContext(service='x', fault=None, note=note))\n"
        " except ActionError as error: print(error)\n"
        "anyio.run(main)"
    )
    ended = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.splitlines() == [
        "[]",
        f"{unit}: restart failed: this user may not restart it; allow it by a polkit rule",
    ], ended.stderr


async def test_after_a_crash_a_restart_is_known_to_have_happened_or_not(journal: Journal) -> None:
    unit = sleeper()
    restart = Restart(unit=unit)
    systemctl("start", unit)
    assert await restart.reconcile([]) is Reconciled.NOT_DONE
    await restart.run(journal.context)
    assert await restart.reconcile(journal.notes) is Reconciled.DONE
    later = Journal()
    await restart.run(later.context)
    now = [{**later.notes[0], "invocation_id": (await systemd.unit_state(unit)).invocation_id}]
    assert await restart.reconcile(now) is Reconciled.NOT_DONE  # noted, then killed before the order


async def test_after_a_crash_a_restart_still_under_way_is_waited_for(journal: Journal) -> None:
    unit = make_unit(
        "Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'sleep 1; systemd-notify --ready; exec sleep 99'"
    )
    systemctl("start", unit)
    with anyio.move_on_after(0.3):
        await Restart(unit=unit).run(journal.context)
    assert (await systemd.unit_state(unit)).active_state != "active"
    assert await Restart(unit=unit).reconcile(journal.notes) is Reconciled.DONE


async def test_after_a_crash_start_and_stop_are_known_by_the_units_state(journal: Journal) -> None:
    unit = sleeper()
    assert await Start(unit=unit).reconcile([]) is Reconciled.NOT_DONE
    assert await Stop(unit=unit).reconcile([]) is Reconciled.NOT_DONE
    await Start(unit=unit).run(Journal().context)
    assert await Start(unit=unit).reconcile([]) is Reconciled.DONE
    await Stop(unit=unit).run(journal.context)
    assert await Stop(unit=unit).reconcile(journal.notes) is Reconciled.DONE
    systemctl("start", unit)
    assert await Stop(unit=unit).reconcile(journal.notes) is Reconciled.UNKNOWN  # by whom?
    now = [{"invocation_id": (await systemd.unit_state(unit)).invocation_id}]
    assert await Stop(unit=unit).reconcile(now) is Reconciled.NOT_DONE


async def test_what_no_longer_exists_is_unknown_after_a_crash() -> None:
    assert await Restart(unit="gone.service").reconcile([{"invocation_id": "x"}]) is Reconciled.UNKNOWN
    assert await Start(unit="gone.service").reconcile([]) is Reconciled.UNKNOWN


async def test_the_evidence_has_the_units_state_and_its_last_words() -> None:
    unit = make_unit('Type=oneshot\nExecStart=/bin/sh -c "seq 1 100; echo the last word; exit 7"')
    systemctl("start", unit)

    async def told() -> bool:
        return "the last word" in str((await systemd.evidence(unit))["journal"])

    await until(told)
    found = await systemd.evidence(unit)
    assert (found["active_state"], found["result"], found["exec_main_status"]) == ("failed", "exit-code", 7)
    assert isinstance(found["journal"], list)
    assert len(found["journal"]) <= systemd.JOURNAL_LINES


async def test_a_systemd_that_hangs_is_not_waited_for() -> None:
    with pytest.raises(systemd.SystemdError, match=r"no answer to systemctl show within 0 s"):
        await systemd.unit_state("dbus.service", timeout=0.0)


async def test_the_files_of_a_unit_are_its_own_its_drop_ins_and_what_it_starts(tmp_path: Path) -> None:
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    commands = f'ExecStart="{program}" --with "an argument"\nExecStart=/bin/true'
    unit = make_unit(f"Type=oneshot\nRemainAfterExit=yes\n{commands}")
    systemctl("start", unit)
    drop_in = UNITS / f"{unit}.d" / "more.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nEnvironment=X=1\n")
    systemctl("daemon-reload")
    found = await systemd.unit_files(unit)
    assert not found.reload_due
    assert set(found.paths) == {str(UNITS / unit), str(drop_in), str(program), "/bin/true"}
    (UNITS / unit).write_text((UNITS / unit).read_text() + "# another release\n")
    assert (await systemd.unit_files(unit)).reload_due


async def test_a_unit_that_is_not_there_has_no_files() -> None:
    assert await systemd.unit_files("gone.service") == systemd.UnitFiles(paths=(), reload_due=False)


@pytest.fixture
def generated() -> Iterator[str]:
    """A unit that a generator writes at each reload."""
    generator = Path("/run/systemd/system-generators/reviver-test")
    generator.parent.mkdir(parents=True, exist_ok=True)
    generator.write_text('#!/bin/sh\nprintf "[Service]\\nExecStart=/bin/true\\n" >"$1/reviver-test-made.service"\n')
    generator.chmod(0o755)
    systemctl("daemon-reload")
    yield "reviver-test-made.service"
    generator.unlink()
    systemctl("daemon-reload")


async def test_what_a_generator_writes_at_each_reload_is_no_deploy(generated: str) -> None:
    assert (await systemd.unit_state(generated)).load_state == "loaded"
    assert (await systemd.unit_files(generated)).paths == ("/bin/true",)


async def test_a_unit_changed_moments_ago_is_known_as_such() -> None:
    unit = sleeper()
    paths = (await systemd.unit_files(unit)).paths
    latest = files.newest(paths, files.installed_at)
    assert latest is not None
    assert latest[1] == str(UNITS / unit)
    assert time.time() - latest[0] < 30  # noqa: TID251  compared with a file's time
