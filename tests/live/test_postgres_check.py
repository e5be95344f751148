"""The check ``postgres`` on a real PostgreSQL."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.abc
import pytest
from pydantic import ValidationError

from probing import from_toml, opened
from reviver.checks.postgres import Postgres, masked
from reviver.model.faults import FaultKind as F
from reviver.model.secrets import Secret
from servers import (
    LOOPBACK,
    PostgresServer,
    free_port,
    listening,
    make_certificate,
    running_postgres,
    silent_server,
    until,
)

PASSWORD = "s3cret-Pässwörd"
SCRAM = ("local all all trust", "host all app all scram-sha-256", "host all all all trust")


def dsn(port: int, *, user: str = "app", database: str = "postgres", options: str = "") -> str:
    return f"postgresql://{user}@{LOOPBACK}:{port}/{database}{options}"


async def reviver_pids(server: PostgresServer) -> list[int]:
    connection = await server.connect()
    try:
        rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'reviver'")
    finally:
        await connection.close()
    return [row["pid"] for row in rows]


async def test_a_healthy_server_answers_with_its_figures() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        for fresh in (False, True):
            result = await it.ask(fresh=fresh)
            assert result.healthy, result
            assert result.details["max_connections"] == 100
            assert str(result.details["version"]).startswith(server.bin.parent.name)
            assert 0 < result.latency < 2


async def test_killed_it_wakes_the_supervisor_at_once_and_is_down_for_certain_until_it_is_back() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        assert await it.kind() is None
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
        await server.stop()
        await until(lambda: len(it.wakes) == 2, within=1.0)


async def test_frozen_it_is_a_timeout_not_unreachable() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn), timeout=0.3) as it:
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


async def test_a_fresh_question_finds_what_a_kept_connection_hides() -> None:
    """Only the postmaster hangs: old sessions are served, new ones are not."""
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn), timeout=0.3) as it:
        assert await it.kind() is None
        server.signal(signal.SIGSTOP)
        assert await it.kind() is None
        assert await it.kind(fresh=True) is F.TIMEOUT
        server.signal(signal.SIGCONT)


async def test_a_session_ended_by_somebody_wakes_the_supervisor_and_is_replaced_without_a_fault() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        assert await it.kind() is None
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reviver'"
        )
        await until(lambda: it.wakes == ["kept connection closed"], within=1.0)
        assert await it.kind() is None


async def test_a_session_that_ended_unnoticed_is_replaced_without_a_fault() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        for _ in range(3):
            assert await it.kind() is None
            end_sessions_at_once(server)
        assert await it.kind() is None


def end_sessions_at_once(server: PostgresServer) -> None:
    """End reviver's sessions without giving the event loop a chance to see it."""
    sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'reviver'"
    subprocess.run([server.bin / "psql", "-c", sql, server.dsn], check=True, capture_output=True)


async def test_a_kept_connection_asks_in_one_round_trip() -> None:
    async with (
        running_postgres("log_min_duration_statement=0") as server,
        opened(Postgres(dsn=server.dsn)) as it,
    ):
        await it.ask()
        before = server.log
        await it.ask()
        await until(lambda: "execute" in server.log.removeprefix(before))
        told = server.log.removeprefix(before)
        assert told.count("duration") == 2, told  # bind and execute, sent together; nothing is parsed
        assert "parse" not in told


async def test_where_prepared_statements_get_lost_it_goes_on_without_them() -> None:
    """As behind a pooler that knows nothing of them; here, the query of one's own forgets them."""
    async with running_postgres() as server:
        await server.execute(
            """CREATE FUNCTION forget() RETURNS bool LANGUAGE plpgsql AS
               $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN true; END $$"""
        )
        async with opened(Postgres(dsn=server.dsn, query="SELECT forget()")) as it:
            sessions = []
            for _ in range(5):
                assert await it.kind() is None
                sessions.append(await reviver_pids(server))
        assert sessions[0] != sessions[1]  # what was prepared got lost
        assert sessions[1:] == [sessions[1]] * 4


