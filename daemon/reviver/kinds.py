"""
Which kinds of checks and actions exist: those that installed packages register, reviver's own through the same door.

Looking up a name imports that kind alone, for a client library costs about 100 ms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from reviver.model.actions import Action
from reviver.model.checks import Check
from reviver.settings.known import KindUnusable

CHECKS = "reviver.checks"
ACTIONS = "reviver.actions"


class Kinds:
    """
    Kinds by name, given as classes, or as entry points that are loaded when their name is looked up.

    Several entry points under one name make that name unusable: which of two packages is meant can't be told.
    """

    def __init__(
        self,
        *,
        checks: Mapping[str, type[Check] | Sequence[EntryPoint]] | None = None,
        actions: Mapping[str, type[Action] | Sequence[EntryPoint]] | None = None,
    ) -> None:
        self._checks = checks or {}
        self._actions = actions or {}

    def check(self, name: str) -> type[Check] | None:
        """
        The kind of check called *name*; ``None`` if there is none.

        Raises:
            KindUnusable: It can't be loaded; a module that it needs is missing, for example.
        """
        found = self._checks.get(name)
        return _load(f'check "{name}"', found) if isinstance(found, Sequence) else found

    def action(self, name: str) -> type[Action] | None:
        """The kind of action called *name*; as ``check``."""
        found = self._actions.get(name)
        return _load(f'action "{name}"', found) if isinstance(found, Sequence) else found

    def check_names(self) -> Sequence[str]:
        """The names of all kinds of checks, sorted; loads none of them."""
        return sorted(self._checks)

    def action_names(self) -> Sequence[str]:
        """The names of all kinds of actions, sorted; loads none of them."""
        return sorted(self._actions)


def installed() -> Kinds:
    """The kinds that installed packages register; none is loaded yet."""
    return Kinds(checks=_by_name(entry_points(group=CHECKS)), actions=_by_name(entry_points(group=ACTIONS)))


def _by_name(found: Iterable[EntryPoint]) -> dict[str, list[EntryPoint]]:
    named: dict[str, list[EntryPoint]] = {}
    for entry in found:
        same_name = named.setdefault(entry.name, [])
        if entry.value not in [other.value for other in same_name]:  # an editable install may be seen twice
            same_name.append(entry)
    return named


def _load(what: str, entries: Sequence[EntryPoint]) -> Any:
    if len(entries) > 1:
        packages = " and ".join(sorted(entry.dist.name if entry.dist else entry.value for entry in entries))
        raise KindUnusable(f"{what} is registered by {packages}: which one is meant can't be told; uninstall one")
    [entry] = entries
    try:
        kind = entry.load()
    except ModuleNotFoundError as error:
        raise KindUnusable(f'{what} needs the Python module "{error.name}", which is missing{_cure(entry)}') from error
    except (ImportError, AttributeError) as error:
        raise KindUnusable(f"{what} can't be loaded from {entry.value}: {error}") from error
    if not is_dataclass(kind):
        raise KindUnusable(f"{what} is registered as {entry.value}, which is no kind: a dataclass was expected")
    return kind


def _cure(entry: EntryPoint) -> str:
    """What to install; an entry point may name the extras that it needs: ``nats = "package.module:Nats [nats]"``."""
    if not entry.extras or entry.dist is None:
        return ""
    return f"; install {entry.dist.name}[{','.join(entry.extras)}]"
