"""
Stand-ins for the world around the supervisor: a clock on the loop's own time, a journal in memory, things that fall
ill when a test says so, and actions that do what a test says.

They meet the same protocols as the real ones, and the journal passes the same tests as the one on disk.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import anyio

from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.actions import Action, ActionContext, ActionError, Effect, Reconciled
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.events import Checked, Event, LoopLagged
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import Redactor
from reviver.model.services import Backoff, DaemonPolicy, Jitter, Mode, Service, Step, Strategy, Verification
from reviver.recovery.run import Recovery
from reviver.supervisor.control import SupervisorControl
from reviver.supervisor.restore import restore
from reviver.supervisor.supervisor import Supervisor

T = TypeVar("T")

NOON = 1_750_000_000.0  # Unix time at second 0 of the virtual loop


class FakeClock:
    """The loop's time, with a wall clock, suspensions and boots that a test may change."""

    def __init__(self) -> None:
        self.wall_at_zero = NOON
        self.suspended = 100.0
        self.boot = "first boot"

    def monotonic(self) -> float:
        return anyio.current_time()

    def boottime(self) -> float:
        return self.monotonic() + self.suspended

    def boot_id(self) -> str:
        return self.boot

    def wall(self) -> float:
        return self.monotonic() + self.wall_at_zero

    def reboot(self) -> None:
        """Another boot, whose clock starts at zero now."""
        self.boot += " again"
        self.suspended = -self.monotonic()


# ----------------------------------------------------------------------------------------------------------- journal


@dataclass(frozen=True, kw_only=True)
class Written:
    entry: j.Entry
    at: float
    boot_id: str
    boot_s: float


class FakeUplink:
    """A network that a test takes away."""

    def __init__(self) -> None:
        self.route = True
        self.answering = True
        """Whether the anchors answer."""
        self.asked: list[float] = []
        """When the anchors were asked."""

    def has_default_route(self) -> bool:
        return self.route

    async def any_answers(self, addresses: Sequence[str]) -> bool:
        self.asked.append(anyio.current_time())
        await anyio.sleep(0.01 if self.answering else 2.0)
        return self.answering


