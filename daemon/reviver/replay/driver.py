"""
Drives the core through a recorded past, as the supervisor drives it through the present: the same questions at the same
pauses, the same judgement of the surroundings, the same words in the journal. It has no event loop, and what it starts
is not done (``attempt``).

Where the record says for long that nothing changes, and the core has come to its conclusion, no questions are asked.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from reviver.core import decide
from reviver.core.guards import DEPENDENCY, Situation
from reviver.core.health import CERTAIN_PAUSE, Sample, pause_until_next
from reviver.model import journal as j
from reviver.model.checks import CheckResult
from reviver.model.events import Event
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.incidents import REVIVER
from reviver.model.ports import AttemptResult
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Service
from reviver.supervisor.observer import Observer
from reviver.supervisor.patient import NEEDS_FRESH
from reviver.supervisor.standdown import StandDown
from reviver.supervisor.surroundings import Surroundings, Use
from reviver.supervisor.telling import Teller
from reviver.supervisor.watched import Process, Watched

from .agenda import Agenda
from .attempt import Asking, Attempt
from .past import Order, Stretch, Truth

ILL_ASKED_EVERY = 60.0  # seconds, at most, while it stays ill and nothing new follows from that
RANDOM = 0.5  # for every jitter: a replay gives the same each time
TURN = 5.0  # seconds between looks whether the observer is still suspect

VOID = Fault(kind=FaultKind.TIMEOUT, message="reviver itself was late; the answer is void")

Key = tuple[str, str]
"""What is due, and for which service: ``ask``, ``answer``, ``look``, ``go on``; ``turn``, ``order`` for none."""


class NoUplink:
    """Meets ``model.ports.Uplink``; how this host's network was then is not recorded."""

    def has_default_route(self) -> bool:
        """As a rule."""
        return True

    async def any_answers(self, addresses: Sequence[str]) -> bool:
        """Never asked."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An attempt that isn't made."""

    course: Generator[float, None, AttemptResult]
    start: decide.Start
    use: Use
    since: float


