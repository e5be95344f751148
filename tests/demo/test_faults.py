"""Each fault breaks for real what it says, and a restart of that one program mends it; reviver has no part in this."""

import anyio
import pytest

from reviver.demo.faults import FAULTS, TROUBLE, NotSoError, proven
from reviver.demo.stack import Stack


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_breaks_what_it_says_until_its_program_is_restarted(stack: Stack, name: str) -> None:
    fault = FAULTS[name](stack)
    with pytest.raises(NotSoError):
        await fault.symptom()
    await fault.inflict()
    assert await fault.symptom()
    with pytest.raises((NotSoError, *TROUBLE)):
        await fault.proof()
    if name == "worker":  # which claims only what has been left for a while
        await anyio.sleep(1)
    stack.restart(fault.program)
    assert await proven(fault)
    with pytest.raises(NotSoError):
        await fault.symptom()


async def test_a_restart_of_the_wrong_program_is_no_proof(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.demo.faults.PROVEN_WITHIN", 0.5)
    fault = FAULTS["api"](stack)
    await fault.inflict()
    stack.restart("worker")
    with pytest.raises(NotSoError, match=r"not proven within 0\.5 s: the API answers 500"):
        await proven(fault)
    stack.restart("api")
    assert await proven(fault)


async def test_an_api_that_was_restarted_though_only_its_database_failed_is_no_success(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reviver.demo.faults.PROVEN_WITHIN", 0.5)
    fault = FAULTS["postgres"](stack)
    await fault.inflict()
    stack.restart("postgres")
    stack.restart("api")
    with pytest.raises(NotSoError, match="the API was restarted"):
        await proven(fault)
