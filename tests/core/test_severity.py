"""How bad an incident is."""

import pytest

from fakes import Target, service
from reviver.core.severity import impact, severity
from reviver.model.journal import Severity
from reviver.model.services import Criticality, Service


def stack(*services: Service) -> dict[str, Service]:
    return {each.name: each for each in services}


def of(name: str, *needs: str, criticality: Criticality = Criticality.NORMAL) -> Service:
    return service(Target(name), depends_on=needs, criticality=criticality)


STACK = stack(of("web", "api"), of("db"), of("api", "db", "cache"), of("cache"), of("mail"))


def test_impact_is_everything_that_hangs_on_it_directly_or_not_in_the_settings_order() -> None:
    assert impact("db", STACK) == ("web", "api")


def test_what_nothing_depends_on_hits_nothing() -> None:
    assert impact("mail", STACK) == ()


def test_services_that_depend_on_each_other_hit_each_other_and_end() -> None:
    ring = stack(of("a", "b"), of("b", "c"), of("c", "a"))
    assert impact("a", ring) == ("b", "c")


@pytest.mark.parametrize(
    ("criticality", "worst"),
    list(zip(Criticality, [Severity.SEV1, Severity.SEV2, Severity.SEV3, Severity.SEV4], strict=True)),
)
def test_severity_follows_the_criticality(criticality: Criticality, worst: Severity) -> None:
    assert severity("db", (), stack(of("db", criticality=criticality))) is worst


def test_an_unimportant_service_is_as_bad_as_the_worst_that_hangs_on_it() -> None:
    services = stack(of("cache", criticality=Criticality.LOW), of("shop", "cache", criticality=Criticality.CRITICAL))
    assert severity("cache", impact("cache", services), services) is Severity.SEV1
