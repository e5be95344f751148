"""
Starts, stops, restarts and reloads systemd units, and says why one failed.

An order is given through systemd and waited for until its job has ended. That the unit then runs is not yet that the
service serves: that is the verification's question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import anyio

from reviver.clients import process, systemd
from reviver.clients.systemd import SystemdError, UnitState
from reviver.model.actions import ActionContext, ActionError, Effect, Reconciled
from reviver.model.faults import JsonValue

PATIENCE: Final = 60.0  # seconds that systemd's own start of the unit is waited for before it is restarted anyway
SETTLE_WITHIN: Final = 30.0  # seconds that a job left by an earlier life of the daemon is waited for
LOOK_EVERY: Final = 0.2
START_LIMIT: Final = "start-limit-hit"


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitAction:
    unit: str
    """The unit's name with its suffix."""

    default_after: ClassVar[float] = 20.0
    default_timeout: ClassVar[float] = 180.0  # systemd gives a unit 90 s to stop and 90 s to start

    def __post_init__(self) -> None:
        systemd.validate_unit(self.unit)

    def targets(self) -> Sequence[str]:
        """The unit."""
        return (self.unit,)

    async def preflight(self) -> Sequence[str]:
        """Whether there is such a unit. Whether this user may act upon it, systemd tells only when told to."""
        try:
            state = await systemd.unit_state(self.unit)
        except SystemdError as error:
            return [str(error)]
        return [] if state.load_state == "loaded" else [f"{self.unit}: {state.load_state}"]

    async def evidence(self) -> Mapping[str, JsonValue]:
        """The unit's state and its last log lines, as they are before it is touched."""
        return await systemd.evidence(self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(_UnitAction):
    """Starts a unit; one that runs is left as it is."""

    @property
    def effect(self) -> Effect:
        """Starting twice is starting once."""
        return Effect.IDEMPOTENT

    def describe(self) -> str:
        """What it would do."""
        return f"start unit {self.unit}"

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        """Start it and wait for that; a start limit that was hit is lifted once."""
        return await _bring_up("start", self.unit, await _before(self.unit, context))

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:  # noqa: ARG002
        """Whether it runs."""
        now = await _settled(self.unit)
        if now is None:
            return Reconciled.UNKNOWN
        return Reconciled.DONE if now.active_state == "active" else Reconciled.NOT_DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(_UnitAction):
    """Restarts a unit, or starts it if it doesn't run."""

    @property
    def effect(self) -> Effect:
        """A second restart interrupts the service a second time."""
        return Effect.REVERSIBLE

    def describe(self) -> str:
        """What it would do."""
        return f"restart unit {self.unit}"

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        """Restart it and wait for that; where systemd is starting it at this moment, only wait for that."""
        before = await _before(self.unit, context)
        if before.active_state in ("activating", "reloading"):
            before = await _patience(before)
            if before.active_state == "active":
                return {**_told(before), "waited_only": "systemd was starting it by itself"}
        return await _bring_up("restart", self.unit, before)

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        """Whether it runs, and no longer as the run that was noted before."""
        return restarted(notes, await _settled(self.unit), boot_id=process.boot_id())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(_UnitAction):
    """Stops a unit; systemd then doesn't restart it, but a socket or timer may."""

    @property
    def effect(self) -> Effect:
        """It can be started again."""
        return Effect.REVERSIBLE

    def describe(self) -> str:
        """What it would do."""
        return f"stop unit {self.unit}"

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:
        """Stop it and wait for that."""
        await _before(self.unit, context)
        after = await _order("stop", self.unit)
        if after.active_state not in ("inactive", "failed"):
            raise ActionError(f"{self.unit}: still {after.told} after it was stopped; does something start it again?")
        return _told(after)

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:
        """Whether it has stopped, or is still the run that was noted before."""
        now = await _settled(self.unit)
        if not notes:
            return Reconciled.NOT_DONE
        if now is not None and now.active_state in ("inactive", "failed"):
            return Reconciled.DONE
        same = now is not None and now.invocation_id == notes[0].get("invocation_id")
        return Reconciled.NOT_DONE if same else Reconciled.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload(_UnitAction):
    """Has a unit read its configuration again, without interruption."""

    default_after: ClassVar[float] = 10.0
    default_timeout: ClassVar[float] = 90.0

    @property
    def effect(self) -> Effect:
        """Reading twice is reading once."""
        return Effect.IDEMPOTENT

    def describe(self) -> str:
        """What it would do."""
        return f"reload unit {self.unit}"

    async def preflight(self) -> Sequence[str]:
        """Whether there is such a unit, it runs and can be reloaded."""
        try:
            state = await systemd.unit_state(self.unit)
        except SystemdError as error:
            return [str(error)]
        if state.load_state != "loaded" or state.active_state != "active":
            return [f"{self.unit}: {state.told}: only what runs can be reloaded"]
        return [] if state.can_reload else [f"{self.unit}: its unit file has no ExecReload="]

    async def run(self, context: ActionContext) -> Mapping[str, JsonValue]:  # noqa: ARG002
        """Reload it and wait for that."""
        return _told(await _order("reload", self.unit))

    async def reconcile(self, notes: Sequence[Mapping[str, JsonValue]]) -> Reconciled:  # noqa: ARG002
        """It leaves no trace that could be looked for, and may be done again."""
        return Reconciled.NOT_DONE


def restarted(notes: Sequence[Mapping[str, JsonValue]], now: UnitState | None, *, boot_id: str) -> Reconciled:
    """
    What became of a restart, from what was noted before it and the unit's state *now* (``None``: can't be told).

    Each start of a unit has its own invocation id; a host that booted since has started all anew.
    """
    if not notes:
        return Reconciled.NOT_DONE
    if now is None:
        return Reconciled.UNKNOWN
    before = notes[0]
    same_run = before.get("boot_id") == boot_id and before.get("invocation_id") == now.invocation_id
    if now.active_state == "active":
        return Reconciled.NOT_DONE if same_run else Reconciled.DONE
    was_up = before.get("active_state") == "active"
    return Reconciled.NOT_DONE if same_run and not was_up else Reconciled.UNKNOWN


async def _before(unit: str, context: ActionContext) -> UnitState:
    """The unit's state before anything is done to it, noted for ``reconcile``."""
    try:
        state = await systemd.unit_state(unit)
    except SystemdError as error:
        raise ActionError(str(error)) from error
    await context.note(
        {
            "boot_id": process.boot_id(),
            "invocation_id": state.invocation_id,
            "active_state": state.active_state,
            "result": state.result,
        }
    )
    return state


async def _patience(state: UnitState) -> UnitState:
    """The unit's state once systemd no longer works on it, or when patience ends."""
    with anyio.move_on_after(PATIENCE):
        while state.active_state in ("activating", "reloading"):
            await anyio.sleep(LOOK_EVERY)
            state = await _state(state.unit)
    return state


async def _bring_up(verb: str, unit: str, before: UnitState) -> Mapping[str, JsonValue]:
    """Start or restart, with one reset of a start limit that was hit before or is hit by this very start."""
    lifted: dict[str, JsonValue] = {}
    if before.result == START_LIMIT:
        lifted = await _lift_start_limit(unit)
    try:
        after = await _order(verb, unit, before.invocation_id)
    except _StartLimitError as error:
        if lifted:
            raise ActionError(str(error)) from error
        lifted = await _lift_start_limit(unit)
        after = await _order(verb, unit)
    if after.active_state == "inactive" and not after.is_oneshot:  # systemd has already forgotten which of both it was
        raise ActionError(f"{unit}: not running after its {verb}: a condition in its unit file isn't met, or it ended")
    return {**_told(after), "was": before.told, **lifted}


class _StartLimitError(ActionError):
    """systemd's start limit holds the unit."""


async def _order(verb: str, unit: str, run_before: str = "") -> UnitState:
    """
    Tell systemd, wait for its job, and return the unit's state; raises if the unit has failed.

    A unit that has failed and still has the invocation id *run_before* wasn't even started: so shows a start limit that
    was hit by crashes, for then the unit's result stays that of the last crash.
    """
    try:
        await systemd.order(verb, unit)
    except SystemdError as error:
        after = await _state(unit)
        not_started = after.active_state == "failed" and after.invocation_id == run_before != ""
        kind = _StartLimitError if after.result == START_LIMIT or not_started else ActionError
        said = after.why if after.active_state == "failed" and after.why else str(error)
        raise kind(f"{unit}: {verb} failed: {said}") from error
    after = await _state(unit)
    if after.active_state == "failed" and verb != "stop":
        raise ActionError(f"{unit}: failed right after its {verb}: {after.why}")
    return after


async def _lift_start_limit(unit: str) -> dict[str, JsonValue]:
    try:
        await systemd.order("reset-failed", unit)
    except SystemdError as error:
        raise ActionError(f"{unit}: systemd's start limit holds it and could not be lifted: {error}") from error
    return {"reset_failed": "systemd's start limit had been hit and was lifted, once"}


async def _state(unit: str) -> UnitState:
    try:
        return await systemd.unit_state(unit)
    except SystemdError as error:
        raise ActionError(str(error)) from error


async def _settled(unit: str) -> UnitState | None:
    """The unit's state once systemd's jobs for it have ended; ``None`` if that can't be told."""
    try:
        state = await systemd.unit_state(unit)
        with anyio.move_on_after(SETTLE_WITHIN):
            while state.job or state.active_state in ("activating", "deactivating", "reloading"):
                await anyio.sleep(LOOK_EVERY)
                state = await systemd.unit_state(unit)
    except SystemdError:
        return None
    return None if state.load_state != "loaded" else state


def _told(state: UnitState) -> dict[str, JsonValue]:
    return {"state": state.told, "main_pid": state.main_pid, "n_restarts": state.n_restarts}