class MemoryJournal:
    """A journal in memory; meets ``model.journal.Journal``. What it holds outlives a killed daemon."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.written: list[Written] = []
        self.error = ""
        """While set, nothing can be written."""
        self.slow = 0.0
        """Seconds that each write takes."""
        self.stop_at: int | None = None
        """What would make it hold more entries than this is held for ever, as if the daemon were killed there."""
        self.stopped = anyio.Event()

    @property
    def entries(self) -> list[j.Entry]:
        return [each.entry for each in self.written]

    async def append(self, *entries: j.Entry) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(self.slow)
        if self.error:
            raise j.JournalError(self.error)
        if self.stop_at is not None and len(self.written) + len(entries) > self.stop_at:
            self.stopped.set()
            await anyio.sleep_forever()
        for entry in entries:
            now = self.clock
            self.written.append(Written(entry=entry, at=now.wall(), boot_id=now.boot_id(), boot_s=now.boottime()))

    async def unfinished(self) -> Mapping[str, Sequence[j.Record]]:
        latest = {w.entry.service: w.entry.incident for w in self.written if isinstance(w.entry, j.IncidentOpened)}
        gone = {w.entry.incident for w in self.written if isinstance(w.entry, j.IncidentWithdrawn)}
        return {name: await self.incident(id_) for name, id_ in latest.items() if id_ not in gone}

    async def attempts_since(self, seconds: float) -> Sequence[j.Record]:
        acted = {(e.incident, e.attempt) for e in self.entries if isinstance(e, j.StepStarted)}
        records = [
            self._record(w)
            for w in self.written
            if isinstance(w.entry, j.AttemptStarted) and (w.entry.incident, w.entry.attempt) in acted
        ]
        return [record for record in records if record.age <= seconds]

    async def falls_since(self, seconds: float) -> Sequence[j.Record]:
        falls = [w for w in self.written if isinstance(w.entry, j.IncidentOpened | j.IncidentReopened)]
        return [record for record in map(self._record, falls) if record.age <= seconds]

    async def frozen(self) -> j.DaemonFrozen | None:
        for entry in reversed(self.entries):
            if isinstance(entry, j.DaemonThawed):
                return None
            if isinstance(entry, j.DaemonFrozen) and not entry.by.startswith("file "):
                return entry
        return None

    async def history_since(self, seconds: float) -> Sequence[j.Record]:
        kinds = (
            j.IncidentOpened
            | j.IncidentReopened
            | j.AttemptStarted
            | j.StepStarted
            | j.AttemptEnded
            | j.StrategyPromoted
            | j.CauseFound
        )
        records = [self._record(w) for w in self.written if isinstance(w.entry, kinds)]
        return [record for record in records if record.age <= seconds]

    async def demotions(self) -> Sequence[j.StrategyDemoted]:
        found: dict[tuple[str, str], j.StrategyDemoted] = {}
        for entry in self.entries:
            if isinstance(entry, j.StrategyDemoted):
                found[entry.service, entry.strategy] = entry
            elif isinstance(entry, j.StrategyPromoted):
                found.pop((entry.service, entry.strategy), None)
        return list(found.values())

    async def pauses(self) -> Mapping[str, j.Record]:
        found: dict[str, j.Record] = {}
        for written in self.written:
            if isinstance(written.entry, j.ServicePaused):
                found[written.entry.service] = self._record(written)
            elif isinstance(written.entry, j.ServiceResumed):
                found.pop(written.entry.service, None)
        return {name: record for name, record in found.items() if j.pause_left(record) > 0}

    async def incidents(self, *, limit: int, service: str | None = None) -> Sequence[Sequence[j.Record]]:
        opened = [e for e in self.entries if isinstance(e, j.IncidentOpened) and service in {None, e.service}]
        return [await self.incident(e.incident) for e in reversed(opened)][:limit]

    async def incident(self, incident: str) -> Sequence[j.Record]:
        return [self._record(w) for w in self.written if incident and w.entry.incident == incident]

    def _record(self, written: Written) -> j.Record:
        clock = self.clock
        same = written.boot_id == clock.boot_id()
        age = clock.boottime() - written.boot_s if same else clock.wall() - written.at
        return j.Record(entry=written.entry, at=written.at, age=max(0.0, age))


# ------------------------------------------------------------------------------------------------------------ checks

HANG = object()
"""The answer that never comes."""
Answer = FaultKind | Fault | str | Exception | object | None
"""What a target answers: well (``None``), ill, "can't tell" (a text), an exception of the check's own, or ``HANG``."""


class Target:
    """A thing that a test makes ill and well."""

    def __init__(self, name: str = "db") -> None:
        self.name = name
        self.takes = 0.01  # seconds per answer
        self.asked: list[float] = []
        self.fresh: list[bool] = []
        self.opened = 0
        self.hosts: frozenset[str] = frozenset()
        self.seen: Mapping[str, JsonValue] | Exception | object = {}
        """What its evidence is."""
        self.wake: Callable[[str], None] = lambda _reason: None
        self._answers: list[tuple[float, Answer]] = [(float("-inf"), None)]

    def becomes(self, answer: Answer, *, at: float | None = None) -> None:
        """Answer *answer* from now on, or from the moment *at* on, and forget what was to come after that."""
        moment = anyio.current_time() if at is None else at
        self._answers = [*((t, a) for t, a in self._answers if t < moment), (moment, answer)]

    def will(self, *answers: tuple[float, Answer]) -> None:
        """Answer each answer from its moment on."""
        for at, answer in answers:
            self.becomes(answer, at=at)

    @property
    def answer(self) -> Answer:
        now = anyio.current_time()
        return next(answer for at, answer in reversed(self._answers) if at <= now)

    @property
    def well(self) -> bool:
        return self.answer is None

    def check(self) -> "Scripted":
        return Scripted(target=self)


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """The check of a target."""

    target: Target
    variant: str = ""
    faults: ClassVar[frozenset[FaultKind]] = frozenset(FaultKind)
    borrows: ClassVar[frozenset[str]] = frozenset()

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator["ScriptedProbe"]:
        self.target.opened += 1
        self.target.wake = context.wake
        yield ScriptedProbe(self.target)

    def hosts(self) -> frozenset[str]:
        return self.target.hosts


