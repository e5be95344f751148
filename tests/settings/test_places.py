"""The lines are compared with those that a writer of random documents noted, and the keys with the parser's."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from reviver.settings.places import lines
from reviver.settings.problems import Place

SCALARS = [
    "1",
    "-1.5e3",
    "true",
    "nan",
    "1979-05-27 07:32:00Z",
    "07:32:00",
    '""',
    '"a \\" # [ { ] = b"',
    "'c:\\'",
    '"""\n[x]\n# no comment\ny = "1"\n\\""" \n"""',
    '"""two quotes at the end"""""',
    "'''\n'[z]' = \n'''",
]
KEYS = ["a", "b-1", "_", "3", '"q.r"', "'[s]'", '"t\\u00e4 = #"', '""']


class _Writer:
    """Writes a random document, and notes where everything in it stands."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._text = ""
        self.lines: dict[Place, int] = {}

    def document(self) -> str:
        self._pairs(())
        for key in self._keys():
            if self._random.random() < 0.5:
                self._header((key,), "[{}]")
            else:
                self._array_of_tables(key)
        return self._text

    def _array_of_tables(self, key: str) -> None:
        for index in range(self._random.randint(1, 3)):
            self._header((key,), "[[{}]]", index)
            if self._random.random() < 0.5:
                self._header((key, "sub"), "[{}]", index)

    def _header(self, keys: tuple[str, ...], form: str, index: int | None = None) -> None:
        self._blank()
        table: Place = (_name(keys[0]),)
        table = (*table, *(() if index is None else (index,)), *map(_name, keys[1:]))
        if index is not None and len(keys) == 1:
            self._note(table[:-1])
        self._note(table)
        self._text += form.format(self._space().join(("", " . ".join(keys), ""))) + self._end()
        self._pairs(table)

    def _pairs(self, table: Place) -> None:
        for key in self._keys(but={"sub", '"sub"'}):
            if table == () and self._random.random() < 0.5:
                continue
            self._blank()
            self._pair(table, key if table else f"root{key}" if key[0] not in "\"'" else f"{key[0]}root{key[1:]}")
            self._text += self._end()

    def _pair(self, table: Place, key: str, depth: int = 0) -> None:
        place = (*table, _name(key))
        self._note(place)
        self._text += key
        if self._random.random() < 0.2:
            dotted = self._random.choice(KEYS)
            self._text += f"{self._space()}.{self._space()}{dotted}"
            place = (*place, _name(dotted))
            self._note(place)
        self._text += f"{self._space()}={self._space()}"
        self._value(place, depth)

    def _value(self, place: Place, depth: int) -> None:
        kind = self._random.random()
        if depth > 2 or kind < 0.6:
            self._text += self._random.choice(SCALARS)
        elif kind < 0.8:
            self._several("[]", [lambda i=i: self._element(place, i, depth) for i in range(self._random.randint(0, 3))])
        else:
            self._several("{}", [lambda key=key: self._pair(place, key, depth + 1) for key in self._keys()])

    def _element(self, place: Place, index: int, depth: int) -> None:
        self._note((*place, index))
        self._value((*place, index), depth + 1)

    def _several(self, brackets: str, writers: list[Any]) -> None:
        self._text += brackets[0] + self._gap()
        for i, write in enumerate(writers):
            write()
            last = i == len(writers) - 1
            self._text += self._gap() + ("" if last and self._random.random() < 0.5 else ",") + self._gap()
        self._text += brackets[1]

    def _note(self, place: Place) -> None:
        """Notes the line of *place*, if it is new."""
        self.lines.setdefault(place, self._text.count("\n") + 1)

    def _keys(self, but: frozenset[str] | set[str] = frozenset()) -> list[str]:
        return self._random.sample([key for key in KEYS if key not in but], self._random.randint(0, 4))

    def _gap(self) -> str:
        return self._random.choice(["", " ", "\n", ' # ] } , "\n  ', "\n\n\t"])

    def _space(self) -> str:
        return self._random.choice(["", " ", "\t"])

    def _blank(self) -> None:
        self._text += self._random.choice(["", "\n", '# [c] = "\n', "  # '''\n\n", "  "])

    def _end(self) -> str:
        return self._random.choice(["\n", " # [x]\n", '\t#"\n', "\r\n"])


def _name(key: str) -> str:
    return next(iter(tomli.loads(f"{key} = 1")))


def _places(value: object, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*place, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places(each, (*place, index))


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_every_key_header_and_element_of_a_random_document_has_the_line_where_it_was_written(seed: int) -> None:
    writer = _Writer(seed)
    text = writer.document()
    found = lines(text)
    assert found == writer.lines, text
    assert set(found) == set(_places(tomli.loads(text))), text


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("[[s.db.recovery]]\nx = 1\n[s.cache]\n[[s.db.recovery]]\nx = 2", ("s", "db", "recovery", 1, "x"), 5),
        ("[[a]]\n[[a.b]]\n[[a.b]]\n[[a]]\n[[a.b]]\n[a.b.c]", ("a", 1, "b", 0, "c"), 6),
        ("[a.b]\n[a]\nx = 1", ("a",), 2),
        ("[a.b]\n\nc = 1", ("a",), 1),
        ("a = [[1,\n2],\n[3]]", ("a", 1, 0), 3),
        ("a.b = 1\na.c = 2", ("a", "c"), 2),
        ("a = [\n  { b = 1 }, # one\n\n  { b = 2,\n c = 3 }]", ("a", 1, "c"), 5),
    ],
)
def test_the_line_of_a_key(text: str, place: Place, line: int) -> None:
    assert lines(text)[place] == line
    assert set(lines(text)) == set(_places(tomli.loads(text)))
