"""The polkit rule, on a real systemd and polkit: the listed units and verbs, and nothing else."""

import pytest

from install.shell import ROOT, Shell, shell_in

pytestmark = pytest.mark.systemd

SET_UP = f"""
    systemd-sysusers {ROOT}/systemd/reviver.sysusers.conf
    install -m 644 {ROOT}/systemd/50-reviver.rules /etc/polkit-1/rules.d/
    cd /run/systemd/system
    printf '[Service]\nExecStart=sleep infinity\nExecReload=true\n' | tee redis-server.service >other.service
    systemctl daemon-reload && systemctl start redis-server other
"""
DENIED = (
    "restart other.service",
    "restart ssh.service",
    "kill redis-server.service",
    "mask redis-server.service",
    "enable redis-server.service",
    "set-property --runtime redis-server.service CPUWeight=5",
    "daemon-reload",
    "poweroff",
)


async def test_the_user_reviver_may_handle_the_listed_units_and_do_nothing_else() -> None:
    as_reviver = "setpriv --reuid reviver --regid reviver --clear-groups --no-new-privs systemctl --no-ask-password"
    as_nobody = as_reviver.replace("reviver", "nobody").replace("regid nobody", "regid nogroup")
    async with shell_in(f"{ROOT}/tests/with_systemd.sh", "--bind", str(ROOT), "--", kind=Shell) as host:
        await host(SET_UP)
        for verb in ("stop", "start", "restart", "reload", "reset-failed"):
            await host(f"{as_reviver} {verb} redis-server.service")
            status, said = await host.run(f"{as_nobody} {verb} redis-server.service")
            assert (status, "authentication required" in said) == (1, True), f"anybody may {verb}: {said}"
        main_pid = "systemctl show --property MainPID --value other.service"
        before = await host(main_pid)
        for command in DENIED:
            status, said = await host.run(f"{as_reviver} {command}")
            assert status != 0, f"{command} was allowed: {said}"
        assert await host(main_pid) == before
