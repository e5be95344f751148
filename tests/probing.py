"""Checks opened as the supervisor opens them, for tests on real servers."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter

from reviver.model.checks import Check, CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue

K = TypeVar("K")


@dataclass(slots=True)
class Opened:
    """A check's probe, and when and why it woke the supervisor."""

    check: Check
    probe: Probe
    wakes: list[str] = field(default_factory=list)
    woken_at: list[float] = field(default_factory=list)

    async def ask(self, *, fresh: bool = False) -> CheckResult:
        """How the service is; a fault that the kind doesn't declare fails the test."""
        result = await self.probe.ask(fresh=fresh)
        if result.fault is not None:
            assert result.fault.kind in self.check.faults, f"{result.fault} is not declared"
            assert "\n" not in result.fault.message
        return result

    async def fault(self, *, fresh: bool = False) -> Fault:
        """The fault that the service has now; a test fails if it has none."""
        result = await self.ask(fresh=fresh)
        assert result.fault is not None, f"no fault: {result}"
        return result.fault

    async def kind(self, *, fresh: bool = False) -> FaultKind | None:
        """The kind of fault that the service has now, if any; a test fails if that can't be told."""
        result = await self.ask(fresh=fresh)
        assert result.unknown is None, result.unknown
        return None if result.fault is None else result.fault.kind


@asynccontextmanager
async def opened(check: Check, *, timeout: float = 2.0) -> AsyncIterator[Opened]:  # noqa: ASYNC109  the check's own
    """*check*, opened."""

    def wake(reason: str) -> None:
        it.wakes.append(reason)
        it.woken_at.append(time.monotonic())

    async with check.open(CheckContext(service="it", timeout=timeout, wake=wake)) as probe:
        it = Opened(check, probe)
        yield it


def from_toml(kind: type[K], values: Mapping[str, JsonValue]) -> K:
    """A kind from values as they stand in TOML."""
    made: K = TypeAdapter(kind).validate_python(values)
    return made
