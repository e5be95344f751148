"""Whatever is put in the place of something that was right, the answer is settings, or problems with their lines."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from reviver.kinds import installed
from reviver.settings import SettingsError, parse
from reviver.settings.problems import values

PATH = Path("reviver.toml")
EXAMPLE = (Path(__file__).parents[2] / "config" / "reviver.toml").read_text()
KINDS = installed()
WRONG = [0, -1, 2**70, 1.5, True, "", "x", "5", "5s", "db", [], {}, [[]], [{}], ["x"], [1, "x"], {"x": 1}, {"env": 5}]


def _toml(document: dict[str, Any]) -> str:
    return "\n".join(f"{json.dumps(key)} = {_inline(value)}" for key, value in document.items())


def _inline(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items()) + "}"
        case list():
            return "[\n" + ",\n".join(map(_inline, value)) + "]"
        case _:
            return json.dumps(value)


def _spoiled(seed: int) -> str:
    """The example with one to three things replaced, removed or added."""
    chance = random.Random(seed)
    document = tomli.loads(EXAMPLE)
    for _ in range(chance.randint(1, 3)):
        place, _value = chance.choice([each for each in values(document) if each[0]])
        inside: Any = document
        for part in place[:-1]:
            inside = inside[part]
        if chance.random() < 0.2:
            del inside[place[-1]]
        elif chance.random() < 0.2 and isinstance(inside, dict):
            inside[f"{place[-1]}x"] = copy.deepcopy(chance.choice(WRONG))
        else:
            inside[place[-1]] = copy.deepcopy(chance.choice(WRONG))
    return _toml(document)


@settings(max_examples=150, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_a_spoiled_file_is_refused_with_places_in_it_or_read(seed: int) -> None:
    text = _spoiled(seed)
    try:
        parse(text, KINDS, path=PATH, resolve_secret=lambda _reference: "hunter2")
    except SettingsError as error:
        found = error.problems
    else:
        return
    assert found
    for problem in found:
        assert problem.line is not None
        assert 1 <= problem.line <= text.count("\n") + 1
        assert problem.message
        assert "\n" not in str(problem)
        assert "hunter2" not in str(problem)
