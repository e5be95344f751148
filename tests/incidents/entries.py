"""Entries of every kind, for tests of what keeps and what reads them."""

import typing
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st

from reviver.model import journal as j

text = st.text(max_size=30)
number = st.floats(allow_nan=False, allow_infinity=False)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | number | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
json_map = st.dictionaries(text, json_value, max_size=4)


def _strategy(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    maps = st.lists(json_map, max_size=3).map(tuple)
    simple = {
        str: text,
        int: st.integers(0, 1000),
        float: number,
        bool: st.booleans(),
        tuple[str, ...]: texts,
        tuple[j.JsonMap, ...]: maps,
    }
    if hint in simple:
        return simple[hint]
    if hint == float | None:
        return st.none() | number
    return json_map


texts = st.lists(text, max_size=3).map(tuple)


def of(kind: type[j.Entry]) -> st.SearchStrategy[j.Entry]:
    """Entries of *kind*."""
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if name != "type"}
    return st.builds(kind, **{name: _strategy(hint) for name, hint in hints.items()})


every = st.one_of([of(kind) for kind in j.ENTRY_TYPES])


def opened(service: str = "db", incident: str = "db-1", **changes: Any) -> j.IncidentOpened:
    fields: dict[str, Any] = {
        "fault": "unreachable",
        "message": "refused",
        "certain": False,
        "severity": j.Severity.SEV2,
        "impact": ("api",),
        "failing_for": 3.0,
        "noticed_ago": 2.5,
        **changes,
    }
    return j.IncidentOpened(service=service, incident=incident, **fields)


def started(attempt: int = 1, *, incident: str = "db-1", by: str = "reviver") -> j.AttemptStarted:
    return j.AttemptStarted(
        service="db", incident=incident, attempt=attempt, strategy="restart", by=by, steps=("restart it",)
    )


def step_started(attempt: int = 1, step: int = 0, *, incident: str = "db-1") -> j.StepStarted:
    return j.StepStarted(
        service="db",
        incident=incident,
        attempt=attempt,
        step=step,
        action="systemd.restart",
        description="restart it",
        effect="idempotent",
    )


def step_ended(attempt: int = 1, step: int = 0, outcome: j.StepOutcome = j.StepOutcome.DONE) -> j.StepEnded:
    return j.StepEnded(service="db", incident="db-1", attempt=attempt, step=step, outcome=outcome, seconds=1.25)


def ended(attempt: int = 1, outcome: str = "failed", **changes: Any) -> j.AttemptEnded:
    fields: dict[str, Any] = {"message": "so it ended", "seconds": 12.0, **changes}
    return j.AttemptEnded(service="db", incident="db-1", attempt=attempt, strategy="restart", outcome=outcome, **fields)


def recovered(incident: str = "db-1") -> j.IncidentRecovered:
    return j.IncidentRecovered(service="db", incident=incident, by="restart", down_for=20.0)


def escalated(stops: str = "") -> j.IncidentEscalated:
    return j.IncidentEscalated(service="db", incident="db-1", reason="all was tried", stops=stops)


def paused(service: str = "db", *, until: float, incident: str = "") -> j.ServicePaused:
    return j.ServicePaused(service=service, incident=incident, by="ann", reason="maintenance", until=until)
