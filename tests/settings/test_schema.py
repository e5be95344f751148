"""The schema says the same as the settings' own reading, as far as a schema can."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from reviver.kinds import Kinds, installed
from reviver.settings.schema import render_schema, schema
from settings.samples import KINDS, Db, Ping, problems

COMMITTED = Path(__file__).parents[2] / "config" / "reviver.schema.json"

SERVICE = '[services.a]\ncheck = "db"\nurl = "db://x"\n'
RUNG = '[[services.a.recovery]]\nname = "r"\nfaults = ["timeout"]\nsteps = [{ action = "wipe" }]\n'
VALIDATOR = jsonschema.Draft202012Validator(schema(KINDS))


def _complaints(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomli.loads(text))]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema(KINDS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        'daemon = { listen = "h:1", mode = "observe", budget = { attempts = 1, per = "1h" }, evidence_within = "0s" }',
        SERVICE + 'interval = "1m30s"\nwait = "500ms"\nanswer_max = "1 KiB"\nflavour = "spicy"\nlimit = { warn = 2 }',
        SERVICE + "headers = { a = 'b', c = { env = 'X' } }\npassword = { file = '/x' }\ncodes = [1]\npath = '/x'",
        SERVICE + RUNG + "verify = [{ check = 'db', port = 1, timeout = '5s' }]\nbackoff = { factor = 2.5 }",
        SERVICE + '[services.b]\ncheck = "queue"\nservice = "a"\nstream = "s"\n',
    ],
)
def test_what_is_right_agrees_with_the_schema(text: str) -> None:
    assert _complaints(text) == []
    assert problems(text, secrets={"X": "x", "/x": "x"}) == []


@pytest.mark.parametrize(
    "text",
    [
        "[demon]",
        "daemon.at_once = 0",
        "daemon.interval = 5",
        SERVICE + "interval = 5",
        SERVICE + 'interval = "5"',
        SERVICE + "answer_max = 5",
        SERVICE + 'port = "5"',
        SERVICE + 'unknown = "5"',
        SERVICE + 'password = "hunter2"',
        SERVICE + "limit = { wran = 1 }",
        SERVICE + 'flavour = "x"',
        SERVICE.replace('"db"', '"bd"'),
        SERVICE.replace("services.a", "services.A"),
        '[services.a]\ncheck = "ping"\naddress = "x"\nservice = "b"\n[services.b]\ncheck = "ping"\naddress = "x"',
        '[services.a]\ncheck = "ping"\n',
        SERVICE + RUNG.replace("timeout", "backlog"),
        SERVICE + RUNG.replace("wipe", "swipe"),
        SERVICE + RUNG.replace('"wipe"', '"wipe", unit = "u"'),
        SERVICE + RUNG.replace('["timeout"]', "[]"),
        SERVICE + RUNG + "verify = [{ check = 'ping' }]",
    ],
)
def test_what_is_wrong_disagrees_with_the_schema(text: str) -> None:
    assert _complaints(text)
    assert problems(text)


def test_editors_show_what_a_key_means_and_its_default_as_it_is_written() -> None:
    properties = schema(KINDS)["$defs"]["service.db"]["properties"]
    assert properties["url"] == {"type": "string", "description": "Where it is."}
    assert properties["port"] == {"type": "integer", "default": 5432, "description": "the usual one"}
    assert properties["wait"]["default"] == "1m30s"
    assert properties["answer_max"]["default"] == "64KiB"
    assert properties["codes"]["default"] == [200, 204]
    assert properties["interval"]["default"] == "5s"
    assert properties["interval"]["description"] == "Pause between two questions."
    assert properties["budgets"]["default"] == [{"attempts": 6, "per": "1h"}, {"attempts": 12, "per": "1d"}]
    assert properties["flapping"]["default"] == {"falls": 3, "within": "30m"}
    assert properties["check"] == {"const": "db", "description": "A database."}
    assert "default" not in properties["password"]
    assert "null" not in json.dumps(schema(KINDS))


def test_a_default_that_depends_on_the_steps_is_not_in_the_schema() -> None:
    definitions = schema(KINDS)["$defs"]
    assert "default" not in definitions["strategy.db"]["properties"]["mode"]
    assert definitions["strategy.db"]["properties"]["attempts"]["default"] == 3


def test_every_reference_within_the_schema_leads_somewhere_and_every_definition_is_used() -> None:
    made = schema(KINDS)
    references = {value for value in _strings(made) if value.startswith("#/")}
    assert references == {f"#/$defs/{name}" for name in made["$defs"]}


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []


def test_kinds_of_checks_and_actions_with_one_class_name_are_told_apart() -> None:
    kinds = Kinds(checks={"a": Db, "b": type("Db", (Ping,), {"__doc__": "Another."})})
    definitions = schema(kinds)["$defs"]
    assert "url" in definitions["service.a"]["properties"]
    assert "address" in definitions["service.b"]["properties"]


def test_generating_twice_gives_the_same() -> None:
    code = "from settings.test_schema import *; print(render_schema(KINDS), end='')"
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=Path(__file__).parents[1],
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert made == {render_schema(KINDS)}


def test_the_committed_schema_is_the_one_of_the_kinds_that_reviver_brings() -> None:
    text = render_schema(installed())
    assert COMMITTED.read_text() == text, "write it anew: reviver schema > config/reviver.schema.json"
