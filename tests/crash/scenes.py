"""The scenes in which the daemon is killed: a service, its ladder, and how it must end whatever happens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reviver.actions.command import Command
from reviver.model.actions import Action, Effect
from reviver.model.faults import FaultKind
from reviver.model.services import Backoff, DaemonPolicy, Jitter, Mode, Service, Step, Strategy, Verification

from .world import Counted, Deed, World

RECOVERED, THEIRS, EITHER = "recovered", "theirs", "either"
POLICY = DaemonPolicy()
QUICK = Backoff(initial=1.0, factor=2.0, max=4.0, jitter=Jitter.NONE)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A service that is ill until its deeds have been done."""

    name: str
    ends: str
    """What must have become of the incident in the end: ``RECOVERED``, ``THEIRS`` (people's), or ``EITHER``."""
    steps: Callable[[World], tuple[Action, ...]]
    needs: Mapping[str, int] = field(default_factory=dict)
    """How often each deed must have been done until the check passes."""
    attempts: int = 3
    approve: bool = False
    """Whether a person must approve, and does."""
    proof: bool = False
    """Whether the strategy's own verification wants a proof, which people bring once they are told."""
    relapses: bool = False
    """Whether it falls again once it has recovered, and needs everything once more."""
    later: str = ""
    """What the settings of later lives have under another name: the ``strategy``, or the ``steps``."""
    timeout: float = 30.0
    """Seconds that a step may take."""
    policy: DaemonPolicy = POLICY

    def services(self, world: World, *, life: int) -> tuple[Service, ...]:
        """What the daemon watches in its *life*-th life."""
        renamed = self.later if life else ""
        strategy = Strategy(
            name="do otherwise" if renamed == "strategy" else "do",
            faults=frozenset({FaultKind.UNREACHABLE}),
            steps=tuple(
                Step(kind=f"other.{n}" if renamed == "steps" else f"step.{n}", action=action, timeout=self.timeout)
                for n, action in enumerate(self.steps(world))
            ),
            after=0.0,
            attempts=self.attempts,
            backoff=QUICK,
            mode=Mode.APPROVE if self.approve else Mode.AUTO,
            verify=(Verification(kind="counted", check=Counted(world=world, proof=True), timeout=100.0),) * self.proof,
            verify_within=0.5,
        )
        return (
            Service(
                name="db",
                kind="counted",
                check=Counted(world=world, needs=self.needs, relapses=self.relapses),
                timeout=100.0,  # a quarter of it is the lateness that is borne: a busy machine is not tried here
                confirm=0.01,
                fall=2,
                rise=1,
                stable=1e6,
                strategies=(strategy,),
            ),
        )

    def well(self, world: World) -> bool:
        """Whether all is well, named verifications included."""
        return not Counted(world=world, needs=self.needs, proof=self.proof).missing()


def deed(name: str, effect: Effect, *, can_tell: bool = False, fails_first: bool = False) -> Callable[[World], Deed]:
    return lambda world: Deed(world=world, name=name, effect=effect, can_tell=can_tell, fails_first=fails_first)


def doing(*deeds: Callable[[World], Action]) -> Callable[[World], tuple[Action, ...]]:
    return lambda world: tuple(make(world) for make in deeds)


def program(name: str, effect: Effect, *, first: str = "") -> Callable[[World], Command]:
    """A real program that says when it begins, and when it has come to its end; *first* is what it does the first time."""
    script = 'echo "$1 $$" >>"$0"; ' + f'[ "$(wc -l <"$0")" = 1 ] && {first}; ' * bool(first)
    script += 'sleep 0.01; echo "$1-end $$" >>"$0"'
    return lambda world: Command(argv=("/bin/sh", "-c", script, str(world.file), name), effect=effect)


IDEMPOTENT, REVERSIBLE, DESTRUCTIVE = Effect.IDEMPOTENT, Effect.REVERSIBLE, Effect.DESTRUCTIVE

SCENES = {
    scene.name: scene
    for scene in (
        Scene(name="idempotent", ends=RECOVERED, steps=doing(deed("touch", IDEMPOTENT)), needs={"touch": 1}),
        Scene(name="reversible", ends=RECOVERED, steps=doing(deed("restart", REVERSIBLE)), needs={"restart": 1}),
        Scene(
            name="destructive-can-tell",
            ends=RECOVERED,
            steps=doing(deed("flush", DESTRUCTIVE, can_tell=True)),
            needs={"flush": 1},
        ),
        Scene(name="destructive-unknown", ends=EITHER, steps=doing(deed("flush", DESTRUCTIVE)), needs={"flush": 1}),
        Scene(
            name="destructive-in-vain",
            ends=THEIRS,
            steps=doing(deed("flush", DESTRUCTIVE, can_tell=True)),
            needs={"flush": 99},
        ),
        Scene(
            name="destructive-unknown-in-vain",
            ends=THEIRS,
            steps=doing(deed("flush", DESTRUCTIVE)),
            needs={"flush": 99},
        ),
        Scene(
            name="two-steps",
            ends=RECOVERED,
            steps=doing(deed("stop", REVERSIBLE, can_tell=True), deed("flush", DESTRUCTIVE, can_tell=True)),
            needs={"stop": 1, "flush": 1},
        ),
        Scene(
            name="fails-then-helps",
            ends=RECOVERED,
            steps=doing(deed("touch", IDEMPOTENT, fails_first=True)),
            needs={"touch": 2},
            attempts=2,
        ),
        Scene(
            name="in-vain",
            ends=THEIRS,
            steps=doing(deed("restart", REVERSIBLE, can_tell=True)),
            needs={"restart": 99},
            attempts=2,
        ),
        Scene(
            name="approved",
            ends=RECOVERED,
            steps=doing(deed("flush", DESTRUCTIVE, can_tell=True)),
            needs={"flush": 1},
            approve=True,
        ),
        Scene(
            name="approved-unknown",
            ends=EITHER,
            steps=doing(deed("flush", DESTRUCTIVE)),
            needs={"flush": 1},
            approve=True,
        ),
        Scene(
            name="proof-wanted",
            ends=RECOVERED,
            steps=doing(deed("restart", REVERSIBLE, can_tell=True)),
            needs={"restart": 1},
            proof=True,
        ),
        Scene(
            name="relapse",
            ends=RECOVERED,
            steps=doing(deed("restart", REVERSIBLE, can_tell=True)),
            needs={"restart": 1},
            relapses=True,
        ),
        Scene(name="program", ends=RECOVERED, steps=doing(program("run", REVERSIBLE)), needs={"run-end": 1}),
        Scene(
            name="program-destructive",
            ends=EITHER,
            steps=doing(program("run", DESTRUCTIVE)),
            needs={"run-end": 1},
        ),
        Scene(
            name="program-killed",
            ends=RECOVERED,
            steps=doing(program("run", REVERSIBLE, first="kill -9 $$")),
            needs={"run-end": 1},
        ),
        *(
            Scene(
                name=f"destructive-renamed-{later}",
                ends=THEIRS,
                steps=doing(deed("flush", DESTRUCTIVE, can_tell=True)),
                needs={"flush": 99},
                later=later,
            )
            for later in ("strategy", "steps")
        ),
        *(
            Scene(
                name=f"program-hangs{'-' * bool(later)}{later}",
                ends=EITHER,  # the machine may be too busy for the second, too
                steps=doing(program("run", REVERSIBLE, first="sleep 60")),
                needs={"run-end": 1},
                timeout=0.1,
                later=later,
            )
            for later in ("", "strategy", "steps")
        ),
    )
}
