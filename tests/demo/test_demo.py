"""The demo from end to end, as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from reviver import kinds
from reviver.demo.plan import Plan
from reviver.demo.watcher import write_settings
from reviver.settings import load

DEMO: Sequence[str] = (sys.executable, "-m", "reviver", "demo", "--headless")


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """With a temporary folder of the test's own, which is open to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="reviver-") as folder:
        Path(folder).chmod(0o711)
        yield os.environ | {"TMPDIR": folder}


def left_in(folder: str) -> list[str]:
    """Processes that were started for a demo in *folder*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder in (command := entry.read_text()):
                found.append(command)
        except OSError:
            continue
    return found


def test_the_settings_of_the_demo_are_right_and_raise_no_doubt(new_plan: Plan) -> None:
    write_settings(new_plan)
    settings = load(new_plan.settings, kinds.installed())
    assert settings.warnings == ()
    assert list(settings.services) == ["db", "cache", "api", "tasks"]
    assert all(service.strategies for service in settings.services.values())


def test_an_unknown_fault_is_told_with_the_nearest_one() -> None:
    done = subprocess.run([*DEMO, "--fault", "postgrs"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == 'reviver: the demo has no fault "postgrs"; did you mean "postgres"?\n'


@pytest.mark.slow
def test_every_fault_is_diagnosed_recovered_and_proven_and_nothing_is_left(environment: dict[str, str]) -> None:
    done = subprocess.run([*DEMO, "--json"], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["recovered"] is True
    diagnoses = {fault["fault"]: fault["diagnosis"] for fault in result["faults"]}
    assert diagnoses.pop("worker") in {"stuck_tasks", "no_consumers"}
    assert diagnoses == {"postgres": "unreachable", "redis": "timeout", "api": "bad_status"}
    assert all(fault["proven"] and fault["strategy"] and fault["incident"] for fault in result["faults"])
    assert "api is left alone: db is not up" in done.stderr
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    assert left_in(environment["TMPDIR"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_broken_off_in_the_midst_of_a_fault_it_leaves_nothing(
    environment: dict[str, str], number: signal.Signals
) -> None:
    demo = subprocess.Popen(DEMO, stdout=subprocess.PIPE, env=environment, text=True)
    assert demo.stdout is not None
    with demo.stdout as told:
        assert any("a client gets" in line for line in told), "no fault was inflicted"
        assert left_in(environment["TMPDIR"])
        demo.send_signal(number)
        started = time.monotonic()
        assert demo.wait(timeout=30) == 128 + signal.SIGINT
        assert time.monotonic() - started < 15
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    assert left_in(environment["TMPDIR"]) == []
