"""
Asking: holds each service's check open, asks it under its deadline, and tells of the answer.

Here stand the walls around a kind's own code: whatever a check does, it stops no other, and it is no verdict.
"""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio

from reviver.core.health import Sample, void
from reviver.model.checks import CheckContext, CheckResult
from reviver.model.events import Checked, Emit
from reviver.model.faults import Fault, FaultKind
from reviver.model.ports import Clock
from reviver.model.secrets import Redactor

from . import process
from .lag import LagMeter
from .watched import Watched, cleaned

log = logging.getLogger(__name__)

DEADLINE_GRACE = 0.5  # seconds; a check that outlives its own timeout by this much is cut off
OPEN_AGAIN = 5.0  # seconds until a check that could not be opened is opened again

Wake = Callable[[Watched, str], None]


class Asker:
    """Asks services, and knows nothing of what follows."""

    def __init__(self, *, clock: Clock, emit: Emit, redact: Redactor, wake: Wake, lag: LagMeter) -> None:
        self._clock = clock
        self._emit = emit
        self._redact = redact
        self._wake = wake
        self._lag = lag  # answers that reviver's own lateness may have forged are void

    async def keep_open(self, watched: Watched, keeper: anyio.CancelScope) -> None:
        """Hold the check open, and again if it breaks, until *keeper* is cancelled."""
        with keeper:
            while True:
                try:
                    await self._hold_open(watched)
                except Exception:  # the wall: one broken check stops no other
                    log.exception("check.broke", extra={"service": watched.name})
                if watched.keeper is keeper:  # else new settings have put another in its place
                    watched.probe = None
                    watched.opened.set()  # whoever waits must not wait for it
                await anyio.sleep(OPEN_AGAIN)

    async def _hold_open(self, watched: Watched) -> None:
        service = watched.service
        context = CheckContext(
            service=service.name, timeout=service.timeout, wake=lambda reason: self._wake(watched, reason)
        )
        async with AsyncExitStack() as stack:
            watched.hosts = service.check.hosts()
            watched.probe = await stack.enter_async_context(service.check.open(context))
            watched.opened.set()
            if service.unit is None and service.pidfile is None:
                await anyio.sleep_forever()
            await process.watch(
                unit=service.unit, pidfile=service.pidfile, tell=lambda sighting: self._sighted(watched, sighting)
            )

    def _sighted(self, watched: Watched, sighting: process.Sighting) -> None:
        watched.process, watched.process_told = sighting.state, sighting.told
        if sighting.pid is not None:
            if watched.pid not in {None, sighting.pid}:
                watched.replaced_at = self._clock.monotonic()
            watched.pid = sighting.pid
        self._wake(watched, sighting.told)

    async def ask(self, watched: Watched, *, fresh: bool, late: float = 0.0, woken: bool = False) -> Sample:
        """The service's answer now, told to the subscribers; *late*: seconds after its due time."""
        async with watched.asking:
            asked_at = self._clock.monotonic()
            watched.asked_at = asked_at
            if fresh:
                watched.fresh_at = asked_at
            answer = await self._answer(watched, fresh=fresh)
            result = cleaned(watched.weighed(answer), self._redact)
            answered_at = self._clock.monotonic()
        lag = self._lag.worst_since(asked_at)
        sample = Sample(result=result, asked_at=asked_at, answered_at=answered_at, lag=lag)
        watched.result, watched.answered_at, watched.heard_at = result, answered_at, asked_at
        if watched.failing_since is not None or not result.healthy:
            watched.samples.append(sample)
        self._emit(
            Checked(
                service=watched.name,
                kind=watched.service.kind,
                result=result,
                fresh=fresh,
                late=late,
                void=void(sample, timeout=watched.service.timeout),
                woken=woken,
            )
        )
        return sample

    async def _answer(self, watched: Watched, *, fresh: bool) -> CheckResult:
        started, timeout = self._clock.monotonic(), watched.service.timeout
        with anyio.move_on_after(timeout):
            await watched.opened.wait()
        probe = watched.probe
        if probe is None:
            unknown = f"{watched.name}: its check can't be opened; see the log"
            return CheckResult(latency=self._clock.monotonic() - started, unknown=unknown)
        try:
            with anyio.move_on_after(timeout + DEADLINE_GRACE):
                return await probe.ask(fresh=fresh)
        except Exception as error:  # the wall
            log.exception("check.crashed", extra={"service": watched.name})
            unknown = f"{watched.name}: its check failed by itself ({type(error).__name__}), a defect of the check"
            return CheckResult(latency=self._clock.monotonic() - started, unknown=unknown)
        fault = Fault(kind=FaultKind.TIMEOUT, message=f"{watched.name}: no answer within {timeout:g} s")
        return CheckResult(latency=self._clock.monotonic() - started, fault=fault)
