"""What happens in the demo, as it is told: to eyes, to a log, or as JSON."""

import bisect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reviver.model.units import format_duration

from .faults import Fault
from .watcher import Service

DEMO = "demo"
REVIVER = "reviver"
PROVEN = "proven: "


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened."""

    at: float
    """Seconds since the fault was inflicted."""
    who: str
    """``demo``: seen with the demo's own eyes; ``reviver``: told by reviver."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one fault."""

    fault: str
    title: str
    service: str
    diagnosis: str = ""
    strategy: str = ""
    noticed_seconds: float | None = None
    """From the fault to the first failed answer that reviver got."""
    recovered_seconds: float | None = None
    """From the fault to the verified recovery."""
    incident: str = ""
    proven: bool = False
    """Whether the demo saw by itself that the thing works again."""
    proof: str = ""
    problem: str = ""
    """Why this is no success; empty if it is one."""

    def json(self) -> dict[str, Any]:
        """As people's programs read it."""
        return {name: value for name, value in asdict(self).items() if name != "title"}


@dataclass(slots=True)
class Story:
    """The demo so far."""

    total: int
    number: int = 0
    """Which fault it is at; 0: none yet."""
    heading: str = "Starting"
    lines: list[Line] = field(default_factory=list)
    """Of the present fault, by time."""
    services: Mapping[str, Service] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    footer: str = ""

    def turn(self, heading: str) -> None:
        """Begin a new page."""
        self.heading = heading
        self.lines = []

    def tell(self, line: Line) -> bool:
        """Add *line* to the page in its place; whether it is news."""
        if any((line.who, line.text) == (told.who, told.text) for told in self.lines):
            return False
        bisect.insort(self.lines, line, key=lambda told: told.at)
        return True


def short(seconds: float | None) -> str:
    """*seconds* for a table."""
    return "-" if seconds is None else format_duration(seconds)


def opening(number: int, total: int, fault: Fault) -> str:
    """The heading of a fault."""
    return f"Fault {number} of {total}: {fault.title}"
