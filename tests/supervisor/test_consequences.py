"""A strategy that breaks what depends on its service, or whose cures don't last, is stopped."""

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from fakes import Act, Life, Stage, Target, heals, service, strategy, until
from reviver.core.trust import DAY, HOUR
from reviver.model import journal as j
from reviver.model.control import ControlRefused, TrustView
from reviver.model.faults import FaultKind
from reviver.model.services import Flapping, Service
from virtual import virtual

ILL = FaultKind.UNREACHABLE


class World:
    """A database, an API that lives on it and can do without it for a while, and what the recovery of the one does."""

    def __init__(self, *, breaks: Callable[["World"], object] = lambda _world: None) -> None:
        self.stage = Stage()
        self.db, self.api = Target("db"), Target("api")
        self.fix = Act(name="fix", does=self._fix)
        self.starts_in = 0.0
        """Seconds from the recovery's end until the database is well."""
        self._breaks = breaks

    def _fix(self) -> None:
        self.db.becomes(None, at=anyio.current_time() + self.starts_in)
        self._breaks(self)

    def services(self, *api_ladder: Act, **rung: object) -> list[Service]:
        ladder = [strategy(each, name="mend") for each in api_ladder]
        rung = {"after": 5.0, **rung}
        db = service(
            self.db,
            replace(strategy(self.fix, **rung), budgets=()),  # type: ignore[arg-type]
            budgets=(),
            stable=30.0,
            flapping=Flapping(falls=1000, within=60.0),
        )
        return [db, service(self.api, *ladder, depends_on=("db",))]

    async def falls(self, *, then: float = 60.0) -> None:
        """The database falls, is recovered, and *then* seconds pass."""
        before = len(self.fix.done)
        self.db.becomes(ILL)
        await until(lambda: len(self.fix.done) > before)
        await anyio.sleep(then)

    async def falls_and_waits(self) -> None:
        """The database falls, and time passes in which nothing is done."""
        before = len(self.fix.runs)
        self.db.becomes(ILL)
        await anyio.sleep(400)
        assert len(self.fix.runs) == before

    @property
    def demotions(self) -> list[j.StrategyDemoted]:
        return self.stage.of(j.StrategyDemoted)


def ill(*targets: Target) -> None:
    for target in targets:
        target.becomes(ILL)


def breaks_api(world: World) -> None:
    ill(world.api)


def held(life: Life, name: str = "db") -> str:
    return life.control.health()[name].held


def trust(life: Life) -> TrustView:
    return life.control.trust()[0]


# ----------------------------------------------------------------------------------------------------- the harm brake


@virtual
async def test_what_breaks_a_service_downstream_never_acts_by_itself_again() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(20)
        await world.falls()
        assert life.health("api") == "down"
        world.api.becomes(None)
        await anyio.sleep(60)
        await world.falls_and_waits()
        assert held(life).startswith('"restart" was demoted to approve: it broke api')
        assert len(world.fix.runs) == 1
    [demoted] = world.demotions
    assert (demoted.service, demoted.strategy, demoted.mode) == ("db", "restart", "approve")
    assert "it broke api, which failed (unreachable)" in demoted.reason
    assert demoted.reason.endswith("was still down with db up again")
    [found] = world.stage.of(j.CauseFound)
    assert (found.service, found.culprit, found.strategy) == ("api", "db", "restart")
    opened = {each.service: each.incident for each in reversed(world.stage.of(j.IncidentOpened))}
    assert (demoted.incident, found.incident) == (opened["db"], opened["api"])


@virtual
async def test_the_verdict_comes_with_the_fall_th_failure_after_the_other_is_up() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.life(*world.services()):
        await anyio.sleep(20)
        await world.falls()
    up_at = next(at for at, e in world.stage.recorder.events if isinstance(e, j.IncidentRecovered))
    [told_at] = world.stage.recorder.at(j.StrategyDemoted)
    failures = [at for at in world.api.asked if up_at <= at < told_at]
    assert len(failures) == 4


@virtual
async def test_a_short_break_while_the_other_starts_is_no_harm() -> None:
    world = World(breaks=lambda world: world.api.will((anyio.current_time(), ILL), (anyio.current_time() + 3, None)))
    async with world.stage.life(*world.services()):
        await anyio.sleep(20)
        for _ in range(3):
            await world.falls()
    assert len(world.fix.runs) == 3
    assert world.demotions == []


