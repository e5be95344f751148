"""What the settings say of reviver's suspecting itself."""

import pytest

from reviver.model.services import DaemonPolicy, Verification
from settings.samples import Db, Ping, problem, problems, read


def policy(text: str) -> DaemonPolicy:
    return read(text).daemon.policy


def test_the_share_the_anchors_and_the_tie_break_are_read() -> None:
    found = policy("""
        [daemon]
        suspect_share = 0.5
        anchors = ["192.0.2.1:53", "[2001:db8::1]:53", "ns.example:53"]

        [daemon.tie_break]
        check = "ping"
        address = "elsewhere:80"
        timeout = "4s"
    """)
    assert found.suspect_share == 0.5
    assert found.anchors == ("192.0.2.1:53", "[2001:db8::1]:53", "ns.example:53")
    assert found.tie_break == Verification(kind="ping", check=Ping(address="elsewhere:80"), timeout=4.0)


def test_a_tie_break_has_two_seconds_unless_told_and_may_take_a_secret() -> None:
    text = 'daemon.tie_break = { check = "db", url = "db://there", password = { env = "P" } }'
    found = read(text, secrets={"P": "hunter2"})
    tie_break = found.daemon.policy.tie_break
    assert tie_break is not None
    assert tie_break.timeout == 2.0
    assert isinstance(tie_break.check, Db)
    assert [secret.reveal() for secret in found.secrets] == ["hunter2"]


HOST_AND_PORT = 'expected HOST:PORT, such as "192.0.2.1:53" or "[2001:db8::1]:53", found'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("suspect_share = 0", "suspect_share: expected greater than 0, found 0"),
        ("suspect_share = 1.5", "suspect_share: expected less than or equal to 1, found 1.5"),
        ('anchors = ["here"]', f'anchors[0]: {HOST_AND_PORT} "here"'),
        ('anchors = ["a:1", "b:0"]', f'anchors[1]: {HOST_AND_PORT} "b:0"'),
        ('anchors = "a:1"', "anchors: expected an array, found a string; put it in brackets"),
        ('tie_break = { check = "pong" }', 'tie_break.check: "pong" is no kind of check; did you mean "ping"?'),
        ('tie_break = { address = "x" }', "tie_break.check: required key is missing"),
        ('tie_break = "ping"', "tie_break: expected a table, found a string"),
        ("tie_break = {}", "tie_break.check: required key is missing"),
        (
            'tie_break = { check = "ping", adress = "x", address = "y" }',
            'tie_break.adress: unknown key; did you mean "address"?',
        ),
    ],
)
def test_mistakes_are_told_at_their_key(text: str, told: str) -> None:
    assert problem(f"[daemon]\n{text}") == f"2: daemon.{told}"


def test_a_wrong_tie_break_hides_no_other_mistake() -> None:
    found = problems('[daemon]\nat_once = 0\ntie_break = { check = "pong" }\n[services.a]\ncheck = "ping"')
    assert len(found) == 3
