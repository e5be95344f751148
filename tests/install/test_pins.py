"""``requirements/`` is what pyproject.toml asks for; ``scripts/pins`` writes it."""

import re
import tomllib
from itertools import chain

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from install.shell import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", text, re.MULTILINE))


def not_pinned(wanted: list[str], pinned: dict[str, str]) -> list[str]:
    versions = {asked: pinned.get(canonicalize_name(asked.name)) for asked in map(Requirement, wanted)}
    return [str(asked) for asked, version in versions.items() if version is None or version not in asked.specifier]


def test_every_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    runtime = PROJECT["project"]["dependencies"]
    extras = chain.from_iterable(PROJECT["project"]["optional-dependencies"].values())
    assert not_pinned(runtime, pins("runtime.txt")) == []
    assert not_pinned([*runtime, *extras, *PROJECT["dependency-groups"]["dev"]], pins("dev.txt")) == []


def test_the_tests_run_with_the_versions_that_are_installed_for_operation() -> None:
    assert pins("runtime.txt").items() <= pins("dev.txt").items()


def test_the_pins_name_no_place_to_fetch_from() -> None:
    texts = [(ROOT / "requirements" / name).read_text() for name in ("runtime.txt", "dev.txt")]
    assert not any("://" in text for text in texts)
