"""The play: each fault inflicted, watched through reviver's public API, and proven to be mended."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import anyio

from reviver.clients.clock import SystemClock
from reviver.model.health import Health
from reviver.model.incidents import IncidentState

from .faults import TROUBLE, Fault, NotSoError, proven
from .story import DEMO, PROVEN, REVIVER, Line, Result, Story, opening
from .view import View
from .watcher import PAUSE, Incident, Watcher, WatcherError, all_up

CALM_WITHIN: Final = 30.0  # seconds until all services are up
MENDED_WITHIN: Final = 45.0
UNTOLD: Final = ("noted what it needs", "ended: recovered")
"""Words of lines that are left out: what matters only after a crash of reviver itself, and what the next line says."""
NOTICED: Final = "noticed: {} is suspect"


class Play:
    """Faults, one after another."""

    def __init__(self, watcher: Watcher, story: Story, view: View, *, tick: Callable[[], None]) -> None:
        self._watcher = watcher
        self._story = story
        self._view = view
        self._tick = tick
        self._wall = SystemClock().wall
        self._inflicted_at = self._wall()

    async def perform(self, faults: Sequence[Fault]) -> bool:
        """
        Inflict *faults* until one isn't mended; whether all were. The results are in the story.

        Raises:
            WatcherError: reviver is gone.
        """
        await self._calm()
        for number, fault in enumerate(faults, 1):
            self._story.number = number
            self._turn(opening(number, len(faults), fault))
            result = await self._one(fault)
            self._story.results.append(result)
            if result.problem:
                return False
            await self._calm()
            await self._rest()
        return True

    async def _one(self, fault: Fault) -> Result:
        before = await self._latest(fault.service)
        result = Result(fault=fault.name, title=fault.title, service=fault.service)
        self._inflicted_at = self._wall()
        try:
            done = await fault.inflict()
            self._inflicted_at = self._wall()
            self._tell(DEMO, done)
            self._tell(DEMO, await fault.symptom())
            incident = await self._mended(fault, before)
            result = self._of(incident, result)
            proof = await proven(fault)
        except (NotSoError, *TROUBLE) as error:
            return replace(result, problem=f"{fault.title}: {error or 'no answer in time'}")
        self._tell(DEMO, f"{PROVEN}{proof}")
        return replace(result, proven=True, proof=proof, problem=_wrong(fault, result))

    async def _mended(self, fault: Fault, before: str) -> Incident:
        """The incident of *fault*, recovered; told as it goes."""
        first: str | None = None
        with anyio.move_on_after(MENDED_WITHIN):
            while True:
                latest = await self._latest(fault.service)
                if latest != before:
                    incident = await self._watcher.incident(latest)
                    first = first or incident["fault"]
                    self._follow(incident)
                    if incident["state"] == IncidentState.RECOVERED:
                        return {**incident, "fault": first}
                    if incident["state"] == IncidentState.ESCALATED:
                        raise NotSoError(f"reviver handed it over: {incident['reason']}")
                await self._look()
                self._notice(fault.service)
                await anyio.sleep(PAUSE)
        state = "recovered" if first else "noticed"
        raise NotSoError(f"not {state} by reviver within {MENDED_WITHIN:g} s")

    async def follow_all(self) -> None:
        """Show what reviver does about whatever the user breaks: what fails together on one page. Until cancelled."""
        seen = {incident["id"] for incident in await self._watcher.incidents()}
        page: dict[str, bool] = {}  # the incidents on it, and whether they are open
        while True:
            for brief in reversed(await self._watcher.incidents()):
                if brief["id"] in seen and not page.get(brief["id"]):
                    continue
                if brief["id"] not in seen and not any(page.values()):
                    page.clear()
                    self._inflicted_at = brief["noticed_at"]
                    self._turn(f"Incident {brief['id']}")
                seen.add(brief["id"])
                page[brief["id"]] = brief["state"] == IncidentState.OPEN
                self._follow(await self._watcher.incident(brief["id"]), name=brief["service"])
            await self._look(tell_held=False)
            await anyio.sleep(PAUSE)

    async def _calm(self) -> None:
        """
        Return when reviver believes every service to be well.

        Raises:
            WatcherError: It doesn't in time.
        """
        with anyio.move_on_after(CALM_WITHIN):
            while not await self._look():  # noqa: ASYNC110  asking is the public way
                await anyio.sleep(PAUSE)
            return
        ill = [f"{name}: {service['message'] or service['health']}" for name, service in self._story.services.items()
               if service["health"] != Health.UP]  # fmt: skip
        raise WatcherError(f"not all services are up within {CALM_WITHIN:g} s: {'; '.join(ill)}")

    async def _rest(self) -> None:
        with anyio.move_on_after(self._view.rest):
            while True:
                await self._look()
                await anyio.sleep(PAUSE)

    async def _look(self, *, tell_held: bool = True) -> bool:
        """Show what reviver believes now; whether all is well."""
        self._tick()
        self._story.services = await self._watcher.health()
        for name, service in self._story.services.items():
            if tell_held and service["held"]:
                self._tell(REVIVER, f"{name} is left alone: {service['held']}")
        self._view.refresh(self._story)
        return all_up(self._story.services)

    def _notice(self, name: str) -> None:
        """Tell that reviver has noticed something, which it has long before there is an incident."""
        service = self._story.services[name]
        if service["health"] == Health.SUSPECT:
            self._tell(REVIVER, NOTICED.format(name), at=service["since"])

    def _follow(self, incident: Incident, *, name: str = "") -> None:
        """Tell what is new in *incident*, of the service *name* if there are several."""
        self._tell(REVIVER, NOTICED.format(incident["service"]), at=incident["noticed_at"])
        for entry in incident["timeline"]:
            if not any(words in entry["text"] for words in UNTOLD):
                of_it = f"{name}: " if name and not entry["text"].startswith(name) else ""
                self._tell(REVIVER, of_it + entry["text"], at=entry["at"])

    async def _latest(self, service: str) -> str:
        found = (incident["id"] for incident in await self._watcher.incidents() if incident["service"] == service)
        return next(found, "")

    def _of(self, incident: Incident, result: Result) -> Result:
        return replace(
            result,
            diagnosis=incident["fault"],
            strategy=incident["recovered_by"],
            noticed_seconds=self._since(incident["noticed_at"]),
            recovered_seconds=self._since(incident["ended_at"]),
            incident=incident["id"],
        )

    def _since(self, at: float) -> float:
        return round(max(0.0, at - self._inflicted_at), 3)

    def _turn(self, heading: str) -> None:
        self._story.turn(heading)
        self._view.heading(self._story)

    def _tell(self, who: str, text: str, *, at: float | None = None) -> None:
        line = Line(self._since(self._wall() if at is None else at), who, text)
        if self._story.tell(line):
            self._view.line(line)


def _wrong(fault: Fault, result: Result) -> str:
    """What isn't as it should be, though the thing works again."""
    if result.diagnosis not in fault.diagnoses:
        expected = " or ".join(sorted(fault.diagnoses))
        return f"{fault.title}: diagnosed as {result.diagnosis}, expected was {expected}"
    if result.strategy == "itself":
        return f"{fault.title}: it recovered by itself, reviver did nothing"
    return ""
