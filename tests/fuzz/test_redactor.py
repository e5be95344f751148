"""A secret, known or not, in every format that texts from outside put it in."""

import base64
import html
import io
import itertools
import json
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from fuzz.planted import assert_seemly
from reviver import logs
from reviver.cli import output
from reviver.model.secrets import MASK, Redactor, Secret

# secrets that it knows


def forms(secret: str) -> Iterator[str]:
    """*secret* as it may come back."""
    raw = secret.encode(errors="surrogateescape")
    yield secret
    yield quote(raw, safe="")
    yield quote(raw)
    yield quote_plus(raw)
    yield quote(raw, safe="").lower() if secret == secret.lower() else quote(raw, safe="")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield shlex.quote(f"{secret} ")[1:-2]
    yield base64.b64encode(raw).decode()
    yield base64.urlsafe_b64encode(raw).decode()


def kernels(secret: str) -> Iterator[tuple[str, str]]:
    """Base64 of texts with *secret* in them, and what of it must not be told."""
    raw = secret.encode(errors="surrogateescape")
    for before, after in itertools.product((b"", b"u:", b"app:", b"a:"), (b"", b"\n", b"xyz")):
        whole = base64.b64encode(before + raw + after).decode()
        start, end = (len(before) * 8 + 5) // 6, (len(before) + len(raw)) * 8 // 6
        yield whole, whole[start:end]


SECRETS = st.one_of(
    st.text("abcXYZ019", min_size=8, max_size=40),
    st.text("aB3/+=%&?@:;#'\"\\ <>{}$\t", min_size=8, max_size=30),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=8, max_size=20),
    st.builds("\n".join, st.lists(st.text("aB3+/", min_size=8, max_size=20), min_size=2, max_size=4)),
)
AROUND = st.text(max_size=20)


@given(secret=SECRETS, before=AROUND, after=AROUND)
@cases(300)
@example(secret="hunter2'$(x)\\", before="", after="")
@example(secret="p@ss/w:rd?#%20+", before="x://u:", after="@h")
def test_a_known_secret_survives_in_no_form(secret: str, before: str, after: str) -> None:
    assume(len(secret.strip()) >= 8)
    redact = Redactor([Secret(secret)])
    for form in forms(secret):
        assert form not in redact(f"{before}{form}{after}", limit=10**6).replace(MASK, "")
    for whole, kernel in kernels(secret):
        assert kernel not in redact(f"{before}{whole}{after}", limit=10**6)
    for line in secret.splitlines():
        if len(line) >= 8:
            assert line not in redact(f"{before}{line}{after}", limit=10**6).replace(MASK, "")


@given(secret=st.text("abc019", min_size=8), scheme=st.sampled_from(["Bearer ", "basic ", "Token "]))
@cases(50)
def test_of_a_known_header_the_credentials_alone_are_taken_out_too(secret: str, scheme: str) -> None:
    assert secret not in Redactor([Secret(scheme + secret)])(f"invalid: {secret}")


def test_a_secret_that_is_no_text_is_taken_out_as_it_comes_back() -> None:
    secret = b"hunter\xff-two".decode(errors="surrogateescape")
    redact = Redactor([Secret(secret)])
    for told in (secret, "hunter\ufffd-two", "hunter?-two", "hunter%FF-two"):
        assert "two" not in redact(f"wrong: {told}")


# and those that it does not

