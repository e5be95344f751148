"""What the fields of a class mean, and their defaults as they are written in TOML: for schema and documentation."""

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from reviver.model.units import DURATION_PATTERN, DURATION_UNITS, SIZE_PATTERN, SIZE_UNITS


def summary(kind: type) -> str:
    """What *kind* is, in the first paragraph of its docstring; empty if it has none."""
    text = kind.__doc__ or ""
    if text.startswith(f"{kind.__name__}("):  # dataclass wrote it
        return ""
    return _prose(inspect.cleandoc(text).split("\n\n")[0])


def meanings(kind: type) -> Mapping[str, str]:
    """What the fields of *kind* mean: the string under each, or the comment beside it."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__module__ not in {"builtins", "typing", "typing_extensions"}:
            found |= _own_meanings(each)
    return found


def _own_meanings(kind: type) -> Mapping[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # it was made by a program
        return {}
    rows = source.splitlines()
    [body] = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    found = {}  # a key that Python can't spell has an underscore at its end there
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        match below:
            case ast.Expr(value=ast.Constant(value=str(text))):
                found[node.target.id.rstrip("_")] = _prose(inspect.cleandoc(text))
            case _:
                comment = re.search(r"#\s*(?!noqa)(.+)", rows[(node.end_lineno or 1) - 1][node.end_col_offset or 0 :])
                if comment:
                    found[node.target.id.rstrip("_")] = _prose(comment[1])
    return found


def _prose(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def defaults(kind: type) -> Mapping[str, Any]:
    """The defaults of the dataclass *kind*, where they aren't ``None``: that stands for "unset"."""
    found = {}
    for each in fields(kind):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if default is not MISSING and default is not None:
            found[each.name] = default
    return found


def written(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """*value* as it would be written in TOML where *schema* holds: durations and sizes with units."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if isinstance(value, int | float) and "pattern" in schema:
        return {DURATION_PATTERN: duration, SIZE_PATTERN: size}[schema["pattern"]](value)
    if is_dataclass(value):
        inner = schema["properties"]
        return {each.name: written(getattr(value, each.name), inner[each.name], definitions) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [written(each, schema["items"], definitions) for each in value]
    return value


def duration(seconds: float) -> str:
    """*seconds*, to the millisecond, as in ``"1m30s"``."""
    rest = round(seconds * 1000)
    text = ""
    for unit, length in sorted(DURATION_UNITS.items(), key=lambda each: -each[1]):
        count, rest = divmod(rest, round(length * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def size(length: float) -> str:
    """*length* in bytes, as in ``"64KiB"``, in the largest unit of which it is a multiple."""
    fitting = [(factor, unit) for unit, factor in SIZE_UNITS.items() if length and length % factor == 0]
    factor, unit = max(fitting, default=(1, "B"))
    return f"{int(length) // factor}{unit}"
