"""
The one place where everything is wired together, and the one that owns the root task group.

Reads top to bottom as the daemon's life: settings, journal, what an earlier life left, watching, answering, stopping.
"""

import asyncio
import fcntl
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from reviver import kinds, logs, systemd, web
from reviver.clients.clock import SystemClock
from reviver.clients.uplink import SystemUplink
from reviver.incidents.history import History
from reviver.incidents.journal import SqliteJournal
from reviver.incidents.scribe import Scribe
from reviver.metrics import Metrics
from reviver.model.control import ControlRefused
from reviver.model.events import (
    ConfigReloaded,
    Emit,
    Event,
    Frozen,
    HealthChanged,
    JournalStateChanged,
    ObserverSuspected,
    ServicesChanged,
    Subscriber,
)
from reviver.model.health import Health
from reviver.model.incidents import fold
from reviver.model.journal import JournalError
from reviver.model.secrets import Redactor
from reviver.recovery.run import Recovery
from reviver.settings import Settings, SettingsError, load
from reviver.supervisor import freezing
from reviver.supervisor.control import SupervisorControl
from reviver.supervisor.restore import restore
from reviver.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

FAILED, TRY_LATER, BAD_CONFIG = 1, 75, 78  # sysexits(3)
STEP_GRACE = 15.0  # seconds that a running step may still take once reviver is told to stop
JOURNAL_AGAIN = wait_random_exponential(multiplier=2.0, max=30.0)  # seconds between looks whether it can be read
HEAD_EVERY, HEAD_WITHIN = 60.0, 5.0  # seconds (safety: P16)
NAME_LOOKUPS = 64  # threads for getaddrinfo, so that some dead names don't stop the others' look-up


class CannotStart(Exception):
    """The daemon can't start; the text says why and what to do."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


def run(config: Path, *, log_level: str | None = None) -> int:
    """Run the daemon with the settings in *config* until it is told to stop; returns the process's exit code."""
    try:
        settings = load(config, kinds.installed())
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201  logs aren't set up yet
        return BAD_CONFIG
    logs.configure(log_level or settings.daemon.log_level)
    try:
        with _only_one(settings.daemon.state_dir):
            again: Settings | None = settings
            while again is not None:
                again = anyio.run(_serve, again)
    except CannotStart as error:
        print(f"reviver: {error}", file=sys.stderr)  # noqa: T201
        return error.code
    return 0


async def _serve(settings: Settings) -> Settings | None:
    return await Daemon(settings).serve()


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Hold *state_dir* for this process alone: two daemons on one journal would recover everything twice."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        message = f"{state_dir}: {error.strerror}; reviver keeps its journal there: set daemon.state_dir"
        raise CannotStart(message, code=BAD_CONFIG) from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        message = f"{state_dir} is held by another reviver that is running; stop it first"
        raise CannotStart(message, code=TRY_LATER) from error
    finally:
        os.close(directory)


@dataclass
class Bus:
    """Tells each event to each subscriber."""

    subscribers: list[Subscriber]

    def __call__(self, event: Event) -> None:
        """Tell *event*."""
        for subscriber in self.subscribers:
            try:
                subscriber(event)
            except Exception:  # the wall around a subscriber: what it can't take stops nobody
                log.exception("subscriber.crashed")


