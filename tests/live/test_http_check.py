"""The http check, on real servers that answer well, badly, slowly, endlessly or not at all."""

import gzip
import json
import resource
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from reviver.checks.http import Http, mismatch, reported_down
from reviver.clients import http, net
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind
from reviver.model.secrets import Secret
from servers import LOOPBACK, free_port
from web_servers import WebServer, overrun, says, says_bytes, says_nothing, serving


@asynccontextmanager
async def opened(check: Http, timeout: float = 2.0) -> AsyncIterator[Probe]:  # noqa: ASYNC109
    async with check.open(CheckContext(service="api", timeout=timeout, wake=lambda _: None)) as probe:
        yield probe


async def ask(check: Http, timeout: float = 2.0) -> CheckResult:  # noqa: ASYNC109
    async with opened(check, timeout) as probe:
        return await probe.ask(fresh=True)


def fault_of(result: CheckResult, kind: FaultKind) -> Fault:
    assert result.fault is not None, result
    assert result.fault.kind is kind, result.fault
    assert kind in Http.faults
    assert "\n" not in result.fault.message
    return result.fault


# Answers


async def test_a_2xx_answer_is_healthy() -> None:
    for status in ("200 OK", "204 No Content", "299 Fine"):
        async with serving(says(status, body=b"")) as server:
            result = await ask(Http(url=server.url()))
        assert result.healthy
        assert 0 < result.latency < 2
        assert result.details == {"status": int(status[:3])}


async def test_another_status_is_told_with_the_start_of_the_body() -> None:
    async with serving(says("500 Oops", body=b"pool exhausted\n  at line 7")) as server:
        fault = fault_of(await ask(Http(url=server.url())), FaultKind.BAD_STATUS)
    assert fault.message == f'{server.url()}: status 500, expected 2xx: "pool exhausted at line 7"'
    assert fault.details == {"status": 500}
    assert not fault.certain


async def test_a_redirect_is_not_followed() -> None:
    async with serving(says("302 Found", headers="Location: http://192.0.2.1/\r\n")) as server:
        fault_of(await ask(Http(url=server.url())), FaultKind.BAD_STATUS)
        assert (await ask(Http(url=server.url(), status=("3xx",)))).healthy
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [("429 Too Many Requests", ""), ("429 Too Many", "Retry-After: 7\r\n"), ("503 Busy", "Retry-After: 7\r\n")],
)
async def test_one_that_asks_for_less_load_is_overloaded(status: str, headers: str) -> None:
    async with serving(says(status, headers=headers)) as server:
        fault = fault_of(await ask(Http(url=server.url())), FaultKind.OVERLOADED)
    assert ("after 7 s" in fault.message) == bool(headers)


async def test_a_503_alone_is_a_bad_status() -> None:
    async with serving(says("503 Service Unavailable")) as server:
        fault_of(await ask(Http(url=server.url())), FaultKind.BAD_STATUS)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_refusal_of_the_credentials_is_no_matter_for_a_restart(status: str) -> None:
    async with serving(says(status)) as server:
        fault_of(await ask(Http(url=server.url())), FaultKind.AUTH_FAILED)


async def test_a_missing_text_is_a_bad_body() -> None:
    async with serving(says(body=b"all is DOWN")) as server:
        assert (await ask(Http(url=server.url(), body="DOWN"))).healthy
        fault = fault_of(await ask(Http(url=server.url(), body="UP")), FaultKind.BAD_BODY)
    assert fault.message == f'{server.url()}: the body lacks "UP": "all is DOWN"'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"status": "degraded", "db": {"up": true}}', '"status" is "degraded", expected "ok"'),
        (b'{"status": "ok", "db": {"up": false}}', '"db.up" is false, expected true'),
        (b'{"status": "ok", "db": {"up": 1}}', '"db.up" is 1, expected true'),
        (b'{"status": "ok"}', '"db.up" is missing in the JSON'),
        (b"[]", '"status" is missing in the JSON'),
        (b"<html>", 'the body is no JSON (Expecting value: line 1 column 1 (char 0)): "<html>"'),
        (b"", "the body is no JSON (Expecting value: line 1 column 1 (char 0)): an empty body"),
        (b"[" * 60_000, "the body is no JSON (nested too deeply)"),
        (b"\xff\xfe\xff", "the body is no JSON ("),
        (b'"' + b"x" * 70_000 + b'"', "the body is no JSON (longer than 65536 bytes)"),
    ],
)
async def test_json_that_says_something_else_is_a_bad_body(body: bytes, reason: str) -> None:
    expected = {"status": "ok", "db.up": True}
    async with serving(says(body=body)) as server:
        fault = fault_of(await ask(Http(url=server.url(), json=expected)), FaultKind.BAD_BODY)
    assert fault.message.startswith(f"{server.url()}: {reason}")
    assert len(fault.message) < 400


