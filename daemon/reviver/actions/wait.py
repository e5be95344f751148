"""Waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import anyio

from reviver.model.actions import ActionContext, Effect, Reconciled
from reviver.model.faults import JsonValue
from reviver.model.units import Seconds, format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A pause between two steps."""

    duration: Seconds
    """How long; at most an hour."""

    default_after: ClassVar[float] = 0.0
    default_timeout: ClassVar[float] = 3610.0  # longer than any duration, so that none needs a timeout of its own

    def __post_init__(self) -> None:
        if not 0 < self.duration <= 3600:
            raise ValueError("duration: expected more than 0 s and at most 1h")

    @property
    def effect(self) -> Effect:
        """Nothing that twice could harm."""
        return Effect.IDEMPOTENT

    def targets(self) -> Sequence[str]:
        """Nobody but the one who waits."""
        return ("reviver",)

    def describe(self) -> str:
        """What it would do."""
        return f"wait for {format_duration(self.duration)}"

    async def preflight(self) -> Sequence[str]:
        """Nothing stands in its way."""
        return ()

    async def evidence(self) -> Mapping[str, JsonValue]:
        """Nothing: it destroys nothing."""
        return {}

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:  # noqa: ARG002
        """Wait."""
        await anyio.sleep(self.duration)
        return {"seconds": self.duration}

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:  # noqa: ARG002
        """It waits again, in full."""
        return Reconciled.NOT_DONE
