"""``python -m bench.detection [--trials N] [--years Y] [--seed S] [--json]``: the comparison with a budget of yours."""

import argparse
import contextlib
import io
import json
import sys

from . import YEARS, compare
from .estimate import Budget
from .report import as_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.detection")
    parser.add_argument(
        "--trials", type=int, default=Budget().trials, help="of each kind, for each figure (%(default)s)"
    )
    parser.add_argument("--years", type=float, default=YEARS, help="of brute force, to check the method (%(default)s)")
    parser.add_argument("--seed", type=int, default=Budget().seed)
    parser.add_argument("--json", action="store_true", help="the figures as JSON, and no tables")
    chosen = parser.parse_args()
    out = io.StringIO() if chosen.json else sys.stdout
    with contextlib.redirect_stdout(out):
        tables = compare(Budget(trials=chosen.trials, seed=chosen.seed), years=chosen.years)
    if chosen.json:
        figures = {name: {each: as_json(found) for each, found in table.items()} for name, table in tables.items()}
        print(json.dumps(figures, indent=2))


main()
