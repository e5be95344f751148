"""
The world that is watched: things that fall ill in many ways, the check that asks them, and the deeds done to them.

A thing knows the truth. What the daemon is told of it passes through `Asking`, and what is done to it through `Deed`;
both tell the book.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import ClassVar, Protocol

import anyio

from reviver.model.actions import ActionContext, ActionError, Effect, Reconciled
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.faults import Fault, FaultKind, JsonValue

EPSILON = 1e-6  # seconds; below this two moments are the same


class How(StrEnum):
    """The way in which a thing is ill."""

    FAILS = "fails"
    HANGS = "hangs"
    SLOW = "slow"  # answers well, and often too late
    FLAPS = "flaps"  # a square wave
    CANT_TELL = "can't tell"
    RAISES = "raises"  # the check itself is broken
    CHANGES = "changes"  # from one kind to another, and back


STEADY = frozenset({How.FAILS, How.HANGS, How.CHANGES})
"""Every question fails while it lasts."""


@dataclass(eq=False, kw_only=True)
class Ill:
    """One illness of one thing."""

    how: How
    kind: FaultKind
    since: float
    until: float = math.inf
    certain: bool = False
    then: FaultKind = FaultKind.TIMEOUT
    """What it changes to."""
    period: float = 10.0
    """Of a wave, or of a change."""
    hardness: int = 0
    """The first rung that cures it; above all rungs: nothing does."""

    def failing(self, now: float) -> bool:
        """Whether it shows at this moment."""
        return self.how is not How.FLAPS or (now - self.since) % (2 * self.period) < self.period


class Listener(Protocol):
    """Who is told what is asked and done: the book."""

    def answered(self, name: str, asked_at: float, result: CheckResult | None) -> None:
        """The check of *name* has answered; ``None``: it was cut off."""
        ...

    def proof_answered(self, name: str, healthy: bool) -> None:
        """The named verification of *name* has answered."""
        ...

    def effect_begins(self, deed: Deed) -> None:
        """A step begins to have its effect."""
        ...

    def effect_ends(self, deed: Deed) -> None:
        """… and is over, however."""
        ...

    def reconciled(self, deed: Deed, became: Reconciled) -> None:
        """The daemon was told what became of a step in whose middle it died."""
        ...


@dataclass(eq=False, kw_only=True)
class Thing:
    """One thing that is watched."""

    name: str
    host: str
    random: Random
    listener: Listener
    takes: float = 0.01
    """Seconds per answer."""
    needs: list[Thing] = field(default_factory=list)
    """Without these it can't work."""
    ills: list[Ill] = field(default_factory=list)
    unproven_until: float = -math.inf
    """Until then its named verification does not pass."""
    wake: Callable[[str], None] = lambda _reason: None

    def falls(self, ill: Ill) -> None:
        self.ills.append(ill)

    def heals(self) -> None:
        self.ills.clear()
        self.unproven_until = -math.inf

    def cured(self, rung: int) -> None:
        now = anyio.current_time()
        self.ills = [ill for ill in self.ills if ill.hardness > rung or ill.since > now]

    def _present(self, now: float) -> list[Ill]:
        if self.ills and any(ill.until <= now for ill in self.ills):
            self.ills = [ill for ill in self.ills if ill.until > now]
        return self.ills

    def well(self, now: float) -> bool:
        """Whether nothing is wrong with it, and nothing will be by what has happened already."""
        return not self._present(now) and self.unproven_until <= now and all(each.well(now) for each in self.needs)

    def steadily_ill_since(self, now: float) -> float | None:
        """Since when every question must have failed; ``None`` if some need not."""
        since = [ill.since for ill in self._present(now) if ill.how in STEADY and ill.since <= now]
        latest = self._showing(now)
        return min(since) if since and latest is not None and latest.how in STEADY else None

    def _showing(self, now: float) -> Ill | None:
        return next((ill for ill in reversed(self._present(now)) if ill.since <= now and ill.failing(now)), None)

    async def answer(self, timeout: float) -> CheckResult:
        """How it is, by its own word."""
        now = anyio.current_time()
        ill = self._showing(now)
        if ill is not None:
            return await self._ill_answer(ill, now, timeout)
        broken = next((each for each in self.needs if each.steadily_ill_since(now) is not None), None)
        await anyio.sleep(self.takes)
        if broken is not None:
            return _fault(FaultKind.DEPENDENCY_REPORTED_DOWN, f"it misses {broken.name}")
        return CheckResult(latency=self.takes)

    async def _ill_answer(self, ill: Ill, now: float, timeout: float) -> CheckResult:
        match ill.how:
            case How.HANGS:
                await anyio.sleep_forever()
            case How.SLOW:
                await anyio.sleep(self.random.choice([0.01, 0.5, 1.5]) * timeout)
                return CheckResult(latency=timeout)
            case How.CANT_TELL:
                await anyio.sleep(self.takes)
                return CheckResult(latency=self.takes, unknown="its own program is missing")
            case How.RAISES:
                await anyio.sleep(self.takes)
                raise KeyError(self.name)
            case _:
                await anyio.sleep(self.takes)
        changed = ill.how is How.CHANGES and (now - ill.since) % (2 * ill.period) >= ill.period
        return _fault(ill.then if changed else ill.kind, "it is ill", certain=ill.certain)


