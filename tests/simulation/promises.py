"""
The promises, one small function each, held against the book at the moment that concerns them.

A promise returns what is wrong, or nothing. `@at(…)` says when it is asked: at an `effect`, when an `attempt` begins
or has `ended`, or when an entry of some type is on disk. A new promise is a new function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from reviver.model import journal as j
from reviver.model.actions import Effect
from reviver.model.events import HealthChanged
from reviver.model.faults import Fault
from reviver.model.health import Health
from reviver.model.services import Budget, Mode, Service, Strategy

from .book import Answer, Attempt, Book, Use
from .things import EPSILON, Deed

Promise = Callable[[Book, Any], str]
_KNOWN: dict[str, list[Promise]] = {}

FRESH = 2.0  # seconds; what was seen longer ago is no ground for acting
WRITING = 2.0  # seconds that writing the start of a step may take
PLAN_VALID = 60.0  # seconds from a decision to its first effect


def at(*happened: str) -> Callable[[Promise], Promise]:
    """Ask this promise at these moments."""

    def known(promise: Promise) -> Promise:
        for each in happened:
            _KNOWN.setdefault(each, []).append(promise)
        return promise

    return known


def of(happened: str) -> Sequence[Promise]:
    """The promises that concern what has *happened*."""
    return _KNOWN.get(happened, ())


def _decided(promise: Promise) -> Promise:
    """Only of attempts that the daemon decides on by itself, and that are to do something."""

    def asked(book: Book, attempt: Attempt) -> str:
        order = attempt.order
        return promise(book, attempt) if attempt.automatic and order.resume is None and order.strategy.steps else ""

    asked.__name__ = promise.__name__
    return asked


def just_reloaded(book: Book) -> bool:
    """Whether an answer or an attempt may still go by the settings before."""
    return book.now - book.reloaded_at < 90.0


# ------------------------------------------------------------------------------------------------------ the harm brake


@at("strategy_demoted")
def what_is_demoted_is_known(book: Book, entry: j.StrategyDemoted) -> str:
    book.demoted.add((entry.service, entry.strategy))
    return ""


@at("attempt")
@_decided
def what_did_harm_acts_no_second_time_by_itself(book: Book, attempt: Attempt) -> str:
    order = attempt.order
    key = order.service.name, order.strategy.name
    return f"{key[1]} of {key[0]} was demoted" if key in book.demoted else ""


# ----------------------------------------------------------------------------------------- one at a time, written first


@at("attempt")
def one_recovery_of_a_service_at_a_time(book: Book, attempt: Attempt) -> str:
    other = book.running.get(attempt.order.service.name)
    return f"attempt {other.order.attempt} of it is still under way" if other is not None else ""


@at("effect")
def one_effect_on_a_service_at_a_time(book: Book, deed: Deed) -> str:
    return f"{book.acting[deed.thing.name].describe()} has not ended" if deed.thing.name in book.acting else ""


@at("attempt")
@_decided
def no_more_at_once_than_allowed(book: Book, attempt: Attempt) -> str:
    limit = book.policy.at_once
    return f"{len(book.running)} under way, {limit} allowed" if len(book.running) >= limit else ""


@at("effect")
def no_effect_before_its_start_is_on_disk(book: Book, deed: Deed) -> str:
    attempt = book.running.get(deed.thing.name)
    if attempt is None:
        return "no attempt is under way"
    licence = book.licences.get(deed.thing.name)
    if licence is None:
        return "its start is not on disk"
    wanted = (*attempt.key, deed.step, f"deed.{deed.rung}.{deed.step}")
    found = (licence.incident, licence.attempt, licence.step, licence.action)
    return f"on disk is the start of {found}, not of {wanted}" if found != wanted else ""


@at("effect")
def nothing_is_done_without_an_open_incident(book: Book, deed: Deed) -> str:
    case = book.cases.get(book.running[deed.thing.name].order.incident)
    if case is None:
        return "its incident is not in the journal"
    return "" if case.open else f"{case.id} is over"


@at("attempt")
def nothing_is_started_with_a_broken_journal(book: Book, attempt: Attempt) -> str:
    return "the last write has failed" if book.disk_failed and attempt.order.resume is None else ""


@at("effect")
def what_cannot_be_repeated_is_not_repeated(book: Book, deed: Deed) -> str:
    attempt = book.running[deed.thing.name]
    times = book.done[(*attempt.key, deed.step)]
    return f"it may have happened {times} times" if times and deed.effect is not Effect.IDEMPOTENT else ""


@at("attempt")
@_decided
def people_look_at_what_is_unclear(book: Book, attempt: Attempt) -> str:
    case = book.cases.get(attempt.order.incident)
    return "something destructive was begun before and did not end well" if case is not None and case.unclear else ""


# --------------------------------------------------------------------------------------------------- ground to act


def evidence(book: Book, service: Service, strategy: Strategy) -> list[Answer]:
    """The latest failures in a row that *strategy* answers, newest first."""
    row: list[Answer] = []
    unknowns = 0
    for answer in reversed(book.answers[service.name]):
        if answer.fault is not None:
            if answer.void or (answer.void is None and answer.fault.kind not in strategy.faults):
                continue
            if answer.fault.kind not in strategy.faults:
                break
            unknowns = 0
            row.append(answer)
        elif answer.unknown:
            unknowns += 1
            if unknowns >= service.fall:
                break
        else:
            break
    return row


def latest_fault(book: Book, name: str) -> Fault | None:
    """The fault that a service last showed, as far as that is beyond doubt."""
    for answer in reversed(book.answers[name]):
        if answer.void is None and answer.fault is not None:
            return None
        if answer.fault is not None and not answer.void:
            return answer.fault
    return None


@at("attempt")
@_decided
def never_on_less_than_fall_failures_in_a_row(book: Book, attempt: Attempt) -> str:
    service, strategy = attempt.order.service, attempt.order.strategy
    if just_reloaded(book):
        return ""
    seen = len(evidence(book, service, strategy))
    return (
        f"{seen} failures in a row that {strategy.name} answers, {service.fall} wanted" if seen < service.fall else ""
    )


@at("attempt")
@_decided
def a_fault_lasts_before_it_is_acted_upon(book: Book, attempt: Attempt) -> str:
    service, strategy = attempt.order.service, attempt.order.strategy
    row = evidence(book, service, strategy)
    lasted = book.now - row[-1].asked_at if row else 0.0
    certain = any(answer.fault is not None and answer.fault.certain for answer in row[:1])
    wanted = waiting(strategy, certain=certain)
    return f"it has lasted for {lasted:.3f} s, {wanted:g} s wanted" if lasted < wanted - EPSILON else ""


def waiting(strategy: Strategy, *, certain: bool) -> float:
    """How long a fault must last, as the documentation says it."""
    if strategy.after is not None:
        return strategy.after
    dearest = max(step.action.default_after for step in strategy.steps)
    if strategy.destructive:
        return max(150.0, dearest)
    return min(2.0, dearest) if certain else dearest


@at("effect")
def never_on_what_was_seen_too_long_ago(book: Book, deed: Deed) -> str:
    attempt = book.running[deed.thing.name]
    if attempt.order.fault is None:
        return ""
    answers = [answer for answer in book.answers[deed.thing.name] if not (answer.void and answer.fault)]
    age = book.now - answers[-1].answered_at if answers else float("inf")
    if age > FRESH + WRITING + EPSILON:
        return f"it was last seen {age:.3f} s ago"
    first = attempt.order.resume is None and not attempt.acted
    if (first or deed.effect is Effect.DESTRUCTIVE) and answers[-1].fault is None:
        return "it was not ill when it was last seen"
    return ""


@at("effect")
def a_decision_is_carried_out_soon_or_never(book: Book, deed: Deed) -> str:
    attempt = book.running[deed.thing.name]
    age = book.now - attempt.began_at
    allowed = PLAN_VALID + WRITING + attempt.order.service.timeout + 1.0
    first = not attempt.acted and not (attempt.order.resume is not None and attempt.order.resume.steps)
    return f"the decision is {age:.1f} s old" if first and age > allowed else ""


@at("attempt")
@_decided
def the_observer_is_suspect_when_much_fails_together(book: Book, attempt: Attempt) -> str:
    hosts = {book.things[name].host for name in book.services} - {"localhost"}
    failing = {book.things[name].host for name in book.services if _fails_for(book, name, 1.0)} - {"localhost"}
    roots = {book.things[name].host for name, service in book.services.items() if not service.depends_on}
    crowd = len(failing & roots)
    if len(hosts & roots) < 6 or crowd < 3 or crowd < book.policy.suspect_share * len(hosts):
        return ""
    if book.things[attempt.order.service.name].host == "localhost":
        return ""
    if book.policy.tie_break is not None and book.now - book.vantage_at < 20.0:
        return ""
    return f"{crowd} of {len(hosts)} hosts fail together"


@at("attempt")
@_decided
def who_was_late_looks_again_first(book: Book, attempt: Attempt) -> str:
    for begun, ended in book.stalls:
        if ended - begun > 1.0 + book.lag_every and 0.0 <= book.now - ended < 10.0 and begun > book.life_at + 3.0:
            return f"it was {ended - begun:.1f} s late {book.now - ended:.1f} s ago"
    slept = book.now - book.suspended_at
    return f"it was suspended {slept:.1f} s ago" if slept < 30.0 and book.suspended_at > book.life_at + 3.0 else ""


@at("attempt")
@_decided
def without_a_network_what_is_far_is_left_alone(book: Book, attempt: Attempt) -> str:
    since, until = book.offline
    far = book.things[attempt.order.service.name].host != "localhost"
    known = max(since, book.life_at) + 20.0 if since > book.life_at + 20.0 else float("inf")
    return "this host has no default route" if far and known < book.now < until else ""


def _fails_for(book: Book, name: str, seconds: float) -> bool:
    """Whether the last answers of *name* were failures beyond doubt, for so long."""
    since = None
    for answer in reversed(book.answers[name]):
        if answer.fault is None or answer.void is not False:
            break
        since = answer.answered_at
    return since is not None and since <= book.now - seconds


@at("effect")
def the_root_is_recovered_first(book: Book, deed: Deed) -> str:
    attempt = book.running[deed.thing.name]
    if not attempt.automatic or attempt.acted or (attempt.order.resume is not None and attempt.order.resume.steps):
        return ""
    slack = FRESH + 0.1
    if any(ended > attempt.began_at - 60.0 for _, ended in book.stalls):
        return ""  # what it needs may have answered in time, and was not heard
    for name in _needed(book, deed.thing.name):
        since = book.things[name].steadily_ill_since(book.now)
        if since is not None and since < attempt.began_at - slack:
            return f"{name}, which it needs, has been ill for {book.now - since:.1f} s"
    return ""


def _needed(book: Book, name: str) -> set[str]:
    found: set[str] = set()
    todo = [name]
    while todo:
        service = book.services.get(todo.pop())
        more = {each for each in service.depends_on if each in book.services} - found if service is not None else set()
        found |= more
        todo.extend(more)
    return found


# ------------------------------------------------------------------------------------------------------- how often


@at("effect")
def budgets_are_kept(book: Book, deed: Deed) -> str:
    attempt = book.running[deed.thing.name]
    if not book.counts(attempt):
        return ""
    use = book.use_of(attempt)
    uses = [*book.uses, use]
    return next((told for other in uses if other.real >= use.real and (told := _over(uses, other))), "")


def _over(uses: Sequence[Use], use: Use) -> str:
    alike = [each for each in uses if (each.service.name, each.strategy) == (use.service.name, use.strategy)]
    here = [each for each in uses if each.service.name == use.service.name]
    rung = next((each for each in use.service.strategies if each.name == use.strategy), None)
    budgets: list[tuple[Budget, Sequence[Use]]] = [(budget, here) for budget in use.service.budgets]
    budgets += [(budget, alike) for budget in (rung.budgets if rung is not None else ())]
    for budget, those in [*budgets, (use.policy.budget, uses)]:
        within = [each for each in those if use.real - budget.per + EPSILON < each.real <= use.real]
        if len(within) > budget.attempts:
            return f"{len(within)} attempts within {budget.per:g} s, {budget.attempts} allowed"
    return ""


def spent(book: Book, budget: Budget, uses: Sequence[Use]) -> bool:
    """Whether the daemon may think that *budget* is spent: of a suspension it knows nothing."""
    return sum(each.real > book.real - budget.per - book.slept - 1.0 for each in uses) >= budget.attempts


@at("incident_escalated")
def a_budget_is_called_spent_when_it_is(book: Book, entry: j.IncidentEscalated) -> str:
    service = book.services.get(entry.service)
    named = re.match(r"the budget of \w+ is spent: reviver made", entry.reason)
    if named is None or service is None or book.unsure_of_time or not book.prompt:
        return ""
    uses = [use for use in book.claims.values() if use.service.name == entry.service]
    return "" if any(spent(book, budget, uses) for budget in service.budgets) else f"{len(uses)} uses in all"


@at("recovery_held")
def the_overall_budget_is_called_spent_when_it_is(book: Book, entry: j.RecoveryHeld) -> str:
    if entry.guard != "budget" or book.unsure_of_time or not book.prompt:
        return ""
    budget = book.policy.budget
    running = sum(attempt.automatic for attempt in book.running.values())
    less = Budget(attempts=budget.attempts - running, per=budget.per)
    return (
        "" if less.attempts <= 0 or spent(book, less, list(book.claims.values())) else f"{budget.attempts} not reached"
    )


@at("attempt")
@_decided
def backoff_is_never_shorter_than_its_floor(book: Book, attempt: Attempt) -> str:
    case = book.cases.get(attempt.order.incident)
    if case is None or book.unsure_of_time:
        return ""
    early = case.not_before - book.real
    return f"{early:.3f} s too early" if early > EPSILON else ""


@at("attempt")
@_decided
def a_rung_has_so_many_attempts(book: Book, attempt: Attempt) -> str:
    case, strategy = book.cases.get(attempt.order.incident), attempt.order.strategy
    if book.unsure_of_time:  # then the ladder may be tried again from its start
        return ""
    made = 0 if case is None else case.since_reset[strategy.name]
    return f"{strategy.name} was tried {made} times, {strategy.attempts} allowed" if made >= strategy.attempts else ""


@at("strategy_abandoned")
def a_strategy_is_given_up_for_a_reason(book: Book, entry: j.StrategyAbandoned) -> str:
    service = book.services.get(entry.service)
    rung = next((each for each in service.strategies if each.name == entry.strategy), None) if service else None
    if rung is None or service is None or book.unsure_of_time or not book.prompt or book.now - book.reloaded_at < 1.0:
        return ""
    if entry.reason.startswith("the budget"):
        claims = book.claims.values()
        uses = [use for use in claims if (use.service.name, use.strategy) == (entry.service, entry.strategy)]
        return "" if any(spent(book, budget, uses) for budget in rung.budgets) else f"{len(uses)} uses in all"
    if " fell " in entry.reason:
        since = book.real - service.flapping.within - book.slept - 1.0
        falls = sum(at > since for at in book.falls.get(entry.service, ()))
        return f"it fell {falls} times" if falls < service.flapping.falls else ""
    return "" if entry.reason.startswith("denied by ann") else entry.reason


@at("incident_reopened")
def what_flaps_is_not_cured_the_same_way_again(book: Book, entry: j.IncidentReopened) -> str:
    service, case = book.services.get(entry.service), book.latest.get(entry.service)
    if service is None or case is None or not book.prompt or book.unsure_of_time:
        return ""
    falls = 1 + sum(at > book.real - service.flapping.within + 1.0 for at in book.falls.get(entry.service, ()))
    book.flapping[entry.incident] = case.cured_by if falls >= service.flapping.falls else ""
    return ""


@at("attempt")
@_decided
def nothing_is_done_that_was_given_up(book: Book, attempt: Attempt) -> str:
    case, name = book.cases.get(attempt.order.incident), attempt.order.strategy.name
    if case is None:
        return ""
    if book.flapping.get(case.id) == name and not case.cooled_down:
        return "it flaps, and this brought it back the last time"
    return f"{name} was given up" if name in case.given_up else ""


@at("attempt")
@_decided
def after_a_cure_it_is_left_alone_for_a_while(book: Book, attempt: Attempt) -> str:
    ago = book.real - book.cured.get(attempt.order.service.name, float("-inf"))
    cooldown = attempt.order.service.cooldown
    return f"it was cured {ago:.3f} s ago" if ago < cooldown - EPSILON and not book.unsure_of_time else ""


@at("attempt_started")
def no_rung_is_left_out(book: Book, entry: j.AttemptStarted) -> str:
    attempt = book.running.get(entry.service)
    if attempt is None or not attempt.automatic or attempt.order.resume is not None or not attempt.order.strategy.steps:
        return ""
    case, fault = book.cases.get(attempt.order.incident), latest_fault(book, attempt.order.service.name)
    if case is not None and case.ever_given_up & {rung.name for rung in attempt.order.service.strategies}:
        fault = fault if attempt.order.strategy.name not in case.ever_given_up else None
    for rung in attempt.order.service.strategies:
        if rung.name == attempt.order.strategy.name or fault is None:
            return ""
        made = 0 if case is None else case.counted[rung.name]
        passed_over = case is not None and rung.name in case.ever_given_up
        if fault.kind in rung.faults and made < rung.attempts and not passed_over:
            return f"{rung.name} was tried only {made} of {rung.attempts} times"
    return ""


# ------------------------------------------------------------------------------------------------- people's word


@at("effect")
def what_a_person_has_paused_is_not_touched(book: Book, deed: Deed) -> str:
    since, until = book.pauses.get(deed.thing.name, (book.real, book.real))
    return f"paused for {until - book.real:.1f} s more" if since + EPSILON < book.real < until - EPSILON else ""


@at("effect", "attempt")
def who_observes_does_nothing(book: Book, subject: Deed | Attempt) -> str:
    if isinstance(subject, Attempt) and subject.order.resume is not None:
        return ""
    return "the daemon only observes" if book.policy.mode is Mode.OBSERVE else ""


@at("attempt")
@_decided
def without_a_person_only_what_is_automatic(book: Book, attempt: Attempt) -> str:
    modes = {attempt.order.strategy.mode, book.policy.mode}
    return f"the modes are {modes}" if modes != {Mode.AUTO} else ""


@at("effect", "attempt")
def in_a_freeze_nothing_is_done(book: Book, subject: Deed | Attempt) -> str:
    if isinstance(subject, Attempt) and subject.order.resume is not None:
        return ""
    return "everything is frozen" if book.frozen else ""


@at("approval_given")
def only_what_was_asked_for_is_approved_and_in_time(book: Book, entry: j.ApprovalGiven) -> str:
    request, since = book.requests.get(entry.service, (None, 0.0))
    if request is None or request.token != entry.token or request.incident != entry.incident:
        return "it was not asked for"
    late = book.real - since - request.expires_in - book.slept
    return f"it was too late by {late:.1f} s" if late > 12.0 and not book.unsure_of_time else ""


@at("approval_requested")
def people_are_asked_once(book: Book, entry: j.ApprovalRequested) -> str:
    request, since = book.requests.get(entry.service, (None, 0.0))
    again = request is not None and (request.incident, request.token) == (entry.incident, entry.token)
    return "they were asked for the very same before" if again and book.real - since < 1.0 else ""


@at("service_resumed")
def a_pause_does_not_end_early(book: Book, entry: j.ServiceResumed) -> str:
    _, until = book.pauses.get(entry.service, (0.0, 0.0))
    early = until - book.real
    return f"it was to last {early:.1f} s more" if entry.by == "reviver" and early > 1.0 else ""


# ----------------------------------------------------------------------------------------------- incidents, to the end


@at("incident_opened")
def an_incident_is_opened_on_confirmed_failures(book: Book, entry: j.IncidentOpened) -> str:
    service = book.services.get(entry.service)
    if service is None or not book.prompt or just_reloaded(book):
        return ""
    failures = 0
    for answer in reversed(book.answers[entry.service]):
        if answer.passed:
            break
        failures += answer.fault is not None and not answer.void
    return f"{failures} failures in a row, {service.fall} wanted" if failures < service.fall else ""


@at("incident_opened")
def an_incident_has_its_own_name(book: Book, entry: j.IncidentOpened) -> str:
    return f"{entry.incident} was opened before" if entry.incident in book.cases else ""


@at("incident_opened")
def a_service_has_one_incident(book: Book, entry: j.IncidentOpened) -> str:
    before = book.latest.get(entry.service)
    return f"{before.id} is still open" if before is not None and before.open else ""


@at("incident_opened")
def a_relapse_is_no_new_incident(book: Book, entry: j.IncidentOpened) -> str:
    before, service = book.latest.get(entry.service), book.services.get(entry.service)
    if before is None or before.recovered_at is None or before.withdrawn or service is None or book.unsure_of_time:
        return ""
    ago = book.real - before.recovered_at
    if book.replaced_at.get(entry.service, float("-inf")) > before.recovered_at or not book.prompt:
        return ""
    return f"it had recovered {ago:.1f} s ago, stable after {service.stable:g} s" if ago < service.stable - 1.0 else ""


@at("incident_reopened")
def only_a_recovered_incident_is_reopened(book: Book, entry: j.IncidentReopened) -> str:
    before = book.latest.get(entry.service)
    if before is None or before.id != entry.incident:
        return f"the service's latest is {before and before.id}"
    return f"{before.id} was not over" if before.open or before.withdrawn else ""


@at("attempt_started")
def attempts_are_numbered_once(book: Book, entry: j.AttemptStarted) -> str:
    numbers = book.cases[entry.incident].numbers
    return f"{entry.attempt} after {numbers}" if numbers and entry.attempt <= max(numbers) else ""


@at("ended")
def recovered_means_seen_to_be_well(book: Book, attempt: Attempt) -> str:
    if attempt.result is None or attempt.result.outcome not in {"recovered", "healed"}:
        return ""
    name, order = attempt.order.service.name, attempt.order
    after = book.last_effect_end.get(name, float("-inf")) if attempt.acted else attempt.began_at
    told = _unseen(book, name, order.service.rise, after=after)
    if told:
        return told
    proof = book.proofs[name][-1:]
    if order.strategy.verify and not (proof and proof[0][1] and proof[0][0] >= after):
        return "its named verification has not passed since"
    return ""


def _unseen(book: Book, name: str, rise: int, *, after: float) -> str:
    counted = [answer for answer in book.answers[name] if not (answer.fault and answer.void is not False)][-rise:]
    passed = sum(answer.passed and answer.asked_at >= after for answer in counted)
    return f"it passed {passed} times in a row, {rise} wanted" if passed < rise else ""


@at("believed")
def down_is_up_again_after_enough_passes(book: Book, event: HealthChanged) -> str:
    service = book.services.get(event.service)
    if service is None or event.old is not Health.DOWN or event.new is not Health.UP or just_reloaded(book):
        return ""
    return _unseen(book, event.service, service.rise, after=float("-inf"))


@at("incident_recovered")
def an_incident_is_closed_when_it_is_proven(book: Book, entry: j.IncidentRecovered) -> str:
    service, case = book.services.get(entry.service), book.cases.get(entry.incident)
    if service is None or case is None or not book.prompt or just_reloaded(book):
        return ""
    told = _unseen(book, entry.service, service.rise, after=float("-inf"))
    if told:
        return told
    strategy = next((each for each in service.strategies if each.name == case.unproven), None)
    if strategy is None or not strategy.verify:
        return ""
    proof = book.proofs[entry.service][-1:]
    return "" if proof and proof[0][1] else f"the verification of {strategy.name} has not passed"


@at("incident_escalated")
def people_are_told_once(book: Book, entry: j.IncidentEscalated) -> str:
    case, service = book.cases.get(entry.incident), book.services.get(entry.service)
    if case is None or service is None or service.retry_after is not None or book.now - book.reloaded_at < 1.0:
        return ""
    return "the same was said before" if case.told.get(entry.reason) == book.life else ""


@at("incident_escalated")
def a_ladder_is_called_climbed_when_it_is(book: Book, entry: j.IncidentEscalated) -> str:
    tried = re.match(r"every strategy for (\w+) was tried", entry.reason)
    case, service = book.cases.get(entry.incident), book.services.get(entry.service)
    if tried is None or case is None or service is None or book.now - book.reloaded_at < 1.0 or not book.prompt:
        return ""
    for rung in service.strategies:
        if rung.name in case.ever_given_up:
            continue
        if tried.group(1) in rung.faults and case.counted[rung.name] < rung.attempts:
            return f"{rung.name} was tried {case.counted[rung.name]} of {rung.attempts} times"
    return ""
