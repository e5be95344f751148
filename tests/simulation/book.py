"""
The book: what has happened, kept beside the daemon and without its code, for the promises to be held against.

It is told of every answer, effect, attempt, journal entry and order when it happens. `promises` reads it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fakes import FakeClock
from reviver.model import journal as j
from reviver.model.actions import Effect, Reconciled
from reviver.model.checks import CheckResult
from reviver.model.events import Event, HealthChanged
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.incidents import REVIVER
from reviver.model.ports import AttemptResult, Order
from reviver.model.services import DaemonPolicy, Service, Strategy

from .things import Deed, Thing

TRACE = 60  # events that a failure shows
ANSWERS = 400  # answers kept of each service


class Broken(BaseException):
    """A promise does not hold. No wall of the daemon's around other people's code may swallow that."""

    def __init__(self, promise: str, told: str) -> None:
        super().__init__(f"{promise}: {told}")
        self.promise = promise
        self.told = told


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a check."""

    asked_at: float
    answered_at: float
    fault: Fault | None
    unknown: bool
    void: bool | None
    """Whether it is a failure that the daemon's own lateness may have forged; ``None``: it may say either."""

    @property
    def passed(self) -> bool:
        return self.fault is None and not self.unknown


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt, as it was ordered, begun and ended."""

    order: Order
    began_at: float
    real: float
    policy: DaemonPolicy
    life: int
    acted: bool = False
    result: AttemptResult | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.order.incident, self.order.attempt

    @property
    def automatic(self) -> bool:
        return self.order.by == REVIVER


@dataclass(slots=True, eq=False)
class Use:
    """An automatic attempt that had an effect."""

    real: float
    wall: float
    boot: str
    service: Service
    strategy: str
    policy: DaemonPolicy


@dataclass(slots=True, eq=False)
class Case:
    """One incident, as the journal told of it."""

    id: str
    service: str
    opened_at: float
    recovered_at: float | None = None
    """Elapsed seconds, suspensions included."""
    withdrawn: bool = False
    escalated_at: float | None = None
    told: dict[str, int] = field(default_factory=dict)
    """Reasons of hand-overs since something else happened, and in which life."""
    counted: Counter[str] = field(default_factory=Counter)
    """Attempts by strategy that count in the ladder, ever."""
    since_reset: Counter[str] = field(default_factory=Counter)
    """The same since the ladder was begun anew after a cool-down."""
    numbers: list[int] = field(default_factory=list)
    not_before: float = float("-inf")
    """Elapsed seconds before which backoff allows no attempt."""
    unclear: bool = False
    """Whether something destructive was begun and not seen to end well."""
    unproven: str = ""
    given_up: set[str] = field(default_factory=set)
    """Strategies that are passed over."""
    cured_by: str = ""
    cooled_down: bool = False
    """Whether the ladder was begun anew since it fell last."""
    ever_given_up: set[str] = field(default_factory=set)

    @property
    def open(self) -> bool:
        return self.recovered_at is None and not self.withdrawn


class Book:
    """What has happened."""

    def __init__(self, clock: FakeClock, things: Mapping[str, Thing], *, lag_every: float) -> None:  # noqa: PLR0915  a book has many pages
        self.clock = clock
        self.things = things
        self.lag_every = lag_every
        self.services: Mapping[str, Service] = {}
        self.policy = DaemonPolicy()
        self.trace: deque[str] = deque(maxlen=TRACE)
        self.digest = hashlib.sha256()
        self.life = 0
        self.slept = 0.0
        """Seconds that the host was suspended."""
        self.answers: dict[str, deque[Answer]] = {}
        """Since the last reason to judge a service afresh."""
        self.proofs: dict[str, list[tuple[float, bool]]] = {}
        self.stalls: deque[tuple[float, float]] = deque(maxlen=50)
        self.running: dict[str, Attempt] = {}
        self.acting: dict[str, Deed] = {}
        self.last_effect_end: dict[str, float] = {}
        self.licences: dict[str, j.StepStarted] = {}
        """The step of each service whose start is on disk, and which has not begun."""
        self.done: Counter[tuple[str, int, int]] = Counter()
        """How often each step of each attempt has begun, less those that are known not to have happened."""
        self.uses: list[Use] = []
        self.used: set[tuple[str, int]] = set()
        """The attempts that made these."""
        self.claims: dict[tuple[str, int], Use] = {}
        """Attempts that count in a budget if only their word is taken: the start of a step is on disk."""
        self.began: dict[tuple[str, int], float] = {}
        self.cases: dict[str, Case] = {}
        self.latest: dict[str, Case] = {}
        """The newest incident of each service."""
        self.pauses: dict[str, tuple[float, float]] = {}
        """From when until when each service is paused, in elapsed seconds."""
        self.demoted: set[tuple[str, str]] = set()
        """Strategies that have lost trust, by their services."""
        self.replaced_at: dict[str, float] = {}
        self.reloaded_at = float("-inf")
        self.dated_at = float("-inf")
        self.frozen = False
        self.vantage_at = float("-inf")
        """When the tie-break last said that what fails does fail."""
        self.life_at = 0.0
        self.offline: tuple[float, float] = (float("inf"), float("-inf"))
        """From when until when this host has no default route."""
        self.suspended_at = float("-inf")
        self.requests: dict[str, tuple[j.ApprovalRequested, float]] = {}
        """What each service's people were last asked for, and when."""
        self.cured: dict[str, float] = {}
        """When each service was last cured by a strategy, in elapsed seconds."""
        self.falls: dict[str, list[float]] = {}
        """When each service fell, in elapsed seconds."""
        self.flapping: dict[str, str] = {}
        """By incident, what brought it back when it was seen to flap."""
        self.disk_failed = False
        self.boots = 0
        self.dates = 0
        self.prompt_since = float("-inf")
        """Since when entries are on disk as soon as they are told."""
        self.ended: set[tuple[str, int]] = set()
        self.effects = self.kills = self.attempts = 0
        self.latencies: list[float] = []
        """Seconds from a lasting fault to the first effect."""
        self.reasons: Counter[str] = Counter()

    def begin(self) -> None:
        """All things are there."""
        self.answers = {name: deque(maxlen=ANSWERS) for name in self.things}
        self.proofs = {name: [] for name in self.things}

    # ------------------------------------------------------------------------------------------------- time

    @property
    def now(self) -> float:
        """Seconds on the monotonic axis."""
        return self.clock.monotonic()

    @property
    def real(self) -> float:
        """Seconds that have really passed, suspensions included."""
        return self.clock.monotonic() + self.slept

    @property
    def unsure_of_time(self) -> bool:
        """Whether the daemon can't know how long ago something was: the date of another boot was set meanwhile."""
        return bool(self.boots and self.dates)

    @property
    def prompt(self) -> bool:
        """Whether what is on disk now was told just now."""
        return self.now > self.prompt_since

    def note(self, text: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.now:14.3f}  {text}")

    def _hold(self, happened: str, subject: Any) -> None:
        from . import promises

        for promise in promises.of(happened):
            told = promise(self, subject)
            if told:
                raise Broken(promise.__name__, told)

    # -------------------------------------------------------------------------------------- the daemon's lives

    def lives(self, services: Mapping[str, Service], policy: DaemonPolicy) -> None:
        """A life of the daemon begins."""
        self.life += 1
        self.life_at = self.now
        self.disk_failed = False
        self.settings(services, policy)
        for answers in self.answers.values():
            answers.clear()
        for use in self.uses:  # from another boot, only the date can tell how long ago
            if use.boot != self.clock.boot_id():
                use.real = min(use.real, self.real - max(0.0, self.clock.wall() - use.wall))
        self.note(f"life {self.life} begins")

    def ends(self, how: str) -> None:
        """It ends; what it was doing has no end of its own."""
        self.running.clear()
        self.licences.clear()
        self.kills += how == "killed"
        self.note(how)

    def settings(self, services: Mapping[str, Service], policy: DaemonPolicy) -> None:
        """What the daemon is told to do from now on."""
        for name in self.things:
            old, new = self.services.get(name), services.get(name)
            if old is None or new is None or old.check != new.check:
                self.answers[name].clear()
                self.replaced_at[name] = self.real
        self.services, self.policy = services, policy
        self.reloaded_at = self.now

    def stalled(self, seconds: float) -> None:
        """The daemon's process gets no time for so long, from now on."""
        self.stalls.append((self.now, self.now + seconds))
        self.note(f"stalled for {seconds:.10g} s")

    def suspends(self, seconds: float) -> None:
        """The host was suspended for so long, just now."""
        self.slept += seconds
        if seconds >= 1.0:
            self.suspended_at = self.now
        self.stalls.append((self.now, self.now))
        self.note(f"suspended for {seconds:.10g} s")

    def network_goes(self, seconds: float, *, route: bool) -> None:
        """This host has no network for so long, from now on."""
        if route and self.now >= self.offline[1]:
            self.offline = (self.now, self.now + seconds)

    def set_the_date(self) -> None:
        """The wall clock has jumped."""
        self.dates += 1
        self.dated_at = self.now

    def reboots(self) -> None:
        """Another boot of the host."""
        self.boots += 1
        self.note("rebooted")

    # ------------------------------------------------------------------------------------------- answers, deeds

    def answered(self, name: str, asked_at: float, result: CheckResult | None) -> None:
        """The check of *name* has answered; ``None``: it was cut off."""
        service = self.services.get(name)
        if service is None:
            return
        if result is None:
            if self.now - asked_at < service.timeout:  # cut off by the daemon's own end, or by new settings
                return
            result = CheckResult(latency=0.0, fault=Fault(kind=FaultKind.TIMEOUT, message="cut off"))
        answer = Answer(asked_at, self.now, result.fault, result.unknown is not None, self._void(service, asked_at))
        answers = self.answers[name]
        if not answers or not answer.passed or not answers[-1].passed:
            shown = "passes" if answer.passed else "can't tell" if answer.fault is None else answer.fault.kind.value
            self.note(f"{name} {shown}{' (void)' if answer.void and answer.fault else ''}")
        answers.append(answer)

    def _void(self, service: Service, asked_at: float) -> bool | None:
        """Whether the daemon was late while the question was under way; ``None``: by so little that it may not know."""
        share = 0.25 * service.timeout
        worst, sure = 0.0, False
        for begun, ended in reversed(self.stalls):
            if ended < asked_at - self.lag_every - EPSILON_LAG:
                break
            lag = ended - begun if ended > begun else float("inf")
            worst = max(worst, lag)
            sure |= begun >= asked_at and lag - self.lag_every > share
        return True if sure else None if worst > 0 and worst > share - EPSILON_LAG else False

    def proof_answered(self, name: str, healthy: bool) -> None:
        """The named verification of *name* has answered."""
        self.proofs[name] = [*self.proofs[name][-20:], (self.now, healthy)]

    def effect_begins(self, deed: Deed) -> None:
        """A step begins to have its effect."""
        self.note(f"EFFECT {deed.describe()} begins ({deed.effect.value})")
        self.effects += 1
        self._hold("effect", deed)
        name = deed.thing.name
        attempt = self.running[name]
        if self.counts(attempt):
            self.uses.append(self.use_of(attempt))
            self.used.add(attempt.key)
        attempt.acted = True
        self.acting[name] = deed
        self.licences.pop(name, None)
        self.done[(*attempt.key, deed.step)] += 1
        if deed.effect is Effect.DESTRUCTIVE:
            self.cases[attempt.order.incident].unclear = True

    def counts(self, attempt: Attempt) -> bool:
        """Whether the effect that begins makes *attempt* count in the budgets."""
        return attempt.automatic and attempt.key not in self.used

    def use_of(self, attempt: Attempt) -> Use:
        """*attempt* as the budgets count it."""
        service, strategy = attempt.order.service, attempt.order.strategy.name
        came_to_a_step = attempt.order.resume is not None and attempt.order.resume.steps
        real = self.began.get(attempt.key, attempt.real) if came_to_a_step else attempt.real
        return Use(real, self.clock.wall(), self.clock.boot_id(), service, strategy, attempt.policy)

    def effect_ends(self, deed: Deed) -> None:
        """… and is over, however."""
        self.acting.pop(deed.thing.name, None)
        self.last_effect_end[deed.thing.name] = self.now
        self.note(f"effect {deed.describe()} ends")

    def reconciled(self, deed: Deed, became: Reconciled) -> None:
        """The daemon was told what became of a step in whose middle it died."""
        attempt = self.running[deed.thing.name]
        if became is Reconciled.NOT_DONE:
            self.done[(*attempt.key, deed.step)] = 0
        self.note(f"{deed.describe()}: {became.value}")

    # ---------------------------------------------------------------------------------------------- attempts

    def attempt_begins(self, order: Order) -> Attempt:
        """Recovery is told to carry *order* out."""
        attempt = Attempt(order, self.now, self.real, self.policy, self.life)
        what = "resumed" if order.resume is not None else "begins"
        self.note(f"attempt {order.attempt} of {order.incident} {what}: {order.strategy.name} by {order.by}")
        self.attempts += order.resume is None
        self.began.setdefault(attempt.key, self.real)
        if attempt.automatic:
            self._cool_down(order)
        self._hold("attempt", attempt)
        self.running[order.service.name] = attempt
        case = self.cases.get(order.incident)
        if case is not None:
            case.told.clear()
            if not attempt.automatic:
                case.escalated_at = None
                if order.resume is None:
                    case.unclear = False
        return attempt

    def _cool_down(self, order: Order) -> None:
        case, retry_after = self.cases.get(order.incident), order.service.retry_after
        if case is None or case.escalated_at is None or retry_after is None:
            return
        if self.real - case.escalated_at >= retry_after - 1.0:
            case.since_reset.clear()
            case.given_up.clear()
            case.cooled_down = True
            case.escalated_at, case.not_before = None, float("-inf")

    def attempt_ends(self, attempt: Attempt, result: AttemptResult) -> None:
        """Recovery says how it went."""
        attempt.result = result
        order = attempt.order
        self.note(f"attempt {order.attempt} of {order.incident} ends: {result.outcome.value}: {result.message}")
        self.running.pop(order.service.name, None)
        case = self.cases.get(order.incident)
        if case is None:
            return
        if result.outcome in {"recovered", "healed"}:
            case.unclear = False
        if result.outcome == "recovered":
            self.cured[order.service.name] = self.real
        if result.unproven:
            case.unproven = order.strategy.name
        self._hold("ended", attempt)
        again = attempt.key in self.ended  # its end had not been written when the daemon was killed
        self.ended.add(attempt.key)
        name = order.strategy.name
        if not again and result.outcome not in {"aborted", "healed", "left"}:
            case.counted[name] += 1
            case.since_reset[name] += 1
        if result.outcome == "failed":
            service = self.services.get(order.service.name)
            rung = next((each for each in service.strategies if each.name == name), None) if service else None
            case.not_before = self.real + (10.0 if rung is None else floor_of(rung, case.since_reset[name]))
        elif result.outcome == "aborted":
            case.not_before = self.real + 10.0

    # ---------------------------------------------------------------------------------------------- the journal

    def wrote(self, entry: j.Entry) -> None:
        """*entry* is on disk."""
        self.disk_failed = False
        self.digest.update(f"{self.now!r} {self.clock.wall()!r} {entry!r}".encode())
        self.note(f"journal: {shown(entry)}")
        self._hold(entry.type, entry)
        writer = WRITERS.get(type(entry))
        if writer is not None:
            writer(self, entry)

    def write_failed(self) -> None:
        """The disk said no, and the daemon knows."""
        self.disk_failed = True

    def opened(self, entry: j.IncidentOpened) -> None:
        case = Case(id=entry.incident, service=entry.service, opened_at=self.now)
        self.cases[entry.incident] = self.latest[entry.service] = case
        self.falls.setdefault(entry.service, []).append(self.real)

    def reopened(self, entry: j.IncidentReopened) -> None:
        case = self.cases[entry.incident]
        case.recovered_at, case.escalated_at, case.cooled_down = None, None, False
        case.told.clear()
        self.falls.setdefault(entry.service, []).append(self.real)

    def given_up(self, entry: j.StrategyAbandoned) -> None:
        case = self.cases[entry.incident]
        case.given_up.add(entry.strategy)
        case.ever_given_up.add(entry.strategy)
        case.told.clear()

    def approval_requested(self, entry: j.ApprovalRequested) -> None:
        self.requests[entry.service] = (entry, self.real)

    def recovered(self, entry: j.IncidentRecovered) -> None:
        case = self.cases[entry.incident]
        case.cured_by = entry.by if entry.by != "itself" else ""
        case.recovered_at, case.unproven = self.real if self.prompt else self.real - 1000.0, ""

    def withdrawn(self, entry: j.IncidentWithdrawn) -> None:
        self.cases[entry.incident].withdrawn = True

    def escalated(self, entry: j.IncidentEscalated) -> None:
        case, service = self.cases[entry.incident], self.services.get(entry.service)
        waited = 0.0 if case.escalated_at is None else self.real - case.escalated_at
        if service is not None and service.retry_after is not None and waited >= service.retry_after - 1.0:
            case.since_reset.clear()  # the ladder was tried again from its start, and had nothing to offer
        case.escalated_at = self.real if self.prompt else self.real - 1000.0
        case.told[entry.reason] = self.life

    def step_started(self, entry: j.StepStarted) -> None:
        self.licences[entry.service] = entry
        attempt = self.running.get(entry.service)
        if attempt is not None and attempt.automatic and attempt.key == (entry.incident, entry.attempt):
            self.claims.setdefault(attempt.key, self.use_of(attempt))

    def step_ended(self, entry: j.StepEnded) -> None:
        licence = self.licences.get(entry.service)
        if licence is not None and (licence.attempt, licence.step) == (entry.attempt, entry.step):
            del self.licences[entry.service]

    def attempt_started(self, entry: j.AttemptStarted) -> None:
        self.cases[entry.incident].numbers.append(entry.attempt)

    def attempt_ended(self, entry: j.AttemptEnded) -> None:
        if (entry.incident, entry.attempt) not in self.ended and entry.outcome not in {"aborted", "healed"}:
            self.cases[entry.incident].counted[entry.strategy] += 1  # given up: its strategy is gone

    def held(self, entry: j.RecoveryHeld) -> None:
        self.reasons[entry.guard] += 1

    def service_paused(self, entry: j.ServicePaused) -> None:
        if self.now - self.dated_at > 60.0:  # else the daemon's idea of its end is not to be told from here
            self.paused(entry.service, entry.until - self.clock.wall())

    def service_resumed(self, entry: j.ServiceResumed) -> None:
        if entry.by == REVIVER:
            self.pauses.pop(entry.service, None)

    # ------------------------------------------------------------------------------------------------- people

    def paused(self, name: str, seconds: float) -> None:
        """A person's pause is in force."""
        self.pauses[name] = (self.real, self.real + seconds)

    def resumed(self, name: str) -> None:
        """… or is no more."""
        self.pauses.pop(name, None)

    def event(self, event: Event) -> None:
        """The daemon told an event: from a pause's end on, it judges a service afresh."""
        if isinstance(event, HealthChanged):
            self.note(f"{event.service} is believed {event.new.value}")
            self._hold("believed", event)
            if event.old is Health.PAUSED:
                self.answers[event.service].clear()


