"""A stack of the demo, shared by the tests of a file: each leaves it whole."""

import shutil
from collections.abc import Iterator

import pytest

from reviver.demo import plan, programs
from reviver.demo.plan import Plan
from reviver.demo.stack import Stack


@pytest.fixture
def new_plan() -> Iterator[Plan]:
    made = plan.make()
    yield made
    shutil.rmtree(made.directory)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    made = plan.make()
    programs.prepare(made)
    running = Stack(made)
    try:
        running.start("postgres", "redis")
        running.start("api", "worker", "customers")
        yield running
    finally:
        running.close()
        shutil.rmtree(made.directory)
