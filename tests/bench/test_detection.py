"""The comparison of detectors runs, and what it calls reviver's own detector is the core."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from bench.detection.detectors import CANDIDATES, DEFAULT, FIXED, AdaptiveTimeout, Candidate, Core
from bench.detection.estimate import Budget, Estimate, Figures, brute_force, delays, figures, noise, prepare
from bench.detection.report import SCENARIOS, undominated, verdict
from bench.detection.watch import watch
from bench.detection.world import YEAR, Kind, Moment, Scenario, Trouble, World, chance_late

from reviver.core.ladder import after
from reviver.model.services import Service

ROOT = Path(__file__).parent.parent.parent
TINY = Budget(trials=20)
PLAIN = Scenario(name="plain")
LOSSY = Scenario(name="lossy", loss=0.05)
REFUSED = [Trouble(Kind.REFUSE, 1.0, 1e9)]


def acted_at(detector: Core) -> float:
    """When it restarts a service that refuses from second 1 on; it is asked at 0, 5, …"""
    seen = watch(detector, World(PLAIN, Random(1), troubles=REFUSED), until=600.0)
    assert seen.acted_at is not None
    return seen.acted_at


def test_the_fixed_detector_has_the_defaults_of_a_service_and_of_a_restart() -> None:
    plain = Service(name="it", kind="tcp", check=DEFAULT.check)
    for setting in ("interval", "timeout", "confirm", "fall", "rise"):
        assert getattr(DEFAULT, setting) == getattr(plain, setting)
    assert after(DEFAULT.strategies[0], certain=False) == 20.0


def test_a_refusing_service_is_restarted_once_it_has_refused_for_the_default_of_after() -> None:
    assert acted_at(Core()) == pytest.approx(5.0 + 20.0, abs=0.1)


def test_fall_and_after_of_the_core_move_the_moment_of_the_restart() -> None:
    assert acted_at(Core(fall=3, hold=0.0)) == pytest.approx(5.0 + 2.0, abs=0.1)
    assert acted_at(Core(fall=6, hold=0.0)) == pytest.approx(5.0 + 5.0, abs=0.1)
    assert acted_at(Core(fall=3, hold=45.0)) == pytest.approx(5.0 + 45.0, abs=0.1)


def test_with_a_judge_that_believes_nothing_the_fixed_detector_never_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.detection.detectors.judge", lambda belief, _sample, _service: belief)
    seen = watch(Core(), World(PLAIN, Random(1), troubles=REFUSED), until=600.0)
    assert seen.acted_at is None


def test_with_a_fall_of_one_noise_restarts_as_often_as_a_probe_is_late() -> None:
    eager = Candidate(name="eager", make=lambda: Core(fall=1, hold=0.0))
    found = noise([prepare(eager, LOSSY, Moment(), TINY, None, 0)], LOSSY, TINY)
    late = chance_late(LOSSY, 1.0, DEFAULT.timeout)
    assert found.value == pytest.approx(YEAR / DEFAULT.interval * late, rel=0.01)


def test_a_healthy_probe_is_late_as_often_as_retransmission_says() -> None:
    assert chance_late(PLAIN, 1.0, 1.0) == pytest.approx(2.0e-3, rel=0.02)
    assert chance_late(PLAIN, 1.0, 2.0) == pytest.approx(4.0e-6, rel=0.02)
    assert chance_late(LOSSY, 1.0, 2.0) == pytest.approx(9.8e-3, rel=0.02)


def test_drawn_answers_are_late_as_often_as_computed_and_late_ones_are_late() -> None:
    heavy = Scenario(name="heavy", loss=0.05, sigma=2.0)
    world, limit = World(heavy, Random(2)), 0.5
    chance = chance_late(heavy, 1.0, limit)
    share = sum(sum(world.draw(1.0)) > limit for _ in range(20_000)) / 20_000
    assert share == pytest.approx(chance, rel=0.1)
    assert all(sum(world.draw_late(1.0, limit, chance)) > limit for _ in range(200))


def test_the_parts_add_up_to_what_is_seen_when_the_year_is_played() -> None:
    hasty = Candidate(name="hasty", make=lambda: Core(fall=2, hold=0.0))
    bumpy = Scenario(name="bumpy", loss=0.05, sigma=1.5, blips_per_year=365_000, blip_median=0.3)
    years = 0.004
    parts = figures(hasty, bumpy, Budget(trials=200)).false
    assert brute_force(hasty, bumpy, years, Budget()) / years == pytest.approx(parts.value, rel=0.4)


def test_a_timeout_that_is_learnt_follows_the_latencies_between_its_bounds() -> None:
    detector = AdaptiveTimeout(0.25)
    for number in range(200):
        detector.learn(0.01, float(number))
    assert detector.timeout == 0.25
    for number in range(10):
        detector.learn(1.0, float(number))
    assert detector.timeout == 3.0
    for number in range(10):
        detector.learn(9.0, float(number))
    assert detector.timeout == 10.0


def test_all_candidates_get_figures_in_the_scenario_in_which_everything_happens() -> None:
    everything = next(each for each in SCENARIOS if each.deploy_factor > 1 and each.loss > 0.001)
    for candidate in CANDIDATES:
        found = figures(candidate, everything, Budget(trials=4))
        assert found.false.value >= 0
        assert found.cost.value > 0


def made_up(*, needless: float, hang_after: float) -> Figures:
    per_kind = {kind: delays([prepare(FIXED, PLAIN, Moment(), TINY, None, 0)], PLAIN, kind, TINY) for kind in Kind}
    per_kind[Kind.HANG] = type(per_kind[Kind.HANG])([hang_after] * 20, [hang_after] * 20)
    return Figures(noise=Estimate(needless), blips=Estimate(0.0), stalls=Estimate(0.0), delays=per_kind)


def test_the_verdict_names_an_adaptive_detector_only_if_it_is_cheaper_everywhere() -> None:
    adaptive = Candidate(name="clever", adaptive=True)
    default, better, worse = (made_up(needless=n, hang_after=h) for n, h in ((2.0, 24.0), (0.5, 12.0), (9.0, 40.0)))
    everywhere = {name: {FIXED.name: default, "clever": better} for name in ("here", "there")}
    assert any("every scenario: clever" in line for line in verdict(everywhere, [FIXED, adaptive]))
    once = everywhere | {"there": {FIXED.name: default, "clever": worse}}
    assert any("fixed stays" in line for line in verdict(once, [FIXED, adaptive]))
    assert undominated(everywhere["here"]) == ["clever"]


def test_the_script_runs_and_tells_its_figures_as_json() -> None:
    argv = [sys.executable, "-m", "bench.detection", "--trials", "4", "--years", "0", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, timeout=120)
    told = json.loads(done.stdout)
    assert set(told) == {scenario.name for scenario in SCENARIOS}
    assert told[SCENARIOS[0].name][FIXED.name]["hang"]["restart_p50"] > 20