class Daemon:
    """One life of the daemon."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._redact = Redactor(settings.secrets)
        self._metrics = Metrics(self._clock)
        self._notifier = systemd.Notifier()
        self._watchdog_every = (systemd.watchdog_seconds() or float("inf")) / 2
        self._watchdog_due = 0.0
        self._journal = SqliteJournal(settings.daemon.state_dir / "journal.db", self._clock)
        self._history = History(self._journal, self._clock)
        self._emit: Emit = Bus(
            [self._metrics.on_event, logs.subscriber(self._redact), self._status_changed, self._history.on_event]
        )
        self._told_head = ""
        self._status_due = True
        self._living = anyio.CancelScope()
        self._scribe = Scribe(self._journal, self._emit)
        self._supervisor = Supervisor(
            services=settings.services,
            policy=settings.daemon.policy,
            clock=self._clock,
            random=random.random,  # noqa: TID251  the one place
            scribe=self._scribe,
            emit=self._emit,
            recoverer=Recovery(scribe=self._scribe, clock=self._clock, redact=self._redact),
            redact=self._redact,
            uplink=SystemUplink(),
            on_turn=self._on_turn,
        )
        self._control = SupervisorControl(self._supervisor, self._reload)
        self._metrics.budget_is(settings.daemon.policy.budget)
        self._metrics.trust_is(self._control.trust)

    async def serve(self) -> Settings | None:
        """Watch, recover and answer until SIGTERM or SIGINT; returns settings to start over with, if it should."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(NAME_LOOKUPS, "name-lookup"))
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1) as signals:
            resumes = await self._remember()
            async with anyio.create_task_group() as root:
                await root.start(self._supervisor.run)
                root.start_soon(self._history.run)
                root.start_soon(self._tell_heads)
                for resume in resumes or ():
                    resume()
                problem = await self._listen(root)
                if not problem:
                    if resumes is None:
                        root.start_soon(self._until_journal_opens)
                    root.start_soon(freezing.watch, self._settings.daemon.freeze_file, self._freeze_file)
                    self._notifier.ready()
                    gc.freeze()  # what lives from here to the end needs no collecting: shorter pauses
                    with self._living:
                        await self._until_stopped(signals)
                self._notifier.stopping()
                await self._supervisor.drain(within=STEP_GRACE)
                root.cancel_scope.cancel()
        await self._scribe.finish()
        await self._history.flush()
        await self._tell_head()
        await self._journal.aclose()
        if problem:
            raise CannotStart(problem, code=FAILED)
        return self._settings if self._living.cancelled_caught else None

    async def _remember(self) -> Sequence[Callable[[], None]] | None:
        """What an earlier life left; ``None`` if the journal can't be read: then nothing will be started, either."""
        try:
            await self._journal.open()
            incidents = [fold(records) for records in (await self._journal.unfinished()).values()]
            attempts = await self._journal.attempts_since(self._settings.daemon.policy.budget.per)
            self._metrics.restore([incident for incident in incidents if incident is not None], attempts)
            return await restore(self._supervisor, self._journal)
        except JournalError as error:
            self._scribe.close_off(str(error))
            return None

    async def _until_journal_opens(self) -> None:
        """Watching and telling go on without memory; acting needs a start that reads what an earlier life left."""
        async for attempt in AsyncRetrying(retry=retry_if_exception_type(JournalError), wait=JOURNAL_AGAIN):
            with attempt:
                await self._journal.open()
                await self._journal.unfinished()
        self._living.cancel()

    async def _tell_heads(self) -> None:
        """Have the log bear witness to the journal, so that nobody changes its past unseen."""
        while True:
            await anyio.sleep(HEAD_EVERY)
            await self._tell_head()

    async def _tell_head(self) -> None:
        with suppress(JournalError, TimeoutError), anyio.fail_after(HEAD_WITHIN):
            head = str(await self._journal.head() or "")
            if head != self._told_head:
                self._told_head = head
                log.info("journal.head", extra={"head": head})

    async def _listen(self, root: anyio.abc.TaskGroup) -> str:
        """Answer over HTTP; returns why that can't be done, or nothing."""
        daemon = self._settings.daemon
        shown = web.Shown(control=self._control, metrics=self._metrics, journal=self._journal)
        host, _, port = daemon.listen.rpartition(":")
        try:
            await root.start(web.serve_tcp, web.public_app(shown), host.strip("[]"), int(port))
            await root.start(web.serve_unix, web.control_app(shown), daemon.control_socket)
        except web.CannotListen as error:
            return str(error)
        return ""

    async def _until_stopped(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            if number == signal.SIGUSR1:
                self._supervisor.freeze(by="signal", reason="SIGUSR1 was sent; reviver thaw ends it")
                continue
            if number != signal.SIGHUP:
                log.info("daemon.stopping", extra={"signal": number.name})
                return
            with suppress(ControlRefused):  # said by `_reload`
                await self._reload()

    def _freeze_file(self, why: str) -> None:
        self._supervisor.freeze_file(str(self._settings.daemon.freeze_file), why)

    async def _reload(self) -> None:
        """Read the settings again: all or nothing."""
        self._notifier.reloading()
        try:
            settings = load(self._settings.path, kinds.installed())
        except SettingsError as error:
            problems = "; ".join(str(problem) for problem in error.problems)
            self._emit(ConfigReloaded(error=self._redact(problems)))
            raise ControlRefused(f"the settings are bad, the old ones stay in force: {problems}") from error
        else:
            self._redact.learn(settings.secrets)
            self._say_what_needs_a_restart(settings)
            self._supervisor.replace_services(settings.services, settings.daemon.policy)
            self._metrics.budget_is(settings.daemon.policy.budget)
            self._settings = settings
            self._emit(ConfigReloaded(error=""))
        finally:
            self._notifier.ready()

    def _say_what_needs_a_restart(self, settings: Settings) -> None:
        for key in ("listen", "state_dir", "control_socket", "freeze_file"):
            if getattr(settings.daemon, key) != getattr(self._settings.daemon, key):
                log.warning("config.needs_restart", extra={"key": f"daemon.{key}"})

    def _status_changed(self, event: Event) -> None:
        if isinstance(event, HealthChanged | ServicesChanged | JournalStateChanged | Frozen | ObserverSuspected):
            self._status_due = True

    def _on_turn(self) -> None:
        """Feed the watchdog: only a loop that turns gets here."""
        now = self._clock.monotonic()
        if now >= self._watchdog_due:
            self._watchdog_due = now + self._watchdog_every
            self._notifier.watchdog()
        if self._status_due:
            self._status_due = False
            self._notifier.status(self._status())

    def _status(self) -> str:
        views = self._control.health()
        ill = [f"{name} {view.health}" for name, view in views.items() if view.health != Health.UP.value]
        up = len(views) - len(ill)
        ice = "FROZEN; " if self._supervisor.frozen else ""
        suspect = self._control.observer_suspect()
        doubt = f"; reviver suspects itself: {suspect}" if suspect else ""
        return f"{ice}{up} of {len(views)} services up" + (f"; {', '.join(ill[:5])}" if ill else "") + doubt
