"""What bears on acting upon one service, outside of it: the others, the budgets, the observer itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reviver.core.guards import Situation
from reviver.core.suspicion import Standing, Suspicion, suspect
from reviver.model.events import Emit, ObserverSuspected
from reviver.model.services import Budget, DaemonPolicy

from .watched import Watched

SUSPICION_FRESH = 0.5  # seconds for which a look at all services serves


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An attempt that reviver made by itself, for the budgets."""

    at: float
    service: str
    strategy: str


class Surroundings:
    """Looks at all services together."""

    def __init__(self, watched: Mapping[str, Watched], emit: Emit) -> None:
        self._watched = watched
        self._emit = emit
        self._uses: list[Use] = []
        self._suspicion = Suspicion()
        self._suspicion_at = float("-inf")

    def situation(
        self, watched: Watched, policy: DaemonPolicy, *, journal_broken: str, stopping: bool, now: float
    ) -> Situation:
        """What is the case outside of *watched* now."""
        here: dict[str, list[float]] = {}
        for use in self._uses:
            if use.service == watched.name:
                here.setdefault(use.strategy, []).append(use.at)
        return Situation(
            policy=policy,
            dependencies_down=self._dependencies_down(watched),
            running=tuple(each.name for each in self._watched.values() if each.running and each is not watched),
            used_at=[use.at for use in self._uses],
            used_here_at=here,
            observer_suspect=self._suspect(now),
            journal_broken=journal_broken,
            stopping=stopping,
        )

    def used(self, uses: Sequence[Use], policy: DaemonPolicy) -> None:
        """Count *uses* in the budgets, oldest first; what no budget looks back to is forgotten."""
        self._uses.extend(uses)
        longest = max(budget.per for budget in (policy.budget, *self._budgets()))
        self._uses = [use for use in self._uses if use.at > self._uses[-1].at - longest]

    def _budgets(self) -> list[Budget]:
        return [budget for each in self._watched.values() for budget in each.service.budgets]

    def _dependencies_down(self, watched: Watched) -> tuple[str, ...]:
        seen: dict[str, None] = {}
        todo = list(watched.service.depends_on)
        while todo:
            name = todo.pop(0)
            if name not in seen and name in self._watched:
                seen[name] = None
                todo.extend(self._watched[name].service.depends_on)
        return tuple(name for name in seen if not self._watched[name].serves)

    def _suspect(self, now: float) -> str:
        """Why reviver suspects itself; empty if it doesn't."""
        if now - self._suspicion_at < SUSPICION_FRESH:
            return self._suspicion.reason
        self._suspicion_at = now
        before = self._suspicion.reason
        failing = {name for name, each in self._watched.items() if each.state.belief.failing_since is not None}
        standings = [
            Standing(hosts=each.service.check.hosts(), failing=name in failing)
            for name, each in self._watched.items()
            if not failing & set(each.service.depends_on)
        ]
        self._suspicion = suspect(self._suspicion, standings, now=now)
        if bool(before) != bool(self._suspicion.reason):
            self._emit(ObserverSuspected(reason=self._suspicion.reason))
        return self._suspicion.reason
