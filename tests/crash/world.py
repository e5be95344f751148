"""
What a daemon's lives leave behind in a directory, and the things of its world: actions whose effects can be counted
after everybody has died, and checks that go by these effects.
"""

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import anyio

from reviver.model.actions import ActionContext, ActionError, Effect, Reconciled
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.faults import Fault, FaultKind, JsonValue

BLIND = "blind"
"""In place of an attempt's number: the journal on disk did not tell of the step when it had its effect."""

UNDER_WAY = """
SELECT body FROM entries WHERE type = 'step_started' AND id > (SELECT coalesce(max(id), 0) FROM entries
 WHERE type IN ('step_ended', 'attempt_ended', 'incident_recovered')) ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class World:
    """One directory: the journal, and the file of effects."""

    place: Path

    @property
    def journal(self) -> Path:
        return self.place / "state" / "journal.db"

    @property
    def file(self) -> Path:
        """The effects, a line each."""
        return self.place / "effects"

    @property
    def proof(self) -> Path:
        """The file that named verifications ask for."""
        return self.place / "proof"

    def effects(self) -> list[tuple[str, str]]:
        """Every effect so far: the deed, and in which attempt the journal then said it was (or a process, or blind)."""
        if not self.file.exists():
            return []
        return [(words[0], words[1]) for line in self.file.read_text().splitlines() if (words := line.split())]

    def count(self, deed: str) -> int:
        """How often *deed* has had its effect."""
        return sum(name == deed for name, _ in self.effects())

    def add(self, deed: str) -> None:
        """Let *deed* have its effect, for good."""
        line = f"{deed} {self._attempt_under_way()}\n".encode()
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _attempt_under_way(self) -> str:
        """As the journal on disk tells it."""
        row = self._ask(UNDER_WAY)
        return str(json.loads(str(row[0]))["attempt"]) if row else BLIND

    def has(self, entry: str) -> bool:
        """Whether the journal on disk has an entry of this type."""
        return self._ask(f"SELECT 1 FROM entries WHERE type = '{entry}' LIMIT 1") is not None  # noqa: S608  our words

    def state(self) -> str:
        """What of it outlives the daemon: how far the journal has come, and the effects."""
        try:
            entries = self._ask("SELECT count(*), max(type) FROM entries")
        except sqlite3.Error:
            entries = None
        return f"{entries} {len(self.effects())}"

    def _ask(self, query: str) -> tuple[object, ...] | None:
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as book:
            found: tuple[object, ...] | None = book.execute(query).fetchone()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An action whose effect is a line in a file: it can't be taken back, and everybody can count it."""

    default_after: ClassVar[float] = 0.0
    default_timeout: ClassVar[float] = 60.0

    world: World
    name: str
    effect: Effect
    can_tell: bool = False
    """Whether it can tell afterwards what became of it."""
    fails_first: bool = False
    """Whether it fails, after its effect, the first time."""

    def targets(self) -> Sequence[str]:
        return (self.name,)

    def describe(self) -> str:
        return f"do {self.name}"

    async def preflight(self) -> Sequence[str]:
        return []

    async def evidence(self) -> Mapping[str, JsonValue]:
        return {"before": self.world.count(self.name)}

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        if self.can_tell:
            await context.note({"before": self.world.count(self.name)})
        self.world.add(self.name)
        await anyio.sleep(0.01)
        count = self.world.count(self.name)
        if self.fails_first and count == 1:
            raise ActionError(f"{self.name}: not this time")
        return {"count": count}

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        if not self.can_tell:
            return Reconciled.UNKNOWN
        if not notes:
            return Reconciled.NOT_DONE
        return Reconciled.DONE if self.world.count(self.name) > int(str(notes[-1]["before"])) else Reconciled.NOT_DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A check that passes once each deed has had its effect so often; or a file is there."""

    faults: ClassVar[frozenset[FaultKind]] = frozenset({FaultKind.UNREACHABLE})
    borrows: ClassVar[frozenset[str]] = frozenset()

    world: World
    needs: Mapping[str, int] = field(default_factory=dict)
    proof: bool = False
    relapses: bool = False
    """Whether it wants everything once more, once the journal tells of a recovery."""

    def hosts(self) -> frozenset[str]:
        return frozenset()

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator["Counted"]:
        yield self

    async def ask(self, *, fresh: bool) -> CheckResult:
        await anyio.sleep(0.001)
        missing = self.missing()
        if not missing:
            return CheckResult(latency=0.001)
        fault = Fault(kind=FaultKind.UNREACHABLE, message=f"{', '.join(missing)} is missing")
        return CheckResult(latency=0.001, fault=fault)

    async def evidence(self) -> Mapping[str, JsonValue]:
        return {}

    def missing(self) -> list[str]:
        """The names of what it misses."""
        times = 2 if self.relapses and self.world.has("incident_recovered") else 1
        missing = [name for name, count in self.needs.items() if self.world.count(name) < count * times]
        return [*missing, "proof"] if self.proof and not self.world.proof.exists() else missing
