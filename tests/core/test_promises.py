"""
The promises, held against any history: random answers, guards, people and ends of attempts, in any order.

After each step every command is compared with a second, much simpler book of what has happened.
"""

import re
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakes import Act, Answer, Target, answered, service, strategy
from reviver.core import decide
from reviver.core.guards import Held, Situation
from reviver.core.health import Sample
from reviver.model.actions import Effect
from reviver.model.faults import FaultKind
from reviver.model.health import Health
from reviver.model.incidents import REVIVER
from reviver.model.ports import AttemptResult, Outcome
from reviver.model.services import Budget, DaemonPolicy, Jitter, Mode, Service

ILL, MISSING, LOADING, TLS = (
    FaultKind.UNREACHABLE,
    FaultKind.DATABASE_MISSING,
    FaultKind.LOADING,
    FaultKind.TLS_INVALID,
)
SHORTLY = replace(strategy().backoff, initial=2.0, max=20.0, jitter=Jitter.EQUAL)
LADDER = (
    strategy(Act(), name="reconnect", attempts=1, after=3.0, backoff=SHORTLY),
    strategy(Act(), name="watch", attempts=1, after=3.0, mode=Mode.OBSERVE, faults=[LOADING]),
    strategy(Act(), name="restart", attempts=1, after=5.0, backoff=SHORTLY, faults=[ILL, LOADING]),
    strategy(Act(effect=Effect.DESTRUCTIVE), name="restore", after=8.0, mode=Mode.APPROVE, faults=[MISSING]),
    strategy(Act(effect=Effect.DESTRUCTIVE), name="flush", after=8.0, faults=[MISSING, ILL], backoff=SHORTLY),
)
OWN = Budget(attempts=4, per=400.0)
OVERALL = Budget(attempts=6, per=300.0)

ANSWERS = [ILL, ILL, ILL, MISSING, LOADING, TLS, None, None, "can't tell"]


