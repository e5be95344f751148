"""``python -m crash``: kills the daemon at every crash point of every scene; prints a table. See docs/crash-points.md."""

import argparse
import sys
import time
from dataclasses import replace

from .bugs import BUGS
from .explore import Found, Plan, explore
from .scenes import SCENES

HEADER = "| scene | events | points | kills | two kills | SIGKILLs | people asked | violations |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m crash", description=__doc__)
    parser.add_argument("scenes", nargs="*", choices=[*SCENES, []], help="all, unless named")
    parser.add_argument("--stride", type=int, default=1, help="take every so many points")
    parser.add_argument("--second-stride", type=int, default=10, help="the same for the second kill; 0: none")
    parser.add_argument("--sigkills", type=int, default=100, help="SIGKILLs at random moments, per scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--bugs", action="store_true", help="plant bugs instead, and see that each is found")
    chosen = parser.parse_args()
    plan = Plan(
        stride=chosen.stride,
        second_stride=chosen.second_stride,
        sigkills=chosen.sigkills,
        seed=chosen.seed,
        jobs=chosen.jobs,
    )
    if chosen.bugs:
        return found_bugs(replace(plan, enough=1))
    began, all_found = time.monotonic(), []
    print(f"{HEADER}\n{'| --- ' * HEADER.count(' | ')}| --- |", flush=True)
    for name in chosen.scenes or SCENES:
        found = explore(SCENES[name], plan)
        all_found.append(found)
        print(row(found), flush=True)
        for wrong in found.wrongs:
            print(f"  {wrong}", file=sys.stderr)
    print(totals(all_found, seconds=time.monotonic() - began), flush=True)
    return 1 if any(found.violations for found in all_found) else 0


def found_bugs(plan: Plan) -> int:
    """Print which kill found each bug."""
    print("| bug | scene | found by | which said |\n| --- | --- | --- | --- |", flush=True)
    missed = 0
    for bug in BUGS.values():
        found = explore(SCENES[bug.scene], plan, plant=bug.plant)
        by = f"kill {found.kills} of {found.points:,}" if found.kills else "a life that nobody kills"
        said = found.wrongs[0].partition(": ")[2] if found.wrongs else ""
        print(f"| {bug.wrong} | {bug.scene} | {by if said else '**nothing**'} | {said} |", flush=True)
        missed += not found.violations
    return 1 if missed else 0


def row(found: Found) -> str:
    figures = (found.events, found.points, found.kills, found.doubles, found.sigkills, found.people, found.violations)
    return f"| {found.scene} | " + " | ".join(f"{figure:,}" for figure in figures) + " |"


def totals(every: list[Found], *, seconds: float) -> str:
    kills = sum(found.kills + 2 * found.doubles + found.sigkills for found in every)
    stories = sum(found.kills + found.doubles + found.sigkills for found in every)
    violations, people = (sum(getattr(found, what) for found in every) for what in ("violations", "people"))
    return (
        f"\n{sum(found.points for found in every):,} crash points, {kills:,} kills in {stories:,} stories, "
        f"people asked in {people:,}, violations: {violations:,}; {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
