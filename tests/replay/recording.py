"""A past for replays: scripted, or recorded by the simulated supervisor into a real journal's file."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from fakes import Answer, Life, Recorder, Stage, Target, Written, service
from reviver.incidents import database
from reviver.incidents.history import HEALTHY, Begun, History
from reviver.incidents.journal import _body
from reviver.model import journal as j
from reviver.model.events import Event, Subscriber
from reviver.model.faults import FaultKind
from reviver.model.incidents import Incident
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Service
from reviver.replay.driver import Driver
from reviver.replay.past import Order, Run, Truth
from reviver.replay.report import _incidents
from virtual import VirtualLoop

Script = dict[str, Sequence[tuple[float, Answer]]]
REFUSED = FaultKind.UNREACHABLE.value


class SameThread:
    """Writes to the file at once: under virtual time no thread gets anything done."""

    def __init__(self, path: Path) -> None:
        self.db = database.connect(path)

    async def transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        database.in_transaction(self.db, work)


class Telling(Recorder):
    """Remembers, and tells another subscriber, too."""

    also: Subscriber = staticmethod(lambda _event: None)

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        self.also(event)


class RecordedStage(Stage):
    """A stage whose supervisors' answers are recorded in the journal's file at *path*."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.recorder: Telling = Telling()
        self._writer = SameThread(path)

    @asynccontextmanager
    async def recorded(self, *services: Service, policy: DaemonPolicy | None = None) -> AsyncIterator[Life]:
        """A life whose answers are recorded as long as the block lasts; then the journal's entries are put beside."""
        history = History(self._writer, self.clock)
        self.recorder.also = history.on_event
        before = len(self.journal.written)
        async with self.life(*services, policy=policy) as life:
            yield life
        await history.flush()
        add = database.queries()["add_entry"]
        for w in self.journal.written[before:]:
            e = w.entry
            self._writer.db.execute(add, (e.type, e.service, e.incident, w.at, w.boot_id, w.boot_s, _body(e), ""))

    def close(self) -> None:
        self._writer.db.close()


def play(
    path: Path,
    services: Sequence[Service],
    script: Script,
    *,
    lasting: float,
    policy: DaemonPolicy | None = None,
    meanwhile: Callable[[Life], Awaitable[None]] | None = None,
) -> Sequence[Written]:
    """What the supervisor writes while its targets follow *script*, recorded at *path*."""
    stage = RecordedStage(path)

    async def scene() -> None:
        for each in services:
            each.check.target.will(*script.get(each.name, ()))  # type: ignore[attr-defined]
        async with stage.recorded(*services, policy=policy) as life:
            if meanwhile is not None:
                await meanwhile(life)
            await anyio.sleep(lasting - anyio.current_time())

    anyio.run(scene, backend_options={"loop_factory": VirtualLoop})
    stage.close()
    return stage.journal.written


def truth(
    name: str, *answers: tuple[float, str], until: float, starts: Sequence[float] = (), certain: bool = False
) -> Truth:
    """What *name* answered from each moment on; nobody looked from a minute after it until the next of *starts*."""
    ends = [*(at for at, _ in answers[1:]), until]
    runs = [
        Run(
            service=name,
            answer=answer,
            certain=certain and answer != HEALTHY,
            begun=Begun.START if at in {answers[0][0], *starts} else Begun.CHANGE,
            woken=answer != HEALTHY,  # a failure is seen at once
            since=at,
            until=min(end, at + 60.0) if end in starts else end,
            latency=0.01,
            message="" if answer == HEALTHY else f"it is {answer}",
        )
        for (at, answer), end in zip(answers, ends, strict=True)
    ]
    return Truth(name, runs)


def outages(name: str, *spans: tuple[float, float], until: float, answer: str = REFUSED) -> Truth:
    """*name* is well, except within *spans*."""
    answers = [(0.0, HEALTHY)]
    for since, end in spans:
        answers += [(since, answer), (end, HEALTHY)]
    return truth(name, *answers, until=until)


class Replayed:
    """What the driver made of a past."""

    def __init__(
        self,
        services: Iterable[Service],
        truths: Iterable[Truth],
        *,
        until: float,
        policy: DaemonPolicy | None = None,
        orders: Sequence[Order] = (),
        steps_take: float = 0.5,
    ) -> None:
        driver = Driver(
            {each.name: each for each in services},
            policy or DaemonPolicy(),
            {each.service: each for each in truths},
            steps_take=lambda _service, _strategy: steps_take,
            redact=Redactor(),
        )
        driver.run(since=0.0, until=until, orders=orders)
        self.records = driver.records
        self.incidents: list[Incident] = _incidents(driver.records)

    def of(self, kind: type[j.Entry]) -> list[j.Entry]:
        return [record.entry for record in self.records if isinstance(record.entry, kind)]

    def at(self, kind: type[j.Entry]) -> list[float]:
        return [record.at for record in self.records if isinstance(record.entry, kind)]

    @property
    def guards(self) -> list[str]:
        return [e.guard for e in self.of(j.RecoveryHeld) if isinstance(e, j.RecoveryHeld)]


def plain(name: str = "db", *strategies: object, **settings: object) -> Service:
    """A service without a target: it is only asked in the past."""
    return service(Target(name), *strategies, **settings)  # type: ignore[arg-type]
