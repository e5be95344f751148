"""
Everything that may happen to the world and to the daemon: one small class each.

A new one is a frozen dataclass of plain values under `@happens(WEIGHT)`: `drawn` makes one from dice, `happen` does it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import anyio

from reviver.model.control import ControlRefused
from reviver.model.faults import FaultKind
from virtual import stall

from .plan import KINDS, Plan, spread
from .things import How, Ill

if TYPE_CHECKING:
    from .play import World

TELLING = (  # noqa: SIM905
    "incident_opened approval_requested attempt_started step_started step_started step_ended verification_ended "
    "attempt_ended attempt_ended incident_recovered incident_escalated strategy_abandoned strategy_abandoned "
    "service_paused"
).split()
"""Entries at which the disk may fail, or the daemon die."""

KNOWN: list[tuple[float, type[Happening]]] = []
"""Every happening with its weight."""

H = TypeVar("H", bound="type[Happening]")


@dataclass(frozen=True)
class Dice:
    """What a happening is drawn from."""

    random: Random
    plan: Plan

    def name(self) -> str:
        return self.random.choice(self.plan.names)

    def seconds(self) -> float:
        """How long something lasts: mostly not long, for most outages end by themselves."""
        return spread(self.random, 1.0, 3600.0 if self.random.random() < 0.1 else 600.0)

    def kind(self) -> FaultKind:
        return self.random.choice([FaultKind.UNREACHABLE, *KINDS])

    def hardness(self) -> int:
        return self.random.choice([0, 0, 0, 1, 2, 9])


@dataclass(frozen=True)
class Happening:
    """Something that happens."""

    illness: ClassVar[bool] = False
    """Whether an episode may begin with it."""
    sudden: ClassVar[bool] = True
    """Whether it may happen in the middle of a write: it takes no time."""

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        raise NotImplementedError

    def befalling(self, service: str) -> Happening:
        """The same, but befalling *service* if it befalls one."""
        if "name" not in self.__dataclass_fields__:
            return self
        other = copy(self)
        object.__setattr__(other, "name", service)
        return other

    async def happen(self, world: World) -> None:
        raise NotImplementedError


def happens(weight: float) -> Callable[[H], H]:
    """Make a happening known."""

    def known(kind: H) -> H:
        KNOWN.append((weight, kind))
        return kind

    return known


# ---------------------------------------------------------------------------------------------------- illnesses


@dataclass(frozen=True)
class Illness(Happening):
    """Something befalls one thing."""

    illness: ClassVar[bool] = True
    how: ClassVar[How] = How.FAILS
    name: str
    seconds: float
    kind: FaultKind = FaultKind.UNREACHABLE
    hardness: int = 9
    period: float = 10.0

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        period = spread(dice.random, 0.5, 200.0)
        return cls(dice.name(), dice.seconds(), dice.kind(), dice.hardness(), period)

    def ill(self, now: float) -> Ill:
        return Ill(
            how=self.how,
            kind=self.kind,
            since=now,
            until=now + self.seconds,
            hardness=self.hardness,
            period=self.period,
        )

    async def happen(self, world: World) -> None:
        world.things[self.name].falls(self.ill(anyio.current_time()))


@happens(4)
@dataclass(frozen=True)
class Refuses(Illness):
    """It fails at once, with some fault."""


@happens(3)
@dataclass(frozen=True)
class Crashes(Illness):
    """It is gone beyond doubt, and whoever waits is told."""

    def ill(self, now: float) -> Ill:
        ill = super().ill(now)
        ill.kind, ill.certain = FaultKind.UNREACHABLE, True
        return ill

    async def happen(self, world: World) -> None:
        await super().happen(world)
        world.things[self.name].wake("kept connection closed")


@happens(2)
@dataclass(frozen=True)
class Hangs(Illness):
    """It accepts, and never answers."""

    how = How.HANGS


@happens(2)
@dataclass(frozen=True)
class Flaps(Illness):
    """Well and ill by turns, a square wave."""

    how = How.FLAPS


@happens(2)
@dataclass(frozen=True)
class Slows(Illness):
    """Well, but often slower than the check's patience."""

    how = How.SLOW