class ScriptedProbe:
    def __init__(self, target: Target) -> None:
        self._target = target

    async def ask(self, *, fresh: bool) -> CheckResult:
        target = self._target
        target.asked.append(anyio.current_time())
        target.fresh.append(fresh)
        answer = target.answer
        await anyio.sleep(float("inf") if answer is HANG else target.takes)
        return answered(answer, latency=target.takes)

    async def evidence(self) -> Mapping[str, JsonValue]:
        return await shown(self._target.seen)


async def shown(seen: Mapping[str, JsonValue] | Exception | object) -> Mapping[str, JsonValue]:
    """What is *seen*: a mapping, an exception, or ``HANG``."""
    if isinstance(seen, Exception):
        raise seen
    if not isinstance(seen, Mapping):
        await anyio.sleep_forever()
    assert isinstance(seen, Mapping)
    return seen


def answered(answer: Answer, *, latency: float = 0.01) -> CheckResult:
    """The check result that says *answer*."""
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, FaultKind):
        return CheckResult(latency=latency, fault=Fault(kind=answer, message=f"it is {answer}"))
    if isinstance(answer, Fault):
        return CheckResult(latency=latency, fault=answer)
    return CheckResult(latency=latency, unknown=answer if isinstance(answer, str) else None)


# ----------------------------------------------------------------------------------------------------------- actions


@dataclass(eq=False, kw_only=True)
class Act:
    """An action that does what a test says, and counts."""

    default_after: ClassVar[float] = 20.0
    default_timeout: ClassVar[float] = 60.0

    name: str = "act"
    does: Callable[[], object] = lambda: None
    takes: float = 0.5  # seconds
    error: str = ""
    raises: Exception | None = None
    effect: Effect = Effect.IDEMPOTENT
    upon: Sequence[str] = ("the target",)
    problems: Sequence[str] = ()
    became: Reconciled | Exception = Reconciled.UNKNOWN
    note: Mapping[str, JsonValue] | None = None
    result: Mapping[str, JsonValue] = field(default_factory=dict)
    seen: Mapping[str, JsonValue] | Exception | object = field(default_factory=dict)
    """What its evidence is."""
    runs: list[float] = field(default_factory=list)
    """When it was started."""
    done: list[float] = field(default_factory=list)
    """When it had its effect."""
    reconciled: list[Sequence[Mapping[str, JsonValue]]] = field(default_factory=list)

    def targets(self) -> Sequence[str]:
        return self.upon

    def describe(self) -> str:
        return f"do {self.name}"

    async def preflight(self) -> Sequence[str]:
        return self.problems

    async def evidence(self) -> Mapping[str, JsonValue]:
        return await shown(self.seen)

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        self.runs.append(anyio.current_time())
        if self.note is not None:
            await context.note(self.note)
        await anyio.sleep(self.takes)
        if self.raises is not None:
            raise self.raises
        if self.error:
            raise ActionError(self.error)
        self.done.append(anyio.current_time())
        self.does()
        return self.result

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        self.reconciled.append(notes)
        if isinstance(self.became, Exception):
            raise self.became
        return self.became


def heals(target: Target, *, after: float = 0.0, effect: Effect = Effect.IDEMPOTENT, name: str = "act") -> Act:
    """An action that makes *target* well, *after* seconds once it is done."""
    return Act(name=name, effect=effect, does=lambda: target.becomes(None, at=anyio.current_time() + after))


# -------------------------------------------------------------------------------------------- services, in few words

NO_JITTER = Backoff(initial=10.0, factor=2.0, max=60.0, jitter=Jitter.NONE)


def strategy(
    *actions: Action,
    name: str = "restart",
    faults: Iterable[FaultKind] = (FaultKind.UNREACHABLE,),
    after: float | None = 0.0,
    attempts: int = 3,
    backoff: Backoff = NO_JITTER,
    mode: Mode = Mode.AUTO,
    verify: Iterable[Target] = (),
    verify_within: float = 10.0,
    timeout: float = 30.0,
    demote_after: int | None = None,
) -> Strategy:
    """A strategy of *actions*, which acts at once unless told."""
    return Strategy(
        name=name,
        faults=frozenset(faults),
        steps=tuple(Step(kind=f"fake.{n}", action=action, timeout=timeout) for n, action in enumerate(actions)),
        after=after,
        attempts=attempts,
        backoff=backoff,
        mode=mode,
        verify=tuple(Verification(kind="scripted", check=each.check(), timeout=2.0) for each in verify),
        verify_within=verify_within,
        demote_after=demote_after,
    )


