"""The daemon installed by the commands of ``docs/install.md`` and hardened as shipped, under a real systemd."""

import json
import shlex
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from install.documented import documented
from install.shell import ROOT, Shell, shell_in
from servers import until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

SETTINGS = """
[daemon]
listen = "127.0.0.1:7337"

[services.lamp]
check    = "command"
argv     = ["test", "-e", "/run/lamp"]
interval = "200ms"
confirm  = "50ms"
"""

STALLING_CHECK = """
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reviver.model.checks import CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalling:
    faults: ClassVar = frozenset()
    borrows: ClassVar = frozenset()

    @asynccontextmanager
    async def open(self, context):
        yield self

    def hosts(self):
        return frozenset()

    async def ask(self, *, fresh):
        while Path("/run/stall").exists():
            time.sleep(0.1)
        return CheckResult(latency=0.0)

    async def evidence(self):
        return {}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the documented commands put into ``/opt``, made with Debian's own Python."""
    folder = tmp_path_factory.mktemp("opt")
    script = f"mount --bind {folder} /opt; cd {ROOT}; PATH=/usr/bin:/bin; {documented('python3 -m venv')}"
    own_mounts = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", script]
    made = subprocess.run(own_mounts, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert made.returncode == 0, made.stdout
    return folder


class Host(Shell):
    """A host on which the daemon is installed."""

    async def put(self, path: str, text: str) -> None:
        """Write the file *path*."""
        await self(f"mkdir -p {Path(path).parent}; printf %s {shlex.quote(text)} >{path}")

    async def settings(self, text: str) -> None:
        """Write the daemon's settings."""
        await self.put("/etc/reviver/reviver.toml", text)

    async def unit(self, name: str) -> str:
        """A property of the daemon's unit."""
        return await self(f"systemctl show --property {name} --value reviver")

    async def unit_becomes(self, **properties: str) -> None:
        """Wait until the daemon's unit has *properties*."""
        for name, wanted in properties.items():
            await self.becomes(wanted, f"systemctl show --property {name} --value reviver", within=20.0)

    async def told(self, command: str) -> dict[str, Any]:
        """What ``reviver COMMAND --json`` prints; empty while the daemon doesn't answer."""
        status, printed = await self.run(f"reviver {command} --json")
        return dict(json.loads(printed)) if status == 0 else {}

    async def health_becomes(self, service: str, wanted: str) -> None:
        """Wait until the daemon believes *wanted* of *service*."""

        async def believed() -> bool:
            services = (await self.told("status")).get("services", {})
            return bool(services.get(service, {}).get("health") == wanted)

        await until(believed, within=20.0, what=f"{service} is {wanted}")

    async def recovered_by(self, strategy: str) -> None:
        """Wait until the latest incident was closed by *strategy*."""

        async def closed() -> bool:
            incidents = (await self.told("incidents")).get("incidents", [])
            return [(each["state"], each["recovered_by"]) for each in incidents[:1]] == [("recovered", strategy)]

        await until(closed, within=40.0, what=f"recovered by {strategy}")


@asynccontextmanager
async def installed(program: Path, settings: str = SETTINGS, *, drop_in: str = "") -> AsyncIterator[Host]:
    """A booted host with the daemon on it, installed by the documented commands and not yet started."""
    binds = [part for folder in (program, ROOT) for part in ("--bind", str(folder))]
    async with shell_in(f"{ROOT}/tests/with_systemd.sh", *binds, "--", kind=Host) as host:
        await host(f"cp -a {program}/reviver /opt/; cd {ROOT}; {documented('install -D')}; touch /run/lamp")
        await host.settings(settings)
        await host.put("/etc/systemd/system/reviver.service.d/test.conf", f"[Service]\nWatchdogSec=2\n{drop_in}\n")
        await host("systemctl daemon-reload")
        yield host


async def test_started_as_documented_it_is_ready_when_start_returns_and_has_no_privilege(program: Path) -> None:
    async with installed(program) as host:
        assert await host("systemd-analyze verify reviver.service") == ""
        await host(documented("reviver validate"))
        assert await host.unit("ActiveState") == "active"
        await host("reviver status --quiet")
        await host.health_becomes("lamp", "up")
        await host.becomes("1 of 1 services up", "systemctl show --property StatusText --value reviver")
        process = await host("cat /proc/$(systemctl show --property MainPID --value reviver)/status")
        told = dict(line.split(":\t", 1) for line in process.splitlines() if ":\t" in line)
        assert told["Uid"].split()[0] == await host("id -u reviver")
        assert (told["CapEff"], told["CapBnd"], told["NoNewPrivs"], told["Seccomp"]) == ("0" * 16, "0" * 16, "1", "2")
        owned = await host("stat -c '%U %a' /var/lib/reviver /run/reviver /run/reviver/control.sock")
        assert owned == "reviver 700\nreviver 750\nreviver 660"
        await host("setpriv --reuid nobody --regid nogroup --groups reviver reviver status")
        ask = "reviver status --socket /run/reviver/control.sock"
        status, said = await host.run(f"setpriv --reuid nobody --regid nogroup --clear-groups {ask}")
        assert status == 77, said  # EX_NOPERM


async def test_a_reload_takes_good_settings_and_keeps_the_old_ones_instead_of_bad_ones(program: Path) -> None:
    async with installed(program) as host:
        await host("systemctl start reviver")
        await host.settings(SETTINGS.replace("services.lamp", "services.beacon"))
        await host("systemctl reload reviver")
        await host.health_becomes("beacon", "up")
        await host.settings(SETTINGS.replace("interval", "intervall"))
        await host("systemctl reload reviver")
        await host.becomes("told", "journalctl -u reviver | grep -q 'reviver.toml:8.*intervall' && echo told")
        await host.health_becomes("beacon", "up")
        assert await host.unit("NRestarts") == "0"


async def test_a_frozen_daemon_is_killed_by_the_watchdog_and_started_again(program: Path) -> None:
    async with installed(program) as host:
        await host("systemctl start reviver")
        await host("kill -STOP $(systemctl show --property MainPID --value reviver)")
        await host.unit_becomes(NRestarts="1", ActiveState="active")
        assert "Watchdog timeout" in await host("journalctl -u reviver")
        await host.health_becomes("lamp", "up")


async def test_a_check_that_blocks_the_event_loop_brings_the_watchdog_on(program: Path) -> None:
    async with installed(program, SETTINGS + '[services.stalling]\ncheck = "stalling"\ninterval = "200ms"\n') as host:
        packages = await host("echo /opt/reviver/lib/python3*/site-packages")
        await host.put(f"{packages}/stalling.py", STALLING_CHECK)
        points = "[reviver.checks]\nstalling = stalling:Stalling\n"
        await host.put(f"{packages}/stalling-1.dist-info/entry_points.txt", points)
        await host.put(
            f"{packages}/stalling-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: stalling\nVersion: 1\n"
        )
        await host("systemctl start reviver")
        await host.health_becomes("stalling", "up")
        await host("touch /run/stall")
        await host.becomes("killed", "journalctl -u reviver | grep -q 'Watchdog timeout' && echo killed", within=20.0)
        await host("rm /run/stall")
        await host.unit_becomes(ActiveState="active", SubState="running")
        await host.health_becomes("stalling", "up")


async def test_sigkill_of_the_daemon_is_followed_by_a_new_one(program: Path) -> None:
    async with installed(program) as host:
        await host("systemctl start reviver")
        await host("kill -KILL $(systemctl show --property MainPID --value reviver)")
        await host.unit_becomes(NRestarts="1", ActiveState="active")
        await host("reviver status --quiet")


async def test_stopped_it_ends_with_exit_code_0_within_seconds(program: Path) -> None:
    async with installed(program) as host:
        await host("systemctl start reviver")
        await host("timeout 5 systemctl stop reviver")
        assert [await host.unit(name) for name in ("Result", "ExecMainStatus", "NRestarts")] == ["success", "0", "0"]
        await host("! test -e /run/reviver")


async def test_bad_settings_fail_the_start_for_good_with_the_place_in_the_log(program: Path) -> None:
    async with installed(program, SETTINGS.replace("interval", "intervall")) as host:
        status, _said = await host.run("systemctl start reviver")
        assert status != 0
        told = [await host.unit(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")]
        assert told == ["failed", "78", "0"]
        assert "/etc/reviver/reviver.toml:8" in await host("journalctl -u reviver")


LAMP = """
    [services.lamp]
    check    = "command"
    argv     = ["systemctl", "is-active", "lamp.service"]
    interval = "500ms"
    confirm  = "50ms"
    unit     = "lamp.service"
    settle   = "0s"  # it was made a moment ago

    [[services.lamp.recovery]]
    name    = "restart"
    faults  = ["command_failed", "timeout"]
    steps   = [{ action = "systemd.restart", unit = "lamp.service" }]
"""


@asynccontextmanager
async def watching_a_lamp(program: Path, unit: str, settings: str = LAMP) -> AsyncIterator[Host]:
    """A host whose daemon may restart ``lamp.service`` by the shipped polkit rule, and watches it."""
    async with installed(program, settings) as host:
        await host("sed -i 's/redis-server.service/lamp.service/' /etc/polkit-1/rules.d/50-reviver.rules")
        await host.put("/run/systemd/system/lamp.service", unit)
        await host("systemctl daemon-reload; systemctl start lamp reviver")
        await host.health_becomes("lamp", "up")
        yield host


async def test_a_killed_unit_is_restarted_and_the_incident_closed(program: Path) -> None:
    async with watching_a_lamp(program, "[Service]\nExecStart=sleep infinity\n") as host:
        await host("systemctl kill --signal KILL lamp")
        await host.recovered_by("restart")
        assert await host("systemctl is-active lamp") == "active"


async def test_a_unit_that_was_changed_moments_ago_is_left_to_its_deployer_until_it_has_settled(program: Path) -> None:
    settling = LAMP.replace('"0s"', '"20s"')
    async with watching_a_lamp(program, "[Service]\nExecStart=sleep infinity\n", settling) as host:
        drop_in = "/etc/systemd/system/lamp.service.d/deploy.conf"
        await host.put(drop_in, "[Service]\nEnvironment=RELEASE=2\n")
        await host("systemctl daemon-reload; systemctl kill --signal KILL lamp")

        async def held() -> bool:
            lamp = (await host.told("status"))["services"]["lamp"]
            return f"unit lamp.service was changed ({drop_in})" in lamp["held"] and "deployer" in lamp["held"]

        await until(held, within=15.0, what="it is held")
        assert await host("systemctl is-active lamp || true") == "failed"
        await host.recovered_by("restart")


async def test_a_unit_that_systemd_has_given_up_is_brought_back(program: Path) -> None:
    unit = "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h\n[Service]\nExecStart=sleep infinity\nRestart=always\n"
    async with watching_a_lamp(program, unit) as host:
        await host("systemctl kill --signal KILL lamp; sleep 0.5; systemctl kill --signal KILL lamp; sleep 0.5")
        assert "Start request repeated too quickly" in await host("journalctl -u lamp")
        await host.recovered_by("restart")
        assert await host("systemctl is-active lamp") == "active"


async def test_a_password_reaches_the_daemon_as_a_credential_that_only_root_can_read_on_disk(program: Path) -> None:
    settings = """
        [services.cache]
        check    = "redis"
        url      = "redis://127.0.0.1:6399/0"
        password = { credential = "cache-password" }
        interval = "500ms"
    """
    drop_in = "LoadCredential=cache-password:/etc/reviver/credentials/cache-password"
    async with installed(program, settings, drop_in=drop_in) as host:
        await host.put("/etc/reviver/credentials/cache-password", "open sesame\n")
        await host("chmod 700 /etc/reviver/credentials; chmod 600 /etc/reviver/credentials/cache-password")
        await host("systemd-run --quiet redis-server --port 6399 --requirepass 'open sesame'")
        await host("systemctl start reviver")
        await host.health_becomes("cache", "up")
        assert "sesame" not in await host("journalctl -u reviver; reviver status --json; cat /proc/[0-9]*/cmdline")
