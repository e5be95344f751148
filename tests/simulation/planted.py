"""
Bugs planted in a copy of the daemon, to see whether the simulation finds them: `make planted`.

A simulation that finds nothing may be blind. Each bug is one replaced piece of text; it must stand exactly once in the
source, so that a bug that can't be planted any more is noticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "daemon"
WITHIN = 300.0  # seconds that one bug may take


@dataclass(frozen=True)
class Bug:
    """A mistake that somebody might make."""

    name: str
    file: str
    """In `daemon/reviver`."""
    old: str
    new: str


DECIDE, GUARDS, HEALTH, LADDER = "core/decide.py", "core/guards.py", "core/health.py", "core/ladder.py"
RUN, STEPS, VERIFY, RESUME = "recovery/run.py", "recovery/steps.py", "recovery/verify.py", "recovery/resume.py"
SUPERVISOR, RESTORE, AROUND = "supervisor/supervisor.py", "supervisor/restore.py", "supervisor/surroundings.py"

BUGS = (
    # written first, once
    Bug("effect before commit", STEPS, "        await self._scribe.commit(\n            j.StepStarted(", "        self._scribe.record(\n            j.StepStarted("),
    Bug("commit does not wait", "incidents/scribe.py", "            await batch.written.wait()\n", "            batch.written.set()\n"),
    Bug("what could not be written is taken as written", "incidents/scribe.py", "        if batch.error:\n            raise", "        if False:\n            raise"),
    Bug("broken journal ignored", GUARDS, "    if situation.journal_broken:", "    if False:"),
    Bug("an order is not looked at again once it is written", SUPERVISOR, "        state, start = self.ordered(watched, by=by, strategy=strategy)  # writing took a moment: look again\n        self._apply(watched, (state, (start,)))", "        self._apply(watched, (state, (start,)))"),
    Bug("at_once ignored", GUARDS, "len(situation.running) >= situation.policy.at_once", "len(situation.running) > situation.policy.at_once"),
    Bug("attempt number not raised", DECIDE, "    attempt = trouble.attempts + 1\n", "    attempt = max(1, trouble.attempts)\n"),
    Bug("destructive step repeated after a crash", RESUME, "effect is Effect.IDEMPOTENT or became", "became is Reconciled.UNKNOWN or became"),
    Bug("reversible step repeated after a crash", RESUME, "effect is Effect.IDEMPOTENT or", "effect is not Effect.DESTRUCTIVE or"),
    Bug("a destructive failure is tried again", RUN, "if outcome is Outcome.FAILED and done.destructive:", "if False:"),
    Bug("stop (unclear) forgotten after a restart", RESTORE, "        stop=_stop(incident),", "        stop=decide.Stop.NONE,"),
    # ground to act
    Bug("one failure too few", HEALTH, "Signal.FELL if failures >= service.fall else", "Signal.FELL if failures >= service.fall - 1 else"),
    Bug("acts on fewer failures than fall", LADDER, "    if count < service.fall:\n        return Confirming()\n    if rung is None:", "    if count < 1:\n        return Confirming()\n    if rung is None:"),
    Bug("void answers count", HEALTH, "sample.result.fault is not None and sample.lag >", "False and sample.lag >"),
    Bug("kinds that the rung does not answer count", LADDER, "streak(belief, (rung or rungs[-1]).faults)", "streak(belief, set(FaultKind))"),
    Bug("a pass does not end the row", HEALTH, "        if run.kind not in kinds:\n            break\n", "        if run.kind not in kinds:\n            continue\n"),
    Bug("after forgotten", LADDER, "    ready = since + after(rung, certain=fault.certain)", "    ready = since"),
    Bug("certain evidence hastens what is destructive", LADDER, "        return max(dearest, DESTRUCTIVE_AFTER)", "        return CERTAIN_AFTER if certain else max(dearest, DESTRUCTIVE_AFTER)"),
    Bug("no look before a step", RUN, "SYMPTOM_FRESH = 2.0", "SYMPTOM_FRESH = 60.0"),
    Bug("an old plan is carried out", RUN, "PLAN_VALID = 60.0", "PLAN_VALID = 1e9"),
    Bug("acts on a healed service", RUN, "        return await self._before_the_first(order, result)", "        return None"),
    Bug("dependencies ignored", AROUND, "        todo = list(watched.service.depends_on)", "        todo: list[str] = []"),
    Bug("only direct dependencies", AROUND, "                todo.extend(self._watched[name].service.depends_on)", "                pass"),
    Bug("what it needs is not asked before an attempt", RUN, "unmet = await order.patient.unmet_need() if order.by == REVIVER else None", "unmet = None"),
    Bug("suspicion never starts", "core/suspicion.py", "FAILING_MIN = 3", "FAILING_MIN = 30"),
    Bug("own lateness is no reason for doubt", "core/suspicion.py", "LATE_FROM = 1.0", "LATE_FROM = 1e9"),
    Bug("a lost route is no reason for doubt", "supervisor/observer.py", "        if self._route_lost:", "        if False:"),
    # how often
    Bug("overall budget ignored", GUARDS, "tightest([situation.policy.budget], situation.used_at, now=now)", "tightest([], situation.used_at, now=now)"),
    Bug("the service's budget ignored", GUARDS, "tightest(service.budgets, here, now=now)", "tightest((), here, now=now)"),
    Bug("the strategy's budget ignored", GUARDS, "tightest(strategy.budgets, situation", "tightest((), situation"),
    Bug("one attempt more than the budget", "core/budget.py", "    if len(recent) < budget.attempts:\n        return now\n    return recent[-budget.attempts]", "    if len(recent) <= budget.attempts:\n        return now\n    return recent[-budget.attempts]"),
    Bug("budgets forgotten after a restart", RESTORE, "    supervisor.used(await _uses(journal, now=now))\n", ""),
    Bug("aborted attempts are never taken back from the budget", SUPERVISOR, "            self._surroundings.unused(use)", "            pass"),
    Bug("attempts forgotten after a restart", RESTORE, "            ladder = ladder.counted(attempt.strategy)\n", "            pass\n"),
    Bug("aborted attempts count in the ladder", DECIDE, "ladder=trouble.ladder.counted(strategy, by=-1)", "ladder=trouble.ladder"),
    Bug("healed counts as an attempt", DECIDE, "    if outcome in {Outcome.ABORTED, Outcome.HEALED}:", "    if outcome is Outcome.ABORTED:"),
    Bug("full jitter from zero", "core/backoff.py", "            return floor + random * (ceiling - floor)", "            return random * ceiling"),
    Bug("backoff forgotten", LADDER, "    if now < ladder.not_before:", "    if False:"),
    Bug("backoff forgotten after a restart", RESTORE, "replace(ladder, not_before=now - last.ended_age + pause)", "ladder"),
    Bug("cool-down forgotten", DECIDE, "not_before=now + service.cooldown)", "not_before=now)"),
    Bug("one attempt more than a rung has", LADDER, "self.made(strategy.name) >= strategy.attempts", "self.made(strategy.name) > strategy.attempts"),
    Bug("the ladder is never climbed", LADDER, "rung = next((rung for rung in rungs if not ladder.over(rung)), None)", "rung = rungs[0] if not ladder.over(rungs[0]) else None"),
    Bug("the ladder is climbed from above", LADDER, "rung = next((rung for rung in rungs if", "rung = next((rung for rung in reversed(rungs) if"),
    Bug("a relapse begins a new incident", DECIDE, "since - trouble.recovered_at > service.stable and", "True and"),
    Bug("a relapse forgets the attempts made", DECIDE, "        ladder=trouble.ladder,\n        attempts=trouble.attempts,\n        stop", "        attempts=trouble.attempts,\n        stop"),
    Bug("what flaps is cured the same way for ever", DECIDE, "    if cured_by:\n        state, trouble, gave_up", "    if False:\n        state, trouble, gave_up"),
    Bug("given up is forgotten after a restart", RESTORE, "Ladder(given_up=frozenset(incident.given_up))", "Ladder()"),
    # people's word
    Bug("observe acts", GUARDS, "    if Mode.OBSERVE in modes:", "    if False:"),
    Bug("a daemon that only observes acts", GUARDS, "    if situation.policy.mode is Mode.OBSERVE:", "    if False:"),
    Bug("approve acts by itself", GUARDS, "    if Mode.APPROVE in modes:", "    if False:"),
    Bug("an old approval starts a new plan", SUPERVISOR, "if asked is None or not hmac.compare_digest(asked[1], token):", "if asked is None:"),
    Bug("a freeze is ignored", GUARDS, "    if situation.frozen:", "    if False:"),
    Bug("a freeze is forgotten after a restart", RESTORE, "        supervisor.was_frozen(by=frozen.by, reason=frozen.reason)", "        pass"),
    Bug("a pause is forgotten after a restart", RESTORE, "        if name in supervisor.watched and isinstance(pause.entry, j.ServicePaused):\n", "        if False:\n"),
    Bug("a pause never ends", SUPERVISOR, '        self._schedule.put(("unpause", watched.name), ends_at)\n', ""),
    Bug("setting the date lifts a pause", "model/journal.py", "record.entry.until - record.at - record.age", "record.entry.until - record.at - record.age * 1.5"),
    # to the end
    Bug("rise ignored", DECIDE, "        if belief.passes_in_row < service.rise:\n            return state, ()\n", ""),
    Bug("one pass is up", HEALTH, "Signal.ROSE if passes >= service.rise else", "Signal.ROSE if passes >= 1 else"),
    Bug("verification skipped", RUN, "        outcome = Outcome.RECOVERED if verified.passed else Outcome.FAILED", "        outcome = Outcome.RECOVERED"),
    Bug("named verifications skipped", VERIFY, "            message = await _named(order)\n", '            message = ""\n'),
    Bug("closed though unproven", DECIDE, "        if trouble.unproven:\n            return _prove", "        if False:\n            return _prove"),
    Bug("suspicion never ends", "core/suspicion.py", "reason in doubts and now < doubts[reason].until)", "reason in doubts)"),
    Bug("the ladder is not looked at again in time", DECIDE, "            return replace(state, trouble=trouble), (*told, LookAt(at))", "            return replace(state, trouble=trouble), told"),
    Bug("told again and again", DECIDE, "        handed_over=trouble.handed_over | {why},\n", ""),
    Bug("never handed over", DECIDE, "            return _handed_over(state, trouble, fault.kind, reason, now=now, retry_after=service.retry_after)", "            return state, ()"),
    Bug("an attempt in flight is not resumed", RESTORE, "    return [lambda: supervisor.go_on(watched, start, flying)]", "    return []"),
)  # fmt: skip


def unplantable() -> list[str]:
    """Bugs whose text does not stand exactly once in the source."""
    return [bug.name for bug in BUGS if (SOURCE / "reviver" / bug.file).read_text().count(bug.old) != 1]


def hunt(bug: Bug, *, seeds: int, first_seed: int = 0) -> tuple[int, str]:
    """How many seeds it took until *bug* was found (0: it was not), and by what."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "daemon"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / "reviver" / bug.file
        file.write_text(file.read_text().replace(bug.old, bug.new))
        path = os.pathsep.join([str(copy), str(Path(__file__).parents[1])])
        command = [sys.executable, "-m", "simulation.planted", "--hunt", "--seeds", str(seeds)]
        # The copy is gone when coverage is reported: it must not be measured.
        untraced = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        try:
            done = subprocess.run(
                [*command, "--first-seed", str(first_seed)],
                env={**untraced, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=WITHIN,
                check=True,
            )
        except subprocess.TimeoutExpired:
            return 0, f"nothing within {WITHIN:g} s"
    number, _, what = done.stdout.strip().splitlines()[-1].partition(" ")
    return int(number), what


def _hunted(seeds: Sequence[int]) -> str:
    """The first of *seeds* that breaks a promise, and which."""
    from .one import broken, story  # the one with the planted bug

    for number, seed in enumerate(seeds, start=1):
        try:
            error = broken(story(seed))
        except Exception as crashed:  # noqa: BLE001  a bug that crashes the daemon is found, too
            return f"{number} crashed: {type(crashed).__name__}"
        if error is not None:
            return f"{number} {error.promise}"
    return "0 not found"


def main() -> int:
    """Plant each bug in turn, and print a table."""
    words = argparse.ArgumentParser(prog="python -m simulation.planted", description=__doc__)
    words.add_argument("--seeds", type=int, default=100)
    words.add_argument("--first-seed", type=int, default=0)
    words.add_argument("--only", default="", help="bugs whose names hold this text")
    words.add_argument("--hunt", action="store_true", help=argparse.SUPPRESS)
    chosen = words.parse_args()
    if chosen.hunt:
        print(_hunted(range(chosen.first_seed, chosen.first_seed + chosen.seeds)))
        return 0
    began, found = time.monotonic(), []
    bugs = [bug for bug in BUGS if chosen.only in bug.name]
    print("| bug | seeds until found | by |\n| --- | --- | --- |")
    for bug in bugs:
        number, what = hunt(bug, seeds=chosen.seeds, first_seed=chosen.first_seed)
        found += [number] if number else []
        print(f"| {bug.name} | {number or 'none'} | {what} |", flush=True)
    median = statistics.median(found) if found else 0
    minutes = (time.monotonic() - began) / 60
    print(f"found {len(found)}/{len(bugs)}, median seeds {median:g}, {chosen.seeds} at most, {minutes:.1f} minutes")
    return 0 if len(found) == len(bugs) else 1


if __name__ == "__main__":
    sys.exit(main())
