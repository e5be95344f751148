"""What pydantic found wrong, in words for people: what was expected, what was found, what was likely meant."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, time
from typing import Any, Final

from pydantic_core import ErrorDetails

from .problems import SECRET_NAME, Place, quoted, suggestion

_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "an array",
    "list_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "dict_type": "a table",
    "mapping_type": "a table",
    "dataclass_type": "a table",
    "string_too_short": "a text that isn't empty",
}
_UNKNOWN_KEY: Final = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING: Final = {"missing", "missing_keyword_only_argument", "missing_argument"}
_ONE_OF: Final = {"enum", "literal_error"}
_REFERENCE_EXPECTED: Final = "expected a reference such as"


class NoSecret(ValueError):
    """A secret can't be had; the text, which is ours, says why."""


def problems(
    errors: Iterable[ErrorDetails],
    written: Mapping[str, Any],
    *,
    keys_at: Callable[[Place], Collection[str]],
    redact: Callable[[str], str],
) -> Sequence[tuple[Place, str]]:
    """
    What is wrong with the table *written*, and where in it; but for dates, which have no place in settings anywhere.

    Args:
        errors: All that pydantic found.
        written: As it stands in the file. Nothing is echoed of it where a secret may stand.
        keys_at: The keys that a table at this place may have.
        redact: Takes secrets out of texts that kinds raise.
    """
    grouped: dict[Place, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_place(error, written), []).append(error)
    return [
        _told(place, group, value, keys_at, redact)
        for place, group in grouped.items()
        if not isinstance(value := _at(written, place), date | time)
    ]


def _place(error: ErrorDetails, written: Mapping[str, Any]) -> Place:
    """Where *error* is: without the parts that name a member of a union, with the key that is missing."""
    if error["type"] in _MISSING:
        return error["loc"]
    value: Any = written
    for depth, part in enumerate(error["loc"]):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return error["loc"][:depth]
    return error["loc"]


def _at(written: Mapping[str, Any], place: Place) -> Any:
    """What is written at *place*, which is there, or a key that is missing."""
    value: Any = written
    for part in place:
        value = value.get(part) if isinstance(value, Mapping) else value[part]
    return value


def _told(
    place: Place,
    errors: Sequence[ErrorDetails],
    value: object,
    keys_at: Callable[[Place], Collection[str]],
    redact: Callable[[str], str],
) -> tuple[Place, str]:
    first = errors[0]
    if first["type"] in _MISSING:
        return place, "required key is missing"
    if first["type"] in _UNKNOWN_KEY:
        return place, f"unknown key{suggestion(str(place[-1]), keys_at(place[:-1]))}"
    raised = [error["ctx"]["error"] for error in errors if error["type"] == "value_error"]
    for error in raised:
        if str(error).startswith(_REFERENCE_EXPECTED):
            others = [other for other in errors if other["type"] != "value_error"]
            return place, _reference_expected(str(error), others, value)
    if raised:
        text = str(raised[0])
        return _nearer(place, text if isinstance(raised[0], NoSecret) else redact(text), value)
    return place, _expected(errors, value, echo=not any(SECRET_NAME.search(str(part)) for part in place))


def _reference_expected(text: str, others: Sequence[ErrorDetails], value: object) -> str:
    if others:
        text = f"expected {' or '.join(map(_phrase, others))}, or {text.removeprefix('expected ')}"
    if isinstance(value, str):
        return f"{text}, found a string: a secret never stands in this file itself"
    return f"{text}, found {_shown(value, echo=False)}"


def _nearer(place: Place, text: str, value: object) -> tuple[Place, str]:
    """The key that *text*, raised for a whole table, begins with, if the table has it: ``url: no host in it``."""
    name = re.match(r"\w+", text)
    if isinstance(value, Mapping) and name and name[0] in value:
        return (*place, name[0]), text.removeprefix(f"{name[0]}: ")
    return place, text


def _expected(errors: Sequence[ErrorDetails], value: object, *, echo: bool) -> str:
    wanted = " or ".join(dict.fromkeys(map(_phrase, errors)))
    first = errors[0]
    if isinstance(value, str) and wanted == "an array":
        return "expected an array, found a string; put it in brackets"
    if isinstance(value, Mapping) and wanted == "an array":
        return "expected an array, found a table; each table of an array is headed [[…]], or stands in brackets"
    if not echo or wanted == "a table":  # headers, arguments: who knows what was written there
        return f"expected {wanted}, found {_shown(value, echo=False)}"
    if first["type"] in _ONE_OF and isinstance(value, str):
        return f"{quoted(value)} is unknown here{suggestion(value, _choices(first))}"
    return f"expected {wanted}, found {_shown(value, echo=True)}{_meant(first['type'], value)}"


def _phrase(error: ErrorDetails) -> str:
    if error["type"] in _ONE_OF:
        return "one of " + ", ".join(map(quoted, _choices(error)))
    limits = error.get("ctx", {})
    if error["type"] == "greater_than_equal":
        return f"{limits['ge']:g} or more"
    if error["type"] == "too_short":
        return f"at least {limits['min_length']}"
    return _EXPECTED.get(error["type"]) or error["msg"].removeprefix("Input should be ")


def _choices(error: ErrorDetails) -> list[str]:
    """What an error about an enum or a literal says is allowed: ``'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", error["ctx"]["expected"])


def _meant(kind: str, value: object) -> str:
    """A guess at what was meant by a value of the wrong type."""
    if kind in {"int_type", "float_type"} and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return f"; did you mean {value}?"
    if kind == "bool_type" and value in {"true", "false"}:
        return f"; did you mean {value}?"
    if kind == "string_type" and type(value) in {int, float}:
        return f'; did you mean "{value}"?'
    return ""


def _shown(value: object, *, echo: bool) -> str:
    match value:
        case Mapping():
            return "a table"
        case list():
            return "an array" if value else "an empty array"
        case str():
            return quoted(value) if echo else "a string"
        case bool():
            return str(value).lower()
        case _:
            return str(value) if echo else "a number"