@happens(2)
@dataclass(frozen=True)
class ChangesKind(Illness):
    """Its fault is now this, now that."""

    how = How.CHANGES


@happens(1)
@dataclass(frozen=True)
class CantTell(Illness):
    """The check can't tell how it is."""

    how = How.CANT_TELL


@happens(1)
@dataclass(frozen=True)
class CheckRaises(Illness):
    """The check itself is broken."""

    how = How.RAISES


@happens(1)
@dataclass(frozen=True)
class Unproven(Illness):
    """The check passes, and the named verification does not."""

    illness: ClassVar[bool] = False

    async def happen(self, world: World) -> None:
        thing = world.things[self.name]
        thing.unproven_until = max(thing.unproven_until, anyio.current_time() + self.seconds)


@happens(2)
@dataclass(frozen=True)
class Partition(Happening):
    """Some hosts can't be reached from here; nothing is wrong with what runs on them."""

    illness: ClassVar[bool] = True
    names: tuple[str, ...]
    seconds: float
    hangs: bool

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        names = dice.plan.names
        some = dice.random.sample(names, dice.random.randrange((len(names) + 1) // 2, len(names) + 1))
        return cls(tuple(some), dice.seconds(), dice.random.random() < 0.5)

    async def happen(self, world: World) -> None:
        now = anyio.current_time()
        how = How.HANGS if self.hangs else How.FAILS
        world.cut_off_until = max(world.cut_off_until, now + self.seconds)
        for name in self.names:
            ill = Ill(how=how, kind=FaultKind.UNREACHABLE, since=now, until=now + self.seconds, hardness=9)
            world.things[name].falls(ill)


@happens(1)
@dataclass(frozen=True)
class FallTogether(Happening):
    """Several fail for one reason, really."""

    illness: ClassVar[bool] = True
    names: tuple[str, ...]
    seconds: float
    kind: FaultKind

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        names = dice.plan.names
        some = dice.random.sample(names, dice.random.randrange(1, len(names) + 1))
        return cls(tuple(some), dice.seconds(), dice.kind())

    async def happen(self, world: World) -> None:
        now = anyio.current_time()
        for name in self.names:
            ill = Ill(how=How.FAILS, kind=self.kind, since=now, until=now + self.seconds)
            world.things[name].falls(ill)


@happens(2)
@dataclass(frozen=True)
class FallsAgainAndAgain(Happening):
    """Each time it is brought back, it falls again before long."""

    illness: ClassVar[bool] = True
    name: str
    times: int
    every: float
    kind: FaultKind

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.name(), dice.random.randrange(2, 7), spread(dice.random, 20.0, 400.0), dice.kind())

    async def happen(self, world: World) -> None:
        now = anyio.current_time()
        for number in range(self.times):
            since = now + number * self.every
            ill = Ill(how=How.FAILS, kind=self.kind, since=since, until=since + 0.9 * self.every)
            world.things[self.name].falls(ill)


@happens(2)
@dataclass(frozen=True)
class RootFallsLater(Happening):
    """A service falls, and while its recovery is waited for, so does one that it needs."""

    illness: ClassVar[bool] = True
    name: str
    later: float
    seconds: float

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        needing = [name for name in dice.plan.names if dice.plan.needs[name]] or list(dice.plan.names)
        return cls(dice.random.choice(needing), spread(dice.random, 2.0, 100.0), dice.seconds())

    async def happen(self, world: World) -> None:
        now = anyio.current_time()
        for name, since in [(self.name, now), *((root, now + self.later) for root in world.plan.needs[self.name][:1])]:
            ill = Ill(how=How.FAILS, kind=FaultKind.UNREACHABLE, since=since, until=since + self.seconds, hardness=9)
            world.things[name].falls(ill)


@happens(2)
@dataclass(frozen=True)
class Heals(Happening):
    """Whatever is wrong with it passes."""

    name: str

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.name())

    async def happen(self, world: World) -> None:
        world.things[self.name].heals()


