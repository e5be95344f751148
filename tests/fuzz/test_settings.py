"""Settings files that nobody would write on purpose, or only somebody who means harm."""

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import tomli
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from fuzz.planted import SECRET, assert_seemly
from reviver.kinds import installed
from reviver.settings import Problem, Settings, SettingsError, load, parse

KINDS = installed()
PATH = Path("reviver.toml")
WITHIN = 2.0  # seconds of processor time; the largest file here has 200 kB
SAMPLE = (Path(__file__).parents[2] / "config" / "reviver.toml").read_text()
SECRETS = f"""
[services.db]
check = "postgres"
dsn = "postgresql://app:{SECRET}@localhost/app?password={SECRET}"
password = {{ env = "PW" }}
depends_on = ["cache"]

[services.cache]
check = "redis"
url = "redis://:{SECRET}@localhost:6379/0"
password = {{ file = "/etc/pw" }}

[services.api]
check = "http"
url = "http://localhost/x"
headers = {{ Authorization = {{ credential = "pw" }}, X-Api-Key = "{SECRET}" }}

[[services.api.recovery]]
name = "restart"
faults = ["unreachable"]
steps = [
  {{ action = "command", argv = ["x"], env = {{ PGPASSWORD = {{ env = "PW" }}, TOKEN = "{SECRET}" }} }},
  {{ action = "http.request", url = "http://u:{SECRET}@x/", headers = {{ Authorization = "Bearer {SECRET}" }} }},
]
"""


def resolve(reference: dict[str, str]) -> str:
    [(_, name)] = reference.items()
    if not isinstance(name, str):
        raise ValueError("expected a name")
    return SECRET


