import pytest

from settings.samples import Db, Queue, problem, problems, read, warnings

PING = '{ check = "ping", address = "x" }'


def test_a_service_without_a_check_is_told_which_there_are() -> None:
    assert problem("[services.a]\n") == '1: services.a.check: required key is missing; there are "db", "ping", "queue"'


@pytest.mark.parametrize("name", ["Db", "1db", "-db", '"a b"', '"ä"', '"a\\nb"'])
def test_a_service_has_a_plain_name(name: str) -> None:
    assert "expected a name of lower-case letters, digits, _ and -" in problem(f"services.{name} = {PING}")


def test_a_dependency_on_an_undefined_service_is_an_error() -> None:
    text = f'[services]\ncache = {PING}\n[services.a]\ncheck = "ping"\naddress = "x"\ndepends_on = ["cache", "cachx"]'
    assert problem(text) == '6: services.a.depends_on[1]: there is no service "cachx"; did you mean "cache"?'


def _depending(**names: str) -> str:
    return "".join(
        f'[services.{name}]\ncheck = "ping"\naddress = "x"\ndepends_on = {other.split()}\n'
        for name, other in names.items()
    )


def test_a_circle_of_dependencies_is_told_with_its_path_once() -> None:
    assert problem(_depending(z="", a="c", b="a z", c="b z")) == (
        "8: services.a.depends_on: a service must not depend on itself: a → c → b → a"
    )


def test_two_circles_are_both_told_and_a_service_that_names_itself_is_one() -> None:
    assert problems(_depending(a="b", b="a", c="c")) == [
        "4: services.a.depends_on: a service must not depend on itself: a → b → a",
        "12: services.c.depends_on: a service must not depend on itself: c → c",
    ]


def test_a_long_chain_of_dependencies_is_no_circle() -> None:
    names = [f"s{i}" for i in range(2000)]
    text = _depending(**dict(zip(names, ["", *names], strict=False)))
    assert len(read(text).services) == 2000


def test_a_service_borrows_what_it_does_not_set_and_the_other_does() -> None:
    settings = read(
        """
        [services.db]
        check = "db"
        url = "db://here"
        password = { env = "P" }
        [services.tasks]
        check = "queue"
        service = "db"
        stream = "tasks"
        [services.own]
        check = "queue"
        service = "db"
        url = "db://there"
        stream = "tasks"
        """,
        secrets={"P": "hunter2"},
    )
    db, tasks, own = (service.check for service in settings.services.values())
    assert isinstance(db, Db)
    assert tasks == Queue(url="db://here", password=db.password, stream="tasks")
    assert own == Queue(url="db://there", password=db.password, stream="tasks")


def test_a_wrong_value_that_is_borrowed_is_told_once_where_it_stands() -> None:
    text = """\
[services.tasks]
check = "queue"
service = "db"
stream = "tasks"
[services.db]
check = "db"
url = 5
"""
    assert problem(text) == '7: services.db.url: expected a string, found 5; did you mean "5"?'


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ('"dbb"', 'expected the name of another service; did you mean "db"?'),
        ('"tasks"', 'expected the name of another service; there are "db"'),
        ("5", 'expected the name of another service; there are "db"'),
    ],
)
def test_a_service_can_borrow_only_from_another_service(service: str, told: str) -> None:
    text = (
        '[services.db]\ncheck = "db"\nurl = "db://x"\n[services.tasks]\ncheck = "queue"\nstream = "s"\nurl = "db://x"\n'
    )
    assert problem(f"{text}service = {service}") == f"8: services.tasks.service: {told}"


def test_of_an_unknown_check_only_the_check_is_told() -> None:
    text = f'[services]\na = {PING}\nb = {{ check = "pong", service = "a", anything = 1 }}'
    assert problem(text) == '3: services.b.check: "pong" is no kind of check; did you mean "ping"?'


def test_a_kind_that_borrows_nothing_takes_no_service() -> None:
    text = f'[services]\na = {PING}\nb = {{ check = "ping", address = "x", service = "a" }}'
    assert problem(text) == (
        "3: services.b.service: this kind of check takes nothing from another service; remove the key"
    )


@pytest.mark.parametrize(("timeout", "warns"), [("1s", True), ("500ms", True), ("1001ms", False), ("2s", False)])
def test_a_timeout_of_a_second_or_less_is_doubtful(timeout: str, warns: bool) -> None:
    text = f'[services.a]\ncheck = "ping"\naddress = "x"\ntimeout = "{timeout}"'
    found = warnings(text)
    assert bool(found) == warns
    assert all(each.startswith("4: services.a.timeout: ") for each in found)
