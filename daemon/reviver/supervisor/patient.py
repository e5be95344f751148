"""A watched service as recovery sees it; meets ``model.ports.Patient``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from reviver.clients.process import describe, read_pidfile
from reviver.core.health import void
from reviver.model.checks import CheckResult
from reviver.model.faults import JsonValue
from reviver.model.health import Health
from reviver.model.services import Mode

from .watched import Watched

if TYPE_CHECKING:
    from .supervisor import Supervisor


class WatchedPatient:
    """Lets recovery ask, and nothing more."""

    def __init__(self, supervisor: "Supervisor", watched: Watched) -> None:
        self._supervisor = supervisor
        self._watched = watched

    async def ask(self) -> CheckResult:
        """Ask the service now, over a fresh connection."""
        sample = await self._supervisor.ask(self._watched, fresh=True)
        if void(sample, timeout=self._watched.service.timeout):
            return CheckResult(latency=sample.result.latency, unknown="reviver itself was late; the answer is void")
        return sample.result

    async def evidence(self) -> Mapping[str, JsonValue]:
        """What a restart would destroy, within the policy's deadline."""
        within = self._supervisor.policy.evidence_within
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
        return dict(self._supervisor.redact.tree(evidence))

    def leaving(self) -> bool:
        """Whether the daemon stops."""
        return self._supervisor.stopping

    def stop_reason(self) -> str | None:
        """Why no further step may start, or ``None``."""
        name = self._watched.name
        if self._watched.state.belief.health is Health.PAUSED:
            return f"{name} was paused"
        if self._watched.removed:
            return f"{name} is no longer in the settings"
        if self._supervisor.policy.mode is Mode.OBSERVE:
            return 'the daemon only observes ([daemon] mode = "observe")'
        return None
