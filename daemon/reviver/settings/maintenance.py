"""The array ``[[maintenance]]``: when people work on services, and recovery leaves them alone."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cronsim import CronSim

from reviver.model.services import Maintenance, Once, Recurring
from reviver.model.units import format_duration

from .moments import zone
from .problems import Place, quoted, suggestion
from .reading import Reading
from .tables import MaintenanceTable

ONCE: Final = ("from", "until")
RECURRING: Final = ("cron", "lasting", "timezone")
OPTIONAL: Final = frozenset({"timezone"})


def maintenance(reading: Reading, tables: object, services: Collection[str]) -> tuple[Maintenance, ...]:
    """The windows that *tables* say; those that are wrong are left out, and among the findings."""
    if not isinstance(tables, list):
        return ()
    found = []
    for i, table in enumerate(tables):
        if isinstance(table, Mapping) and (window := _window(reading, table, ("maintenance", i), services)):
            found.append(window)
    return tuple(found)


def _window(reading: Reading, table: Mapping[str, Any], place: Place, services: Collection[str]) -> Maintenance | None:
    typed = reading.typed(MaintenanceTable, table, place)
    known = _check_services(reading, table.get("services"), place, services)
    if not _check_form(reading, table, place) or typed is None or not known:
        return None
    when = _once(reading, typed, place) if "from_" in typed else _recurring(reading, typed, place)
    if when is None:
        return None
    return Maintenance(when=when, services=tuple(typed.get("services", ())), reason=typed.get("reason", ""))


def _check_services(reading: Reading, written: object, place: Place, services: Collection[str]) -> bool:
    names = [name for name in written if isinstance(name, str)] if isinstance(written, list) else []
    unknown = [name for name in names if name not in services]
    for name in unknown:
        text = f"there is no service {quoted(name)}{suggestion(name, services)}"
        reading.findings.error((*place, "services", names.index(name)), text)
    return not unknown


def _check_form(reading: Reading, table: Mapping[str, Any], place: Place) -> bool:
    """Whether it is one of the two forms, and whole."""
    once, recurring = ([key for key in form if key in table] for form in (ONCE, RECURRING))
    if once and recurring:
        text = f"a window is either once (from, until) or recurring (cron, lasting); {once[0]} is written, too"
        reading.findings.error((*place, recurring[0]), text)
        return False
    if not once and not recurring:
        reading.findings.error(place, "expected from and until (once), or cron and lasting (recurring)")
        return False
    written = once or recurring
    missing = [key for key in (ONCE if once else RECURRING) if key not in written and key not in OPTIONAL]
    for key in missing:
        reading.findings.error((*place, key), f"required key is missing beside {written[0]}")
    return not missing


def _once(reading: Reading, typed: Mapping[str, Any], place: Place) -> Once | None:
    begins, until = typed["from_"], typed["until"]
    if until <= begins:
        text = (
            f"the window ends {format_duration(begins - until)} before it begins" if until < begins else "it is empty"
        )
        reading.findings.error((*place, "until"), text)
        return None
    return Once(begins=begins, until=until)


def _recurring(reading: Reading, typed: Mapping[str, Any], place: Place) -> Recurring | None:
    when = Recurring(cron=typed["cron"], lasting=typed["lasting"], timezone=typed.get("timezone", ""))
    try:
        zone(when.timezone)
    except ValueError as error:
        reading.findings.error((*place, "timezone"), str(error))
        return None
    starts = CronSim(when.cron, datetime(2026, 1, 1, tzinfo=UTC))
    first, second = next(starts, None), next(starts, None)
    if first is None:
        reading.findings.error((*place, "cron"), f"{quoted(when.cron)} comes on no day of the next 50 years")
        return None
    pause = None if second is None else (second - first).total_seconds()
    if pause is not None and pause <= when.lasting:
        text = f"begins again after {format_duration(pause)}, so nothing is ever recovered between two windows"
        reading.findings.warn((*place, "lasting"), text)
    return when