async def test_a_wrong_password_is_auth_failed_and_stays_secret() -> None:
    async with running_postgres(hba=SCRAM) as server:
        await server.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
        wrong = Postgres(dsn=dsn(server.port), password=Secret("wr0ng-secret"))
        in_dsn = Postgres(dsn=dsn(server.port, user="app:wr0ng-secret"))
        none = Postgres(dsn=dsn(server.port))
        for check in (wrong, in_dsn, none):
            assert "wr0ng-secret" not in repr(check)
            async with opened(check) as it:
                fault = await it.fault()
                assert fault.kind is F.AUTH_FAILED
                assert "wr0ng-secret" not in repr(fault)
                assert "wr0ng-secret" not in repr(await it.probe.evidence())


async def test_username_and_password_win_over_those_in_the_dsn() -> None:
    async with running_postgres(hba=SCRAM) as server:
        await server.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
        check = Postgres(dsn=dsn(server.port, user="nobody:wrong"), username="app", password=Secret(PASSWORD))
        async with opened(check) as it:
            assert await it.kind() is None


async def test_a_missing_database_is_named() -> None:
    async with running_postgres() as server:
        check = Postgres(dsn=dsn(server.port, user="postgres", database="gone"))
        async with opened(check) as it:
            fault = await it.fault()
            assert fault.kind is F.DATABASE_MISSING
            assert "gone" in fault.message


async def test_a_role_without_the_right_to_log_in_is_auth_failed() -> None:
    async with running_postgres(hba=("host all postgres all trust",)) as server:
        for user in ("app", "stranger"):
            async with opened(Postgres(dsn=dsn(server.port, user=user))) as it:
                assert await it.kind() is F.AUTH_FAILED


async def test_with_all_connections_in_use_the_kept_one_works_and_a_fresh_one_says_so() -> None:
    async with (
        running_postgres("max_connections=8", "superuser_reserved_connections=2") as server,
        opened(Postgres(dsn=dsn(server.port))) as it,
    ):
        await server.execute("CREATE ROLE app LOGIN")
        assert await it.kind() is None
        taken = [await server.connect(user="app") for _ in range(5)]
        assert await it.kind() is None
        assert await it.kind(fresh=True) is F.TOO_MANY_CONNECTIONS
        for connection in taken:
            connection.terminate()


async def test_while_it_starts_up_it_says_so() -> None:
    """A base backup whose log archive is slow to answer: the server takes no connections yet."""
    async with (
        running_postgres("restore_command=sleep 0.5; false") as server,
        opened(Postgres(dsn=server.dsn)) as it,
    ):
        await server.stop()
        (server.data / "recovery.signal").touch()
        await server.start(ready=False)
        await until(server.listens)
        assert await it.kind() is F.STARTING_UP


async def test_while_it_shuts_down_it_says_so() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        keeps_it_waiting = await server.connect()
        server.signal(signal.SIGTERM)
        await until(lambda: "smart shutdown" in server.log)
        assert await it.kind(fresh=True) is F.SHUTTING_DOWN
        keeps_it_waiting.terminate()


async def test_a_standby_is_in_recovery_unless_it_is_expected() -> None:
    async with running_postgres() as server:
        async with opened(Postgres(dsn=server.dsn, expect="standby")) as it:
            assert await it.kind() is F.REPLICATION_BROKEN
        await server.stop()
        (server.data / "standby.signal").touch()
        await server.start()
        for expect, kind in {"primary": F.IN_RECOVERY, "standby": None, "any": None}.items():
            check = from_toml(Postgres, {"dsn": server.dsn, "expect": expect})
            async with opened(check) as it:
                assert await it.kind() is kind


async def test_a_standby_that_serves_nobody_is_in_recovery_and_not_starting_up() -> None:
    async with running_postgres("hot_standby=off") as server, opened(Postgres(dsn=server.dsn)) as it:
        await server.stop()
        (server.data / "standby.signal").touch()
        await server.start(ready=False)

        async def settled() -> bool:
            return (await it.fault()).kind is F.IN_RECOVERY

        await until(settled)


async def test_a_read_only_default_is_read_only_unless_any_role_will_do() -> None:
    async with running_postgres("default_transaction_read_only=on") as server:
        async with opened(Postgres(dsn=server.dsn)) as it:
            assert await it.kind() is F.READ_ONLY
        async with opened(Postgres(dsn=server.dsn, expect="any")) as it:
            assert await it.kind() is None


