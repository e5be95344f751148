"""The files below ``systemd/``, read; what they do on a running system is in ``test_systemd.py``."""

import re
import subprocess
from pathlib import Path

import tomli

from install.shell import ROOT

UNIT = ROOT / "systemd" / "reviver.service"


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


def test_the_polkit_rule_names_the_units_that_the_example_settings_act_upon() -> None:
    services = tomli.loads((ROOT / "config/reviver.toml").read_text())["services"].values()
    steps = [step for service in services for rung in service.get("recovery", []) for step in rung["steps"]]
    acted_upon = {step["unit"] for step in steps if step["action"].startswith("systemd.")}
    rule = (ROOT / "systemd/50-reviver.rules").read_text()
    named = re.search(r"var units = \[(.*?)\]", rule, re.DOTALL)
    assert named is not None
    assert acted_upon == set(re.findall(r'"([^"]+)"', named[1]))
