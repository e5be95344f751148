"""Adaptive detection against fixed: needless restarts a year, and seconds until a true fault is acted upon."""

from collections.abc import Mapping

from .detectors import CANDIDATES
from .estimate import Budget, Figures, figures
from .report import COLUMNS, SCENARIOS, checks, late, matrix, number, row, verdict

TITLE = "Adaptive detection against fixed thresholds"
YEARS = 0.1


async def main() -> None:
    compare(Budget(), years=YEARS)


def compare(budget: Budget, *, years: float) -> Mapping[str, Mapping[str, Figures]]:
    """Print everything as Markdown; with *years* of brute force to check the method."""
    print("Seconds from a fault's begin; needless restarts and costs with 95 % intervals.\n")
    tables = {}
    for scenario in SCENARIOS:
        print(f"### {scenario.name}\n\n| {COLUMNS} |\n|{' --- |' * (COLUMNS.count('|') + 1)}")
        table = tables[scenario.name] = {each.name: figures(each, scenario, budget) for each in CANDIDATES}
        for name, found in table.items():
            print(row(name, found))
        print(f"\n{late(table)}\n", flush=True)
    print("### Needless restarts a year\n")
    print("\n".join(matrix(tables, lambda found: number(found.false.value))))
    print("\n### Cost, in seconds of harm a year\n")
    print("\n".join(matrix(tables, lambda found: number(found.cost.value))))
    print("\n### Verdict\n")
    print("\n".join(verdict(tables)))
    if years:
        print("\n### The method, checked\n")
        for line in checks(budget, years):
            print(line, flush=True)
    return tables
