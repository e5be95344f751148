"""
The line of every key, header and array element of a TOML document, for telling people where a problem is.

Reads only documents that the TOML parser took, so it needs to find the structure and can leave values alone.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import tomli

from .problems import Place

_TOKEN: Final = re.compile(
    r"""
      (?P<string> \"{3} (?:\\.|(?!\"{3}).)* \"{3,5} | '{3} (?:(?!'{3}).)* '{3,5} | \"(?:\\.|[^"\\])*\" | '[^']*' )
    | (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<mark> [][{}=,] )
    | (?P<bare> [^][{}=,\s#"']+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def lines(text: str) -> Mapping[Place, int]:
    """The line, counted from 1, of each key, table header and array element of *text*, which is valid TOML."""
    scan = _Scan(text)
    scan.document()
    return scan.lines


def deeper_than(depth: int, text: str) -> int:
    """The line on which arrays and tables of *text*, of which nothing else need be valid, first nest deeper."""
    nested = 0
    for token in _tokens(text):
        if token.kind == "mark":
            nested += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token.text, 0)
        if nested > depth:
            return token.line
    return 1


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._tokens = _tokens(text)
        self._next = 0
        self._tables: dict[Place, int] = {}
        """How many tables each array of tables has so far."""

    def document(self) -> None:
        table: Place = ()
        while not self._at("end"):
            if self._at("newline"):
                self._next += 1
            elif self._at("mark", "["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        """``[a.b]`` or ``[[a.b]]``; returns the table that it opens."""
        line, start = self._token.line, self._next
        while self._at("mark", "["):
            self._next += 1
        is_array = self._next - start == 2
        table: Place = ()
        parts = self._key()
        for part in parts:
            table = self._latest((*table, part))
            self.lines.setdefault(table, line)
        if is_array:
            array = table[:-1] if isinstance(table[-1], int) else table
            self._tables[array] = self._tables.get(array, 0) + 1
            table = self._latest(array)
        self.lines[table] = line
        while self._at("mark", "]"):
            self._next += 1
        return table

    def _latest(self, place: Place) -> Place:
        """*place*, or its newest table if it is an array of tables."""
        return (*place, self._tables[place] - 1) if place in self._tables else place

    def _pair(self, table: Place) -> None:
        """``key = value``, with the dotted key's tables."""
        line = self._token.line
        place = table
        for part in self._key():
            place = (*place, part)
            self.lines.setdefault(place, line)
        self._next += 1  # the equals sign
        self._value(place)

    def _value(self, place: Place) -> None:
        if self._at("mark", "["):
            self._array(place)
        elif self._at("mark", "{"):
            self._inline_table(place)
        else:
            while self._at("string") or self._at("bare"):  # a date and a time are two
                self._next += 1

    def _array(self, place: Place) -> None:
        self._next += 1
        index = 0
        while not self._at("mark", "]"):
            if self._at("newline") or self._at("mark", ","):
                self._next += 1
            else:
                self.lines[*place, index] = self._token.line
                self._value((*place, index))
                index += 1
        self._next += 1

    def _inline_table(self, place: Place) -> None:
        self._next += 1
        while not self._at("mark", "}"):
            if self._at("newline") or self._at("mark", ","):
                self._next += 1
            else:
                self._pair(place)
        self._next += 1

    def _key(self) -> list[str]:
        """The parts of a bare, quoted or dotted key."""
        parts: list[str] = []
        while self._at("string") or self._at("bare"):
            token = self._token
            if token.kind == "string":
                parts.append(tomli.loads(f"key = {token.text}")["key"])
            else:
                parts += [part for part in token.text.split(".") if part]
            self._next += 1
        return parts

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _at(self, kind: str, text: str | None = None) -> bool:
        return self._token.kind == kind and (text is None or self._token.text == text)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "comment":
            tokens.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
    return [*tokens, _Token("end", "", line)]
