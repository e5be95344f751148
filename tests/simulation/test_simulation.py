"""The promises hold in whole lives of the daemon; `make simulate` runs as many more of them as wanted."""

import os
import subprocess
import sys

import pytest

from simulation import planted
from simulation.happenings import Heals, Moment, Refuses, Story
from simulation.one import broken, story
from simulation.play import play
from simulation.shrink import report, shrunk

SEEDS = range(40)


@pytest.mark.parametrize(
    "seeds", [SEEDS[n : n + 10] for n in range(0, len(SEEDS), 10)], ids=lambda seeds: str(seeds[0])
)
def test_whatever_happens_the_promises_hold_and_in_the_end_all_is_well(seeds: range) -> None:
    for seed in seeds:
        error = broken(story(seed))
        if error is not None:
            pytest.fail(report(seed, *shrunk(story(seed), error, seconds=30.0)))


def test_the_same_seed_writes_the_same_journal_in_any_process() -> None:
    code = (
        "from simulation.one import story; from simulation.play import play;"
        "print(*(play(story(seed)).book.digest.hexdigest() for seed in (3, 4, 5)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(told) == 1


def test_a_story_that_breaks_a_promise_is_told_in_its_shortest_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.core.ladder.after", lambda *_, **__: 0.0)
    found = ((seed, broken(story(seed))) for seed in range(100))
    seed, error = next((seed, error) for seed, error in found if error is not None)
    shorter, again = shrunk(story(seed), error)
    assert again.promise == error.promise
    assert len(shorter.moments) < len(story(seed).moments)
    told = report(seed, shorter, again)
    assert f"seed {seed} breaks a promise: {error.promise}" in told
    assert "attempt 1" in told


def test_a_story_without_a_fault_touches_nothing() -> None:
    calm = Story(story(0).plan, ())
    world = play(calm)
    assert (world.book.effects, world.book.cases) == (0, {})
    ill = Story(calm.plan, (Moment(60.0, Refuses(name=calm.plan.names[0], seconds=300.0)),))
    ill = Story(ill.plan, (*ill.moments, Moment(300.0, Heals(name=calm.plan.names[0]))))
    assert play(ill).book.cases


def test_every_planted_bug_can_still_be_planted() -> None:
    assert planted.unplantable() == []
    assert len({bug.name for bug in planted.BUGS}) == len(planted.BUGS) >= 36


@pytest.mark.parametrize("name", ["effect before commit", "after forgotten", "a freeze is ignored"])
def test_a_planted_bug_is_found(name: str) -> None:
    [bug] = [bug for bug in planted.BUGS if bug.name == name]
    number, by = planted.hunt(bug, seeds=20)
    assert number, by