EPSILON_LAG = 0.06  # seconds of lateness that the daemon does not note

WRITERS: dict[type[j.Entry], Callable[[Book, Any], None]] = {
    j.IncidentOpened: Book.opened,
    j.IncidentReopened: Book.reopened,
    j.IncidentRecovered: Book.recovered,
    j.IncidentWithdrawn: Book.withdrawn,
    j.IncidentEscalated: Book.escalated,
    j.StepStarted: Book.step_started,
    j.StepEnded: Book.step_ended,
    j.AttemptStarted: Book.attempt_started,
    j.AttemptEnded: Book.attempt_ended,
    j.StrategyAbandoned: Book.given_up,
    j.ApprovalRequested: Book.approval_requested,
    j.RecoveryHeld: Book.held,
    j.ServicePaused: Book.service_paused,
    j.ServiceResumed: Book.service_resumed,
}


def shown(entry: j.Entry) -> str:
    """*entry* in one line of the trace."""
    skipped = {
        "samples",
        "thresholds",
        "plan",
        "token",
        "why",
        "details",
        "impact",
        "severity",
        "evidence",
        "message",
        "description",
        "result",
    }
    fields = [f"{name}={getattr(entry, name)!s:.60}" for name in entry.__dataclass_fields__ if name not in skipped]
    return f"{entry.type} {' '.join(fields)}"


def floor_of(strategy: Strategy, made: int) -> float:
    """The shortest pause that the strategy's backoff allows after *made* attempts; not taken from the core."""
    policy = strategy.backoff
    ceiling = min(policy.initial * policy.factor ** (max(1, made) - 1), policy.max)
    match policy.jitter.value:
        case "none":
            return ceiling
        case "equal":
            return ceiling / 2
        case _:
            return min(policy.initial, ceiling)
