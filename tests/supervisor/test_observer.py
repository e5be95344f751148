"""reviver suspects itself first: what is held meanwhile, what is not, and what ends it."""

from dataclasses import replace

import anyio
import pytest

from fakes import HANG, Act, Answer, Life, Stage, Target, heals, service, strategy, until
from reviver.model import journal as j
from reviver.model.events import ObserverSuspected
from reviver.model.faults import FaultKind
from reviver.model.services import Budget, DaemonPolicy, Service, Verification
from reviver.supervisor.watched import Process
from virtual import stall, virtual

ILL = FaultKind.UNREACHABLE
PLENTY = DaemonPolicy(budget=Budget(attempts=100, per=900.0))


def remote(number: int) -> Target:
    target = Target(f"s{number}")
    target.hosts = frozenset({f"10.0.0.{number}"})
    return target


def local(name: str = "db") -> Target:
    target = Target(name)
    target.hosts = frozenset({"localhost"})
    return target


def healed(target: Target) -> Service:
    """The service *target* with a strategy that heals it, once all the others were asked since it fell ill."""
    return service(target, strategy(heals(target), after=6.0))


def asking(vantage: Target) -> DaemonPolicy:
    """A policy whose tie-break is *vantage*."""
    return replace(PLENTY, tie_break=Verification(kind="scripted", check=vantage.check(), timeout=2.0))


def acted(stage: Stage) -> list[str]:
    """The services upon which it acted, in order."""
    return [entry.service for entry in stage.of(j.StepStarted)]


def told(stage: Stage) -> list[tuple[tuple[str, ...], bool]]:
    """The reasons told of and whether they were confirmed, one after the other."""
    return [(event.reasons, event.confirmed) for event in stage.recorder.of(ObserverSuspected)]


async def down(life: Life, *targets: Target) -> None:
    for target in targets:
        await until(lambda target=target: life.health(target.name) == "down")  # type: ignore[misc]


# --------------------------------------------------------------------------------------------- lateness, suspension


@virtual
async def test_after_it_was_late_nothing_is_recovered_until_it_has_been_on_time_for_a_while() -> None:
    stage, db = Stage(), local()
    async with stage.life(service(db, strategy(heals(db)))) as life:
        await anyio.sleep(8)
        stall(2.0)
        late_at = anyio.current_time()
        db.becomes(ILL)
        await down(life, db)
        await anyio.sleep(0.1)
        assert acted(stage) == []
        assert life.control.observer_suspect() == "reviver itself was 1.9 s late"
        assert [(held.guard, held.reason) for held in stage.of(j.RecoveryHeld)] == [
            ("observer", "reviver itself was 1.9 s late")
        ]
        at = await until(lambda: acted(stage))
        assert 10.0 <= at - late_at < 15.5
        await until(lambda: life.health() == "up")
    assert told(stage) == [(("lag",), False), ((), False)]


@virtual
async def test_a_loop_that_is_late_by_less_than_a_second_holds_nothing() -> None:
    stage, db = Stage(), local()
    async with stage.life(healed(db)):
        await anyio.sleep(8)
        stall(0.9)
        db.becomes(ILL)
        assert await until(lambda: acted(stage)) < 8.9 + 5.0 + 6.5
    assert told(stage) == []


@virtual
async def test_after_a_suspension_everything_is_held_for_its_moment_and_then_recovered() -> None:
    stage, db = Stage(), local()
    async with stage.life(healed(db)) as life:
        await anyio.sleep(8)
        stage.clock.suspended += 7200.0
        resumed_at = anyio.current_time()
        db.becomes(ILL)
        await down(life, db)
        await anyio.sleep(20)
        assert acted(stage) == []
        assert life.control.observer_suspect() == "this host was suspended for 7200 s"
        at = await until(lambda: acted(stage))
        assert 30.0 <= at - resumed_at < 32.0
        await until(lambda: life.health() == "up")
    assert told(stage) == [(("suspended",), False), ((), False)]


