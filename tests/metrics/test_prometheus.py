"""What a real Prometheus makes of the page, the alerts and the documentation."""

import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from metrics.happenings import checked, fed
from prometheus import Prometheus, running_prometheus
from reviver.clients.clock import SystemClock
from reviver.metrics import Metrics
from reviver.model.control import TrustView
from reviver.web import Shown, public_app, serve_tcp
from servers import LOOPBACK, until
from web.fakes import FakeClock, FakeControl, FakeJournal

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config/prometheus"
PAGE = (ROOT / "docs/metrics.md").read_text()


def promtool(*argv: str, stdin: bytes = b"") -> str:
    """What promtool says; fails the test if it complains."""
    done = subprocess.run(["promtool", *argv], input=stdin, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def families(metrics: Metrics) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Name, type and labels of each metric on the page."""
    for family in text_string_to_metric_families(metrics.render("")[0].decode()):
        suffix = "_total" if family.type == "counter" else ""
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        yield family.name + suffix, family.type, frozenset(labels)


def documented() -> Iterator[tuple[str, str, frozenset[str]]]:
    """The same, from the tables of the documentation."""
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE):
        yield name, kind, frozenset(re.findall(r"`(\w+)`", labels))


def test_the_documentation_lists_each_metric_with_its_type_and_labels() -> None:
    metrics = fed(Metrics(FakeClock()))
    metrics.trust_is(lambda: [TrustView(service="db", strategy="restart", mode="auto")])
    assert sorted(documented()) == sorted(families(metrics))


def test_promtool_has_no_complaint_about_the_page() -> None:
    page, _ = fed(Metrics(FakeClock())).render("")
    assert promtool("check", "metrics", stdin=page) == ""


def test_the_alerts_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(CONFIG / "alerts_test.yml"))


def test_the_shipped_configuration_is_one_that_prometheus_takes() -> None:
    promtool("check", "config", str(CONFIG / "scrape.yml"))


def test_every_alert_has_a_section_and_a_test_and_asks_for_metrics_that_exist() -> None:
    alerts = (CONFIG / "alerts.yml").read_text()
    names = re.findall(r"alert: (\w+)", alerts)
    headings = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert names == headings
    assert [f"docs/metrics.md#{name.lower()}" for name in names] == re.findall(r"runbook: (\S+)", alerts)
    assert set(names) == set(re.findall(r"alertname: (\w+)", (CONFIG / "alerts_test.yml").read_text()))
    asked = set(re.findall(r"reviver_\w+", " ".join(re.findall(r"expr: (?:>-\s+)?(.*)", alerts))))
    known = {name for name, _kind, _labels in documented()}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} <= known


@asynccontextmanager
async def scraping(directory: Path, app: Any) -> AsyncIterator[Prometheus]:
    """*app* on a free port, and a Prometheus that scrapes it often."""
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_tcp, app, LOOPBACK, 0)
        async with running_prometheus(directory, port) as prometheus:
            yield prometheus
        tasks.cancel_scope.cancel()


async def test_a_real_prometheus_sees_the_figures_that_were_told(tmp_path: Path) -> None:
    metrics = fed(Metrics(SystemClock()))
    app = public_app(Shown(control=FakeControl(), metrics=metrics, journal=FakeJournal()))
    async with scraping(tmp_path, app) as prometheus:

        async def seen(query: str, figures: dict[str, float]) -> bool:
            return (await prometheus.query(query)) == pytest.approx(figures)

        for query, figures in {
            'reviver_checks_total{outcome="fault"}': {"db": 0.0, "cache": 2.0},
            "reviver_checks_void_total": {"db": 0.0, "cache": 1.0},
            'reviver_service_health{health="down"}': {"db": 0.0, "cache": 1.0},
            "reviver_incidents_open": {"db": 0.0, "cache": 1.0},
            "reviver_incidents_escalated": {"db": 0.0, "cache": 1.0},
            "reviver_check_latency_seconds_sum{kind='redis'}": {"": 0.012},
            "reviver_recovery_seconds_sum": {"": 7.5},
            "histogram_quantile(1, reviver_loop_lag_seconds_bucket)": {"": 0.5},
            "reviver_build_info": {"": 1.0},
        }.items():
            # The first scrape comes after 5 s; a scrape that came too late leaves a gap.
            await until(partial(seen, query, figures), within=20, what=f"{query} is {figures}")
        fed(metrics, checked())
        one_more = partial(seen, 'reviver_checks_total{service="db", outcome="healthy"}', {"db": 2.0})
        await until(one_more, within=20, what="a scrape shows one more check")
