"""
HTTP as reviver speaks it: no proxies, no redirects, no retries, bounded answers, names looked up apart.

One client for one place: httpx looks through all idle connections of a client at each request, and its pool's limit
would let hung places starve healthy ones.
"""

import functools
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from reviver import __version__
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import Redactor, Secret

from .net import Endpoint, Resolver, judge, most_telling

BODY_LIMIT: Final = 64 * 1024  # bytes read of an answer's body
EXCERPT: Final = 120  # characters of a body in a message
_CUT_OFF: Final = ("disconnected", "closed connection")  # in the text of httpx's errors
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")
_HEADERS_SHOWN: Final = 30
_HEADER_SHOWN: Final = 200  # characters
_HEADERS: Final = {"User-Agent": f"reviver/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
_HIDDEN: Final = ("cookie", "auth", "token", "secret", "key", "session", "location")  # in a header's name

Text = str | Secret
Statuses = tuple[int | str, ...]
"""Status codes that are expected: ``200``, ``"2xx"`` or ``"200-204"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said, as far as it was read."""

    status: int
    headers: httpx.Headers
    body: bytes
    complete: bool
    """Whether ``body`` is all of it."""

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode(errors="replace")

    def json(self) -> JsonValue:
        """
        The body as JSON.

        Raises:
            ValueError: It is none; the message says why.
        """
        if not self.complete:
            raise ValueError(f"longer than {BODY_LIMIT} bytes")
        try:
            found: JsonValue = json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        return found

    def excerpt(self, redact: Redactor) -> str:
        """The start of the body in quotes, in one line, for a message."""
        text = " ".join(redact(self.text[: 4 * EXCERPT]).split())
        return f'"{text[:EXCERPT]}{"…" if len(text) > EXCERPT else ""}"' if text else "an empty body"

    def evidence(self, redact: Redactor, *, limit: int = 2048) -> dict[str, JsonValue]:
        """The answer for a report: without cookies and other secrets, bounded."""
        shown = [(name, value) for name, value in self.headers.items() if not any(word in name for word in _HIDDEN)]
        return {
            "status": self.status,
            "headers": {name: redact(value, limit=_HEADER_SHOWN) for name, value in shown[:_HEADERS_SHOWN]},
            "body": redact(self.text[:limit]),
        }


def validate_url(url: str, *, key: str = "url") -> None:
    """
    Refuse what is no address of an HTTP server; *key* is where it stands in the settings.

    Raises:
        ValueError: What was expected.
    """
    told = Redactor()(url)
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f'{key}: "{told}" is no URL: {error}') from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f'{key}: expected a URL such as "http://localhost:3000/health", got "{told}"')
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise ValueError(f'{key}: "{told}" is no URL: there is no port {parsed.port}')
    if parsed.userinfo:
        raise ValueError(f"{key}: a password must not stand in a URL; use headers with a secret Authorization")


def validate_headers(headers: Mapping[str, Text]) -> None:
    """
    Refuse what can't be sent as headers.

    Raises:
        ValueError: Which header; never its value, which may be a secret.
    """
    for name, value in headers_for_request(headers).items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f'headers: "{name}" is no name of a header')
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers: {name}: its value is empty, or has characters that HTTP does not allow")


def validate_statuses(statuses: Sequence[int | str]) -> None:
    """
    Refuse what are no status codes.

    Raises:
        ValueError: What was expected.
    """
    if not statuses:
        raise ValueError("status: expected at least one status code")
    for status in statuses:
        _span(status)


def expected(status: int, statuses: Sequence[int | str]) -> bool:
    """Whether *status* is among *statuses*."""
    return any(status in _span(item) for item in statuses)


def shown(url: str) -> str:
    """*url* for messages: without its query, which may hold secrets."""
    return str(httpx.URL(url).copy_with(query=None, fragment=None))


def host_of(url: str) -> str:
    """The host that *url* names."""
    return httpx.URL(url).host


def headers_for_request(headers: Mapping[str, Text]) -> dict[str, str]:
    """*headers* with their secrets, for sending."""
    return {name: text.reveal() if isinstance(text, Secret) else text for name, text in headers.items()}


def redactor(headers: Mapping[str, Text]) -> Redactor:
    """Takes the secrets in *headers* out of texts."""
    return Redactor(text for text in headers.values() if isinstance(text, Secret))


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """
    The one context that all clients share: it takes 30 ms to make.

    Trusts what the host trusts, so that an organisation's own authority counts, and Mozilla's list, so that an image
    without certificates works.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()  # obeys SSL_CERT_FILE, too
    return context


@functools.cache
def _no_ssl_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx makes a costly one if it is given none


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked."""

    method: str
    headers: Mapping[str, str]
    content: bytes | None = None


