"""Certain evidence: what is known of the service's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from fakes import Stage, Target, heals, service, strategy, until
from reviver.clients import process as clients_process
from reviver.clients import systemd
from reviver.model.faults import FaultKind
from reviver.supervisor import process
from reviver.supervisor.process import LOOK_EVERY, Sighting
from reviver.supervisor.watched import Process
from virtual import virtual

ILL = FaultKind.UNREACHABLE


class Machine:
    """A machine with one process on it, in place of the real one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pid: int | None = None
        """What the pidfile says."""
        self.living: set[int] = set()
        self.unit: systemd.UnitState | Exception | None = None
        self.looks = 0
        self.visible = True
        patch.setattr(clients_process, "read_pidfile", self._read_pidfile)
        patch.setattr(clients_process, "alive", lambda pid: pid in self.living)
        patch.setattr(clients_process, "wait_exit", self._wait_exit)
        patch.setattr(systemd, "unit_state", self._unit_state)

    def starts(self, pid: int) -> None:
        self.pid = pid
        self.living.add(pid)

    def is_unit(self, active_state: str, sub_state: str = "running", *, pid: int = 0, result: str = "success") -> None:
        self.unit = systemd.UnitState(
            unit="db.service",
            load_state="loaded",
            active_state=active_state,
            sub_state=sub_state,
            result=result,
            main_pid=pid,
            exec_main_code=0,
            exec_main_status=0,
            n_restarts=0,
            invocation_id="",
            job=False,
            can_reload=False,
            is_oneshot=False,
        )

    def _read_pidfile(self, _path: object) -> int | None:
        self.looks += 1
        return self.pid

    async def _wait_exit(self, pid: int) -> None:
        if not self.visible:
            raise PermissionError
        while pid in self.living:  # noqa: ASYNC110  the kernel's business
            await anyio.sleep(0.01)

    async def _unit_state(self, _unit: str, *, timeout: float) -> systemd.UnitState:  # noqa: ASYNC109
        self.looks += 1
        if isinstance(self.unit, Exception):
            raise self.unit
        assert self.unit is not None
        return self.unit


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@asynccontextmanager
async def watching(*, unit: str | None = None, pidfile: str | None = None) -> AsyncIterator[list[Sighting]]:
    seen: list[Sighting] = []

    async def watch() -> None:
        await process.watch(unit=unit, pidfile=pidfile, tell=seen.append)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        yield seen
        tasks.cancel_scope.cancel()


def test_the_end_of_a_process_is_known_at_once(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        machine.starts(42)
        async with watching(pidfile="/run/db.pid") as seen:
            await anyio.sleep(10)
            machine.living.clear()
            await anyio.sleep(0.05)
        assert [(each.state, each.told) for each in seen] == [
            (Process.ALIVE, "process 42 is alive"),
            (Process.GONE, "its process 42 is gone"),
        ]

    scene()


def test_a_process_that_never_was_is_unknown_and_not_gone(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        async with watching(pidfile="/run/db.pid") as seen:
            await anyio.sleep(10)
        assert seen == []

    scene()


def test_a_stale_pidfile_names_a_process_that_is_gone(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        machine.pid = 42
        async with watching(pidfile="/run/db.pid") as seen:
            await anyio.sleep(1)
        assert [each.state for each in seen] == [Process.GONE]

    scene()


def test_a_process_gone_with_its_pidfile_stays_gone_until_another_comes(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        machine.starts(42)
        async with watching(pidfile="/run/db.pid") as seen:
            await anyio.sleep(1)
            machine.pid = None
            machine.living.clear()
            await anyio.sleep(10)
            machine.starts(43)
            await anyio.sleep(LOOK_EVERY + 0.1)
        assert [(each.state, each.pid) for each in seen] == [
            (Process.ALIVE, 42),
            (Process.GONE, None),
            (Process.ALIVE, 43),
        ]

    scene()


def test_a_process_that_can_not_be_watched_is_looked_for_now_and_then(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        machine.starts(42)
        machine.visible = False
        async with watching(pidfile="/run/db.pid"):
            await anyio.sleep(10)
        assert machine.looks <= 11

    scene()


@pytest.mark.parametrize(
    ("active_state", "result", "state"),
    [
        ("active", "success", Process.ALIVE),
        ("failed", "exit-code", Process.GONE),
        ("activating", "exit-code", Process.HANDLED),
        ("deactivating", "success", Process.HANDLED),
        ("reloading", "success", Process.HANDLED),
        ("inactive", "success", Process.HANDLED),
    ],
)
def test_what_systemd_says_of_a_unit_is_what_is_known(
    machine: Machine, active_state: str, result: str, state: Process
) -> None:
    @virtual
    async def scene() -> None:
        machine.is_unit(active_state, result=result)
        async with watching(unit="db.service") as seen:
            await anyio.sleep(1)
        assert [each.state for each in seen] == [state]

    scene()


@pytest.mark.parametrize("error", [systemd.SystemdError("no bus"), TimeoutError(), OSError("no systemctl")], ids=repr)
def test_when_systemd_does_not_tell_nothing_is_known(machine: Machine, error: Exception) -> None:
    @virtual
    async def scene() -> None:
        machine.is_unit("active")
        async with watching(unit="db.service") as seen:
            await anyio.sleep(1)
            machine.unit = error
            await anyio.sleep(2)
        assert [each.state for each in seen] == [Process.ALIVE, Process.UNKNOWN]

    scene()


def test_a_running_unit_is_asked_of_again_only_when_its_process_ends(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        machine.living.add(42)
        machine.is_unit("active", pid=42)
        async with watching(unit="db.service") as seen:
            await anyio.sleep(100)
            assert machine.looks == 1
            machine.is_unit("failed", "failed", result="signal")
            machine.living.clear()
            await anyio.sleep(0.1)
        assert seen[-1].told == "unit db.service is failed (failed), result signal"

    scene()


# ------------------------------------------------------------------------------------------------- with the supervisor


def test_a_service_whose_process_is_gone_is_down_for_certain_within_a_second_and_recovered_soon(
    machine: Machine,
) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        machine.starts(42)
        fix = heals(db)
        async with stage.life(service(db, strategy(fix, after=None), pidfile="/run/db.pid")) as life:
            await anyio.sleep(6.5)
            db.becomes(ILL)
            machine.living.clear()
            await until(lambda: life.health() == "down", within=1.0)
            assert life.control.health()["db"].message == "it is unreachable (its process 42 is gone)"
            await until(lambda: fix.runs)
            assert fix.runs[0] == pytest.approx(8.5, abs=0.1)  # certain: 2 s instead of 20

    scene()


def test_what_somebody_restarts_is_not_certain_and_waits_its_time(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        machine.is_unit("active")
        fix = heals(db)
        async with stage.life(service(db, strategy(fix, after=None), unit="db.service")) as life:
            await anyio.sleep(6.5)
            db.becomes(ILL)
            machine.is_unit("activating", "auto-restart")
            await until(lambda: life.health() == "down")
            assert not life.control.health()["db"].certain
            await until(lambda: fix.runs)
            assert fix.runs[0] >= 26.5

    scene()


def test_a_process_that_is_gone_is_no_fault_while_the_service_answers(machine: Machine) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        machine.starts(42)
        async with stage.life(service(db, strategy(heals(db)), pidfile="/run/db.pid")) as life:
            await anyio.sleep(6.5)
            machine.living.clear()
            await anyio.sleep(60)
            assert life.health() == "up"
        assert stage.entries == []

    scene()
