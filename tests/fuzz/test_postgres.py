"""The postgres check against servers that say anything, most of it nearly PostgreSQL."""

import inspect
import struct

import asyncpg
import pytest
from asyncpg import exceptions
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import PATIENCE, cases
from fuzz.hostile import Script, bear, scripts
from fuzz.planted import SECRET, assert_seemly_result
from reviver.checks.postgres import Postgres
from reviver.clients.postgres import FAULTS, Target
from reviver.model.checks import CheckResult
from reviver.model.faults import Fault
from reviver.model.secrets import Secret

DSN = f"postgresql://app:{SECRET}@127.0.0.1:%d/app?sslmode=%s"


def message(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    return kind + struct.pack(">i", len(body) + 4 if length is None else length) + body


TEXT = st.sampled_from(
    [
        b"",
        b"no",
        b'password authentication failed for user "app"',
        SECRET.encode(),
        b"password=" + SECRET.encode(),
        b"\xff\xfe",
        b"a\nb\r\nc",
        b"\x1b[2J\x07",
        "\u202e\u2028".encode(),
        b"y" * 200_000,
        b"the database system is shutting down",
    ]
) | st.binary(max_size=30).map(lambda text: text.replace(b"\0", b""))
STATES = st.sampled_from(
    [
        "28P01",
        "3D000",
        "42501",
        "42703",
        "53100",
        "53200",
        "53300",
        "57014",
        "57P01",
        "57P03",
        "XX001",
        "08006",
        "00000",
        "99999",
        "25006",
        "42601",
        "",
        "x",
        "\u0663",
        "0" * 5000,
        "26000",
        "42P05",
        "08003",
    ]
).map(str.encode)
FIELD_TAGS = st.sampled_from([b"S", b"V", b"C", b"M", b"D", b"H", b"P", b"q", b"\xff", b"Z"])
FIELDS = st.lists(st.tuples(FIELD_TAGS, TEXT), max_size=5).map(
    lambda fields: b"".join(tag + text + b"\0" for tag, text in fields)
)
ERRORS = st.tuples(st.sampled_from([b"E", b"N"]), STATES, TEXT, FIELDS, st.sampled_from([b"\0", b"", b"\0\0"])).map(
    lambda e: message(e[0], b"SFATAL\0C" + e[1] + b"\0M" + e[2] + b"\0" + e[3] + e[4])
)
AUTH = st.sampled_from([0, 2, 3, 5, 7, 8, 9, 10, 11, 12, 99, -1]).flatmap(
    lambda code: st.sampled_from(
        [b"", b"salt", b"SCRAM-SHA-256\0\0", b"X\0\0", b"r=x,s=eA==,i=4096", b"r=x,s=,i=99999999", b"v=x", b"\xff" * 9]
    ).map(lambda rest: message(b"R", struct.pack(">i", code) + rest))
)
STATUS = st.tuples(
    st.sampled_from([b"server_version", b"client_encoding", b"TimeZone", b"integer_datetimes", b"is_superuser"]),
    st.sampled_from(
        [b"17.0", b"", b"abc", b"99999999999.0", b"UTF8", b"KLINGON", b"10devel", b"\xff", b"17.0 (\x1b[2J)"]
    ),
).map(lambda pair: message(b"S", pair[0] + b"\0" + pair[1] + b"\0"))
READY = st.sampled_from([b"I", b"T", b"E", b"?", b"", b"II"]).map(lambda state: message(b"Z", state))
OTHERS = st.tuples(
    st.sampled_from([bytes([c]) for c in b"123AcCDdEfGHIKnNRsStTVWZ0x\xff"]), st.binary(max_size=24)
).map(lambda pair: message(*pair))
LIES = st.tuples(
    st.sampled_from([b"R", b"E", b"S", b"K", b"Z", b"T", b"D", b"C", b"t", b"\0", b"N", b"A"]),
    st.binary(max_size=24),
    st.sampled_from([0, 3, 4, 5, 8, -1, -(2**31), 2**31 - 1, 1_000_000]),
).map(lambda triple: message(*triple))
BROKEN = st.sampled_from(
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b"\0" * 200, b"\xff" * 200, b"S", b"N", b"Nx"]
) | st.binary(max_size=60)
PIECE = st.one_of(ERRORS, ERRORS, AUTH, AUTH, STATUS, READY, OTHERS, LIES, BROKEN)
LOGIN = (
    message(b"R", struct.pack(">i", 0))
    + message(b"S", b"server_version\x0017.0\0")
    + message(b"K", b"\0\0\0\1\0\0\0\1")
    + message(b"Z", b"I")
)
COLUMNS = (
    message(b"1", b"")
    + message(b"t", b"\0\0")
    + message(b"T", struct.pack(">h", 1) + b"in_recovery\0" + struct.pack(">ihihih", 0, 0, 16, 1, -1, 0))
    + message(b"Z", b"I")
)
LATER = st.lists(PIECE | st.just(COLUMNS), max_size=4).map(b"".join)
TALK = st.lists(PIECE, min_size=1, max_size=5).map(b"".join)
SCRIPTS = st.one_of(
    scripts(TALK, most=3),
    scripts(TALK, most=3).map(lambda s: Script([LOGIN, *s.pieces], endless=s.endless, closes=s.closes, waits=True)),
    st.builds(lambda pieces: Script([LOGIN, *pieces], waits=True), st.lists(LATER, max_size=3)),
)


@pytest.mark.timeout(PATIENCE, method="thread")
@given(script=SCRIPTS, mode=st.sampled_from(["disable", "prefer", "require"]))
@cases(25)
@example(script=Script([b"N", LOGIN, COLUMNS], waits=True), mode="prefer")
async def test_whatever_a_postgresql_says_is_a_result_in_time(script: Script, mode: str) -> None:
    pieces = [b"N", *script.pieces] if mode != "require" else script.pieces
    script = Script(pieces, endless=script.endless, closes=script.closes, waits=script.waits)
    await bear(script, lambda port: Postgres(dsn=DSN % (port, mode), query="SELECT true"))


ERROR_KINDS = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", ERROR_KINDS, ids=lambda kind: kind.__name__)
def test_each_error_of_the_client_library_is_a_declared_fault_or_unknown(kind: type[Exception]) -> None:
    error = kind(f"no: password={SECRET}\x1b[2J")
    target = Target.of(DSN % (1, "disable"), password=Secret(SECRET))
    told = target.explain(error)
    assert isinstance(told, str) or told.kind in FAULTS
    assert_seemly_result(
        CheckResult(latency=0, fault=told) if isinstance(told, Fault) else CheckResult(latency=0, unknown=told)
    )


@given(state=st.text(max_size=6), text=st.text(), detail=st.none() | st.text())
@cases(200)
def test_any_state_and_text_of_an_error_is_a_declared_fault_or_unknown(
    state: str, text: str, detail: str | None
) -> None:
    error = asyncpg.PostgresError.new({"C": state, "M": text, **({} if detail is None else {"D": detail})})
    told = Target.of(DSN % (1, "disable")).explain(error)
    assert isinstance(told, str) or told.kind in FAULTS