@virtual
async def test_an_outage_that_takes_the_service_downstream_along_is_no_harm_however_late_that_comes_back() -> None:
    world = World()
    async with world.stage.life(*world.services()):
        await anyio.sleep(20)
        for _ in range(3):
            world.api.becomes(ILL)
            await world.falls(then=120.0)
            world.api.becomes(None)
            await anyio.sleep(60)
    assert len(world.fix.runs) == 3
    assert world.demotions == []


@virtual
async def test_what_broke_with_the_outage_and_was_not_asked_since_is_no_harm() -> None:
    world = World()
    world.api.takes = 1.9  # too slow to be known before the step
    db, api = world.services(after=0.0)
    async with world.stage.life(db, replace(api, interval=60.0)):
        await anyio.sleep(70)
        world.api.becomes(ILL)
        await world.falls(then=120.0)
    assert world.demotions == []


@virtual
async def test_what_breaks_more_than_a_minute_after_the_attempt_is_no_harm() -> None:
    world = World(breaks=lambda world: world.api.becomes(ILL, at=anyio.current_time() + 75))
    async with world.stage.life(*world.services()):
        await anyio.sleep(20)
        await world.falls(then=200.0)
    assert world.demotions == []


@virtual
async def test_harm_done_half_a_minute_later_is_harm() -> None:
    world = World(breaks=lambda world: world.api.becomes(ILL, at=anyio.current_time() + 30))
    async with world.stage.life(*world.services()):
        await anyio.sleep(20)
        await world.falls(then=200.0)
    assert len(world.demotions) == 1


@virtual
async def test_a_victim_that_is_recovered_by_its_own_ladder_does_not_hide_the_harm() -> None:
    world = World(breaks=breaks_api)
    mend = heals(world.api, name="mend")
    async with world.stage.life(*world.services(mend)) as life:
        await anyio.sleep(20)
        await world.falls()
        assert life.health("api") == "up"
        await world.falls_and_waits()
    assert len(world.demotions) == 1
    assert len(mend.runs) == 1


@virtual
async def test_a_strategy_that_fails_to_help_and_breaks_something_is_blamed_once_the_service_is_up() -> None:
    world = World(breaks=lambda world: ill(world.db, world.api))
    async with world.stage.life(*world.services(attempts=1)):
        await anyio.sleep(20)
        await world.falls(then=600.0)
        assert world.demotions == []
        world.db.becomes(None)
        await anyio.sleep(60)
    assert len(world.demotions) == 1


@virtual
async def test_what_is_broken_indirectly_downstream_is_blamed_on_the_action_at_the_root_once() -> None:
    web = Target("web")
    world = World(breaks=lambda world: ill(world.api, web))
    async with world.stage.life(*world.services(), service(web, depends_on=("api",))):
        await anyio.sleep(20)
        await world.falls()
        assert [each.service for each in world.stage.of(j.CauseFound)] == ["api"]
        world.api.becomes(None)
        await anyio.sleep(60)
    assert [each.service for each in world.stage.of(j.CauseFound)] == ["api", "web"]
    assert len(world.demotions) == 1


@virtual
async def test_what_could_not_be_told_when_the_action_began_is_not_blamed_on_it() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(20)
        world.api.becomes("can't tell")
        await until(lambda: life.health("api") == "unknown")
        await world.falls()
    assert world.demotions == []


@virtual
async def test_a_service_downstream_that_is_seldom_asked_is_asked_before_the_action_begins() -> None:
    world = World(breaks=breaks_api)
    db, api = world.services()
    async with world.stage.life(db, replace(api, interval=60.0)):
        await anyio.sleep(70)
        await world.falls(then=90.0)
    assert len(world.demotions) == 1


@virtual
async def test_a_victim_that_is_acted_upon_after_half_of_its_failures_was_harmed_all_the_same() -> None:
    world = World(breaks=breaks_api)
    world.starts_in = 1.5
    mend = heals(world.api, name="mend")
    db, api = world.services(mend)
    async with world.stage.life(db, replace(api, interval=1.0)):
        await anyio.sleep(20)
        await world.falls()
    up_at = next(at for at, e in world.stage.recorder.events if isinstance(e, j.IncidentRecovered))
    assert len([at for at in world.api.asked if up_at <= at < mend.runs[0]]) < 4
    assert len(world.demotions) == 1


