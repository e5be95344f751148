"""The http check against servers that say anything."""

import gzip

from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from fuzz.hostile import Script, bear, scripts
from fuzz.planted import SECRET
from reviver.checks.http import Http
from reviver.model.secrets import Secret

LATIN = st.characters(codec="latin-1")
STATUS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 503 x",
        b"HTTP/1.1 302 Found",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 101 Switch",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304 Not",
        b"HTTP/1.1 99 x",
        b"HTTP/1.1 999 x",
        b"HTTP/2 200",
        b"HTTP/1.1 429 \xff",
        b"HTTP/1.1 200",
        b"HTTP/1.1 -1 OK",
        b"HTTP/1.1 401 " + SECRET.encode(),
        b"ICY 200 OK",
        b"SSH-2.0-OpenSSH_9.2",
    ]
) | st.binary(max_size=60)
NAMES = st.sampled_from(
    [
        b"Content-Length",
        b"Transfer-Encoding",
        b"Content-Encoding",
        b"Location",
        b"Set-Cookie",
        b"Retry-After",
        b"Connection",
        b"Content-Type",
        b"X-" + b"a" * 70_000,
        b"Host",
        b"Date",
        b"\xe9",
        b"a b",
        b"X-Note",
    ]
) | st.binary(max_size=20)
VALUES = st.sampled_from(
    [
        b"0",
        b"5",
        b"-1",
        b"1e3",
        b"99999999999999999999",
        b"5, 6",
        b"chunked",
        b"gzip",
        b"close",
        b"javascript:alert(1)",
        b"//",
        b"http://[::1",
        b"http://\xff/",
        b"file:///etc/passwd",
        b"http://u:pw@h:99999/",
        b"a=b; Max-Age=99999999999999",
        b"a=b; expires=Thu, 99 Foo 99999 99:99:99",
        b"text/html; charset=utf-7",
        b"application/json; charset=\xff",
        b"\xc2\xb2",
        b"9" * 5000,
        b"x" * 200_000,
        b"password=" + SECRET.encode(),
        b"a\x00b",
        b"a\r\n folded",
        b"\x1b[2J",
    ]
) | st.binary(max_size=40)
BODIES = st.sampled_from(
    [
        b"{}",
        b'{"status": "up"}',
        b'{"error": {"db": {"status": "down"}}}',
        b'{"checks": {"db": [{"status": null}]}}',
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 5000,
        b"NaN",
        b'{"status": Infinity}',
        b'{"status": ' + b"9" * 5000 + b"}",
        b'{"status": 1e999}',
        b'"\\ud800"',
        b'{"components": {"\\ud800\\u202e": {"status": "DOWN"}}}',
        b"\xff\xfe{\x00}\x00",
        b"\xff" * 3000,
        gzip.compress(b"0" * 10_000_000),
        b"<html>\x1b]0;x\x07</html>",
        SECRET.encode(),
        b'{"status": "' + SECRET.encode() + b'"}',
        b"5\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffff\r\nx",
        b"-1\r\n\r\n",
        b"\r\n",
        b"5;" + b"x" * 100_000,
        b"0\r\nX: " + b"y" * 200_000,
        b"z" * 100_000,
    ]
) | st.binary(max_size=200)
HEADER = st.tuples(NAMES, VALUES).map(lambda pair: b"%b: %b\r\n" % pair)
HEAD = st.tuples(STATUS, st.lists(HEADER, max_size=4)).map(
    lambda parts: parts[0] + b"\r\n" + b"".join(parts[1]) + b"\r\n"
)
PIECES = HEAD | HEAD | BODIES
ANSWERS = st.tuples(HEAD, BODIES).map(b"".join) | PIECES
SCRIPTS = scripts(ANSWERS, most=4)


@given(script=SCRIPTS)
@cases(150)
@example(script=Script([b"HTTP/1.1 100 Continue\r\n\r\n"], endless=True))
@example(script=Script([b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536], endless=True))
@example(script=Script([b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"], endless=True))
@example(script=Script([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello"], closes=False))
@example(script=Script([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"], endless=True))
async def test_whatever_an_http_server_says_is_a_result_in_time(script: Script) -> None:
    await bear(
        script,
        lambda port: Http(
            url=f"http://127.0.0.1:{port}/health?key={SECRET}",
            headers={"Authorization": Secret(SECRET)},
            body="up",
            json={"status": "up", "checks.0.status": {"x": 1}},
        ),
    )
