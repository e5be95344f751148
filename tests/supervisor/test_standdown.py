"""Recovery is left to others while they are at work on a service: windows, locks, deploys."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from fakes import NOON, Act, Stage, Target, heals, service, strategy, until
from reviver.clients import docker, files, systemd
from reviver.model import journal as j
from reviver.model.events import MaintenanceChanged
from reviver.model.faults import FaultKind
from reviver.model.secrets import Redactor, Secret
from reviver.model.services import DaemonPolicy, Maintenance, Once, Recurring
from virtual import virtual

ILL = FaultKind.UNREACHABLE
YEAR = 365.25 * 86400.0
LOCK = "/run/lock/deploy"


def window(begins: float, until: float, *services: str, reason: str = "storage upgrade") -> Maintenance:
    """From one second of the scene to another."""
    return Maintenance(when=Once(begins=NOON + begins, until=NOON + until), services=services, reason=reason)


def in_maintenance(*windows: Maintenance) -> DaemonPolicy:
    return DaemonPolicy(maintenance=windows)


# ------------------------------------------------------------------------------------------------------- maintenance


@virtual
async def test_in_a_window_a_service_is_watched_and_told_of_and_recovered_only_after_it() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix)), policy=in_maintenance(window(10, 300, "db"))) as life:
        await anyio.sleep(20)
        db.becomes(ILL)
        await until(lambda: stage.of(j.RecoveryHeld))
        asked = len(db.asked)
        await anyio.sleep(200)
        view = life.control.health()["db"]
        assert view.health == "down"
        assert view.held.startswith("maintenance until ")
        assert view.held.endswith(": storage upgrade")
        assert view.maintenance_until == NOON + 300
        assert len(db.asked) > asked + 30
        assert fix.runs == []
        await until(lambda: fix.runs)
        assert 300 <= fix.runs[0] < 302
        await until(lambda: stage.of(j.IncidentRecovered))
        assert life.control.health()["db"].maintenance_until is None
    [held] = stage.of(j.RecoveryHeld)
    assert held.guard == "maintenance"


@virtual
async def test_what_is_well_at_the_end_of_a_window_is_left_alone() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    db.will((20, ILL), (200, None))
    async with stage.life(service(db, strategy(fix)), policy=in_maintenance(window(10, 300))):
        await anyio.sleep(600)
    assert fix.runs == []
    [recovered] = stage.of(j.IncidentRecovered)
    assert recovered.by == "itself"


@virtual
async def test_another_services_window_holds_nothing() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    db.becomes(ILL, at=20)
    async with stage.life(service(db, strategy(fix)), policy=in_maintenance(window(0, 1e6, "api"))):
        await until(lambda: fix.runs, within=60)


@virtual
async def test_a_person_recovers_in_the_middle_of_a_window() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    async with stage.life(service(db, strategy(fix)), policy=in_maintenance(window(0, 1e6))) as life:
        db.becomes(ILL)
        await until(lambda: stage.of(j.RecoveryHeld))
        await life.control.recover("db", by="ann", strategy=None, dry_run=False)
        await until(lambda: stage.of(j.IncidentRecovered))
    assert len(fix.runs) == 1


@virtual
async def test_windows_are_told_when_they_begin_and_end_of_each_of_their_services() -> None:
    stage = Stage()
    policy = in_maintenance(window(10, 60, "a"), window(30, 90, "a", "b"))
    async with stage.life(service(Target("a")), service(Target("b")), policy=policy):
        await anyio.sleep(200)
    told = [(at, e.service, bool(e.told)) for at, e in stage.recorder.events if isinstance(e, MaintenanceChanged)]
    assert [(service, began) for _, service, began in told] == [("a", True), ("b", True), ("a", False), ("b", False)]
    assert [at for at, _, _ in told] == pytest.approx([10, 30, 90, 90], abs=1.1)


@virtual
async def test_a_reload_puts_a_window_in_force_and_out_of_it() -> None:
    stage, db = Stage(), Target()
    fix = heals(db)
    services = {"db": service(db, strategy(fix))}
    async with stage.life(*services.values(), policy=in_maintenance(window(0, 1e6))) as life:
        db.becomes(ILL)
        await until(lambda: stage.of(j.RecoveryHeld))
        life.replace_services(services, DaemonPolicy())
        at = await until(lambda: fix.runs)
        assert at < 20
        life.replace_services(services, in_maintenance(window(0, 1e6)))
        db.becomes(ILL)
        await anyio.sleep(100)
    assert len(fix.runs) == 1
    assert [bool(e.told) for e in stage.recorder.of(MaintenanceChanged)] == [True, False, True]


@pytest.mark.parametrize("years", [10, -10])
def test_a_wall_clock_that_jumps_ends_or_begins_a_window_at_once_and_stops_nothing(years: float) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        weekly = Maintenance(when=Recurring(cron="0 2 * * SUN", lasting=7200.0, timezone="UTC"))
        async with stage.life(service(db, strategy(fix)), policy=in_maintenance(window(0, 1e6), weekly)) as life:
            db.becomes(ILL)
            await until(lambda: stage.of(j.RecoveryHeld))
            stage.clock.wall_at_zero += years * YEAR  # to a Wednesday or so, out of both windows
            jumped = anyio.current_time()
            at = await until(lambda: fix.runs)
            assert at < jumped + 3
            stage.clock.wall_at_zero -= years * YEAR
            await until(lambda: life.control.health()["db"].maintenance_until is not None, within=3)
            db.becomes(ILL)
            await anyio.sleep(300)
        assert len(fix.runs) == 1

    scene()


@virtual
async def test_a_reason_shows_no_secret() -> None:
    stage = Stage()
    stage.redact.learn([Secret("hunter2")])
    policy = in_maintenance(window(0, 1e6, reason="password hunter2"))
    async with stage.life(service(Target()), policy=policy) as life:
        assert "hunter2" not in life.control.health()["db"].maintenance


# ------------------------------------------------------------------------------------------------------------- locks


class Disk:
    """Lock files in memory, in place of the real ones."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.locks: dict[str, files.Lock | None] = {}
        self.looks: list[float] = []
        self.hangs = False
        patch.setattr(files, "read_lock", self._read)
        patch.setattr(files.MayHang, "call", self._call)

    def _read(self, path: str) -> files.Lock | None:
        self.looks.append(anyio.current_time())
        return self.locks.get(path)

    async def _call(self, _name: str, function: Callable[[], Any], *, within: float) -> Any:
        await anyio.sleep(0.01)
        if self.hangs:
            await anyio.sleep(within)
            raise TimeoutError
        return function()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def lock(age: float, line: str = "deploy by ann") -> files.Lock:
    """A lock that is *age* seconds old at second 0."""
    return files.Lock(modified=NOON - age, line=line)