async def test_a_damaged_page_is_data_corrupt() -> None:
    async with running_postgres() as server:
        await server.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS n", "CHECKPOINT")
        connection = await server.connect()
        path = server.data / await connection.fetchval("SELECT pg_relation_filepath('t')")
        await connection.close()
        await server.stop()
        with path.open("r+b") as table:
            table.seek(4000)
            table.write(b"\xff" * 200)
        await server.start()
        async with opened(Postgres(dsn=server.dsn, query="SELECT count(*) > 0 FROM t")) as it:
            assert await it.kind() is F.DATA_CORRUPT


QUERIES = {
    "SELECT true": None,
    "SELECT count(*) = 3 FROM users;": None,
    "WITH x AS (SELECT 1) SELECT exists (SELECT FROM x)  -- a comment": None,
    "SELECT false": F.BAD_BODY,
    "SELECT null": F.BAD_BODY,
    "SELECT 1": F.BAD_BODY,
    "SELECT true, true": F.BAD_BODY,
    "SELECT true WHERE false": F.BAD_BODY,
    "SELECT true FROM users": F.BAD_BODY,
    "SELECT true FROM nonesuch": F.SCHEMA_DRIFT,
    "SELECT nonesuch FROM users": F.SCHEMA_DRIFT,
    "SELECT nonesuch()": F.SCHEMA_DRIFT,
    "SELECT true FROM nonesuch.users": F.SCHEMA_DRIFT,
    "SELECT true FROM hidden": F.AUTH_FAILED,
    "SELECT fails('53100')": F.DISK_FULL,
    "SELECT fails('53200')": F.OUT_OF_MEMORY,
    "SELECT fails('XX002')": F.DATA_CORRUPT,
    "SELECT fails('55000')": F.BAD_BODY,
}


async def test_a_query_of_ones_own_decides() -> None:
    async with running_postgres() as server:
        await server.execute(
            "CREATE ROLE app LOGIN",
            "CREATE TABLE users AS SELECT generate_series(1, 3) AS id",
            "CREATE TABLE hidden (n int)",
            "GRANT SELECT ON users TO app",
            """CREATE FUNCTION fails(state text) RETURNS bool LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'it failed' USING ERRCODE = state; END $$""",
        )
        for query, kind in QUERIES.items():
            async with opened(Postgres(dsn=dsn(server.port), query=query)) as it:
                kinds = [await it.kind(fresh=fresh) for fresh in (False, False, True)]
                assert kinds == [kind] * 3, query
                assert it.wakes == []


async def test_a_slow_query_does_not_go_on_after_it_was_given_up() -> None:
    async with running_postgres() as server:
        check = Postgres(dsn=server.dsn, query="SELECT pg_sleep(60) IS NULL")
        async with opened(check, timeout=0.2) as it:
            assert await it.kind() is F.TIMEOUT

        async def nothing_runs() -> bool:
            return not await reviver_pids(server)

        await until(nothing_runs, within=2.0)


async def test_a_query_that_writes_or_makes_no_sense_is_no_fault_of_the_server() -> None:
    async with running_postgres() as server:
        await server.execute("CREATE TABLE t (n int)")
        for query in ("INSERT INTO t VALUES (1) RETURNING true", "SELEKT true"):
            async with opened(Postgres(dsn=server.dsn, query=query)) as it:
                result = await it.ask()
                assert result.unknown is not None
                assert result.fault is None
                assert not result.healthy
        connection = await server.connect()
        assert await connection.fetchval("SELECT count(*) FROM t") == 0
        await connection.close()


NO_POSTGRES = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"-ERR unknown command\r\n",
    b"SSH-2.0-x\r\n",
    b"R\0\0\0\1",
    bytes(64),
]


@pytest.mark.parametrize("hangs_up", [True, False])
@pytest.mark.parametrize("sslmode", ["prefer", "disable"])
@pytest.mark.parametrize("says", NO_POSTGRES)
async def test_something_else_on_the_port_is_bad_protocol(says: bytes, sslmode: str, hangs_up: bool) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(says)
        if not hangs_up:
            await anyio.sleep_forever()

    async with listening(answer) as port, opened(Postgres(dsn=dsn(port, options=f"?sslmode={sslmode}"))) as it:
        assert await it.kind() is F.BAD_PROTOCOL


async def test_who_hangs_up_without_a_word_is_unreachable_but_not_for_certain() -> None:
    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()

    async with listening(hang_up) as port:
        for sslmode in ("prefer", "disable"):
            async with opened(Postgres(dsn=dsn(port, options=f"?sslmode={sslmode}"))) as it:
                fault = await it.fault()
                assert fault.kind is F.UNREACHABLE
                assert not fault.certain


