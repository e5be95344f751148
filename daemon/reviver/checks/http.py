"""Asks HTTP servers: one, or the several nodes of a service at once."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import anyio
import httpx

from reviver.clients import http
from reviver.model.checks import CheckContext, CheckResult, Probe
from reviver.model.faults import Fault, FaultKind, JsonValue
from reviver.model.secrets import SecretField
from reviver.model.units import format_duration

NODES_TOLD: Final = 32
_NO_RESTART_HELPS: Final = frozenset(
    {FaultKind.OVERLOADED, FaultKind.NAME_UNRESOLVED, FaultKind.TLS_INVALID, FaultKind.AUTH_FAILED}
)
_DOWN: Final = frozenset({"down", "fail", "failed", "error", "unhealthy", "out_of_service"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Asks one URL, or each node's, and looks at status, text and JSON of the answer."""

    url: str | None = None
    """The service's only node."""
    nodes: tuple[str, ...] = ()
    """The URL of each node, if it has several; asked at the same time."""
    method: Literal["GET", "HEAD"] = "GET"
    headers: Mapping[str, str | SecretField] = field(default_factory=dict, repr=False)
    status: http.Statuses = ("2xx",)
    """Status codes of a healthy answer: ``200``, ``"2xx"``, ``"200-204"``. Redirects are not followed."""
    body: str | None = None
    """A text that a healthy answer has in the first 64 KiB of its body."""
    json: Mapping[str, Any] = field(default_factory=dict)
    """What a healthy answer's JSON says: a path such as ``"checks.0.status"``, and the value that must be there."""

    faults: ClassVar[frozenset[FaultKind]] = frozenset(
        {
            FaultKind.UNREACHABLE,
            FaultKind.NAME_UNRESOLVED,
            FaultKind.TIMEOUT,
            FaultKind.TLS_INVALID,
            FaultKind.AUTH_FAILED,
            FaultKind.BAD_PROTOCOL,
            FaultKind.BAD_STATUS,
            FaultKind.BAD_BODY,
            FaultKind.OVERLOADED,
            FaultKind.DEPENDENCY_REPORTED_DOWN,
            FaultKind.UNHEALTHY_NODE,
            FaultKind.ALL_NODES_DOWN,
        }
    )
    borrows: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if (self.url is None) == (not self.nodes):
            raise ValueError("expected either url (one node) or nodes (several)")
        for url in self._urls():
            http.validate_url(url, key="nodes" if self.nodes else "url")
        if len(set(self.nodes)) < len(self.nodes):
            raise ValueError("nodes: the same URL stands there twice")
        http.validate_headers(self.headers)
        http.validate_statuses(self.status)
        if self.method == "HEAD" and (self.body is not None or self.json):
            raise ValueError("method: HEAD gets no body, so body and json need GET")

    @asynccontextmanager
    async def open(self, context: CheckContext) -> AsyncIterator[Probe]:
        """The probe; its connections last as long as this block."""
        async with AsyncExitStack() as stack:
            nodes = [_Node(self, url, context.timeout) for url in self._urls()]
            for node in nodes:
                stack.push_async_callback(node.aclose)
            yield nodes[0] if self.url is not None else _Nodes(nodes)

    def hosts(self) -> frozenset[str]:
        """The hosts in its URLs."""
        return frozenset(http.host_of(url) for url in self._urls())

    def _urls(self) -> tuple[str, ...]:
        return self.nodes if self.url is None else (self.url,)


class _Node:
    """One URL and its kept connection: the whole probe of a service with one node."""

    def __init__(self, check: Http, url: str, timeout: float) -> None:
        self.name = http.shown(url)
        self._check = check
        self._timeout = timeout
        self._place = http.Place(url)
        self._request = http.Request(method=check.method, headers=http.headers_for_request(check.headers))
        self._redact = http.redactor(check.headers)
        self._last: http.Answer | None = None
        self.aclose = self._place.aclose

    async def ask(self, *, fresh: bool) -> CheckResult:
        """What the node says, within the timeout."""
        began = anyio.current_time()
        self._last, fault, unknown = None, None, None
        try:
            with anyio.fail_after(self._timeout):
                self._last = await self._place.ask(self._request, fresh=fresh, within=self._timeout)
            fault = self._judge(self._last)
        except TimeoutError:
            message = f"{self.name}: no complete answer within {format_duration(self._timeout)}"
            fault = Fault(kind=FaultKind.TIMEOUT, message=message)
        except (httpx.HTTPError, OSError) as error:
            verdict = self._place.judge_failure(error, self.name)
            fault, unknown = (None, verdict) if isinstance(verdict, str) else (verdict, None)
        details: dict[str, JsonValue] = {"status": self._last.status} if self._last else {}
        return CheckResult(latency=anyio.current_time() - began, fault=fault, unknown=unknown, details=details)

    async def evidence(self) -> Mapping[str, JsonValue]:
        """The last answer, if the last question got one."""
        if self._last is None:
            return {self.name: "the last question got no answer"}
        return {self.name: self._last.evidence(self._redact)}

    def _judge(self, answer: http.Answer) -> Fault | None:
        if not http.expected(answer.status, self._check.status):
            kind, why = self._wrong_status(answer)
        elif (wrong := self._wrong_body(answer)) is not None:
            kind, why = FaultKind.BAD_BODY, wrong
        else:
            return None
        if kind in (FaultKind.BAD_STATUS, FaultKind.BAD_BODY) and (down := reported_down(answer)):
            kind, why = (
                FaultKind.DEPENDENCY_REPORTED_DOWN,
                self._reports(answer, down),
            )
        return Fault(kind=kind, message=f"{self.name}: {why}", details={"status": answer.status})

    def _reports(self, answer: http.Answer, down: Sequence[str]) -> str:
        return f"status {answer.status}, reports as down: {self._redact(', '.join(down))}"

    def _wrong_status(self, answer: http.Answer) -> tuple[FaultKind, str]:
        wait = answer.headers.get("retry-after", "")
        if answer.status == 429 or (answer.status == 503 and wait):
            asks = f", asks to come again after {self._redact(wait, limit=40)} s" if wait.isdigit() else ""
            return FaultKind.OVERLOADED, f"status {answer.status}{asks}: it has more load than it can take"
        if answer.status in (401, 403):
            return FaultKind.AUTH_FAILED, f"status {answer.status}: {answer.excerpt(self._redact)}"
        expected = ", ".join(str(status) for status in self._check.status)
        why = f"status {answer.status}, expected {expected}: {answer.excerpt(self._redact)}"
        return FaultKind.BAD_STATUS, why

    def _wrong_body(self, answer: http.Answer) -> str | None:
        if self._check.body is not None and self._check.body not in answer.text:
            return f'the body lacks "{self._check.body}": {answer.excerpt(self._redact)}'
        if not self._check.json:
            return None
        try:
            found = answer.json()
        except ValueError as error:
            return f"the body is no JSON ({error}): {answer.excerpt(self._redact)}"
        for path, expected in self._check.json.items():
            if (wrong := mismatch(found, path, expected)) is not None:
                return self._redact(wrong)
        return None


