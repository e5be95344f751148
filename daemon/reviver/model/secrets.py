"""Secrets: values that reach a client and nothing else."""

import base64
import html
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote, quote_plus

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

MASK: Final = "***"
SEEN_MAX, SEEN_LENGTH = 4096, 64

DEPTH_MAX: Final = 40
NUMBER_MAX: Final = 1024  # bits of a number that is told
ENCODED_MIN: Final = 6
"""Characters of a secret whose base64 is looked for, too: that of a shorter one is found in innocent texts."""

_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]*):[^\s/?#\"<>]+@", re.IGNORECASE)
_QUOTED = r"\\+\"[^\"]*(?:\"|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)|'(?:[^'\\]|\\.)*(?:'|$)"
_NAMED = re.compile(
    r"(?P<name>(?:password|passwd|passphrase|pwd|secret(?:[_-]access)?(?:[_-]key)?|token|(?:api|access|private)[_-]?key|"
    r"credentials?|session(?:[_-]?id)?)\b(?:\\*[\"']?\s*[=:]+>?\s*|>|(?<=--password)\s+|(?<=--token)\s+))"
    rf"(?:(?:bearer|basic)\s+\S+|{_QUOTED}|[^\s,;&\"'<\\]+)",
    re.IGNORECASE | re.DOTALL,
)
_HEADER = re.compile(
    rf"(?P<name>(?:authorization|cookie)\b\\*[\"']?\s*[=:]+>?\s*)(?:{_QUOTED}|[^\s\"'\\](?:=\"[^\r\n\"]*\"|[^\r\n\"'}}\]])*)",
    re.IGNORECASE | re.DOTALL,
)
_SCHEME = re.compile(r"(?P<scheme>\b(?:bearer|basic)\s+)(?=[a-z._~+/=-]{0,200}\d)[\w.~+/=-]{8,}", re.IGNORECASE)
_SHAPED = re.compile(
    r"\beyJ[\w-]{4,}\.[\w-]{8,}(?:\.[\w-]*)?|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[oprsu]_\w{20,}|\bxox[a-z]-[\w-]{10,}|\bglpat-[\w-]{16,}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_LOOKS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (("://",), _USERINFO, rf"\g<scheme>:{MASK}@"),
    (("pass", "pwd", "secret", "token", "key", "credential", "session"), _NAMED, rf"\g<name>{MASK}"),
    (("authorization", "cookie"), _HEADER, rf"\g<name>{MASK}"),
    (("bearer", "basic"), _SCHEME, rf"\g<scheme>{MASK}"),
    (("eyj", "akia", "asia", "gh", "xox", "glpat-", "private key"), _SHAPED, MASK),
)
"""What secrets look like: words without one of which, in lower case, there is none; and what takes them out."""

_URL_SAFE = str.maketrans("+/", "-_")
_NAME = re.compile(
    r"(?:^|[_-])(?:password|passwd|passphrase|pwd|secret|token|(?:api|access|private|secret)_?-?key|authorization|cookie)$",
    re.IGNORECASE,
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """*text* for a terminal: in one line, without what a terminal obeys."""
    return " ".join(_CONTROL.sub(" ", text.encode(errors="replace").decode()).split())


def is_secret_name(name: str) -> bool:
    """Whether what a header, a variable or a key called *name* holds is a secret."""
    return _NAME.search(name) is not None


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that is shown as ``***`` wherever it is printed."""

    _value: str

    def reveal(self) -> str:
        """The value, for handing it to a client."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__


class Redactor:
    """Takes secrets out of texts from outside, before they reach a log, a report, a metric or the API."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._values: set[str] = set()
        self._known: list[str] = []
        """The secrets in all their forms, longest first."""
        self._seen: dict[str, str] = {}
        """Short texts that came by before: every answer of a healthy service brings the same ones."""
        self.learn(secrets)

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Take out *secrets* as well from now on; what was known stays known, for old texts may still come by."""
        self._values |= {secret.reveal() for secret in secrets} - {""}
        self._seen.clear()
        self._known = sorted({form for value in self._values for form in _forms(value)}, key=len, reverse=True)

    def __call__(self, text: str, *, limit: int = 2000) -> str:
        """*text* without secrets and control characters, at most *limit* characters."""
        seen = self._seen.get(text)
        if seen is not None:
            return seen if len(seen) <= limit else seen[: limit - 1] + "…"
        clean = text.encode(errors="replace").decode()  # lone surrogates, from names of files and the like
        for form in self._known:
            clean = clean.replace(form, MASK)
        lower = clean.lower()
        for words, looks, instead in _LOOKS:
            if any(word in lower for word in words):
                clean = looks.sub(instead, clean)
        clean = _CONTROL.sub(" ", clean)
        if len(text) <= SEEN_LENGTH and len(self._seen) < SEEN_MAX:
            self._seen[text] = clean
        return clean if len(clean) <= limit else clean[: limit - 1] + "…"

    def tree(self, value: Any, *, depth: int = 0) -> Any:
        """*value* (details, evidence) with each text in it redacted, and what is not JSON turned into text."""
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > NUMBER_MAX:
            return f"a number of {value.bit_length()} bits"
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if depth > DEPTH_MAX:
            return "nested too deeply"
        if isinstance(value, Mapping):
            return {
                self(str(key)): MASK if is_secret_name(str(key)) else self.tree(item, depth=depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.tree(item, depth=depth + 1) for item in value]
        return self(str(value))


def _forms(secret: str) -> set[str]:
    """*secret* and what becomes of it on its way: in a URL, in JSON, in a shell, in base64, each line by itself."""
    raw = secret.encode(errors="surrogateescape") if _encodable(secret) else secret.encode(errors="replace")
    lines = {line.strip() for line in secret.splitlines() if len(line.strip()) > ENCODED_MIN}
    after_scheme = {secret.partition(" ")[2]} if secret.lower().startswith(("bearer ", "basic ", "token ")) else set()
    forms = {secret, secret.encode(errors="replace").decode(), raw.decode(errors="replace"), *lines, *after_scheme}
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    forms |= quoted | {re.sub("%..", lambda found: found[0].lower(), text) for text in quoted}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    forms |= {html.escape(secret), secret.replace("'", "'\"'\"'")}
    if len(raw) >= ENCODED_MIN:
        forms |= set(_in_base64(raw))
    return forms - {""}


def _in_base64(raw: bytes) -> Iterator[str]:
    """What *raw* looks like in base64, wherever in a longer text it stands: without what depends on its neighbours."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        start = (before * 8 + 5) // 6
        end = (before + len(raw)) * 8 // 6
        yield from (encoded[start:end], encoded[start:end].translate(_URL_SAFE))


def _encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" for c in text)


Resolver = Callable[[dict[str, str]], str]
"""Gives the value behind ``{ env = … }``, ``{ file = … }`` or ``{ credential = … }``; a ``ValueError`` says why not."""

_FORMS = ("env", "file", "credential")


def _resolve(value: object, info: ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _FORMS:
        raise ValueError('expected a reference such as { env = "NAME" }, { file = "/path" } or { credential = "name" }')
    resolver: Resolver = (info.context or {})["resolve_secret"]
    return Secret(resolver(value))


SecretField = Annotated[
    Secret,
    PlainValidator(_resolve),
    PlainSerializer(lambda _secret: MASK, return_type=str),
    WithJsonSchema(
        {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {form: {"type": "string"}},
                    "required": [form],
                    "additionalProperties": False,
                }
                for form in _FORMS
            ]
        }
    ),
]
"""A field of a kind or of the settings that is a secret, given by reference only."""
