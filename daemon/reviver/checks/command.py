"""Asks by running a program."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import anyio

from reviver.clients import program
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import Redactor, Secret, SecretField

GRACE = 0.2  # seconds from SIGTERM to SIGKILL at the timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Runs a program and looks at its exit code, and its output if told to."""

    argv: tuple[str, ...]
    """The program and its arguments; no shell is involved."""
    exit_codes: frozenset[int] = frozenset({0})
    """Exit codes that mean healthy."""
    stdout: str | None = None
    """A text that a healthy output has."""
    env: Mapping[str, str | SecretField] = field(default_factory=dict, repr=False)
    """Variables for it, beside ``PATH``, ``LANG`` and ``HOME``."""

    faults: ClassVar[frozenset[FaultKind]] = frozenset({FaultKind.COMMAND_FAILED, FaultKind.TIMEOUT})
    borrows: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        program.validate(self.argv, self.env)
        if not self.exit_codes:
            raise ValueError("exit_codes: expected at least one exit code")

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        """The probe; no program outlives a question."""
        yield _CommandProbe(self, context.timeout)

    def hosts(self) -> frozenset[str]:
        """None: whom the program asks is its own business."""
        return frozenset()


class _CommandProbe:
    def __init__(self, check: Command, timeout: float) -> None:
        self._check = check
        self._timeout = timeout
        self._name = check.argv[0]
        self._redact = Redactor(text for text in check.env.values() if isinstance(text, Secret))
        self._last: program.Ended | None = None

    async def ask(self, *, fresh: bool) -> CheckResult:  # noqa: ARG002  each run is a new one
        """What the program says; what it leaves running is ended with it."""
        began = anyio.current_time()
        self._last, fault, unknown = None, None, None
        try:
            self._last = await program.run(
                self._check.argv, env=self._check.env, timeout=self._timeout, grace=GRACE, end_group=True
            )
            fault = self._judge(self._last)
        except program.NotStartedError as error:
            unknown = str(error)
        return CheckResult(latency=anyio.current_time() - began, fault=fault, unknown=unknown)

    async def evidence(self) -> Mapping[str, JsonValue]:
        """What the last run said."""
        if self._last is None:
            return {self._name: "the last run was not started"}
        return {
            self._name: self._last.how,
            "stdout": self._last_of(self._last.stdout),
            "stderr": self._last_of(self._last.stderr),
        }

    def _last_of(self, output: str) -> str:
        """Its end; cut only once it is redacted, for half a secret is not recognised."""
        return self._redact(output, limit=len(output))[-2000:]

    def _judge(self, ended: program.Ended) -> Fault | None:
        if ended.timed_out:
            return Fault(kind=FaultKind.TIMEOUT, message=self._tell(ended, ended.how))
        details: dict[str, JsonValue] = {"exit_code": ended.exit_code, "signal": ended.signal}
        if ended.exit_code not in self._check.exit_codes:
            return Fault(kind=FaultKind.COMMAND_FAILED, message=self._tell(ended, ended.how), details=details)
        if self._check.stdout is not None and self._check.stdout not in ended.stdout:
            why = f'{ended.how}, but its output lacks "{self._check.stdout}"'
            return Fault(kind=FaultKind.COMMAND_FAILED, message=self._tell(ended, why), details=details)
        return None

    def _tell(self, ended: program.Ended, why: str) -> str:
        words = self._redact(ended.last_words, limit=300)
        return f"{self._name}: {why}: {words}" if words else f"{self._name}: {why}"
