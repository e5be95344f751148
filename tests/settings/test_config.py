"""The settings that reviver brings, and the page that tells of every key."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from reviver.kinds import installed
from reviver.model.faults import FaultKind
from reviver.settings import Settings, load
from reviver.settings.schema import schema
from reviver.settings.services import CHECK, LENDER
from reviver.settings.strategies import NOT_HEALED_BY_RESTART
from reviver.settings.tables import (
    BackoffTable,
    BudgetTable,
    DaemonTable,
    FlappingTable,
    MaintenanceTable,
    ServiceTable,
    StepTable,
    StrategyTable,
    VerificationTable,
)

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "reviver.toml"
PAGE = (ROOT / "docs" / "configuration.md").read_text()


@pytest.fixture(scope="module")
def example() -> Settings:
    return load(EXAMPLE, installed(), resolve_secret=lambda _reference: "hunter2")


def test_the_example_is_valid_and_raises_no_doubts(example: Settings) -> None:
    assert example.warnings == ()
    assert list(example.services) == ["db", "cache", "api", "tasks", "uploads", "mail"]
    assert all(service.strategies for service in example.services.values())


def test_the_example_uses_every_kind_that_reviver_brings(example: Settings) -> None:
    rungs = [rung for service in example.services.values() for rung in service.strategies]
    assert {service.kind for service in example.services.values()} == set(installed().check_names())
    used = {step.kind for rung in rungs for step in rung.steps}
    assert used == set(installed().action_names()) - {"systemd.stop", "systemd.reload"}


def test_a_verification_in_the_example_asks_the_database_of_its_service(example: Settings) -> None:
    [rung] = example.services["db"].strategies
    [verification] = rung.verify
    check = example.services["db"].check
    assert (verification.check.dsn, verification.check.password) == (check.dsn, check.password)  # type: ignore[attr-defined]


def test_the_example_agrees_with_the_schema_and_names_it() -> None:
    text = EXAMPLE.read_text()
    assert text.startswith("#:schema ./reviver.schema.json\n")
    jsonschema.Draft202012Validator(schema(installed())).validate(tomli.loads(text))


def test_the_example_is_toml_1_0_which_every_editor_reads() -> None:
    assert tomllib.loads(EXAMPLE.read_text()) == tomli.loads(EXAMPLE.read_text())


@pytest.mark.parametrize("name", installed().check_names())
def test_the_keys_of_a_check_are_not_those_that_every_service_has(name: str) -> None:
    kind = installed().check(name)
    own = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    assert not own & {CHECK, LENDER, *ServiceTable.__annotations__, *VerificationTable.__annotations__}


@pytest.mark.parametrize("name", installed().action_names())
def test_the_keys_of_an_action_are_not_those_that_every_step_has(name: str) -> None:
    kind = installed().action(name)
    assert not {field.name for field in fields(kind)} & StepTable.__annotations__.keys()  # type: ignore[arg-type]


def _documented(heading: str) -> dict[str, tuple[str, str, str]]:
    """The rows of the table under *heading*: key to type, default and reason."""
    _, found, rest = PAGE.partition(f"\n## {heading}\n")
    assert found, heading
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", rest.partition("\n## ")[0], re.MULTILINE)
    return {key: (type_, default, why) for key, type_, default, why in rows}


SECTIONS = {
    "`[daemon]`": DaemonTable,
    "`[[maintenance]]`": MaintenanceTable,
    "`[services.NAME]`": ServiceTable,
    "`[[services.NAME.recovery]]`": StrategyTable,
    "`steps`": StepTable,
    "`backoff`": BackoffTable,
    "`budget`, `budgets`": BudgetTable,
    "`flapping`": FlappingTable,
    "`verify`": VerificationTable,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_documented_with_its_type_and_a_reason_and_no_other_is(heading: str) -> None:
    rows = _documented(heading)
    extra = {CHECK, LENDER} if SECTIONS[heading] is ServiceTable else set()
    assert rows.keys() == {key.rstrip("_") for key in SECTIONS[heading].__annotations__} | extra
    for key, (type_, _, why) in rows.items():
        assert type_.strip(), key
        assert len(why) > 10, key


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_documented_default_is_the_one_that_holds(heading: str) -> None:
    rows = _documented(heading)
    table = _schema_of(SECTIONS[heading])
    for key, (_, default, _) in rows.items():
        known = table["properties"].get(key, {}).get("default")
        assert (default == "required") == (key in table.get("required", ())), key
        assert known is None or default == f"`{_toml(known)}`", key


def _schema_of(table: type) -> dict[str, Any]:
    made = schema(installed())
    definitions = made["$defs"]
    found: dict[str, Any] = {
        "DaemonTable": made["properties"]["daemon"],
        "MaintenanceTable": made["properties"]["maintenance"]["items"],
        "ServiceTable": definitions["service.redis"],
        "StrategyTable": definitions["strategy.redis"],
        "StepTable": definitions["step.wait"],
        "BackoffTable": definitions["BackoffTable"],
        "BudgetTable": definitions["BudgetTable"],
        "FlappingTable": definitions["FlappingTable"],
        "VerificationTable": definitions["verification.redis"],
    }[table.__name__]
    return found


def _toml(value: object) -> str:
    match value:
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case str():
            return f'"{value}"'
        case _:
            return f"{value:g}"


def test_every_fault_is_documented() -> None:
    section = PAGE.partition("\n## Faults\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(FaultKind)


def test_every_example_on_the_page_is_toml() -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert examples
    for each in examples:
        tomllib.loads(each)


def test_the_faults_that_no_restart_heals_are_marked() -> None:
    section = PAGE.partition("\n## Faults\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \| \*.*\* \|$", section, re.MULTILINE)) == set(NOT_HEALED_BY_RESTART)
