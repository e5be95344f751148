"""Who depends on whom: every name is known, and nobody depends on itself, in however many steps."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def cycles(depends_on: Mapping[str, Sequence[str]]) -> Iterable[Sequence[str]]:
    """Each circle of dependencies: a service, one that it depends on, and so on, back to the first."""
    graph = {name: set(others) for name, others in depends_on.items()}
    while circle := _cycle(graph):
        yield circle
        graph[circle[0]].discard(circle[1])


def _cycle(graph: Mapping[str, Iterable[str]]) -> Sequence[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))[:-1]  # it lists what comes first, first
        start = circle.index(min(circle, key=list(graph).index))
        return [*circle[start:], *circle[:start], circle[start]]
    return []
