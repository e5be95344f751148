"""A real Prometheus that scrapes what a test has running."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from servers import LOOPBACK, Server, free_port


class Prometheus(Server):
    """A real one."""

    def argv(self) -> list[str]:
        return [
            "prometheus",
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]

    async def answers(self) -> bool:
        try:
            return (await self.get("/-/ready")).is_success
        except httpx.TransportError:
            return False

    async def get(self, path: str, **parameters: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://{LOOPBACK}:{self.port}{path}", params=parameters)

    async def query(self, query: str) -> dict[str, float]:
        """The value of each series by its service, or by nothing."""
        answer = (await self.get("/api/v1/query", query=query)).json()
        assert answer["status"] == "success", answer
        return {one["metric"].get("service", ""): float(one["value"][1]) for one in answer["data"]["result"]}


@asynccontextmanager
async def running_prometheus(directory: Path, port: int) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes the loopback *port* often; its first scrape comes after 5 s."""
    scrape = {
        "job_name": "reviver",
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}],
    }
    (directory / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scrape]}))  # JSON is YAML
    server = Prometheus(directory, free_port())
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