@virtual
async def test_while_reviver_suspects_itself_nobody_is_blamed() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(20)
        life.consequences._doubt = lambda _watched: "all that it asks over the network fails"
        await world.falls()
        assert life.health("api") == "down"
    assert world.demotions == []


@virtual
async def test_a_neighbour_that_breaks_is_nobodys_doing() -> None:
    other = Target("other")
    world = World(breaks=lambda _world: ill(other))
    async with world.stage.life(*world.services(), service(other)):
        await anyio.sleep(20)
        await world.falls()
    assert world.demotions == []


# ------------------------------------------------------------------------------------------------------- restarts


@virtual
async def test_a_demotion_outlives_the_daemon() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.killed_life(*world.services()):
        await anyio.sleep(20)
        await world.falls()
    world.api.becomes(None)
    world.stage.clock.reboot()
    world.stage.clock.wall_at_zero += 120 * DAY
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(20)
        await world.falls_and_waits()
        assert "it broke api" in held(life)
        assert trust(life).mode == "approve"


@pytest.mark.parametrize("killed_after", ["step_started", "step_ended", "attempt_ended", "incident_recovered"])
def test_a_daemon_killed_between_the_action_and_the_verdict_comes_to_it_in_its_next_life(killed_after: str) -> None:
    @virtual
    async def scene() -> None:
        world = World(breaks=breaks_api)
        world.fix.does = lambda: None
        async with world.stage.killed_life(*world.services()):
            await anyio.sleep(20)
            world.db.becomes(ILL)
            await until(lambda: world.fix.runs)
            world.api.becomes(ILL)
            if killed_after != "step_started":
                world.db.becomes(None)
            await until(lambda: killed_after in world.stage.entries)
        world.fix.does = lambda: world.db.becomes(None)
        await anyio.sleep(3)
        assert world.demotions == []
        async with world.stage.life(*world.services()):
            await anyio.sleep(120)
        assert [each.strategy for each in world.demotions] == ["restart"]
        assert [each.service for each in world.stage.of(j.CauseFound)] == ["api"]

    scene()


@virtual
async def test_the_next_life_neither_judges_twice_nor_takes_back_a_promotion() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.killed_life(*world.services()) as life:
        await anyio.sleep(20)
        await world.falls(then=20.0)
        await life.control.promote("db", "restart", by="ann")
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(120)
        assert trust(life).mode == "auto"
    assert len(world.demotions) == 1
    assert len(world.stage.of(j.CauseFound)) == 1


@virtual
async def test_a_daemon_that_was_away_for_long_still_finds_the_cause_of_what_broke_before() -> None:
    world = World(breaks=breaks_api)
    world.starts_in = 8.0
    db, api = world.services()
    async with world.stage.killed_life(db, replace(api, interval=1.0)) as life:
        await anyio.sleep(20)
        world.db.becomes(ILL)
        await until(lambda: "incident_recovered" in world.stage.entries)
        assert life.health("api") == "down"
    assert world.demotions == []
    await anyio.sleep(500)
    async with world.stage.life(*world.services()):
        await anyio.sleep(60)
    assert len(world.demotions) == 1


@virtual
async def test_what_breaks_after_a_restart_is_not_blamed_on_an_action_of_long_before() -> None:
    world = World()
    async with world.stage.killed_life(*world.services()):
        await anyio.sleep(20)
        await world.falls(then=20.0)
    await anyio.sleep(70)
    async with world.stage.life(*world.services()):
        await anyio.sleep(10)
        world.api.becomes(ILL)
        await anyio.sleep(60)
    assert world.demotions == []


@virtual
async def test_a_promotion_is_not_taken_back_for_what_the_same_action_broke_besides() -> None:
    web = Target("web")
    world = World(breaks=lambda world: ill(world.api, web))
    async with world.stage.life(*world.services(), service(web, depends_on=("api",))) as life:
        await anyio.sleep(20)
        await world.falls()
        await life.control.promote("db", "restart", by="ann")
        world.api.becomes(None)
        await anyio.sleep(60)
        assert life.health("web") == "down"
        assert trust(life).mode == "auto"
    assert len(world.demotions) == 1


