"""The real server, spoken to by clients who know no HTTP, or know it too well."""

import logging
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from reviver.web import control_app, serve_unix
from web.serving import Daemon, a_client

PATHS = st.sampled_from(
    [
        b"/",
        b"/-/healthy",
        b"/metrics",
        b"/api/v1/health",
        b"/api/v1/incidents",
        b"/api/v1/incidents?limit=\xff",
        b"/api/v1/incidents/%00%ff%2f..",
        b"/api/v1/services/%F0%9F/pause",
        b"/api/v1/services/db/recover",
        b"/api/v1/pause",
        b"/-/reload",
        b"*",
        b"http://[::1",
        b"//x",
        b"/" + b"a" * 20_000,
        b"/\x00",
        b"/%",
        b"/api/v1/incidents?" + b"limit=1&" * 900,
        b"/api/v1/incidents?service=%ED%A0%80",
    ]
) | st.binary(max_size=20)
METHODS = st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI", b"get", b"G\x00", b"X" * 300]
)
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9", b"", b"HTTP/1.1 x"])
HEADERS = st.sampled_from(
    [
        b"Host: localhost",
        b"Host: evil",
        b"Host:",
        b"Host: a\r\nHost: b",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Expect: 100-continue",
        b"Upgrade: websocket\r\nConnection: Upgrade",
        b"Upgrade: h2c",
        b"Connection: close",
        b"Content-Type: \xff",
        b"Accept: " + b"a" * 9000,
        b"X: " + b"y" * 20_000,
        b"Cookie: \x01",
        b" folded: x",
        b"no colon",
        b": empty",
        b"Accept-Encoding: gzip;q=nan",
        b"Content-Encoding: gzip",
    ]
) | st.binary(max_size=30)
BODIES = st.sampled_from(
    [
        b"",
        b"{}",
        b"hello",
        b'{"services": ["db"], "seconds": 60}',
        b'{"seconds": NaN}',
        b'{"seconds": 1e999}',
        b'{"seconds": ' + b"9" * 5000 + b"}",
        b"[" * 60_000,
        b'{"reason": "\\ud800"}',
        b'{"reason": "\xff"}',
        b'{"services": [' + b'"x",' * 9000 + b'"x"]}',
        b"5\r\nhello\r\n0\r\n\r\n",
        b"zz\r\n",
        b"ffffffffffffffff\r\n",
        b'{"seconds": 1, "seconds": 2}',
        b'{"seconds": "60"}',
        b"x" * 200_000,
        b'{"a":' * 5000,
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
    ]
) | st.binary(max_size=40)
REQUESTS = st.tuples(METHODS, PATHS, VERSIONS, st.lists(HEADERS, max_size=4), BODIES).map(
    lambda r: b"%b %b %b\r\n" % r[:3] + b"".join(h + b"\r\n" for h in r[3]) + b"\r\n" + r[4]
) | st.tuples(PATHS, BODIES).map(
    lambda r: b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (r[0], len(r[1]), r[1])
)
TALKS = st.lists(REQUESTS | st.binary(max_size=60), min_size=1, max_size=4)


@given(talk=TALKS, ends=st.booleans())
@cases(120)
@example(talk=[b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"], ends=True)
@example(talk=[b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000], ends=False)
async def test_whatever_a_client_sends_the_next_one_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, talk: list[bytes], ends: bool
) -> None:
    caplog.clear()
    path = tmp_path / "control.sock"
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_unix, control_app(Daemon().shown), path)
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            async with await anyio.connect_unix(path) as stream:
                with anyio.move_on_after(0.01):
                    for piece in talk:
                        await stream.send(piece)
                    if ends:
                        await stream.send_eof()
                    while True:
                        answer = await stream.receive()
                        assert not answer.startswith(b"HTTP/1.1 5"), answer
        async with a_client("http://localhost", unix=path) as client:
            with anyio.fail_after(2):
                assert (await client.get("/-/healthy")).status_code == 200
        tasks.cancel_scope.cancel()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors, errors[0].getMessage() + str(errors[0].exc_info)
