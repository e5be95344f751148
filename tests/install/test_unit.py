"""The unit as systemd reads it; what it does when it runs is in ``test_systemd.py``."""

import re
import subprocess
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "reviver.service"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], check=False, capture_output=True, text=True)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/reviver/bin/reviver", "/bin/true"))
    verified = analyze("verify", str(unit))
    assert (verified.returncode, verified.stderr) == (0, ""), "unknown keys are only told, on stderr"


def test_the_unit_is_exposed_to_no_more_than_it_needs() -> None:
    """1.4 is what is left with the host's network, processes and users in sight, which it is there to watch."""
    answer = analyze("security", "--offline=yes", "--no-pager", str(UNIT)).stdout
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", answer)
    assert score is not None, answer
    assert float(score[1]) <= 1.4


def test_the_unit_keeps_open_what_certain_evidence_and_authorisation_need() -> None:
    keys = {line.partition("=")[0] for line in UNIT.read_text().splitlines() if not line.startswith("#")}
    assert not keys & {"PrivateUsers", "ProtectProc", "ProcSubset", "PrivateNetwork"}
