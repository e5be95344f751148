"""
What follows from acting: which strategies have earned trust on a service, and which have lost it.

Follows the journal's entries and the answers after an action; decides nothing but demotions. All of it is restored
from the journal.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from reviver.core import harm, trust
from reviver.core.severity import impact
from reviver.incidents.scribe import Scribe
from reviver.model import journal as j
from reviver.model.health import Health
from reviver.model.ports import Clock
from reviver.model.services import Mode

from .watched import Watched

FORGET_EVERY = 10.0  # seconds between looks whether actions can be forgotten

Key = tuple[str, str, int]
"""An attempt: its service, its incident, its number."""


class Consequences:
    """Keeps what strategies did, and stops those that did harm or whose cures don't last."""

    def __init__(
        self,
        watched: Mapping[str, Watched],
        *,
        clock: Clock,
        scribe: Scribe,
        needs: Callable[[Watched], Sequence[Watched]],
        doubt: Callable[[Watched], str],
    ) -> None:
        self._watched = watched
        self._clock = clock
        self._scribe = scribe
        self._needs = needs
        self._doubt = doubt
        self._ledgers: dict[str, trust.Ledger] = {}
        """By service; in seconds since boot, for the clock of trust goes on while the host is suspended."""
        self._demoted: dict[str, dict[str, str]] = {}
        """Why, by service and strategy."""
        self._acted: dict[Key, harm.Acted] = {}
        """What acted lately; in monotonic seconds."""
        self._forget_at = float("-inf")
        scribe.follow(self._heard)

    # ------------------------------------------------------------------------------------------- what is told

    def demoted(self, service: str) -> Mapping[str, str]:
        """Why strategies of *service* need approval whatever their mode, by their names."""
        return self._demoted.get(service, {})

    def trust(self, service: str, strategy: str) -> trust.Trust:
        """The figures of *strategy* on *service*, in seconds since boot. May be called from another thread."""
        ledger = self._ledgers.get(service, trust.Ledger())
        return trust.figures(ledger.history(strategy), now=self._clock.boottime())

    def downstream(self, watched: Watched) -> list[Watched]:
        """The services that depend on *watched*, directly or not."""
        services = {name: each.service for name, each in self._watched.items()}
        return [self._watched[name] for name in impact(watched.name, services)] if watched.name in services else []

    def well_downstream(self, watched: Watched) -> tuple[str, ...]:
        """Those of them that are well by an answer to a question asked since *watched* failed."""
        since = watched.failing_since if watched.failing_since is not None else float("-inf")
        return tuple(
            each.name
            for each in self.downstream(watched)
            if each.state.belief.health is Health.UP and _fell_at(each) is None and each.heard_at >= since
        )

    # --------------------------------------------------------------------------------------------- what happens

    def restore(self, records: Iterable[j.Record], demotions: Iterable[j.StrategyDemoted]) -> None:
        """Take over what an earlier life left: *records* of the window, oldest first, and the *demotions* in force."""
        now, since_boot = self._clock.monotonic(), self._clock.boottime()
        for record in records:
            self._take(record.entry, at=now - record.age, since_boot=since_boot - record.age)
        for demotion in demotions:
            self._take(demotion, at=now, since_boot=since_boot)
        self._forget(now)

    def _heard(self, entry: j.Entry) -> None:
        self._take(entry, at=self._clock.monotonic(), since_boot=self._clock.boottime())

    def _take(self, entry: j.Entry, *, at: float, since_boot: float) -> None:
        before = self._ledgers.get(entry.service, trust.Ledger())
        ledger = trust.after(before, entry, now=since_boot)
        if ledger is not before:
            self._ledgers[entry.service] = ledger
        match entry:
            case j.AttemptStarted():
                self._ended(entry.service, at)  # an earlier one that was never said to have ended
            case j.StepStarted():
                self._began(entry, ledger.running, at)
            case j.AttemptEnded():
                self._ended(entry.service, at)
            case j.StrategyDemoted():
                self._demoted.setdefault(entry.service, {})[entry.strategy] = entry.reason
            case j.StrategyPromoted():
                self._demoted.get(entry.service, {}).pop(entry.strategy, None)
                for key in self._of(entry.service, entry.strategy):
                    del self._acted[key]
            case j.CauseFound():
                for key in self._of(entry.culprit, entry.strategy):
                    acted = self._acted[key]
                    self._acted[key] = replace(acted, well=acted.well - {entry.service})
            case _:
                pass

    def _of(self, service: str, strategy: str) -> list[Key]:
        return [key for key, each in self._acted.items() if (each.service, each.strategy) == (service, strategy)]

    def _began(self, entry: j.StepStarted, strategy: str, at: float) -> None:
        key = (entry.service, entry.incident, entry.attempt)
        if key not in self._acted and strategy and entry.well:
            self._acted[key] = harm.Acted(
                service=entry.service,
                incident=entry.incident,
                attempt=entry.attempt,
                strategy=strategy,
                began=at,
                well=frozenset(entry.well),
            )

    def _ended(self, service: str, at: float) -> None:
        for key, acted in self._acted.items():
            if acted.service == service and acted.ended is None:
                self._acted[key] = replace(acted, ended=at)

    # ------------------------------------------------------------------------------------------------ demotions

    def falls(self, watched: Watched) -> None:
        """The service is about to be told as fallen: see whether the strategy of its last cure keeps its trust."""
        now = self._clock.boottime()
        fell_at = _fell_at(watched)
        failing_for = 0.0 if fell_at is None else self._clock.monotonic() - fell_at
        ledger = self._ledgers.get(watched.name)
        if ledger is None or not ledger.cured_by:
            return
        strategy = next((s for s in watched.service.strategies if s.name == ledger.cured_by), None)
        if strategy is None or strategy.demote_after is None:
            return
        history = trust.fallen(ledger, now - failing_for).history(strategy.name)
        relapses = trust.relapses_held_against(history, now=now)
        if relapses >= strategy.demote_after:
            reason = f"{watched.name} fell again within 24 h of its cures {relapses} times"
            self._scribe.record(*self._demotion(watched.name, watched.incident, strategy.name, reason))

    def _demotion(self, service: str, incident: str, strategy: str, reason: str) -> list[j.Entry]:
        if strategy in self.demoted(service):
            return []
        mode = Mode.APPROVE.value
        return [j.StrategyDemoted(service=service, incident=incident, strategy=strategy, mode=mode, reason=reason)]

    def seen(self, watched: Watched) -> None:
        """See whether *watched*, which was just asked, is what an action has broken."""
        if not self._acted:
            return
        seen = self._seen(watched)
        for key, before in list(self._acted.items()):
            acted, harmed = harm.after_answer(before, seen)
            self._acted[key] = acted
            if harmed:
                self._blame(acted, watched, seen)
        self._forget(self._clock.monotonic())

    def _seen(self, watched: Watched) -> harm.Seen:
        belief, trouble = watched.state.belief, watched.state.trouble
        return harm.Seen(
            name=watched.name,
            fell_at=_fell_at(watched),
            failed=belief.fault is not None and belief.fault_at == watched.answered_at,
            asked_at=watched.heard_at,
            down=trouble is not None and trouble.open and belief.health in {Health.DOWN, Health.RECOVERING},
            treated=watched.running,
            needs_up_since=self._needs_up_since(watched),
            fall=watched.service.fall,
        )

    def _needs_up_since(self, watched: Watched) -> float | None:
        """Since when neither a need nor reviver itself can be why it fails; ``None``: one of them can."""
        needs = self._needs(watched)
        if self._doubt(watched) or not all(each.serves and each.failing_since is None for each in needs):
            return None
        return max((each.state.belief.since for each in needs), default=None)

    def _blame(self, acted: harm.Acted, watched: Watched, seen: harm.Seen) -> None:
        fault = watched.state.belief.fault
        seconds = (seen.fell_at or acted.began) - acted.began
        reason = (
            f"it broke {watched.name}, which failed ({'' if fault is None else fault.kind}) {seconds:.1f} s after it "
            f"began to act and was still down with {acted.service} up again"
        )
        found = j.CauseFound(
            service=watched.name,
            incident=watched.incident,
            culprit=acted.service,
            strategy=acted.strategy,
            seconds=seconds,
        )
        self._scribe.record(*self._demotion(acted.service, acted.incident, acted.strategy, reason), found)

    def _forget(self, now: float) -> None:
        """Forget the actions of which nothing more can come."""
        if now < self._forget_at:
            return
        self._forget_at = now + FORGET_EVERY
        fell_at = {name: _fell_at(each) for name, each in self._watched.items()}
        for key, acted in list(self._acted.items()):
            if acted.service not in self._watched or harm.over(acted, fell_at, now=now):
                del self._acted[key]


def _fell_at(watched: Watched) -> float | None:
    """When the service began to fail, told by its incident if it has one; ``None`` if it doesn't fail."""
    trouble = watched.state.trouble
    return trouble.since if trouble is not None and trouble.open else watched.failing_since