def settled(text: str) -> Settings | SettingsError:
    """What *text* comes to: settings, or a list of problems with file and line; in time, and without the secret."""
    began = time.process_time()
    found: Settings | SettingsError
    try:
        found = settings = parse(text, KINDS, path=PATH, resolve_secret=resolve, environ={})
        told = settings.warnings
    except SettingsError as error:
        found, told = error, error.problems
        assert told, "refused without a reason"
    assert time.process_time() - began < WITHIN
    last = text.count("\n") + 1
    for problem in told:
        assert problem.file == PATH
        assert problem.line is not None
        assert 1 <= problem.line <= last, problem
        assert "\n" not in str(problem)
    assert_seemly([str(problem) for problem in told], at_most=10 * 1024 * 1024)
    assert SECRET not in repr(found), found
    assert SECRET not in str(found)
    return found


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
@cases(200)
def test_any_bytes_are_settings_or_problems_with_a_line(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    problems: tuple[Problem, ...] = ()
    try:
        load(path, KINDS, resolve_secret=resolve)
    except SettingsError as error:
        problems = error.problems
    assert all(problem.line for problem in problems), problems
    assert_seemly([str(problem) for problem in problems])


# mutations of the text itself

LINES = SAMPLE.splitlines()
ODD_LINES = st.sampled_from(
    [
        "[services.db]",
        "[[services.db]]",
        "[services.db.recovery]",
        "[daemon.x.y]",
        "[services]",
        "[[daemon]]",
        "services = 1",
        f"password = {SECRET}",
        f'password = "{SECRET}"',
        f'pasword = "{SECRET}"',
        f"token={SECRET} # x",
        f'password = "{SECRET}',
        f'url = "redis://u:{SECRET}/x@h"',
        f'url = "http://u:{SECRET}@h:port/"',
        f'dsn = "postgresql://u:{SECRET}@h:x/d"',
        f'dsn = "postgresql://u:{SECRET}@[h/d"',
        f'password = {{ env = "{SECRET}", file = "x" }}',
        f'password = {{ "{SECRET}" = "x" }}',
        f'headers = {{ Authorization = "Bearer {SECRET}\\n" }}',
        f'headers = {{ Authorization = ["{SECRET}"] }}',
        f'env = {{ "A=B" = "{SECRET}" }}',
        f'env = {{ PASSWORD = "{SECRET}\\u0000" }}',
        'x = "\\ud800"',
        'x = "\\U00110000"',
        "x = inf",
        "x = nan",
        "timeout = inf",
        "timeout = nan",
        "timeout = -1",
        "timeout = 1e400",
        "timeout = " + "9" * 400,
        "timeout = 0x" + "f" * 5000,
        "timeout = 1979-05-27",
        "timeout = 07:32:00",
        "interval = 1979-05-27T07:32:00Z",
        "a = " + "[" * 200 + "]" * 200,
        "a = " + "[" * 20_000,
        "a" + ".a" * 60 + " = 1",
        "a" + ".a" * 5000 + " = 1",
        "x = '''",
        'x = """',
        "\ufeff",
        "\x00",
        'x = "\x7f"',
        "x = '\u202e'",
        "[services.'\u202e']",
        '[services."a\\nb"]',
        '[services."\\u001b[2J"]',
        "checks = []",
        'check = "nonsense"',
        "check = 5",
        'check = ["http"]',
        'service = "db"',
        'service = "tasks"',
        "service = {}",
        'depends_on = ["db"]',
        'depends_on = "db"',
        "depends_on = [[]]",
        "recovery = 5",
        "recovery = [5]",
        "[[services.db.recovery]]",
        "[[services.db.recovery.steps]]",
        "steps = [{}]",
        "steps = 1",
        'faults = ["x"]',
        "faults = [1]",
        "budgets = [{ attempts = 1e9, per = 'x' }]",
        'verify = [{ check = "http" }]',
        "verify = [{}]",
        'nodes = ["http://a", "http://a"]',
        "status = [99999999999999999999]",
        'status = ["9xx", "2-"]',
        'json = { "a.b" = 1979-05-27 }',
        "json = { a = nan }",
        "argv = []",
        'argv = [""]',
        "exit_codes = [-1, 1e9]",
        'address = "x"',
        'address = "[::1"',
        'address = "h:99999"',
        'address = "\u0663:\u0663"',
        'unit = "../x"',
        'pidfile = "\\u0000"',
        'state_dir = "\\u0000"',
        'control_socket = "' + "x" * 300 + '"',
    ]
)


@st.composite
def mutated_texts(draw: st.DrawFn) -> str:
    lines = (draw(st.sampled_from([SAMPLE, SECRETS]))).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case 2 | 3:
                lines.insert(at, draw(ODD_LINES))
            case 4:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(st.text(max_size=5)) + lines[at][cut + draw(st.integers(0, 3)) :]
            case _:
                name = lines[at].partition("=")[0]
                value = draw(ODD_LINES).partition("=")[2] or "true"
                bare = SECRET in value and "://" not in value  # under any name it is no secret that one could know of
                lines[at] = f"{name} = {'true' if bare else value}"
        if not lines:
            return ""
    return "\n".join(lines)


@given(text=mutated_texts())
@cases(200)
@example(text=f"[services.db]\npassword = {SECRET}")
@example(text=f"[services.db]\npassword = {SECRET} # the old one\n")
@example(text=f'[services.db]\ncheck = "redis"\nurl = "redis://:{SECRET}"')
@example(text="a = " + "[" * 100_000)
@example(text="\n".join(f"[services.s{n}]" for n in range(5000)))
@example(text="[services.db]\n" + "\n".join(f"k{n} = {n}" for n in range(2000)))
def test_a_mutated_file_is_settings_or_problems_with_a_line_and_tells_no_secret(text: str) -> None:
    settled(text)


# mutations of what it says

ODD_VALUES = st.one_of(
    st.none().map(lambda _: {}),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["5s", "-1s", "1e9d", "1h30m", "", "\x1b[2J", "auto", "none", f"http://u:{SECRET}@h/", "9" * 5000]),
    st.lists(st.text(max_size=3) | st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.integers(), max_size=3),
    st.just({"env": "PW"}),
    st.just({"env": 5}),
    st.just({"env": "PW", "file": "/x"}),
)


def toml(value: Any) -> str:
    """*value* as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(name)} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


@st.composite
def mutated_trees(draw: st.DrawFn) -> str:
    tree = tomli.loads(draw(st.sampled_from([SAMPLE, SECRETS])))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = tree
        while True:
            keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 4)):
                node = node[key]
                continue
            match draw(st.integers(0, 3)):
                case 0:
                    del node[key]
                case 1 if isinstance(node, dict):
                    node[draw(st.text(max_size=8) | st.sampled_from(["password", "timeout", "after", "x"]))] = deepcopy(
                        node[key]
                    )
                case _:
                    node[key] = deepcopy(draw(ODD_VALUES))
            break
    return "\n".join(f"{name} = {toml(value)}" for name, value in tree.items())


@given(text=mutated_trees())
@cases(200)
def test_a_file_with_wrong_values_is_settings_or_problems_with_a_line_and_tells_no_secret(text: str) -> None:
    settled(text)
