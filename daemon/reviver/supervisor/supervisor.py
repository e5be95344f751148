"""
The shell of watching: asks each service when it is due, tells the core what came of it, and carries its commands out.

Everything that the core decides passes through ``_apply``, one service at a time under its ``deciding`` lock, so that
the journal reads in the order in which things were decided. No service waits for another: each question runs in its
own task with its own deadline.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

import anyio
import anyio.abc

from reviver.core import decide, severity
from reviver.core.guards import Situation
from reviver.core.health import CERTAIN_PAUSE, Belief, Sample, pause_until_next, void
from reviver.core.suspicion import Standing, Suspicion, suspect
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.events import Blip, Checked, Emit, HealthChanged, ObserverSuspected, ServicesChanged
from reviver.model.faults import Fault, FaultKind
from reviver.model.health import Health
from reviver.model.incidents import AttemptRecord
from reviver.model.ports import AttemptResult, Clock, Order, Outcome, Recoverer
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Service

from . import process
from .lag import LagMeter
from .patient import WatchedPatient
from .schedule import Schedule
from .watched import Watched, cleaned

log = logging.getLogger(__name__)

TURN_AT_LEAST = 1.0  # seconds; the loop turns at least this often, for the watchdog's sake
DEADLINE_GRACE = 0.5  # seconds; a check that outlives its own timeout by this much is cut off
OPEN_AGAIN = 5.0  # seconds until a check that could not be opened is opened again
SUSPICION_FRESH = 0.5  # seconds for which a look at all services serves

Key = tuple[str, str]
"""What is due, and for which service: ``ask``, ``look`` or ``unpause``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An attempt that reviver made by itself, for the budgets."""

    at: float
    service: str
    strategy: str


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
        self._lag = LagMeter(clock, emit)
        self._schedule: Schedule[Key] = Schedule()
        self._uses: list[Use] = []
        self._suspicion = Suspicion()
        self._suspicion_at = float("-inf")
        self._idle = anyio.Event()
        self._tasks: anyio.abc.TaskGroup
        self._add(services)

    # ------------------------------------------------------------------------------------------------- life

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. Started when every check is open and its first question is due."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._lag.run)
            self._tasks.start_soon(self.scribe.mend)
            for watched in self.watched.values():
                self._begin(watched)
            task_status.started()
            await self._turns()

    async def _turns(self) -> None:
        while True:
            now = self.clock.monotonic()
            for what, name in self._schedule.due(now):
                watched = self.watched.get(name)
                if watched is not None:
                    self._tasks.start_soon(self._due, what, watched)
            self._on_turn()
            await self._schedule.wait(at_most=TURN_AT_LEAST)

    async def _due(self, what: str, watched: Watched) -> None:
        match what:
            case "ask":
                await self._ask_when_due(watched)
            case "look":
                await self.look(watched)
            case _:
                await self.resume(watched, by=decide.REVIVER)

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
        self._tasks.start_soon(self._keep, watched, watched.keeper)
        if watched.running:  # left over from an earlier life
            return
        spread = min(1.0, watched.service.interval) * watched.phase
        self._put_ask(watched, self.clock.monotonic() + spread)

    async def _keep(self, watched: Watched, keeper: anyio.CancelScope) -> None:
        """Hold the check open, and again if it breaks, until *keeper* is cancelled."""
        with keeper:
            while True:
                try:
                    await self._hold_open(watched)
                except Exception:  # the wall around a kind's own code: one broken check stops no other
                    log.exception("check.broke", extra={"service": watched.name})
                watched.probe = None
                watched.opened.set()  # whoever waits must not wait for it
                await anyio.sleep(OPEN_AGAIN)

    async def _hold_open(self, watched: Watched) -> None:
        service = watched.service
        context = CheckContext(
            service=service.name, timeout=service.timeout, wake=lambda reason: self.wake(watched, reason)
        )
        async with AsyncExitStack() as stack:
            watched.probe = await stack.enter_async_context(service.check.open(context))
            watched.opened.set()
            if service.unit is None and service.pidfile is None:
                await anyio.sleep_forever()
            await process.watch(
                unit=service.unit, pidfile=service.pidfile, tell=lambda sighting: self._sighted(watched, sighting)
            )

    def _sighted(self, watched: Watched, sighting: process.Sighting) -> None:
        watched.process, watched.process_told = sighting.state, sighting.told
        self.wake(watched, sighting.told)

    async def replace_services(self, services: Mapping[str, Service], policy: DaemonPolicy) -> None:
        """Put new settings in force: what is unchanged is left alone, attempts under way are left to end."""
        self.policy = policy
        removed = [name for name in self.watched if name not in services]
        for name in removed:
            await self._remove(self.watched[name])
        for name, service in services.items():
            watched = self.watched.get(name)
            if watched is not None and (watched.service != service or watched.removed):
                self._swap(watched, service)
        fresh = {name: service for name, service in services.items() if name not in self.watched}
        self._add(fresh)
        for name in fresh:
            self._begin(self.watched[name])
        self._emit(ServicesChanged(added=(), removed=tuple(removed)))
        self._look_at_all()

    def _swap(self, watched: Watched, service: Service) -> None:
        self._release(watched)
        watched.service = service
        self._begin(watched)

    def _release(self, watched: Watched) -> None:
        if watched.keeper is not None:
            watched.keeper.cancel()
        watched.probe = None

    async def _remove(self, watched: Watched) -> None:
        watched.removed = True
        if watched.running:
            return  # `_attempt` comes back to it
        self._release(watched)
        self._drop_ask(watched)
        for what in ("look", "unpause"):
            self._schedule.drop((what, watched.name))
        del self.watched[watched.name]
        if watched.incident and watched.state.trouble is not None and watched.state.trouble.open:
            reason = "its service is no longer in the settings"
            await self.scribe.record(
                j.IncidentWithdrawn(service=watched.name, incident=watched.incident, reason=reason)
            )

    # --------------------------------------------------------------------------------------------- asking

    def wake(self, watched: Watched, reason: str) -> None:
        """Ask again at once: something has happened. Never more often than confirming probes would."""
        log.debug("check.woken", extra={"service": watched.name, "reason": reason})
        if not watched.running:
            watched.woken = True
            at = max(self.clock.monotonic(), watched.asked_at + CERTAIN_PAUSE)
            if at < watched.due_at:
                self._put_ask(watched, at)

    async def _ask_when_due(self, watched: Watched) -> None:
        if watched.running or watched.asking.locked():
            return  # the attempt asks by itself; a question under way ends by putting the next
        watched.woken = False
        now, due_at, watched.due_at = self.clock.monotonic(), watched.due_at, float("inf")
        fresh = watched.state.belief.failing_since is not None or now >= watched.fresh_at + watched.service.fresh_every
        await self.ask(watched, fresh=fresh, late=max(0.0, now - due_at))
        self._put_next(watched)
        await self.look(watched)

    def _put_next(self, watched: Watched) -> None:
        if watched.running or watched.name not in self.watched:
            return
        service, now = watched.service, self.clock.monotonic()
        pause = pause_until_next(watched.state.belief, service)
        if watched.woken:
            pause = min(pause, CERTAIN_PAUSE)
        due = watched.answered_at + pause
        if pause >= service.interval:  # the regular grid: absolute, each at its own phase
            offset = service.interval * watched.phase
            due = ((now - offset) // service.interval + 1) * service.interval + offset
        self._put_ask(watched, due)

    def _put_ask(self, watched: Watched, at: float) -> None:
        watched.due_at = at
        self._schedule.put(("ask", watched.name), at)

    def _drop_ask(self, watched: Watched) -> None:
        watched.due_at = float("inf")
        self._schedule.drop(("ask", watched.name))

    async def ask(self, watched: Watched, *, fresh: bool, late: float = 0.0) -> Sample:
        """Ask the service now, believe what follows, and tell of it."""
        async with watched.asking:
            asked_at = self.clock.monotonic()
            watched.asked_at = asked_at
            if fresh:
                watched.fresh_at = asked_at
            result = cleaned(watched.weighed(await self._ask_within_deadline(watched, fresh=fresh)), self.redact)
            answered_at = self.clock.monotonic()
        sample = Sample(result=result, asked_at=asked_at, answered_at=answered_at, lag=self._lag.worst_since(asked_at))
        watched.result, watched.answered_at = result, answered_at
        self._emit(
            Checked(
                service=watched.name,
                kind=watched.service.kind,
                result=result,
                fresh=fresh,
                late=late,
                void=void(sample, timeout=watched.service.timeout),
            )
        )
        self._believe(watched, decide.on_answer(watched.state, sample, watched.service))
        return sample

    async def _ask_within_deadline(self, watched: Watched, *, fresh: bool) -> CheckResult:
        started, timeout = self.clock.monotonic(), watched.service.timeout
        try:
            with anyio.fail_after(timeout + DEADLINE_GRACE):
                if watched.probe is None:
                    await watched.opened.wait()
                if watched.probe is None:
                    return CheckResult(latency=0.0, unknown=f"{watched.name}: its check can't be opened")
                return await watched.probe.ask(fresh=fresh)
        except TimeoutError:
            message = f"{watched.name}: no answer within {timeout:g} s"
            fault = Fault(kind=FaultKind.TIMEOUT, message=message)
            return CheckResult(latency=self.clock.monotonic() - started, fault=fault)
        except Exception as error:  # the wall around a kind's own code
            log.exception("check.crashed", extra={"service": watched.name})
            unknown = (
                f"{watched.name}: its check failed by itself ({type(error).__name__}); this is a defect of the check"
            )
            return CheckResult(latency=self.clock.monotonic() - started, unknown=unknown)

    # ------------------------------------------------------------------------------------------- deciding

    async def look(self, watched: Watched) -> None:
        """Consider what follows from what is believed of the service, and do it."""
        trouble = watched.state.trouble
        if watched.state.belief.health is Health.UP and (trouble is None or not trouble.open):
            return  # nearly always
        async with watched.deciding:
            now = self.clock.monotonic()
            state, commands = decide.consider(watched.state, watched.service, self.situation(watched), now=now)
            await self._apply(watched, state, commands)

    def situation(self, watched: Watched) -> Situation:
        """What is the case outside of *watched* now."""
        now = self.clock.monotonic()
        running = tuple(other.name for other in self.watched.values() if other.running and other is not watched)
        here: dict[str, list[float]] = {}
        for use in self._uses:
            if use.service == watched.name:
                here.setdefault(use.strategy, []).append(use.at)
        return Situation(
            policy=self.policy,
            dependencies_down=self._dependencies_down(watched),
            running=running,
            used_at=[use.at for use in self._uses],
            used_here_at=here,
            observer_suspect=self._suspect(now),
            journal_broken=self.scribe.broken,
            stopping=self.stopping,
        )

    def _dependencies_down(self, watched: Watched) -> tuple[str, ...]:
        seen: dict[str, None] = {}
        todo = list(watched.service.depends_on)
        while todo:
            name = todo.pop(0)
            if name in seen or name not in self.watched:
                continue
            seen[name] = None
            todo.extend(self.watched[name].service.depends_on)
        return tuple(name for name in seen if not self.watched[name].serves)

    def _suspect(self, now: float) -> str:
        if now - self._suspicion_at >= SUSPICION_FRESH:
            self._suspicion_at = now
            before = self._suspicion.reason
            failing = {name for name, each in self.watched.items() if each.state.belief.failing_since is not None}
            standings = [
                Standing(hosts=each.service.check.hosts(), failing=name in failing)
                for name, each in self.watched.items()
                if not failing & set(each.service.depends_on)
            ]
            self._suspicion = suspect(self._suspicion, standings, now=now)
            if bool(before) != bool(self._suspicion.reason):
                self._emit(ObserverSuspected(reason=self._suspicion.reason))
        return self._suspicion.reason

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
        if (old.health is Health.UP) != (new.health is Health.UP):
            self._look_at_all()

    def _look_at_all(self) -> None:
        """What one service's change may free: those that are held because of it."""
        now = self.clock.monotonic()
        for other in self.watched.values():
            trouble = other.state.trouble
            if trouble is not None and trouble.open and not trouble.running:
                self._schedule.put(("look", other.name), now)

    async def _apply(self, watched: Watched, state: decide.State, commands: Sequence[decide.Command]) -> None:
        """Carry *commands* out, in order. The state is taken over first, without a pause: no two can start at once."""
        self._believe(watched, state)
        for command in commands:
            await self._carry_out(watched, command)

    async def _carry_out(self, watched: Watched, command: decide.Command) -> None:
        match command:
            case decide.Open():
                await self._open(watched, command)
            case decide.NoteFault(fault):
                await self.scribe.record(
                    j.FaultChanged(
                        service=watched.name,
                        incident=watched.incident,
                        fault=fault.kind,
                        message=fault.message,
                        certain=fault.certain,
                    )
                )
            case decide.Hold(held):
                await self.scribe.record(
                    j.RecoveryHeld(
                        service=watched.name, incident=watched.incident, guard=held.guard, reason=held.reason
                    )
                )
            case decide.Start():
                self._start(watched, command)
            case decide.Escalate(reason):
                await self.scribe.record(
                    j.IncidentEscalated(service=watched.name, incident=watched.incident, reason=reason)
                )
            case decide.Close(by, down_for):
                await self.scribe.record(
                    j.IncidentRecovered(service=watched.name, incident=watched.incident, by=by, down_for=down_for)
                )
            case decide.LookAt(at):
                self._schedule.put(("look", watched.name), at)
            case _:
                assert_never(command)

    async def _open(self, watched: Watched, command: decide.Open) -> None:
        fault = command.fault
        if command.again:
            await self.scribe.record(
                j.IncidentReopened(
                    service=watched.name,
                    incident=watched.incident,
                    fault=fault.kind,
                    message=fault.message,
                    certain=fault.certain,
                    failing_for=command.failing_for,
                )
            )
            return
        services = {name: each.service for name, each in self.watched.items()}
        affected = severity.impact(watched.name, services)
        at = datetime.fromtimestamp(self.clock.wall(), UTC)
        watched.incident = f"{watched.name}-{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}"
        await self.scribe.record(
            j.IncidentOpened(
                service=watched.name,
                incident=watched.incident,
                fault=fault.kind,
                message=fault.message,
                certain=fault.certain,
                severity=severity.severity(watched.name, affected, services),
                impact=affected,
                failing_for=command.failing_for,
                details=fault.details,
            )
        )

    # ------------------------------------------------------------------------------------------- attempts

    def _start(self, watched: Watched, command: decide.Start, resume: AttemptRecord | None = None) -> None:
        now = self.clock.monotonic()
        if command.by == decide.REVIVER and resume is None:
            oldest = now - self._longest_budget()
            self._uses = [use for use in self._uses if use.at > oldest]
            self._uses.append(Use(at=now, service=watched.name, strategy=command.strategy.name))
        watched.attempt = command.attempt
        self._drop_ask(watched)
        order = Order(
            incident=watched.incident,
            service=watched.service,
            strategy=command.strategy,
            attempt=command.attempt,
            fault=command.fault,
            patient=WatchedPatient(self, watched),
            symptom_age=now - watched.state.belief.fault_at,
            by=command.by,
            resume=resume,
        )
        self._tasks.start_soon(self._attempt, watched, order)

    def _longest_budget(self) -> float:
        budgets = [budget for each in self.watched.values() for budget in each.service.budgets]
        return max(budget.per for budget in (*budgets, self.policy.budget))

    async def _attempt(self, watched: Watched, order: Order) -> None:
        started = self.clock.monotonic()
        try:
            result = await self._recoverer(order)
        except Exception as error:  # the wall around recovery: an unforeseen error must leave the incident to people
            log.exception("recovery.crashed", extra={"service": watched.name})
            message = f"the attempt broke off ({type(error).__name__}); what its steps did must be looked at"
            result = AttemptResult(outcome=Outcome.UNCLEAR, message=self.redact(message))
        if result.outcome is Outcome.ABORTED and self.stopping:
            self._believe(watched, decide.on_interrupted(watched.state))
            self._idle.set()
            return  # left open in the journal: the next life of the daemon resumes it
        async with watched.deciding:
            await self._attempt_ended(watched, order, result, seconds=self.clock.monotonic() - started)
        self._idle.set()
        self._look_at_all()
        if watched.removed:
            await self._remove(watched)
        else:
            self._put_next(watched)

    async def _attempt_ended(self, watched: Watched, order: Order, result: AttemptResult, *, seconds: float) -> None:
        now = self.clock.monotonic()
        state, commands = decide.on_attempt_ended(
            watched.state,
            watched.service,
            self.situation(watched),
            outcome=result.outcome,
            message=result.message,
            random=self._random(),
            now=now,
        )
        watched.attempt = 0
        trouble = state.trouble
        waits = trouble is not None and trouble.open and trouble.escalated_at is None and not trouble.running
        ended = j.AttemptEnded(
            service=watched.name,
            incident=watched.incident,
            attempt=order.attempt,
            strategy=order.strategy.name,
            outcome=result.outcome.value,
            message=result.message,
            seconds=seconds,
            retry_in=max(0.0, trouble.ladder.not_before - now) if waits and trouble is not None else None,
        )
        self._believe(watched, state)
        await self.scribe.record(ended)
        for command in commands:
            await self._carry_out(watched, command)

    # --------------------------------------------------------------------------------------------- people

    async def pause(self, watched: Watched, *, by: str, reason: str, seconds: float) -> None:
        """Keep hands off the service; raises ``JournalError`` if the journal can't keep it."""
        until = self.clock.wall() + seconds
        async with watched.deciding:
            await self.scribe.commit(
                j.ServicePaused(
                    service=watched.name, incident=watched.incident, by=by, reason=self.redact(reason), until=until
                )
            )
            self.paused(watched, until=until)

    def paused(self, watched: Watched, *, until: float) -> None:
        """Let the pause that stands in the journal hold."""
        now = self.clock.monotonic()
        watched.paused_until = until
        self._schedule.put(("unpause", watched.name), now + max(0.0, until - self.clock.wall()))
        self._believe(watched, decide.on_pause(watched.state, now=now))

    async def resume(self, watched: Watched, *, by: str) -> None:
        """End the pause."""
        async with watched.deciding:
            await self.scribe.record(j.ServiceResumed(service=watched.name, incident=watched.incident, by=by))
            self._schedule.drop(("unpause", watched.name))
            watched.paused_until = None
            self._believe(watched, decide.on_resume(watched.state, now=self.clock.monotonic()))
        self.wake(watched, "resumed")

    async def order(self, watched: Watched, *, by: str, strategy: str | None) -> decide.Start:
        """Start a recovery at a person's word; raises ``decide.Refused`` or ``JournalError``."""
        async with watched.deciding:
            _, start = self.ordered(watched, by=by, strategy=strategy)
            await self.scribe.commit(
                j.RecoveryOrdered(service=watched.name, incident=watched.incident, by=by, strategy=start.strategy.name)
            )
            state, start = self.ordered(watched, by=by, strategy=strategy)  # writing took a moment: look again
            self._believe(watched, state)
            self._start(watched, start)
        return start

    def ordered(self, watched: Watched, *, by: str, strategy: str | None) -> tuple[decide.State, decide.Start]:
        """What ``order`` would do, without doing it."""
        now = self.clock.monotonic()
        state, commands = decide.on_order(
            watched.state, watched.service, self.situation(watched), strategy=strategy, by=by, now=now
        )
        start = next(command for command in commands if isinstance(command, decide.Start))
        return state, start

    # ------------------------------------------------------------------------------------ an earlier life

    def restored(self, watched: Watched, *, trouble: decide.Trouble, incident: str, belief: Belief | None) -> None:
        """Go on with an incident of an earlier life; to be called before ``run``."""
        watched.incident = incident
        watched.state = decide.State(belief=belief or watched.state.belief, trouble=trouble)

    def used(self, uses: Sequence[Use]) -> None:
        """Count attempts of an earlier life in the budgets; to be called before ``run``."""
        self._uses.extend(uses)

    def go_on(self, watched: Watched, start: decide.Start, resume: AttemptRecord) -> None:
        """Resume an attempt of an earlier life; to be called while running."""
        self._start(watched, start, resume)