@happens(2)
@dataclass(frozen=True)
class MustBeCured(Happening):
    """
    The test of liveness: once all is calm, one thing breaks for good, and a strategy would cure it. Then that
    strategy must come, in time; what else happens waits for it.
    """

    sudden: ClassVar[bool] = False
    illness: ClassVar[bool] = True
    name: str
    certain: bool

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.name(), dice.random.random() < 0.4)

    async def happen(self, world: World) -> None:
        await world.expect_cure(self.name, certain=self.certain)


@happens(1)
@dataclass(frozen=True)
class NobodyCanCure(Happening):
    """
    The test that nothing is forgotten: once all is calm, one thing breaks, and nothing helps. Then people must be
    told, in time; what else happens waits for it.
    """

    sudden: ClassVar[bool] = False
    illness: ClassVar[bool] = True
    name: str
    kind: FaultKind

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.name(), dice.kind())

    async def happen(self, world: World) -> None:
        await world.expect_word(self.name, self.kind)


# ------------------------------------------------------------------------------------- the daemon's own surroundings


@happens(2)
@dataclass(frozen=True)
class Stall(Happening):
    """The daemon's process gets no time."""

    seconds: float

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(spread(dice.random, 0.2, 200.0))

    async def happen(self, world: World) -> None:
        world.book.stalled(self.seconds)
        stall(self.seconds)


@happens(1)
@dataclass(frozen=True)
class Suspension(Happening):
    """The host sleeps: the boot's clock goes on, the monotonic one does not."""

    seconds: float

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(spread(dice.random, 1.0, 86400.0))

    async def happen(self, world: World) -> None:
        world.suspended(self.seconds)


@happens(1)
@dataclass(frozen=True)
class WallClockJumps(Happening):
    """Somebody sets the date."""

    seconds: float

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        years = 10 * 365 * 86400.0
        return cls(dice.random.choice([-years, years, -3600.0, 3600.0, -1.0, 60.0]))

    async def happen(self, world: World) -> None:
        world.clock.wall_at_zero += self.seconds
        world.book.set_the_date()


@happens(1)
@dataclass(frozen=True)
class NetworkGoes(Happening):
    """This host loses its network: everything that is asked over it fails, its anchors and perhaps its route, too."""

    illness: ClassVar[bool] = True
    seconds: float
    route: bool

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.seconds(), dice.random.random() < 0.6)

    async def happen(self, world: World) -> None:
        if anyio.current_time() < world.network_back_at:
            return  # it is gone already
        far = tuple(name for name, thing in world.things.items() if thing.host != "localhost")
        await Partition(far, self.seconds, hangs=not self.route).happen(world)
        world.uplink.route, world.uplink.answering = not self.route, False
        world.network_back_at = anyio.current_time() + self.seconds
        world.book.note(f"no network, {'no' if self.route else 'with a'} route")
        world.book.network_goes(self.seconds, route=self.route)


@happens(3)
@dataclass(frozen=True)
class JournalFails(Happening):
    """The disk can't be written, or only slowly; more than ten seconds are as good as never."""

    error: str
    slow: float
    seconds: float

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        error = dice.random.choice(["", "the disk is full"])
        slow = dice.random.choice([0.0, 0.01, 1.0, 4.0, 30.0]) if error else dice.random.choice([0.01, 0.5, 4.0, 30.0])
        return cls(error, slow, spread(dice.random, 1.0, 600.0))

    async def happen(self, world: World) -> None:
        world.disk.error, world.disk.slow = self.error, self.slow
        world.disk_well_at = anyio.current_time() + self.seconds


@happens(2)
@dataclass(frozen=True)
class Reload(Happening):
    """New settings: some services go or come, some change, the daemon's own policy may."""

    names: tuple[str, ...]
    variants: tuple[tuple[str, int], ...]
    policy: int

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        names = dice.plan.names
        fewer = dice.random.random() < 0.3
        some = dice.random.sample(names, dice.random.randrange(1, len(names) + 1)) if fewer else list(names)
        variants = tuple((name, dice.random.randrange(4)) for name in some if dice.random.random() < 0.4)
        return cls(tuple(sorted(some, key=names.index)), variants, dice.random.randrange(4))

    async def happen(self, world: World) -> None:
        world.present = self.names
        world.variants.update(self.variants)
        world.policy_variant = self.policy
        world.reload()


