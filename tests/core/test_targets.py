"""Nothing never means everything."""

import pytest

from reviver.core.targets import TARGETS_MAX, refused


@pytest.mark.parametrize("target", ["redis-server.service", "/usr/bin/true", "sessions:*", "a", "*.log"])
def test_what_is_named_may_be_acted_upon(target: str) -> None:
    assert refused([target]) is None
    assert refused([target] * TARGETS_MAX) is None


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        ([], "it names nothing that it would act upon, and nothing must not mean everything"),
        (["a", ""], "one of the things that it would act upon has an empty name"),
        ([" \t"], "one of the things that it would act upon has an empty name"),
        (["a", "*"], '"*" names no thing, but everything'),
        ([" % "], '" % " names no thing, but everything'),
        *(([each], f'"{each}" names no thing, but everything') for each in ("**", ".*", ".", "..", "/", "~")),
        (["a"] * (TARGETS_MAX + 1), "it would act upon 10001 things at once, allowed are 10000"),
    ],
)
def test_nothing_and_everything_are_refused(targets: list[str], why: str) -> None:
    assert refused(targets) == why
