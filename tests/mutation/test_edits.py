"""Small changes to code: what is changed, and what is left alone."""

import ast
from pathlib import Path

import pytest

from mutation.edits import edits

CODE = Path(__file__).parent.parent.parent / "daemon" / "reviver"


def changes(source: str) -> list[str]:
    return [edit.what for edit in edits(ast.parse(source))]


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("x = a < b", "a < b  ->  a <= b"),
        ("x = a and b", "a and b  ->  a or b"),
        ("x = a and b", "a and b  ->  b"),
        ("x = not a", "not a  ->  a"),
        ("x = a + b", "a + b  ->  a - b"),
        ("x = 3", "3  ->  4"),
        ("x = True", "True  ->  False"),
        ("x = max(a)", "max(a)  ->  min(a)"),
        ("x = call(a, b)", "call(a, b)  ->  call(b, a)"),
        ("x = {a: 1, b: 2}", "{a: 1, b: 2}  ->  without a"),
        ("def f():\n if a < b: c()", "a < b  ->  not a < b"),
        ("def f():\n return a", "return a  ->  return None"),
        ("def f():\n effect()", "effect()  ->  (nothing)"),
        ("def f():\n return replace(a, b=c, d=e)", "replace(a, b=c, d=e)  ->  without b=c"),
        ("def f():\n return (*a, b)", "(*a, b)  ->  without *a"),
    ],
)
def test_what_carries_meaning_is_changed(source: str, change: str) -> None:
    assert change in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""1 < 2."""',
        "x = 'text'",
        "x = f'{a + 1} and {b < 2}'",
        "def f(a: int | None) -> Literal[1]: ...",
        "@dataclass(slots=True)\nclass A: ...",
        "def f():\n log.info('said', extra={'n': 1})",
        "Kind = int | str",
    ],
)
def test_text_and_types_are_left_alone(source: str) -> None:
    assert changes(source) == []


def test_each_change_is_taken_back_and_known_by_its_function() -> None:
    tree = ast.parse((CODE / "core" / "guards.py").read_text())
    before = ast.dump(tree)
    found = edits(tree)
    assert {"may_act", "lifted", "hard_stop"} <= {edit.function[0] for edit in found if edit.function is not None}
    assert all(edit.compiled(tree, "guards.py") for edit in found)
    assert ast.dump(tree) == before


def test_a_default_lies_outside_of_its_function_and_a_body_inside() -> None:
    default, _, body, *_ = edits(ast.parse("class A:\n def f(self, a=1):\n  return a < 2"))
    assert (default.function, body.function) == (None, ("A.f", 2))
