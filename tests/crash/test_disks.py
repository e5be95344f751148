"""
Whole lives of the daemon on bad disks: it watches and tells, does nothing that it can't write down first, and goes on
once the disk is well. What the journal by itself survives stands in ``incidents/test_disk.py``.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")
MOMENTS = pytest.mark.parametrize("entry", ["incident_opened", "attempt_started", "step_started", "step_ended"])


def on_a_bad_disk(what: str, place: Path, *arguments: str, before: tuple[str, ...] = ()) -> list[str]:
    """What ``python -m crash.disks`` prints."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    path = os.pathsep.join(filter(None, (str(TESTS), env.get("PYTHONPATH"))))
    command = [*before, sys.executable, "-m", "crash.disks", what, str(place), *arguments]
    ran = subprocess.run(
        command, env={**env, "PYTHONPATH": path}, capture_output=True, text=True, timeout=110, check=False
    )
    if "Operation not permitted" in ran.stderr and "CI" not in os.environ:
        pytest.skip("needs to mount a disk")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


def test_of_a_torn_log_is_read_what_was_written_or_less_and_never_anything_else(tmp_path: Path) -> None:
    first, *outcomes = on_a_bad_disk("torn", tmp_path)
    counts = {what: int(times) for what, times in (line.rsplit(" ", 1) for line in outcomes)}
    written, sectors = map(int, re.findall(r"\d+", first))
    assert written >= 5
    assert set(counts) <= {"cut: less", "turned: less", "turned: whole"}
    assert counts["cut: less"] == sectors
    assert counts["turned: less"] > sectors / 2


@MOMENTS
def test_with_the_journal_of_a_newer_reviver_it_does_nothing_and_says_so(tmp_path: Path, entry: str) -> None:
    says, does, afterwards = on_a_bad_disk("newer", tmp_path, entry)
    assert "it was written by a newer reviver: run that one, or move the file aside" in says
    assert (does, afterwards) == ("it does: 0", "afterwards: well, 1 in all")


@MOMENTS
def test_with_a_damaged_journal_it_does_nothing_says_so_and_leaves_it_as_it_is(tmp_path: Path, entry: str) -> None:
    says, does, afterwards = on_a_bad_disk("damaged", tmp_path, entry)
    assert "move it aside, reviver then starts a new one" in says
    assert (does, afterwards) == ("it does: 0", "afterwards: well, 1 in all")


@MOMENTS
def test_on_a_disk_that_became_read_only_it_does_nothing_and_says_so(tmp_path: Path, entry: str) -> None:
    says, does, afterwards = on_a_bad_disk("read-only", tmp_path, entry, before=OWN_MOUNTS)
    assert "Read-only file system" in says
    assert (does, afterwards) == ("it does: 0", "afterwards: well, 1 in all")


def test_whenever_the_disk_runs_full_nothing_is_done_blindly_or_twice_and_it_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    outcomes = dict(line.rsplit(": ", 1) for line in on_a_bad_disk("full", tmp_path, before=OWN_MOUNTS))
    assert set(outcomes) == {"0 while it was full, afterwards well", "1 while it was full, afterwards well"}
