import pytest

from reviver.model.services import Mode
from settings.samples import problem, problems, read, warnings

SERVICE = '[services.a]\ncheck = "db"\nurl = "db://x"\n[[services.a.recovery]]\n'
NAME = 'name = "r"\n'
FAULTS = 'faults = ["timeout"]\n'
STEPS = 'steps = [{ action = "systemd.restart", unit = "u" }]\n'
WIPE = 'steps = [{ action = "systemd.restart", unit = "u" }, { action = "wipe" }]\n'


@pytest.mark.parametrize(
    ("steps", "mode", "expected"),
    [
        (STEPS, "", Mode.AUTO),
        (WIPE, "", Mode.APPROVE),
        (WIPE, 'mode = "auto"\n', Mode.AUTO),
        (STEPS, 'mode = "observe"\n', Mode.OBSERVE),
    ],
)
def test_a_strategy_asks_a_person_first_if_it_destroys_unless_told_otherwise(
    steps: str, mode: str, expected: Mode
) -> None:
    settings = read(f'daemon.mode = "observe"\n{SERVICE}{NAME}{FAULTS}{steps}{mode}')
    assert settings.services["a"].strategies[0].mode is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FAULTS + STEPS, "4: services.a.recovery[0].name: required key is missing"),
        ('name = ""\n' + FAULTS + STEPS, '5: services.a.recovery[0].name: expected a text that isn\'t empty, found ""'),
        (NAME + STEPS, "4: services.a.recovery[0].faults: required key is missing"),
        (NAME + "faults = []\n" + STEPS, "6: services.a.recovery[0].faults: expected at least 1, found an empty array"),
        (NAME + FAULTS, "4: services.a.recovery[0].steps: required key is missing"),
        (
            NAME + FAULTS + "steps = []\n",
            "7: services.a.recovery[0].steps: expected at least 1, found an empty array",
        ),
        (
            NAME + 'faults = ["backlog"]\n' + STEPS,
            (
                '6: services.a.recovery[0].faults[0]: "backlog" is no fault of check "db"; '
                'there are "auth_failed", "schema_drift", "timeout", "unreachable"'
            ),
        ),
        (
            NAME + FAULTS + "steps = [{}]\n",
            "7: services.a.recovery[0].steps[0].action: required key is missing",
        ),
        (
            NAME + FAULTS + 'steps = [{ action = "restart" }]\n',
            (
                '7: services.a.recovery[0].steps[0].action: "restart" is no kind of action; '
                'did you mean "systemd.restart"?'
            ),
        ),
        (
            NAME + FAULTS + 'steps = [{ action = "wipe", timeout = 5 }]\n',
            '7: services.a.recovery[0].steps[0].timeout: expected a duration with a unit, found 5; did you mean "5s"?',
        ),
        (
            NAME + FAULTS + STEPS + 'verify = [{ check = "pong" }]\n',
            '8: services.a.recovery[0].verify[0].check: "pong" is no kind of check; did you mean "ping"?',
        ),
        (
            NAME + FAULTS + STEPS + 'verify = [{ check = "ping", addrezz = "x" }]\n',
            "8: services.a.recovery[0].verify[0].address: required key is missing",
        ),
        (
            NAME + FAULTS + STEPS + "backoff = { factor = 0.5 }\n",
            "8: services.a.recovery[0].backoff.factor: expected 1 or more, found 0.5",
        ),
    ],
)
def test_a_strategy_that_could_not_run_is_an_error(text: str, told: str) -> None:
    assert told in problems(SERVICE + text)


def test_two_strategies_of_one_service_have_two_names() -> None:
    rung = f"[[services.a.recovery]]\n{NAME}{FAULTS}{STEPS}"
    text = SERVICE + NAME + FAULTS + STEPS + rung
    assert problem(text) == '9: services.a.recovery[1].name: "r" is the name of recovery[0], too'


def test_strategies_of_two_services_may_have_one_name() -> None:
    text = SERVICE + NAME + FAULTS + STEPS
    assert problems(text + text.replace("services.a", "services.b")) == []


def test_faults_are_judged_even_when_the_kind_of_check_is_unknown() -> None:
    text = (SERVICE + NAME + 'faults = ["timeoutt"]\n' + STEPS).replace('"db"', '"dbb"')
    assert problems(text) == [
        '2: services.a.check: "dbb" is no kind of check; did you mean "db"?',
        '6: services.a.recovery[0].faults[0]: "timeoutt" is no fault; did you mean "timeout"?',
    ]


def test_a_verification_asks_as_long_as_its_service_unless_told_otherwise() -> None:
    verify = 'verify = [{ check = "db" }, { check = "db", timeout = "9s" }]\n'
    text = (SERVICE + NAME + FAULTS + STEPS + verify).replace("[[", 'timeout = "7s"\n[[')
    [rung] = read(text).services["a"].strategies
    assert [each.timeout for each in rung.verify] == [7.0, 9.0]


def test_a_verification_borrows_what_its_service_has_borrowed() -> None:
    text = """
    [services.db]
    check = "db"
    url = "db://here"
    [services.tasks]
    check = "queue"
    service = "db"
    stream = "tasks"
    [[services.tasks.recovery]]
    name = "r"
    faults = ["backlog"]
    steps = [{ action = "wipe" }]
    verify = [{ check = "queue", stream = "other" }]
    """
    [rung] = read(text).services["tasks"].strategies
    assert (rung.verify[0].check.url, rung.verify[0].check.stream) == ("db://here", "other")  # type: ignore[attr-defined]


def test_what_a_verification_sets_itself_is_not_borrowed() -> None:
    verify = 'verify = [{ check = "db", url = "db://there" }]\n'
    [rung] = read(SERVICE + NAME + FAULTS + STEPS + verify).services["a"].strategies
    assert rung.verify[0].check.url == "db://there"  # type: ignore[attr-defined]


def test_a_wrong_value_that_a_verification_borrows_at_second_hand_is_told_once_where_it_stands() -> None:
    text = """\
[services.db]
check = "db"
url = 5
[services.tasks]
check = "queue"
service = "db"
stream = "tasks"
[[services.tasks.recovery]]
name = "r"
faults = ["backlog"]
steps = [{ action = "wipe" }]
verify = [{ check = "queue", stream = "other" }]
"""
    assert problem(text) == '3: services.db.url: expected a string, found 5; did you mean "5"?'


def test_a_restart_for_a_fault_that_no_restart_heals_is_doubtful() -> None:
    faults = 'faults = ["timeout", "auth_failed"]\n'
    assert warnings(SERVICE + NAME + faults + STEPS) == [
        '6: services.a.recovery[0].faults[1]: a restart doesn\'t heal "auth_failed": the credentials are wrong'
    ]
    [warning] = warnings(SERVICE + NAME + faults + 'steps = [{ action = "command", argv = ["x"] }]')
    assert warning.startswith("6: services.a.recovery[0].faults[1]: if the command restarts the service, ")
    assert warnings(SERVICE + NAME + faults + 'steps = [{ action = "wipe" }]') == []
