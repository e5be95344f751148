"""One watched service: its settings, its open probe, and what is decided about it. The shell's mutable side."""

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import anyio

from reviver.core.decide import State
from reviver.core.health import Sample
from reviver.model.checks import CheckResult, Probe
from reviver.model.faults import Fault
from reviver.model.health import Health
from reviver.model.journal import ServicePaused
from reviver.model.secrets import Redactor, one_line
from reviver.model.services import Service

SAMPLES_KEPT = 12


class Process(Enum):
    """What is known of the service's own process on this host."""

    UNKNOWN = "unknown"  # not told where to look, or not found yet
    ALIVE = "alive"
    GONE = "gone"  # and nobody restarts it
    HANDLED = "handled"  # its service manager is on it, or somebody has stopped it


@dataclass(slots=True, kw_only=True)
class Watched:
    """One service under watch."""

    service: Service
    phase: float
    """In [0, 1): where in the interval its questions lie, so that not all come at once."""
    state: State = field(default_factory=State)
    probe: Probe | None = None
    hosts: frozenset[str] = frozenset()
    """The hosts that its check asks."""
    opened: anyio.Event = field(default_factory=anyio.Event)
    """Set once there is a probe, or a reason why there is none."""
    keeper: anyio.CancelScope | None = None
    asking: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    result: CheckResult | None = None
    asked_at: float = float("-inf")
    answered_at: float = float("-inf")
    heard_at: float = float("-inf")
    """When the last question that was answered had been asked."""
    fresh_at: float = float("-inf")
    """When it was last asked over a fresh connection."""
    due_at: float = float("inf")
    """When it is to be asked next."""
    woken: bool = False
    """Whether the next question was asked for by an event rather than by the clock."""
    incident: str = ""
    attempt: int = 0
    """The attempt under way; 0: none."""
    process: Process = Process.UNKNOWN
    process_told: str = ""
    pid: int | None = None
    """Its main process, as last seen."""
    replaced_at: float = float("-inf")
    """When another main process than before was seen."""
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))
    """The latest answers since it began to fail, for people."""
    pause: ServicePaused | None = None
    resumed: int = 0
    """How often a pause of it was ended."""
    removed: bool = False
    """Whether the settings no longer name it; it goes when its attempt has ended."""

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def running(self) -> bool:
        """Whether an attempt is under way."""
        return self.state.trouble is not None and bool(self.state.trouble.running)

    @property
    def serves(self) -> bool:
        """Whether others may rely on it: up, or paused and passing."""
        belief = self.state.belief
        return belief.health is Health.UP or (belief.health is Health.PAUSED and belief.passes_in_row > 0)

    @property
    def failing_since(self) -> float | None:
        """When the first question of the present row of failures was asked."""
        return self.state.belief.failing_since

    def weighed(self, result: CheckResult) -> CheckResult:
        """*result* with what is known of the process: evidence that is certain, or that somebody restarts it."""
        if result.fault is None or self.process in {Process.UNKNOWN, Process.ALIVE}:
            return result
        gone = self.process is Process.GONE
        fault = replace(result.fault, certain=gone, message=f"{result.fault.message} ({self.process_told})")
        return replace(result, fault=fault)


def cleaned(result: CheckResult, redact: Redactor) -> CheckResult:
    """*result* with every text from outside redacted."""
    fault = result.fault
    return CheckResult(
        latency=result.latency,
        fault=None
        if fault is None
        else Fault(
            kind=fault.kind,
            message=one_line(redact(fault.message)),
            certain=fault.certain,
            details=redact.tree(fault.details),
        ),
        unknown=None if result.unknown is None else one_line(redact(result.unknown)),
        details=redact.tree(result.details) if result.details else result.details,
    )