@happens(2)
@dataclass(frozen=True)
class JournalFailsAt(Happening):
    """The disk is full just when the journal is to tell of something."""

    sudden: ClassVar[bool] = False
    told: str
    seconds: float

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.random.choice(TELLING), spread(dice.random, 1.0, 60.0))

    async def happen(self, world: World) -> None:
        world.disk.fail_told, world.disk.fail_for = self.told, self.seconds


@dataclass(frozen=True)
class End(Happening):
    """The daemon's life ends, and the next begins after *seconds*, perhaps after a boot of the host."""

    seconds: float
    reboots: bool

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        down_for = dice.random.choice([0.0, 0.0, 2.0, spread(dice.random, 1.0, 3600.0)])
        return cls(down_for, dice.random.random() < 0.15)


@happens(4)
@dataclass(frozen=True)
class Kill(End):
    """SIGKILL, now."""

    async def happen(self, world: World) -> None:
        world.die(self.seconds, reboots=self.reboots, cleanly=False)


@happens(3)
@dataclass(frozen=True)
class KillAtWrite(End):
    """SIGKILL when the journal is written next, just before or just after it is on disk."""

    nth: int = 1
    after: bool = False

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        end = super().drawn(dice)
        return cls(end.seconds, end.reboots, dice.random.choice([1, 1, 2, 3, 5]), dice.random.random() < 0.5)

    async def happen(self, world: World) -> None:
        world.disk.die_in, world.disk.die_after = self.nth, self.after
        world.next_death = (self.seconds, self.reboots)


@happens(2)
@dataclass(frozen=True)
class KillInDeed(End):
    """SIGKILL in the middle of the next step, and perhaps again when it is taken up."""

    times: int = 1

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        end = super().drawn(dice)
        return cls(min(end.seconds, 60.0), end.reboots, dice.random.choice([1, 1, 2]))

    async def happen(self, world: World) -> None:
        world.deadly = self.times
        world.next_death = (self.seconds, self.reboots)


@happens(1)
@dataclass(frozen=True)
class Stop(End):
    """SIGTERM, and a start."""

    async def happen(self, world: World) -> None:
        world.die(self.seconds, reboots=self.reboots, cleanly=True)


# -------------------------------------------------------------------------------------------------------- people


@dataclass(frozen=True)
class Person(Happening):
    """A person's order to the daemon; it may be refused."""

    name: str

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.name())

    async def happen(self, world: World) -> None:
        life = world.life
        if life is None or self.name not in life.watched:
            return
        world.asking += 1
        world.tasks.start_soon(self._asked, world)

    async def _asked(self, world: World) -> None:
        with suppress(ControlRefused):
            await self.ask(world)
        world.asking -= 1

    async def ask(self, world: World) -> None:
        raise NotImplementedError


@happens(2)
@dataclass(frozen=True)
class Pauses(Person):
    """Hands off."""

    seconds: float = 60.0

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls(dice.name(), spread(dice.random, 5.0, 86400.0))

    async def ask(self, world: World) -> None:
        said_at = anyio.current_time()  # it counts from then on, however long it takes to be written
        await world.control.pause([self.name], by="ann", reason="work", seconds=self.seconds)
        world.book.paused(self.name, self.seconds - (anyio.current_time() - said_at))


@happens(1)
@dataclass(frozen=True)
class Resumes(Person):
    """Hands on again."""

    async def ask(self, world: World) -> None:
        if await world.control.resume([self.name], by="ann"):
            world.book.resumed(self.name)


