"""What people may ask of the running daemon; meets ``model.control.Control``."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from reviver.core import approval, decide
from reviver.model.control import ApprovalView, ControlRefused, ServiceView, TrustView
from reviver.model.health import Health
from reviver.model.journal import JournalError
from reviver.model.secrets import one_line
from reviver.model.services import Mode, Strategy
from reviver.model.units import format_duration

from .supervisor import Supervisor
from .watched import Watched

_BY_REACH = (Mode.OBSERVE, Mode.APPROVE, Mode.AUTO)
PAUSE_MAX = 24 * 3600.0  # seconds; a pause that is forgotten must end by itself


class SupervisorControl:
    """Shows what the supervisor believes, and passes people's orders on."""

    def __init__(self, supervisor: Supervisor, reload: Callable[[], Awaitable[None]]) -> None:
        self._supervisor = supervisor
        self._reload = reload

    def health(self) -> Mapping[str, ServiceView]:
        """Every service, in the order of the settings."""
        return {name: self._view(watched) for name, watched in self._supervisor.watched.items()}

    def observer_suspect(self) -> str:
        """Why reviver suspects itself; empty if it doesn't."""
        return self._supervisor.observer.suspicion.text

    def trust(self) -> Sequence[TrustView]:
        """Every strategy of every service, in the order of the settings. May be called from another thread."""
        every = list(self._supervisor.watched.values())
        return [self._trust(watched.name, strategy) for watched in every for strategy in watched.service.strategies]

    def ready(self) -> str:
        """Why it isn't ready yet; empty when it is."""
        if self._supervisor.scribe.broken:
            return self._supervisor.scribe.broken
        services = self._supervisor.watched.values()
        unasked = sum(watched.result is None for watched in services)
        return f"{unasked} of {len(services)} services not asked yet" if unasked else ""

    async def pause(self, services: Sequence[str], *, by: str, reason: str, seconds: float) -> list[str]:
        """Keep hands off *services* (none named: all) for *seconds*; returns their names."""
        if not 0 < seconds <= PAUSE_MAX:
            raise ControlRefused(f"a pause lasts at most {format_duration(PAUSE_MAX)}; renew it if need be")
        chosen = self._chosen(services)
        reason = self._clean(reason)
        for watched in chosen:
            try:
                await self._supervisor.pause(watched, by=by, reason=reason, seconds=seconds)
            except JournalError as error:
                raise ControlRefused(f"{watched.name} is not paused: {error}") from error
        return [watched.name for watched in chosen]

    async def resume(self, services: Sequence[str], *, by: str) -> list[str]:
        """End the pause of *services* (none named: all paused ones); returns their names."""
        paused = [w for w in self._chosen(services) if w.state.belief.health is Health.PAUSED]
        for watched in paused:
            self._supervisor.resume(watched, by=by)
        return [watched.name for watched in paused]

    async def recover(self, service: str, *, by: str, strategy: str | None, dry_run: bool) -> str:
        """Start the next strategy of *service* now, or the named one; returns what is (would be) done."""
        [watched] = self._chosen([service])
        try:
            if dry_run:
                _, start = self._supervisor.ordered(watched, by=by, strategy=strategy)
            else:
                start = await self._supervisor.order(watched, by=by, strategy=strategy)
        except (decide.Refused, JournalError) as error:
            raise ControlRefused(str(error)) from error
        return self._will(service, start)

    def _will(self, service: str, start: decide.Start) -> str:
        steps = "; ".join(approval.plan(start.strategy))
        return self._supervisor.redact(
            f'{service}: attempt {start.attempt}, strategy "{start.strategy.name}": reviver will {steps}'
        )

    def approvals(self) -> Sequence[ApprovalView]:
        """What waits for a person's word, in the order of the settings."""
        views = (self._approval(watched) for watched in self._supervisor.watched.values())
        return [view for view in views if view is not None]

    async def approve(self, service: str, *, by: str, token: str) -> str:
        """Start what *service* waits with, if it is still the plan that *token* names."""
        [watched] = self._chosen([service])
        try:
            start = await self._supervisor.approve(watched, by=by, token=token)
        except (decide.Refused, JournalError) as error:
            raise ControlRefused(str(error)) from error
        return self._will(service, start)

    async def deny(self, service: str, *, by: str, reason: str) -> str:
        """Pass over what *service* waits with, for the rest of its incident."""
        [watched] = self._chosen([service])
        try:
            strategy = self._supervisor.deny(watched, by=by, reason=self._clean(reason))
        except decide.Refused as error:
            raise ControlRefused(str(error)) from error
        return f'{service}: "{strategy}" is given up in this incident'

    def frozen(self) -> str:
        """Why everything is held; empty if it isn't."""
        return self._supervisor.frozen

    def freeze(self, *, by: str, reason: str) -> str:
        """Hold everything before its next effect, at once."""
        self._supervisor.freeze(by=by, reason=self._clean(reason))
        return self._supervisor.frozen

    def thaw(self, *, by: str) -> str:
        """End the freeze; a file's goes on while the file is there."""
        self._supervisor.thaw(by=by)
        return self._supervisor.frozen

    async def promote(self, service: str, strategy: str, *, by: str) -> str:
        """Trust a demoted strategy again; returns what holds now."""
        [watched] = self._chosen([service])
        named = next((s for s in watched.service.strategies if s.name == strategy), None)
        if named is None:
            known = ", ".join(f'"{s.name}"' for s in watched.service.strategies) or "none"
            raise ControlRefused(f'{service} has no strategy "{strategy}"; it has: {known}')
        if strategy not in self._supervisor.consequences.demoted(service):
            raise ControlRefused(f'"{strategy}" of {service} is not demoted: its mode is {self._mode(service, named)}')
        try:
            await self._supervisor.promote(watched, strategy, by=by)
        except JournalError as error:
            raise ControlRefused(f'"{strategy}" of {service} stays demoted: {error}') from error
        return f'"{strategy}" of {service} is trusted again: its mode is {self._mode(service, named)}'

    async def reload(self) -> None:
        """Read the settings again: all or nothing."""
        await self._reload()

    def _clean(self, reason: str) -> str:
        """What a person wrote, for the terminals of others."""
        return one_line(self._supervisor.redact(reason))

    def _chosen(self, names: Sequence[str]) -> list[Watched]:
        known = self._supervisor.watched
        for name in names:
            if name not in known:
                raise ControlRefused(
                    f'there is no service "{name}"; there are: {", ".join(known)}', unknown_service=True
                )
        return [known[name] for name in names] if names else list(known.values())

    def _approval(self, watched: Watched) -> ApprovalView | None:
        asked, trouble, fault = self._supervisor.approval(watched), watched.state.trouble, watched.state.belief.fault
        if asked is None or trouble is None:
            return None
        strategy, token, left = asked
        return ApprovalView(
            service=watched.name,
            incident=watched.incident,
            strategy=strategy.name,
            attempt=trouble.attempts + 1,
            fault="" if fault is None else fault.kind.value,
            message="" if fault is None else fault.message,
            plan=tuple(self._supervisor.redact(line) for line in approval.plan(strategy)),
            destructive=strategy.destructive,
            token=token,
            expires_at=self._supervisor.clock.wall() + left,
        )

    def _mode(self, service: str, strategy: Strategy) -> str:
        """How far *strategy* goes by itself."""
        demoted = strategy.name in self._supervisor.consequences.demoted(service)
        modes = {strategy.mode, self._supervisor.policy.mode, *([Mode.APPROVE] if demoted else [])}
        return min(modes, key=_BY_REACH.index).value

    def _trust(self, service: str, strategy: Strategy) -> TrustView:
        consequences, clock = self._supervisor.consequences, self._supervisor.clock
        earned = consequences.trust(service, strategy.name)
        wall_minus_boot = clock.wall() - clock.boottime()
        return TrustView(
            service=service,
            strategy=strategy.name,
            mode=self._mode(service, strategy),
            tries=earned.tries,
            cures=earned.cures,
            failures=earned.failures,
            needless=earned.needless,
            relapses_1h=earned.relapses_1h,
            relapses_24h=earned.relapses_24h,
            last_cure=None if earned.last_cure is None else earned.last_cure + wall_minus_boot,
            last_relapse=None if earned.last_relapse is None else earned.last_relapse + wall_minus_boot,
            demoted=consequences.demoted(service).get(strategy.name, ""),
        )

    def _view(self, watched: Watched) -> ServiceView:
        clock, belief, result = self._supervisor.clock, watched.state.belief, watched.result
        wall_minus_monotonic = clock.wall() - clock.monotonic()
        trouble = watched.state.trouble
        live = trouble if trouble is not None and trouble.open else None
        fault, pause, window = belief.fault, watched.pause, self._supervisor.stand_down.maintenance(watched.name)
        unknown = result.unknown if result is not None and result.unknown else ""
        return ServiceView(
            kind=watched.service.kind,
            health=belief.health.value,
            fault=None if fault is None else fault.kind.value,
            message=unknown if fault is None else fault.message,
            since=None if result is None else belief.since + wall_minus_monotonic,
            latency_seconds=None if result is None else result.latency,
            checked_at=None if result is None else watched.answered_at + wall_minus_monotonic,
            certain=fault is not None and fault.certain,
            held=live.held_reason if live is not None else "",
            incident=watched.incident if live is not None else "",
            attempt=watched.attempt,
            strategy=live.running if live is not None else "",
            depends_on=watched.service.depends_on,
            paused_until=None if pause is None else pause.until,
            paused_by="" if pause is None else pause.by,
            paused_reason="" if pause is None else pause.reason,
            maintenance_until=None if window is None else window.until,
            maintenance="" if window is None else window.told,
            details={} if result is None else result.details,
        )
