"""What may be read, asked over real connections."""

import dataclasses
import math
import re
import socket
from pathlib import Path

import anyio
import pytest

from reviver.model.control import ApprovalView, TrustView
from reviver.model.journal import JournalError
from reviver.web import pages
from servers import until
from web.fakes import NOW, FakeMetrics, opened, restarted, told, view
from web.serving import Daemon, detail, public

API = (Path(__file__).parents[2] / "docs/api.md").read_text()


def fields_in(heading: str) -> set[str]:
    """The fields that a section of the documentation lists."""
    section = API.partition(f"### {heading}\n")[2].partition("\n#")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


async def test_health_shows_every_service_in_the_order_of_the_settings() -> None:
    daemon = Daemon()
    async with public(daemon) as client:
        answer = (await client.get("/api/v1/health")).json()
    assert answer["healthy"] is True
    assert list(answer["services"]) == ["db", "cache"]
    assert answer["services"]["cache"] == {
        "kind": "redis",
        "health": "up",
        "fault": None,
        "message": "",
        "since": NOW - 60,
        "latency_seconds": 0.002,
        "checked_at": NOW - 1,
        "certain": False,
        "held": "",
        "incident": "",
        "attempt": 0,
        "strategy": "",
        "depends_on": [],
        "paused_until": None,
        "paused_by": "",
        "paused_reason": "",
        "maintenance_until": None,
        "maintenance": "",
        "details": {},
    }


@pytest.mark.parametrize("health", ["unknown", "suspect", "down", "recovering", "paused"])
async def test_all_is_healthy_only_if_every_service_is_up_and_the_answer_is_200_anyway(health: str) -> None:
    daemon = Daemon()
    daemon.control.services["cache"] = view(health=health)
    async with public(daemon) as client:
        response = await client.get("/api/v1/health")
    assert response.status_code == 200
    assert response.json()["healthy"] is False


async def test_that_reviver_suspects_itself_is_shown_beside_the_services() -> None:
    daemon = Daemon()
    async with public(daemon) as client:
        assert (await client.get("/api/v1/health")).json()["observer_suspect"] == ""
        daemon.control.suspect = "this host has lost its default route"
        answer = (await client.get("/api/v1/health")).json()
    assert answer["observer_suspect"] == "this host has lost its default route"


async def test_what_no_json_can_hold_breaks_no_answer() -> None:
    daemon = Daemon()
    details = {"nan": math.nan, "inf": [math.inf], "half": "odd \udc80 byte", "path": Path("/x"), "quote": '"<é>'}
    daemon.control.services["db"] = view(details=details)
    async with public(daemon) as client:
        answer = (await client.get("/api/v1/health")).json()
    assert answer["services"]["db"]["details"] == {
        "nan": None,
        "inf": [None],
        "half": "odd ? byte",
        "path": "/x",
        "quote": '"<é>',
    }


async def test_incidents_are_listed_newest_first_without_what_takes_room() -> None:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "db-1"), told(opened("cache", "cache-1")), restarted("db", "db-2")]
    async with public(daemon) as client:
        all_three = (await client.get("/api/v1/incidents")).json()["incidents"]
        latest = (await client.get("/api/v1/incidents", params={"limit": 1})).json()["incidents"]
        of_db = (await client.get("/api/v1/incidents", params={"service": "db"})).json()["incidents"]
    assert [one["id"] for one in all_three] == ["db-2", "cache-1", "db-1"]
    assert [one["id"] for one in latest] == ["db-2"]
    assert [one["id"] for one in of_db] == ["db-2", "db-1"]
    newest = all_three[0]
    assert (newest["state"], newest["recovered_by"], newest["recovered_in"]) == ("recovered", "restart", 7.5)
    assert newest["attempts_made"] == 1
    assert not {"timeline", "attempts"} & set(newest)


async def test_one_incident_is_told_with_timeline_attempts_and_evidence() -> None:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "db-1")]
    async with public(daemon) as client:
        incident = (await client.get("/api/v1/incidents/db-1")).json()
    assert incident["opened_at"] == NOW
    assert incident["impact"] == ["api"]
    assert incident["timeline"][0] == {"at": NOW, "text": "db is down: unreachable: db: connection refused"}
    assert incident["timeline"][-1]["text"] == "db recovered by restart after 7.50 s"
    [attempt] = incident["attempts"]
    assert attempt["evidence"] == {"clients": 97}
    assert attempt["outcome"] == "recovered"
    [step] = attempt["steps"]
    assert (step["action"], step["outcome"], step["result"]) == ("systemd.restart", "done", {"pid": 42})


