"""Who may run what: systemd, docker and networks of their own need root, and where CI runs, nothing may be left out."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what an ordinary user can't do, by hand; in CI it fails."""
    if os.geteuid() == 0 or "CI" in os.environ:
        return
    for item in items:
        if any(any(item.iter_markers(name)) for name in ("systemd", "docker", "netns")):
            item.add_marker(pytest.mark.skip(reason="needs root"))