async def test_json_that_says_what_is_expected_is_healthy() -> None:
    body = b'{"status": "ok", "db": {"up": true, "load": 0.5}, "nodes": [{"name": "a"}, {"name": "b"}], "extra": null}'
    dotted = {"status": "ok", "db.up": True, "db.load": 0.5, "nodes.1.name": "b", "extra": None}
    nested = {"status": "ok", "db": {"up": True}}  # as TOML's dotted keys come out
    async with serving(says(body=body)) as server:
        assert (await ask(Http(url=server.url(), json=dotted))).healthy
        assert (await ask(Http(url=server.url(), json=nested))).healthy


def test_numbers_and_truth_are_not_mixed_up() -> None:
    assert mismatch({"a": 1.0}, "a", 1) is None
    assert mismatch({"a": True}, "a", 1) is not None
    assert mismatch({"a": 0}, "a", False) is not None
    assert mismatch({"a": {"b": 2}}, "a", {"b": 1}) == 'in "a": "b" is 2, expected 1'


@pytest.mark.parametrize(
    "report",
    [
        {"status": "error", "info": {"cache": {"status": "up"}}, "error": {"database": {"status": "down"}}},  # Terminus
        {"status": "DOWN", "components": {"database": {"status": "DOWN"}, "disk": {"status": "UP"}}},  # Spring Boot
        {"status": "fail", "checks": {"database": [{"status": "pass"}, {"status": "fail"}], "x": [{"status": "pass"}]}},
    ],
)
async def test_a_health_report_that_names_the_culprit_is_believed(report: dict[str, Any]) -> None:
    async with serving(says("503 Service Unavailable", body=json.dumps(report).encode())) as server:
        fault = fault_of(await ask(Http(url=server.url())), FaultKind.DEPENDENCY_REPORTED_DOWN)
    assert fault.message == f"{server.url()}: status 503, reports as down: database"


@pytest.mark.parametrize(
    "body", [b'{"error": "database down"}', b'{"error": {"code": 7}}', b"[]", b'"down"', b"no", b""]
)
def test_what_is_no_health_report_names_nobody(body: bytes) -> None:
    answer = http.Answer(status=503, headers=httpx.Headers(), body=body, complete=True)
    assert reported_down(answer) == []


async def test_head_asks_for_no_body() -> None:
    async with serving(says()) as server:
        assert (await ask(Http(url=server.url(), method="HEAD"))).healthy
    assert server.requests[0].startswith(b"HEAD /health HTTP/1.1\r\n")


# No answer


async def test_a_refusal_of_this_host_with_no_owner_of_the_port_is_certain() -> None:
    url = f"http://{LOOPBACK}:{free_port()}/"
    fault = fault_of(await ask(Http(url=url)), FaultKind.UNREACHABLE)
    assert fault.certain
    assert fault.message.startswith(f"{url}: connection refused")


async def test_silence_is_a_timeout() -> None:
    async with serving(says_nothing) as server:
        result = await ask(Http(url=server.url()), timeout=0.3)
    assert fault_of(result, FaultKind.TIMEOUT).message == f"{server.url()}: no complete answer within 300 ms"
    assert 0.3 <= result.latency < 1


