"""A service's ladder: the tables under ``[[services.NAME.recovery]]``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reviver.model.actions import Effect
from reviver.model.checks import Check
from reviver.model.faults import FaultKind
from reviver.model.services import Backoff, Budget, Mode, Step, Strategy, Verification

from .problems import Place, quoted, suggestion
from .reading import Reading
from .tables import StepTable, StrategyTable, VerificationTable

NOT_HEALED_BY_RESTART: Final = {
    FaultKind.AUTH_FAILED: "the credentials are wrong",
    FaultKind.TLS_INVALID: "the certificate is wrong",
    FaultKind.TLS_EXPIRING: "the certificate must be renewed",
    FaultKind.NAME_UNRESOLVED: "the name has no address",
    FaultKind.OVERLOADED: "it asks for less load, and a start adds some",
    FaultKind.IN_RECOVERY: "it is a standby, or would begin its recovery anew",
    FaultKind.READ_ONLY: "somebody made it read-only",
    FaultKind.READ_ONLY_REPLICA: "it is a replica",
}
DESTRUCTIVE_BUDGETS: Final = (Budget(attempts=1, per=86400.0),)
"""What can't be brought back is done by itself once a day at most, unless the settings say (safety: P7)."""
RESTART: Final = "systemd.restart"
COMMAND: Final = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The service whose ladder is read, as far as its strategies need it."""

    place: Place
    kind: str
    """The name of its kind of check."""
    check: type[Check] | None
    """Its kind of check; ``None`` if there is none of that name, which is told elsewhere."""
    timeout: float
    written: Mapping[str, Any]
    """The keys of its check, for its verifications to borrow."""
    lenders: Mapping[str, Place] = field(default_factory=dict)
    """Which of these it borrowed itself, and where they stand."""


def strategies(reading: Reading, tables: object, owner: Owner) -> tuple[Strategy, ...]:
    """The rungs that *tables* say; those that are wrong are left out, and among the findings."""
    rungs = [_strategy(reading, table, (*owner.place, "recovery", i), owner) for i, table in _tables(tables)]
    first: dict[object, int] = {}
    for i, table in _tables(tables):
        name = table.get("name")
        if isinstance(name, str) and first.setdefault(name, i) != i:
            place = (*owner.place, "recovery", i, "name")
            reading.findings.error(place, f"{quoted(name)} is the name of recovery[{first[name]}], too")
    return tuple(rung for rung in rungs if rung)


def _strategy(reading: Reading, table: Mapping[str, Any], place: Place, owner: Owner) -> Strategy | None:
    typed = reading.typed(StrategyTable, table, place)
    faults = _faults(reading, table.get("faults"), (*place, "faults"), owner)
    steps = [_step(reading, step, (*place, "steps", i)) for i, step in _tables(table.get("steps"))]
    verify = [verification(reading, each, (*place, "verify", i), owner) for i, each in _tables(table.get("verify"))]
    if typed is None or None in steps or None in verify:
        return None
    _warn_of_useless_restarts(reading, table, place)
    done = tuple(step for step in steps if step)
    destructive = any(step.action.effect is Effect.DESTRUCTIVE for step in done)
    defaults: dict[str, Any] = {"mode": Mode.APPROVE, "budgets": DESTRUCTIVE_BUDGETS} if destructive else {}
    parts = {
        "faults": faults,
        "steps": done,
        "verify": tuple(each for each in verify if each),
        "backoff": Backoff(**typed.get("backoff", {})),
    }
    if "budgets" in typed:
        parts["budgets"] = tuple(Budget(**budget) for budget in typed["budgets"])
    return Strategy(**{**defaults, **typed, **parts})


def _faults(reading: Reading, written: object, place: Place, owner: Owner) -> frozenset[FaultKind]:
    known = frozenset(FaultKind) if owner.check is None else owner.check.faults
    faults = []
    for i, name in enumerate(written if isinstance(written, list) else []):
        if not isinstance(name, str):
            continue  # told with the strategy's own keys
        if name in known:
            faults.append(FaultKind(name))
        else:
            whose = "fault" if owner.check is None else f"fault of check {quoted(owner.kind)}"
            reading.findings.error((*place, i), f"{quoted(name)} is no {whose}{suggestion(name, known)}")
    return frozenset(faults)


def _step(reading: Reading, table: Mapping[str, Any], place: Place) -> Step | None:
    common, own = split(table, StepTable)
    typed = reading.typed(StepTable, common, place)
    name = table.get("action")
    kind = reading.action(name, (*place, "action")) if isinstance(name, str) else None
    if kind is None:
        return None
    action = reading.typed(kind, own, place, other_keys=StepTable.__annotations__)
    if typed is None or action is None:
        return None
    return Step(kind=typed["action"], action=action, timeout=typed.get("timeout", kind.default_timeout))


def verification(reading: Reading, table: Mapping[str, Any], place: Place, owner: Owner) -> Verification | None:
    """The further question that *table* says; ``None`` if it is wrong, which is then among the findings."""
    common, own = split(table, VerificationTable)
    typed = reading.typed(VerificationTable, common, place)
    name = table.get("check")
    kind = reading.check(name, (*place, "check")) if isinstance(name, str) else None
    if kind is None:
        return None
    borrowed = {name: owner.written[name] for name in kind.borrows if name in owner.written and name not in own}
    lenders = {name: owner.lenders.get(name, (*owner.place, name)) for name in borrowed}
    other_keys = VerificationTable.__annotations__
    check = reading.typed(kind, {**own, **borrowed}, place, other_keys=other_keys, lenders=lenders)
    if typed is None or check is None:
        return None
    return Verification(kind=typed["check"], check=check, timeout=typed.get("timeout", owner.timeout))


def _warn_of_useless_restarts(reading: Reading, table: Mapping[str, Any], place: Place) -> None:
    actions = {step["action"] for _, step in _tables(table["steps"])}
    for i, name in enumerate(table["faults"]):
        why = NOT_HEALED_BY_RESTART.get(name)
        if why and RESTART in actions:
            reading.findings.warn((*place, "faults", i), f"a restart doesn't heal {quoted(name)}: {why}")
        elif why and COMMAND in actions:
            text = f"if the command restarts the service, that doesn't heal {quoted(name)}: {why}"
            reading.findings.warn((*place, "faults", i), text)


def _tables(written: object) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """The tables of an array, with their indexes; what else is in it is told where the array is validated."""
    for i, table in enumerate(written if isinstance(written, list) else []):
        if isinstance(table, Mapping):
            yield i, table


def split(table: Mapping[str, Any], common: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """*table* in two: the keys that *common* has, and the others, which are a kind's."""
    names = common.__annotations__
    return (
        {name: value for name, value in table.items() if name in names},
        {name: value for name, value in table.items() if name not in names},
    )