async def test_the_documentation_lists_exactly_the_fields_that_are_answered() -> None:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "db-1")]
    async with public(daemon) as client:
        service = (await client.get("/api/v1/health")).json()["services"]["db"]
        [summary] = (await client.get("/api/v1/incidents")).json()["incidents"]
        incident = (await client.get("/api/v1/incidents/db-1")).json()
    [attempt] = incident["attempts"]
    assert fields_in("A service") == set(service)
    assert fields_in("An incident") == set(summary)
    assert fields_in("An incident in full") == set(incident) - set(summary)
    assert fields_in("An attempt") == set(attempt)
    assert fields_in("A step") == set(attempt["steps"][0])


@pytest.mark.parametrize("limit", ["0", "-1", "201", "many", "1e3", "", "9" * 5000, "000000000999", "٣"])
async def test_a_limit_that_is_none_is_refused_with_what_was_expected(limit: str) -> None:
    async with public(Daemon()) as client:
        response = await client.get("/api/v1/incidents", params={"limit": limit})
    assert response.status_code == 400
    assert "expected a number from 1 to 200" in detail(response)


async def test_an_incident_that_is_none_is_a_404_that_says_where_to_look() -> None:
    async with public(Daemon()) as client:
        response = await client.get("/api/v1/incidents/db-9")
    assert response.status_code == 404
    assert detail(response) == 'there is no incident "db-9"; GET /api/v1/incidents lists the latest'


async def test_a_broken_journal_is_a_503_with_its_reason() -> None:
    daemon = Daemon()

    async def broken() -> None:
        raise JournalError("journal: cannot read /var/lib/reviver/journal.db: disk error")

    daemon.journal.before_reading = broken
    async with public(daemon) as client:
        response = await client.get("/api/v1/incidents")
        alive = await client.get("/-/healthy")
    assert response.status_code == 503
    assert detail(response).endswith("disk error")
    assert alive.status_code == 200


async def test_a_journal_that_hangs_holds_one_request_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon()
    daemon.journal.before_reading = anyio.sleep_forever
    monkeypatch.setattr(pages, "READ_WITHIN", 0.05)
    async with public(daemon) as client:
        response = await client.get("/api/v1/incidents")
    assert response.status_code == 503
    assert "no answer within 0.05 s" in detail(response)


async def test_a_bug_answers_500_without_its_text() -> None:
    daemon = Daemon()

    async def bug() -> None:
        raise RuntimeError("password=hunter2")

    daemon.journal.before_reading = bug
    async with public(daemon) as client:
        response = await client.get("/api/v1/incidents")
        again = await client.get("/-/healthy")
    assert response.status_code == 500
    assert detail(response) == "reviver failed to answer; its log says why"
    assert again.status_code == 200


@pytest.mark.parametrize("path", ["/-/healthy", "/healthz"])
async def test_alive_is_200_even_while_it_is_not_ready(path: str) -> None:
    daemon = Daemon()
    daemon.control.not_ready = "2 of 5 services not asked yet"
    async with public(daemon) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/-/ready", "/readyz"])
async def test_ready_is_503_with_the_reason_until_it_is(path: str) -> None:
    daemon = Daemon()
    daemon.control.not_ready = "2 of 5 services not asked yet"
    async with public(daemon) as client:
        early = await client.get(path)
        daemon.control.not_ready = ""
        ready = await client.get(path)
    assert (early.status_code, early.text) == (503, "not ready: 2 of 5 services not asked yet\n")
    assert ready.status_code == 200


async def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    async with public(Daemon()) as client:
        response = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert response.text == "# asked for application/openmetrics-text\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_a_long_scrape_holds_nobody_else_up() -> None:
    daemon = Daemon()
    daemon.metrics.takes = 1.0
    slow_done = False
    async with public(daemon) as client, anyio.create_task_group() as tasks:

        async def scrape() -> None:
            nonlocal slow_done
            await client.get("/metrics")
            slow_done = True

        tasks.start_soon(scrape)
        await until(lambda: daemon.metrics.rendering > 0, what="the scrape is being rendered")
        assert (await client.get("/-/healthy")).status_code == 200
        assert not slow_done