def test_a_lock_holds_until_it_is_gone_and_says_who_has_it(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.locks[LOCK] = lock(60)
        async with stage.life(service(db, strategy(fix), lock_file=LOCK)) as life:
            await anyio.sleep(10)
            assert disk.looks == []  # a service that is well is nobody's business
            db.becomes(ILL)
            await until(lambda: stage.of(j.RecoveryHeld))
            await anyio.sleep(100)
            held = life.control.health()["db"].held
            assert held.startswith(f"{LOCK} is there, 2 min ")
            assert "(deploy by ann); it counts for another 57 min" in held
            assert fix.runs == []
            del disk.locks[LOCK]
            freed = anyio.current_time()
            assert await until(lambda: fix.runs) < freed + 7
            await until(lambda: stage.of(j.IncidentRecovered))
            looks = len(disk.looks)
            await anyio.sleep(60)
            assert len(disk.looks) <= looks + 1
        pauses = [later - earlier for earlier, later in zip(disk.looks, disk.looks[1:], strict=False)]
        assert min(pauses) >= 0.99
        [held_entry] = stage.of(j.RecoveryHeld)
        assert held_entry.guard == "lock"

    scene()


def test_the_hosts_lock_holds_every_service_and_is_looked_at_once_a_second_for_all(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, targets = Stage(), [Target(name) for name in "abc"]
        acts = [Act(name=each.name) for each in targets]
        disk.locks[LOCK] = lock(0)
        services = [service(t, strategy(a)) for t, a in zip(targets, acts, strict=True)]
        async with stage.life(*services, policy=DaemonPolicy(lock_file=LOCK)):
            for each in targets:
                each.becomes(ILL)
            await anyio.sleep(100)
        assert not any(act.runs for act in acts)
        assert (
            90 <= len(disk.looks) <= 150
        )  # and not 300; looks at the same moment share a call, which the fake doesn't

    scene()


def test_a_forgotten_lock_expires_and_one_that_is_touched_does_not(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.locks[LOCK] = lock(0)
        db.becomes(ILL)
        policy = DaemonPolicy(lock_file=LOCK, lock_expires=100.0)
        async with stage.life(service(db, strategy(fix)), policy=policy):
            await anyio.sleep(60)
            disk.locks[LOCK] = lock(-60)
            at = await until(lambda: fix.runs)
            assert 160 <= at <= 165

    scene()


@pytest.mark.parametrize("years", [10, -10])
def test_a_lock_expires_in_its_time_whatever_the_wall_clock_does(disk: Disk, years: float) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.locks[LOCK] = lock(0)
        db.becomes(ILL)
        policy = DaemonPolicy(lock_file=LOCK, lock_expires=100.0)
        async with stage.life(service(db, strategy(fix)), policy=policy):
            await anyio.sleep(30)
            stage.clock.wall_at_zero += years * YEAR
            at = await until(lambda: fix.runs)
            assert 98 <= at <= 105

    scene()


def test_a_lock_from_the_future_expires_in_its_time_too(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.locks[LOCK] = lock(-10 * YEAR)
        db.becomes(ILL)
        policy = DaemonPolicy(lock_file=LOCK, lock_expires=100.0)
        async with stage.life(service(db, strategy(fix)), policy=policy):
            assert await until(lambda: fix.runs) <= 106

    scene()


def test_a_lock_that_cannot_be_read_holds_and_says_why(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.locks[LOCK] = files.Lock(modified=None, problem="permission denied")
        async with stage.life(service(db, strategy(fix), lock_file=LOCK)) as life:
            db.becomes(ILL)
            await anyio.sleep(30)
            held = life.control.health()["db"].held
            assert held == f"{LOCK} can't be read, so it counts as a lock: permission denied"
            disk.hangs = True
            await anyio.sleep(30)
            assert life.control.health()["db"].held.endswith(": no answer within 2 s")
            assert fix.runs == []
            disk.hangs = False
            del disk.locks[LOCK]
            await until(lambda: fix.runs, within=10)

    scene()


def test_before_the_first_look_at_its_lock_nothing_is_done(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.hangs = True
        async with stage.life(service(db, strategy(fix), fall=1, lock_file=LOCK)) as life:
            db.becomes(ILL)
            await until(lambda: stage.of(j.RecoveryHeld))
            assert "has yet to be looked at" in life.control.health()["db"].held
            disk.hangs = False
            await until(lambda: fix.runs, within=10)

    scene()


def test_what_was_seen_in_an_earlier_failure_counts_no_more(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        async with stage.life(service(db, strategy(fix), fall=1, stable=1.0, lock_file=LOCK)):
            db.becomes(ILL)
            await until(lambda: stage.of(j.IncidentRecovered))
            await anyio.sleep(30)
            disk.locks[LOCK] = lock(0)
            db.becomes(ILL)
            await anyio.sleep(60)
        assert len(fix.runs) == 1

    scene()


def test_a_lock_of_new_settings_counts_for_what_already_fails(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        services = {"db": service(db, strategy(fix, after=60.0))}
        disk.locks[LOCK] = lock(0)
        async with stage.life(*services.values()) as life:
            db.becomes(ILL)
            await anyio.sleep(30)
            life.replace_services(services, DaemonPolicy(lock_file=LOCK))
            await anyio.sleep(100)
            assert "deploy by ann" in life.control.health()["db"].held
            del disk.locks[LOCK]
            await until(lambda: fix.runs, within=10)

    scene()


def test_a_lock_shows_no_secret_and_no_endless_line(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        stage.redact = Redactor([Secret("hunter2")])
        disk.locks[LOCK] = lock(0, line="hunter2 \x1b[31m" + "x" * 900)
        async with stage.life(service(db, strategy(Act()), lock_file=LOCK)) as life:
            db.becomes(ILL)
            await until(lambda: stage.of(j.RecoveryHeld))
            held = life.control.health()["db"].held
            assert "hunter2" not in held
            assert "\x1b" not in held
            assert len(held) < 300

    scene()


def test_a_person_recovers_in_spite_of_a_lock(disk: Disk) -> None:
    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        disk.locks[LOCK] = lock(0)
        async with stage.life(service(db, strategy(fix), lock_file=LOCK)) as life:
            db.becomes(ILL)
            await until(lambda: stage.of(j.RecoveryHeld))
            await life.control.recover("db", by="ann", strategy=None, dry_run=False)
            await until(lambda: stage.of(j.IncidentRecovered))
        assert len(fix.runs) == 1

    scene()


# ----------------------------------------------------------------------------------------------------------- deploys


@pytest.mark.parametrize("kind", ["unit", "deployed", "container"])
def test_what_was_changed_moments_ago_is_its_deployers_until_it_has_settled(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    changed = NOON - 180.0

    async def unit_files(unit: str, **_timeout: float) -> systemd.UnitFiles:
        return systemd.UnitFiles(paths=("/etc/systemd/system/db.service",), reload_due=False)

    async def container(name: str) -> docker.Container:
        return docker.Container(created=changed, image="registry/db:17")

    monkeypatch.setattr(systemd, "unit_files", unit_files)
    monkeypatch.setattr(docker, "container", container)
    monkeypatch.setattr(files, "installed_at", lambda _path: changed)
    monkeypatch.setattr(files, "deployed_at", lambda _path: changed)
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "unit": ({"unit": "db.service"}, "unit db.service was changed (/etc/systemd/system/db.service)"),
        "deployed": ({"deployed": ("/opt/db/current",)}, "/opt/db/current was changed"),
        "container": ({"container": "db-1"}, "container db-1 was made from registry/db:17"),
    }
    settings, told = cases[kind]

    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        monkeypatch.setattr("reviver.supervisor.process.watch", _nothing)
        fix = heals(db)
        async with stage.life(service(db, strategy(fix), settle=600.0, **settings)) as life:
            db.becomes(ILL)
            await until(lambda: stage.of(j.RecoveryHeld))
            await anyio.sleep(70)
            held = life.control.health()["db"].held
            assert held.startswith(f"{told} 4 min ")
            assert ": its deployer is likely at it; held for another 5 min " in held
            at = await until(lambda: fix.runs)
            assert 420 <= at <= 422
        [entry] = stage.of(j.RecoveryHeld)
        assert entry.guard == "deploy"

    scene()


async def _nothing(**_ignored: object) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("age", [601.0, -3600.0, None], ids=["long ago", "in the future", "not known"])
def test_what_was_not_changed_moments_ago_holds_nothing(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, age: float | None
) -> None:
    monkeypatch.setattr(files, "deployed_at", lambda _path: None if age is None else NOON - age)

    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        db.becomes(ILL)
        async with stage.life(service(db, strategy(fix), settle=600.0, deployed=("/opt/db",))):
            await until(lambda: fix.runs, within=30)

    scene()


def test_where_systemd_and_docker_do_not_answer_nothing_is_held_and_that_is_said_once(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unit_files(unit: str, **_timeout: float) -> systemd.UnitFiles:
        raise systemd.SystemdError("there is no systemd")

    async def container(name: str) -> docker.Container:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(systemd, "unit_files", unit_files)
    monkeypatch.setattr(docker, "container", container)
    monkeypatch.setattr("reviver.supervisor.process.watch", _nothing)

    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        settings: dict[str, Any] = {"settle": 600.0, "stable": 1.0, "unit": "db.service", "container": "db-1"}
        async with stage.life(service(db, strategy(fix), **settings)):
            for _ in range(2):
                fix.runs.clear()
                db.becomes(ILL)
                await until(lambda: fix.runs, within=60)
                await anyio.sleep(20)

    scene()
    assert [record.message for record in caplog.records].count("deploys.unknown") == 1


def test_a_settle_of_zero_asks_nobody(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "deployed_at", lambda _path: pytest.fail("asked"))

    @virtual
    async def scene() -> None:
        stage, db = Stage(), Target()
        fix = heals(db)
        db.becomes(ILL)
        async with stage.life(service(db, strategy(fix), settle=0.0, deployed=("/opt/db",), lock_file=LOCK)):
            await until(lambda: fix.runs, within=30)

    scene()


# ------------------------------------------------------------------------------------------------------------- pause


@virtual
async def test_a_pause_shows_who_paused_and_why_also_after_a_restart() -> None:
    stage, db = Stage(), Target()
    stage.redact.learn([Secret("hunter2")])
    async with stage.life(service(db)) as life:
        await life.control.pause(["db"], by="ann", reason="new disk, password hunter2", seconds=500.0)
        view = life.control.health()["db"]
        assert (view.paused_by, view.paused_until) == ("ann", NOON + anyio.current_time() + 500)
        assert view.paused_reason.startswith("new disk")
        assert "hunter2" not in view.paused_reason
    async with stage.life(service(db)) as life:
        again = life.control.health()["db"]
        assert (again.paused_by, again.paused_reason) == ("ann", view.paused_reason)
        await life.control.resume([], by="ann")
        after = life.control.health()["db"]
        assert (after.paused_by, after.paused_reason, after.paused_until) == ("", "", None)
