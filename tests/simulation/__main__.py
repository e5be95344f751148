"""`make simulate`: as many seeds as wanted, the broken promises with their shrunk stories, and one line of figures."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from .book import Broken
from .one import Figures, story
from .play import play
from .shrink import report, shrunk


def one(seed: int) -> tuple[Figures, str]:
    """The figures of *seed*, and what it breaks, if anything."""
    figures = Figures()
    try:
        figures.add(play(story(seed)))
    except Broken as error:
        figures.seeds = figures.violations = 1
        return figures, report(seed, *shrunk(story(seed), error))
    return figures, ""


def main() -> int:
    """Run them."""
    words = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    words.add_argument("--seeds", type=int, default=100)
    words.add_argument("--first-seed", type=int, default=0)
    words.add_argument("--jobs", type=int, default=1)
    chosen = words.parse_args()
    began, total = time.monotonic(), Figures()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for figures, told in pool.map(one, seeds, chunksize=4):
            total += figures
            if told:
                print(told, "\n", flush=True)
    print(total.line(minutes=(time.monotonic() - began) / 60))
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main())
