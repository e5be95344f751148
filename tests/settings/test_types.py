"""Nothing is turned silently into another type, and the message says what was likely meant."""

import pytest

from reviver.kinds import installed
from reviver.settings import SettingsError, parse
from settings.samples import PATH, Db, problem, problems, read

DB = '[services.a]\ncheck = "db"\nurl = "db://x"\n'
DATE = "a date or a time has no place here; a text stands in quotation marks"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('port = "5"', 'port: expected a whole number, found "5"; did you mean 5?'),
        ("port = 5.0", "port: expected a whole number, found 5.0"),
        ("port = true", "port: expected a whole number, found true"),
        ('ratio = "1"', 'ratio: expected a number, found "1"; did you mean 1?'),
        ("ratio = nan", "ratio: expected a finite number, found nan"),
        ("tls = 1", "tls: expected true or false, found 1"),
        ('tls = "true"', 'tls: expected true or false, found "true"; did you mean true?'),
        ('tables = "users"', "tables: expected an array, found a string; put it in brackets"),
        ("tables = [1]", 'tables[0]: expected a string, found 1; did you mean "1"?'),
        (
            "tables = {}",
            "tables: expected an array, found a table; each table of an array is headed [[…]], or stands in brackets",
        ),
        ('pidfile = "/run\\u0000"', r'pidfile: expected an absolute path, found "/run\u0000"'),
        ("wait = 5", 'wait: expected a duration with a unit, found 5; did you mean "5s"?'),
        ("wait = 1.5", 'wait: expected a duration with a unit, found 1.5; did you mean "1.5s"?'),
        (
            'wait = "5 sec"',
            (
                'wait: expected a duration with units from largest to smallest, such as "5s", "1m30s" or "500ms", '
                'found "5 sec"'
            ),
        ),
        ("wait = 2026-01-01", "wait: a date or a time has no place here; a text stands in quotation marks"),
        (
            "headers = { x = 07:32:00 }",
            "headers.x: a date or a time has no place here; a text stands in quotation marks",
        ),
        ("answer_max = 5", 'answer_max: expected a size with a unit, found 5; did you mean "5B"?'),
        ('answer_max = "5 K"', 'answer_max: expected a size with a unit, such as "64KiB" or "10MB", found "5 K"'),
        ('flavour = "spicey"', 'flavour: "spicey" is unknown here; did you mean "spicy"?'),
        ('flavour = "x"', 'flavour: "x" is unknown here; there are "plain", "spicy"'),
        ("flavour = 1", 'flavour: expected one of "plain", "spicy", found 1'),
        ("limit = { wran = 1 }", 'limit.wran: unknown key; did you mean "warn"?'),
        ("limits = [{}, { wran = 1 }]", 'limits[1].wran: unknown key; did you mean "warn"?'),
        ("limit = 5", "limit: expected a table, found a number"),
        ("path = 07:32:00", f"path: {DATE}"),
        ("codes = [200, 20.5]", "codes[1]: expected a whole number, found 20.5"),
        ("fall = 0", "fall: expected 1 or more, found 0"),
        ('timeout = "0s"', "timeout: expected a duration above zero"),
        ('unit = ""', 'unit: expected a text that isn\'t empty, found ""'),
        ('pidfile = "run/pid"', 'pidfile: expected an absolute path, found "run/pid"'),
        ("budgets = [{ attempts = 1 }]", "budgets[0].per: required key is missing"),
        (
            "budgets = [{ attempts = 1, per = 5 }]",
            'budgets[0].per: expected a duration with a unit, found 5; did you mean "5s"?',
        ),
        ("recovery = 5", "recovery: expected an array, found 5"),
        ("recovery = [5]", "recovery[0]: expected a table, found a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_what_was_meant(line: str, told: str) -> None:
    assert problem(DB + line) == f"4: services.a.{told}"


def test_each_form_that_toml_has_for_a_value_is_taken() -> None:
    lines = """
    port = 1
    ratio = 2
    tls = true
    tables = ["a", "b"]
    wait = "1m30s"
    answer_max = "1 KiB"
    flavour = "spicy"
    limit = { warn = 3, after = "5s" }
    codes = [1, 2]
    """
    check = read(DB + lines).services["a"].check
    assert isinstance(check, Db)
    assert (check.port, check.ratio, check.tls, check.tables) == (1, 2.0, True, ("a", "b"))
    assert (check.wait, check.answer_max, check.flavour) == (90.0, 1024, "spicy")
    assert (check.limit.warn, check.limit.after, check.codes) == (3, 5.0, frozenset({1, 2}))


def test_what_a_kind_says_of_one_key_stands_at_that_key() -> None:
    text = '[services.a]\ncheck = "db"\n\nurl = "nowhere"'
    assert problem(text) == "4: services.a.url: expected a URL, found nowhere"


def test_what_a_kind_says_of_several_keys_stands_at_the_head_of_the_table() -> None:
    assert problem(DB + "tls = true") == "1: services.a: no TLS on the usual port"


def test_what_a_kind_says_is_told_without_passwords() -> None:
    text = '[services.a]\ncheck = "db"\nurl = "user:hunter2@nowhere"\npassword = { env = "P" }'
    assert "hunter2" not in problem(text, secrets={"P": "hunter2"})


@pytest.mark.parametrize("url", ["u:hunt/er2@x", "u:hunter2@x:y", ":hunter2@[x", "u:hunter2@x", "u:hunter2#@x"])
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_what_the_real_kinds_say_of_a_url_is_told_without_its_password(kind: str, url: str) -> None:
    key = "dsn" if kind == "postgres" else "url"
    text = f'[services.a]\ncheck = "{kind}"\n{key} = "{kind + "ql" * (kind == "postgres")}://{url}"\nexpect = "nothing"'
    with pytest.raises(SettingsError) as caught:
        parse(text, installed(), path=PATH)
    assert "hunt" not in str(caught.value)


def test_a_missing_key_is_told_at_the_head_of_its_table_even_when_the_table_is_an_inline_one() -> None:
    text = '[services]\na = { check = "ping" }\n\n[services.b]\ninterval = "1s"\ncheck = "ping"'
    assert problems(text) == [
        "2: services.a.address: required key is missing",
        "4: services.b.address: required key is missing",
    ]


def test_a_long_wrong_value_is_cut() -> None:
    assert len(problem(DB + f'port = "{"9" * 500}x"')) < 150
