import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.kinds import installed
from reviver.settings import SettingsError, load, parse
from reviver.settings.secrets import SIZE_MAX, resolve
from settings.samples import KINDS, PATH, Db, problem, problems, read

DB = '[services.a]\ncheck = "db"\nurl = "db://x"\n'


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[bytes], Path]:
    def store(content: bytes) -> Path:
        path = tmp_path / "secret"
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    return store


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_a_newline_at_the_end_of_a_file_is_no_part_of_the_secret(
    stored: Callable[[bytes], Path], content: bytes
) -> None:
    assert resolve({"file": str(stored(content))}) == "hunter2"


def test_only_one_newline_is_taken_off(stored: Callable[[bytes], Path]) -> None:
    assert resolve({"file": str(stored(b" hunter2 \n\n"))}) == " hunter2 \n"


def test_a_secret_comes_from_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2\n")
    assert resolve({"env": "DB_PASSWORD"}) == "hunter2\n"


def test_a_credential_comes_from_the_folder_that_systemd_names(
    stored: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(stored(b"hunter2\n").parent))
    assert resolve({"credential": "secret"}) == "hunter2"
    with pytest.raises(ValueError, match=r"^there is no credential other: add LoadCredential=other:/PATH to the unit$"):
        resolve({"credential": "other"})
    with pytest.raises(ValueError, match="expected the name of a credential, without a path"):
        resolve({"credential": "../secret"})