@virtual
async def test_what_comes_back_by_itself_after_a_suspension_is_left_alone() -> None:
    stage, targets = Stage(), [remote(n) for n in range(4)]
    async with stage.life(*map(healed, targets)) as life:
        await anyio.sleep(8)
        stage.clock.suspended += 7200.0
        for target in targets:
            target.will((8.0, ILL), (30.0, None))
        await down(life, *targets)
        await anyio.sleep(120)
        assert all(life.health(target.name) == "up" for target in targets)
    assert acted(stage) == []


@virtual
async def test_it_is_late_the_moment_before_it_would_act_and_does_not_act() -> None:
    stage, db, cache = Stage(), local(), local("cache")
    cache.takes = 1.0
    async with stage.life(service(db, strategy(heals(db), after=6.0), depends_on=("cache",)), service(cache)) as life:
        await anyio.sleep(8)
        db.becomes(ILL)
        await until(lambda: "attempt_started" in stage.entries)
        stall(3.0)
        await until(lambda: "attempt_ended" in stage.entries)
        [ended] = stage.of(j.AttemptEnded)
        assert (ended.outcome, acted(stage)) == ("aborted", [])
        assert "reviver suspects itself: reviver itself was" in ended.message
        await until(lambda: acted(stage) == ["db"])
        await until(lambda: life.health() == "up")


# ----------------------------------------------------------------------------------------------------- the network


@virtual
async def test_while_the_default_route_is_gone_only_what_is_on_this_host_is_recovered() -> None:
    stage, near, far = Stage(), local(), remote(1)
    async with stage.life(healed(near), healed(far)) as life:
        await anyio.sleep(8)
        stage.uplink.route = False
        near.becomes(ILL)
        far.becomes(ILL)
        await down(life, far)
        await until(lambda: life.health("db") == "up")
        await anyio.sleep(300)
        assert acted(stage) == ["db"]
        assert life.health("s1") == "down"
        assert life.control.health()["s1"].held == "this host has lost its default route"
        assert life.control.observer_suspect() == "this host has lost its default route"
        stage.uplink.route = True
        back_at = anyio.current_time()
        at = await until(lambda: acted(stage) == ["db", "s1"])
        assert 28.0 <= at - back_at < 33.0
    assert told(stage) == [(("network",), False), ((), False)]


@virtual
async def test_a_host_that_never_had_a_default_route_is_not_cut_off() -> None:
    stage, far = Stage(), remote(1)
    stage.uplink.route = False
    async with stage.life(healed(far)):
        await anyio.sleep(8)
        far.becomes(ILL)
        await until(lambda: acted(stage) == ["s1"])
    assert told(stage) == []


@virtual
async def test_the_loss_of_the_route_is_told_though_nothing_fails() -> None:
    stage, far = Stage(), remote(1)
    async with stage.life(healed(far)) as life:
        await anyio.sleep(8)
        stage.uplink.route = False
        await until(life.control.observer_suspect, within=6.0)


@virtual
async def test_a_process_that_is_gone_from_this_host_is_no_matter_of_the_network() -> None:
    stage, db = Stage(), remote(1)
    async with stage.life(healed(db)) as life:
        await anyio.sleep(8)
        stage.uplink.route = False
        await until(life.control.observer_suspect)
        life.watched["s1"].process = Process.GONE
        db.becomes(ILL)
        await until(lambda: acted(stage) == ["s1"], within=30.0)


@virtual
async def test_a_check_that_names_no_host_may_ask_anybody_and_is_held() -> None:
    stage, script = Stage(), Target("script")
    async with stage.life(healed(script)) as life:
        await anyio.sleep(8)
        stage.uplink.route = False
        script.becomes(ILL)
        await down(life, script)
        await anyio.sleep(60)
        assert acted(stage) == []
        assert life.control.health()["script"].held == "this host has lost its default route"


@virtual
async def test_while_no_anchor_answers_what_is_asked_over_the_network_is_held_and_recovered_once_one_does() -> None:
    stage, near, far = Stage(), local(), remote(1)
    policy = replace(PLENTY, anchors=("192.0.2.1:53", "192.0.2.2:53"))
    async with stage.life(healed(near), healed(far), policy=policy) as life:
        await anyio.sleep(8)
        stage.uplink.answering = False
        far.becomes(ILL)
        near.becomes(ILL)
        await down(life, far)
        await anyio.sleep(120)
        assert acted(stage) == ["db"]
        said = "none of the 2 anchors answers: this host's network may be gone"
        assert life.control.health()["s1"].held == said
        stage.uplink.answering = True
        back_at = anyio.current_time()
        at = await until(lambda: acted(stage) == ["db", "s1"])
        assert at - back_at < 45.0
    assert told(stage) == [(("network",), False), ((), False)]


