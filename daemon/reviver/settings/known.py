"""What settings are told of the kinds that exist; which they are is not their business."""

from collections.abc import Sequence
from typing import Protocol

from reviver.model.actions import Action
from reviver.model.checks import Check


class KindUnusable(Exception):
    """A kind is registered and can't be loaded; the text says why and what to do, in a line for an operator."""


class KnownKinds(Protocol):
    """The kinds of checks and actions, by their registered names."""

    def check(self, name: str) -> type[Check] | None:
        """
        The kind of check called *name*; ``None`` if there is none.

        Raises:
            KindUnusable: It can't be loaded.
        """
        ...

    def action(self, name: str) -> type[Action] | None:
        """The kind of action called *name*; as ``check``."""
        ...

    def check_names(self) -> Sequence[str]:
        """The names of all kinds of checks, sorted; loads none of them."""
        ...

    def action_names(self) -> Sequence[str]:
        """The names of all kinds of actions, sorted; loads none of them."""
        ...
