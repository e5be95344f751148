"""The play calls a fault mended only when reviver says so, said the right thing, and the demo has seen it."""

import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from reviver.demo.faults import Fault, NotSoError
from reviver.demo.play import Play
from reviver.demo.stack import Stack
from reviver.demo.story import Result, Story
from reviver.demo.view import Lines
from reviver.demo.watcher import Watcher

UP = {"kind": "http", "health": "up", "fault": None, "message": "", "since": 0.0, "held": "", "attempt": 0}


class Silence:
    """A stream that forgets."""

    def write(self, _text: str) -> None: ...

    def flush(self) -> None: ...


class Told(Watcher):
    """A reviver that tells of one incident, once the fault is inflicted."""

    def __init__(self, **incident: Any) -> None:
        self._told = {
            "id": "new", "service": "thing", "state": "recovered", "fault": "bad_status", "recovered_by": "restart",
            "noticed_at": 0.0, "ended_at": time.time() + 1, "timeline": [{"at": 0.0, "text": "it is down"}],  # noqa: TID251
            "reason": "",
        } | incident  # fmt: skip
        self.inflicted = False

    async def health(self) -> Mapping[str, Any]:
        return {"thing": UP}

    async def incidents(self) -> list[Mapping[str, Any]]:
        return [self._told] if self.inflicted else [{"id": "old", "service": "thing"}]

    async def incident(self, incident: str) -> Mapping[str, Any]:
        assert incident == "new"
        return self._told


class Broken(Fault):
    """A fault that is mended as the test says."""

    name = "thing"
    title = "Thing broken"
    program = service = "thing"
    diagnoses = frozenset({"bad_status"})

    def __init__(self, watcher: Told, *, mended: bool) -> None:
        super().__init__(cast("Stack", type("NoStack", (), {"plan": None})))
        self._watcher = watcher
        self._mended = mended

    async def inflict(self) -> str:
        self._watcher.inflicted = True
        return "broken"

    async def symptom(self) -> str:
        return "it is"

    async def proof(self) -> str:
        if not self._mended:
            raise NotSoError("it is still broken")
        return "whole"


async def result_of(watcher: Told, *, mended: bool = True) -> Result:
    story = Story(total=1)
    await Play(watcher, story, Lines(cast("Any", Silence())), tick=lambda: None).perform(
        [Broken(watcher, mended=mended)]
    )
    [result] = story.results
    return result


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.demo.faults.PROVEN_WITHIN", 0.2)
    monkeypatch.setattr("reviver.demo.play.MENDED_WITHIN", 0.3)


async def test_what_reviver_recovered_and_the_demo_saw_is_proven() -> None:
    result = await result_of(Told())
    assert (result.proven, result.problem) == (True, "")
    assert (result.diagnosis, result.strategy, result.incident) == ("bad_status", "restart", "new")
    assert result.recovered_seconds == pytest.approx(1, abs=0.5)


async def test_what_reviver_calls_recovered_and_is_not_is_no_success() -> None:
    result = await result_of(Told(), mended=False)
    assert (result.proven, result.problem) == (False, "Thing broken: not proven within 0.2 s: it is still broken")


async def test_a_wrong_diagnosis_is_no_success() -> None:
    result = await result_of(Told(fault="timeout"))
    assert result.problem == "Thing broken: diagnosed as timeout, expected was bad_status"


async def test_what_recovered_by_itself_is_no_success() -> None:
    result = await result_of(Told(recovered_by="itself"))
    assert result.problem == "Thing broken: it recovered by itself, reviver did nothing"


async def test_what_reviver_hands_over_is_no_success() -> None:
    result = await result_of(Told(state="escalated", reason="every strategy was tried"))
    assert result.problem == "Thing broken: reviver handed it over: every strategy was tried"


async def test_what_reviver_never_notices_is_no_success() -> None:
    result = await result_of(Told(id="old"))
    assert result.problem == "Thing broken: not noticed by reviver within 0.3 s"


async def test_what_reviver_notices_and_never_recovers_is_no_success() -> None:
    result = await result_of(Told(state="open"))
    assert result.problem == "Thing broken: not recovered by reviver within 0.3 s"
