"""The actions command and wait, with real programs."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import TypeAdapter, ValidationError

from reviver.actions.command import Command
from reviver.actions.wait import Wait
from reviver.clients import process
from reviver.model.actions import Action, ActionContext, ActionError, Effect, Reconciled
from reviver.model.faults import JsonValue
from reviver.model.secrets import Secret
from servers import until


class Journal:
    """Keeps what an action notes."""

    def __init__(self, *, full: bool = False) -> None:
        self.notes: list[Mapping[str, JsonValue]] = []
        self._full = full
        self.context = ActionContext(service="db", fault=None, note=self._note)

    async def _note(self, note: Mapping[str, JsonValue]) -> None:
        self.notes.append(note)
        if self._full:
            raise LookupError("the journal can't be written")


def sh(script: str, **settings: Any) -> Command:
    return Command(argv=("sh", "-c", script), **settings)


async def test_what_a_program_says_is_recorded() -> None:
    result = await sh("echo done; echo careful >&2").run(Journal().context)
    assert result["exit_code"] == 0
    assert (result["stdout"], result["stderr"]) == ("done\n", "careful\n")
    assert isinstance(result["seconds"], float)


async def test_what_is_recorded_is_bounded() -> None:
    result = await sh("seq 1 100000; echo END").run(Journal().context)
    assert len(str(result["stdout"])) <= 4000
    assert str(result["stdout"]).endswith("END\n")


async def test_a_failure_tells_the_code_the_time_and_the_last_line() -> None:
    with pytest.raises(ActionError, match=r"^command sh: exit code 3 after \d+ ms: no such table$"):
        await sh("echo trying >&2; echo no such table >&2; exit 3").run(Journal().context)
    with pytest.raises(ActionError, match=r"^command sh: ended by SIGKILL after \d+ ms$"):
        await sh("kill -KILL $$").run(Journal().context)


async def test_exit_codes_can_be_chosen() -> None:
    assert (await sh("exit 3", exit_codes=frozenset({3})).run(Journal().context))["exit_code"] == 3
    with pytest.raises(ActionError, match="exit code 0"):
        await sh("exit 0", exit_codes=frozenset({3})).run(Journal().context)


async def test_a_missing_program_is_told_beforehand_and_when_tried() -> None:
    action = Command(argv=("/no/such/program",))
    assert await action.preflight() == ["/no/such/program: no such program"]
    with pytest.raises(ActionError, match=r"^command /no/such/program: no such program$"):
        await action.run(Journal().context)
    assert await sh("true").preflight() == []
    assert await sh("true", cwd="/no/such").preflight() == ["/no/such: no such directory"]


async def test_its_process_is_noted_before_it_is_waited_for(tmp_path: Path) -> None:
    journal = Journal()
    go = tmp_path / "go"
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await sh(f"until test -e {go}; do sleep 0.01; done").run(journal.context)

        group.start_soon(run)
        await until(lambda: bool(journal.notes))
        token = process.Token.from_note(journal.notes[0])
        assert token is not None
        assert process.token(token.pid) == token
        go.touch()


async def test_without_a_journal_it_does_not_go_on() -> None:
    journal = Journal(full=True)
    with pytest.raises(LookupError):
        await sh("sleep 60").run(journal.context)
    pid = journal.notes[0]["pid"]
    assert isinstance(pid, int)
    assert not process.alive(pid)


async def test_cancelled_it_leaves_nothing_running(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with anyio.move_on_after(0.4):
        await sh(f"sleep 60 & echo $! >{file}; wait").run(Journal().context)
    pid = int(file.read_text())
    await until(lambda: not process.alive(pid))


async def test_after_a_crash_what_still_runs_of_it_is_ended_and_its_outcome_unknown(tmp_path: Path) -> None:
    file = tmp_path / "note"
    life = (
        "import anyio, json, sys\n"
        "from reviver.actions.command import Command\n"
        "from reviver.model.actions import ActionContext\n"
        "async def note(n): open(sys.argv[1], 'w').write(json.dumps(dict(n)) + '\\n')\n"
        "action = Command(argv=('sh', '-c', 'sleep 60 & wait'))\n"
        "anyio.run(action.run, ActionContext(service='x', fault=None, note=note))\n"
    )
    with subprocess.Popen([sys.executable, "-c", life, str(file)]) as daemon:  # noqa: ASYNC220
        await until(lambda: file.exists() and file.read_text().endswith("\n"), within=20.0)
        daemon.kill()
    [token] = [process.Token.from_note(TypeAdapter(dict[str, Any]).validate_json(file.read_text()))]
    assert token is not None
    assert process.alive(token.pid)
    assert await sh("true").reconcile([token.note()]) is Reconciled.UNKNOWN
    await until(lambda: not process.alive(token.pid))


async def test_after_a_crash_one_that_was_never_started_has_not_happened() -> None:
    assert await sh("true").reconcile([]) is Reconciled.NOT_DONE


async def test_a_secret_reaches_the_program_and_nothing_else() -> None:
    env: dict[str, str | Secret] = {"PASSWORD": Secret("hush"), "MODE": "x"}
    action = sh('test ${#PASSWORD} = 4 && echo "using $PASSWORD in mode $MODE"', env=env)
    journal = Journal()
    result = await action.run(journal.context)
    assert result["stdout"] == "using *** in mode x\n"
    failing = sh('echo "bad: $PASSWORD" >&2; exit 1', env=env)
    with pytest.raises(ActionError, match=r"bad: \*\*\*$"):
        await failing.run(journal.context)
    assert "hush" not in repr(action) + repr(journal.notes)
    assert "hush" not in sh("true", env=env).describe()


async def test_it_runs_where_it_is_told(tmp_path: Path) -> None:
    assert (await sh("pwd", cwd=str(tmp_path)).run(Journal().context))["stdout"] == f"{tmp_path}\n"


def test_it_says_what_it_would_do_and_what_twice_would_cost() -> None:
    action: Action = Command(argv=("pg_ctl", "start", "-D", "/my data"))
    assert action.describe() == "run pg_ctl start -D '/my data'"
    assert action.effect is Effect.REVERSIBLE
    read = TypeAdapter(Command).validate_python({"argv": ["x"], "effect": "destructive"})
    assert read.effect is Effect.DESTRUCTIVE
    assert action.default_after == 20.0


@pytest.mark.parametrize(
    "settings",
    [{"argv": []}, {"argv": ["x"], "exit_codes": []}, {"argv": ["x"], "cwd": "relative"},
     {"argv": ["x"], "effect": "harmless"}, {"argv": ["x"], "env": {"A=": "x"}}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Command).validate_python(settings)


async def test_a_wait_lasts_as_long_as_told_and_runs_again_after_a_crash() -> None:
    action: Action = TypeAdapter[Any](Wait).validate_python({"duration": "50ms"})
    began = anyio.current_time()
    assert await action.run(Journal().context) == {"seconds": 0.05}
    assert 0.05 <= anyio.current_time() - began < 2
    assert action.describe() == "wait for 50 ms"
    assert action.effect is Effect.IDEMPOTENT
    assert await action.preflight() == ()
    assert await action.reconcile([]) is Reconciled.NOT_DONE
    assert action.default_after == 0.0


@pytest.mark.parametrize("duration", ["0s", "1h1s", 5, "soon"])
def test_a_wait_without_end_or_without_length_is_refused(duration: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Wait).validate_python({"duration": duration})
