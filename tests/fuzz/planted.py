"""A secret, planted where secrets stand, and what must hold of every text that reviver tells."""

import json
import re
from typing import Any

from reviver.model.checks import CheckResult
from reviver.model.secrets import Redactor, Secret
from reviver.supervisor.watched import cleaned

SECRET = "pl4nted-hunter2"
REDACT = Redactor([Secret(SECRET)])
_UNSEEMLY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
TOLD_MAX = 64 * 1024


def assert_seemly(told: Any, *, at_most: int = TOLD_MAX) -> None:
    """*told* is JSON of bounded size, without the secret, without what a terminal or a log would obey."""
    text = json.dumps(told, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) <= at_most, f"{len(text)} characters are told"
    assert SECRET not in text, text
    for leaf in _leaves(told):
        assert not _UNSEEMLY.search(leaf), repr(leaf[:300])


def assert_seemly_result(result: CheckResult) -> None:
    """The same for what a check answers, as the supervisor takes it."""
    assert result.latency >= 0
    clean = cleaned(result, REDACT)
    fault = clean.fault
    assert fault is None or "\n" not in fault.message
    assert_seemly(
        {
            "fault": None if fault is None else [fault.kind, fault.message, fault.details],
            "unknown": clean.unknown,
            "details": dict(clean.details),
        }
    )


def _leaves(told: Any) -> list[str]:
    if isinstance(told, dict):
        return [leaf for pair in told.items() for part in pair for leaf in _leaves(part)]
    if isinstance(told, list | tuple):
        return [leaf for item in told for leaf in _leaves(item)]
    return [told] if isinstance(told, str) else []
