"""
The JSON schema of the settings, generated from the tables and the kinds, by which editors complete and check.

A service's table holds reviver's own keys beside those of its kind of check, so there is one object for each kind, told
apart by its ``check``; the same for steps (``action``) and verifications (``check``).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import TypeAdapter

from reviver.model.actions import Action
from reviver.model.checks import Check
from reviver.model.services import Backoff, DaemonPolicy, Service, Strategy

from .describe import defaults, meanings, summary, written
from .file import DaemonSettings
from .known import KindUnusable, KnownKinds
from .reading import adapter
from .services import CHECK, LENDER, NAME
from .tables import (
    BackoffTable,
    BudgetTable,
    DaemonTable,
    FileTable,
    MaintenanceTable,
    ServiceTable,
    StepTable,
    StrategyTable,
    VerificationTable,
)

Schema: TypeAlias = dict[str, Any]
Kind = TypeVar("Kind")

DEFAULTS_OF: Final[Mapping[type, Sequence[type]]] = {
    DaemonTable: (DaemonSettings, DaemonPolicy),
    ServiceTable: (Service,),
    StrategyTable: (Strategy,),
    BackoffTable: (Backoff,),
}
"""Where the defaults of a table's keys stand."""
BY_STEPS: Final = (StrategyTable, "mode")
"""A default that isn't the model's: it follows from the strategy's steps."""


def render_schema(kinds: KnownKinds) -> str:
    """``schema`` as the text of a file."""
    return json.dumps(schema(kinds), indent=2, ensure_ascii=False) + "\n"


def schema(kinds: KnownKinds) -> Schema:
    """The JSON schema, 2020-12, of settings that use *kinds*; without those that can't be loaded here."""
    checks = _loaded(kinds.check, kinds.check_names())
    actions = _loaded(kinds.action, kinds.action_names())
    parts = _Parts([*checks.values(), *actions.values()])
    definitions: Schema = {}
    for name, check in checks.items():
        definitions[f"service.{name}"] = _service(parts, name, check)
        definitions[f"strategy.{name}"] = _strategy(parts, check)
        definitions[f"verification.{name}"] = _tagged(parts, VerificationTable, CHECK, name, check, check.borrows)
    for name, action in actions.items():
        definitions[f"step.{name}"] = _tagged(parts, StepTable, "action", name, action)
    file = parts.object(FileTable)
    file["properties"]["daemon"] = daemon = parts.object(DaemonTable)
    meaning = daemon["properties"]["tie_break"]["description"]
    daemon["properties"]["tie_break"] = {"$ref": "#/$defs/verification", "description": meaning}
    file["properties"]["maintenance"]["items"] = parts.object(MaintenanceTable)
    file["properties"]["services"] |= {
        "propertyNames": {"pattern": f"^{NAME}$"},
        "additionalProperties": _one_of(CHECK, {name: f"service.{name}" for name in checks}),
    }
    definitions["verification"] = _one_of(CHECK, {name: f"verification.{name}" for name in checks})
    definitions["step"] = _one_of("action", {name: f"step.{name}" for name in actions})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "x-tombi-toml-version": "v1.1.0",
        "title": "Settings of reviver",
        **file,
        "$defs": dict(sorted((definitions | parts.shared()).items())),
    }


def _loaded(find: Callable[[str], Kind | None], names: Iterable[str]) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for name in names:
        with suppress(KindUnusable):
            if kind := find(name):
                found[name] = kind
    return found


