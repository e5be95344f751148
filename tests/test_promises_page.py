"""The page of promises names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/promises.md").read_text())


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_promise_stands_beside_tests_that_exist(file: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_each_promise_has_its_tests() -> None:
    sections = (ROOT / "docs/promises.md").read_text().split("\n## ")[1:]
    assert len(sections) >= 11
    assert all("`tests/" in section for section in sections)