async def test_who_accepts_and_never_answers_is_a_timeout() -> None:
    async with silent_server() as port, opened(Postgres(dsn=dsn(port)), timeout=0.2) as it:
        assert await it.kind() is F.TIMEOUT


async def test_a_refusal_is_certain_only_if_nobody_listens_on_that_port() -> None:
    """Somebody listens on the port at another address: perhaps the server, which was told the wrong one."""
    port = free_port()
    async with opened(Postgres(dsn=dsn(port))) as it:
        assert (await it.fault()).certain
        with socket.socket() as elsewhere:
            elsewhere.bind(("127.0.0.2", port))
            elsewhere.listen()
            fault = await it.fault()
            assert fault.kind is F.UNREACHABLE
            assert not fault.certain


async def test_a_unix_socket_is_asked_and_its_refusal_is_certain() -> None:
    async with running_postgres() as server:
        url = f"postgresql://postgres@/postgres?host={server.directory}&port={server.port}"
        assert Postgres(dsn=url).hosts() == {"localhost"}
        async with opened(Postgres(dsn=url)) as it, opened(Postgres(dsn=url + "&sslmode=disable")) as without_tls:
            assert await it.kind() is None
            assert await without_tls.kind() is None
            await server.kill()
            fault = await it.fault()
            assert fault.kind is F.UNREACHABLE
            assert fault.certain
            (server.directory / f".s.PGSQL.{server.port}").unlink()
            assert (await it.fault()).certain


async def test_a_name_that_does_not_exist_is_name_unresolved() -> None:
    async with opened(Postgres(dsn="postgresql://app@db.invalid/app")) as it:
        fault = await it.fault()
        assert fault.kind is F.NAME_UNRESOLVED
        assert "db.invalid" in fault.message


async def test_a_hung_name_server_is_told_in_time_and_delays_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs can't be had here, so the function of the C library is replaced."""
    go_on, look_up = threading.Event(), socket.getaddrinfo

    def hang(host: str, *how: Any, **further: Any) -> Any:
        if host.endswith(".invalid"):
            go_on.wait(10)
        return look_up(host, *how, **further)

    async def ask_hung(name: str) -> None:
        async with opened(Postgres(dsn=f"postgresql://app@{name}/app"), timeout=1.0) as it:
            assert await it.kind() is F.NAME_UNRESOLVED

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        async with running_postgres() as server, anyio.create_task_group() as tasks:
            for n in range(60):
                tasks.start_soon(ask_hung, f"db{n}.invalid")
            await anyio.sleep(0.1)
            async with opened(Postgres(dsn=server.dsn.replace(LOOPBACK, "localhost")), timeout=5.0) as it:
                result = await it.ask(fresh=True)
            assert result.healthy
            assert result.latency < 2.0
    finally:
        go_on.set()


async def test_tls_that_is_asked_for_and_not_offered_is_tls_invalid() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=f"{server.dsn}?sslmode=require")) as it:
        assert await it.kind() is F.TLS_INVALID


async def test_a_certificate_that_nobody_vouches_for_is_tls_invalid() -> None:
    async with running_postgres() as server:
        certificates = server.directory  # PostgreSQL must be able to read its own
        for name in ("server", "other"):
            make_certificate(certificates, name)
        server.settings = (
            "ssl=on",
            f"ssl_cert_file={certificates}/server.crt",
            f"ssl_key_file={certificates}/server.key",
        )
        await server.restart()
        url = f"{server.dsn}?sslmode=verify-full&sslrootcert={certificates}"
        for trusted, kind in {"server": None, "other": F.TLS_INVALID}.items():
            async with opened(Postgres(dsn=f"{url}/{trusted}.crt")) as it:
                for fresh in (False, True):
                    assert await it.kind(fresh=fresh) is kind
        async with opened(Postgres(dsn=f"{url}/no.crt")) as it:
            result = await it.ask()
            assert result.fault is None
            assert "isn't there" in str(result.unknown)


async def test_without_file_descriptors_of_our_own_nothing_is_said_about_the_server() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        assert await it.kind() is None
        with no_file_descriptors_left():
            result = await it.ask(fresh=True)
        assert result.fault is None
        assert "file descriptors" in str(result.unknown)
        assert await it.kind(fresh=True) is None


