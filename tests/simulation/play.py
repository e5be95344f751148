"""
Plays a story: the real core and the real shell, life after life, in virtual time, in a world that obeys the story.

Quiet times are skipped: once all is well and nothing is pending, the loop jumps to shortly before the next episode,
which the daemon sees as one long stall of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import anyio
import anyio.abc

from fakes import FakeClock, FakeUplink, MemoryJournal
from reviver.core.suspicion import CALM, HOSTS_MIN, Reason
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.faults import FaultKind, JsonValue
from reviver.model.health import Health
from reviver.model.incidents import Incident, IncidentState, fold
from reviver.model.ports import AttemptResult, Order
from reviver.model.secrets import Redactor
from reviver.model.services import Mode, Service
from reviver.recovery.run import Recovery
from reviver.supervisor import lag, observer
from reviver.supervisor.control import SupervisorControl
from reviver.supervisor.restore import restore
from reviver.supervisor.supervisor import Supervisor
from reviver.supervisor.watched import Watched
from virtual import VirtualLoop, stall

from .book import Book, Broken
from .happenings import Happening, Story
from .plan import Catalogue
from .promises import waiting
from .things import Deed, How, Ill, Outcome, Thing

YEAR = 365.25 * 86400.0
SKIP_FROM = 180.0  # seconds; a shorter quiet is lived through
WARM_UP = 45.0  # seconds of ordinary watching before an episode
QUIET_WITHIN = 3 * 3600.0  # seconds from the world's being well until the daemon must have come to rest
STEP_GRACE = 15.0  # seconds that a clean stop waits


class SimulatedLoop(VirtualLoop):
    """A virtual loop to which nothing comes from outside: so it is not asked for, and a year takes less long."""

    def __init__(self) -> None:
        super().__init__()
        self._jump.deaf = True


class LoopClock(FakeClock):
    """The loop's time, read from the loop itself."""

    def __init__(self) -> None:
        super().__init__()
        self.monotonic = asyncio.get_running_loop().time  # type: ignore[method-assign]


class Disk(MemoryJournal):
    """The journal's disk; tells the book, and may be where the daemon dies."""

    def __init__(self, world: World) -> None:
        super().__init__(world.clock)
        self.world = world
        self.die_in = 0
        """At which write from now on the daemon is killed; 0: at none."""
        self.die_after = False
        self.fail_told, self.fail_for = "", 0.0
        """At an entry of which type the disk is full, and how long."""
        self.dead = False
        self.writing = 0
        """Writes under way."""

    async def append(self, *entries: j.Entry) -> None:
        self.writing += 1
        try:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.slow)
        finally:
            self.writing -= 1
        if entries and self.die_in:
            self.die_in -= 1
            if self.die_in == 0:
                if self.die_after and not self.dead and not self.error:
                    await self._write(entries)
                self.world.die(*self.world.next_death)
        if self.dead:
            await anyio.sleep_forever()
        if any(entry.type == self.fail_told for entry in entries):
            self.error, self.fail_told = "the disk is full", ""
            self.world.disk_well_at = anyio.current_time() + self.fail_for
        if self.error:
            self.world.book.write_failed()
            raise j.JournalError(self.error)
        await self._write(entries)

    async def _write(self, entries: tuple[j.Entry, ...]) -> None:
        slow, self.slow = self.slow, 0.0
        await super().append(*entries)
        self.slow = slow
        self.world.book.disk_failed = False
        for entry in entries:
            self.world.book.wrote(entry)
        for entry in entries:
            sudden = self.world.just_then.pop(entry.type, None)
            if sudden is not None:
                await self.world.suddenly(sudden, entry.service)
        if self.dead:
            await anyio.sleep_forever()


