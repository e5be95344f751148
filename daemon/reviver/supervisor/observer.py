"""
What reviver knows of itself: is its loop on time, was the host suspended, has this host a network, does too much fail
together, and what does a second vantage say. ``core.suspicion`` decides what follows.

Nothing is asked of anybody while all goes well: anchors and the tie-break only once something fails over the network.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import anyio

from reviver.clients.asking import ask_once
from reviver.core import suspicion
from reviver.core.suspicion import Doubt, Reason, Standing, Suspicion
from reviver.model.checks import CheckResult
from reviver.model.events import Emit, ObserverSuspected
from reviver.model.ports import Clock, Uplink
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy

from .lag import LagMeter
from .watched import Process, Watched

log = logging.getLogger(__name__)

CROWD_EVERY = 0.5  # seconds for which a look at all services serves
ROUTE_EVERY = 5.0  # seconds between looks at the routes while nothing fails
ASK_EVERY = 10.0  # seconds between questions to the anchors, and to the tie-break
NOTICE_EVERY = 1.0  # seconds; so soon is it seen that there is something to ask

Policy = Callable[[], DaemonPolicy]
"""The one in force: a reload replaces it."""


class Observer:
    """Looks at reviver itself."""

    def __init__(
        self,
        watched: Mapping[str, Watched],
        *,
        clock: Clock,
        emit: Emit,
        uplink: Uplink,
        policy: Policy,
        redact: Redactor,
    ) -> None:
        self.lag = LagMeter(clock, emit)
        self.suspicion = Suspicion()
        self._watched = watched
        self._clock = clock
        self._emit = emit
        self._uplink = uplink
        self._policy = policy
        self._redact = redact
        self._crowd_at = float("-inf")
        self._route = False
        """Whether there was a default route at the last look."""
        self._route_lost = False
        self._anchors: Doubt | None = None
        """What their silence says, if the last question found them silent."""
        self._confirmed_at: float | None = None
        self._word = ""
        """What the tie-break last said, for telling it once."""
        self._eased = False

    # --------------------------------------------------------------------------------------------- deciding

    def against(self, watched: Watched) -> str:
        """Why *watched* must not be recovered now; empty if nothing of reviver's own speaks against it."""
        self._look()
        return self.suspicion.against(over_network=_over_network(watched))

    def eased(self) -> bool:
        """Look anew; whether less is held than when this was last asked."""
        self._look()
        eased, self._eased = self._eased, False
        return eased

    def _look(self) -> None:
        now, before = self._clock.monotonic(), self.suspicion
        after = suspicion.suspect(before, self._seen(now), confirmed_at=self._confirmed_at, now=now)
        if after == before:
            return  # nearly always
        self.suspicion = after
        if not self._refutable():  # what was said of these failures says nothing of the next
            self._confirmed_at, self._word = None, ""
        self._eased |= any(
            before.against(over_network=over) and not after.against(over_network=over) for over in (False, True)
        )
        if (before.reasons, before.confirmed) != (after.reasons, after.confirmed):
            reasons = tuple(reason.value for reason in after.reasons)
            self._emit(ObserverSuspected(reason=after.text, reasons=reasons, confirmed=after.confirmed))

    def _seen(self, now: float) -> Iterator[Doubt]:
        yield from self.lag.doubts()
        if self._anchors is not None:
            yield self._anchors
        if self._route_lost:
            yield suspicion.route_lost(now=now)
        if now - self._crowd_at >= CROWD_EVERY:
            self._crowd_at = now
            crowd = self._crowd(now)
            if crowd is not None:
                yield crowd

    def _crowd(self, now: float) -> Doubt | None:
        failing = {name for name, each in self._watched.items() if each.failing_since is not None}
        if len(failing) < suspicion.FAILING_MIN:
            return None
        standings = (
            Standing(hosts=each.hosts, failing=name in failing)
            for name, each in self._watched.items()
            if not failing.intersection(each.service.depends_on)
        )
        return suspicion.crowd(standings, share=self._policy().suspect_share, now=now)

    # ----------------------------------------------------------------------------------------------- asking

    async def run(self) -> None:
        """Look and ask until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.lag.run)
            tasks.start_soon(self._watch_route)
            tasks.start_soon(self._ask_anchors)
            tasks.start_soon(self._ask_tie_break)

    async def _watch_route(self) -> None:
        """Only its loss counts: a host that never had a default route isn't cut off."""
        looked_at = float("-inf")
        while True:
            now = self._clock.monotonic()
            if now >= looked_at + ROUTE_EVERY or self._route_lost or self._fails_over_network():
                looked_at = now
                there = self._uplink.has_default_route()
                self._route_lost = not there and (self._route or self._route_lost)
                self._route = there
            await anyio.sleep(NOTICE_EVERY)

    async def _ask_anchors(self) -> None:
        anchors = self._policy().anchors
        if anchors and not await self._uplink.any_answers(anchors):
            # Not yet a reason to doubt; but while they stay silent, whatever fails over the network is left alone.
            log.warning("observer.anchors_silent", extra={"anchors": anchors})
        while True:
            await anyio.sleep(NOTICE_EVERY)
            anchors = self._policy().anchors
            if not anchors or not (self._fails_over_network() or self._suspects({Reason.CROWD, Reason.NETWORK})):
                continue
            asked_at = self._clock.monotonic()
            answers = await self._uplink.any_answers(anchors)
            now = self._clock.monotonic()
            self._anchors = None if answers else suspicion.anchors_silent(len(anchors), now=now)
            await anyio.sleep_until(asked_at + ASK_EVERY)

    async def _ask_tie_break(self) -> None:
        while True:
            await anyio.sleep(NOTICE_EVERY)
            tie_break = self._policy().tie_break
            if tie_break is None or not self._refutable():
                continue
            asked_at = self._clock.monotonic()
            result = await ask_once("the tie-break", tie_break)
            if self._refutable():  # else it was about what is over
                self._confirmed_at = self._clock.monotonic() if result.healthy else None
                self._tell(result)
            await anyio.sleep_until(asked_at + ASK_EVERY)

    def _tell(self, result: CheckResult) -> None:
        why_not = result.unknown if result.fault is None else result.fault.message
        word = "the failures are real" if result.healthy else self._redact(why_not or "")
        if word != self._word:
            self._word = word
            log.info("observer.tie_break", extra={"confirms": result.healthy, "word": word})

    def _refutable(self) -> bool:
        return any(doubt.refutable for doubt in self.suspicion.doubts)

    def _suspects(self, reasons: set[Reason]) -> bool:
        return not reasons.isdisjoint(self.suspicion.reasons)

    def _fails_over_network(self) -> bool:
        return any(each.failing_since is not None and _over_network(each) for each in self._watched.values())


def _over_network(watched: Watched) -> bool:
    """
    Whether all that is known of the service came over a network: then the network may be what is gone.

    Not so where its process on this host is known to be gone. A check that names no host may ask anybody.
    """
    if watched.process is Process.GONE:
        return False
    return not watched.hosts or not all(map(suspicion.is_local, watched.hosts))
