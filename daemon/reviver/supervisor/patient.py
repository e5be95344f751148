"""A watched service as recovery sees it; meets ``model.ports.Patient``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import anyio

from reviver.clients.process import describe, read_pidfile
from reviver.core.health import Sample, void
from reviver.model.checks import CheckResult
from reviver.model.faults import JsonValue
from reviver.model.health import Health
from reviver.model.ports import Clock
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Mode

from .watched import Watched

NEEDS_FRESH = 2.0  # seconds; an older answer of a dependency is no ground for acting


class Overseer(Protocol):
    """What recovery's view of a service needs of the supervisor."""

    policy: DaemonPolicy
    stopping: bool
    redact: Redactor
    clock: Clock

    @property
    def frozen(self) -> str:
        """Why everything is held; empty if it isn't."""
        ...

    def needs(self, watched: Watched) -> Sequence[Watched]:
        """The services that it depends on, directly or not."""
        ...

    def doubt(self, watched: Watched) -> str:
        """Why reviver suspects itself where this service is concerned; empty if it doesn't."""
        ...

    def well_downstream(self, watched: Watched) -> tuple[str, ...]:
        """The services that depend on it, directly or not, and are well although it fails."""
        ...

    async def ask(self, watched: Watched, *, fresh: bool) -> Sample:
        """Ask the service now, and believe what follows."""
        ...

    async def ask_out_of_turn(self, watched: Watched) -> None:
        """Ask another service now, and do what follows."""
        ...


class WatchedPatient:
    """Lets recovery ask, and nothing more."""

    def __init__(self, overseer: Overseer, watched: Watched) -> None:
        self._overseer = overseer
        self._watched = watched

    async def ask(self) -> CheckResult:
        """Ask the service now, over a fresh connection."""
        sample = await self._overseer.ask(self._watched, fresh=True)
        if void(sample, timeout=self._watched.service.timeout):
            return CheckResult(latency=sample.result.latency, unknown="reviver itself was late; the answer is void")
        return sample.result

    async def unmet_need(self) -> str | None:
        """What reviver needs for acting by itself and hasn't at this moment."""
        for needed in self._overseer.needs(self._watched):
            if self._overseer.clock.monotonic() - needed.heard_at > NEEDS_FRESH:
                await self._overseer.ask_out_of_turn(needed)
            if not needed.serves or needed.failing_since is not None:
                return f"{needed.name}, which it needs, is {needed.state.belief.health}"
        doubt = self._overseer.doubt(self._watched)
        return f"reviver suspects itself: {doubt}" if doubt else None

    def well_downstream(self) -> tuple[str, ...]:
        """Services that depend on it and are well although it fails."""
        return self._overseer.well_downstream(self._watched)

    async def evidence(self) -> Mapping[str, JsonValue]:
        """What a restart would destroy, within the policy's deadline."""
        within = self._overseer.policy.evidence_within
        evidence: dict[str, JsonValue] = {}
        service, probe = self._watched.service, self._watched.probe
        if service.pidfile is not None:
            pid = read_pidfile(Path(service.pidfile))
            evidence["process"] = "none" if pid is None else dict(describe(pid))
        try:
            with anyio.fail_after(within):
                evidence.update({} if probe is None else await probe.evidence())
        except TimeoutError:
            evidence["check"] = f"could not be had within {within:g} s"
        except Exception as error:  # noqa: BLE001  the wall around a kind's own code: evidence is worth no recovery
            evidence["check"] = f"could not be had: {type(error).__name__}"
        return dict(self._overseer.redact.tree(evidence))

    def leaving(self) -> bool:
        """Whether the daemon stops."""
        return self._overseer.stopping

    def stop_reason(self) -> str | None:
        """Why no further step may start, or ``None``."""
        name = self._watched.name
        if self._overseer.frozen:
            return self._overseer.frozen
        if self._watched.state.belief.health is Health.PAUSED:
            return f"{name} was paused"
        if self._watched.removed:
            return f"{name} is no longer in the settings"
        if self._overseer.policy.mode is Mode.OBSERVE:
            return 'the daemon only observes ([daemon] mode = "observe")'
        return None
