"""``reviver replay``: what other settings would have made of the recorded past."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from .exits import FAILED, OK, USAGE, Stop
from .options import Config, Json, settings_from
from .output import Row, clock, print_json, print_table, say, seconds

if TYPE_CHECKING:
    from reviver.replay.past import Gap
    from reviver.replay.report import Report, Told, Totals

Journal = Annotated[
    Path | None,
    Parameter(name="--journal", help="The journal's file. Default: journal.db where the settings put it."),
]
Last = Annotated[
    str, Parameter(name="--last", metavar="DURATION", show_default=True, help="How far back, such as 30d.")
]
Services = Annotated[
    tuple[str, ...], Parameter(name="--service", help="Tell of this service only; may be given several times.")
]

HEADERS: Final = ("SERVICE", "SINCE", "FAULT", "NOTICED", "FIRST ACTION", "WHAT")
"""``NOTICED`` and ``FIRST ACTION`` say how long after the beginning of the failure."""
GAPS_SHOWN: Final = 10
SHORT: Final = 0.98
"""The share of the time asked for below which it is said that less is recorded."""


def replay(
    *, config: Config = None, journal: Journal = None, last: Last = "30d", service: Services = (), json: Json = False
) -> int:
    """
    Drive the recorded past through other settings: what would they have noticed, done, left alone?

    Nothing is done, no target is asked, and the journal is only read, whether a daemon runs or not. Secrets are not
    looked up. See docs/replay.md for what a replay can't tell.
    """
    from reviver.model.journal import JournalError
    from reviver.replay import report

    wanted = _seconds(last)
    settings = settings_from(config, resolve_secret=lambda _reference: "not looked up")
    for name in service:
        if name not in settings.services:
            raise Stop(f'there is no service "{name}"; there are: {", ".join(settings.services)}', USAGE)
    path = journal or settings.daemon.state_dir / "journal.db"
    try:
        found = report.replay(path, settings.services, settings.daemon.policy, last=wanted, only=service)
    except JournalError as error:
        raise Stop(str(error), FAILED) from error
    if json:
        print_json({"journal": str(path), "config": str(settings.path), "asked_seconds": wanted, **asdict(found)})
        return OK
    if found.incidents:
        print_table(HEADERS, [_row(each) for each in found.incidents])
        print()
    print_table(("TOTAL", "THEN", "WITH THESE SETTINGS"), _side_by_side(found.then, found.now))
    _say_what_is_missing(found, wanted)
    return OK


def _seconds(text: str) -> float:
    from reviver.model.units import parse_duration

    try:
        found = parse_duration(text)
    except ValueError as error:
        raise Stop(f'--last "{text}": {error}', USAGE) from error
    if found <= 0:
        raise Stop(f'--last "{text}": expected a duration above zero', USAGE)
    return found


def _row(told: "Told") -> Row:
    first = told.actions[0] if told.actions else None
    observed = "would tell of " if first is not None and first.observed else ""
    lines = [f"{each.strategy}: {each.why}" for each in told.actions]
    return (
        told.service,
        clock(told.since),
        told.fault,
        seconds(told.noticed_after),
        "" if first is None else f"{seconds(first.at - told.since)}: {observed}{first.strategy}",
        [*lines, told.outcome],
    )


def _side_by_side(then: "Totals", now: "Totals") -> list[Row]:
    rows: list[tuple[str, str, str]] = [
        ("incidents", str(then.incidents), str(now.incidents)),
        ("failures left alone", str(then.left_alone), str(now.left_alone)),
        *_counted("attempts", then.attempts, now.attempts),
        ("  needless", _count(then.needless), _count(now.needless)),
        ("only observed", str(then.observed), str(now.observed)),
        *_counted("held", then.held, now.held),
        ("handed over", str(then.handed_over), str(now.handed_over)),
        ("down for sure after, p50", seconds(then.detected_p50), seconds(now.detected_p50)),
        ("down for sure after, p99", seconds(then.detected_p99), seconds(now.detected_p99)),
    ]
    return list(rows)


def _counted(what: str, then: Mapping[str, int], now: Mapping[str, int]) -> list[tuple[str, str, str]]:
    names = dict.fromkeys([*then, *now])
    each = [(f"  {name}", str(then.get(name, 0)), str(now.get(name, 0))) for name in names]
    return [(what, str(sum(then.values())), str(sum(now.values()))), *each]


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _say_what_is_missing(found: "Report", wanted: float) -> None:
    covered = found.until - found.since
    say(f"\nfrom {clock(found.since)} to {clock(found.until)}: {seconds(covered)}")
    if covered < SHORT * wanted:
        say(f"the history is shorter than the {seconds(wanted)} asked for")
    for text, names in (
        ("in the settings, not in the history", found.without_history),
        ("in the history, not in the settings", found.not_in_settings),
    ):
        if names:
            say(f"{text}: {', '.join(names)}")
    _say_gaps(found.gaps)


def _say_gaps(gaps: "Sequence[Gap]") -> None:
    from reviver.incidents.history import Begun

    words = {Begun.START: "was not watched", Begun.STALL: "was not watched: reviver was late, or the host slept"}
    longest = sorted(gaps, key=lambda gap: gap.since - gap.until)
    for gap in longest[:GAPS_SHOWN]:
        say(f"{gap.service} {words[gap.why]} for {seconds(gap.until - gap.since)} from {clock(gap.since)}")
    if len(longest) > GAPS_SHOWN:
        rest: Any = sum(gap.until - gap.since for gap in longest[GAPS_SHOWN:])
        say(f"and {len(longest) - GAPS_SHOWN} shorter gaps, {seconds(rest)} together")
