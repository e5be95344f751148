from pathlib import Path

import pytest

from reviver.model.faults import FaultKind
from reviver.model.services import Backoff, Budget, Criticality, DaemonPolicy, Jitter, Mode, Service, Strategy
from reviver.settings import DaemonSettings, SettingsError, load
from settings.samples import KINDS, Db, Ping, Restart, Wipe, problem, problems, read, warnings

TEN_MISTAKES = """\
[daemon]
listen = "7337"
mode = "atuo"

[services.db]
check = "db"
url = "db://here"
password = "hunter2"
interval = 5
port = "5433"
depnds_on = ["cache"]

[services.api]
check = "png"
depends_on = ["dbb"]

[services.tasks]
check = "queue"
service = "db"

[[services.tasks.recovery]]
name = "restart"
faults = [
  "backlog",  # fine
  "backlogg",
]
steps = [
  { action = "systemd.restart",
    units = "workers.service" },
]
"""


def test_a_settings_file_with_ten_mistakes_and_more_gives_all_of_them_with_the_right_lines() -> None:
    assert problems(TEN_MISTAKES) == [
        '2: daemon.listen: expected HOST:PORT, such as "127.0.0.1:7337" or "[::1]:7337", found "7337"',
        '3: daemon.mode: "atuo" is unknown here; did you mean "auto"?',
        (
            '8: services.db.password: expected a reference such as { env = "NAME" }, { file = "/path" } or '
            '{ credential = "name" }, found a string: a secret never stands in this file itself'
        ),
        '9: services.db.interval: expected a duration with a unit, found 5; did you mean "5s"?',
        '10: services.db.port: expected a whole number, found "5433"; did you mean 5433?',
        '11: services.db.depnds_on: unknown key; did you mean "depends_on"?',
        '14: services.api.check: "png" is no kind of check; did you mean "ping"?',
        '15: services.api.depends_on[0]: there is no service "dbb"; did you mean "db"?',
        "17: services.tasks.stream: required key is missing",
        '25: services.tasks.recovery[0].faults[1]: "backlogg" is no fault of check "queue"; did you mean "backlog"?',
        "28: services.tasks.recovery[0].steps[0].unit: required key is missing",
        '29: services.tasks.recovery[0].steps[0].units: unknown key; did you mean "unit"?',
    ]


def test_a_whole_file_becomes_typed_settings() -> None:
    settings = read(
        """
        [daemon]
        listen = "[::1]:0"
        state_dir = "/srv/reviver"
        log_level = "debug"
        mode = "approve"
        at_once = 2
        budget = { attempts = 9, per = "1h" }
        evidence_within = "500ms"

        [services.db]
        check = "db"
        url = "db://here"
        password = { env = "PASSWORD" }
        interval = "10s"
        timeout = "1500ms"
        fall = 2
        criticality = "critical"
        budgets = [{ attempts = 1, per = "1d" }]
        retry_after = "2h"
        unit = "db.service"

        [services.api]
        check = "ping"
        address = "here:80"
        depends_on = ["db"]

        [[services.db.recovery]]
        name = "restart"
        faults = ["timeout", "unreachable"]
        after = "0s"
        attempts = 2
        backoff = { initial = "1s", jitter = "none" }
        steps = [{ action = "systemd.restart", unit = "db.service", timeout = "5m" }, { action = "wipe" }]
        verify = [{ check = "db", port = 1 }]
        verify_within = "2m"
        """,
        secrets={"PASSWORD": "hunter2"},
    )
    assert settings.daemon == DaemonSettings(
        listen="[::1]:0",
        state_dir=Path("/srv/reviver"),
        control_socket=Path("/srv/reviver/control.sock"),
        freeze_file=Path("/srv/reviver/FREEZE"),
        log_level="debug",
        policy=DaemonPolicy(mode=Mode.APPROVE, at_once=2, budget=Budget(attempts=9, per=3600.0), evidence_within=0.5),
    )
    assert list(settings.services) == ["db", "api"]
    assert settings.services["api"] == Service(
        name="api", kind="ping", check=Ping(address="here:80"), depends_on=("db",)
    )
    db = settings.services["db"]
    assert isinstance(db.check, Db)
    assert db.check.password is not None
    assert db.check.password.reveal() == "hunter2"
    assert (db.interval, db.timeout, db.fall, db.rise) == (10.0, 1.5, 2, 3)
    assert (db.criticality, db.budgets) == (Criticality.CRITICAL, (Budget(attempts=1, per=86400.0),))
    assert (db.retry_after, db.unit) == (7200.0, "db.service")
    [rung] = db.strategies
    assert (rung.name, rung.after, rung.attempts) == ("restart", 0.0, 2)
    assert rung.faults == {FaultKind.TIMEOUT, FaultKind.UNREACHABLE}
    assert rung.backoff == Backoff(initial=1.0, jitter=Jitter.NONE)
    assert [(step.kind, step.action, step.timeout) for step in rung.steps] == [
        ("systemd.restart", Restart(unit="db.service"), 300.0),
        ("wipe", Wipe(), 90.0),
    ]
    [verification] = rung.verify
    assert isinstance(verification.check, Db)
    assert (verification.kind, verification.timeout, verification.check.port) == ("db", 1.5, 1)
    assert (verification.check.url, verification.check.password) == ("db://here", db.check.password)
    assert rung.verify_within == 120.0
    assert settings.warnings == ()


