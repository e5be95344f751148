"""What bears on acting upon one service, outside of it: the others, the budgets, the observer itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reviver.core.guards import Held, Situation
from reviver.model.services import Budget, DaemonPolicy

from .observer import Observer
from .watched import Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An attempt that reviver made by itself, for the budgets."""

    at: float
    service: str
    strategy: str


class Surroundings:
    """Looks at all services together."""

    def __init__(self, watched: Mapping[str, Watched], observer: Observer) -> None:
        self._watched = watched
        self._observer = observer
        self._uses: list[Use] = []

    def situation(
        self,
        watched: Watched,
        policy: DaemonPolicy,
        *,
        stand_down: Held | None,
        demoted: Mapping[str, str],
        frozen: str,
        journal_broken: str,
        stopping: bool,
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
            stand_down=stand_down,
            observer_suspect=self._observer.against(watched),
            demoted=demoted,
            frozen=frozen,
            journal_broken=journal_broken,
            stopping=stopping,
        )

    def unused(self, use: Use) -> None:
        """Take *use* back: it came to no step."""
        if use in self._uses:
            self._uses.remove(use)

    def used(self, uses: Sequence[Use], policy: DaemonPolicy) -> None:
        """Count *uses* in the budgets, oldest first; what no budget looks back to is forgotten."""
        self._uses.extend(uses)
        longest = max(budget.per for budget in (policy.budget, *self._budgets()))
        self._uses = [use for use in self._uses if use.at > self._uses[-1].at - longest]

    def _budgets(self) -> list[Budget]:
        services = [each.service for each in self._watched.values()]
        own = [budget for service in services for strategy in service.strategies for budget in strategy.budgets]
        return [*own, *(budget for service in services for budget in service.budgets)]

    def _dependencies_down(self, watched: Watched) -> tuple[str, ...]:
        since = watched.failing_since
        return tuple(each.name for each in self.dependencies(watched) if not _serves(each, since))

    def _needed(self, watched: Watched) -> Iterable[str]:
        seen: dict[str, None] = {}
        todo = list(watched.service.depends_on)
        while todo:
            name = todo.pop(0)
            if name not in seen and name in self._watched:
                seen[name] = None
                todo.extend(self._watched[name].service.depends_on)
        return seen

    def dependencies(self, watched: Watched) -> list[Watched]:
        """The services that it depends on, directly or not."""
        return [self._watched[name] for name in self._needed(watched)]


def _serves(other: Watched, since: float | None) -> bool:
    """Whether *other* is up by an answer to a question asked *since* then: an older one may be out of date."""
    return other.serves and (since is None or other.heard_at >= since)