# ----------------------------------------------------------------------------------------------------------- trust


@virtual
async def test_a_promotion_lets_a_held_recovery_go_on_at_once() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(20)
        await world.falls()
        await world.falls_and_waits()
        message = await life.control.promote("db", "restart", by="ann")
        assert message == '"restart" of db is trusted again: its mode is auto'
        await until(lambda: len(world.fix.runs) == 2, within=10)
    [promoted] = world.stage.of(j.StrategyPromoted)
    assert (promoted.service, promoted.strategy, promoted.by) == ("db", "restart", "ann")


@virtual
async def test_a_persons_order_starts_a_demoted_strategy() -> None:
    world = World(breaks=breaks_api)
    async with world.stage.life(*world.services()) as life:
        await anyio.sleep(20)
        await world.falls()
        await world.falls_and_waits()
        await life.control.recover("db", by="ann", strategy=None, dry_run=False)
        await until(lambda: len(world.fix.runs) == 2, within=10)


@virtual
async def test_what_is_not_demoted_or_not_there_can_not_be_promoted() -> None:
    world = World()
    async with world.stage.life(*world.services()) as life:
        with pytest.raises(ControlRefused, match='"restart" of db is not demoted: its mode is auto'):
            await life.control.promote("db", "restart", by="ann")
        with pytest.raises(ControlRefused, match='db has no strategy "failover"; it has: "restart"'):
            await life.control.promote("db", "failover", by="ann")
        with pytest.raises(ControlRefused, match='there is no service "mail"'):
            await life.control.promote("mail", "restart", by="ann")
        life.consequences._demoted["db"] = {"restart": "it broke api"}
        world.stage.journal.error = "the disk is full"
        with pytest.raises(ControlRefused, match='"restart" of db stays demoted: the disk is full'):
            await life.control.promote("db", "restart", by="ann")
        assert trust(life).demoted == "it broke api"


@virtual
async def test_so_many_relapses_within_a_day_demote_before_the_next_attempt() -> None:
    world = World()
    async with world.stage.life(*world.services(demote_after=2)) as life:
        for _ in range(2):
            await anyio.sleep(600)
            await world.falls()
        await anyio.sleep(600)
        await world.falls_and_waits()
        assert "db fell again within 24 h of its cures 2 times" in held(life)
        assert (trust(life).tries, trust(life).cures, trust(life).relapses_24h) == (2, 2, 2)
        await life.control.promote("db", "restart", by="ann")
        await until(lambda: len(world.fix.done) == 3, within=10)
        await anyio.sleep(600)
        await world.falls()  # its first relapse since
    assert len(world.demotions) == 1


@virtual
async def test_relapses_are_counted_over_restarts_and_boots() -> None:
    world = World()
    async with world.stage.killed_life(*world.services(demote_after=2)):
        await anyio.sleep(20)
        await world.falls()
        await world.falls()
    world.stage.clock.reboot()
    async with world.stage.life(*world.services(demote_after=2)) as life:
        await anyio.sleep(2 * HOUR)
        shown = trust(life)
        assert (shown.tries, shown.cures, shown.relapses_1h) == (2, 2, 1)
        assert shown.last_cure == pytest.approx(world.stage.clock.wall() - 2 * HOUR - 60, abs=10)
        await world.falls_and_waits()
    assert len(world.demotions) == 1


@virtual
async def test_cures_that_last_a_day_demote_nobody() -> None:
    world = World()
    async with world.stage.life(*world.services(demote_after=1)) as life:
        for _ in range(3):
            await anyio.sleep(600)
            world.stage.clock.suspended += DAY  # the host sleeps
            await anyio.sleep(60)
            await world.falls()
        assert (trust(life).cures, trust(life).relapses_24h) == (3, 0)
    assert world.demotions == []


@virtual
async def test_without_the_key_no_number_of_relapses_demotes() -> None:
    world = World()
    async with world.stage.life(*world.services()) as life:
        for _ in range(8):
            await anyio.sleep(400)
            await world.falls()
        assert trust(life).relapses_1h == 7
    assert world.demotions == []
