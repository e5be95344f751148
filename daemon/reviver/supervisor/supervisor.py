"""
The shell of watching: asks each service when it is due, tells the core what came of it, and carries its commands out.

Everything that the core decides passes through ``_apply``, which never waits: nothing comes between a decision and its
doing, and the journal reads in the order in which things were decided. No service waits for another: each question runs
in its own task with its own deadline.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import anyio
import anyio.abc

from reviver.core import decide
from reviver.core.approval import token
from reviver.core.guards import DEPENDENCY, Situation
from reviver.core.health import CERTAIN_PAUSE, Belief, Sample, pause_until_next
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.events import Blip, Emit, Frozen, HealthChanged, ServicesChanged
from reviver.model.health import Health
from reviver.model.incidents import REVIVER, AttemptRecord
from reviver.model.ports import AttemptResult, Clock, Order, Outcome, Recoverer, Uplink
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Service, Strategy

from .asking import Asker
from .consequences import Consequences
from .freezing import BY_FILE
from .observer import Observer
from .patient import WatchedPatient
from .schedule import Schedule
from .standdown import StandDown
from .surroundings import Surroundings, Use
from .telling import Teller
from .watched import Process, Watched

log = logging.getLogger(__name__)

TURN_AT_LEAST = 1.0  # seconds; the loop turns at least this often, for the watchdog's sake

Key = tuple[str, str]
"""What is due, and for which service: ``ask``, ``look`` or ``unpause``."""


class Supervisor:
    """Watches services; the only one that changes what is decided about them."""

    def __init__(  # noqa: PLR0913  the seams that a simulation replaces
        self,
        *,
        services: Mapping[str, Service],
        policy: DaemonPolicy,
        clock: Clock,
        random: Callable[[], float],
        scribe: Scribe,
        emit: Emit,
        recoverer: Recoverer,
        redact: Redactor,
        uplink: Uplink,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self.policy = policy
        self.scribe = scribe
        self.redact = redact
        self.stopping = False
        self.watched: dict[str, Watched] = {}
        self._random = random
        self._emit = emit
        self._recoverer = recoverer
        self._on_turn = on_turn
        self.observer = Observer(
            self.watched, clock=clock, emit=emit, uplink=uplink, policy=lambda: self.policy, redact=redact
        )
        self._asker = Asker(clock=clock, emit=emit, redact=redact, wake=self.wake, lag=self.observer.lag)
        self._surroundings = Surroundings(self.watched, self.observer)
        self.stand_down = StandDown(clock=clock, emit=emit, redact=redact, policy=policy)
        self.consequences = Consequences(self.watched, clock=clock, scribe=scribe, needs=self.needs, doubt=self.doubt)
        self._schedule: Schedule[Key] = Schedule()
        self._teller = Teller(clock, redact)
        self._frozen: dict[str, str] = {}
        """Why everything is held, by who froze it."""
        self._pauses: dict[str, tuple[j.ServicePaused, float]] = {}
        """Each service's pause, and its end on the monotonic axis, whether the settings name it or not."""
        self._idle = anyio.Event()
        self._tasks: anyio.abc.TaskGroup
        self._add(services)

    # ------------------------------------------------------------------------------------------------- life

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. Started when every check is open and its first question is due."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self.observer.run)
            self._tasks.start_soon(self.scribe.run)
            for watched in self.watched.values():
                self._begin(watched)
            task_status.started()
            await self._turns()

    async def _turns(self) -> None:
        while True:
            now = self.clock.monotonic()
            for what, name in self._schedule.due(now):
                if name in self.watched:
                    self._due(what, self.watched[name])
            if self.stand_down.windows_changed(self.watched):
                self._look_at_all()
            if self.observer.eased():
                self._look_at_all()
            self._on_turn()
            await self._schedule.wait(at_most=TURN_AT_LEAST)

    def _due(self, what: str, watched: Watched) -> None:
        match what:
            case "ask":
                self._tasks.start_soon(self._ask_when_due, watched)
            case "look":
                self.look(watched)
            case _:
                self.resume(watched, by=REVIVER)

    async def drain(self, *, within: float) -> None:
        """Start nothing more, and give attempts under way *within* seconds to come to a safe stop between steps."""
        self.stopping = True
        with anyio.move_on_after(within):
            while any(watched.running for watched in self.watched.values()):
                self._idle = anyio.Event()
                await self._idle.wait()

    # -------------------------------------------------------------------------------------------- services

    def _add(self, services: Mapping[str, Service]) -> None:
        for service in services.values():
            phase = len(self.watched) * 0.6180339887 % 1  # the golden ratio spreads any number of them evenly
            self.watched[service.name] = Watched(service=service, phase=phase)
        added = tuple((service.name, service.kind) for service in services.values())
        self._emit(ServicesChanged(added=added, removed=()))

    def _begin(self, watched: Watched) -> None:
        watched.removed = False
        watched.opened = anyio.Event()
        watched.keeper = anyio.CancelScope()
        self._tasks.start_soon(self._asker.keep_open, watched, watched.keeper)
        if watched.running:  # left over from an earlier life
            return
        watched.fresh_at = self.clock.monotonic()  # the first question makes the connection that is kept
        spread = min(1.0, watched.service.interval) * watched.phase
        self._put_ask(watched, self.clock.monotonic() + spread)

    def replace_services(self, services: Mapping[str, Service], policy: DaemonPolicy) -> None:
        """Put new settings in force: what is unchanged is left alone, attempts under way are left to end."""
        self.policy = policy
        self.stand_down.policy_is(policy)
        removed = [name for name in self.watched if name not in services]
        for name in removed:
            self._remove(self.watched[name])
        for name, service in services.items():
            watched = self.watched.get(name)
            if watched is not None and (watched.service != service or watched.removed):
                self._swap(watched, service)
        fresh = {name: service for name, service in services.items() if name not in self.watched}
        self._add(fresh)
        for name in fresh:
            self._begin(self.watched[name])
            pause, ends_at = self._pauses.get(name, (None, 0.0))
            left = ends_at - self.clock.monotonic()
            if pause is not None and left > 0:  # it was here before
                self.paused(self.watched[name], replace(pause, until=self.clock.wall() + left))
        self._emit(ServicesChanged(added=(), removed=tuple(removed)))
        self._look_at_all()

    def _swap(self, watched: Watched, service: Service) -> None:
        self._release(watched)
        if service.check != watched.service.check and not watched.running:  # what was seen was another target
            self._believe(watched, decide.on_replaced(watched.state, now=self.clock.monotonic()))
        watched.process, watched.process_told = Process.UNKNOWN, ""
        watched.service = service
        self._begin(watched)

    def _release(self, watched: Watched) -> None:
        if watched.keeper is not None:
            watched.keeper.cancel()
        watched.probe = None

    def _remove(self, watched: Watched) -> None:
        watched.removed = True
        if watched.running:
            return  # `_attempt` comes back to it
        if self.watched.get(watched.name) is not watched:
            return
        self._release(watched)
        self._drop_ask(watched)
        for what in ("look", "unpause"):
            self._schedule.drop((what, watched.name))
        del self.watched[watched.name]
        if watched.incident and watched.state.trouble is not None and watched.state.trouble.open:
            reason = "its service is no longer in the settings"
            self.scribe.record(j.IncidentWithdrawn(service=watched.name, incident=watched.incident, reason=reason))

    # --------------------------------------------------------------------------------------------- asking

    def wake(self, watched: Watched, reason: str) -> None:
        """Ask again at once: something has happened. Never more often than confirming probes would."""
        log.debug("check.woken", extra={"service": watched.name, "reason": reason})
        if not watched.running:
            watched.woken = True
            at = max(self.clock.monotonic(), watched.asked_at + self._least_pause(watched))
            if at < watched.due_at:
                self._put_ask(watched, at)

    async def _ask_when_due(self, watched: Watched) -> None:
        if watched.running or watched.asking.locked():
            return  # the attempt asks by itself; a question under way ends by putting the next
        woken, watched.woken = watched.woken, False
        now, due_at, watched.due_at = self.clock.monotonic(), watched.due_at, float("inf")
        fresh = watched.failing_since is not None or now >= watched.fresh_at + watched.service.fresh_every
        await self.ask(watched, fresh=fresh, late=max(0.0, now - due_at), woken=woken)
        self._go_on_from(watched)

    async def ask_out_of_turn(self, watched: Watched) -> None:
        """Ask the service now because another one's recovery depends on the answer; what follows from it follows."""
        await self.ask(watched, fresh=False)
        self._go_on_from(watched)

    def _go_on_from(self, watched: Watched) -> None:
        if self.watched.get(watched.name) is watched:  # else it was removed meanwhile
            self._put_next(watched)
            self.look(watched)
            self.consequences.seen(watched)

    def _put_next(self, watched: Watched) -> None:
        if watched.running:
            return
        service, now = watched.service, self.clock.monotonic()
        pause = pause_until_next(watched.state.belief, service)
        if watched.woken:
            pause = min(pause, self._least_pause(watched))
        due = max(now, watched.answered_at + pause)  # never answered, if an attempt of an earlier life ended unasked
        if pause >= service.interval:  # the regular grid: absolute, each at its own phase
            offset = service.interval * watched.phase
            due = ((now - offset) // service.interval + 1) * service.interval + offset
        self._put_ask(watched, due)

    def _least_pause(self, watched: Watched) -> float:
        """Seconds between two questions at least, however often something wakes: confirming needs its time."""
        fault = watched.state.belief.fault
        sure = fault is None or fault.certain or watched.process is Process.GONE
        return CERTAIN_PAUSE if sure else watched.service.confirm

    def _put_ask(self, watched: Watched, at: float) -> None:
        watched.due_at = at
        self._schedule.put(("ask", watched.name), at)

    def _drop_ask(self, watched: Watched) -> None:
        watched.due_at = float("inf")
        self._schedule.drop(("ask", watched.name))

    async def ask(self, watched: Watched, *, fresh: bool, late: float = 0.0, woken: bool = False) -> Sample:
        """Ask the service now, and believe what follows."""
        asked = watched.service.check
        sample = await self._asker.ask(watched, fresh=fresh, late=late, woken=woken)
        if watched.service.check != asked:  # new settings came meanwhile: it was another target that answered
            return sample
        self._believe(watched, decide.on_answer(watched.state, sample, watched.service))
        return sample

    def needs(self, watched: Watched) -> Sequence[Watched]:
        """The services that it depends on, directly or not."""
        return self._surroundings.dependencies(watched)

    def doubt(self, watched: Watched) -> str:
        """Why reviver suspects itself where this service is concerned; empty if it doesn't."""
        return self.observer.against(watched)

    def well_downstream(self, watched: Watched) -> tuple[str, ...]:
        """The services that depend on it and are well although it fails."""
        return self.consequences.well_downstream(watched)

    # ------------------------------------------------------------------------------------------- deciding

    def look(self, watched: Watched) -> None:
        """Consider what follows from what is believed of the service, and do it."""
        trouble = watched.state.trouble
        if watched.state.belief.health is Health.UP and (trouble is None or not trouble.open):
            return  # nearly always
        if self.stand_down.wants(watched):
            self._tasks.start_soon(partial(self.stand_down.attend, watched, current=self.watched))
        if watched.state.belief.health is Health.DOWN and (trouble is None or not trouble.open):
            self.consequences.falls(watched)
        now = self.clock.monotonic()
        self._apply(watched, decide.consider(watched.state, watched.service, self._situation(watched), now=now))

    def _situation(self, watched: Watched) -> Situation:
        return self._surroundings.situation(
            watched,
            self.policy,
            frozen=self.frozen,
            stand_down=self.stand_down.held(watched),
            demoted=self.consequences.demoted(watched.name),
            journal_broken=self.scribe.broken,
            stopping=self.stopping,
        )

    def _believe(self, watched: Watched, state: decide.State) -> None:
        """Make *state* the service's, and tell if its health changed by it."""
        old, new = watched.state.belief, state.belief
        watched.state = state
        if old.health is new.health:
            return
        now = self.clock.monotonic()
        failing_since = new.failing_since if new.failing_since is not None else old.failing_since
        self._emit(
            HealthChanged(
                service=watched.name,
                old=old.health,
                new=new.health,
                fault=new.fault,
                failing_for=None if failing_since is None else now - failing_since,
            )
        )
        if old.health is Health.SUSPECT and new.health is Health.UP and old.fault is not None:
            self._emit(Blip(service=watched.name, fault=old.fault, seconds=now - (old.failing_since or now)))
        if new.health is Health.UP and old.health is not Health.UNKNOWN:
            self.wake(watched, "up again")  # over a connection that is kept, and so tells when it breaks
        if new.health is Health.SUSPECT:
            for other in self._surroundings.dependencies(watched):
                self.wake(other, f"{watched.name} needs it and fails")
        if new.health is Health.DOWN and old.health is not Health.RECOVERING:
            for other in self.consequences.downstream(watched):  # who can do without it, before anything is done
                self.wake(other, f"it needs {watched.name}, which is down")
        if (old.health is Health.UP) != (new.health is Health.UP):
            self._look_at_all()

    def _look_at_all(self) -> None:
        """What one service's change may free: those that are held because of it."""
        now = self.clock.monotonic()
        for other in self.watched.values():
            trouble = other.state.trouble
            if trouble is None or not trouble.open or trouble.running:
                continue
            self._schedule.put(("look", other.name), now)
            if trouble.held[0] == DEPENDENCY:
                self.wake(other, "a service that it needs has changed")

    def _apply(self, watched: Watched, decision: decide.Decision, *first: j.Entry) -> None:
        """
        Carry a decision out. Never waits, so that nothing comes between a decision and its doing; what it writes, after
        the entries *first*, is written together or not at all.
        """
        state, commands = decision
        self._believe(watched, state)
        services = {name: each.service for name, each in self.watched.items()}
        entries = [*first]
        for command in commands:
            match command:
                case decide.Start():
                    self._start(watched, command)
                case decide.LookAt(at):
                    self._schedule.put(("look", watched.name), at)
                case _:
                    entries += self._teller.told(watched, command, services)
        if entries:
            self.scribe.record(*entries)

    # ------------------------------------------------------------------------------------------- attempts

    def _start(self, watched: Watched, command: decide.Start, resume: AttemptRecord | None = None) -> None:
        now = self.clock.monotonic()
        use = Use(at=now, service=watched.name, strategy=command.strategy.name)
        if command.by == REVIVER and resume is None:
            self.used([use])
        watched.attempt = command.attempt
        self._drop_ask(watched)
        order = Order(
            incident=watched.incident,
            service=watched.service,
            strategy=command.strategy,
            attempt=command.attempt,
            fault=command.fault,
            patient=WatchedPatient(self, watched),
            symptom_age=0.0 if command.fault is None else now - watched.state.belief.fault_at,
            by=command.by,
            why=command.why,
            resume=resume,
        )
        self._tasks.start_soon(self._attempt, watched, order, use)

    async def _attempt(self, watched: Watched, order: Order, use: Use) -> None:
        started = self.clock.monotonic()
        try:
            result = await self._recoverer(order)
        except Exception as error:  # the wall around recovery: an unforeseen error must leave the incident to people
            log.exception("recovery.crashed", extra={"service": watched.name})
            message = f"the attempt broke off ({type(error).__name__}); what its steps did must be looked at"
            result = AttemptResult(outcome=Outcome.UNCLEAR, message=message, acted=True)
        watched.attempt = 0
        if not result.acted:
            self._surroundings.unused(use)
        elif order.resume is not None and not order.resume.steps and order.by == REVIVER:
            self.used([use])  # an earlier life's attempt that came to its first step only now
        if result.outcome is Outcome.LEFT:
            self._believe(watched, decide.on_interrupted(watched.state))
        else:
            self._attempt_ended(watched, order, result, seconds=self.clock.monotonic() - started)
        self._idle.set()
        self._look_at_all()
        if watched.removed:
            self._remove(watched)
        else:
            self._put_next(watched)

    def _attempt_ended(self, watched: Watched, order: Order, result: AttemptResult, *, seconds: float) -> None:
        now = self.clock.monotonic()
        decision = decide.on_attempt_ended(
            watched.state,
            watched.service,
            self._situation(watched),
            result=result,
            random=self._random(),
            now=now,
        )
        trouble = decision[0].trouble
        waits = trouble is not None and trouble.open and not trouble.stop and not trouble.running
        ended = j.AttemptEnded(
            service=watched.name,
            incident=watched.incident,
            attempt=order.attempt,
            strategy=order.strategy.name,
            outcome=result.outcome.value,
            message=result.message,
            seconds=seconds,
            retry_in=max(0.0, trouble.ladder.not_before - now) if waits and trouble is not None else None,
            unproven=result.unproven,
        )
        self._apply(watched, decision, ended)

    # --------------------------------------------------------------------------------------------- people

    async def pause(self, watched: Watched, *, by: str, reason: str, seconds: float) -> None:
        """Keep hands off the service; raises ``JournalError`` if the journal can't keep it."""
        until, resumed = self.clock.wall() + seconds, watched.resumed
        pause = j.ServicePaused(
            service=watched.name, incident=watched.incident, by=by, reason=self.redact(reason), until=until
        )
        # An earlier pause must not end while this one is written: the journal would read as if nothing were paused.
        self._schedule.drop(("unpause", watched.name))
        try:
            await self.scribe.commit(pause)
        except j.JournalError:
            if watched.pause is not None:
                self._schedule.put(("unpause", watched.name), self._pauses[watched.name][1])
            raise
        if watched.resumed == resumed:  # else somebody took it back meanwhile, and the journal says so
            self.paused(watched, pause)

    def paused(self, watched: Watched, pause: j.ServicePaused) -> None:
        """Let the pause that stands in the journal hold."""
        now = self.clock.monotonic()
        ends_at = now + max(0.0, pause.until - self.clock.wall())
        watched.pause, self._pauses[watched.name] = pause, (pause, ends_at)
        self._schedule.put(("unpause", watched.name), ends_at)
        self._believe(watched, decide.on_pause(watched.state, now=now))

    def resume(self, watched: Watched, *, by: str) -> None:
        """End the pause."""
        self.scribe.record(j.ServiceResumed(service=watched.name, incident=watched.incident, by=by))
        self._schedule.drop(("unpause", watched.name))
        watched.pause = None
        watched.resumed += 1
        self._pauses.pop(watched.name, None)
        self._believe(watched, decide.on_resume(watched.state, now=self.clock.monotonic()))
        self.wake(watched, "resumed")

    @property
    def frozen(self) -> str:
        """Why everything is held; empty if it isn't."""
        return "; ".join(f"frozen by {by}: {reason}" for by, reason in self._frozen.items())

    def freeze(self, *, by: str, reason: str) -> None:
        """Hold everything before its next effect. Waits for nothing, so it needs no disk."""
        reason = self.redact(reason)
        self.was_frozen(by=by, reason=reason)
        self.scribe.record(j.DaemonFrozen(service="", by=by, reason=reason))

    def was_frozen(self, *, by: str, reason: str) -> None:
        """Let the freeze that stands in the journal hold."""
        self._frozen[by] = reason
        self._emit(Frozen(reason=self.frozen))
        self._look_at_all()

    def thaw(self, *, by: str) -> None:
        """End every freeze but a file's, which ends with the file."""
        self._thaw([who for who in self._frozen if not who.startswith(BY_FILE)], by=by)

    def freeze_file(self, file: str, why: str) -> None:
        """Let *file* freeze reviver, for the reason *why*, or (empty) no more."""
        by = f"{BY_FILE}{file}"
        if why:
            self.freeze(by=by, reason=why)
        else:
            self._thaw([by], by=by)

    def _thaw(self, frozen_by: Sequence[str], *, by: str) -> None:
        for who in frozen_by:
            self._frozen.pop(who, None)
        if not self._frozen:
            self.scribe.record(j.DaemonThawed(service="", by=by))
        self._emit(Frozen(reason=self.frozen))
        self._look_at_all()

    def approval(self, watched: Watched) -> tuple[Strategy, str, float] | None:
        """What waits for a person's word on the service: the strategy, its plan's token, and the seconds left."""
        trouble = watched.state.trouble
        if trouble is None or not trouble.open or trouble.approval is None:
            return None
        asked, left = trouble.approval, trouble.approval.until - self.clock.monotonic()
        strategy = next((s for s in watched.service.strategies if s.name == asked.strategy), None)
        if strategy is None or left <= 0:
            return None
        return strategy, token(watched.incident, trouble.attempts + 1, strategy), left

    async def approve(self, watched: Watched, *, by: str, token: str) -> decide.Start:
        """
        Start what was asked for, at a person's word.

        Raises:
            decide.Refused: Nothing is asked for, it is another plan by now, or a guard that no word overrides.
            JournalError: The journal can't keep it.
        """
        start = self._approved(watched, by=by, token=token)
        await self.scribe.commit(
            j.ApprovalGiven(
                service=watched.name, incident=watched.incident, by=by, strategy=start[1].strategy.name, token=token
            )
        )
        state, command = self._approved(watched, by=by, token=token)  # writing took a moment: look again
        self._apply(watched, (state, (command,)))
        return command

    def _approved(self, watched: Watched, *, by: str, token: str) -> tuple[decide.State, decide.Start]:
        state, commands = decide.on_approved(
            watched.state, watched.service, self._situation(watched), by=by, now=self.clock.monotonic()
        )
        asked = self.approval(watched)
        if asked is None or not hmac.compare_digest(asked[1], token):
            raise decide.Refused(f"{watched.name}: what was approved is no longer what would be done; look at it again")
        return state, next(command for command in commands if isinstance(command, decide.Start))

    def deny(self, watched: Watched, *, by: str, reason: str) -> str:
        """Pass over what was asked for, at a person's word; returns its name. Raises ``decide.Refused``."""
        decision = decide.on_denied(
            watched.state,
            watched.service,
            self._situation(watched),
            by=by,
            reason=self.redact(reason),
            now=self.clock.monotonic(),
        )
        self._apply(watched, decision)
        return next(command.strategy for command in decision[1] if isinstance(command, decide.GiveUp))

    async def order(self, watched: Watched, *, by: str, strategy: str | None) -> decide.Start:
        """Start a recovery at a person's word; raises ``decide.Refused`` or ``JournalError``."""
        _, start = self.ordered(watched, by=by, strategy=strategy)
        await self.scribe.commit(
            j.RecoveryOrdered(service=watched.name, incident=watched.incident, by=by, strategy=start.strategy.name)
        )
        state, start = self.ordered(watched, by=by, strategy=strategy)  # writing took a moment: look again
        self._apply(watched, (state, (start,)))
        return start

    def ordered(self, watched: Watched, *, by: str, strategy: str | None) -> tuple[decide.State, decide.Start]:
        """What ``order`` would do, without doing it."""
        if self.watched.get(watched.name) is not watched:
            raise decide.Refused(f"{watched.name} is no longer in the settings")
        now = self.clock.monotonic()
        state, commands = decide.on_order(
            watched.state, watched.service, self._situation(watched), strategy=strategy, by=by, now=now
        )
        start = next(command for command in commands if isinstance(command, decide.Start))
        return state, start

    async def promote(self, watched: Watched, strategy: str, *, by: str) -> None:
        """Trust a demoted strategy again at a person's word; raises ``JournalError`` if the journal can't keep it."""
        await self.scribe.commit(
            j.StrategyPromoted(service=watched.name, incident=watched.incident, strategy=strategy, by=by)
        )
        self._look_at_all()

    # ------------------------------------------------------------------------------------ an earlier life

    def restored(
        self, watched: Watched, *, trouble: decide.Trouble, incident: str, belief: Belief | None = None
    ) -> None:
        """Go on with an incident of an earlier life; to be called before ``run``."""
        watched.incident = incident
        watched.state = replace(watched.state, belief=belief or watched.state.belief, trouble=trouble)

    def fell(self, watched: Watched, falls: Sequence[float]) -> None:
        """Remember when the service went down in earlier lives, oldest first."""
        watched.state = replace(watched.state, falls=tuple(falls))

    def used(self, uses: Sequence[Use]) -> None:
        """Count attempts in the budgets, oldest first."""
        if uses:
            self._surroundings.used(uses, self.policy)

    def go_on(self, watched: Watched, start: decide.Start, resume: AttemptRecord) -> None:
        """Resume an attempt of an earlier life; to be called while running."""
        self._start(watched, start, resume)
