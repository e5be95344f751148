"""What is wrong with a settings file, told so that it can be put right without looking anything up."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""Where in the settings: keys, and indexes of arrays."""

SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|credential|auth|dsn|cookie", re.IGNORECASE)
"""In a key: what stands behind it is never told."""
_UNSEEMLY = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or doubtful. As text: ``FILE:LINE: key: what was expected, what was found``."""

    file: Path
    line: int | None
    """Counts from 1; ``None`` when the file can't be read at all."""
    key: str
    """Such as ``services.db.recovery[0].faults[1]``; empty when it isn't about a key."""
    message: str

    def __str__(self) -> str:
        where = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)


class SettingsError(Exception):
    """The settings can't be used. Its text has a line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Findings:
    """What is found on the way through the settings, with the places where it stands."""

    def __init__(self) -> None:
        self.errors: list[tuple[Place, str]] = []
        self.warnings: list[tuple[Place, str]] = []

    def error(self, place: Place, message: str) -> None:
        """The settings can't be used because of this."""
        if (place, message) not in self.errors:  # a borrowed field is wrong only once
            self.errors.append((place, message))

    def warn(self, place: Place, message: str) -> None:
        """The settings can be used, and are likely not what was meant."""
        self.warnings.append((place, message))


def values(written: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """*written* itself, and everything in it, with the places."""
    yield place, written
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(written, Mapping):
        items = written.items()
    elif isinstance(written, list):
        items = enumerate(written)
    for part, value in items:
        yield from values(value, (*place, part))


def key(place: Place) -> str:
    """*place* as people write it: ``services.db.recovery[0].faults[1]``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else quoted(part))
    return text


def quoted(text: str, *, limit: int = 60) -> str:
    """*text* in quotation marks, on one line, at most *limit* characters of it, and none that a terminal obeys."""
    written = json.dumps(text if len(text) <= limit else text[:limit] + "…", ensure_ascii=False)
    return _UNSEEMLY.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def listed(names: Iterable[str], *, limit: int = 30) -> str:
    """*names*, sorted, quoted, with commas."""
    known = sorted(names)
    return ", ".join(map(quoted, known[:limit])) + (", …" if len(known) > limit else "")


def suggestion(name: str, names: Iterable[str]) -> str:
    """``; did you mean "…"?`` with the one of *names* that is nearest to *name*, or, if none is near, all of them."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {quoted(near[0])}?"
    return f"; there are {listed(known)}" if known else "; there are none"