@contextlib.contextmanager
def no_file_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_many_hung_servers_do_not_delay_a_healthy_one() -> None:
    async def ask_hung(port: int) -> None:
        async with opened(Postgres(dsn=dsn(port)), timeout=5.0) as hung:
            await hung.kind()

    async with (
        running_postgres() as server,
        silent_server() as port,
        opened(Postgres(dsn=server.dsn)) as healthy,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(100):
            tasks.start_soon(ask_hung, port)
        await anyio.sleep(0.5)
        for fresh in (False, True):
            result = await healthy.ask(fresh=fresh)
            assert result.healthy
            assert result.latency < 1.0
        tasks.cancel_scope.cancel()


async def test_a_cancelled_question_ends_at_once_and_the_next_one_is_answered() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn), timeout=5.0) as it:
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


async def test_closing_leaves_no_session_and_says_nothing_in_the_servers_log() -> None:
    async with running_postgres() as server:
        before = server.log
        async with opened(Postgres(dsn=server.dsn)) as it:
            await it.ask()
            await it.ask(fresh=True)
            await it.probe.evidence()

        async def none_left() -> bool:
            return not await reviver_pids(server)

        await until(none_left)
        assert it.wakes == []
        assert server.log == before


async def test_evidence_shows_who_blocks_whom_and_hides_what_stands_in_quotes() -> None:
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn)) as it:
        await server.execute("CREATE TABLE t (n int)", "CREATE ROLE app LOGIN")
        holder, waiter = await server.connect(), await server.connect()
        await holder.execute("BEGIN; LOCK TABLE t; SELECT 'tok3n-of-a-customer'")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiter.execute, "ALTER ROLE app PASSWORD 'hunt3r2'; SELECT * FROM t")
            evidence: dict[str, Any] = {}

            async def somebody_waits() -> bool:
                evidence.update(await it.probe.evidence())
                return bool(evidence["locks"])

            await until(somebody_waits)
            await holder.execute("ROLLBACK")
        (lock,) = evidence["locks"]
        assert lock["blocked_by"] == [holder.get_server_pid()]
        assert lock["pid"] == waiter.get_server_pid()
        assert any(session["state"] == "idle in transaction" for session in evidence["activity"])
        assert "hunt3r2" not in repr(evidence)
        assert "tok3n" not in repr(evidence)
        holder.terminate()
        waiter.terminate()


async def test_evidence_of_a_dead_or_hung_server_says_that_it_could_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.checks.postgres.EVIDENCE_WITHIN", 0.3)
    async with running_postgres() as server, opened(Postgres(dsn=server.dsn), timeout=0.3) as it:
        await server.kill()
        assert "could not be had" in str((await it.probe.evidence())["postgres"])
        await server.start()
        server.freeze()
        before = anyio.current_time()
        assert "could not be had" in str((await it.probe.evidence())["postgres"])
        assert anyio.current_time() - before < 1.5


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT 'a''b', 1", "SELECT '…', 1"),
        (r"SELECT E'it\'s s3cret', 1", "SELECT '…', 1"),
        (r"SELECT 'C:\', 's3cret'", "SELECT '…', '…'"),
        ("SELECT $$s3cret$$, $x$ s3cret $$ $x$, $1", "SELECT '…', '…', $1"),
        ("ALTER ROLE app PASSWORD 's3cr", "ALTER ROLE app PASSWORD '…'"),
        ("SELECT\n  1", "SELECT 1"),
    ],
)
def test_what_stands_in_quotes_is_masked(query: str, shown: str) -> None:
    assert masked(query) == shown


def test_a_long_query_is_cut() -> None:
    assert len(masked("SELECT " + "1, " * 1000)) == 300


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("mysql://app@db/app", "'mysql'"),
        ("postgresql:///app", "no host"),
        ("postgresql://a,b/app", "several hosts"),
        ("postgresql://db:port/app", "expected postgresql://"),
    ],
)
def test_a_dsn_that_names_no_server_is_refused_with_what_was_expected(wrong: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        from_toml(Postgres, {"dsn": wrong})


def test_the_host_is_known_under_one_name() -> None:
    assert Postgres(dsn="postgresql://app@db.example:5433/app").hosts() == {"db.example"}
    assert Postgres(dsn="postgresql://app@[::1]/app").hosts() == {"localhost"}
    assert Postgres(dsn="postgresql://app@localhost/app").hosts() == {"localhost"}
