"""Whether reviver should suspect itself."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.core import suspicion
from reviver.core.suspicion import (
    CALM,
    CONFIRMED_FOR,
    HOLDS_EVERYTHING,
    HOSTS_MIN,
    Doubt,
    Reason,
    Standing,
    Suspicion,
    crowd,
    is_local,
    suspect,
)

NONE = Suspicion()
SHARE = 0.3
LONGEST = max(CALM.values())


def hosts(failing: int, well: int) -> list[Standing]:
    return [Standing(hosts=frozenset({f"10.0.0.{n}"}), failing=n < failing) for n in range(failing + well)]


def crowd_of(*standings: Standing, share: float = SHARE, now: float = 0.0) -> Doubt | None:
    return crowd(standings, share=share, now=now)


def doubted(reason: Reason, at: float = 0.0, *, refutable: bool = False) -> Doubt:
    return Doubt(reason=reason, text=f"it is {reason}", seen_at=at, refutable=refutable)


def looked(before: Suspicion = NONE, *seen: Doubt, now: float = 0.0, confirmed_at: float | None = None) -> Suspicion:
    return suspect(before, seen, confirmed_at=confirmed_at, now=now)


def test_the_figures_are_those_that_the_documentation_gives() -> None:
    assert CALM == {Reason.CROWD: 60.0, Reason.LAG: 10.0, Reason.NETWORK: 30.0, Reason.SUSPENDED: 30.0}
    assert {Reason.LAG, Reason.SUSPENDED} == HOLDS_EVERYTHING
    assert (HOSTS_MIN, suspicion.FAILING_MIN, suspicion.LATE_FROM, CONFIRMED_FOR) == (6, 3, 1.0, 15.0)


# -------------------------------------------------------------------------------------------------------------- crowd


def test_when_a_third_of_many_hosts_fails_together_the_observer_is_suspect() -> None:
    found = crowd_of(*hosts(3, 7))
    assert found is not None
    assert found.text == "3 of 10 unrelated hosts fail together: this host may be cut off"


def test_below_that_share_the_failures_are_believed() -> None:
    assert crowd_of(*hosts(3, 8)) is None


def test_the_share_is_the_settings() -> None:
    assert crowd_of(*hosts(4, 4), share=0.6) is None
    assert crowd_of(*hosts(5, 3), share=0.6) is not None


def test_two_failing_hosts_are_never_a_crowd() -> None:
    assert crowd_of(*hosts(2, 4)) is None


def test_with_few_hosts_a_share_means_nothing() -> None:
    assert crowd_of(*hosts(HOSTS_MIN - 1, 0)) is None
    assert crowd_of(*hosts(HOSTS_MIN, 0)) is not None


def test_hosts_are_counted_and_not_services() -> None:
    one_host = [Standing(hosts=frozenset({"10.0.0.1"}), failing=True)] * 10
    assert crowd_of(*one_host, *hosts(0, 9)) is None


def test_a_host_on_which_one_service_passes_does_not_fail() -> None:
    passing = [Standing(hosts=frozenset({f"10.0.0.{n}"}), failing=False) for n in range(3)]
    assert crowd_of(*hosts(3, 7), *passing) is None
    assert crowd_of(*passing, *hosts(3, 7)) is None


def test_this_machine_is_no_unrelated_host() -> None:
    local = [Standing(hosts=frozenset({name}), failing=True) for name in ("localhost", "127.0.0.1", "127.8.8.8", "::1")]
    assert crowd_of(*hosts(2, 4), *local, *local) is None


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("db.example", False)],
)
def test_only_loopback_is_this_machine_for_certain(host: str, local: bool) -> None:
    assert is_local(host) is local


standings = st.lists(
    st.builds(
        Standing, hosts=st.frozensets(st.sampled_from([f"h{n}" for n in range(12)]), max_size=3), failing=st.booleans()
    ),
    max_size=20,
)


@given(standings=standings, share=st.floats(0.01, 1.0))
def test_a_crowd_needs_six_hosts_and_three_that_fail_whatever_the_share(
    standings: list[Standing], share: float
) -> None:
    failing = {host for each in standings if each.failing for host in each.hosts}
    known = {host for each in standings for host in each.hosts}
    if crowd(standings, share=share, now=0.0) is not None:
        assert len(known) >= 6
        assert len(failing) >= 3


@given(standings=standings, share=st.floats(0.01, 1.0), chosen=st.integers(0, 19))
def test_one_more_failure_never_makes_a_crowd_less_of_one(standings: list[Standing], share: float, chosen: int) -> None:
    if crowd(standings, share=share, now=0.0) is None or not standings:
        return
    worse = list(standings)
    worse[chosen % len(worse)] = Standing(hosts=worse[chosen % len(worse)].hosts, failing=True)
    assert crowd(worse, share=share, now=0.0) is not None


# ---------------------------------------------------------------------------------------------------------- suspicion


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_held_on_to_until_it_has_been_calm_for_its_time_and_no_longer(reason: Reason) -> None:
    found = looked(NONE, doubted(reason, 100.0), now=100.0)
    assert found.until == 100.0 + CALM[reason]
    assert looked(found, now=100.0 + CALM[reason] - 0.01).reasons == (reason,)
    assert looked(found, now=100.0 + CALM[reason]) == NONE


def test_a_cause_that_is_seen_again_starts_the_calm_afresh() -> None:
    found = looked(looked(NONE, doubted(Reason.CROWD, 0.0)), doubted(Reason.CROWD, 50.0), now=50.0)
    assert looked(found, now=109.0).reasons == (Reason.CROWD,)


def test_an_old_sight_of_a_cause_takes_nothing_from_a_newer_one() -> None:
    found = looked(NONE, doubted(Reason.LAG, 50.0), now=50.0)
    assert looked(found, doubted(Reason.LAG, 20.0), now=51.0) == found


@pytest.mark.parametrize("over_network", [True, False])
@pytest.mark.parametrize("reason", Reason)
def test_lateness_and_suspension_hold_all_and_the_network_and_a_crowd_what_is_asked_over_it(
    reason: Reason, over_network: bool
) -> None:
    found = looked(NONE, doubted(reason))
    assert bool(found.against(over_network=over_network)) is (over_network or reason in HOLDS_EVERYTHING)


def test_what_the_tie_break_confirms_no_longer_holds_but_stays_visible() -> None:
    found = looked(NONE, doubted(Reason.CROWD, 0.0, refutable=True), confirmed_at=1.0, now=2.0)
    assert found.against(over_network=True) == ""
    assert found.reasons == (Reason.CROWD,)
    assert found.text == "it is crowd; the tie-break confirms that the failures are real"


def test_the_word_of_the_tie_break_grows_old() -> None:
    found = looked(NONE, doubted(Reason.CROWD, 0.0, refutable=True), confirmed_at=1.0, now=1.0)
    assert looked(found, confirmed_at=1.0, now=1.0 + CONFIRMED_FOR).confirmed
    assert looked(found, confirmed_at=1.0, now=1.1 + CONFIRMED_FOR).against(over_network=True) == "it is crowd"


@pytest.mark.parametrize(
    "doubt",
    [suspicion.late(3.0, at=0.0), suspicion.suspended(60.0, at=0.0), suspicion.route_lost(now=0.0)],
    ids=lambda doubt: str(doubt.reason),
)
def test_the_tie_break_does_not_override_what_reviver_knows_of_itself(doubt: Doubt) -> None:
    both = looked(NONE, doubt, doubted(Reason.CROWD, refutable=True), confirmed_at=0.0)
    assert both.against(over_network=True) == doubt.text
    assert not looked(NONE, doubt, confirmed_at=0.0).confirmed


def test_silent_anchors_are_a_conclusion_that_the_tie_break_may_refute() -> None:
    assert looked(NONE, suspicion.anchors_silent(2, now=0.0), confirmed_at=0.0).against(over_network=True) == ""


def test_all_reasons_are_told_together() -> None:
    found = looked(NONE, suspicion.suspended(3600.0, at=0.0), suspicion.late(2.0, at=0.0))
    assert found.text == "reviver itself was 2.0 s late; this host was suspended for 3600 s"


def test_several_reasons_end_with_the_last_of_them() -> None:
    found = looked(NONE, suspicion.late(2.0, at=0.0), doubted(Reason.CROWD))
    assert found.until == 60.0
    assert NONE.until is None


def test_of_two_sights_at_the_same_moment_the_later_one_is_told() -> None:
    first, second = suspicion.late(2.0, at=5.0), suspicion.late(3.0, at=5.0)
    assert looked(looked(NONE, first, now=5.0), second, now=5.0).text == "reviver itself was 3.0 s late"


doubts = st.builds(
    Doubt, reason=st.sampled_from(Reason), text=st.just("seen"), seen_at=st.floats(0, 1000), refutable=st.booleans()
)


@given(history=st.lists(doubts, max_size=12))
def test_every_suspicion_ends_and_not_before_its_time(history: Sequence[Doubt]) -> None:
    found, now = NONE, 0.0
    for doubt in sorted(history, key=lambda each: each.seen_at):
        now = doubt.seen_at
        found = looked(found, doubt, now=now)
        assert doubt.reason in found.reasons
        assert found.against(over_network=True)
    until = found.until
    if until is not None:
        assert now < until <= now + LONGEST
        assert looked(found, now=until - 1e-6).reasons
    assert looked(found, now=now + LONGEST) == NONE


@given(history=st.lists(doubts, max_size=12), more=doubts, now=st.floats(0, 1100))
def test_seeing_more_never_holds_less(history: list[Doubt], more: Doubt, now: float) -> None:
    seen = [each for each in history if each.seen_at <= now]
    less = looked(NONE, *seen, now=now)
    worse = looked(NONE, *seen, more, now=now)
    assert set(less.reasons) <= set(worse.reasons)
    for over_network in (True, False):
        assert bool(less.against(over_network=over_network)) <= bool(worse.against(over_network=over_network))