def service(target: Target, *strategies: Strategy, **settings: Any) -> Service:
    """The service *target* with a ladder of *strategies*."""
    plain = Service(name=target.name, kind="scripted", check=target.check(), strategies=strategies, settle=0.0)
    return replace(plain, **settings)


# ------------------------------------------------------------------------------------------------------------ a stage


class Recorder:
    """A subscriber that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []

    def __call__(self, event: Event) -> None:
        self.events.append((anyio.current_time(), event))

    def of(self, kind: type[T]) -> list[T]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def at(self, kind: type[Event]) -> list[float]:
        """When each event of *kind* came."""
        return [at for at, event in self.events if isinstance(event, kind)]

    def told(self) -> list[str]:
        """The types of all events but the everyday ones, in order."""
        return [type(event).__name__ for _, event in self.events if not isinstance(event, Checked | LoopLagged)]


class Life(Supervisor):
    """One life of the daemon, without its outer skin."""

    control: SupervisorControl
    recorder: Recorder

    def health(self, name: str = "db") -> str:
        """What is believed of the service *name*."""
        return self.watched[name].state.belief.health.value


class Stage:
    """Where scenes are played: the clock, the journal, and as many lives of the daemon as a test wants."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.journal = MemoryJournal(self.clock)
        self.recorder = Recorder()
        self.uplink = FakeUplink()
        self.random = 0.5
        self.redact = Redactor()
        self.policy = DaemonPolicy()

    @property
    def entries(self) -> list[str]:
        """The types of what the journal holds, in order."""
        return [entry.type for entry in self.journal.entries]

    def of(self, kind: type[T]) -> list[T]:
        """The journal's entries of *kind*."""
        return [entry for entry in self.journal.entries if isinstance(entry, kind)]

    def supervisor(self, services: Iterable[Service], policy: DaemonPolicy) -> Life:
        """A supervisor with real recovery, not yet running."""
        scribe = Scribe(self.journal, self.recorder)
        life = Life(
            services={each.name: each for each in services},
            policy=policy,
            clock=self.clock,
            random=lambda: self.random,
            scribe=scribe,
            emit=self.recorder,
            recoverer=Recovery(scribe=scribe, clock=self.clock, redact=self.redact),
            redact=self.redact,
            uplink=self.uplink,
        )
        life.control = SupervisorControl(life, _no_reload)
        life.recorder = self.recorder
        return life

    @asynccontextmanager
    async def life(self, *services: Service, policy: DaemonPolicy | None = None) -> AsyncIterator[Life]:
        """A life of the daemon that watches *services*; at the end of the block it is cancelled, as on SIGTERM."""
        supervisor = self.supervisor(services, policy or self.policy)
        resumes = await restore(supervisor, self.journal)
        async with anyio.create_task_group() as tasks:
            await tasks.start(supervisor.run)
            for resume in resumes:
                resume()
            yield supervisor
            tasks.cancel_scope.cancel()
        if self.journal.stop_at is None:
            await supervisor.scribe.finish()

    @asynccontextmanager
    async def killed_life(self, *services: Service, policy: DaemonPolicy | None = None) -> AsyncIterator[Life]:
        """The same, but at the end of the block it is killed: nothing more is written."""
        async with self.life(*services, policy=policy) as supervisor:
            yield supervisor
            self.journal.stop_at = len(self.journal.written)
        self.journal.stop_at = None
        self.journal.stopped = anyio.Event()


async def _no_reload() -> None:
    """There are no settings to read."""


async def until(condition: Callable[[], object], *, within: float = 600.0, every: float = 0.01) -> float:
    """Wait until *condition* holds; returns the time. Looks at it *every* so many seconds of virtual time."""
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110  a condition of the test, not an event of the code
            await anyio.sleep(every)
    return anyio.current_time()
