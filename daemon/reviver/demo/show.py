"""The whole demo: a stack and a reviver in a temporary folder, the play, and the end of all that was started."""

import difflib
import json
import shutil
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import anyio
from rich.console import Console

from . import children, plan, programs, view
from .faults import FAULTS
from .plan import Plan
from .play import Play
from .programs import NoServersError
from .stack import Stack, StackError
from .story import Story
from .watcher import Watcher, WatcherError

FAILED: Final = 1
USAGE: Final = 64  # sysexits(3)
INTERRUPTED: Final = 128 + signal.SIGINT
BULKY: Final = ("postgres", "redis", "programs", "password", "plan.json")
"""What isn't worth keeping, or isn't to be kept."""


def show(*, headless: bool, as_json: bool, fault: str | None, keep: bool) -> int:
    """The exit code after the demo; see ``reviver.demo.run``."""
    if fault is not None and fault not in FAULTS:
        near = difflib.get_close_matches(fault, FAULTS, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; there are: {', '.join(FAULTS)}"
        sys.stderr.write(f'reviver: the demo has no fault "{fault}"{hint}\n')
        return USAGE
    talk = Console(stderr=as_json, highlight=False, soft_wrap=headless or as_json)
    live = not headless and not as_json and talk.is_terminal and not talk.is_dumb_terminal
    demo = Demo(talk, live=live, as_json=as_json, names=[fault] if fault else list(FAULTS), keep=keep)
    demo.run()
    return demo.code


class Demo:
    """One demo from its start to its end."""

    def __init__(self, talk: Console, *, live: bool, as_json: bool, names: list[str], keep: bool) -> None:
        self.code = FAILED
        self._talk = talk
        self._live = live
        self._as_json = as_json
        self._names = names
        self._keep = keep
        self._story = Story(total=len(names))
        self._problem = "it did not come to its end"
        self._plan: Plan | None = None
        self._stack: Stack | None = None
        self._watcher: Watcher | None = None

    def run(self) -> None:
        """Play, tell what came of it, and end all that was started, whatever happens."""
        _one_way_out()
        children.adopt_orphans()
        try:
            self._play()
        except KeyboardInterrupt:
            if not self._well:
                self.code, self._problem = INTERRUPTED, "interrupted"
        except (NoServersError, StackError, WatcherError, OSError) as error:
            self.code, self._problem = FAILED, str(error)
        finally:
            _no_way_out()
            self._end()
            if self._as_json and not (self._keep and self._well):
                self._print_result()

    @property
    def _well(self) -> bool:
        """Whether it has come to a good end."""
        return not self._problem

    def _print_result(self) -> None:
        sys.stdout.write(json.dumps(self._result(), indent=2) + "\n")
        sys.stdout.flush()

    def _result(self) -> dict[str, Any]:
        """What came of it, for programs."""
        kept = self._plan is not None and self._plan.directory.exists()
        return {
            "recovered": self._well,
            "problem": self._problem,
            "faults": [result.json() for result in self._story.results],
            "folder": str(self._plan.directory) if self._plan and kept else None,
        }

    def _play(self) -> None:
        self._plan = plan.make()
        with closing(view.of(self._talk, live=self._live)) as shown:
            stack, watcher = self._start(self._plan, shown)
        anyio.run(self._perform, self._plan, stack, watcher)

    def _start(self, plan: Plan, shown: view.View) -> tuple[Stack, Watcher]:
        def tell(text: str) -> None:
            self._story.turn(text)
            shown.heading(self._story)
            shown.refresh(self._story)

        self._story.footer = f"settings: {plan.settings}   Ctrl-C ends all"
        tell("A PostgreSQL of its own is set up ...")
        programs.prepare(plan)
        stack = self._stack = Stack(plan)
        tell("PostgreSQL, Redis (Valkey), an API and a worker start ...")
        stack.start("postgres", "redis")
        stack.start("api", "worker", "customers")
        tell(f"reviver starts, with {plan.settings}")
        watcher = self._watcher = Watcher(plan)
        return stack, watcher

    async def _perform(self, plan: Plan, stack: Stack, watcher: Watcher) -> None:
        def tick() -> None:
            children.reap(but=watcher.pid)

        async with watcher.asked():
            with closing(view.of(self._talk, live=self._live)) as shown:
                faults = [FAULTS[name](stack) for name in self._names]
                await Play(watcher, self._story, shown, tick=tick).perform(faults)
            self._tell_the_end()
            if self._keep and self._well:
                self._tell_how_to_go_on(plan)
                with closing(view.of(self._talk, live=self._live)) as shown:
                    await Play(watcher, self._story, shown, tick=tick).follow_all()

    def _tell_the_end(self) -> None:
        results = self._story.results
        self._problem = "; ".join(result.problem for result in results if result.problem)
        self.code = 0 if self._well else FAILED
        self._talk.print(view.closing(results, width=self._talk.width))
        proven = sum(result.proven for result in results)
        self._talk.print(f"{proven} of {len(self._names)} faults recovered, each proven by the demo's own eyes.\n")

    def _tell_how_to_go_on(self, plan: Plan) -> None:
        if self._as_json:
            self._print_result()
        self._talk.print(_by_hand(plan), soft_wrap=True)

    def _end(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
        if self._stack is not None:
            children.end(but={self._stack.pid(name) for name in self._stack.programs})
            self._stack.close()
        children.end(but=set())
        if self._plan is None:
            return
        if self.code == FAILED:
            self._talk.print(f"reviver: the demo failed: {self._problem}", soft_wrap=True, style="bold red")
        elif not self._keep:
            shutil.rmtree(self._plan.directory, ignore_errors=True)
            return
        _keep_what_tells(self._plan.directory)
        self._talk.print(f"Logs, settings and journal are kept in {self._plan.directory}", soft_wrap=True)


def _keep_what_tells(directory: Path) -> None:
    for name in BULKY:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _by_hand(plan: Plan) -> str:
    """How to break things oneself."""
    reviver = Path(sys.executable).with_name("reviver")
    where = plan.directory
    return "\n".join(
        (
            "Everything goes on running. Break it yourself, from another terminal:",
            f"  kill -KILL $(head -1 {where}/postgres.pid)",
            f"  kill -STOP $(head -1 {where}/redis.pid)",
            f"  curl -X POST {plan.url('api')}/poison",
            f"  kill -KILL $(head -1 {where}/worker.pid)",
            "and see what reviver makes of it (three times an hour each; then it hands over to people), here or with",
            f"  {reviver} status -c {plan.settings}",
            f"  curl {plan.url('reviver')}/metrics",
            "Ctrl-C ends all.",
            "",
        )
    )


def _one_way_out() -> None:
    """Whatever asks the demo to end does so as Ctrl-C does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def _no_way_out() -> None:
    """The end is bounded in time, and must not be broken off."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