class AnyHistory(RuleBasedStateMachine):
    """One service, and the book that is kept of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.state = decide.State()
        self.service: Service = service(
            Target("db"), *LADDER, budgets=(OWN,), stable=60.0, patience=30.0, retry_after=None
        )
        self.situation = Situation(policy=DaemonPolicy(budget=OVERALL))
        # the book
        self.told: list[Answer] = []  # those that count, since the last reason to begin anew
        self.open = False
        self.opened = 0
        self.running: decide.Start | None = None
        self.stopped = False
        self.reasons: set[str] = set()
        self.counted: Counter[str] = Counter()
        self.used: list[tuple[float, str]] = []
        self.asked: tuple[str, float] | None = None
        self.given_up: set[str] = set()
        self.attempt = 0

    # ------------------------------------------------------------------------------------------------ what happens

    @rule(
        answer=st.sampled_from([ILL, ILL, ILL, MISSING, LOADING, TLS, None, None, "can't tell"]),
        again=st.integers(1, 6),
    )
    def answer(self, answer: Answer, again: int) -> None:
        for _ in range(again):
            self.now += 1.0
            sample = Sample(result=answered(answer), asked_at=self.now - 0.5, answered_at=self.now)
            self.state = decide.on_answer(self.state, sample, self.service)
            if answer is None:
                self.told.clear()
            elif answer != "can't tell":
                self.told.append(answer)
            self._look()

    @rule()
    def answer_late(self) -> None:
        self.now += 1.0
        sample = Sample(result=answered(ILL), asked_at=self.now - 0.5, answered_at=self.now, lag=9.0)
        before = self.state
        self.state = decide.on_answer(self.state, sample, self.service)
        assert self.state is before

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 100.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._look()

    @precondition(lambda self: self.running is not None)
    @rule(outcome=st.sampled_from(Outcome), seconds=st.floats(0.0, 50.0), random=st.floats(0, 0.99))
    def attempt_ends(self, outcome: Outcome, seconds: float, random: float) -> None:
        assert self.running is not None
        self.now += seconds
        if outcome in {Outcome.RECOVERED, Outcome.HEALED}:  # verified: it has passed
            self.answer(None, self.service.rise)
        name, self.running = self.running.strategy.name, None
        self.counted[name] -= outcome in {Outcome.ABORTED, Outcome.HEALED}
        self._take(
            decide.on_attempt_ended(
                self.state,
                self.service,
                self._situation(),
                result=AttemptResult(outcome=outcome, message="ended"),
                random=random,
                now=self.now,
            )
        )

    @rule(down=st.booleans())
    def dependency(self, down: bool) -> None:
        self.situation = replace(self.situation, dependencies_down=("disk",) if down else ())
        self._look()

    @rule(reason=st.sampled_from(["", "", "the disk is full"]))
    def journal(self, reason: str) -> None:
        self.situation = replace(self.situation, journal_broken=reason)
        self._look()

    @rule(reason=st.sampled_from(["", "", "3 of 10 hosts"]))
    def observer(self, reason: str) -> None:
        self.situation = replace(self.situation, observer_suspect=reason)

    @rule(held=st.sampled_from([None, Held("maintenance", "until four"), Held("lock", "ann deploys")]))
    def others_begin_or_end_their_work(self, held: Held | None) -> None:
        self.situation = replace(self.situation, stand_down=held)
        self._look()

    @rule(mode=st.sampled_from(Mode))
    def mode(self, mode: Mode) -> None:
        self.situation = replace(self.situation, policy=replace(self.situation.policy, mode=mode))
        self._look()

    @rule(reason=st.sampled_from(["", "", "frozen by ann"]))
    def freeze(self, reason: str) -> None:
        self.situation = replace(self.situation, frozen=reason)
        self._look()

    @rule(approve=st.booleans())
    def person_answers(self, approve: bool) -> None:
        asked, now = self.asked, self.now
        try:
            if approve:
                decision = decide.on_approved(self.state, self.service, self._situation(), by="ann", now=now)
            else:
                decision = decide.on_denied(self.state, self.service, self._situation(), by="ann", reason="", now=now)
        except decide.Refused:
            return
        assert asked is not None, "took an answer that nobody was asked for"
        assert now < asked[1], "took an answer that came too late"
        if approve:
            starts = [command.strategy.name for command in decision[1] if isinstance(command, decide.Start)]
            assert starts == [asked[0]], "approved one thing, started another"
        self._take(decision)

    @rule(running=st.sampled_from([(), (), ("api",)]))
    def others(self, running: tuple[str, ...]) -> None:
        self.situation = replace(self.situation, running=running)
        self._look()

    @rule(pause=st.booleans())
    def people_pause_and_resume(self, pause: bool) -> None:
        if self.state.belief.health is Health.PAUSED and not pause:
            self.told.clear()
        change = decide.on_pause if pause else decide.on_resume
        self.state = change(self.state, now=self.now)
        self._look()

    @rule(name=st.sampled_from([None, *(rung.name for rung in LADDER)]))
    def person_orders(self, name: str | None) -> None:
        try:
            decision = decide.on_order(
                self.state, self.service, self._situation(), strategy=name, by="ann", now=self.now
            )
        except decide.Refused:
            return
        self._take(decision)

    # -------------------------------------------------------------------------------------------------- the promises

    def _situation(self) -> Situation:
        here: dict[str, list[float]] = {}
        for at, name in self.used:
            here.setdefault(name, []).append(at)
        return replace(self.situation, used_at=[at for at, _ in self.used], used_here_at=here)

    def _look(self) -> None:
        self._take(decide.consider(self.state, self.service, self._situation(), now=self.now))

    def _take(self, decision: decide.Decision) -> None:  # noqa: C901, PLR0912  one case per command
        before = self.state
        self.state, commands = decision
        if before.belief.failures_in_row and not self.state.belief.failures_in_row:
            self.told.clear()  # to be confirmed anew
        for command in commands:
            match command:
                case decide.Open(again=again):
                    assert not self.open, "two incidents at once"
                    assert self.opened or not again, "opened again what never was"
                    assert len(self.told) >= self.service.fall, "opened on too few failures"
                    self.open, self.opened = True, self.opened + 1
                    self.reasons.clear()
                    self.asked = None
                    if not again:
                        self.attempt = 0
                        self.given_up.clear()
                        self.counted.clear()
                        self.stopped = False
                case decide.NoteFault():
                    assert self.open
                case decide.Close():
                    assert self.open, "closed what isn't open"
                    assert self.running is None
                    self.open = False
                case decide.Escalate(reason, stop):
                    assert self.open
                    reason = re.sub("[0-9]+", "", reason)
                    assert reason not in self.reasons, "told people the same twice"
                    self.reasons.add(reason)
                    self.stopped = self.stopped or stop is not decide.Stop.NONE
                case decide.Start():
                    self._started(command)
                case decide.AskApproval(strategy, attempt, seconds):
                    assert self.open
                    assert strategy.name not in self.given_up, "asked for what was given up"
                    assert self.asked is None or self.asked[0] != strategy.name, "asked twice for the same"
                    assert attempt == self.attempt + 1
                    self.asked = (strategy.name, self.now + seconds)
                case decide.GiveUp(name):
                    assert self.open
                    assert name not in self.given_up, "gave up twice"
                    self.given_up.add(name)
                    self.asked = None
                case decide.Observe(strategy):
                    assert Mode.OBSERVE in {strategy.mode, self.situation.policy.mode}
                    assert not self.situation.dependencies_down
                    assert not self.situation.frozen
                case decide.Hold() | decide.Plan():
                    assert self.open
                case decide.LookAt(at):
                    assert at > self.now, "looking again at once would never end"

    def _started(self, start: decide.Start) -> None:
        assert self.running is None, "two attempts at once"
        assert self.open, "started without an incident"
        assert not self.situation.journal_broken, "started without a journal"
        assert not self.situation.frozen, "started while frozen"
        self.asked = None
        assert self.situation.policy.mode is not Mode.OBSERVE, "acted while only observing"
        if start.by == REVIVER:
            self._started_by_itself(start)
        else:
            self.stopped = False
            self.reasons.clear()
        assert start.attempt == self.attempt + 1, "two attempts of one number"
        self.attempt = start.attempt
        self.running = start
        self.counted[start.strategy.name] += 1

    def _started_by_itself(self, start: decide.Start) -> None:
        rung = start.strategy
        assert start.fault is not None
        assert len(self.told) >= self.service.fall, "started on too few failures in a row"
        assert set(self.told[-self.service.fall :]) <= rung.faults, "started on failures that it doesn't answer"
        assert not self.stopped, "started what people must look at first"
        assert rung.name not in self.given_up, "started what was given up"
        assert Mode.APPROVE not in {rung.mode, self.situation.policy.mode}, "started without the wanted approval"
        assert rung.mode is Mode.AUTO
        assert not self.situation.dependencies_down, "started while a dependency is down"
        assert not self.situation.observer_suspect, "started while the observer is suspect"
        assert self.situation.stand_down is None, "started while others are at work"
        assert len(self.situation.running) < self.situation.policy.at_once, "too many at once"
        assert self.counted[rung.name] < rung.attempts, "started more often than the rung allows"
        assert start.fault.kind in rung.faults, "started what doesn't answer the fault"
        earlier = [other for other in LADDER if start.fault.kind in other.faults]
        for gentler in earlier[: earlier.index(rung)]:
            made = self.counted[gentler.name]
            assert made >= gentler.attempts or gentler.name in self.given_up, "started a harsher rung too soon"
        self.used.append((self.now, rung.name))
        assert sum(at > self.now - OVERALL.per for at, _ in self.used) <= OVERALL.attempts, "over the overall budget"
        mine = [at for at, name in self.used if name == rung.name]
        assert sum(at > self.now - OWN.per for at in mine) <= OWN.attempts, "over its own budget"

    @invariant()
    def an_attempt_is_under_way_exactly_when_the_book_says_so(self) -> None:
        running = self.state.trouble.running if self.state.trouble is not None else ""
        assert running == ("" if self.running is None else self.running.strategy.name)

    @invariant()
    def the_incident_is_open_exactly_when_the_book_says_so(self) -> None:
        assert self.open == (self.state.trouble is not None and self.state.trouble.open)

    @invariant()
    def a_paused_service_stays_paused_until_a_person_resumes_it(self) -> None:
        if self.state.belief.health is Health.PAUSED:
            before = self.state
            assert decide.consider(before, self.service, self._situation(), now=self.now) == (before, ())


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=80,
    stateful_step_count=60,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