@virtual
async def test_an_anchor_that_answers_lets_a_single_failure_be_recovered() -> None:
    stage, far = Stage(), remote(1)
    async with stage.life(healed(far), policy=replace(PLENTY, anchors=("192.0.2.1:53",))):
        await anyio.sleep(8)
        far.becomes(ILL)
        await until(lambda: acted(stage) == ["s1"], within=20.0)
    assert told(stage) == []


@virtual
async def test_anchors_are_asked_once_at_the_start_and_again_only_while_something_fails_over_the_network() -> None:
    stage, near, far = Stage(), local(), remote(1)
    async with stage.life(service(near), service(far), policy=replace(PLENTY, anchors=("192.0.2.1:53",))):
        await anyio.sleep(10)
        near.becomes(ILL)
        await anyio.sleep(290)
        assert stage.uplink.asked == [0.0]
        far.becomes(ILL)
        await anyio.sleep(60)
        assert 6 <= len(stage.uplink.asked) - 1 <= 7
        assert stage.uplink.asked[1] < 307.0
        far.becomes(None)
        await anyio.sleep(30)
        count = len(stage.uplink.asked)
        await anyio.sleep(300)
        assert len(stage.uplink.asked) == count


# ------------------------------------------------------------------------------------------- a crowd, the tie-break


@virtual
async def test_while_a_crowd_fails_what_is_on_this_host_is_recovered() -> None:
    stage, near, crowd = Stage(), local(), [remote(n) for n in range(8)]
    async with stage.life(healed(near), *map(healed, crowd)) as life:
        await anyio.sleep(8)
        for target in crowd[:4]:
            target.becomes(ILL)
        await down(life, *crowd[:4])
        near.becomes(ILL)
        await until(lambda: acted(stage) == ["db"], within=60.0)
        await anyio.sleep(300)
        assert acted(stage) == ["db"]


@virtual
async def test_a_regional_failure_that_the_tie_break_confirms_is_recovered_one_after_the_other() -> None:
    stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
    async with stage.life(*map(healed, targets), policy=asking(vantage)) as life:
        await anyio.sleep(8)
        for target in targets[:5]:
            target.becomes(ILL)
        await until(life.control.observer_suspect)
        await until(lambda: len(acted(stage)) == 5, within=120.0)
        confirmed = next(event.reason for event in stage.recorder.of(ObserverSuspected) if event.confirmed)
        assert confirmed.endswith("this host may be cut off; the tie-break confirms that the failures are real")
        await until(lambda: all(life.health(target.name) == "up" for target in targets))
        order = [e.type for e in stage.journal.entries if isinstance(e, j.AttemptStarted | j.AttemptEnded)]
        assert order == ["attempt_started", "attempt_ended"] * 5
        await anyio.sleep(120)
        assert life.control.observer_suspect() == ""
    assert told(stage) == [(("crowd",), False), (("crowd",), True), ((), False)]


@virtual
async def test_silent_anchors_hold_no_recovery_either_once_the_tie_break_confirms_the_failure() -> None:
    stage, vantage, far = Stage(), Target("vantage"), remote(1)
    policy = replace(asking(vantage), anchors=("192.0.2.1:53",))
    vantage.becomes(ILL, at=0.0)
    async with stage.life(healed(far), policy=policy) as life:
        await anyio.sleep(8)
        stage.uplink.answering = False
        far.becomes(ILL)
        await down(life, far)
        await anyio.sleep(60)
        assert acted(stage) == []
        vantage.becomes(None)
        await until(lambda: acted(stage) == ["s1"], within=15.0)


