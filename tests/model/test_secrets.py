"""Secrets reach a client and nothing else."""

import base64
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.model.secrets import MASK, Redactor, Secret

PLAIN = Redactor()


@pytest.mark.parametrize("show", [str, repr, "{}".format, "%s".__mod__, lambda secret: f"{[secret]}"])
def test_a_secret_is_masked_however_it_is_printed(show: object) -> None:
    assert "hunter2" not in show(Secret("hunter2"))  # type: ignore[operator]


def test_a_secret_in_a_dataclass_is_masked_with_it() -> None:
    @dataclass
    class Check:
        password: Secret

    assert repr(Check(Secret("hunter2"))).endswith("Check(password=Secret(***))")


def test_a_secret_is_revealed_to_who_asks_for_it() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


@given(secret=st.text(min_size=4), before=st.text(), after=st.text())
def test_a_known_secret_is_taken_out_of_any_text(secret: str, before: str, after: str) -> None:
    assert secret not in Redactor([Secret(secret)])(before + secret + after, limit=10**6).replace(MASK, "")


def test_of_secrets_that_contain_each_other_no_rest_stays() -> None:
    assert Redactor([Secret("pass"), Secret("password123")])("it was password123 and pass") == "it was *** and ***"


@pytest.mark.parametrize(
    "told",
    [
        "p%40ss%2Fw0rd%20x",
        "p%40ss%2fw0rd%20x",
        "p%40ss%2Fw0rd+x",
        base64.b64encode(b"p@ss/w0rd x").decode(),
        base64.b64encode(b"user:p@ss/w0rd x").decode()[7:-2],
    ],
)
def test_a_known_secret_is_taken_out_in_the_forms_that_the_web_gives_it(told: str) -> None:
    assert told not in Redactor([Secret("p@ss/w0rd x")])(f"refused: {told}!")


def test_of_a_secret_of_several_lines_each_is_taken_out() -> None:
    redact = Redactor([Secret("first-line-of-it\nsecond-line-of-it")])
    assert redact("a first-line-of-it b") == "a *** b"


def test_a_tree_without_end_and_a_number_without_end_are_cut() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert "nested too deeply" in json.dumps(PLAIN.tree(deep))
    assert PLAIN.tree(10**5000) == "a number of 16610 bits"


def test_an_empty_secret_masks_nothing() -> None:
    assert Redactor([Secret("")])("as it is") == "as it is"


def test_a_secret_learned_later_is_taken_out_of_what_came_by_before() -> None:
    redact = Redactor([Secret("old one")])
    assert redact("hunter2 and old one") == "hunter2 and ***"
    redact.learn([Secret("hunter2")])
    assert redact("hunter2 and old one") == "*** and ***"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://fuse:hunter2@db/fuse", "postgresql://fuse:***@db/fuse"),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("HTTPS://u:hunter2@x and amqp://v:hunter2@y", "HTTPS://u:***@x and amqp://v:***@y"),
        ("http://db:5432/fuse", "http://db:5432/fuse"),
        ("password=hunter2 host=db", "password=*** host=db"),
        ("Password: hunter2", "Password: ***"),
        ('{"password": "hunter2", "user": "fuse"}', '{"password": ***, "user": "fuse"}'),
        ("password='hunter 2'", "password=***"),
        ("api_key=hunter2&limit=5", "api_key=***&limit=5"),
        ("apikey: hunter2; x", "apikey: ***; x"),
        ("Authorization: Bearer hunter2", "Authorization: ***"),
        ("authorization: basic aHVudGVyMg==", "authorization: ***"),
        ("PGPASSWORD=hunter2 pg_dump", "PGPASSWORD=*** pg_dump"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
        ("access_token=hunter2", "access_token=***"),
        ("AWS_SECRET_ACCESS_KEY=hunter2", "AWS_SECRET_ACCESS_KEY=***"),
        ("client-secret: hunter2", "client-secret: ***"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: ***"),
        ('Authorization: Digest username="u", response="hunter2"', "Authorization: ***"),
        ("Cookie: a=1; session=hunter2", "Cookie: ***"),
        ("got Bearer hunter2abc, refused", "got Bearer ***, refused"),
        ("<password>hunter2</password>", "<password>***</password>"),
        ("dump --password hunter2 app", "dump --password *** app"),
        ('{\\"password\\": \\"hunter2\\"}', '{\\"password\\": ***}'),
        ('password="hunter 2', "password=***"),
        ("postgresql://u:p@hunter2@db/x", "postgresql://u:***@db/x"),
        ("key AKIAABCDEFGHIJKLMNOP", "key ***"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----", "***"),
        ("basic authentication failed", "basic authentication failed"),
        ("the password is wrong", "the password is wrong"),
        ("tokens left: 5", "tokens left: 5"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, clean: str) -> None:
    assert PLAIN(text) == clean


def test_control_characters_and_tricks_with_direction_become_blanks() -> None:
    assert PLAIN("a\x1b[31mb\x00c\r\u202ed\u2069") == "a [31mb c  d "


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert PLAIN("file \udcff") == "file ?"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert PLAIN("x" * 3000) == "x" * 1999 + "…"
    assert PLAIN("x" * 50, limit=10) == PLAIN("x" * 50, limit=10) == "x" * 9 + "…"
    assert PLAIN("x" * 10, limit=10) == "x" * 10


def test_a_text_seen_before_is_cut_to_the_limit_of_now() -> None:
    assert PLAIN("short text", limit=100) == "short text"
    assert PLAIN("short text", limit=5) == "shor…"


@pytest.mark.parametrize("text", ["a.", "a", "a:", "http://", "token=", "password", 'token="', "Bearer ", "x-y_"])
def test_no_text_however_long_holds_up_the_loop(text: str) -> None:
    before = time.process_time()
    PLAIN(text * (100_000 // len(text)))
    assert time.process_time() - before < 1.0  # a hundredth of what it was when each dot began anew


# ------------------------------------------------------------------------------------------------------------- trees


def test_a_tree_is_cleaned_down_to_its_leaves_and_its_keys() -> None:
    redact = Redactor([Secret("hunter2")])
    tree = MappingProxyType({"said hunter2": ["hunter2", {"n": 1, "ok": True, "none": None}], "dsn": ("hunter2",)})
    assert redact.tree(tree) == {"said ***": ["***", {"n": 1, "ok": True, "none": None}], "dsn": ["***"]}


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "api_key", "client-secret", "Cookie", "authorization"])
def test_what_a_secrets_name_stands_before_is_masked_whatever_it_is(name: str) -> None:
    assert PLAIN.tree({name: [1, 2]}) == {name: MASK}


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.5"),
        datetime(2026, 1, 1, tzinfo=UTC),
        b"\xff",
        Path("/x"),
        float("nan"),
        float("inf"),
        object(),
        {1, 2},
        frozenset({"a"}),
        (1, [b"x"]),
        {("a", 1): b"y"},
        {"nested": {"deep": {Decimal(1)}}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_json_becomes_text(value: object) -> None:
    json.dumps(PLAIN.tree(value), allow_nan=False)


def test_a_number_stays_the_number_that_it_is() -> None:
    assert [type(PLAIN.tree(value)) for value in (1, 1.5, True, None, 2**80)] == [int, float, bool, type(None), int]
