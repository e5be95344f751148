"""
Durations and sizes, as people write them in TOML and as the code counts them.

Durations are seconds (``float``), sizes are bytes (``int``). In settings both are strings with a unit: ``"1m30s"``,
``"64KiB"``. The grammar of durations is that of Prometheus
(https://prometheus.io/docs/prometheus/latest/querying/basics/#float-literals-and-time-durations).
"""

import json
import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DURATION_PATTERN = r"^(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+(?:\.\d+)?s)?(?:\d+ms)?$"
SIZE_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
SIZE_PATTERN = r"^\d+ ?(?:B|kB|MB|GB|KiB|MiB|GiB)$"


def parse_duration(text: object) -> float:
    """
    Seconds meant by *text*, such as ``"1m30s"``, ``"500ms"`` or ``"0s"``.

    A ``float`` passes: that is a default of the code (settings refuse bare numbers in TOML).

    Raises:
        ValueError: It is no duration; the message says what was expected.
    """
    if isinstance(text, float):
        return text
    if not isinstance(text, str) or not text or not re.match(DURATION_PATTERN, text):
        raise ValueError('expected a duration with units from largest to smallest, such as "5s", "1m30s" or "500ms"')
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text)
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """*seconds* for a person: ``850 ms``, ``4.2 s``, ``2 min 5 s``, ``3 h 10 min``, ``12 d 4 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def parse_size(text: object) -> int:
    """
    Bytes meant by *text*, such as ``"64KiB"`` or ``"10 MB"``; an ``int`` is a default of the code and passes.

    Raises:
        ValueError: It is no size; the message says what was expected.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str) or not re.match(SIZE_PATTERN, text):
        raise ValueError('expected a size with a unit, such as "64KiB" or "10MB"')
    number, unit = re.fullmatch(r"(\d+) ?(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * SIZE_UNITS[unit]


def _written_duration(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        meant = f'; did you mean "{value}s"?' if value >= 0 else ""
        raise ValueError(f"expected a duration with a unit, found {value}{meant}")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}, found {_shown(value)}") from None


def _written_size(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        meant = f'; did you mean "{value}B"?' if value >= 0 else ""
        raise ValueError(f"expected a size with a unit, found {value}{meant}")
    try:
        return parse_size(value)
    except ValueError as error:
        raise ValueError(f"{error}, found {_shown(value)}") from None


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]


Seconds = Annotated[
    float,
    BeforeValidator(_written_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["5s", "1m30s", "500ms"]}),
]
"""A field of a kind or of the settings that is a duration: seconds in code, ``"1m30s"`` in TOML."""

Bytes = Annotated[
    int,
    BeforeValidator(_written_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["64KiB", "10MB"]}),
]
"""A field of a kind or of the settings that is a size: bytes in code, ``"64KiB"`` in TOML."""