@pytest.mark.parametrize(
    "answer", [ILL, "it can't tell", ValueError("a defect"), HANG], ids=["ill", "unknown", "crash", "hang"]
)
def test_recovery_is_held_on_unless_the_tie_break_says_that_the_failures_are_real(answer: Answer) -> None:
    @virtual
    async def scene() -> None:
        stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
        vantage.becomes(answer, at=0.0)
        async with stage.life(*map(healed, targets), policy=asking(vantage)) as life:
            await anyio.sleep(8)
            for target in targets[:5]:
                target.becomes(ILL)
            await down(life, *targets[:5])
            await anyio.sleep(300)
            assert life.control.observer_suspect()
            assert len(vantage.asked) >= 20
        assert acted(stage) == []
        assert told(stage) == [(("crowd",), False)]

    scene()


@virtual
async def test_once_the_tie_break_no_longer_confirms_recovery_is_held_again() -> None:
    stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
    async with stage.life(
        *(service(each, strategy(Act(), after=6.0)) for each in targets), policy=asking(vantage)
    ) as life:
        await anyio.sleep(8)
        for target in targets[:5]:
            target.becomes(ILL)
        await until(lambda: acted(stage))
        vantage.becomes(ILL)
        await until(lambda: not life.observer.suspicion.confirmed, within=15.0)
        count = len(acted(stage))
        await anyio.sleep(120)
        assert len(acted(stage)) <= count + 1  # one may have been under way


@virtual
async def test_the_tie_break_is_asked_only_while_there_is_something_to_decide() -> None:
    stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
    async with stage.life(*(service(target) for target in targets), policy=asking(vantage)) as life:
        targets[0].becomes(ILL)
        await anyio.sleep(120)
        assert vantage.asked == []
        for target in targets[:5]:
            target.becomes(ILL)
        await until(life.control.observer_suspect)
        await anyio.sleep(60)
        assert 5 <= len(vantage.asked) <= 7
        for target in targets:
            target.becomes(None)
        await until(lambda: not life.control.observer_suspect())
        count = len(vantage.asked)
        await anyio.sleep(300)
        assert len(vantage.asked) == count


@virtual
async def test_the_tie_break_does_not_vouch_for_a_reviver_that_was_late() -> None:
    stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
    async with stage.life(*map(healed, targets), policy=asking(vantage)) as life:
        await anyio.sleep(8)
        for target in targets[:5]:
            target.becomes(ILL)
        await until(lambda: life.observer.suspicion.confirmed)
        stall(2.0)
        late_at, count = anyio.current_time(), len(acted(stage))
        await anyio.sleep(9)
        assert len(acted(stage)) == count
        await until(lambda: len(acted(stage)) == 5)
        assert anyio.current_time() >= late_at + 10


@virtual
async def test_the_share_of_the_settings_decides_what_a_crowd_is() -> None:
    stage, targets = Stage(), [remote(n) for n in range(8)]
    async with stage.life(*map(healed, targets), policy=replace(PLENTY, suspect_share=0.7)):
        await anyio.sleep(8)
        for target in targets[:5]:
            target.becomes(ILL)
        await until(lambda: len(acted(stage)) == 5, within=60.0)
    assert told(stage) == []


@virtual
async def test_the_word_about_one_crowd_is_no_word_about_the_next() -> None:
    stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
    quick = (service(target, strategy(Act(), after=6.0), interval=1.0) for target in targets)
    async with stage.life(*quick, policy=asking(vantage)) as life:
        for target in targets:
            target.will((3.0, ILL), (12.0, None))
        await until(life.control.observer_suspect)
        await until(lambda: not life.control.observer_suspect())
        last_word = vantage.asked[-1]
        vantage.becomes(HANG)
        await anyio.sleep(1.5)
        for target in targets:
            target.becomes(ILL)
        await until(life.control.observer_suspect)
        assert anyio.current_time() - last_word < 15.0
        assert not life.observer.suspicion.confirmed


@virtual
async def test_a_reload_brings_a_tie_break_in_force() -> None:
    stage, vantage, targets = Stage(), Target("vantage"), [remote(n) for n in range(8)]
    services = {each.name: healed(each) for each in targets}
    async with stage.life(*services.values(), policy=PLENTY) as life:
        await anyio.sleep(8)
        for target in targets[:5]:
            target.becomes(ILL)
        await down(life, *targets[:5])
        await anyio.sleep(60)
        assert acted(stage) == []
        life.replace_services(services, asking(vantage))
        await until(lambda: len(acted(stage)) == 5, within=60.0)
