"""Maintenance windows against a scan of every minute, and against clocks that are set."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from reviver.model.services import Maintenance, Once, Recurring
from reviver.supervisor.calendar import Calendar, Repeated

DAY = 86400.0
YEAR = 365.25 * DAY
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def weekly(**changes: object) -> Maintenance:
    when = {"cron": "0 2 * * SUN", "lasting": 7200.0, "timezone": "Europe/Berlin"} | changes
    return Maintenance(when=Recurring(**when), reason="weekly vacuum")  # type: ignore[arg-type]


def ends(window: Maintenance, *moments: str) -> list[str | None]:
    """When the window ends that is under way at each of *moments*, in Berlin."""
    asked = Calendar([window])
    found = [asked.under_way("db", at(moment)) for moment in moments]
    return [None if each is None else f"{datetime.fromtimestamp(each.until, BERLIN):%d %H:%M}" for each in found]


def test_a_window_that_comes_once_holds_from_its_first_second_to_before_its_last() -> None:
    once = Maintenance(when=Once(begins=at("2026-12-01T02:00+01:00"), until=at("2026-12-01T04:00+01:00")))
    moments = (
        "2026-12-01T01:59:59+01:00",
        "2026-12-01T01:00:00Z",
        "2026-12-01T03:59:59+01:00",
        "2026-12-01T04:00+01:00",
    )
    assert ends(once, *moments) == [None, "01 04:00", "01 04:00", None]


def test_a_window_that_recurs_holds_in_its_own_time_zone() -> None:
    moments = (
        "2026-11-22T01:59:59+01:00",
        "2026-11-22T02:00+01:00",
        "2026-11-22T03:59+01:00",
        "2026-11-22T04:00+01:00",
    )
    assert ends(weekly(), *moments) == [None, "22 04:00", "22 04:00", None]
    assert ends(weekly(), "2026-07-05T00:30Z", "2026-07-05T02:30Z") == ["05 04:00", None]


def test_a_start_that_the_clocks_skip_comes_right_after_the_gap_and_lasts_real_hours() -> None:
    skipped = weekly(cron="30 2 * * *")  # there is no 02:30 on 2026-03-29
    moments = (
        "2026-03-29T01:59:59+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-29T04:59:59+02:00",
        "2026-03-29T05:00+02:00",
    )
    assert ends(skipped, *moments) == [None, "29 05:00", "29 05:00", None]


def test_a_start_that_the_clocks_repeat_comes_once() -> None:
    repeated = weekly(cron="30 2 * * *", lasting=600.0)  # 02:30 comes twice on 2026-10-25
    moments = ("2026-10-25T02:35+02:00", "2026-10-25T02:35+01:00", "2026-10-26T02:35+01:00")
    assert ends(repeated, *moments) == ["25 02:40", None, "26 02:40"]


def test_a_window_across_the_change_lasts_as_long_as_it_says() -> None:
    night = weekly(cron="0 0 * * SUN", lasting=4 * 3600.0)
    assert ends(night, "2026-03-29T04:59+02:00", "2026-03-29T05:00+02:00") == ["29 05:00", None]
    assert ends(night, "2026-10-25T02:59+01:00", "2026-10-25T03:00+01:00") == ["25 03:00", None]


def test_of_several_windows_the_one_that_ends_last_is_told_and_others_services_are_not_meant() -> None:
    long = Maintenance(when=Recurring(cron="0 0 * * *", lasting=3600.0, timezone="UTC"), reason="long")
    short = Maintenance(when=Recurring(cron="0 0 * * *", lasting=60.0, timezone="UTC"), reason="short")
    other = Maintenance(when=long.when, services=("api",), reason="other")
    asked = Calendar([short, long, other])
    found = asked.under_way("db", at("2026-11-25T00:00:30Z"))
    assert found is not None
    assert found.told == "until 2026-11-25 01:00 UTC: long"
    assert Calendar([other]).under_way("db", at("2026-11-25T00:00:30Z")) is None
    assert Calendar([other]).under_way("api", at("2026-11-25T00:00:30Z")) is not None


# ---------------------------------------------------------------------------------- against a scan of every minute

Fields = tuple[str, str, str, str, str]


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    few = st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda each: ",".join(map(str, each)))
    return st.one_of(st.just("*"), few, st.integers(2, 12).map(lambda step: f"*/{step}"))


crons: st.SearchStrategy[Fields] = st.tuples(
    numbers(0, 59), numbers(0, 23), st.one_of(st.just("*"), numbers(24, 31)), st.just("*"), numbers(0, 6)
)
CHANGES = [  # zone, a moment near which the clocks change; where that is at midnight or by half an hour, cronsim errs
    ("Europe/Berlin", "2026-03-29T01:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00Z"),  # by two hours
    ("America/New_York", "2026-03-08T07:00Z"),
    ("UTC", "2026-03-29T01:00Z"),
]


def allows(field: str, low: int, high: int) -> set[int]:
    if field == "*":
        return set(range(low, high + 1))
    if field.startswith("*/"):
        return set(range(low, high + 1, int(field[2:])))
    return set(map(int, field.split(",")))


class Job:
    """A line of crontab(5)."""

    def __init__(self, cron: Fields) -> None:
        minute, hour, day, _month, weekday = cron
        self.minutes, self.hours = allows(minute, 0, 59), allows(hour, 0, 23)
        self.days, self.weekdays = allows(day, 1, 31), allows(weekday, 0, 6)
        self.both = day.startswith("*") or weekday.startswith("*")
        self.fixed = not minute.startswith("*") and not hour.startswith("*")

    def matches(self, local: datetime) -> bool:
        if local.minute not in self.minutes or local.hour not in self.hours:
            return False
        by_day, by_weekday = local.day in self.days, (local.weekday() + 1) % 7 in self.weekdays
        return (by_day and by_weekday) if self.both else (by_day or by_weekday)


def starts(cron: Fields, zone: ZoneInfo, begin: datetime, minutes: int) -> list[float]:
    """
    When a cron daemon that looks at its clock each minute starts the job: Debian's crontab(5).

    A job by the hour goes by what the clock shows. One at fixed times makes up for minutes that were skipped, at once,
    and does not run again in those that are repeated.
    """
    job, found = Job(cron), []
    shown = begin.astimezone(zone).replace(tzinfo=None)  # the latest that the clock has shown
    for n in range(minutes):
        now = begin + timedelta(minutes=n)
        local = now.astimezone(zone).replace(tzinfo=None)
        if not job.fixed:
            due = job.matches(local)
        else:
            new = int((local - shown) / timedelta(minutes=1))  # 1, or more after a gap, or less in a repetition
            due = any(job.matches(local - timedelta(minutes=back)) for back in range(new))
        shown = max(shown, local)
        if due:
            found.append(now.timestamp())
    return found


@given(cron=crons, change=st.sampled_from(CHANGES), lasting=st.integers(1, 2000))
@settings(max_examples=40, deadline=None)
def test_membership_is_that_of_a_scan_of_every_minute_over_a_change_of_the_clocks(
    cron: Fields, change: tuple[str, str], lasting: int
) -> None:
    name, moment = change
    try:
        CronSim(" ".join(cron), datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:  # a day that never comes
        return
    begin, minutes = datetime.fromisoformat(moment) - timedelta(days=4), 6 * 1440
    began = starts(cron, ZoneInfo(name), begin, minutes)
    window = Repeated(Recurring(cron=" ".join(cron), lasting=lasting * 60.0, timezone=name))
    scanned = 0
    latest: float | None = None
    for n in range(2 * 1440, minutes):  # two days before to two days after
        wall = begin.timestamp() + n * 60.0
        while scanned < len(began) and began[scanned] <= wall:
            latest = began[scanned]
            scanned += 1
        expected = latest + lasting * 60.0 if latest is not None and wall < latest + lasting * 60.0 else None
        assert window.ends(wall) == expected, datetime.fromtimestamp(wall, UTC)


@given(walls=st.lists(st.integers(0, int(80 * YEAR)), min_size=1, max_size=8), cron=crons)
@settings(max_examples=60, deadline=None)
def test_a_clock_that_jumps_anywhere_finds_what_a_fresh_calendar_finds(walls: Sequence[int], cron: Fields) -> None:
    try:
        window = Repeated(Recurring(cron=" ".join(cron), lasting=5400.0, timezone="Europe/Berlin"))
        for wall in walls:
            fresh = Repeated(Recurring(cron=" ".join(cron), lasting=5400.0, timezone="Europe/Berlin"))
            assert window.ends(wall) == fresh.ends(wall)
    except CronSimError:
        return


@pytest.mark.parametrize("cron", ["* * * * *", "0 2 * * SUN", "0 0 29 2 */7", "*/7 * 1 1 */7"])
def test_a_look_costs_microseconds_and_a_jump_of_ten_years_milliseconds(cron: str) -> None:
    asked = Calendar([weekly(cron=cron, lasting=60.0)] * 10)
    now = at("2026-11-25T10:00:30Z")

    def cost(*walls: float) -> float:
        began = time.perf_counter()
        for wall in walls:
            asked.ends(wall)
        return (time.perf_counter() - began) / len(walls) / 10

    cost(now)
    assert min(cost(*[now] * 200) for _ in range(5)) < 20e-6
    assert min(cost(now + 10 * YEAR * sign) for sign in (1, -1) for _ in range(3)) < 50e-3


def test_moments_out_of_the_ordinary_are_looked_at_without_harm() -> None:
    asked = Calendar([weekly(), Maintenance(when=Once(begins=0.0, until=4e11))])
    for wall in (-1e12, -1.0, 0.0, 1e11, 2.5e11, 1e15):
        asked.under_way("db", wall)
    found = asked.under_way("db", at("2026-11-25T10:00Z"))
    assert found is not None
    assert found.until == 4e11


def test_the_hosts_own_zone_is_that_of_tz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    daily = weekly(cron="0 2 * * *", timezone="")
    asked = Calendar([daily])
    assert asked.under_way("db", at("2026-11-24T17:30Z")) is not None
    assert asked.under_way("db", at("2026-11-25T02:30Z")) is None