class Place:
    """
    One URL to be asked again and again: its client, which keeps a connection, and the address that its name had.

    No request has a deadline but the caller's.
    """

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        self._resolver = Resolver()
        self._address = ""
        self._transport: httpx.AsyncHTTPTransport | None = None
        self.endpoint = Endpoint(self._url.host, self._url.port or (443 if self._url.scheme == "https" else 80))

    async def aclose(self) -> None:
        """Close the kept connection, if there is one."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def ask(self, request: Request, *, fresh: bool, within: float) -> Answer:
        """
        The answer to *request*, over a new connection if *fresh*, else over the kept one if there is one.

        A kept connection that the server closes, perhaps at this very moment, is no failure of the server's (RFC 9112
        section 9.3.1), so a request that changes nothing is then made once more over a new one. *within* bounds the
        lookup of the name, in seconds.

        Raises:
            httpx.HTTPError, OSError: There is no answer; see ``judge_failure``.
        """
        try:
            if fresh or self._transport is None:
                return await self._ask_new(request, within=within)
            try:
                return await self._send(self._transport, request)
            except httpx.ConnectError:  # nothing was sent
                return await self._ask_new(request, within=within)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                if request.method not in ("GET", "HEAD"):
                    raise
                return await self._ask_new(request, within=within)
        except BaseException:  # perhaps the name has another address by now, so the next question looks it up
            await self.aclose()
            raise

    def judge_failure(self, error: BaseException, subject: str) -> Fault | str:
        """What *error*, raised by ``ask``, says of the server; a text if it says nothing of it."""
        if isinstance(error, httpx.TimeoutException):
            return Fault(kind=FaultKind.TIMEOUT, message=f"{subject}: no connection within its time")
        verdict = judge(error, self.endpoint, subject)
        if verdict is not None:
            return verdict
        if isinstance(error, httpx.RemoteProtocolError) and not any(word in str(error) for word in _CUT_OFF):
            return Fault(kind=FaultKind.BAD_PROTOCOL, message=f"{subject}: the answer is not HTTP: {error}")
        message = f"{subject}: the connection was closed before the answer was complete"
        return Fault(kind=FaultKind.UNREACHABLE, message=message)

    async def _ask_new(self, request: Request, *, within: float) -> Answer:
        await self.aclose()
        addresses = await self._resolver.addresses(self.endpoint, within=within)
        self._transport = transport = self._make_transport()
        errors: list[httpx.TransportError] = []
        share = within / len(addresses) if len(addresses) > 1 else None  # a silent one must leave time for the next
        for self._address in addresses:
            try:
                return await self._send(transport, request, connect_within=share)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                errors.append(error)
        raise most_telling(errors)

    async def _send(
        self, transport: httpx.AsyncHTTPTransport, request: Request, *, connect_within: float | None = None
    ) -> Answer:
        headers = httpx.Headers(_HEADERS)
        headers.update({"Host": self._url.netloc.decode(), **request.headers})
        sent = httpx.Request(
            request.method,
            self._url.copy_with(host=self._address),
            headers=headers,
            content=request.content,
            extensions={
                "timeout": httpx.Timeout(None, connect=connect_within).as_dict(),  # the deadline is the caller's
                "sni_hostname": self._url.host,
            },
        )
        response = await transport.handle_async_request(sent)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():  # as it came: a small compressed body may unfold to gigabytes
                body += chunk
                if len(body) > BODY_LIMIT:
                    break
            return Answer(
                status=response.status_code,
                headers=response.headers,
                body=bytes(body[:BODY_LIMIT]),
                complete=len(body) <= BODY_LIMIT,
            )
        finally:
            await response.aclose()

    def _make_transport(self) -> httpx.AsyncHTTPTransport:
        """No client of httpx's: that one keeps an answer's cookies, and reads its redirect even if it follows none."""
        return httpx.AsyncHTTPTransport(
            verify=ssl_context() if self._url.scheme == "https" else _no_ssl_context(),
            trust_env=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None),
        )


def _span(status: int | str) -> range:
    if isinstance(status, int):
        first = last = status
    elif len(status) == 3 and status[0].isdigit() and status[1:] == "xx":
        first, last = int(status[0]) * 100, int(status[0]) * 100 + 99
    else:
        start, dash, end = status.partition("-")
        if not start.isdigit() or (dash and not end.isdigit()):
            raise ValueError(f'status: expected codes such as 200, "2xx" or "200-204", got {json.dumps(status)}')
        first, last = int(start), int(end or start)
    if not 100 <= first <= last <= 599:
        raise ValueError(f"status: expected codes from 100 to 599, got {json.dumps(status)}")
    return range(first, last + 1)
