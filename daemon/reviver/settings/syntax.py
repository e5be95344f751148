"""TOML, taken apart; and when it is none, why not, in words for people."""

import re
from collections.abc import Sequence
from typing import Any, Final

import tomli

from .places import deeper_than
from .problems import SECRET_NAME, key

_BARE_WORD: Final = re.compile(r"[\w\"']\s*=\s*(?P<word>\d[\d.]*[A-Za-z]\w*|[A-Za-z_][\w.-]*)\s*(?:[,\]}#]|$)")
_DECLARED_TWICE: Final = re.compile(r"Cannot (?:declare|mutate immutable namespace) \((?P<parts>.*)\)")


DEPTH_MAX: Final = 50


class SyntaxProblem(Exception):
    """A text is no TOML."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def document(text: str) -> dict[str, Any]:
    """
    What *text*, TOML 1.1, says.

    Raises:
        SyntaxProblem: It is no TOML.
    """
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SyntaxProblem(_said(error, text.split("\n")), error.lineno) from error
    except RecursionError as error:
        raise SyntaxProblem("arrays or tables are nested too deeply", deeper_than(DEPTH_MAX, text)) from error


def _said(error: tomli.TOMLDecodeError, rows: Sequence[str]) -> str:
    row = rows[error.lineno - 1] if error.lineno <= len(rows) else ""
    if twice := _DECLARED_TWICE.search(error.msg):
        parts = tuple(re.findall(r"'([^']*)'", twice["parts"]))
        return f"the table [{key(parts)}] is written twice"
    if error.msg == "Cannot overwrite a value":
        return "the same key is written twice in one table"
    word = _BARE_WORD.search(row)
    if word and word["word"] not in {"true", "false", "inf", "nan"}:
        meant = "" if SECRET_NAME.search(row) else f'; did you mean "{word["word"]}"?'
        return f"not valid TOML: a text stands in quotation marks{meant}"
    return f"not valid TOML: {error.msg[:1].lower()}{error.msg[1:]} (column {error.colno})"