def _fault(kind: FaultKind, message: str, *, certain: bool = False) -> CheckResult:
    return CheckResult(latency=0.01, fault=Fault(kind=kind, message=message, certain=certain))


# ------------------------------------------------------------------------------------------------------------ checks


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The check of a thing; meets ``model.checks.Check``."""

    thing: Thing
    variant: int = 0
    """Another one is another target to the daemon."""
    faults: ClassVar[frozenset[FaultKind]] = frozenset(FaultKind)
    borrows: ClassVar[frozenset[str]] = frozenset()

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[AskingProbe]:
        self.thing.wake = context.wake
        yield AskingProbe(self.thing, context.timeout)

    def hosts(self) -> frozenset[str]:
        return frozenset({self.thing.host})


@dataclass(frozen=True)
class AskingProbe:
    thing: Thing
    timeout: float

    async def ask(self, *, fresh: bool) -> CheckResult:
        asked_at = anyio.current_time()
        try:
            result = await self.thing.answer(self.timeout)
        except KeyError:
            self.thing.listener.answered(self.thing.name, asked_at, CheckResult(latency=0.0, unknown="broken"))
            raise
        except BaseException:  # cut off: by the daemon's deadline, or by its end
            self.thing.listener.answered(self.thing.name, asked_at, None)
            raise
        self.thing.listener.answered(self.thing.name, asked_at, result)
        return result

    async def evidence(self) -> Mapping[str, JsonValue]:
        if self.thing._showing(anyio.current_time()) is not None and self.thing.random.random() < 0.2:
            await anyio.sleep_forever()
        return {"seen": self.thing.name}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A strategy's named verification."""

    thing: Thing
    faults: ClassVar[frozenset[FaultKind]] = frozenset(FaultKind)
    borrows: ClassVar[frozenset[str]] = frozenset()

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Proof]:
        yield self

    def hosts(self) -> frozenset[str]:
        return frozenset()

    async def ask(self, *, fresh: bool) -> CheckResult:
        now = anyio.current_time()
        healthy = self.thing.unproven_until <= now and self.thing._showing(now) is None
        await anyio.sleep(self.thing.takes)
        self.thing.listener.proof_answered(self.thing.name, healthy)
        return CheckResult(latency=0.01) if healthy else _fault(FaultKind.BAD_BODY, "not what it was")

    async def evidence(self) -> Mapping[str, JsonValue]:
        return {}


# ------------------------------------------------------------------------------------------------------------- deeds


class Outcome(StrEnum):
    """What comes of a deed."""

    WORKS = "works"
    IN_VAIN = "in vain"
    FAILS = "fails"
    HANGS = "hangs"
    RAISES = "raises"
    LATE = "works late"
    BREAKS_ANOTHER = "works and breaks a neighbour"
    HARMS = "harms"
    HALF = "works as far as the check sees, and not for those who look closer"


