"""What holds for every registered kind, whoever wrote it: one suite over all of them."""

import dataclasses
from pathlib import Path
from typing import Any

import anyio
import pytest

from reviver import kinds
from reviver.core.targets import refused
from reviver.model.actions import Action, Effect, Reconciled
from reviver.model.checks import Check, CheckContext
from reviver.model.faults import FaultKind
from reviver.model.secrets import Secret
from servers import LOOPBACK, free_port, silent_server

KINDS = kinds.installed()
DOCS = Path(__file__).parent.parent.parent / "docs"
TIMEOUT = 0.5
PASSWORD = "hunter-2-is-no-password"

CHECKS: dict[str, Any] = {
    "postgres": lambda port: {"dsn": f"postgresql://app:{PASSWORD}@{LOOPBACK}:{port}/app"},
    "redis": lambda port: {"url": f"redis://{LOOPBACK}:{port}/0", "password": Secret(PASSWORD)},
    "redis_stream": lambda port: {
        "url": f"redis://{LOOPBACK}:{port}/0",
        "password": Secret(PASSWORD),
        "stream": "tasks",
        "group": "workers",
    },
    "http": lambda port: {"url": f"http://{LOOPBACK}:{port}/", "headers": {"Authorization": Secret(PASSWORD)}},
    "tcp": lambda port: {"address": f"{LOOPBACK}:{port}"},
    "command": lambda _port: {"argv": ("sleep", "60"), "env": {"PASSWORD": Secret(PASSWORD)}},
}
ACTIONS: dict[str, dict[str, Any]] = {
    "command": {"argv": ("true",), "env": {"PASSWORD": Secret(PASSWORD)}},
    "wait": {"duration": 0.01},
    "http.request": {"url": f"http://{LOOPBACK}:1/", "headers": {"Authorization": Secret(PASSWORD)}},
    "systemd.start": {"unit": "no-such.service"},
    "systemd.stop": {"unit": "no-such.service"},
    "systemd.restart": {"unit": "no-such.service"},
    "systemd.reload": {"unit": "no-such.service"},
}


def check(name: str, port: int) -> Check:
    kind = KINDS.check(name)
    assert kind is not None
    return kind(**CHECKS[name](port))


def action(name: str) -> Action:
    kind = KINDS.action(name)
    assert kind is not None
    return kind(**ACTIONS[name])


def context() -> CheckContext:
    return CheckContext(service="it", timeout=TIMEOUT, wake=lambda _reason: None)


def test_every_registered_kind_is_tried_here() -> None:
    assert set(KINDS.check_names()) == set(CHECKS)
    assert set(KINDS.action_names()) == set(ACTIONS)


@pytest.mark.parametrize("name", CHECKS)
async def test_a_target_that_never_answers_is_a_timeout_within_the_deadline(name: str) -> None:
    async with silent_server() as port, check(name, port).open(context()) as probe:
        for fresh in (False, True):
            started = anyio.current_time()
            result = await probe.ask(fresh=fresh)
            assert anyio.current_time() - started < TIMEOUT + 1.0
            if name == "tcp":  # the kernel shakes hands for a server that hangs
                assert result.healthy
            else:
                assert result.fault is not None
                assert result.fault.kind is FaultKind.TIMEOUT
                assert not result.fault.certain


@pytest.mark.parametrize("name", sorted(set(CHECKS) - {"command"}))
async def test_a_local_port_that_nobody_owns_is_unreachable_for_certain(name: str) -> None:
    async with check(name, free_port()).open(context()) as probe:
        result = await probe.ask(fresh=True)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.UNREACHABLE
    assert result.fault.certain


@pytest.mark.parametrize("name", CHECKS)
async def test_a_cancelled_question_ends_at_once(name: str) -> None:
    async with silent_server() as port, check(name, port).open(context()) as probe:
        started = anyio.current_time()
        with anyio.move_on_after(0.05) as scope:
            await probe.ask(fresh=True)
        assert scope.cancelled_caught or name == "tcp"
        assert anyio.current_time() - started < 1.0


@pytest.mark.parametrize("name", CHECKS)
async def test_what_a_check_says_holds_no_secret_and_only_faults_that_it_declares(name: str) -> None:
    async with silent_server() as port:
        for target in (port, free_port()):
            kind = check(name, target)
            async with kind.open(context()) as probe:
                result = await probe.ask(fresh=True)
                with anyio.move_on_after(2):
                    assert PASSWORD not in repr(await probe.evidence())
            assert PASSWORD not in repr(result)
            assert result.fault is None or result.fault.kind in kind.faults
            if name != "postgres":  # a DSN may hold a password; the settings warn of it
                assert PASSWORD not in repr(kind)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_is_a_value(name: str) -> None:
    assert check(name, 1000) == check(name, 1000)
    assert check(name, 1000).hosts() == check(name, 1000).hosts()


@pytest.mark.parametrize("name", ACTIONS)
async def test_describe_preflight_and_evidence_of_an_action_tell_no_secret(name: str) -> None:
    act = action(name)
    assert isinstance(act.effect, Effect)
    assert act.describe()
    assert refused(act.targets()) is None
    with anyio.fail_after(5):
        told = (repr(act), act.describe(), await act.preflight(), await act.evidence())
    assert PASSWORD not in repr(told)


@pytest.mark.parametrize("name", ACTIONS)
async def test_an_action_that_never_began_was_not_done_unless_it_tells_from_the_system(name: str) -> None:
    with anyio.fail_after(5):
        became = await action(name).reconcile([])
    assert became in set(Reconciled)
    if action(name).effect is not Effect.IDEMPOTENT:
        assert became is not Reconciled.DONE


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_a_page_that_names_its_keys_and_faults(name: str) -> None:
    page, kind = (DOCS / "checks" / f"{name}.md").read_text(), KINDS.check(name)
    assert kind is not None
    missing = [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in page]  # type: ignore[arg-type]
    missing += [fault.value for fault in kind.faults if f"`{fault.value}`" not in page]
    assert not missing


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_has_a_page_that_names_its_keys(name: str) -> None:
    system = name.partition(".")[0]
    page = DOCS / "actions" / f"{'systemd' if system == 'systemd' else name}.md"
    kind = KINDS.action(name)
    assert kind is not None
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    assert not [field.name for field in fields if f"`{field.name}`" not in page.read_text()]
