"""
Killed at any line, once or twice, the daemon keeps its promises; and killing finds the bugs that it is to find.

Here only every so many points are tried; ``make crashpoints`` tries them all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crash.bugs import BUGS

TESTS = Path(__file__).parent.parent


def killing(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m crash``, in a process without threads, for it forks; and without the coverage's own tracing."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    path = os.pathsep.join(filter(None, (str(TESTS), env.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "crash", *arguments]
    return subprocess.run(
        command, env={**env, "PYTHONPATH": path}, capture_output=True, text=True, timeout=540, check=False
    )


@pytest.mark.timeout(600)
def test_killed_at_any_line_once_or_twice_nothing_is_done_twice_and_nothing_is_lost() -> None:
    ran = killing("--stride=293", "--second-stride=3999", "--sigkills=1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "violations: 0" in ran.stdout


@pytest.mark.timeout(600)
def test_killing_finds_every_bug_that_is_planted() -> None:
    ran = killing("--bugs", "--stride=67")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("\n|") == len(BUGS) + 1


def test_killing_says_so_when_there_is_nothing_of_that_name() -> None:
    assert killing("no-such-scene").returncode == 2