def test_what_is_not_written_has_the_defaults_of_the_model() -> None:
    settings = read('services.a = { check = "ping", address = "x" }')
    assert settings.services["a"] == Service(name="a", kind="ping", check=Ping(address="x"))
    assert settings.daemon.policy == DaemonPolicy()
    assert settings.daemon.listen == "127.0.0.1:7337"
    strategy = 'recovery = [{ name = "r", faults = ["timeout"], steps = [{ action = "systemd.restart", unit = "u" }] }]'
    [rung] = read(f'services.a = {{ check = "ping", address = "x", {strategy} }}').services["a"].strategies
    assert rung == Strategy(name="r", faults=rung.faults, steps=rung.steps)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[daemon]\nat_once = ", "2: not valid TOML: invalid value (column 11)"),
        ('[a]\n[services.db]\nx = 1\n[services.db]\ny = "', "4: the table [services.db] is written twice"),
        ("a = 1\na = 2", "2: the same key is written twice in one table"),
        (
            "[services.a]\ninterval = 5s",
            '2: not valid TOML: a text stands in quotation marks; did you mean "5s"?',
        ),
        (
            "[services.a]\ncheck = postgres # it is",
            '2: not valid TOML: a text stands in quotation marks; did you mean "postgres"?',
        ),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, told: str) -> None:
    assert problem(text) == told


def test_toml_1_1_with_newlines_in_inline_tables_is_taken() -> None:
    settings = read('services.a = {\n  check = "ping",\n  address = "x",\n}\n')
    assert "a" in settings.services


def test_a_file_that_cannot_be_read_is_told_without_a_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "none.toml", KINDS)
    assert str(caught.value) == f"{tmp_path}/none.toml: can't be read: No such file or directory"


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "reviver.toml"
    path.write_bytes(b"# a\n# \xff\n")
    with pytest.raises(SettingsError) as caught:
        load(path, KINDS)
    assert str(caught.value) == f"{path}:2: isn't UTF-8 text"


def test_a_file_is_read_from_disk_with_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "reviver.toml"
    path.write_bytes(b'[services.a]\r\ncheck = "ping"\r\naddress = "x"\r\n')
    settings = load(path, KINDS)
    assert (settings.path, list(settings.services)) == (path, ["a"])


def test_an_unknown_table_is_an_error() -> None:
    assert problem("\n[service.db]\n") == '2: service: unknown key; did you mean "services"?'


def test_a_file_without_services_is_doubtful_not_wrong() -> None:
    assert warnings("") == ["1: there is no service: nothing is watched; add a table [services.NAME]"]


def test_tables_of_the_wrong_type_are_told_and_end_nothing() -> None:
    assert problems('daemon = 5\n[services]\na = "x"\nb = []\n') == [
        "1: daemon: expected a table, found a number",
        "3: services.a: expected a table, found a string",
        "4: services.b: expected a table, found an empty array",
    ]


@pytest.mark.parametrize("listen", ["7337", ":7337", "localhost", "localhost:http", "::1:7337", "h:65536", "h:-1"])
def test_an_address_without_host_or_port_is_an_error(listen: str) -> None:
    assert problem(f'daemon.listen = "{listen}"').startswith("1: daemon.listen: expected HOST:PORT")


@pytest.mark.parametrize("listen", ["127.0.0.1:7337", "localhost:0", "[::1]:7337", "0.0.0.0:65535"])
def test_an_address_with_host_and_port_is_taken(listen: str) -> None:
    assert read(f'daemon.listen = "{listen}"').daemon.listen == listen


def test_what_is_nested_beyond_reason_is_refused_and_ends_nothing() -> None:
    assert str(_refused("[services]\na = " + "[" * 300 + "]" * 300)) == "reviver.toml:2: nested too deeply"
    assert str(_refused("a = " + "[" * 5000)) == "reviver.toml:1: arrays or tables are nested too deeply"


def _refused(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read(text)
    return caught.value


def test_a_number_without_end_is_refused() -> None:
    assert str(_refused("[daemon]\na = [0x" + "f" * 5000 + "]")) == "reviver.toml:2: a number of more than 64 bits"
