"""How late healthy checks are while others hang: targets that accept and never answer, at an interval of 1 s."""

import statistics
from contextlib import AsyncExitStack
from itertools import pairwise

import anyio

from reviver.checks.http import Http
from reviver.checks.redis import Redis
from reviver.clients.clock import SystemClock
from reviver.clients.uplink import SystemUplink
from reviver.incidents.scribe import Scribe
from reviver.model.checks import Check
from reviver.model.events import Checked, Event
from reviver.model.secrets import Redactor
from reviver.model.services import DaemonPolicy, Mode, Service
from reviver.supervisor.supervisor import Supervisor
from servers import listening, running_redis, silent_server

from .cost import answer_ok

TITLE = "Lateness of healthy checks while others hang"
SECONDS = 20.0
HEALTHY = 20


class Nothing:
    """A journal that forgets."""

    async def append(self, *_entries: object) -> None:
        return


async def measure(hung: int, healthy: dict[str, Check], silent_port: int) -> tuple[list[float], list[float]]:
    """Lateness of each healthy check after its due time, and the time from one to the next; in seconds."""
    late: list[float] = []
    at: dict[str, list[float]] = {name: [] for name in healthy}

    def hear(event: Event) -> None:
        if isinstance(event, Checked) and event.service in healthy:
            late.append(event.late)
            at[event.service].append(anyio.current_time())

    services = {name: Service(name=name, kind="any", check=check, interval=1.0) for name, check in healthy.items()}
    for number in range(hung):
        url = f"127.0.0.1:{silent_port}"
        check: Check = Http(url=f"http://{url}/") if number % 2 else Redis(url=f"redis://{url}/0")
        services[f"hung-{number}"] = Service(name=f"hung-{number}", kind="any", check=check, interval=1.0)
    supervisor = Supervisor(
        services=services,
        policy=DaemonPolicy(mode=Mode.OBSERVE),
        clock=SystemClock(),
        random=lambda: 0.5,
        scribe=Scribe(Nothing(), hear),  # type: ignore[arg-type]  # only written to
        emit=hear,
        recoverer=None,  # type: ignore[arg-type]  # it only observes
        redact=Redactor(),
        uplink=SystemUplink(),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(supervisor.run)
        await anyio.sleep(SECONDS)
        tasks.cancel_scope.cancel()
    periods = [b - a for times in at.values() for a, b in pairwise(times[2:])]
    return late, periods


async def main() -> None:
    print("| hung targets | healthy checks done / due | lateness ms p50 | p99 | period s p50 | max |")
    print("| --- | --- | --- | --- | --- | --- |")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_redis())
        port = await stack.enter_async_context(listening(answer_ok))
        silent_port = await stack.enter_async_context(silent_server())
        healthy: dict[str, Check] = {}
        for number in range(HEALTHY):
            url = f"http://127.0.0.1:{port}/"
            healthy[f"ok-{number}"] = Http(url=url) if number % 2 else Redis(url=server.url)
        p99s = []
        for hung in (0, 200):
            late, periods = await measure(hung, healthy, silent_port)
            p99 = statistics.quantiles(late, n=100)[98]
            p99s.append(p99)
            print(
                f"| {hung} | {len(late) / (HEALTHY * SECONDS):.2f} | {statistics.median(late) * 1e3:.1f} "
                f"| {p99 * 1e3:.1f} | {statistics.median(periods):.3f} | {max(periods):.3f} |"
            )
        print(f"\np99 lateness with 200 hung targets is {p99s[1] / p99s[0]:.1f} times that without.")
