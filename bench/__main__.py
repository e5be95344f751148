"""``python -m bench [cost] [revive] [lateness] [detection]``: the named benchmarks, or all, as Markdown tables."""

import importlib
import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the private servers of the tests

ALL = ("cost", "revive", "lateness", "detection")


def main() -> None:
    for name in sys.argv[1:] or ALL:
        module = importlib.import_module(f"bench.{name}")
        print(f"\n## {module.TITLE}\n")
        anyio.run(module.main)


main()
