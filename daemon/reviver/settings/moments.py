"""Moments and time zones as they are written in settings."""

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from .problems import quoted, suggestion

HOSTS_OWN: Final = "/etc/localtime"
_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def unix_time(written: str) -> float:
    """The moment that *written* says, in Unix seconds."""
    example = '"2026-12-01T02:00:00+01:00"'
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"expected a time such as {example}, found {quoted(written)}") from None
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with its offset (or Z), such as {example}, found {quoted(written)}")
    return moment.timestamp()


def five_fields(written: str) -> str:
    """*written* as a cron expression of five fields."""
    expression = _WORDS.get(written, written)
    if len(expression.split()) != 5:
        words = ", ".join(_WORDS)
        raise ValueError(
            f'expected five fields (minute, hour, day, month, weekday), such as "0 2 * * SUN", or one of {words}; '
            f"found {quoted(written)}"
        )
    try:
        CronSim(expression, datetime.fromtimestamp(0, UTC))
    except CronSimError as error:
        raise ValueError(f"{quoted(written)} is no cron expression: {str(error).lower()}") from None
    return expression


def known_zone(written: str) -> str:
    """*written*, if this host knows a time zone of that name."""
    zone(written)
    return written


def zone(name: str) -> tzinfo:
    """
    The time zone *name*; of an empty name, this host's own.

    Raises:
        ValueError: This host knows no such zone.
    """
    if not name:
        return _hosts_own()
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        names = available_timezones()
    if not names:
        raise ValueError("this host knows no time zones at all: install its package tzdata")
    near = suggestion(name, names)
    example = near if "did you mean" in near else '; expected an IANA name, such as "Europe/Berlin"'
    raise ValueError(f"there is no time zone {quoted(name)}{example}")


def _hosts_own() -> tzinfo:
    """By ``$TZ`` if that names one, as in tzset(3), else by ``/etc/localtime``; a host without either keeps UTC."""
    named = os.environ.get("TZ", "").removeprefix(":")
    try:
        if named and not named.startswith("/"):
            return ZoneInfo(named)
        with Path(named or HOSTS_OWN).open("rb") as file:
            return ZoneInfo.from_file(file)
    except FileNotFoundError:
        return UTC
    except (KeyError, OSError, ValueError):
        raise ValueError(f"this host's own time zone can't be told ({named or HOSTS_OWN}); name it") from None