class _Parts:
    """The schemas of all tables and kinds, made together so that what they share has one name."""

    def __init__(self, kinds: Iterable[type]) -> None:
        tables = (FileTable, DaemonTable, MaintenanceTable, BudgetTable, ServiceTable, StrategyTable, BackoffTable)
        classes = [*tables, StepTable, VerificationTable, *kinds]
        self._names, made = TypeAdapter.json_schemas([(each, "validation", adapter(each)) for each in classes])
        self._definitions = {name: _plain(each) for name, each in made["$defs"].items()}
        self._reused = {self._name(BudgetTable), self._name(BackoffTable)}
        for each in classes:
            self._explain(each)

    def object(self, kind: type) -> Schema:
        """The schema of the table *kind*, to be changed at will."""
        copy: Schema = json.loads(json.dumps(self._definitions[self._name(kind)]))
        return copy

    def shared(self) -> Schema:
        """What several tables refer to."""
        own = {self._name(kind) for kind, _mode in self._names} - self._reused
        return {name: each for name, each in self._definitions.items() if name not in own}

    def _name(self, kind: Any) -> str:
        reference: str = self._names[kind, "validation"]["$ref"]
        return reference.rpartition("/")[2]

    def _explain(self, kind: type) -> None:
        """Adds what each key means and, for reviver's own tables, the defaults, which stand elsewhere."""
        table = self._definitions[self._name(kind)]
        table["description"] = summary(kind)
        for name, meaning in meanings(kind).items():
            if name in table["properties"]:
                table["properties"][name]["description"] = meaning
        for source in DEFAULTS_OF.get(kind, ()):
            for name, value in defaults(source).items():
                if name in table["properties"] and (kind, name) != BY_STEPS:
                    schema_ = table["properties"][name]
                    schema_["default"] = written(value, schema_, self._definitions)


def _service(parts: _Parts, name: str, check: type[Check]) -> Schema:
    table = _tagged(parts, ServiceTable, CHECK, name, check, check.borrows)
    table["properties"]["recovery"]["items"] = {"$ref": f"#/$defs/strategy.{name}"}
    if check.borrows:
        borrowed = ", ".join(f"`{field}`" for field in sorted(check.borrows))
        text = f"Another service, from which the keys that aren't set here are taken: {borrowed}."
        table["properties"][LENDER] = {"type": "string", "description": text}
    return table


def _strategy(parts: _Parts, check: type[Check]) -> Schema:
    table = parts.object(StrategyTable)
    table["properties"]["faults"]["items"] = {"enum": sorted(check.faults)}
    table["properties"]["steps"]["items"] = {"$ref": "#/$defs/step"}
    table["properties"]["verify"]["items"] = {"$ref": "#/$defs/verification"}
    return table


def _tagged(
    parts: _Parts,
    common: type,
    tag: str,
    name: str,
    kind: type[Check] | type[Action],
    borrowed: Iterable[str] = (),
) -> Schema:
    """The table that holds the keys of *common* and of *kind*, whose *tag* is *name*."""
    own, shared = parts.object(kind), parts.object(common)
    required = {tag, *shared.get("required", ()), *own.get("required", ())} - set(borrowed)
    properties = {tag: {"const": name, "description": own["description"]}} | own["properties"]
    properties |= {key: each for key, each in shared["properties"].items() if key != tag}
    return {
        "type": "object",
        "description": own["description"],
        "properties": properties,
        "required": [key for key in properties if key in required],
        "additionalProperties": False,
    }


def _one_of(tag: str, names: Mapping[str, str]) -> Schema:
    references = {name: f"#/$defs/{definition}" for name, definition in names.items()}
    return {
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": tag, "mapping": references},
    }


def _plain(schema_: Schema) -> Schema:
    """*schema_* without what TOML hasn't (null) and people don't need (titles), its defaults as they are written."""
    plain = {key: each for key, each in schema_.items() if key != "title"}
    for key in ("properties", "$defs"):
        if key in plain:
            plain[key] = {name: _plain(each) for name, each in plain[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(plain.get(key), dict):
            plain[key] = _plain(plain[key])
    for key in ("anyOf", "oneOf"):
        if key in plain:
            plain[key] = [_plain(each) for each in plain[key] if each != {"type": "null"}]
    if len(plain.get("anyOf", ())) == 1:
        plain |= plain.pop("anyOf")[0]
    if "default" in plain:
        default = plain.pop("default")
        if default is not None:
            plain["default"] = _stable(written(default, plain, {}) if "pattern" in plain else default, plain)
    return plain


def _stable(default: Any, schema_: Schema) -> Any:
    """*default*; a set's elements in one order, so that generating twice gives the same."""
    return sorted(default) if schema_.get("uniqueItems") else default
