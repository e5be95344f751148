"""
Runs the tests against each change.

Everything happens in forks. One measures: which test was on which line, and how long it took. One imports and collects
everything once; from it, each change of a function is tried in a fork of its own, with the function's code replaced in
place. What stands outside of functions is imported anew, changed, in a fork of a process that has loaded the libraries
only. The tests of a change are those that were on its lines, the likeliest to notice first, until one notices.
"""

import ast
import gc
import importlib
import importlib.abc
import importlib.util
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest

from .edits import Edit, Function

ROOT = Path(__file__).parent.parent.parent
CODE = ROOT / "daemon" / "reviver"
TESTS = [f"tests/{room}" for room in ("core", "model", "recovery", "supervisor", "incidents", "settings")]
TESTS += ["--ignore=tests/incidents/test_disk.py", "--ignore=tests/settings/test_schema.py"]
PYTEST = ["-q", "--tb=native", "-p", "no:randomly", "-p", "no:xdist", "-o", "timeout=0", "-p", "no:cacheprovider"]
PYTEST += ["-p", "no:cov", "-W", "ignore::pytest.PytestAssertRewriteWarning", "--rootdir", str(ROOT)]

LIBRARIES = ("anyio", "hypothesis.stateful", "pydantic", "structlog", "tenacity")
SURVIVED, KILLED, FAILED_TO_RUN = 0, 1, 3
SECONDS = 4.0
"""Of tests' own time that one change may cost: what only slower tests would notice counts as unnoticed."""


@dataclass(frozen=True)
class Measured:
    """One test, as it ran on the unchanged code."""

    name: str
    seconds: float
    """Of processor time."""
    on: frozenset[tuple[str, int]]
    """File and line."""


@dataclass(frozen=True)
class Change:
    """One change of one file."""

    file: str
    """In the code's folder."""
    tree: ast.Module = field(repr=False)
    edit: Edit

    @property
    def path(self) -> str:
        return str(CODE / self.file)

    @property
    def function(self) -> str:
        return f"{self.file}:{self.edit.function}"

    def compiled(self) -> CodeType:
        return self.edit.compiled(self.tree, self.path)


@dataclass
class Choice:
    """Which tests are run for a change, and in what order."""

    measured: Sequence[Measured]
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a test noticed a change of a function, or of a file."""

    def of(self, change: Change) -> list[Measured]:
        """The tests that were on the lines of *change*; outside of functions any may notice."""
        where = {(change.file, line) for line in change.edit.lines}
        tests = [test for test in self.measured if change.edit.function is None or test.on & where]
        chosen: list[Measured] = []
        for test in sorted(tests, key=partial(self._cost, change)):
            if sum(each.seconds for each in chosen) + test.seconds <= SECONDS:
                chosen.append(test)
        return chosen

    def _cost(self, change: Change, test: Measured) -> float:
        """Cheap tests first, those of the same room, and those that have noticed something near."""
        known = 5 * self.kills[change.function, test.name] + self.kills[change.file, test.name]
        strange = 1 if f"tests/{Path(change.file).parent}/" in test.name else 3
        return strange * (test.seconds + 0.003) / (1 + known)

    def noticed(self, change: Change, by: str) -> None:
        """A test has noticed *change*."""
        self.kills[change.function, by] += 1
        self.kills[change.file, by] += 1


def forked(work: Callable[[], int]) -> tuple[int, str]:
    """The end of *work* in a fork: its exit code (negative: the signal), and what it said through ``say``."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.dup2(writing, 198)
        os.close(writing)
        silent = os.open(os.devnull, os.O_RDWR)
        for each in (0, 1, 2)[: 3 - bool(os.environ.get("MUTATION_LOUD"))]:
            os.dup2(silent, each)
        try:
            os._exit(work())
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(FAILED_TO_RUN)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def say(text: str) -> None:
    """A word from a fork to its parent."""
    os.write(198, text.encode())


def _limit(test: Measured) -> None:
    """The process ends when *test* computes for far longer than it did, or doesn't end."""
    signal.setitimer(signal.ITIMER_PROF, 1.0 + 8 * test.seconds)
    signal.setitimer(signal.ITIMER_REAL, 30.0 + 40 * test.seconds)


