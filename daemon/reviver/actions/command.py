"""Runs a program."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from reviver.clients import process, program
from reviver.model.actions import ActionContext, ActionError, Effect, Reconciled
from reviver.model.faults import JsonValue
from reviver.model.secrets import Redactor, Secret, SecretField

RECORDED: Final = 4000  # characters of the end of each of stdout and stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Runs a program to its end; what it starts and leaves running stays."""

    argv: tuple[str, ...]
    """The program and its arguments; no shell is involved."""
    exit_codes: frozenset[int] = frozenset({0})
    """Exit codes that mean success."""
    env: Mapping[str, str | SecretField] = field(default_factory=dict, repr=False)
    """Variables for it, beside ``PATH``, ``LANG`` and ``HOME``; the place for secrets."""
    cwd: str | None = None
    """Its working directory; ``None``: reviver's."""
    effect: Effect = Effect.REVERSIBLE
    """What running it twice, or wrongly, would cost."""

    default_after: ClassVar[float] = 20.0
    default_timeout: ClassVar[float] = 60.0

    def __post_init__(self) -> None:
        program.validate(self.argv, self.env)
        if not self.exit_codes:
            raise ValueError("exit_codes: expected at least one exit code")
        if self.cwd is not None and not self.cwd.startswith("/"):
            raise ValueError(f'cwd: expected an absolute path, got "{self.cwd}"')

    def targets(self) -> Sequence[str]:
        """The program: what it acts upon, only its author knows."""
        return (self.argv[0],)

    def describe(self) -> str:
        """What it would do."""
        return f"run {shlex.join(self.argv)}"

    async def preflight(self) -> Sequence[str]:
        """Whether the program is there and may be executed."""
        why = program.obstacle(self.argv[0], env=self.env, cwd=self.cwd)
        return [why] if why else []

    async def evidence(self) -> Mapping[str, JsonValue]:
        """Nothing: what a program destroys, only its author knows."""
        return {}

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        """Run it, its pid and start time noted before it begins; cancelled, it ends with its group."""

        async def note(token: process.Token) -> None:
            await context.note(token.note())

        try:
            ended = await program.run(self.argv, env=self.env, cwd=self.cwd, started=note)
        except program.NotStartedError as error:
            raise ActionError(f"command {error}") from error
        redact = Redactor(text for text in self.env.values() if isinstance(text, Secret))
        if ended.exit_code not in self.exit_codes:
            words = redact(ended.last_words, limit=300)
            raise ActionError(f"command {self.argv[0]}: {ended.how}" + (f": {words}" if words else ""))
        return {
            "exit_code": ended.exit_code,
            "seconds": round(ended.seconds, 3),
            "stdout": redact(ended.stdout, limit=len(ended.stdout))[-RECORDED:],  # half a secret isn't recognised
            "stderr": redact(ended.stderr, limit=len(ended.stderr))[-RECORDED:],
        }

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        """End it with its group if it still runs; how far it came, or how it ended, nobody has seen."""
        return Reconciled.UNKNOWN if await process.end_noted(notes) else Reconciled.NOT_DONE
