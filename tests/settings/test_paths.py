from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reviver.settings import paths
from reviver.settings.paths import control_socket, state_dir
from settings.samples import problem, read


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual runtime directory, which is not there yet."""
    monkeypatch.setattr(paths, "RUNTIME_DIR", tmp_path / "run")
    return tmp_path / "run"


def test_the_state_is_where_the_settings_say_else_where_systemd_says_else_in_the_usual_place() -> None:
    systemd = {"STATE_DIRECTORY": "/var/lib/private/reviver:/other"}
    assert state_dir("/srv/r", systemd) == Path("/srv/r")
    assert state_dir(None, systemd) == Path("/var/lib/private/reviver")
    assert state_dir(None, {}) == Path("/var/lib/reviver")


@pytest.mark.parametrize("daemon", [{}, {"state_dir": "/var/lib/reviver"}, {"state_dir": 5}])
def test_the_socket_is_in_the_runtime_directory_of_the_installed_daemon(run: Path, daemon: Mapping[str, Any]) -> None:
    assert control_socket(daemon, {}) == Path("/var/lib/reviver/control.sock")
    run.mkdir()
    assert control_socket(daemon, {}) == run / "control.sock"
    assert control_socket(daemon, {"RUNTIME_DIRECTORY": str(run.parent)}) == run.parent / "control.sock"


def test_a_daemon_with_its_own_state_has_its_own_socket_there_for_the_daemon_and_the_commands_alike(run: Path) -> None:
    run.mkdir()
    for environ in ({}, {"RUNTIME_DIRECTORY": str(run)}):
        assert control_socket({"state_dir": "/srv/r"}, environ) == Path("/srv/r/control.sock")


def test_a_socket_that_is_set_is_obeyed() -> None:
    environ = {"RUNTIME_DIRECTORY": "/run"}
    assert control_socket({"state_dir": "/srv", "control_socket": "/a.sock"}, environ) == Path("/a.sock")
    assert read('daemon.control_socket = "/a.sock"').daemon.control_socket == Path("/a.sock")


def test_relative_paths_are_refused() -> None:
    assert problem('daemon.state_dir = "state"') == '1: daemon.state_dir: expected an absolute path, found "state"'


@pytest.mark.parametrize("key", ["control_socket", "state_dir"])
def test_a_path_that_no_socket_can_have_is_refused_before_the_daemon_tries(key: str) -> None:
    told = problem(f'daemon.{key} = "/{"x" * 107}"')
    assert told == "1: daemon.control_socket: expected at most 107 bytes: the system allows a socket's path no more"
