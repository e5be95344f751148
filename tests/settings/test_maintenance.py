"""The array [[maintenance]], and the keys by which reviver learns that others are at work."""

from datetime import UTC, datetime

import pytest

from reviver.model.services import Maintenance, Once, Recurring
from settings.samples import problem, problems, read, warnings

SERVICES = '\n[services.db]\ncheck = "ping"\naddress = "x"\n[services.api]\ncheck = "ping"\naddress = "x"\n'


def told(*lines: str) -> list[str]:
    """What is wrong with the window that *lines* say."""
    return problems("[[maintenance]]\n" + "\n".join(lines) + SERVICES)


def test_a_window_is_read_with_its_services_and_its_reason() -> None:
    settings = read(
        """
        [[maintenance]]
        services = ["db"]
        from = "2026-12-01T02:00:00+01:00"
        until = "2026-12-01T03:00:00Z"
        reason = "storage upgrade"
        [[maintenance]]
        cron = "0 2 * * SUN"
        lasting = "2h"
        timezone = "Europe/Berlin"
        """
        + SERVICES
    )
    once = Once(
        begins=datetime(2026, 12, 1, 1, tzinfo=UTC).timestamp(),
        until=datetime(2026, 12, 1, 3, tzinfo=UTC).timestamp(),
    )
    weekly = Recurring(cron="0 2 * * SUN", lasting=7200.0, timezone="Europe/Berlin")
    assert settings.daemon.policy.maintenance == (
        Maintenance(when=once, services=("db",), reason="storage upgrade"),
        Maintenance(when=weekly),
    )


BEGINS, ENDS, DAILY, LASTING = (
    'from = "2026-12-01T04:00:00Z"',
    'until = "2026-12-01T06:00:00Z"',
    'cron = "@daily"',
    'lasting = "2h"',
)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (('from = "2026-12-01T02:00:00"', ENDS), "2: maintenance[0].from: expected a time with its offset (or Z)"),
        (('from = "tonight"', ENDS), "2: maintenance[0].from: expected a time such as"),
        ((BEGINS, ENDS.replace("06", "02")), "3: maintenance[0].until: the window ends 2 h before it begins"),
        ((BEGINS, 'until = "2026-12-01T05:00:00+01:00"'), "3: maintenance[0].until: it is empty"),
        ((BEGINS,), "1: maintenance[0].until: required key is missing beside from"),
        ((DAILY,), "1: maintenance[0].lasting: required key is missing beside cron"),
        (('timezone = "UTC"', LASTING), "1: maintenance[0].cron: required key is missing beside"),
        (('reason = "x"',), "1: maintenance[0]: expected from and until (once), or cron and lasting (recurring)"),
        ((BEGINS, ENDS, LASTING), "4: maintenance[0].lasting: a window is either once (from, until) or recurring"),
        (('cron = "0 2 * * SUM"', LASTING), '2: maintenance[0].cron: "0 2 * * SUM" is no cron expression: bad day-of'),
        (('cron = "0 0 31 2 *"', LASTING), '2: maintenance[0].cron: "0 0 31 2 *" is no cron expression: bad day-of-'),
        (('cron = "0 2 * *"', LASTING), "2: maintenance[0].cron: expected five fields"),
        (('cron = "0 0 2 * * *"', LASTING), "2: maintenance[0].cron: expected five fields"),
        (('cron = "@reboot"', LASTING), "2: maintenance[0].cron: expected five fields"),
        ((DAILY, 'lasting = "0s"'), "3: maintenance[0].lasting: expected a duration above zero"),
        (
            (DAILY, LASTING, 'timezone = "Europe/Berln"'),
            '4: maintenance[0].timezone: there is no time zone "Europe/Berln"; did you mean "Europe/Berlin"?',
        ),
        ((DAILY, LASTING, 'timezone = "../etc/passwd"'), "4: maintenance[0].timezone: there is no time zone"),
        (
            (DAILY, LASTING, 'services = ["dbb"]'),
            '4: maintenance[0].services[0]: there is no service "dbb"; did you mean "db"?',
        ),
        ((DAILY, LASTING, 'raeson = "x"'), '4: maintenance[0].raeson: unknown key; did you mean "reason"?'),
    ],
)
def test_what_is_wrong_is_told_at_its_line_and_key(lines: tuple[str, ...], expected: str) -> None:
    [line] = told(*lines)
    assert line.startswith(expected)


def test_all_windows_are_looked_through() -> None:
    found = problems('[[maintenance]]\ncron = "x"\nlasting = "1h"\n[[maintenance]]\nreason = "x"\n' + SERVICES)
    assert [line.partition(": ")[0] for line in found] == ["2", "4"]


def test_what_is_no_array_of_tables_is_told() -> None:
    assert problem("maintenance = 1\n" + SERVICES).startswith("1: maintenance: expected an array")
    assert problem("maintenance = [1]\n" + SERVICES).startswith("1: maintenance[0]: expected a table")


def test_windows_without_a_pause_between_them_raise_a_doubt() -> None:
    text = '[[maintenance]]\ncron = "@hourly"\nlasting = "{}"\ntimezone = "UTC"\n' + SERVICES
    assert warnings(text.format("59m")) == []
    assert warnings(text.format("1h")) == [
        "3: maintenance[0].lasting: begins again after 1 h, so nothing is ever recovered between two windows"
    ]


def test_where_the_hosts_own_zone_cannot_be_told_it_is_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    [line] = told('cron = "@daily"', 'lasting = "2h"')
    assert line.startswith("1: maintenance[0].timezone: this host's own time zone can't be told (CET-1CEST")
    assert told('cron = "@daily"', 'lasting = "2h"', 'timezone = "UTC"') == []
    assert told('from = "2026-12-01T02:00:00Z"', 'until = "2026-12-01T04:00:00Z"') == []


def test_the_keys_of_locks_and_deploys_are_taken_and_have_their_defaults() -> None:
    settings = read(
        '[daemon]\nlock_file = "/run/lock/host"\nlock_expires = "30m"\n'
        '[services.a]\ncheck = "ping"\naddress = "x"\nlock_file = "/run/lock/a"\ndeployed = ["/opt/a"]\n'
        'container = "a-1"\nsettle = "0s"\n[services.b]\ncheck = "ping"\naddress = "x"\n'
    )
    assert (settings.daemon.policy.lock_file, settings.daemon.policy.lock_expires) == ("/run/lock/host", 1800.0)
    a, b = settings.services["a"], settings.services["b"]
    assert (a.lock_file, a.deployed, a.container, a.settle) == ("/run/lock/a", ("/opt/a",), "a-1", 0.0)
    assert (b.lock_file, b.deployed, b.container, b.settle) == (None, (), None, 600.0)
    assert read("[daemon]\n" + SERVICES).daemon.policy.lock_expires == 3600.0


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ('lock_file = "run/lock"', "expected an absolute path"),
        ('deployed = ["/opt/a", "current"]', "expected an absolute path"),
        ('container = ""', "expected a text that isn't empty"),
        ("settle = 600", "expected a duration with a unit"),
    ],
)
def test_what_is_wrong_with_them_is_told(key: str, expected: str) -> None:
    assert expected in problem('[services.a]\ncheck = "ping"\naddress = "x"\n' + key)
