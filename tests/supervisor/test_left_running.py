"""What a killed daemon's step left running is ended by the next life, though the settings no longer know the step."""

import subprocess
from collections.abc import Iterator

import pytest

from fakes import Act, Stage, Target, service, strategy
from incidents.entries import opened, started, step_started
from reviver.clients import process
from reviver.model import journal as j
from reviver.model.services import Service
from servers import until


@pytest.fixture
def program() -> Iterator[process.Token]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as popen:
        token = process.token(popen.pid)
        assert token is not None
        yield token
        popen.kill()


async def killed_in_its_middle(stage: Stage, program: process.Token) -> None:
    """The journal of a daemon that was killed while *program* was running."""
    noted = j.StepNoted(service="db", incident="db-1", attempt=1, step=0, note=program.note())
    await stage.journal.append(opened(), started(), step_started(), noted)


def ladder(target: Target, name: str) -> Service:
    return service(target, strategy(Act(), name=name, after=1e9))


@pytest.mark.parametrize(
    ("target", "strategy_name"), [("db", "another"), ("db", "restart"), ("another", "restart")],
    ids=["the strategy is gone", "the strategy has other steps", "the service is gone"],
)  # fmt: skip
async def test_a_program_of_a_step_that_the_settings_no_longer_have_is_ended(
    program: process.Token, target: str, strategy_name: str
) -> None:
    stage = Stage()
    await killed_in_its_middle(stage, program)
    async with stage.life(ladder(Target(target), strategy_name)):
        await until(lambda: not process.alive(program.pid))


async def test_a_program_whose_end_is_on_record_is_left_to_itself(program: process.Token) -> None:
    stage = Stage()
    await killed_in_its_middle(stage, program)
    done = j.StepOutcome.DONE
    await stage.journal.append(j.StepEnded(service="db", incident="db-1", attempt=1, step=0, outcome=done, seconds=0.1))
    async with stage.life(ladder(Target(), "another")):
        await until(lambda: "attempt_ended" in stage.entries)
    assert process.alive(program.pid)