NAMES = (
    "password",
    "PASSWORD",
    "passwd",
    "pwd",
    "PGPASSWORD",
    "MYSQL_PWD",
    "db-password",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "api_key",
    "apikey",
    "X-Api-Key",
    "aws_secret_access_key",
    "private_key",
    "passphrase",
    "session_id",
    "Authorization",
    "authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
)
JOINTS = ("=", ": ", ":", " = ", " => ", " := ")
QUOTES = ('"{}"', "'{}'", "{}", '\\"{}\\"')
WRAPPINGS = (
    "{}",
    "connect failed: {} host=db",
    '{{"a": 1, {}, "b": 2}}',
    "x;{}\r\nfoo: 1",
    "[{}]",
    "http://h/p?{}&x=1",
    "\t{}\n",
)
SCHEMES = ("", "Bearer ", "Basic ", "Token token=", "sid=", "Digest response=")
UNNAMED = (
    "postgresql://u:{}@h/db",
    "redis://:{}@h:6379/0",
    "amqps://u:{}@h",
    "https://u:{}@h/p?q=1",
    'dsn="postgres://u:{}@h"',
    "Bearer {}0",
    "got bearer {}1.",
    "<password>{}</password>",
    "--password {}",
    "--token {} -v",
    "psql --password={}",
    '{{\\"password\\":\\"{}\\"}}',
    'password="{}',
    "password='{}",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{}",
    "eyJhbGciOi.{}.abc",
    "-H 'Authorization: Bearer {}'",
    "Cookie: a=1; sid={}; b=2",
    '"Cookie": "a=1; sid={}"',
    "Authorization: AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=x, Signature={}",
    'Authorization: Digest username="u", response="{}"',
)
TOKENS = st.text("abcdefXYZ0123456789", min_size=9, max_size=40).map("Zq7".__add__)


def formats() -> Iterator[str]:
    for name, joint, quotes, scheme in itertools.product(NAMES, JOINTS, QUOTES, SCHEMES):
        if scheme and not name.lower().endswith(("authorization", "cookie")):
            continue
        for wrapping in WRAPPINGS:
            yield wrapping.format(
                f"{name}{joint}{quotes.format(scheme + '{}')}".replace("{", "{{").replace("}", "}}")
            ).replace("{{}}", "{}")
    yield from (text.replace("{{", "{").replace("}}", "}") for text in UNNAMED)


FORMATS = tuple(formats())


@given(token=TOKENS)
@cases(6)
def test_an_unknown_secret_survives_in_no_format_that_tells_it_is_one(token: str) -> None:
    redact = Redactor()
    survivors = [text for text in FORMATS if token in redact(text.replace("{}", token))]
    assert not survivors, f"{len(survivors)} of {len(FORMATS)}: {survivors[:10]}"


@pytest.mark.parametrize(
    "text",
    [
        "the password is wrong",
        "tokens left: 5",
        "basic authentication failed",
        "bearer authentication is needed",
        "session closed after 5 s",
        "http://db:5432/app?x=1",
        "key: value",
        "no cookie was set",
        "credentials are missing",
        'relation "secrets" does not exist',
        'password authentication failed for user "app"',
        "<none> is up",
    ],
)
def test_what_only_speaks_of_secrets_stays(text: str) -> None:
    assert Redactor()(text) == text


# injection

NASTY = st.text(
    st.sampled_from("ab \r\n\t\x1b[]0;m\x07\x08\x00\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\u061c\ud800{}\"'<>="),
    max_size=40,
)


@given(text=NASTY, name=NASTY)
@cases(100)
def test_nothing_from_outside_breaks_a_line_of_the_log(text: str, name: str) -> None:
    for as_json in (True, False):
        stream = io.StringIO()
        logs.configure("info", stream=stream, json=as_json)
        structlog.get_logger().warning("check.failed", message=text, details={name: [text]}, reason=(text,))
        told = stream.getvalue()
        assert told.endswith("\n")
        assert told.count("\n") == 1, told
        assert_seemly([told[:-1]])


@given(text=NASTY)
@cases(100)
def test_nothing_from_outside_breaks_a_line_of_a_table(text: str) -> None:
    with redirect_stdout(io.StringIO()) as out:
        output.print_table(["service", "message"], [["db", text], ["cache", [text, text]]])
    assert out.getvalue().count("\n") == 3, out.getvalue()
    assert_seemly(out.getvalue().splitlines())
