"""Secrets: values that reach a client and nothing else."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

MASK: Final = "***"
SEEN_MAX, SEEN_LENGTH = 4096, 64

_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE)
_NAMED = re.compile(
    r"(?P<name>(?:password|passwd|pwd|secret(?:[_-]access)?(?:[_-]key)?|token|api[_-]?key|authorization)\b"
    r"[\"']?\s*[=:]\s*)"
    r"(?P<value>(?:bearer|basic)\s+\S+|\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:^|[_-])(?:password|passwd|secret|token|api_?key|authorization|cookie)$", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


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
        self._known: re.Pattern[str] | None = None
        self._seen: dict[str, str] = {}
        """Short texts that came by before: every answer of a healthy service brings the same ones."""
        self.learn(secrets)

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Take out *secrets* as well from now on; what was known stays known, for old texts may still come by."""
        self._values |= {secret.reveal() for secret in secrets} - {""}
        self._seen.clear()
        longest_first = sorted(self._values, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str, *, limit: int = 2000) -> str:
        """*text* without secrets and control characters, at most *limit* characters."""
        seen = self._seen.get(text)
        if seen is not None:
            return seen if len(seen) <= limit else seen[: limit - 1] + "…"
        clean = text.encode(errors="replace").decode()  # lone surrogates, from names of files and the like
        if self._known is not None:
            clean = self._known.sub(MASK, clean)
        clean = _USERINFO.sub(rf"\g<scheme>:{MASK}@", clean)
        clean = _NAMED.sub(rf"\g<name>{MASK}", clean)
        clean = _CONTROL.sub(" ", clean)
        if len(text) <= SEEN_LENGTH and len(self._seen) < SEEN_MAX:
            self._seen[text] = clean
        return clean if len(clean) <= limit else clean[: limit - 1] + "…"

    def tree(self, value: Any) -> Any:
        """*value* (details, evidence) with each text in it redacted, and what is not JSON turned into text."""
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            return {self(str(key)): MASK if _NAME.search(str(key)) else self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.tree(item) for item in value]
        return self(str(value))


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
