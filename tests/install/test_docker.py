"""The image, built from the tree by a real Docker and run by the command of ``docs/install.md``."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from install.documented import documented
from install.shell import ROOT, Shell, shell_in
from servers import free_port, running_redis, until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

WITH_DOCKER = str(ROOT / "tests/with_docker.sh")
BASE = ROOT / ".cache/debian.tar"
BUILD = f"""
    docker import {BASE} debian:bookworm-slim
    cd {ROOT}; DOCKER_BUILDKIT=0 {documented("docker build").replace("build", "build --network host")}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder with Docker's images, among them ``reviver``."""
    if not BASE.exists():
        BASE.parent.mkdir(exist_ok=True)
        subprocess.run([ROOT / "scripts/debian-base", BASE], check=True)
    folder = tmp_path_factory.mktemp("images")
    built = subprocess.run([WITH_DOCKER, folder, "bash", "-ec", BUILD], check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    yield str(folder)
    shutil.rmtree(folder)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container called ``reviver``, the Docker that has it, and the address of its API."""

    docker: Shell
    api: str

    async def health(self) -> dict[str, Any]:
        """What the API tells of all services; empty while it doesn't answer."""
        async with httpx.AsyncClient() as client:
            try:
                return dict((await client.get(f"{self.api}/api/v1/health")).json())
            except httpx.TransportError:
                return {}


@asynccontextmanager
async def running(images: str, folder: Path, settings: str, *, options: str = "") -> AsyncIterator[Container]:
    """A container with *settings*, started by the documented command."""
    address = f"127.0.0.1:{free_port()}"
    file = anyio.Path(folder, "reviver.toml")
    await file.write_text(f'[daemon]\nlisten = "{address}"\n{settings}')
    await file.chmod(0o644)
    command = documented("docker run").removesuffix("\ndocker exec reviver reviver status")
    command = command.replace("--volume /etc/reviver/reviver.toml:", f"--volume {file}:")
    async with shell_in(WITH_DOCKER, images, kind=Shell) as docker:
        await docker(command.replace("--detach", f"--detach --health-interval 1s {options}"))
        yield Container(docker=docker, api=f"http://{address}")
        await docker("docker rm --force --volumes reviver")


async def test_as_documented_it_is_healthy_on_a_read_only_root_without_privileges(images: str, tmp_path: Path) -> None:
    async with running(images, tmp_path, "") as container:
        docker = container.docker
        await docker.becomes("healthy", "docker inspect --format '{{.State.Health.Status}}' reviver", within=30.0)
        assert await container.health() == {"frozen": "", "observer_suspect": "", "healthy": True, "services": {}}
        await docker("docker exec reviver reviver status")
        assert await docker("docker exec reviver id -u") == "7337"
        assert await docker("docker exec reviver grep CapBnd /proc/1/status") == f"CapBnd:\t{'0' * 16}"
        status, said = await docker.run("docker exec --user root reviver touch /opt/reviver/x")
        assert (status, "Read-only file system" in said) == (1, True)


async def test_from_inside_it_sees_a_redis_killed_outside(images: str, tmp_path: Path) -> None:
    async with running_redis() as server:
        settings = f'[services.cache]\ncheck = "redis"\nurl = "{server.url}"\ninterval = "200ms"\nconfirm = "50ms"\n'
        async with running(images, tmp_path, settings) as container:

            async def is_up() -> bool:
                return (await container.health()).get("healthy") is True

            async def is_down() -> bool:
                cache = (await container.health())["services"]["cache"]
                return (cache["health"], cache["fault"]) == ("down", "unreachable")

            await until(is_up, within=20.0)
            await server.kill()
            await until(is_down, within=10.0)


async def test_stopped_it_ends_at_once_with_exit_code_0(images: str, tmp_path: Path) -> None:
    async with running(images, tmp_path, "") as container:

        async def answers() -> bool:
            return bool(await container.health())

        await until(answers, within=20.0)
        await container.docker("docker stop --time 5 reviver")
        assert await container.docker("docker inspect --format '{{.State.ExitCode}}' reviver") == "0"


async def test_bad_settings_end_it_with_exit_code_78_and_the_place(images: str, tmp_path: Path) -> None:
    async with running(images, tmp_path, "nonsense = 1\n") as container:
        await container.docker.becomes("exited", "docker inspect --format '{{.State.Status}}' reviver")
        assert await container.docker("docker inspect --format '{{.State.ExitCode}}' reviver") == "78"
        assert "/etc/reviver/reviver.toml:3" in await container.docker("docker logs reviver 2>&1")


async def test_the_image_adds_less_than_110_mb_to_debian(images: str) -> None:
    async with shell_in(WITH_DOCKER, images, kind=Shell) as docker:
        ours, debians = (await docker("docker inspect --format '{{.Size}}' reviver debian:bookworm-slim")).split()
        assert int(ours) - int(debians) < 110_000_000
