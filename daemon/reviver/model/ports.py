"""The edges that are injected, so that years can be simulated in seconds: time, and whoever carries an attempt out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from .checks import CheckResult
from .faults import Fault, JsonValue
from .incidents import AttemptRecord
from .services import Service, Strategy


class Clock(Protocol):
    """Time, in seconds. Waiting is the event loop's business; its time is ``monotonic``."""

    def monotonic(self) -> float:
        """Never jumps; stands still while the host is suspended. The one axis that decisions use."""
        ...

    def boottime(self) -> float:
        """Never jumps; goes on while the host is suspended. Outlives the daemon, not the boot."""
        ...

    def boot_id(self) -> str:
        """Which boot ``boottime`` belongs to."""
        ...

    def wall(self) -> float:
        """Unix time, for people. May jump."""
        ...


class Uplink(Protocol):
    """What this host has of a network."""

    def has_default_route(self) -> bool:
        """Whether there is a default route; cheap."""
        ...

    async def any_answers(self, addresses: Sequence[str]) -> bool:
        """Whether any of *addresses* (``host:port``) answers, within a few seconds."""
        ...


class Outcome(StrEnum):
    """How an attempt ended."""

    RECOVERED = "recovered"  # the steps ran and the verification passed
    HEALED = "healed"  # the service was well again before the first step: nothing was done
    FAILED = "failed"  # a step failed, or the verification did
    ABORTED = "aborted"  # nothing was done, for a reason not to act came up; not held against the strategy
    LEFT = "left"  # reviver stops: the attempt stays open in the journal, and its next life resumes it
    UNCLEAR = "unclear"  # a destructive step may or may not have happened: people must look


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """How an attempt ended and why, in a line for an operator."""

    outcome: Outcome
    message: str
    acted: bool = False
    """Whether a step was started: then it counts in the budgets."""
    unproven: bool = False
    """Whether the check passes, and a named verification of the strategy does not."""


class Patient(Protocol):
    """A service under recovery, as the one who acts upon it sees it."""

    async def ask(self) -> CheckResult:
        """Ask the service now, over a fresh connection; counted and shown like any other check."""
        ...

    async def unmet_need(self) -> str | None:
        """
        What reviver needs for acting by itself and hasn't at this moment, in a line; ``None`` if it has all.

        A service that it depends on isn't up, of which it is asked anew; or reviver has come to suspect itself.
        """
        ...

    def well_downstream(self) -> tuple[str, ...]:
        """Services that depend on it and are well although it fails: what breaks now may be the step's doing."""
        ...

    async def evidence(self) -> Mapping[str, JsonValue]:
        """What a restart would destroy, within the deadline; what couldn't be had is said in it."""
        ...

    def leaving(self) -> bool:
        """Whether the daemon stops: what isn't begun is left to its next life."""
        ...

    def stop_reason(self) -> str | None:
        """Why no further step may start (a person paused, the settings have changed), or ``None``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt to be made."""

    incident: str
    service: Service
    strategy: Strategy
    attempt: int
    """Counts from 1 within the incident, over all strategies."""
    fault: Fault | None
    """What is to be healed; ``None`` when the check passes, and only the proof is missing."""
    patient: Patient
    symptom_age: float
    """Seconds since a check last saw the fault."""
    by: str
    """Who ordered it: ``reviver``, or a person's name."""
    why: str = ""
    """Why this strategy, now, in a line."""
    resume: AttemptRecord | None = None
    """What an earlier life of the daemon had done of this very attempt."""


Recoverer = Callable[[Order], Awaitable[AttemptResult]]
"""Carries an order out; every failure is in the result, only cancellation leaves as an exception."""
