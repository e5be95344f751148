"""
What an action may act upon: a set that is named, and bounded.

"Nothing" must never come to mean "everything", as it did where a retry found its list empty, and erased all
(safety: rule 5).
"""

from collections.abc import Sequence

TARGETS_MAX = 10_000
UNBOUNDED = frozenset({"*", "**", "%", ".*", ".", "..", "/", "~"})


def refused(targets: Sequence[str]) -> str | None:
    """Why nothing may be done to *targets*, in a line for an operator; ``None`` if something may."""
    if not targets:
        return "it names nothing that it would act upon, and nothing must not mean everything"
    if len(targets) > TARGETS_MAX:
        return f"it would act upon {len(targets)} things at once, allowed are {TARGETS_MAX}"
    for target in targets:
        if not target.strip():
            return "one of the things that it would act upon has an empty name"
        if target.strip() in UNBOUNDED:
            return f'"{target}" names no thing, but everything'
    return None
