"""Commands are tried in an empty folder, and nothing of the caller's environment tells them what to do."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("REVIVER_CONFIG", "NO_COLOR", "FORCE_COLOR", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("reviver.cli.options.CONFIG_PLACES", (tmp_path / "etc.toml", Path("config/reviver.toml")))


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where a test's daemon listens."""
    return tmp_path / "control.sock"