class Fate(StrEnum):
    """What became of a deed in whose middle the daemon was killed, and whether that can be told."""

    DONE = "done"
    NOT_DONE = "not done"
    DONE_UNTOLD = "done, and nobody can tell"
    NOT_DONE_UNTOLD = "not done, and nobody can tell"


@dataclass(eq=False, kw_only=True)
class Deed:
    """One step of one strategy for one thing; meets ``model.actions.Action``."""

    default_after: ClassVar[float] = 20.0
    default_timeout: ClassVar[float] = 30.0

    thing: Thing
    strategy: str
    rung: int
    step: int
    effect: Effect
    takes: float
    outcomes: Callable[[Deed], Outcome]
    neighbour: Callable[[Thing], Thing]
    killed: Callable[[], bool]
    """Whether the daemon is being killed at this moment."""
    strikes: Callable[[], bool]
    """Whether it will be in the middle of this run."""
    kill: Callable[[], None]
    notes: bool = False
    runs: int = 0
    fate: Fate | None = None

    @property
    def random(self) -> Random:
        """This run's own dice, so that a shrunk story is like the whole one."""
        return Random(f"{self.thing.name}/{self.strategy}/{self.step}/{self.runs}")

    def targets(self) -> Sequence[str]:
        return (self.thing.name,)

    def describe(self) -> str:
        return f"do {self.strategy}.{self.step} to {self.thing.name}"

    async def preflight(self) -> Sequence[str]:
        return ()

    async def evidence(self) -> Mapping[str, JsonValue]:
        return {}

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        self.runs += 1
        self.fate = None
        with self._told():
            if self.notes:
                await context.note({"run": self.runs})
            outcome = self.outcomes(self)
            try:
                if self.strikes():
                    await anyio.sleep(self.takes / 2)
                    self.kill()
                await anyio.sleep(math.inf if outcome is Outcome.HANGS else self.takes)
            except BaseException:
                if self.killed():
                    self._left_behind(outcome)
                raise
            return self._comes_of_it(outcome)

    @contextmanager
    def _told(self) -> Iterator[None]:
        self.thing.listener.effect_begins(self)
        try:
            yield
        finally:
            self.thing.listener.effect_ends(self)

    def _left_behind(self, outcome: Outcome) -> None:
        self.fate = self.random.choice(list(Fate))
        if self.fate in {Fate.DONE, Fate.DONE_UNTOLD}:
            self._works(outcome)

    def _comes_of_it(self, outcome: Outcome) -> Mapping[str, JsonValue]:
        match outcome:
            case Outcome.FAILS:
                raise ActionError(f"{self.describe()}: refused")
            case Outcome.RAISES:
                raise KeyError(self.strategy)
            case _:
                self._works(outcome)
                return {"outcome": outcome.value}

    def _works(self, outcome: Outcome) -> None:
        now, thing = anyio.current_time(), self.thing
        match outcome:
            case Outcome.WORKS:
                thing.cured(self.rung)
            case Outcome.LATE:
                for ill in thing.ills:
                    if ill.hardness <= self.rung and ill.since <= now:
                        ill.until = min(ill.until, now + 5.0)
            case Outcome.BREAKS_ANOTHER:
                thing.cured(self.rung)
                other = self.neighbour(thing)
                other.falls(Ill(how=How.FAILS, kind=FaultKind.UNREACHABLE, since=now, until=now + 600.0))
            case Outcome.HALF:
                thing.cured(self.rung)
                thing.unproven_until = max(thing.unproven_until, now + 300.0)
            case Outcome.HARMS:
                thing.falls(Ill(how=How.FAILS, kind=FaultKind.BAD_STATUS, since=now, until=now + 300.0, hardness=1))
            case _:
                pass

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        told = {Fate.DONE: Reconciled.DONE, Fate.NOT_DONE: Reconciled.NOT_DONE}
        became = told.get(self.fate, Reconciled.UNKNOWN) if self.fate is not None else Reconciled.UNKNOWN
        await anyio.sleep(0.01)
        self.thing.listener.reconciled(self, became)
        return became
