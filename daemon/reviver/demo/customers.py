"""
The demo's customers: they order from the API, a few times a second, whether it answers or not.

    python -m reviver.demo.customers FOLDER
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import httpx

from .plan import read

PAUSE: Final = 0.25  # seconds between orders
PATIENCE: Final = 2.0  # seconds


async def main(directory: Path) -> None:
    """Order until ended."""
    url = read(directory).url("api")
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as shop:
        while True:
            with suppress(httpx.HTTPError):  # closed just now
                await shop.post("/orders", json={"item": "tea"})
            await anyio.sleep(PAUSE)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
