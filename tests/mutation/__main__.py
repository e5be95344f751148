"""How much of the code's meaning the tests hold: ``make mutate``. See docs/mutation.md."""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import hypothesis

from .edits import edits
from .run import CODE, FAILED_TO_RUN, KILLED, SURVIVED, TESTS, Change, Choice, attempt, measure

ROOMS = ("core", "recovery", "supervisor", "model")
WORDS = {SURVIVED: "survived", KILLED: "killed", FAILED_TO_RUN: "killed"}  # code that can't be imported is noticed


def main() -> None:
    """Change the rooms or files that are named, and tell what the tests noticed."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("where", nargs="*", default=ROOMS, help="rooms, or files as in core/guards.py")
    parser.add_argument("--log", type=Path, default=Path(".mutation"), help="each change and its end, a line each")
    parser.add_argument(
        "--tests", action="append", help="only these tests, such as tests/core: sooner done, and stricter"
    )
    args = parser.parse_args()
    if args.tests:
        TESTS[:] = args.tests
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        max_examples=20,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        deadline=None,
    )
    hypothesis.settings.load_profile("mutation")
    sys.stdout.write("measuring the tests on the unchanged code\n")
    sys.stdout.flush()
    choice = Choice(measure())
    changes = [change for where in args.where for file in _files(where) for change in _changes(file)]
    sys.stdout.write(f"{len(choice.measured)} tests, {len(changes)} changes\n")
    sys.stdout.flush()
    args.log.write_text("")

    def done(change: Change, code: int, by: str) -> None:
        word = WORDS.get(code, "timeout")
        if word == "killed" and by:
            choice.noticed(change, by)
        with args.log.open("a") as log:
            log.write(f"{word}\t{change.file}\t{change.edit.lines.start}\t{change.edit.what}\t{by}\n")

    attempt(changes, choice, done)
    sys.stdout.write(table([line.split("\t") for line in args.log.read_text().splitlines()]))


def _files(where: str) -> Sequence[str]:
    path = CODE / where
    files = [path] if path.is_file() else sorted(path.glob("*.py"))
    return [str(file.relative_to(CODE)) for file in files]


def _changes(file: str) -> Sequence[Change]:
    tree = ast.parse((CODE / file).read_text())
    return [Change(file, tree, edit) for edit in edits(tree)]


def table(log: Sequence[Sequence[str]]) -> str:
    """What survived, and the scores of all files."""
    lines = [f"{file}:{line}: {what}" for word, file, line, what, _ in log if word == "survived"]
    lines.append(f"{'file':<32}{'mutants':>8}{'killed':>8}{'survived':>9}{'timeout':>8}{'score':>8}")
    counts = {file: Counter(each[0] for each in log if each[1] == file) for file in dict.fromkeys(e[1] for e in log)}
    for file, count in {**counts, "total": sum(counts.values(), Counter())}.items():
        killed, survived, timeout, total = (*(count[word] for word in ("killed", "survived", "timeout")), count.total())
        score = (total - survived) / total if total else 1.0
        lines.append(f"{file:<32}{total:>8}{killed:>8}{survived:>9}{timeout:>8}{score:>8.1%}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
