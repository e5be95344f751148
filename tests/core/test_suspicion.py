"""Whether reviver should suspect itself."""

from reviver.core.suspicion import CALM_FOR, HOSTS_MIN, LOCAL_HOSTS, Standing, Suspicion, suspect

CALM = Suspicion()


def hosts(failing: int, well: int) -> list[Standing]:
    return [Standing(hosts=frozenset({f"10.0.0.{n}"}), failing=n < failing) for n in range(failing + well)]


def suspected(*standings: Standing, before: Suspicion = CALM, now: float = 0.0) -> Suspicion:
    return suspect(before, standings, now=now)


def test_when_a_third_of_many_hosts_fails_together_the_observer_is_suspect() -> None:
    assert suspected(*hosts(3, 7)).reason == "3 of 10 unrelated hosts fail together: this host may be cut off"


def test_below_that_share_the_failures_are_believed() -> None:
    assert suspected(*hosts(3, 8)) == CALM


def test_two_failing_hosts_are_never_a_crowd() -> None:
    assert suspected(*hosts(2, 4)) == CALM


def test_with_few_hosts_a_share_means_nothing() -> None:
    assert suspected(*hosts(HOSTS_MIN - 1, 0)) == CALM


def test_hosts_are_counted_and_not_services() -> None:
    one_host = [Standing(hosts=frozenset({"10.0.0.1"}), failing=True)] * 10
    assert suspected(*one_host, *hosts(0, 9)) == CALM


def test_a_host_on_which_one_service_passes_does_not_fail() -> None:
    passing = [Standing(hosts=frozenset({f"10.0.0.{n}"}), failing=False) for n in range(3)]
    assert suspected(*hosts(3, 7), *passing) == CALM


def test_this_machine_is_no_unrelated_host() -> None:
    local = [Standing(hosts=frozenset({name}), failing=True) for name in LOCAL_HOSTS]
    assert suspected(*hosts(2, 4), *local, *local) == CALM


def test_the_suspicion_lasts_until_the_share_has_been_low_for_a_while() -> None:
    high = suspected(*hosts(6, 0))
    falling = suspected(*hosts(0, 6), before=high, now=100.0)
    assert falling.reason == high.reason
    assert suspected(*hosts(0, 6), before=falling, now=100.0 + CALM_FOR - 1).reason == high.reason
    assert suspected(*hosts(0, 6), before=falling, now=100.0 + CALM_FOR) == CALM


def test_a_new_crowd_starts_the_calm_afresh() -> None:
    falling = suspected(*hosts(0, 6), before=suspected(*hosts(6, 0)), now=100.0)
    again = suspected(*hosts(6, 0), before=falling, now=130.0)
    assert suspected(*hosts(0, 6), before=again, now=100.0 + CALM_FOR).reason
