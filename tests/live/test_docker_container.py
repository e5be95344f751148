"""A container, asked of a real Docker."""

import sys
from pathlib import Path

import pytest

from reviver.clients import program

TESTS = Path(__file__).parents[1]
ASK = """
import os, time, anyio
from reviver.clients.docker import DockerError, container
socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
found = anyio.run(lambda: container("api", socket=socket))
assert found.image == "tiny:1", found
assert 0 <= time.time() - found.created < 60, found
try:
    anyio.run(lambda: container("ghost", socket=socket))
except DockerError as error:
    print(error)
"""


@pytest.mark.docker
@pytest.mark.timeout(120)
async def test_a_container_tells_when_it_was_made_and_of_what(tmp_path: Path) -> None:
    make = "tar -cf - -T /dev/null | docker import - tiny:1; docker create --name api tiny:1 /program"
    command = [str(TESTS / "with_docker.sh"), str(tmp_path), "bash", "-ec", f'{make}; exec "$0" -c "$1"']
    ended = await program.run([*command, sys.executable, ASK], timeout=110)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "Docker knows no container ghost"
