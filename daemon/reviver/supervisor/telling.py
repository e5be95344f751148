"""What the journal says of the core's commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from reviver.core import approval, decide, severity
from reviver.core.health import Sample, void
from reviver.model import journal as j
from reviver.model.faults import JsonValue
from reviver.model.ports import Clock
from reviver.model.secrets import Redactor
from reviver.model.services import Service, Strategy

from .watched import Watched


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts commands into the journal's words."""

    clock: Clock
    redact: Redactor

    def told(self, watched: Watched, command: decide.Told, services: Mapping[str, Service]) -> Sequence[j.Entry]:
        """What the journal says of *command*; a new incident gets its id."""
        if isinstance(command, decide.Open):
            return [self._opened(watched, command, services)]
        service, incident, now = watched.name, watched.incident, self.clock.monotonic()
        match command:
            case decide.NoteFault(fault):
                return [
                    j.FaultChanged(
                        service=service,
                        incident=incident,
                        fault=fault.kind,
                        message=fault.message,
                        certain=fault.certain,
                    )
                ]
            case decide.Hold(held):
                until_in = None if held.until is None else held.until - now
                return [
                    j.RecoveryHeld(
                        service=service, incident=incident, guard=held.guard, reason=held.reason, until_in=until_in
                    )
                ]
            case decide.Plan(strategy, at, why):
                return [
                    j.RecoveryPlanned(
                        service=service, incident=incident, strategy=strategy, reason=why, due_in=at - now
                    )
                ]
            case decide.AskApproval():
                return [self._asked(watched, command)]
            case decide.Observe(strategy, asking):
                plan = self._plan(strategy)
                return [
                    j.RecoveryObserved(
                        service=service, incident=incident, strategy=strategy.name, plan=plan, asking=asking
                    )
                ]
            case decide.GiveUp(strategy, reason):
                return [j.StrategyAbandoned(service=service, incident=incident, strategy=strategy, reason=reason)]
            case decide.Escalate(reason, stop):
                return [j.IncidentEscalated(service=service, incident=incident, reason=reason, stops=stop.value)]
            case decide.Close(by, down_for, observed):
                judged = [self._judged(watched, strategy, seconds) for strategy, seconds in observed]
                return [*judged, j.IncidentRecovered(service=service, incident=incident, by=by, down_for=down_for)]

    def _opened(self, watched: Watched, command: decide.Open, services: Mapping[str, Service]) -> j.Entry:
        """The opening of an incident, or of the last one again."""
        fault, service = command.fault, watched.service
        samples = tuple(self._sample(sample, service) for sample in watched.samples)
        thresholds = {name: getattr(service, name) for name in ("interval", "timeout", "confirm", "fall", "rise")}
        if command.again:
            return j.IncidentReopened(
                service=watched.name,
                incident=watched.incident,
                fault=fault.kind,
                message=fault.message,
                certain=fault.certain,
                failing_for=command.failing_for,
                samples=samples,
                thresholds=thresholds,
            )
        affected = severity.impact(watched.name, services)
        at = datetime.fromtimestamp(self.clock.wall(), UTC)
        watched.incident = f"{watched.name}-{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}"
        return j.IncidentOpened(
            service=watched.name,
            incident=watched.incident,
            fault=fault.kind,
            message=fault.message,
            certain=fault.certain,
            severity=severity.severity(watched.name, affected, services),
            impact=affected,
            failing_for=command.failing_for,
            noticed_ago=command.noticed_ago,
            details=fault.details,
            samples=samples,
            thresholds=thresholds,
        )

    def _sample(self, sample: Sample, service: Service) -> j.JsonMap:
        result = sample.result
        said = "healthy" if result.healthy else "unknown" if result.fault is None else result.fault.kind.value
        told: dict[str, JsonValue] = {
            "said": said,
            "ago": round(self.clock.monotonic() - sample.asked_at, 3),
            "took": round(sample.answered_at - sample.asked_at, 3),
        }
        if result.fault is not None and result.fault.certain:
            told["certain"] = True
        if void(sample, timeout=service.timeout):
            told["void"] = f"reviver itself was {sample.lag:.2f} s late"
        return told

    def _plan(self, strategy: Strategy) -> tuple[str, ...]:
        return tuple(self.redact(line) for line in approval.plan(strategy))

    def _asked(self, watched: Watched, command: decide.AskApproval) -> j.Entry:
        return j.ApprovalRequested(
            service=watched.name,
            incident=watched.incident,
            strategy=command.strategy.name,
            attempt=command.attempt,
            plan=self._plan(command.strategy),
            token=approval.token(watched.incident, command.attempt, command.strategy),
            expires_in=command.seconds,
        )

    def _judged(self, watched: Watched, strategy: str, seconds: float) -> j.Entry:
        """Whether what was only observed would have been of use, as far as the service's process shows it."""
        if watched.pid is None:
            verdict = j.Verdict.CAME_BACK
        elif watched.replaced_at >= self.clock.monotonic() - seconds:
            verdict = j.Verdict.DONE_BY_OTHERS
        else:
            verdict = j.Verdict.NOT_NEEDED
        return j.ObservationJudged(
            service=watched.name, incident=watched.incident, strategy=strategy, verdict=verdict, seconds=seconds
        )