async def test_scrapes_are_rendered_one_at_a_time() -> None:
    class Counting(FakeMetrics):
        most = 0

        def render(self, accept: str) -> tuple[bytes, str]:
            self.takes = 0.02
            answer = super().render(accept)
            self.most = max(self.most, self.rendering + 1)
            return answer

    daemon = Daemon()
    daemon.metrics = counting = Counting()
    async with public(daemon) as client, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(client.get, "/metrics")
    assert counting.most == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/api/v1/health", 405),
        ("DELETE", "/api/v1/incidents/db-1", 405),
        ("POST", "/api/v1/pause", 404),
        ("POST", "/api/v1/services/db/recover", 404),
        ("POST", "/-/reload", 404),
    ],
)
async def test_what_the_public_application_lacks_is_a_problem_and_changes_nothing(
    method: str, path: str, status: int
) -> None:
    daemon = Daemon()
    async with public(daemon) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert "GET / lists what can be asked" in detail(response)
    assert daemon.control.asked == []


async def test_trust_is_shown_for_all_strategies_or_for_those_of_one_service() -> None:
    daemon = Daemon()
    earned = TrustView(
        service="db",
        strategy="restart",
        mode="approve",
        tries=5,
        cures=4,
        failures=1,
        needless=2,
        relapses_1h=1,
        relapses_24h=3,
        last_cure=NOW - 60.0,
        demoted="it broke api",
    )
    daemon.control.trusted = [earned, TrustView(service="cache", strategy="flush", mode="auto")]
    async with public(daemon) as client:
        everything = (await client.get("/api/v1/trust")).json()["strategies"]
        [one] = (await client.get("/api/v1/trust", params={"service": "db"})).json()["strategies"]
        unknown = await client.get("/api/v1/trust", params={"service": "dB"})
    assert [each["strategy"] for each in everything] == ["restart", "flush"]
    assert one == {
        "service": "db",
        "strategy": "restart",
        "mode": "approve",
        "tries": 5,
        "cures": 4,
        "failures": 1,
        "needless": 2,
        "relapses_1h": 1,
        "relapses_24h": 3,
        "last_cure": NOW - 60.0,
        "last_relapse": None,
        "demoted": "it broke api",
    }
    assert unknown.status_code == 404


async def test_every_page_that_the_index_lists_is_there() -> None:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "ID")]
    async with public(daemon) as client:
        index = (await client.get("/")).text
        paths = re.findall(r"^GET +(\S+)(?: +(/\S+))?", index, re.MULTILINE)
        assert len(paths) == 10
        for path in (path for pair in paths for path in pair if path):
            assert (await client.get(path)).status_code == 200, path


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/health", "/nowhere"])
async def test_no_answer_is_cached_framed_or_run(path: str) -> None:
    async with public(Daemon()) as client:
        headers = (await client.get(path)).headers
    assert headers["content-security-policy"] == "default-src 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7337", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:80"]
)
async def test_over_loopback_a_strangers_name_is_refused(host: str) -> None:
    async with public(Daemon()) as client:
        for path in ("/metrics", "/api/v1/health", "/nowhere"):
            response = await client.get(path, headers={"host": host})
            assert response.status_code == 421, path
            assert "ask for localhost or 127.0.0.1" in detail(response)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7337", "127.0.0.1:1", "127.0.1.1", "[::1]:7337", "MACHINE"])
async def test_over_loopback_a_local_name_is_served(host: str) -> None:
    async with public(Daemon()) as client:
        response = await client.get("/metrics", headers={"host": host.replace("MACHINE", socket.gethostname())})
    assert response.status_code == 200


async def test_what_waits_for_a_person_is_shown_with_exactly_what_would_be_done() -> None:
    daemon = Daemon()
    waiting = ApprovalView(
        service="db",
        incident="db-1",
        strategy="restore",
        attempt=1,
        fault="database_missing",
        message="it is gone",
        plan=("restore it",),
        destructive=True,
        token="0123456789ab",
        expires_at=NOW + 900,
    )
    daemon.control.waiting = [waiting]
    async with public(daemon) as client:
        [shown] = (await client.get("/api/v1/approvals")).json()["approvals"]
    assert shown == dataclasses.asdict(waiting) | {"plan": ["restore it"]}


async def test_an_incident_is_explained_by_its_id_or_as_the_latest_of_its_service() -> None:
    daemon = Daemon()
    daemon.journal.kept = [restarted("db", "db-1"), restarted("db", "db-2")]
    async with public(daemon) as client:
        first = (await client.get("/api/v1/incidents/db-1/explain")).json()
        latest = (await client.get("/api/v1/incidents/db/explain")).json()
        assert (await client.get("/api/v1/incidents/cache/explain")).status_code == 404
    assert (first["incident"], latest["incident"]) == ("db-1", "db-2")
    assert latest["next"].startswith("nothing: it has recovered")
    assert latest["decisions"][0]["because"]
