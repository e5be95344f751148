"""How bad an incident is: from how much the service matters, and how much what hangs on it matters."""

from collections.abc import Mapping, Sequence

from reviver.model.journal import Severity
from reviver.model.services import Criticality, Service

_BY_CRITICALITY = {
    Criticality.CRITICAL: Severity.SEV1,
    Criticality.HIGH: Severity.SEV2,
    Criticality.NORMAL: Severity.SEV3,
    Criticality.LOW: Severity.SEV4,
}


def impact(name: str, services: Mapping[str, Service]) -> tuple[str, ...]:
    """Every service that depends on *name*, directly or not, in the order of *services*."""
    hit = {name}
    grown = True
    while grown:
        more = {s.name for s in services.values() if s.name not in hit and hit & set(s.depends_on)}
        grown = bool(more)
        hit |= more
    return tuple(s for s in services if s in hit and s != name)


def severity(name: str, affected: Sequence[str], services: Mapping[str, Service]) -> Severity:
    """The worst of what *name* and the *affected* services deserve."""
    return min(_BY_CRITICALITY[services[each].criticality] for each in (name, *affected))