@happens(3)
@dataclass(frozen=True)
class Orders(Person):
    """`reviver recover`, perhaps twice at once: that is also how a person approves."""

    strategy: str | None = None
    times: int = 1

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        strategy = dice.random.choice([None, None, None, "rung0", "rung1"])
        return cls(dice.name(), strategy, dice.random.choice([1, 1, 2]))

    async def happen(self, world: World) -> None:
        for _ in range(self.times):
            await super().happen(world)

    async def ask(self, world: World) -> None:
        await world.control.recover(self.name, by="ann", strategy=self.strategy, dry_run=False)


@happens(2)
@dataclass(frozen=True)
class Approves(Person):
    """A person looks at what waits for approval, and approves it after a while; perhaps twice, perhaps too late."""

    after: float = 0.0
    again_after: float | None = None

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        after, again_after = dice.random.choice([0.0, 5.0, 30.0, 900.0]), dice.random.choice([None, 0.0, 30.0, 120.0])
        return cls(dice.name(), after, again_after)

    async def ask(self, world: World) -> None:
        tokens = [view.token for view in world.control.approvals() if view.service == self.name]
        await anyio.sleep(self.after)
        for token in tokens:
            await world.control.approve(self.name, by="ann", token=token)
            if self.again_after is not None:
                await anyio.sleep(self.again_after)
                await world.control.approve(self.name, by="ann", token=token)


@happens(1)
@dataclass(frozen=True)
class Denies(Person):
    """Not this."""

    async def ask(self, world: World) -> None:
        await world.control.deny(self.name, by="ann", reason="no")


@happens(1)
@dataclass(frozen=True)
class Freezes(Person):
    """Nothing more is to be done to anything, for a while."""

    seconds: float = 60.0

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        return cls("", spread(dice.random, 5.0, 3600.0))

    async def happen(self, world: World) -> None:
        world.freeze(self.seconds)


# --------------------------------------------------------------------------------------------- the worst moment


@happens(8)
@dataclass(frozen=True)
class JustThen(Happening):
    """Something happens just when the journal has told of something, and to the very service that it tells of."""

    told: str
    what: Happening

    @classmethod
    def drawn(cls, dice: Dice) -> Self:
        fitting = [(weight, kind) for weight, kind in KNOWN if kind.sudden and kind.__name__ not in dice.plan.off]
        kind: type[Happening] = _one_of(dice.random, fitting) if fitting else Stall
        if dice.random.random() < 0.3 and "Kill" not in dice.plan.off:
            kind = Kill
        return cls(dice.random.choice(TELLING), kind.drawn(dice))

    async def happen(self, world: World) -> None:
        world.just_then[self.told] = self.what


# --------------------------------------------------------------------------------------------------------- story


@dataclass(frozen=True)
class Moment:
    """Something that happens so many seconds after what happened before."""

    pause: float
    happening: Happening

    def __str__(self) -> str:
        return f"+{self.pause:.10g} s: {self.happening}"


@dataclass(frozen=True)
class Story:
    """A seed's plan and what happens in it."""

    plan: Plan
    moments: tuple[Moment, ...] = field(default=())


def story_of(plan: Plan) -> Story:
    """The story of *plan*: episodes with quiet between them."""
    random = Random(f"{plan.seed}/story")
    dice = Dice(random, plan)
    known = [(weight, kind) for weight, kind in KNOWN if kind.__name__ not in plan.off]
    ills = [(weight, kind) for weight, kind in known if kind.illness] or [(1.0, Refuses)]
    moments: list[Moment] = []
    for _ in range(random.randrange(3, 16)):
        moments.append(Moment(random.expovariate(1 / plan.between), _one_of(random, ills).drawn(dice)))
        for _ in range(random.choice([0, 0, 1, 2, 4, 8])):
            pause = random.choice([0.0, 0.3, 2.0, 10.0, 30.0, 60.0, random.uniform(0.0, 300.0)])
            moments.append(Moment(pause, _one_of(random, known).drawn(dice)))
    return Story(plan, tuple(moments))


def _one_of(random: Random, weighted: list[tuple[float, type[Happening]]]) -> type[Happening]:
    return random.choices([kind for _, kind in weighted], [weight for weight, _ in weighted])[0]
