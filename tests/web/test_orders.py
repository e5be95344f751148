"""What may be asked of the daemon, over a real unix socket."""

import os
import pwd
import subprocess
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from reviver.web import control_app, orders
from web.fakes import NOW, restarted
from web.serving import Daemon, controlled, detail, on_tcp

ME = pwd.getpwuid(os.getuid()).pw_name


async def test_a_pause_goes_to_the_services_named_with_who_why_and_how_long(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/pause", json={"services": ["db"], "seconds": 90, "reason": "upgrade"})
    assert response.status_code == 200
    assert response.json() == {"services": ["db"], "until": NOW + 90}
    assert daemon.control.asked == [("pause", ["db"], ME, "upgrade", 90.0)]


async def test_a_pause_that_names_nobody_is_for_all_and_for_an_hour(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/pause")
    assert response.json() == {"services": ["db", "cache"], "until": NOW + 3600}


async def test_a_single_service_can_be_paused_and_resumed_by_its_path(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        paused = await client.post("/api/v1/services/cache/pause", json={"seconds": 60.5})
        resumed = await client.post("/api/v1/services/cache/resume")
    assert paused.json() == {"services": ["cache"], "until": NOW + 60.5}
    assert resumed.json() == {"services": ["cache"]}
    assert daemon.control.asked == [("pause", ["cache"], ME, "", 60.5), ("resume", ["cache"], ME)]


async def test_a_resume_goes_to_the_services_named(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/resume", json={"services": ["db"]})
    assert response.json() == {"services": ["db"]}
    assert daemon.control.asked == [("resume", ["db"], ME)]


async def test_a_recovery_is_accepted_and_a_dry_run_only_told(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        dry = await client.post("/api/v1/services/db/recover", json={"dry_run": True})
        real = await client.post("/api/v1/services/db/recover", json={"strategy": "restart"})
    assert (dry.status_code, real.status_code) == (200, 202)
    assert dry.json() == {"service": "db", "message": "db: attempt 1: reviver will restart it", "dry_run": True}
    assert daemon.control.asked == [("recover", "db", ME, None, True), ("recover", "db", ME, "restart", False)]


async def test_a_promotion_is_passed_on_with_who_gave_it(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/services/db/promote", json={"strategy": "restart"})
    assert response.status_code == 200
    told = {"service": "db", "strategy": "restart", "message": '"restart" of db is trusted again'}
    assert response.json() == told
    assert daemon.control.asked == [("promote", "db", "restart", ME)]


@pytest.mark.parametrize("body", [{}, {"strategy": ""}, {"strategy": None}, {"strategy": "restart", "mode": "auto"}])
async def test_a_promotion_must_name_its_strategy_and_nothing_else(body: dict[str, Any], tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/services/db/promote", json=body)
    assert response.status_code == 400
    assert daemon.control.asked == []


async def test_a_refused_promotion_is_a_409_and_one_on_an_unknown_service_a_404(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        unknown = await client.post("/api/v1/services/dB/promote", json={"strategy": "restart"})
        daemon.control.refusal = '"restart" of db is not demoted'
        refused = await client.post("/api/v1/services/db/promote", json={"strategy": "restart"})
    assert (unknown.status_code, refused.status_code) == (404, 409)
    assert detail(refused) == '"restart" of db is not demoted'


async def test_a_reload_is_passed_on(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/-/reload")
    assert response.json() == {"reloaded": True}
    assert daemon.control.asked == [("reload",)]


async def test_an_approval_carries_its_token_and_a_denial_its_reason(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        approved = await client.post("/api/v1/services/db/approve", json={"token": "0123456789ab"})
        blind = await client.post("/api/v1/services/db/approve")
        denied = await client.post("/api/v1/services/db/deny", json={"reason": "a bad dump"})
    assert (approved.status_code, blind.status_code, denied.status_code) == (202, 400, 200)
    assert detail(blind) == "token: Field required"
    assert daemon.control.asked == [("approve", "db", ME, "0123456789ab"), ("deny", "db", ME, "a bad dump")]


async def test_a_freeze_is_told_by_health_until_it_is_thawed(tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        frozen = (await client.post("/api/v1/freeze", json={"reason": "a bad feeling"})).json()["frozen"]
        shown = (await client.get("/api/v1/health")).json()["frozen"]
        thawed = (await client.post("/api/v1/thaw")).json()["frozen"]
    assert frozen == shown == f"frozen by {ME}: a bad feeling"
    assert thawed == ""


ALL_ORDERS = [
    "/api/v1/pause",
    "/api/v1/resume",
    "/api/v1/services/db/pause",
    "/api/v1/services/db/resume",
    "/api/v1/services/db/recover",
    "/api/v1/services/db/deny",
    "/-/reload",
]


@pytest.mark.parametrize("path", ALL_ORDERS)
async def test_a_refused_order_is_a_409_with_the_reason(path: str, tmp_path: Path) -> None:
    daemon = Daemon()
    daemon.control.refusal = 'db: an attempt of "restart" is under way'
    async with controlled(daemon, tmp_path) as client:
        response = await client.post(path)
    assert response.status_code == 409
    assert detail(response) == 'db: an attempt of "restart" is under way'


@pytest.mark.parametrize("verb", ["pause", "resume", "recover"])
async def test_an_order_for_an_unknown_service_is_a_404_that_names_it(verb: str, tmp_path: Path) -> None:
    async with controlled(Daemon(), tmp_path) as client:
        response = await client.post(f"/api/v1/services/dB/{verb}")
    assert response.status_code == 404
    assert detail(response) == 'there is no service "dB"'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"seconds": -1}, "seconds: Input should be greater than 0"),
        ({"seconds": "1h"}, "seconds: Input should be a valid number"),
        ({"seconds": True}, "seconds: Input should be a valid number"),
        ({"sekonds": 60}, "sekonds: Extra inputs are not permitted"),
        ({"services": "db"}, "services: Input should be a valid array"),
        ({"services": [1]}, "services.0: Input should be a valid string"),
        ({"reason": "x" * 1001}, "reason: String should have at most 1000 characters"),
        ([], "Input should be an object"),
    ],
)
async def test_a_wrong_body_is_a_400_that_names_the_field(body: Any, told: str, tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/pause", json=body)
    assert response.status_code == 400
    assert detail(response) == told
    assert daemon.control.asked == []


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"seconds": NaN}', b'{"seconds": Infinity}', b"[" * 60_000])
async def test_a_body_that_is_no_json_is_a_400(body: bytes, tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.post("/api/v1/pause", content=body)
    assert response.status_code == 400
    assert detail(response)
    assert daemon.control.asked == []


async def test_a_body_of_more_than_64_kib_is_refused_whether_or_not_its_length_is_told(tmp_path: Path) -> None:
    daemon = Daemon()
    big = b'{"reason": "' + b"x" * orders.BODY_MAX + b'"}'

    async def in_pieces() -> Any:
        for start in range(0, len(big), 1000):
            yield big[start : start + 1000]

    async with controlled(daemon, tmp_path) as client:
        told = await client.post("/api/v1/pause", content=big)
        untold = await client.post("/api/v1/pause", content=in_pieces())
    assert (told.status_code, untold.status_code) == (413, 413)
    assert detail(untold) == "the body is longer than 64 KiB"
    assert daemon.control.asked == []


@pytest.mark.parametrize("path", ALL_ORDERS)
async def test_an_order_over_tcp_is_refused_for_nobody_knows_who_asks(path: str) -> None:
    daemon = Daemon()
    async with on_tcp(control_app(daemon.shown)) as client:
        response = await client.post(path)
    assert response.status_code == 403
    assert daemon.control.asked == []


@pytest.mark.parametrize("path", ALL_ORDERS)
async def test_no_order_is_given_by_get(path: str, tmp_path: Path) -> None:
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        response = await client.get(path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert daemon.control.asked == []


async def test_the_unix_socket_shows_what_the_public_one_shows(tmp_path: Path) -> None:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "db-1")]
    async with controlled(daemon, tmp_path) as client:
        for path in ("/metrics", "/-/healthy", "/-/ready", "/api/v1/health", "/api/v1/incidents/db-1"):
            assert (await client.get(path)).status_code == 200, path
        index = (await client.get("/")).text
    for path in ALL_ORDERS:
        assert path.replace("/db/", "/NAME/") in index


async def test_a_user_without_a_name_is_told_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        await client.post("/api/v1/resume")
    assert daemon.control.asked[0][-1] == f"uid {os.getuid()}"


async def test_a_directory_of_users_that_hangs_delays_an_order_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: time.sleep(0.5))
    monkeypatch.setattr(orders, "NAME_WITHIN", 0.05)
    daemon = Daemon()
    async with controlled(daemon, tmp_path) as client:
        await client.post("/api/v1/resume")
        assert daemon.control.asked[0][-1] == f"uid {os.getuid()}"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
async def test_the_name_is_that_of_the_user_at_the_other_end_whatever_the_request_claims(tmp_path: Path) -> None:
    daemon = Daemon()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    async with controlled(daemon, tmp_path):
        socket = tmp_path / "control.sock"
        os.chown(socket, 0, pwd.getpwnam("daemon").pw_gid)
        asked = await anyio.run_process(
            [
                *("setpriv", "--reuid", "daemon", "--regid", "daemon", "--clear-groups"),
                *("curl", "-sS", "--max-time", "5", "--unix-socket", str(socket)),
                *("-H", "X-Remote-User: root", "-H", "X-Forwarded-For: 127.0.0.1", "-X", "POST"),
                "http://localhost/api/v1/resume",
            ]
        )
        assert asked.returncode == 0
        stranger = await anyio.run_process(
            [
                *("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"),
                *("curl", "-sS", "--max-time", "5", "--unix-socket", str(socket)),
                "http://localhost/api/v1/health",
            ],
            check=False,
            stderr=subprocess.PIPE,
        )
        assert stranger.returncode == 7, "others may not connect"
    assert daemon.control.asked == [("resume", ["db", "cache"], "daemon")]
