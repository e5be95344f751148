"""Programs that print anything, and what is told of it."""

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from fuzz.planted import REDACT, SECRET, assert_seemly, assert_seemly_result
from reviver.actions import command as action
from reviver.checks import command as check
from reviver.model.actions import ActionContext
from reviver.model.checks import CheckContext
from reviver.model.faults import JsonValue
from reviver.model.secrets import Secret

OUTPUTS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(str.encode),
    st.sampled_from(
        [
            b"\x1b]0;owned\x07\x1b[2J",
            b"a\rb\r\n",
            "\u202ed\u2028".encode(),
            b"\x00" * 100,
            b"\n" * 5000,
            b"y" * 200_000,
            b"password=" + SECRET.encode(),
        ]
    ),
    st.integers(0, 4200).map(lambda n: b"x" * n + SECRET.encode() + b" y" * 150),
    st.integers(0, 70_000).map(lambda n: SECRET.encode() + b"z" * n),
)


def assert_no_part_of_the_secret(told: str) -> None:
    for start in range(len(SECRET) - 7):
        assert SECRET[start : start + 8] not in told, told


@given(out=OUTPUTS, err=OUTPUTS, code=st.sampled_from([0, 3]))
@cases(40)
@example(out=b"", err=b"x" * 290 + SECRET.encode() + b" and more", code=3)
@example(out=SECRET.encode() + b"z" * 1995, err=b"", code=3)
async def test_whatever_a_program_prints_is_told_seemly(tmp_path: Path, out: bytes, err: bytes, code: int) -> None:
    (tmp_path / "out").write_bytes(out)
    (tmp_path / "err").write_bytes(err)
    argv = ("/bin/sh", "-c", f"cat out; cat err >&2; exit {code}")
    argv = (*argv[:2], f"cd {tmp_path}; {argv[2]}")
    asked = check.Command(argv=argv, env={"TOKEN": Secret(SECRET)})
    async with asked.open(CheckContext(service="it", timeout=5, wake=lambda _: None)) as probe:
        result = await probe.ask(fresh=True)
        assert result.healthy == (code == 0)
        assert_seemly_result(result)
        evidence = REDACT.tree(await probe.evidence())
    assert_seemly(evidence)
    assert_no_part_of_the_secret(str([result.fault, evidence]))


@given(out=OUTPUTS, err=OUTPUTS)
@cases(15)
async def test_whatever_an_action_prints_is_recorded_seemly(tmp_path: Path, out: bytes, err: bytes) -> None:
    (tmp_path / "out").write_bytes(out)
    (tmp_path / "err").write_bytes(err)

    async def note(_facts: Mapping[str, JsonValue]) -> None:
        await anyio.lowlevel.checkpoint()

    done = action.Command(argv=("/bin/sh", "-c", f"cd {tmp_path}; cat out; cat err >&2"), env={"TOKEN": Secret(SECRET)})
    told = REDACT.tree(await done.run(ActionContext(service="it", fault=None, note=note)))
    assert_seemly(told)
    assert_no_part_of_the_secret(str(told))


@pytest.mark.parametrize("to", ["", " >&2"])
async def test_a_program_that_never_stops_printing_is_ended_in_time_and_fills_nothing(to: str) -> None:
    asked = check.Command(argv=("/bin/sh", "-c", f"exec yes '{SECRET}'{to}"), env={"TOKEN": Secret(SECRET)})
    async with asked.open(CheckContext(service="it", timeout=0.3, wake=lambda _: None)) as probe:
        with anyio.fail_after(1.5):
            assert_seemly_result(await probe.ask(fresh=True))
        assert_seemly(REDACT.tree(await probe.evidence()))