async def test_a_trickle_does_not_stretch_the_deadline() -> None:
    async def trickle(stream: anyio.abc.ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.05)

    async with serving(trickle) as server:
        result = await ask(Http(url=server.url()), timeout=0.3)
    fault_of(result, FaultKind.TIMEOUT)
    assert 0.3 <= result.latency < 1


async def test_an_endless_body_is_read_to_a_limit() -> None:
    sent = 0

    async def flood(stream: anyio.abc.ByteStream) -> None:
        nonlocal sent
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\nstart")
        while True:
            await stream.send(b"x" * 65536)
            sent += 65536

    async with serving(flood) as server, opened(Http(url=server.url(), body="start"), timeout=5.0) as probe:
        assert (await probe.ask(fresh=False)).healthy
        assert (await probe.ask(fresh=False)).healthy
        assert "startxxx" in json.dumps(await probe.evidence())
    assert sent < 50_000_000  # what the kernel's buffers take


async def test_a_compressed_body_is_not_unfolded() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    assert len(bomb) < http.BODY_LIMIT
    async with serving(says(body=bomb, headers="Content-Encoding: gzip\r\n")) as server:
        check = Http(url=server.url(), body="xxx")
        fault_of(await ask(check), FaultKind.BAD_BODY)
    assert b"Accept-Encoding: identity\r\n" in server.requests[0]


async def test_an_endless_head_is_not_http() -> None:
    async def headers(stream: anyio.abc.ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send(b"X-More: " + b"x" * 1000 + b"\r\n")

    async with serving(headers) as server:
        fault_of(await ask(Http(url=server.url()), timeout=5.0), FaultKind.BAD_PROTOCOL)


@pytest.mark.parametrize("garbage", [b"-ERR unknown command\r\n\r\n", b"\x00\x01\x02\xff" * 100 + b"\r\n\r\n"])
async def test_something_else_on_the_port_is_a_bad_protocol(garbage: bytes) -> None:
    async with serving(says_bytes(garbage)) as server:
        fault = fault_of(await ask(Http(url=server.url())), FaultKind.BAD_PROTOCOL)
    assert fault.message.startswith(f"{server.url()}: the answer is not HTTP: ")


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"HTTP/1.1 200"])
async def test_a_connection_closed_too_early_is_unreachable(data: bytes) -> None:
    async with serving(says_bytes(data)) as server:
        fault_of(await ask(Http(url=server.url())), FaultKind.UNREACHABLE)


async def test_a_name_without_an_address_is_told_as_such() -> None:
    fault = fault_of(await ask(Http(url=f"http://{'a' * 64}.invalid/")), FaultKind.NAME_UNRESOLVED)
    assert "the name can't be resolved" in fault.message


async def test_without_descriptors_of_its_own_it_can_not_tell() -> None:
    async with serving(says()) as server, opened(Http(url=server.url())) as probe:
        assert (await probe.ask(fresh=True)).healthy
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            result = await probe.ask(fresh=True)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert result.fault is None
        assert result.unknown is not None
        assert "no file descriptors left" in result.unknown


# Connections


async def test_a_connection_is_kept_and_a_fresh_question_makes_a_new_one() -> None:
    async with serving(says()) as server, opened(Http(url=server.url())) as probe:
        for _ in range(5):
            assert (await probe.ask(fresh=False)).healthy
        assert server.connections == 1
        assert (await probe.ask(fresh=True)).healthy
        assert server.connections == 2
        assert (await probe.ask(fresh=False)).healthy
        assert server.connections == 2