def test_without_systemd_there_are_no_credentials_and_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ValueError, match=r"LoadCredential=db-password:/PATH"):
        resolve({"credential": "db-password"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "isn't UTF-8 text"),
        (b"x" * (SIZE_MAX + 1), f"is longer than {SIZE_MAX} bytes"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(stored: Callable[[bytes], Path], content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        resolve({"file": str(stored(content))})


def test_what_is_no_file_is_refused_and_nobody_waits_for_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, told in (("fifo", "is no regular file"), ("", "is no regular file"), ("none", "doesn't exist")):
        with pytest.raises(ValueError, match=told):
            resolve({"file": str(tmp_path / name)})
    with pytest.raises(ValueError, match="expected an absolute path after file =, found secret"):
        resolve({"file": "secret"})


@pytest.mark.parametrize("form", ["file", "credential"])
def test_what_the_system_refuses_to_read_is_told_with_the_reason(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/")
    name = "x" * 300
    with pytest.raises(ValueError, match=r"x can't be read: File name too long$"):
        resolve({form: f"/{name}" if form == "file" else name})


@pytest.mark.parametrize("reference", [{"env": ""}, {"env": 5}])
def test_a_reference_without_a_name_is_refused(reference: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected a name in quotation marks after env ="):
        resolve(reference)


def test_a_secret_that_cannot_be_had_is_a_problem_at_its_line_and_all_are_told() -> None:
    text = DB + 'password = { env = "A" }\nheaders = { x = "plain", y = { env = "password" } }'
    assert problems(text) == [
        "4: services.a.password: there is no A",
        "5: services.a.headers.y: there is no password",
    ]


def test_every_secret_that_was_resolved_is_given_to_the_redactor_once() -> None:
    text = DB + 'password = { env = "A" }\nheaders = { x = "plain", y = { env = "B" }, z = { env = "A" } }'
    found = read(text, secrets={"A": "hunter2", "B": "swordfish"})
    assert sorted(secret.reveal() for secret in found.secrets) == ["hunter2", "swordfish"]
    assert "hunter2" not in repr(found)
    check = found.services["a"].check
    assert isinstance(check, Db)
    assert check.headers["x"] == "plain"


def test_where_a_string_or_a_secret_may_stand_something_else_is_told_so() -> None:
    assert problem(DB + "headers = { x = 5 }") == (
        "4: services.a.headers.x: expected a string, "
        'or a reference such as { env = "NAME" }, { file = "/path" } or { credential = "name" }, found a number'
    )


@pytest.mark.parametrize(
    "line",
    [
        'password = "SECRET"',
        'password = ["SECRET"]',
        'password = { value = "SECRET" }',
        'password = { env = "A", value = "SECRET" }',
        'pasword = "SECRET"',
        'headers = "SECRET"',
        'tables = "SECRET"',
        'headers = { authorization = ["SECRET"] }',
        'token = "SECRET"',
        'limit = { password = "SECRET" }',
        'url = "user:SECRET@nowhere"\npassword = { env = "SECRET_ONE" }',
    ],
)
def test_a_value_where_a_secret_may_stand_is_never_echoed(line: str) -> None:
    text = (DB if "url" not in line else DB.replace('url = "db://x"\n', "")) + line.replace("SECRET", "hunter2")
    told = problems(text, secrets={"hunter2_ONE": "hunter2"})
    assert told
    assert not any("hunter2" in each for each in told)


@given(st.text(max_size=99, alphabet=st.characters(categories=["L", "N"])).map("hunter2".__add__))
def test_no_password_written_in_the_file_is_in_any_message(password: str) -> None:
    told = problems(f"{DB}password = '{password}'\npasswort = '{password}'\ninterval = 5")
    assert len(told) == 3
    assert not any(password in each for each in told)


def test_a_secret_file_that_everybody_can_read_is_doubtful(stored: Callable[[bytes], Path], tmp_path: Path) -> None:
    secret, settings = stored(b"hunter2\n"), tmp_path / "reviver.toml"
    settings.write_text(f'{DB}\npassword = {{ file = "{secret}" }}\n')
    assert load(settings, KINDS).warnings == ()
    secret.chmod(0o644)
    [warning] = load(settings, KINDS).warnings
    assert str(warning) == (
        f"{settings}:5: services.a.password: everybody on this host can read {secret}; chmod o= {secret}"
    )


def test_by_default_a_file_is_read_with_the_real_secrets(tmp_path: Path) -> None:
    path = tmp_path / "reviver.toml"
    path.write_text(f'{DB}password = {{ env = "REVIVER_TEST_IS_NOT_SET" }}\n')
    with pytest.raises(SettingsError, match="the environment variable REVIVER_TEST_IS_NOT_SET isn't set"):
        load(path, KINDS)


def test_a_password_in_a_url_is_doubtful_and_kept_out_of_reports_like_any_secret() -> None:
    settings = read('[services.a]\ncheck = "db"\nurl = "db://me:hunter2@here/x"')
    assert [secret.reveal() for secret in settings.secrets] == ["hunter2"]
    assert [str(warning) for warning in settings.warnings] == [
        "reviver.toml:3: services.a.url: a password stands in this file; take it out, and give it by reference"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "password = hunter2",
        "password=hunter2 # the old one",
        "x = { api_token = hunter2 }",
        'url = "redis://:hunter2"',
        'url = "redis://me:hunter2/x@here"',
    ],
)
def test_a_secret_that_is_written_wrongly_is_not_told(line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(f'[services.a]\ncheck = "redis"\n{line}\n', installed(), path=PATH)
    assert refused.value.problems[0].line == 3
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("reference", ["{ file = {} }", "{ file = [1] }", "{ file = 5 }", "{ env = [] }"])
def test_a_reference_to_nothing_that_has_a_name_is_refused(reference: str) -> None:
    with pytest.raises(SettingsError):
        parse(f"{DB}password = {reference}\n", KINDS, path=PATH)


def test_a_secret_in_a_header_or_a_variable_is_doubtful_and_kept_out_of_reports_like_any_secret() -> None:
    settings = read(
        '[services.a]\ncheck = "db"\nurl = "db://here"\nheaders = { X-Api-Key = "hunter2", Accept = "text/html" }\n'
    )
    assert [secret.reveal() for secret in settings.secrets] == ["hunter2"]
    assert [warning.key for warning in settings.warnings] == ["services.a.headers.X-Api-Key"]


def test_what_a_terminal_would_obey_is_written_out() -> None:
    with pytest.raises(SettingsError) as refused:
        parse("[services.'\u202ed\u2028b']", KINDS, path=PATH)
    assert "\\u202ed\\u2028b" in str(refused.value)
    assert str(refused.value).isprintable() or "\n" in str(refused.value)