@dataclass(frozen=True)
class Vantage:
    """The tie-break: it looks from elsewhere, and sees whether what fails here really fails."""

    world: World
    faults: ClassVar[frozenset[FaultKind]] = frozenset(FaultKind)
    borrows: ClassVar[frozenset[str]] = frozenset()

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Vantage]:
        yield self

    def hosts(self) -> frozenset[str]:
        return frozenset()

    async def ask(self, *, fresh: bool) -> CheckResult:
        await anyio.sleep(0.05)
        real = anyio.current_time() >= self.world.cut_off_until
        if real:
            self.world.book.vantage_at = anyio.current_time()
        return CheckResult(latency=0.05) if real else CheckResult(latency=0.05, unknown="all is well there")

    async def evidence(self) -> Mapping[str, JsonValue]:
        return {}


@dataclass(frozen=True)
class Death:
    """How a life ends."""

    seconds: float
    reboots: bool
    cleanly: bool


class World:
    """Where a story is played."""

    def __init__(self, story: Story) -> None:
        self.story = story
        plan = self.plan = story.plan
        self.clock = LoopClock()
        self.things: dict[str, Thing] = {}
        self.book = Book(self.clock, self.things, lag_every=plan.lag_every)
        for name in plan.names:
            random = Random(f"{plan.seed}/{name}/answers")
            self.things[name] = Thing(name=name, host=plan.hosts[name], random=random, listener=self.book)
        for name in plan.names:
            self.things[name].needs = [self.things[needed] for needed in plan.hard[name]]
        self.book.begin()
        self.catalogue = Catalogue(plan, self.things, self._deed, Vantage(self))
        self.disk = Disk(self)
        self.disk_well_at = 0.0
        self.present = plan.names
        self.variants: dict[str, int] = {}
        self.policy_variant = 0
        self.frozen_until = 0.0
        self.uplink = FakeUplink()
        self.network_back_at = 0.0
        self.cut_off_until = 0.0
        """Until when some hosts can't be reached from here."""
        self.asking = 0
        """People who wait for an answer."""
        self.must_work: set[str] = set()
        self.life: Supervisor | None = None
        self.control: SupervisorControl
        self.tasks: anyio.abc.TaskGroup
        self.death: Death | None = None
        self.next_death: tuple[float, bool] = (0.0, False)
        self.died = anyio.Event()
        self.just_then: dict[str, Happening] = {}
        """What happens as soon as the journal tells of something."""
        self.deadly = 0
        """In how many deeds from now on the daemon is killed."""
        self.random = Random(f"{plan.seed}/jitter")
        self.service_seconds = 0.0

    # --------------------------------------------------------------------------------------------- what it is made of

    def _deed(self, **what: Any) -> Deed:
        return Deed(
            outcomes=self._outcome,
            neighbour=self._neighbour,
            killed=lambda: self.disk.dead,
            strikes=self.strikes,
            kill=self.killed_in_deed,
            **what,
        )

    def _outcome(self, deed: Deed) -> Outcome:
        if deed.thing.name in self.must_work:
            return Outcome.WORKS
        allowed = [outcome for outcome in Outcome if outcome.name not in self.plan.off]
        weights = [6.0 if outcome is Outcome.WORKS else 1.0 for outcome in allowed]
        return deed.random.choices(allowed, weights)[0] if allowed else Outcome.IN_VAIN

    def _neighbour(self, thing: Thing) -> Thing:
        others = [each for each in self.things.values() if each is not thing]
        return others[len(thing.name) % len(others)] if others else thing

    def services(self) -> dict[str, Service]:
        """The settings in force."""
        return {name: self.catalogue.service(name, self.variants.get(name, 0)) for name in self.present}

    # ------------------------------------------------------------------------------------------------- the daemon

    @asynccontextmanager
    async def _lives(self) -> AsyncIterator[None]:
        """One life of the daemon, until the block ends."""
        services, policy = self.services(), self.catalogue.policy(self.policy_variant)
        self.death, self.died, self.disk.dead = None, anyio.Event(), False
        self.book.lives(services, policy)
        scribe = Scribe(self.disk, self.book.event)
        redact = Redactor()
        recovery = Recovery(scribe=scribe, clock=self.clock, redact=redact)

        async def recoverer(order: Order) -> AttemptResult:
            attempt = self.book.attempt_begins(order)
            result = await recovery(order)
            self.book.attempt_ends(attempt, result)
            return result

        life = self.life = Supervisor(
            services=services,
            policy=policy,
            clock=self.clock,
            random=self.random.random,
            scribe=scribe,
            emit=self.book.event,
            recoverer=recoverer,
            redact=redact,
            uplink=self.uplink,
        )
        self.control = SupervisorControl(life, self._no_reload)
        resumes = await restore(life, self.disk)
        self._pauses_hold(life)
        if isinstance(await self.disk.frozen(), j.DaemonFrozen) and not life.frozen:
            raise Broken("a_freeze_outlives_a_restart", "it is in the journal")
        self.book.frozen = bool(life.frozen)
        async with anyio.create_task_group() as self.tasks:
            await self.tasks.start(life.run)
            for resume in resumes:
                resume()
            self.asking = 0
            yield
            if not self._killed():
                await life.drain(within=STEP_GRACE)
            else:
                self.disk.dead = True
            self.tasks.cancel_scope.cancel()
        if not self.disk.dead:
            await scribe.finish()
        self.life = None
        self.book.ends("killed" if self._killed() else "stopped")

    async def _no_reload(self) -> None:
        """The story reloads by itself."""

    def reload(self) -> None:
        """The settings have changed."""
        assert self.life is not None
        services, policy = self.services(), self.catalogue.policy(self.policy_variant)
        self.book.settings(services, policy)
        self.life.replace_services(services, policy)

    def die(self, seconds: float, reboots: bool, cleanly: bool = False) -> None:
        """The daemon's life ends, now or as soon as it is asked to."""
        if self.death is not None:
            return
        self.death = Death(seconds, reboots, cleanly)
        self._spare()
        if not cleanly:
            self.disk.dead = True
        self.died.set()

    def freeze(self, seconds: float) -> None:
        """A person freezes the daemon, and thaws it later if it still lives then."""
        assert self.life is not None
        self.control.freeze(by="ann", reason="wait")
        self.book.frozen = True
        self.book.note("frozen")
        self.frozen_until = anyio.current_time() + seconds

    def _thaws(self) -> None:
        if self.life is not None and self.life.frozen and anyio.current_time() >= self.frozen_until:
            self.book.frozen = False
            self.control.thaw(by="ann")
            self.book.note("thawed")

    def _spare(self) -> None:
        """Nothing that was arranged for a worst moment happens any more."""
        self.disk.die_in, self.disk.fail_told, self.deadly = 0, "", 0
        self.just_then.clear()

    async def suddenly(self, what: Happening, service: str) -> None:
        """What was arranged for this moment happens, to *service* if it is a matter of one."""
        if service:
            what = what.befalling(service)
        self.book.note(f"*** just then: {what}")
        await what.happen(self)

    def strikes(self) -> bool:
        """Whether the daemon is killed in the middle of the deed that begins."""
        if self.deadly and self.death is None:
            self.deadly -= 1
            return True
        return False

    def killed_in_deed(self) -> None:
        """It is, now."""
        left = self.deadly
        self.die(*self.next_death)
        self.deadly = left

    def suspended(self, seconds: float) -> None:
        """The host slept."""
        self.clock.suspended += seconds
        self.clock.wall_at_zero += seconds
        self.book.suspends(seconds)

    # ---------------------------------------------------------------------------------------------------- the story

    async def play(self) -> None:
        """The whole story, and a happy end."""
        began = anyio.current_time()
        moments = deque(self.story.moments)
        left = moments[0].pause if moments else 0.0
        while True:
            async with self._lives():
                while moments and not self._dies():
                    left = await self._wait(left)
                    if self._dies():
                        break
                    moment = moments.popleft()
                    self.book.note(f"*** {moment.happening}")
                    await moment.happening.happen(self)
                    left = moments[0].pause if moments else 0.0
                if not self._dies():
                    await self._happy_end()
            if self.death is None:
                break
            await self._down(self.death)
        await self._replays()
        self.service_seconds = len(self.things) * (anyio.current_time() - began + self.book.slept)

    async def _down(self, death: Death) -> None:
        await anyio.sleep(death.seconds)
        if death.reboots:
            self.clock.reboot()
            self.book.reboots()
            for thing in self.things.values():
                if thing.host == "localhost" and thing.random.random() < 0.5:
                    thing.heals()

    async def _wait(self, seconds: float) -> float:
        """Let time pass, or skip it; returns what is left of it when the daemon's life ends meanwhile."""
        end = anyio.current_time() + seconds
        well_since = anyio.current_time()
        while self.death is None and (left := end - anyio.current_time()) > 0:
            self._disk_heals()
            self._thaws()
            why = self._unrest() if left > SKIP_FROM else "no time to skip"
            if not why:
                await self._replays()
                jump = left - WARM_UP
                self.book.stalled(jump)
                stall(jump)
                left = WARM_UP
            if not self._well() or left <= SKIP_FROM:
                well_since = anyio.current_time()
            elif anyio.current_time() - well_since > QUIET_WITHIN:
                raise Broken("what_is_well_comes_to_rest", why)
            with anyio.move_on_after(min(left, 5.0)):
                await self.died.wait()
            self._pauses_end()
        return max(0.0, end - anyio.current_time())

    def _disk_heals(self) -> None:
        if anyio.current_time() >= self.network_back_at:
            self.uplink.route = self.uplink.answering = True
        late = self.disk.slow
        if (self.disk.error or self.disk.slow) and anyio.current_time() >= self.disk_well_at:
            self.disk.error, self.disk.slow = "", 0.0
        if self.disk.error or late or (self.life is not None and self.life.scribe.broken):
            self.book.prompt_since = max(self.book.prompt_since, anyio.current_time() + late + 6.0)

    def _well(self) -> bool:
        now = anyio.current_time()
        return all(thing.well(now) for thing in self.things.values()) and not (
            self.disk.error or self.disk.slow or not self.uplink.route or not self.uplink.answering
        )

    def _unrest(self) -> str:
        """Why time can't be skipped; empty if nothing at all is going on."""
        assert self.life is not None
        if not self._well():
            return "the world is ill"
        if self.life.scribe.broken or self.disk.writing:
            return "the journal is broken or slow"
        if self.asking:
            return "a person waits for an answer"
        if self.life.frozen:
            return "it is frozen"
        if self.life.observer.suspicion.doubts:
            return "the daemon suspects itself"
        return next((why for watched in self.life.watched.values() if (why := self._restless(watched))), "")

    def _restless(self, watched: Watched) -> str:
        belief, trouble = watched.state.belief, watched.state.trouble
        if watched.running or watched.removed:
            return f"{watched.name}: an attempt is under way"
        if belief.health is Health.PAUSED:
            return ""
        unproven = trouble is not None and trouble.unproven and self.book.policy.mode is Mode.OBSERVE
        if trouble is not None and trouble.open and not unproven:
            return f"{watched.name}: {watched.incident} is open: {trouble.held_reason}"
        if belief.health is not Health.UP or belief.failing_since is not None:
            return f"{watched.name} is {belief.health.value}"
        return f"{watched.name} has just risen" if belief.passes_in_row < watched.service.rise else ""

    # ----------------------------------------------------------------------------- promises that need the whole view

    def _pauses_hold(self, life: Supervisor) -> None:
        for name, (_, until) in self.book.pauses.items():
            if name not in life.watched or self.book.unsure_of_time:
                continue
            paused = life.watched[name].state.belief.health is Health.PAUSED
            if until > self.book.real + 1.0 and not paused:
                raise Broken(
                    "a_pause_outlives_a_restart", f"{name} was to be paused for {until - self.book.real:.1f} s more"
                )

    def _pauses_end(self) -> None:
        if self.life is None or self.book.unsure_of_time:
            return
        for name, (_, until) in self.book.pauses.items():
            watched = self.life.watched.get(name)
            late = self.book.real - until - self.book.slept
            if late > 60.0 and watched is not None and watched.state.belief.health is Health.PAUSED:
                raise Broken("a_pause_ends_by_itself", f"{name} was to be free {late:.1f} s ago")

    async def _replays(self) -> None:
        """What the journal tells is what is believed."""
        if self.life is None:
            records = [await self.disk.incident(id_) for id_ in self.book.cases]
            for incident in map(fold, records):
                assert incident is not None
                if incident.state not in {IncidentState.RECOVERED, IncidentState.WITHDRAWN}:
                    raise Broken("every_incident_ends", f"{incident.id} is {incident.state}")
                if any(attempt.outcome is None for attempt in incident.attempts):
                    raise Broken("every_attempt_ends", incident.id)
            return
        for watched in self.life.watched.values():
            if watched.incident and watched.state.trouble is not None:
                incident = fold(await self.disk.incident(watched.incident))
                if incident is not None:
                    self._replays_as(watched, incident)

    def _replays_as(self, watched: Watched, incident: Incident) -> None:
        trouble = watched.state.trouble
        assert trouble is not None
        open_ = incident.state in {IncidentState.OPEN, IncidentState.ESCALATED}
        numbers = max((attempt.attempt for attempt in incident.attempts), default=0)
        if open_ is not trouble.open:
            raise Broken("the_journal_tells_what_is_believed", f"{incident.id} is {incident.state}")
        if numbers < trouble.attempts and trouble.open:
            raise Broken("the_journal_tells_what_is_believed", f"{incident.id}: {numbers} attempts, {trouble.attempts}")

    # ------------------------------------------------------------------------------------------------------ liveness

    async def _calm(self, within: float = 2 * QUIET_WITHIN) -> bool:
        """Wait until nothing is going on; false if the daemon's life ends before, or it stays restless."""
        self._spare()
        end = anyio.current_time() + within
        while self.death is None and anyio.current_time() < end:
            self._disk_heals()
            self._thaws()
            if not self._unrest():
                return True
            with anyio.move_on_after(5.0):
                await self.died.wait()
        return False

    async def expect_cure(self, name: str, *, certain: bool) -> None:
        """Break *name* for good; its first strategy cures it, and must come."""
        if not await self._calm() or self.life is None or not self._may_be_cured(name):
            return
        thing, service = self.things[name], self.services()[name]
        strategy = service.strategies[0]
        self.must_work.add(name)
        thing.falls(Ill(how=How.FAILS, kind=FaultKind.UNREACHABLE, since=anyio.current_time(), certain=certain))
        one = service.fall * (service.confirm + service.timeout + 1.0) + waiting(strategy, certain=certain)
        bound = 2 * service.interval + one * (2 if service.depends_on else 1) + 30.0
        bound += CALM[Reason.CROWD] + 10.0 if len(self.present) >= HOSTS_MIN else 0.0
        before, began = self.book.effects, anyio.current_time()
        await self._within(bound, lambda: self.book.effects > before, "a_curable_fault_is_acted_upon_in_time")
        self.book.latencies.append(anyio.current_time() - began)
        steps = sum(step.timeout for step in strategy.steps) + strategy.verify_within + 20.0
        await self._within(steps, lambda: not self.book.latest[name].open, "what_is_cured_is_closed_in_time")
        self.must_work.discard(name)

    def _may_be_cured(self, name: str) -> bool:
        """Whether nothing stands in the way."""
        assert self.life is not None
        book, now = self.book, self.book.real
        service = self.services().get(name)
        if service is None or not service.strategies or book.unsure_of_time:
            return False
        first, last = service.strategies[0], book.latest.get(name)
        if any(now - at < service.cooldown + 60.0 for at in book.cured.values()):
            return False
        if {first.mode, book.policy.mode} != {Mode.AUTO} or self.life.consequences.demoted(name):
            return False
        if any(each.state.belief.health is Health.PAUSED for each in self.life.watched.values()):
            return False
        if last is not None and last.recovered_at is not None and now - last.recovered_at < service.stable + 60.0:
            return False
        per = max([book.policy.budget.per, *(budget.per for budget in (*service.budgets, *first.budgets))])
        overall = sum(use.real > now - book.policy.budget.per - book.slept - 60.0 for use in book.uses)
        here = any(use.real > now - per - book.slept - 60.0 and use.service.name == name for use in book.uses)
        return overall < book.policy.budget.attempts and not here

    async def expect_word(self, name: str, kind: FaultKind) -> None:
        """Break *name* so that nothing helps; people must be told, or be known to be waited for."""
        if not await self._calm() or self.life is None or name not in self.services():
            return
        watched, service = self.life.watched[name], self.services()[name]
        if watched.state.belief.health is Health.PAUSED:
            return
        ill = Ill(how=How.FAILS, kind=kind, since=anyio.current_time(), hardness=9)
        self.things[name].falls(ill)
        rungs = sum(
            rung.attempts * (waiting(rung, certain=False) + rung.backoff.max + rung.verify_within + 120.0)
            for rung in service.strategies
        )
        bound = (
            2 * service.interval + service.fall * 10.0 + service.patience + rungs + self.book.policy.budget.per + 300.0
        )
        told = {"observe", "approval", "budget"}
        bound += sum(rung.attempts for rung in service.strategies) * service.cooldown

        def known() -> bool:
            trouble = watched.state.trouble
            return trouble is not None and (trouble.escalated_at is not None or trouble.held[0] in told)

        def elsewhere() -> bool:
            return self.death is not None or any(not each.well(anyio.current_time()) for each in others)

        others = [each for each in self.things.values() if each.name != name and name not in self.plan.hard[each.name]]
        await self._within(bound, lambda: known() or elsewhere(), "people_are_told_of_what_nothing_cures")
        self.things[name].heals()

    async def _within(self, seconds: float, condition: Callable[[], bool], promise: str) -> None:
        end = anyio.current_time() + seconds
        while not condition():
            if self.death is not None:
                return
            if anyio.current_time() > end:
                raise Broken(promise, f"not within {seconds:.1f} s")
            self._disk_heals()
            await anyio.sleep(0.5)

    def _killed(self) -> bool:
        return self.death is not None and not self.death.cleanly

    def _dies(self) -> bool:
        return self.death is not None

    async def _happy_end(self) -> None:
        """All is well for long, and nobody holds the daemon back: then all must be up, and every incident closed."""
        self.book.note("*** the happy end")
        self._spare()
        self.network_back_at = 0.0
        self.disk.error, self.disk.slow = "", 0.0
        self._spare()
        self.disk.error, self.disk.slow = "", 0.0
        while self.asking and not self._dies():
            await anyio.sleep(1.0)
        if self._dies():
            return
        for thing in self.things.values():
            thing.heals()
        self.policy_variant = next(v for v in range(100) if self.catalogue.policy(v).mode is Mode.AUTO)
        self.reload()
        await self.control.resume([], by="ann")
        self.book.frozen, self.frozen_until = False, 0.0
        self._thaws()
        self.book.pauses.clear()
        await self._within(1800.0, lambda: not self._unrest(), "in_the_end_all_is_well")
        if self.death is None:
            await self._replays()


def play(story: Story) -> World:
    """The world after *story*; raises `Broken` if a promise does not hold."""
    logging.disable(logging.CRITICAL)
    world: World | None = None
    every, notice = lag.EVERY, observer.NOTICE_EVERY

    async def scene() -> None:
        nonlocal world
        world = World(story)
        try:
            await world.play()
        except BaseException as error:
            broken = _first(error)
            if broken is None:
                raise
            broken.add_note("\n".join(world.book.trace))
            raise broken from None

    lag.EVERY = story.plan.lag_every
    observer.NOTICE_EVERY = max(notice, story.plan.lag_every)
    try:
        anyio.run(scene, backend_options={"loop_factory": SimulatedLoop})
    finally:
        lag.EVERY, observer.NOTICE_EVERY = every, notice
        logging.disable(logging.NOTSET)
    assert world is not None
    return world


def _first(error: BaseException) -> Broken | None:
    """The broken promise inside of a group of errors."""
    if isinstance(error, Broken):
        return error
    inner: tuple[BaseException, ...] = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((found for each in inner if (found := _first(each)) is not None), None)
