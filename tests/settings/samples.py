"""Small kinds of checks and actions, and short ways to read settings that use them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from reviver.kinds import Kinds
from reviver.model.actions import ActionContext, Effect, Reconciled
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import NOTHING, FaultKind, JsonValue
from reviver.model.secrets import SecretField
from reviver.model.units import Bytes, Seconds
from reviver.settings import Settings, SettingsError, parse

PATH = Path("reviver.toml")


class _Asked:
    async def ask(self, *, fresh: bool) -> CheckResult:
        return CheckResult(latency=0.0)

    async def evidence(self) -> Mapping[str, JsonValue]:
        return NOTHING


class _Check:
    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        yield _Asked()

    def hosts(self) -> frozenset[str]:
        return frozenset()


class _Action:
    default_after: ClassVar[float] = 20.0
    default_timeout: ClassVar[float] = 90.0

    @property
    def effect(self) -> Effect:
        return Effect.IDEMPOTENT

    def targets(self) -> Sequence[str]:
        return ("it",)

    def describe(self) -> str:
        return "do it"

    async def preflight(self) -> Sequence[str]:
        return ()

    async def evidence(self) -> Mapping[str, JsonValue]:
        return NOTHING

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        return NOTHING

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        return Reconciled.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    warn: int = 1
    after: Seconds = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Db(_Check):
    """A database."""

    url: str
    """Where it is."""
    password: SecretField | None = None
    headers: Mapping[str, str | SecretField] = field(default_factory=dict)
    port: int = 5432  # the usual one
    ratio: float = 0.5
    tls: bool = False
    tables: tuple[str, ...] = ()
    wait: Seconds = 90.0
    answer_max: Bytes = 65536
    flavour: Literal["plain", "spicy"] = "plain"
    path: Path | None = None
    limit: Threshold = Threshold()
    limits: tuple[Threshold, ...] = ()
    codes: frozenset[int] = frozenset({200, 204})

    faults: ClassVar[frozenset[FaultKind]] = frozenset(
        {FaultKind.UNREACHABLE, FaultKind.TIMEOUT, FaultKind.AUTH_FAILED, FaultKind.SCHEMA_DRIFT}
    )
    borrows: ClassVar[frozenset[str]] = frozenset({"url", "password"})

    def __post_init__(self) -> None:
        if "://" not in self.url:
            raise ValueError(f"url: expected a URL, found {self.url}")
        if self.tls and self.port == 5432:
            raise ValueError("no TLS on the usual port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(_Check):
    """Borrows nothing."""

    address: str

    faults: ClassVar[frozenset[FaultKind]] = frozenset({FaultKind.TIMEOUT})
    borrows: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(_Check):
    """Borrows its connection."""

    url: str
    stream: str
    password: SecretField | None = None

    faults: ClassVar[frozenset[FaultKind]] = frozenset({FaultKind.BACKLOG})
    borrows: ClassVar[frozenset[str]] = frozenset({"url", "password"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(_Action):
    """Restarts a unit."""

    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(_Action):
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wipe(_Action):
    """Can't be undone."""

    @property
    def effect(self) -> Effect:
        return Effect.DESTRUCTIVE


KINDS = Kinds(
    checks={"db": Db, "ping": Ping, "queue": Queue},
    actions={"systemd.restart": Restart, "command": Command, "wipe": Wipe},
)


def no_secret(reference: dict[str, str]) -> str:
    raise AssertionError(f"{reference} was asked for")


def read(text: str, *, secrets: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that *text* says; secrets are those of *secrets*, by the name in their reference."""

    def resolve(reference: dict[str, str]) -> str:
        [name] = reference.values()
        if secrets is None or name not in secrets:
            raise ValueError(f"there is no {name}")
        return secrets[name]

    return parse(text, KINDS, path=PATH, resolve_secret=resolve, environ=environ or {})


def problems(text: str, *, secrets: Mapping[str, str] | None = None) -> list[str]:
    """The lines that tell what is wrong with *text*, without the file's name."""
    try:
        read(text, secrets=secrets)
    except SettingsError as error:
        found = error
    else:
        return []
    assert str(found) == "\n".join(map(str, found.problems))
    return [str(problem).removeprefix(f"{PATH}:") for problem in found.problems]


def problem(text: str, *, secrets: Mapping[str, str] | None = None) -> str:
    """The only line that tells what is wrong with *text*."""
    [only] = problems(text, secrets=secrets)
    return only


def warnings(text: str) -> list[str]:
    return [str(warning).removeprefix(f"{PATH}:") for warning in read(text).warnings]