class Tell:
    """Ends the process when a test fails: the change has been noticed."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            say(item.nodeid)
            os._exit(KILLED)


def _run(items: Sequence[pytest.Item], tests: Sequence[Measured]) -> None:
    by_name = {item.nodeid: item for item in items}
    for test in tests:
        _limit(test)
        by_name[test.name].config.hook.pytest_runtest_protocol(item=by_name[test.name], nextitem=None)


# --------------------------------------------------------------------------------------------------------- measuring


class Measure:
    """Runs every test by itself and remembers where it was."""

    def __init__(self) -> None:
        self.measured: list[Measured] = []
        self.failed: list[str] = []

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        if call.excinfo is not None:
            self.failed.append(item.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for item in session.items:
            watch = coverage.Coverage(data_file=None, include=[f"{CODE}/*"], config_file=False)
            watch.set_option("run:disable_warnings", ["no-data-collected"])
            before = os.times()
            with watch.collect():
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            after = os.times()
            seconds = after.user - before.user + after.children_user - before.children_user
            data = watch.get_data()
            on = {
                (str(Path(file).relative_to(CODE)), line)
                for file in data.measured_files()
                for line in data.lines(file) or ()
            }
            self.measured.append(Measured(item.nodeid, seconds, frozenset(on)))
        return True


def measure() -> list[Measured]:
    """Every test on the unchanged code."""
    with tempfile.NamedTemporaryFile() as file:

        def work() -> int:
            plugin = Measure()
            ended = pytest.main([*PYTEST, *TESTS], plugins=[plugin])
            Path(file.name).write_bytes(pickle.dumps((plugin.measured if ended == 0 else [], plugin.failed)))
            return 0

        forked(work)
        measured, failed = pickle.loads(file.read())  # noqa: S301  our own
    if failed or not measured:
        raise SystemExit(f"without any change these fail: {', '.join(failed) or 'all'}")
    return list(measured)


# ------------------------------------------------------------------------------------------------------------ trying


class Inside:
    """Tries changes of functions, each in a fork of the process that has collected all tests."""

    def __init__(self, changes: Sequence[Change], choice: Choice, done: Callable[[Change, int, str], None]) -> None:
        self.changes = changes
        self.choice = choice
        self.done = done

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        functions = _functions()
        gc.collect()
        gc.freeze()
        for change in self.changes:
            tests = self.choice.of(change)
            mine = functions.get((change.path, *(change.edit.function or ("", 0))), [])
            self.done(change, *(forked(partial(_inside, session, change, mine, tests)) if tests else (SURVIVED, "")))
        return True


def _inside(session: pytest.Session, change: Change, mine: Sequence[FunctionType], tests: Sequence[Measured]) -> int:
    function = change.edit.function
    assert function is not None
    assert mine
    new = _code_of(change.compiled(), function)
    for each in mine:
        each.__code__ = new
    session.config.pluginmanager.register(Tell())
    _run(session.items, tests)
    return SURVIVED


def _functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(str(CODE)):
            code = each.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(each)
    return found


def _code_of(code: CodeType, function: Function) -> CodeType:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if (each.co_qualname, each.co_firstlineno) == function:
                return each
            if function[0].startswith(f"{each.co_qualname}."):
                return _code_of(each, function)
    raise LookupError(f"no code of {function}")


class Importer(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module of reviver with a change."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.name = f"reviver.{change.file.removesuffix('.py').replace('/', '.')}"

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.change.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return self.change.compiled()

    def get_source(self, fullname: str) -> str | None:
        return None

    def get_filename(self, fullname: str) -> str:
        return self.change.path


class Outside:
    """Runs the tests for a change that this process has imported."""

    def __init__(self, tests: Sequence[Measured]) -> None:
        self.tests = tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.pluginmanager.register(Tell())
        _run(session.items, self.tests)
        os._exit(SURVIVED)


def _outside(change: Change, tests: Sequence[Measured]) -> int:
    sys.meta_path.insert(0, Importer(change))
    pytest.main([*PYTEST, *sorted({test.name.split("::")[0] for test in tests})], plugins=[Outside(tests)])
    return FAILED_TO_RUN


def attempt(changes: Sequence[Change], choice: Choice, done: Callable[[Change, int, str], None]) -> None:
    """Try all *changes*; *done* is told the end of each: an exit code, and the test that noticed."""
    inside = [change for change in changes if change.edit.function is not None]

    def work() -> int:
        return int(pytest.main([*PYTEST, *TESTS], plugins=[Inside(inside, choice, done)]))

    if inside:
        forked(work)
    for name in LIBRARIES:
        importlib.import_module(name)
    for change in changes:
        if change.edit.function is None:
            done(change, *forked(partial(_outside, change, choice.of(change))))
