"""What keeps falling climbs its ladder and ends with people; it is not restarted for ever."""

import anyio

from fakes import Act, Stage, Target, service, strategy, until
from reviver.model import journal as j
from reviver.model.faults import FaultKind
from reviver.model.services import Flapping, Service
from virtual import virtual

ILL = FaultKind.UNREACHABLE
HOUR = 3600.0


def helping(db: Target, seconds: float, name: str = "restart") -> Act:
    """An action after which *db* is well for so long."""
    now = anyio.current_time
    return Act(name=name, does=lambda: db.will((now(), None), (now() + seconds, ILL)))


def flapping(db: Target, *acts: Act, falls: int = 3, within: float = 0.5 * HOUR, **settings: float) -> Service:
    rungs = [strategy(act, name=act.name, attempts=10) for act in acts]
    return service(db, *rungs, flapping=Flapping(falls=falls, within=within), **settings)


@virtual
async def test_a_strategy_whose_help_never_lasts_is_passed_over_for_the_next_and_then_for_people() -> None:
    stage, db = Stage(), Target()
    restart, failover = helping(db, 400.0), helping(db, 400.0, "failover")
    async with stage.life(flapping(db, restart, failover)):
        db.becomes(ILL, at=7.0)
        await anyio.sleep(4 * HOUR)
    assert (len(restart.runs), len(failover.done)) == (2, 1)
    assert [entry.strategy for entry in stage.of(j.StrategyAbandoned)] == ["restart", "failover"]
    assert stage.of(j.StrategyAbandoned)[0].reason == "db fell 3 times within 30 min: its help does not last"
    assert stage.of(j.IncidentEscalated)[0].reason.startswith("every strategy for unreachable was tried")
    assert len({entry.incident for entry in stage.of(j.IncidentOpened)}) == 2  # the first fall, and all that flaps


@virtual
async def test_falls_far_apart_are_no_flapping() -> None:
    stage, db = Stage(), Target()
    restart = helping(db, 0.3 * HOUR)
    async with stage.life(flapping(db, restart)):
        db.becomes(ILL, at=7.0)
        await until(lambda: len(restart.runs) == 3, within=2 * HOUR)
    assert stage.of(j.StrategyAbandoned) == []


@virtual
async def test_what_falls_and_comes_back_by_itself_is_told_to_people_once() -> None:
    stage, db = Stage(), Target()
    slow = strategy(Act(), after=600.0)
    async with stage.life(service(db, slow, flapping=Flapping(falls=3, within=HOUR))):
        for fall in range(10):
            db.will((7.0 + fall * 300, ILL), (67.0 + fall * 300, None))
            await anyio.sleep(300)
    assert [entry.reason for entry in stage.of(j.IncidentEscalated)] == [
        "db fell 3 times within 1 h and came back by itself"
    ]
    assert stage.of(j.AttemptStarted) == []


@virtual
async def test_falls_are_counted_over_a_restart_and_what_was_passed_over_stays_so() -> None:
    stage, db = Stage(), Target()
    restart, failover = helping(db, 400.0), helping(db, 1e6, "failover")
    watched = flapping(db, restart, failover)
    async with stage.killed_life(watched):
        db.becomes(ILL, at=7.0)
        await until(lambda: len(stage.of(j.IncidentRecovered)) == 2, within=HOUR)
    async with stage.killed_life(watched):
        await until(lambda: stage.of(j.StrategyAbandoned), within=HOUR)
    async with stage.life(watched) as life:
        await until(lambda: life.health() == "up" and failover.runs, within=HOUR)
    assert (len(restart.runs), len(failover.done)) == (2, 1)


@virtual
async def test_after_a_recovery_the_next_attempt_waits_for_the_cool_down_even_over_a_restart() -> None:
    stage, db = Stage(), Target()
    restart = helping(db, 10.0)
    watched = flapping(db, restart, falls=100, cooldown=120.0)
    async with stage.life(watched):
        db.becomes(ILL, at=7.0)
        await until(lambda: len(stage.of(j.IncidentRecovered)) == 2)
    first, second = restart.runs
    assert 120.0 < second - first < 130.0
    async with stage.life(watched):
        await until(lambda: len(restart.runs) == 3)
    assert restart.runs[2] - second > 120.0


@virtual
async def test_the_cool_down_holds_for_the_next_incident_too() -> None:
    stage, db = Stage(), Target()
    restart = helping(db, 10.0)
    async with stage.life(flapping(db, restart, falls=100, cooldown=120.0, stable=1.0)):
        db.becomes(ILL, at=7.0)
        await until(lambda: len(restart.runs) == 2)
    assert len(stage.of(j.IncidentOpened)) == 2
    assert restart.runs[1] - restart.runs[0] > 120.0