class Driver:
    """The supervisor of a past."""

    def __init__(
        self,
        services: Mapping[str, Service],
        policy: DaemonPolicy,
        truths: Mapping[str, Truth],
        *,
        steps_take: Callable[[str, str], float],
        redact: Redactor,
    ) -> None:
        self.now = 0.0
        self.records: list[j.Record] = []
        """What the journal would say."""
        self._policy, self._redact = policy, redact
        self._steps_take = steps_take
        self._watched = {
            # Which locks were held then is not recorded; a lock that nobody looks at would hold for ever.
            name: Watched(
                service=replace(service, lock_file=None), phase=place * 0.6180339887 % 1, hosts=service.check.hosts()
            )
            for place, (name, service) in enumerate(services.items())
            if name in truths
        }
        self._services = {name: each.service for name, each in self._watched.items()}
        self._truths = {name: truths[name] for name in self._watched}
        self._observer = Observer(
            self._watched, clock=self, emit=self._heard, uplink=NoUplink(), policy=lambda: policy, redact=redact
        )
        self._stand_down = StandDown(
            clock=self, emit=self._heard, redact=redact, policy=replace(policy, lock_file=None)
        )
        self._surroundings = Surroundings(self._watched, self._observer)
        self._teller = Teller(self, redact)
        self._agenda: Agenda[Key] = Agenda()
        self._answers: dict[str, Sample] = {}
        """The answers to questions under way."""
        self._attempts: dict[str, UnderWay] = {}
        self._lives: dict[str, int] = {}
        self._quiet: set[str] = set()
        """Services from whose last answer nothing new followed."""
        self._orders: list[Order] = []
        self._frozen = ""

    def run(self, *, since: float, until: float, orders: Sequence[Order]) -> None:
        """Live through the time from *since* to *until*."""
        self.now = since
        self._orders = sorted(orders, key=lambda order: order.at)
        self._put_order()
        for watched in self._watched.values():
            spread = min(1.0, watched.service.interval) * watched.phase
            self._put_ask(watched, since + spread)
        while (due := self._agenda.pop(until=until)) is not None:
            self.now = max(self.now, due[0])
            self._due(*due[1])

    def _due(self, what: str, name: str) -> None:
        match what:
            case "ask":
                self._ask(self._watched[name])
            case "answer":
                self._answered(self._watched[name])
            case "look":
                self._look(self._watched[name])
            case "go on":
                self._go_on(self._watched[name])
            case "turn":
                self._turn()
            case _:
                self._follow(self._orders.pop(0))

    # ------------------------------------------------------------------------------------ meets ``ports.Clock``

    def monotonic(self) -> float:
        """The moment in the past."""
        return self.now

    def boottime(self) -> float:
        """The same."""
        return self.now

    def boot_id(self) -> str:
        """One for all of it."""
        return "replay"

    def wall(self) -> float:
        """The same moment: the axis is Unix time."""
        return self.now

    # --------------------------------------------------------------------------------------------- asking

    def _ask(self, watched: Watched) -> None:
        """Ask when due."""
        if watched.running or watched.name in self._answers:
            return  # the attempt asks by itself; a question under way ends by putting the next
        watched.woken, watched.due_at = False, float("inf")
        stretch = self._truth(watched)
        if stretch is None:
            self._put_after_gap("ask", watched)
            return
        if stretch.life != self._lives.setdefault(watched.name, stretch.life):  # what is believed was forgotten
            self._lives[watched.name] = stretch.life
            self._believe(watched, decide.on_replaced(watched.state, now=self.now))
        sample = self._answers[watched.name] = self._question(watched, stretch)
        self._agenda.put(("answer", watched.name), sample.answered_at)

    def _truth(self, watched: Watched) -> Stretch | None:
        return self._truths[watched.name].at(self.now)

    def _put_after_gap(self, what: str, watched: Watched) -> None:
        following = self._truths[watched.name].after(self.now)
        if following is None:
            return  # nobody looked at it any more
        if what == "ask":
            watched.due_at = following.since
        self._agenda.put((what, watched.name), following.since)

    def _question(self, watched: Watched, stretch: Stretch) -> Sample:
        """The recorded answer to a question asked now."""
        watched.asked_at = self.now
        fault = VOID if stretch.void else stretch.fault
        latency = 0.0 if stretch.healthy else min(stretch.latency, watched.service.timeout)
        return Sample(
            result=CheckResult(latency=latency, fault=fault, unknown=stretch.unknown),
            asked_at=self.now,
            answered_at=self.now + latency,
            lag=float("inf") if stretch.void else 0.0,
        )

    def _answered(self, watched: Watched) -> None:
        self._hear(watched, self._answers.pop(watched.name))
        self._look(watched)
        self._put_next(watched)

    def _hear(self, watched: Watched, sample: Sample) -> None:
        watched.result, watched.answered_at, watched.heard_at = sample.result, sample.answered_at, sample.asked_at
        certain = sample.result.fault is not None and sample.result.fault.certain
        watched.process = Process.GONE if certain else Process.UNKNOWN
        if watched.failing_since is not None or not sample.result.healthy:
            watched.samples.append(sample)
        self._believe(watched, decide.on_answer(watched.state, sample, watched.service))

    def _put_next(self, watched: Watched) -> None:
        if watched.running:
            return
        service = watched.service
        pause = pause_until_next(watched.state.belief, service)
        if watched.woken:
            pause = min(pause, self._least_pause(watched))
        due = max(self.now, watched.answered_at + pause)
        if pause >= service.interval:
            due = self._on_grid(watched, self.now)
        settled_until = self._settled_until(watched)
        if settled_until > due:
            due = self._on_grid(watched, settled_until)
        told = self._truths[watched.name].after(self.now)
        if told is not None and told.woken:
            due = min(due, max(told.since, watched.asked_at + self._least_pause(watched)))
        self._put_ask(watched, due)

    def _on_grid(self, watched: Watched, at: float) -> float:
        """The next of the service's regular moments."""
        offset = watched.service.interval * watched.phase
        return ((at - offset) // watched.service.interval + 1) * watched.service.interval + offset

    def _settled_until(self, watched: Watched) -> float:
        """Until when further answers, all alike, would change nothing."""
        belief, service = watched.state.belief, watched.service
        stretch = self._truths[watched.name].at(watched.asked_at)
        if stretch is None or watched.woken:
            return self.now
        trouble = watched.state.trouble
        well = stretch.healthy and belief.passes_in_row >= service.rise
        if well and (trouble is None or not trouble.open) and belief.health in {Health.UP, Health.PAUSED}:
            return stretch.until
        if belief.unknowns_in_row >= service.fall and belief.health is Health.UNKNOWN and stretch.unknown is not None:
            return stretch.until
        ill = stretch.fault is not None and bool(belief.runs) and belief.runs[-1].kind is stretch.fault.kind
        if ill and belief.runs[-1].count >= service.fall and watched.name in self._quiet:
            return min(stretch.until, self.now + ILL_ASKED_EVERY)
        return self.now

    def _wake(self, watched: Watched) -> None:
        """Ask again at once."""
        if not watched.running:
            watched.woken = True
            at = max(self.now, watched.asked_at + self._least_pause(watched))
            if at < watched.due_at:
                self._put_ask(watched, at)

    def _least_pause(self, watched: Watched) -> float:
        fault = watched.state.belief.fault
        return CERTAIN_PAUSE if fault is None or fault.certain else watched.service.confirm

    def _put_ask(self, watched: Watched, at: float) -> None:
        watched.due_at = at
        self._agenda.put(("ask", watched.name), at)

    # ------------------------------------------------------------------------------------------- deciding

    def _believe(self, watched: Watched, state: decide.State) -> None:
        old, new = watched.state.belief, state.belief
        watched.state = state
        if old.health is new.health:
            return
        if new.health is Health.UP and old.health is not Health.UNKNOWN:
            self._wake(watched)
        if new.health is Health.SUSPECT:
            for other in self._surroundings.dependencies(watched):
                self._wake(other)
        if (old.health is Health.UP) != (new.health is Health.UP):
            self._look_at_all()

    def _look_at_all(self) -> None:
        for other in self._watched.values():
            trouble = other.state.trouble
            if trouble is None or not trouble.open or trouble.running:
                continue
            self._agenda.put(("look", other.name), self.now)
            if trouble.held[0] == DEPENDENCY:
                self._wake(other)

    def _look(self, watched: Watched) -> None:
        trouble = watched.state.trouble
        if watched.state.belief.health is Health.UP and (trouble is None or not trouble.open):
            return
        if self._truth(watched) is None:
            self._put_after_gap("look", watched)
            return
        decision = decide.consider(watched.state, watched.service, self._situation(watched), now=self.now)
        told = any(not isinstance(command, decide.LookAt) for command in decision[1])
        (self._quiet.discard if told else self._quiet.add)(watched.name)
        self._apply(watched, decision)
        if self._observer.suspicion.doubts and ("turn", "") not in self._agenda:
            self._agenda.put(("turn", ""), self.now + TURN)
        window = self._stand_down.maintenance(watched.name)
        if window is not None and ("look", watched.name) not in self._agenda:
            self._agenda.put(("look", watched.name), window.until)

    def _situation(self, watched: Watched) -> Situation:
        return self._surroundings.situation(
            watched,
            self._policy,
            stand_down=self._stand_down.held(watched),
            demoted={},  # the trust of then was that of other settings
            frozen=self._frozen,
            journal_broken="",
            stopping=False,
        )

    def _turn(self) -> None:
        if self._observer.eased():
            self._look_at_all()
        if self._observer.suspicion.doubts:
            self._agenda.put(("turn", ""), self.now + TURN)

    def _heard(self, _event: Event) -> None:
        """Nobody listens."""

    def _apply(self, watched: Watched, decision: decide.Decision, *first: j.Entry) -> None:
        state, commands = decision
        self._believe(watched, state)
        entries = [*first]
        for command in commands:
            match command:
                case decide.Start():
                    entries.append(self._start(watched, command))
                case decide.LookAt(at):
                    self._agenda.put(("look", watched.name), at)
                case _:
                    entries += self._teller.told(watched, command, self._services)
        self._record(*entries)

    def _record(self, *entries: j.Entry) -> None:
        self.records += [j.Record(entry=entry, at=self.now, age=0.0) for entry in entries]

    # ------------------------------------------------------------------------------------------- attempts

    def _start(self, watched: Watched, command: decide.Start) -> j.Entry:
        use = Use(at=self.now, service=watched.name, strategy=command.strategy.name)
        self._surroundings.used([use], self._policy)
        watched.attempt, watched.due_at = command.attempt, float("inf")
        self._agenda.drop(("ask", watched.name))
        attempt = Attempt(
            service=watched.service,
            strategy=command.strategy,
            symptom_age=0.0 if command.fault is None else self.now - watched.state.belief.fault_at,
            steps_take=self._steps_take(watched.name, command.strategy.name),
            now=self.monotonic,
            ask=lambda: self._asked_by_attempt(watched),
            unmet_need=lambda: self._unmet_need(watched),
        )
        self._attempts[watched.name] = UnderWay(attempt.run(), command, use, self.now)
        self._agenda.put(("go on", watched.name), self.now)
        return j.AttemptStarted(
            service=watched.name,
            incident=watched.incident,
            attempt=command.attempt,
            strategy=command.strategy.name,
            by=REVIVER,
            steps=tuple(self._redact(step.action.describe()) for step in command.strategy.steps),
            why=command.why,
        )

    def _go_on(self, watched: Watched) -> None:
        under_way = self._attempts[watched.name]
        try:
            seconds = next(under_way.course)
        except StopIteration as ended:
            del self._attempts[watched.name]
            self._attempt_ended(watched, under_way, ended.value)
        else:
            self._agenda.put(("go on", watched.name), self.now + seconds)

    def _asked_by_attempt(self, watched: Watched) -> Asking:
        while (stretch := self._truth(watched)) is None:
            following = self._truths[watched.name].after(self.now)
            yield float("inf") if following is None else following.since - self.now
        sample = self._question(watched, stretch)
        yield sample.result.latency
        self._hear(watched, sample)
        if stretch.void:
            return CheckResult(latency=sample.result.latency, unknown="reviver itself was late; the answer is void")
        return sample.result

    def _unmet_need(self, watched: Watched) -> Generator[float, None, str]:
        for needed in self._surroundings.dependencies(watched):
            stretch = self._truth(needed)
            if stretch is not None and self.now - needed.heard_at > NEEDS_FRESH:
                sample = self._question(needed, stretch)
                yield sample.result.latency
                self._hear(needed, sample)
                self._look(needed)
                self._put_next(needed)
            if not needed.serves or needed.failing_since is not None:
                return f"{needed.name}, which it needs, is {needed.state.belief.health}"
        return ""

    def _attempt_ended(self, watched: Watched, under_way: UnderWay, result: AttemptResult) -> None:
        watched.attempt = 0
        if not result.acted:
            self._surroundings.unused(under_way.use)
        decision = decide.on_attempt_ended(
            watched.state, watched.service, self._situation(watched), result=result, random=RANDOM, now=self.now
        )
        ended = j.AttemptEnded(
            service=watched.name,
            incident=watched.incident,
            attempt=under_way.start.attempt,
            strategy=under_way.start.strategy.name,
            outcome=result.outcome.value,
            message=result.message,
            seconds=self.now - under_way.since,
        )
        self._apply(watched, decision, ended)
        self._look_at_all()
        self._put_next(watched)

    # --------------------------------------------------------------------------------------------- people

    def _put_order(self) -> None:
        if self._orders:
            self._agenda.put(("order", ""), self._orders[0].at)

    def _follow(self, order: Order) -> None:
        """What people said then holds."""
        self._put_order()
        if not order.service:
            self._frozen = order.reason if order.hands_off else ""
            self._look_at_all()
            return
        watched = self._watched.get(order.service)
        if watched is None:
            return
        if order.hands_off:
            self._believe(watched, decide.on_pause(watched.state, now=self.now))
        else:
            self._believe(watched, decide.on_resume(watched.state, now=self.now))
            self._wake(watched)
