"""One pass over a settings file: tables become typed values, and what is wrong is gathered."""

import functools
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError, with_config

from reviver.model.actions import Action
from reviver.model.checks import Check
from reviver.model.secrets import MASK, Redactor, Resolver, Secret

from .known import KindUnusable, KnownKinds
from .problems import Findings, Place, quoted, suggestion, values
from .tables import STRICT
from .words import NoSecret, problems

Kind = TypeVar("Kind")


class Reading:
    """What a settings file says so far."""

    def __init__(self, kinds: KnownKinds, resolve_secret: Resolver) -> None:
        self.kinds = kinds
        self.findings = Findings()
        self.secrets: dict[str, Secret] = {}
        """Every secret resolved, by its value."""
        self.secret_files: set[str] = set()
        self._resolve_secret = resolve_secret

    def typed(
        self,
        kind: type,
        written: Mapping[str, Any],
        place: Place,
        *,
        other_keys: Iterable[str] = (),
        lenders: Mapping[str, Place] | None = None,
    ) -> Any:
        """
        The value of type *kind* that *written* says; ``None`` if it doesn't, which is then among the findings.

        Args:
            kind: A dataclass, or one of ``tables``.
            written: The table, without the keys that aren't its type's.
            place: Where the table stands.
            other_keys: The keys that aren't its type's and may stand there, too; for guessing what was meant.
            lenders: Keys that were taken from other tables, and where they stand there.
        """
        # Strict JSON mode is the one that takes an array for a tuple and a string for an enum, and yet no "5" for 5.
        # A date is no JSON; that it has no place here is told elsewhere.
        text = json.dumps(written, default=str)
        try:
            return adapter(kind).validate_json(text, context={"resolve_secret": self._resolved})
        except ValidationError as error:
            found = problems(
                error.errors(include_url=False),
                written,
                keys_at=lambda at: {*keys_at(kind, at), *(() if at else other_keys)},
                redact=lambda text: self._without_secrets(text, written),
            )
        for at, message in found:
            lender = (lenders or {}).get(str(at[0])) if at else None
            self.findings.error((*lender, *at[1:]) if lender else (*place, *at), message)
        return None

    def check(self, name: str, place: Place) -> type[Check] | None:
        """The kind of check that *place* names; ``None`` if it can't be had, which is then among the findings."""
        return self._kind("check", self.kinds.check, name, self.kinds.check_names(), place)

    def action(self, name: str, place: Place) -> type[Action] | None:
        """The kind of action that *place* names; as ``check``."""
        return self._kind("action", self.kinds.action, name, self.kinds.action_names(), place)

    def _kind(
        self, what: str, find: Callable[[str], type[Kind] | None], name: str, names: Iterable[str], place: Place
    ) -> type[Kind] | None:
        try:
            kind = find(name)
        except KindUnusable as error:
            self.findings.error(place, str(error))
            return None
        if kind is None:
            self.findings.error(place, f"{quoted(name)} is no kind of {what}{suggestion(name, names)}")
        return kind

    def _without_secrets(self, text: str, written: object) -> str:
        """*text*, in which a kind may have quoted what is *written*, such as a URL with a password."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        redact = Redactor()
        for _, value in values(written):
            if isinstance(value, str):
                text = text.replace(value, redact(value))
                for piece in _pieces_of_password(value):
                    text = text.replace(piece, MASK)
        return text

    def _resolved(self, reference: dict[str, str]) -> str:
        try:
            value = self._resolve_secret(reference)
        except ValueError as error:
            raise NoSecret(str(error)) from error
        self.secrets.setdefault(value, Secret(value))
        if "file" in reference:
            self.secret_files.add(reference["file"])
        return value


def _pieces_of_password(url: str) -> Iterable[str]:
    """
    What a complaint about *url* may quote of its password.

    Of ``scheme://user:pa/ss@host``, "pa" is taken for a port, and "can't be cast to an integer".
    """
    user = re.search(r"://[^:]*:(.*)@", url) or re.search(r"://[^:]*:([^/]*)", url)  # or the host was forgotten
    return [piece for piece in re.split(r"[^\w-]+", user[1]) if piece] if user else []


@functools.cache
def adapter(kind: type) -> TypeAdapter[Any]:
    """What validates *kind*, strictly. A kind is a plain dataclass: that is written on it only while this is made."""
    if not is_dataclass(kind) or "__pydantic_config__" in kind.__dict__:
        return TypeAdapter(kind)
    try:
        return TypeAdapter(with_config(STRICT)(kind))
    finally:
        delattr(kind, "__pydantic_config__")


def keys_at(kind: type, place: Place) -> Collection[str]:
    """The keys that a table at *place* within *kind* may have."""
    schema = adapter(kind).json_schema()
    found = [schema]
    for part in place:
        found = [inner for outer in found for inner in _inner(outer, part, schema)]
    return {name for outer in found for each in _meant(outer, schema) for name in each.get("properties", {})}


def _inner(outer: dict[str, Any], part: str | int, schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for each in _meant(outer, schema):
        if isinstance(part, int):
            inner = each.get("items")
        else:
            inner = each.get("properties", {}).get(part, each.get("additionalProperties"))
        if isinstance(inner, dict):
            yield inner


def _meant(outer: dict[str, Any], schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """*outer*, or what it refers to, or each of its alternatives."""
    if "$ref" in outer:
        outer = schema["$defs"][outer["$ref"].rpartition("/")[2]]
    yield outer
    for each in (*outer.get("anyOf", ()), *outer.get("oneOf", ())):
        yield from _meant(each, schema)