async def test_a_kept_connection_that_the_server_closes_as_it_is_used_is_no_failure() -> None:
    async def answer_once(stream: anyio.abc.ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await stream.receive()  # the second question meets a server that has just had enough

    async with serving(answer_once) as server, opened(Http(url=server.url())) as probe:
        for number in range(1, 4):
            assert (await probe.ask(fresh=False)).healthy
            assert server.connections == number


async def test_after_silence_the_next_question_gets_its_answer() -> None:
    answers = iter([says_nothing])

    async def talk(stream: anyio.abc.ByteStream) -> None:
        await next(answers, says())(stream)

    async with serving(talk) as server, opened(Http(url=server.url()), timeout=0.3) as probe:
        fault_of(await probe.ask(fresh=False), FaultKind.TIMEOUT)
        assert (await probe.ask(fresh=False)).healthy
        assert (await probe.ask(fresh=False)).healthy
        assert server.connections == 2


async def test_cancelled_again_and_again_it_still_asks_and_leaks_nothing() -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    async with serving(says()) as server, opened(Http(url=server.url())) as probe:
        assert (await probe.ask(fresh=True)).healthy
        before = descriptors()
        for number in range(30):
            with anyio.move_on_after(number / 10_000):
                await probe.ask(fresh=number % 2 == 0)
        assert (await probe.ask(fresh=False)).healthy
        await anyio.wait_all_tasks_blocked()
        assert descriptors() <= before + 2


async def test_a_name_is_sent_as_the_host_and_its_address_is_connected_to() -> None:
    async with serving(says()) as server:
        assert (await ask(Http(url=server.url(host="localhost")))).healthy
    assert f"host: localhost:{server.port}\r\n".encode() in server.requests[0].lower()


async def test_a_name_that_has_moved_to_another_address_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["127.0.0.1"]
    monkeypatch.setattr(net, "_look_up", lambda _: list(addresses))
    first = iter([b"HTTP/1.1 204 No Content\r\n\r\n"])

    async def answers_once(stream: anyio.abc.ByteStream) -> None:
        while True:
            await stream.receive()
            await stream.send(next(first, b""))

    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(serving(answers_once))
        await stack.enter_async_context(serving(says(), host="127.0.0.2", port=old.port))
        probe = await stack.enter_async_context(opened(Http(url=old.url(host="moving.example")), timeout=0.3))
        assert (await probe.ask(fresh=False)).healthy
        addresses[:] = ["127.0.0.2"]
        fault_of(await probe.ask(fresh=False), FaultKind.TIMEOUT)
        assert (await probe.ask(fresh=False)).healthy


async def test_a_silent_address_of_a_name_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with overrun() as (silent, port):
        async with serving(says(), host="127.0.0.2", port=port) as server:
            monkeypatch.setattr(net, "_look_up", lambda _: [silent, "127.0.0.2"])
            assert (await ask(Http(url=server.url(host="two.example")), timeout=1.0)).healthy


async def test_an_ipv6_address_can_be_asked() -> None:
    async with serving(says(), host="::1") as server:
        assert (await ask(Http(url=server.url(host="[::1]")))).healthy
    assert f"host: [::1]:{server.port}\r\n".encode() in server.requests[0].lower()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:{free_port()}")
    async with serving(says()) as server:
        assert (await ask(Http(url=server.url()))).healthy


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, signed by itself, and its key, in one file."""
    file = tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(file), "-out", f"{file}.crt", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    with file.open("a") as both:
        both.write(Path(f"{file}.crt").read_text())
    return file


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_invalid(certificate: Path) -> None:
    async with serving(says(), tls=tls(certificate)) as server:
        fault = fault_of(await ask(Http(url=server.url(host="localhost"))), FaultKind.TLS_INVALID)
    assert "self-signed certificate" in fault.message


async def test_a_certificate_that_the_host_trusts_is_valid_for_its_name_only(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    http.ssl_context.cache_clear()
    try:
        async with serving(says(), tls=tls(certificate)) as server:
            async with opened(Http(url=server.url(host="localhost"))) as probe:
                assert (await probe.ask(fresh=False)).healthy
                assert (await probe.ask(fresh=False)).healthy
            assert server.connections == 1
            fault = fault_of(await ask(Http(url=server.url())), FaultKind.TLS_INVALID)
            assert "IP address mismatch" in fault.message
    finally:
        http.ssl_context.cache_clear()


async def test_tls_asked_of_a_plain_server_is_told_as_such() -> None:
    async with serving(says()) as server:
        fault = fault_of(await ask(Http(url=server.url().replace("http:", "https:"))), FaultKind.TLS_INVALID)
    assert "TLS failed: " in fault.message


# Several nodes


def nodes(*servers: WebServer | str, **settings: Any) -> Http:
    return Http(nodes=tuple(s if isinstance(s, str) else s.url() for s in servers), **settings)


async def test_several_healthy_nodes_are_healthy() -> None:
    async with serving(says()) as one, serving(says()) as two:
        result = await ask(nodes(one, two))
    assert result.healthy
    assert result.details == {"nodes": 2}


async def test_some_failing_nodes_are_told_apart() -> None:
    async with serving(says()) as one, serving(says("500 Oops", b"boom")) as two:
        refused = f"http://{LOOPBACK}:{free_port()}/health"
        fault = fault_of(await ask(nodes(one, two, refused)), FaultKind.UNHEALTHY_NODE)
    assert fault.message.startswith(f'2 of 3 nodes fail: {two.url()}: status 500, expected 2xx: "boom"; {refused}: ')
    told = fault.details["nodes"]
    assert isinstance(told, dict)
    assert set(told) == {two.url(), refused}
    assert str(told[refused]).startswith("unreachable: ")
    assert not fault.certain


async def test_all_failing_nodes_are_an_outage_certain_if_each_is() -> None:
    async with serving(says()) as healthy:
        refusing = f"http://{LOOPBACK}:{free_port()}/"
        assert not fault_of(await ask(nodes(healthy, refusing)), FaultKind.UNHEALTHY_NODE).certain
    async with serving(says("500 Oops")) as one:
        refused = [f"http://{LOOPBACK}:{free_port()}/{number}" for number in range(4)]
        fault = fault_of(await ask(nodes(one, refused[0])), FaultKind.ALL_NODES_DOWN)
        assert not fault.certain
        fault = fault_of(await ask(nodes(*refused)), FaultKind.ALL_NODES_DOWN)
    assert fault.certain
    assert fault.message.startswith("4 of 4 nodes fail: ")
    assert fault.message.endswith("; and 1 more")


async def test_nodes_that_all_ask_for_less_load_are_no_outage() -> None:
    async with serving(says("429 Too Many")) as one, serving(says("503 Busy", headers="Retry-After: 1\r\n")) as two:
        fault_of(await ask(nodes(one, two)), FaultKind.OVERLOADED)
        async with serving(says()) as three:
            fault_of(await ask(nodes(one, two, three)), FaultKind.OVERLOADED)


async def test_a_hanging_node_delays_no_other() -> None:
    heard: list[float] = []

    async def quick(stream: anyio.abc.ByteStream) -> None:
        heard.append(anyio.current_time())
        await says()(stream)

    async with serving(says_nothing) as hung, serving(quick) as one, serving(quick) as two:
        began = anyio.current_time()
        result = await ask(nodes(hung, one, two), timeout=0.5)
    fault_of(result, FaultKind.UNHEALTHY_NODE)
    assert max(heard) - began < 0.4
    assert 0.5 <= result.latency < 1.0


async def test_two_nodes_that_differ_in_their_query_only_are_two() -> None:
    async with serving(says("500 Oops")) as server:
        result = await ask(nodes(server.url("/health?node=1"), server.url("/health?node=2")))
    assert fault_of(result, FaultKind.ALL_NODES_DOWN).message.startswith("2 of 2 nodes fail")


# Secrets and evidence


async def test_a_secret_header_is_sent_and_shown_nowhere() -> None:
    secret = "s3cr3t-value"
    headers: dict[str, str | Secret] = {"Authorization": Secret(f"Bearer {secret}"), "X-Plain": "yes"}
    async with serving(says("500 Oops", body=f"you sent Bearer {secret}".encode())) as server:
        check = Http(url=server.url("/health?token=hush"), headers=headers)
        async with opened(check) as probe:
            result = await probe.ask(fresh=True)
            evidence = await probe.evidence()
    assert f"Authorization: Bearer {secret}".encode() in server.requests[0]
    assert b"X-Plain: yes" in server.requests[0]
    assert b"GET /health?token=hush " in server.requests[0]
    assert secret not in repr((result, evidence)) + repr(check)
    assert "hush" not in repr((result, evidence))


async def test_the_evidence_is_the_last_answer_without_cookies_and_bounded() -> None:
    many = "".join(f"X-{number}: {'v' * 500}\r\n" for number in range(60))
    head = f"Set-Cookie: session=hush\r\nX-Auth-Token: hush\r\nServer: toy\r\n{many}"
    talk = says("500 Oops", body=b"b" * 50_000, headers=head)
    async with serving(talk) as server, opened(Http(url=server.url())) as probe:
        assert "no answer" in str(await probe.evidence())
        await probe.ask(fresh=True)
        evidence = await probe.evidence()
    answer: Any = evidence[server.url()]
    assert answer["status"] == 500
    assert answer["headers"]["server"] == "toy"
    assert "hush" not in str(answer)
    assert len(answer["body"]) <= 2048
    assert len(json.dumps(evidence)) < 12_000


# Settings


def test_the_hosts_are_known() -> None:
    assert Http(nodes=("http://a:1/x", "https://b/y", "http://[::1]:2/")).hosts() == {"a", "b", "::1"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "either url"),
        ({"url": "http://a/", "nodes": ["http://b/"]}, "either url"),
        ({"nodes": []}, "either url"),
        ({"url": "ftp://a/"}, "expected a URL such as"),
        ({"url": "localhost:3000"}, "expected a URL such as"),
        ({"url": "http:///x"}, "expected a URL such as"),
        ({"url": "http://a:99999/"}, "is no URL"),
        ({"url": "http://user:hush@a/"}, "password must not stand"),
        ({"nodes": ["http://a/", "http://a/"]}, "stands there twice"),
        ({"url": "http://a/", "status": []}, "at least one"),
        ({"url": "http://a/", "status": ["2x"]}, "expected codes"),
        ({"url": "http://a/", "status": [99]}, "from 100 to 599"),
        ({"url": "http://a/", "status": ["300-200"]}, "from 100 to 599"),
        ({"url": "http://a/", "method": "POST"}, "method"),
        ({"url": "http://a/", "method": "HEAD", "body": "x"}, "need GET"),
        ({"url": "http://a/", "headers": {"A B": "x"}}, "is no name of a header"),
        ({"url": "http://a/", "headers": {"A": "x\r\nB: y"}}, "HTTP does not allow"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter(Http).validate_python(settings)


@pytest.mark.parametrize(
    ("status", "good", "bad"),
    [([200], [200], [201]), (["2xx"], [200, 299], [199, 300]), (["200-204", 301], [200, 204, 301], [205, 300, 302])],
)
def test_statuses_are_read_as_written_in_toml(status: list[int | str], good: list[int], bad: list[int]) -> None:
    check = TypeAdapter(Http).validate_python({"url": "http://a/", "status": status})
    assert all(http.expected(code, check.status) for code in good)
    assert not any(http.expected(code, check.status) for code in bad)


@pytest.mark.parametrize("cookie", ["session=1", "\x80=\xff"])
async def test_a_cookie_is_neither_kept_nor_sent_back(cookie: str) -> None:
    async with serving(says(headers=f"Set-Cookie: {cookie}\r\n")) as server, opened(Http(url=server.url())) as probe:
        for fresh in (True, False, True):
            assert (await probe.ask(fresh=fresh)).healthy
    assert len(server.requests) == 3
    assert not any(b"cookie" in request.lower() for request in server.requests)


@pytest.mark.parametrize("location", ["//", "http://[::1", "http://h:x/", "javascript:alert(1)"])
async def test_a_redirect_to_nowhere_is_a_bad_status(location: str) -> None:
    async with serving(says("302 Found", headers=f"Location: {location}\r\n")) as server:
        fault_of(await ask(Http(url=server.url())), FaultKind.BAD_STATUS)
