"""
Who else is at work on a service: people in a maintenance window, a deployer who holds a lock or has changed things.

Windows are reckoned at each look. Files, systemd and Docker are asked only while a service fails, in the background; a
lock that can't be read holds, for it may be there, and a deploy of which nothing can be learnt doesn't.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from reviver.clients import docker, files, systemd
from reviver.core.guards import Held
from reviver.model.events import Emit, MaintenanceChanged
from reviver.model.health import Health
from reviver.model.ports import Clock
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy
from reviver.model.units import format_duration

from .calendar import Calendar, UnderWay
from .watched import Watched

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between looks at a lock
LOOK_WITHIN = 2.0  # seconds that any look may take
LOOK_FRESH = 5.0  # seconds for which a look at a lock serves
FUTURE = 60.0  # seconds; what was changed further ahead than clocks differ was not changed moments ago
LINE_SHOWN = 200  # characters of a lock's first line


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A lock file as it was last seen. Ages are reckoned from the first sight on, whatever the wall clock does then."""

    lock: files.Lock | None
    at: float
    age: float = 0.0
    """Seconds, at the first sight of this very lock."""
    first_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something of a service that was changed moments ago."""

    what: str
    age: float
    """Seconds, when it was looked at."""
    seen_at: float


class StandDown:
    """Knows for each service why recovery should leave it to others."""

    def __init__(self, *, clock: Clock, emit: Emit, redact: Redactor, policy: DaemonPolicy) -> None:
        self._clock = clock
        self._emit = emit
        self._redact = redact
        self._files = files.MayHang()
        self._locks: dict[str, Seen] = {}
        """By path; one that isn't in here has yet to be looked at."""
        self._changes: dict[str, Change] = {}
        """By service: the latest one, as of its first failure."""
        self._attended: set[str] = set()
        self._in_maintenance: set[str] = set()
        self._windows: object = None
        self._complained: set[str] = set()
        self.policy_is(policy)

    def policy_is(self, policy: DaemonPolicy) -> None:
        """Go by *policy* from now on."""
        self._policy = policy
        self._calendar = Calendar([replace(each, reason=self._redact(each.reason)) for each in policy.maintenance])
        self._windows = None  # whose are under way must be told anew: the services may be others, too

    def maintenance(self, service: str) -> UnderWay | None:
        """The maintenance window of *service* that is under way."""
        return self._calendar.under_way(service, self._clock.wall())

    def windows_changed(self, services: Iterable[str]) -> bool:
        """Tell of windows that have begun or ended since the last time; whether there are any. Asked at each turn."""
        windows = self._calendar.ends(self._clock.wall())
        if windows == self._windows:
            return False
        self._windows = windows
        now_in = {name: window for name in services if (window := self.maintenance(name)) is not None}
        changed = now_in.keys() ^ self._in_maintenance
        for name in sorted(changed):
            window = now_in.get(name)
            self._emit(MaintenanceChanged(service=name, told="" if window is None else window.told))
        self._in_maintenance = set(now_in)
        return bool(changed)

    def held(self, watched: Watched) -> Held | None:
        """Why recovery should leave the service to others now."""
        window = self.maintenance(watched.name)
        if window is not None:
            return Held("maintenance", f"maintenance {window.told}")
        now = self._clock.monotonic()
        for path in self._lock_files(watched):
            held = self._locked(path, now)
            if held is not None:
                return held
        change = self._changes.get(watched.name)
        settled_at = 0.0 if change is None else change.seen_at - change.age + watched.service.settle
        if change is None or now >= settled_at:
            return None
        ago, more = (format_duration(seconds) for seconds in (change.age + now - change.seen_at, settled_at - now))
        return Held(
            "deploy", f"{change.what} {ago} ago: its deployer is likely at it; held for another {more}", settled_at
        )

    def _locked(self, path: str, now: float) -> Held | None:
        seen = self._locks.get(path)
        if seen is None or now > seen.at + LOOK_FRESH:
            return Held("lock", f"{path} has yet to be looked at, and counts as a lock until then")
        lock = seen.lock
        if lock is None:
            return None
        if lock.modified is None:
            return Held("lock", f"{path} can't be read, so it counts as a lock: {lock.problem}")
        expires_at = seen.first_at - seen.age + self._policy.lock_expires
        if now >= expires_at:
            return None
        says = f"can't be read: {lock.problem}" if lock.problem else self._redact(lock.line, limit=LINE_SHOWN)
        age, more = format_duration(seen.age + now - seen.first_at), format_duration(expires_at - now)
        return Held(
            "lock", f"{path} is there, {age} old ({says or 'it is empty'}); it counts for another {more}", expires_at
        )

    # ------------------------------------------------------------------------------------------- finding out

    def wants(self, watched: Watched) -> bool:
        """Whether ``attend`` is to be started: the service fails, and there is something to look at."""
        service = watched.service
        deploys = service.settle > 0 and (service.unit or service.deployed or service.container)
        return watched.name not in self._attended and _failing(watched) and bool(deploys or self._lock_files(watched))

    async def attend(self, watched: Watched, *, current: Mapping[str, Watched]) -> None:
        """Find out who is at work on the service, for as long as it fails and is one of the *current* ones."""
        name = watched.name
        self._attended.add(name)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._look_for_changes, watched)
                while _failing(watched) and current.get(name) is watched:
                    for path in self._lock_files(watched):
                        await self._look_at_lock(path)
                    await anyio.sleep(LOOK_EVERY)
                tasks.cancel_scope.cancel()
        finally:
            self._attended.discard(name)
            self._changes.pop(name, None)

    def _lock_files(self, watched: Watched) -> list[str]:
        return [path for path in (watched.service.lock_file, self._policy.lock_file) if path is not None]

    async def _look_at_lock(self, path: str) -> None:
        before, now = self._locks.get(path), self._clock.monotonic()
        if before is not None and now < before.at + LOOK_EVERY:
            return  # another service has just looked
        try:
            lock = await self._files.call(path, partial(files.read_lock, path), within=LOOK_WITHIN)
        except TimeoutError:
            lock = files.Lock(modified=None, problem=f"no answer within {LOOK_WITHIN:g} s")
        except OSError as error:
            lock = files.Lock(modified=None, problem=str(error.strerror))
        now = self._clock.monotonic()
        if lock is None or lock.modified is None:
            self._locks[path] = Seen(lock=lock, at=now)
        elif before is not None and before.lock is not None and before.lock.modified == lock.modified:
            self._locks[path] = Seen(lock=lock, at=now, age=before.age, first_at=before.first_at)
        else:
            age = max(0.0, self._clock.wall() - lock.modified)
            self._locks[path] = Seen(lock=lock, at=now, age=age, first_at=now)

    async def _look_for_changes(self, watched: Watched) -> None:
        service = watched.service
        if service.settle <= 0:
            return
        for what, find in (
            (service.unit, self._unit_change),
            (service.deployed, self._deployed_change),
            (service.container, self._container_change),
        ):
            if not what:
                continue
            try:
                with anyio.fail_after(LOOK_WITHIN):
                    found = await find(watched)
            except TimeoutError:
                self._complain(watched.name, f"no answer within {LOOK_WITHIN:g} s")
            except (OSError, systemd.SystemdError, docker.DockerError) as error:
                self._complain(watched.name, str(error))
            else:
                self._note(watched, found)

    def _note(self, watched: Watched, found: tuple[str, float] | None) -> None:
        """Keep what was *found*, what and when, if nothing else was changed later."""
        if found is None:
            return
        what, when = found
        age = self._clock.wall() - when
        known = self._changes.get(watched.name)
        if age >= -FUTURE and (known is None or age < known.age):
            self._changes[watched.name] = Change(what=what, age=max(0.0, age), seen_at=self._clock.monotonic())

    def _complain(self, service: str, reason: str) -> None:
        """Once: that nothing can be learnt of deploys holds nothing up."""
        if service not in self._complained:
            self._complained.add(service)
            log.warning("deploys.unknown", extra={"service": service, "reason": self._redact(reason)})

    async def _unit_change(self, watched: Watched) -> tuple[str, float] | None:
        unit = watched.service.unit or ""
        found = await systemd.unit_files(unit, timeout=LOOK_WITHIN)
        latest = await self._latest(f"unit {unit}", found.paths, files.installed_at)
        if latest is None:
            return None
        when, path = latest
        unread = ", which systemd has not read yet" if found.reload_due else ""
        return f"unit {unit} was changed ({path}{unread})", when

    async def _deployed_change(self, watched: Watched) -> tuple[str, float] | None:
        latest = await self._latest(f"deployed {watched.name}", watched.service.deployed, files.deployed_at)
        return None if latest is None else (f"{latest[1]} was changed", latest[0])

    async def _latest(
        self, name: str, paths: Sequence[str], changed: Callable[[str], float | None]
    ) -> tuple[float, str] | None:
        return await self._files.call(name, partial(files.newest, paths, changed), within=LOOK_WITHIN)

    async def _container_change(self, watched: Watched) -> tuple[str, float] | None:
        name = watched.service.container or ""
        found = await docker.container(name)
        return f"container {name} was made from {self._redact(found.image, limit=LINE_SHOWN)}", found.created


def _failing(watched: Watched) -> bool:
    return watched.failing_since is not None and watched.state.belief.health is not Health.PAUSED
