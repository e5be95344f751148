"""The services: the tables ``[services.NAME]``, each with reviver's own keys and those of its kind of check."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from reviver.model.checks import Check
from reviver.model.services import Budget, Flapping, Service
from reviver.model.units import format_duration

from .dependencies import cycles
from .problems import Place, quoted, suggestion
from .reading import Reading
from .strategies import Owner, split, strategies
from .tables import ServiceTable

NAME: Final = r"[a-z][a-z0-9_-]*"
CHECK: Final = "check"
LENDER: Final = "service"
DEFAULTS: Final[Mapping[str, Any]] = {field.name: field.default for field in fields(Service)}
HASTY: Final = 1.0
"""Seconds; a lost packet is sent again after as many (safety: 2e-3 false failures a probe at 1 s, 4e-6 at 2 s)."""


def services(reading: Reading, tables: Mapping[str, Any]) -> dict[str, Service]:
    """The services that *tables* say, in that order; those that are wrong are left out, and among the findings."""
    found = {}
    for name, table in tables.items():
        if not re.fullmatch(NAME, name):
            text = "expected a name of lower-case letters, digits, _ and -, beginning with a letter"
            reading.findings.error(("services", name), f"{text}, found {quoted(name)}")
        if isinstance(table, Mapping) and (service := _service(reading, name, tables)):
            found[name] = service
    _check_dependencies(reading, tables)
    return found


def _service(reading: Reading, name: str, tables: Mapping[str, Any]) -> Service | None:
    place = ("services", name)
    common, own = split(tables[name], ServiceTable)
    typed = reading.typed(ServiceTable, common, place)
    kind = _kind(reading, own.pop(CHECK, None), place)
    lenders = _borrow(reading, kind, own, tables, place)
    check = None
    if kind is not None:
        other_keys = {CHECK, LENDER, *ServiceTable.__annotations__}
        check = reading.typed(kind, own, place, other_keys=other_keys, lenders=lenders)
    owner = Owner(
        place=place,
        kind=str(tables[name].get(CHECK)),
        check=kind,
        timeout=(typed or DEFAULTS).get("timeout", DEFAULTS["timeout"]),
        written=own,
        lenders=lenders,
    )
    rungs = strategies(reading, common.get("recovery"), owner)
    if typed is None or check is None:
        return None
    _warn_of_haste(reading, typed, place)
    typed.pop("recovery", None)
    for key in ("depends_on", "deployed"):
        typed[key] = tuple(typed.get(key, ()))
    if "budgets" in typed:
        typed["budgets"] = tuple(Budget(**budget) for budget in typed["budgets"])
    if "flapping" in typed:
        typed["flapping"] = Flapping(**typed["flapping"])
    return Service(name=name, kind=owner.kind, check=check, strategies=rungs, **typed)


def _kind(reading: Reading, name: object, place: Place) -> type[Check] | None:
    here = (*place, CHECK)
    if isinstance(name, str):
        return reading.check(name, here)
    kinds = suggestion("", reading.kinds.check_names())
    reading.findings.error(here, f"required key is missing{kinds}" if name is None else f"expected a string{kinds}")
    return None


def _borrow(
    reading: Reading, kind: type[Check] | None, own: dict[str, Any], tables: Mapping[str, Any], place: Place
) -> dict[str, Place]:
    """
    Completes *own* from the service that it names under ``service``.

    Returns the keys that were borrowed, and where they stand.
    """
    if LENDER not in own:
        return {}
    name, here = own.pop(LENDER), (*place, LENDER)
    if not isinstance(name, str) or name not in tables or name == place[-1]:
        others = tables.keys() - {place[-1]}
        reading.findings.error(here, f"expected the name of another service{suggestion(str(name), others)}")
        return {}
    if kind is None or not isinstance(tables[name], Mapping):
        return {}
    if not kind.borrows:
        reading.findings.error(here, "this kind of check takes nothing from another service; remove the key")
    borrowed = [field for field in sorted(kind.borrows) if field in tables[name] and field not in own]
    own.update({field: tables[name][field] for field in borrowed})
    return {field: ("services", name, field) for field in borrowed}


def _check_dependencies(reading: Reading, tables: Mapping[str, Any]) -> None:
    depends_on: dict[str, list[str]] = {}
    for name, table in tables.items():
        written = table.get("depends_on") if isinstance(table, Mapping) else None
        for i, other in enumerate(written if isinstance(written, list) else []):
            if not isinstance(other, str):
                continue  # told with the service's own keys
            if other in tables:
                depends_on.setdefault(name, []).append(other)
            else:
                text = f"there is no service {quoted(other)}{suggestion(other, tables.keys() - {name})}"
                reading.findings.error(("services", name, "depends_on", i), text)
    for circle in cycles(depends_on):
        text = f"a service must not depend on itself: {' → '.join(circle)}"
        reading.findings.error(("services", circle[0], "depends_on"), text)


def _warn_of_haste(reading: Reading, typed: Mapping[str, Any], place: Place) -> None:
    if typed.get("timeout", HASTY + 1) <= HASTY:
        reading.findings.warn(
            (*place, "timeout"),
            f"{format_duration(typed['timeout'])} takes one lost packet for a failure, for it is sent again after 1 s; "
            f"2 s or more is advised",
        )