class _Nodes:
    """Several nodes, asked at the same time, so that none delays another."""

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self._nodes = nodes

    async def ask(self, *, fresh: bool) -> CheckResult:
        """What the nodes say together."""
        began = anyio.current_time()
        results: dict[_Node, CheckResult] = {}

        async def ask(node: _Node) -> None:
            results[node] = await node.ask(fresh=fresh)

        async with anyio.create_task_group() as group:
            for node in self._nodes:
                group.start_soon(ask, node)
        latency = anyio.current_time() - began
        for result in results.values():
            if result.unknown is not None:
                return CheckResult(latency=latency, unknown=result.unknown)
        faults = [(node.name, fault) for node in self._nodes if (fault := results[node].fault) is not None]
        fault = together(faults, of=len(self._nodes)) if faults else None
        return CheckResult(latency=latency, fault=fault, details={"nodes": len(self._nodes)})

    async def evidence(self) -> Mapping[str, JsonValue]:
        """The last answer of each node."""
        found: dict[str, JsonValue] = {}
        for node in self._nodes[:NODES_TOLD]:
            found |= await node.evidence()
        return found


def together(faults: Sequence[tuple[str, Fault]], *, of: int) -> Fault:
    """
    The fault of a service with *of* nodes, some of which, by name, have *faults*.

    Where every failing node has the same fault and restarting it could not help, that is the service's fault, too.
    """
    kinds = {fault.kind for _, fault in faults}
    if len(kinds) == 1 and kinds <= _NO_RESTART_HELPS:
        kind = next(iter(kinds))
    else:
        kind = FaultKind.ALL_NODES_DOWN if len(faults) == of else FaultKind.UNHEALTHY_NODE
    message = f"{len(faults)} of {of} nodes fail: " + "; ".join(fault.message for _, fault in faults[:3])
    if len(faults) > 3:
        message += f"; and {len(faults) - 3} more"
    return Fault(
        kind=kind,
        message=message,
        certain=len(faults) == of and all(fault.certain for _, fault in faults),
        details={"nodes": {name: f"{fault.kind}: {fault.message[:200]}" for name, fault in faults[:NODES_TOLD]}},
    )


def mismatch(found: JsonValue, path: str, expected: object) -> str | None:
    """Why *found* does not have *expected* at *path* (``"db.nodes.0.up"``), in words; ``None`` if it does."""
    for part in path.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return f'"{path}" is missing in the JSON'
    if isinstance(expected, Mapping):
        wrong = (mismatch(found, key, value) for key, value in expected.items())
        return next((f'in "{path}": {why}' for why in wrong if why is not None), None)
    if found == expected and isinstance(found, bool) == isinstance(expected, bool):  # True == 1
        return None
    return f'"{path}" is {json.dumps(found)[:100]}, expected {json.dumps(expected, default=str)}'


def reported_down(answer: http.Answer) -> list[str]:
    """
    The dependencies that a health report says are down, by name; empty if *answer* is no such report.

    Understands Terminus (``error``: name → status), Spring Boot's actuator (``components``) and the IETF's draft for
    ``application/health+json`` (``checks``).
    """
    try:
        report = answer.json()
    except ValueError:
        return []
    found: list[str] = []
    for key in ("error", "components", "checks"):
        parts = report.get(key) if isinstance(report, dict) else None
        for name, part in parts.items() if isinstance(parts, dict) else ():
            entries = part if isinstance(part, list) else [part]
            if any(isinstance(e, dict) and str(e.get("status", "")).lower() in _DOWN for e in entries):
                found.append(name[:50])
    return found[:10]
