"""Docker on this host, asked over its socket: when a container was made, and of which image."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

import httpx

SOCKET: Final = "/var/run/docker.sock"


class DockerError(Exception):
    """Docker can't be asked, or knows no such container; the text is a line for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What Docker tells of a container."""

    created: float
    """Unix time; a restart leaves it as it is, a deploy makes a new container."""
    image: str


async def container(name: str, *, socket: str = SOCKET, timeout: float = 2.0) -> Container:  # noqa: ASYNC109  said in the error
    """
    The container *name*.

    Raises:
        DockerError: It can't be told.
    """
    transport = httpx.AsyncHTTPTransport(uds=socket)
    try:
        async with httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client:
            answer = await client.get(f"http://docker/containers/{quote(name, safe='')}/json")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise DockerError(f"Docker knows no container {name}")
        answer.raise_for_status()
        found = answer.json()
        created = datetime.fromisoformat(found["Created"]).timestamp()
        return Container(created=created, image=str(found["Config"]["Image"]))
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise DockerError(f"Docker does not tell of {name}: {socket}: {why}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DockerError(f"Docker does not tell of {name}: its answer is not understood") from error
