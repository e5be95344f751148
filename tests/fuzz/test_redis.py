"""The redis checks against servers that say anything, most of it nearly Redis."""

from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.budget import cases
from fuzz.hostile import Script, bear, scripts
from fuzz.planted import SECRET
from reviver.checks.redis import Redis
from reviver.checks.redis_stream import RedisStream
from reviver.model.secrets import Secret

INFO_KEYS = st.sampled_from(
    [
        "redis_version",
        "role",
        "maxmemory",
        "used_memory",
        "mem_not_counted_for_evict",
        "maxmemory_policy",
        "cluster_enabled",
        "master_host",
        "master_link_status",
        "connected_clients",
        "rdb_last_bgsave_status",
        "aof_enabled",
        "aof_last_write_status",
        "blocked_clients",
        "cluster_state",
        "uptime_in_seconds",
    ]
)
INFO_VALUES = st.sampled_from(
    [
        "7.4.0",
        "6",
        "",
        "1",
        "0",
        "-1",
        "9" * 5000,
        "1e9",
        "\u0663",
        "master",
        "slave",
        "noeviction",
        "err",
        "up",
        "x" * 100_000,
        "\x1b[2J",
        "7.x.0",
        SECRET,
        "a:b",
        "\ud800",
    ]
)
INFO = st.dictionaries(INFO_KEYS, INFO_VALUES, max_size=6).map(
    lambda info: "".join(f"{name}:{value}\r\n" for name, value in info.items()).encode("utf-8", "surrogatepass")
)
ERROR_CODES = st.sampled_from(
    b"ERR NOAUTH WRONGPASS NOPERM LOADING MISCONF OOM READONLY BUSY MASTERDOWN CLUSTERDOWN WRONGTYPE NOGROUP MOVED ASK "
    b"CROSSSLOT DENIED NOSCRIPT EXECABORT -".split()
)


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(items: list[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(items), b"".join(items))


TEXT = st.sampled_from(
    [
        b"name",
        b"group",
        b"pending",
        b"idle",
        b"lag",
        b"last-delivered-id",
        b"consumers",
        b"it",
        b"0-0",
        b"",
        b"\xff",
        SECRET.encode(),
        b"password=" + SECRET.encode(),
        b"y" * 50_000,
        b"id=1 addr=x:1 idle=" + b"9" * 5000 + b" cmd=get",
        b"id=1 idle= name=\x1b[2J",
        b"idle=x flags=b",
    ]
) | st.binary(max_size=30)
NUMBERS = st.sampled_from(
    [b"0", b"-1", b"1", b"99999999999999999999", b"9" * 5000, b"+5", b"", b"x", b"1.5", b"\xd9\xa3"]
)
LEAF = st.one_of(
    st.just(b"+PONG\r\n"),
    st.just(b"+PONG\r\n"),
    TEXT.map(lambda text: b"+" + text + b"\r\n"),
    st.tuples(ERROR_CODES, TEXT).map(lambda pair: b"-%b %b\r\n" % pair),
    NUMBERS.map(lambda number: b":" + number + b"\r\n"),
    TEXT.map(bulk),
    INFO.map(bulk),
    INFO.map(bulk),
    st.sampled_from(
        [b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b",nan\r\n", b"(1\r\n", b"%1\r\n+a\r\n+b\r\n", b">1\r\n+x\r\n"]
    ),
)
BROKEN = st.sampled_from(
    [
        b"$5\r\nab",
        b"$99999999999\r\n",
        b"$-5\r\n",
        b"$x\r\n",
        b"*99999999999\r\n",
        b"*1000000\r\n" + b"+x\r\n" * 1000,
        b"*1\r\n" * 5000,
        b"*1\r\n" * 400 + b"+x\r\n",
        b"+" + b"a" * 300_000,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\r\n",
        b"*2\r\n",
        b"-\r\n",
        b"$1\r\nabc\r\n",
        b"E\x00\x00\x00\x08",
        b"!5\r\nERR x\r\n",
        b"=8\r\ntxt:abcd\r\n",
    ]
) | st.binary(max_size=60)
PAIRS = st.lists(st.tuples(TEXT.map(bulk), LEAF), max_size=5).map(
    lambda pairs: array([part for pair in pairs for part in pair])
)
GROUP = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("name", "pending", "idle", "lag", "last-delivered-id", "consumers"), LEAF),
).map(
    lambda found: array(
        [bulk(b"name"), bulk(b"g"), *(part for k, v in found.items() for part in (bulk(k.encode()), v))]
    )
)
NESTED = st.recursive(LEAF | PAIRS | GROUP, lambda inner: st.lists(inner, max_size=4).map(array), max_leaves=12)
REPLIES = st.lists(st.one_of(NESTED, NESTED, NESTED, NESTED, BROKEN), max_size=6).map(b"".join)
WELL = b"+PONG\r\n" + bulk(b"redis_version:7.4.0\r\nrole:master\r\n")
STREAM = (
    b":5\r\n"
    + array([array([bulk(b"name"), bulk(b"g"), bulk(b"pending"), b":0\r\n", bulk(b"lag"), b":1\r\n"])])
    + array([array([bulk(b"name"), bulk(b"c"), bulk(b"pending"), b":0\r\n", bulk(b"idle"), b":1\r\n"])])
    + b"*0\r\n"
)
STREAM_REPLIES = st.tuples(
    LEAF, st.lists(GROUP, max_size=2).map(array), st.lists(GROUP | PAIRS, max_size=2).map(array), NESTED, NESTED
).map(b"".join)
SCRIPTS = scripts(REPLIES | st.just(WELL), most=4)
STREAM_SCRIPTS = scripts(STREAM_REPLIES | REPLIES | st.just(STREAM), most=4)


@given(script=SCRIPTS, login=st.booleans())
@cases(150)
@example(script=Script([b"$99999999999\r\n", b"x" * 65536], endless=True), login=False)
@example(script=Script([b"*99999999999\r\n", b"+x\r\n" * 10_000], endless=True), login=False)
@example(script=Script([WELL, b"*1\r\n" * 50_000], waits=True), login=False)
@example(script=Script([WELL + b"+x\r\n:5\r\n+y\r\n"], closes=False), login=False)
async def test_whatever_a_redis_says_is_a_result_in_time(script: Script, login: bool) -> None:
    password = Secret(SECRET) if login else None
    await bear(script, lambda port: Redis(url=f"redis://127.0.0.1:{port}/0", password=password))


@given(script=STREAM_SCRIPTS, login=st.booleans())
@cases(150)
@example(script=Script([STREAM], closes=False), login=False)
async def test_whatever_a_redis_says_of_a_stream_is_a_result_in_time(script: Script, login: bool) -> None:
    password = Secret(SECRET) if login else None
    await bear(
        script,
        lambda port: RedisStream(
            url=f"redis://127.0.0.1:{port}/0", password=password, stream="s", group="g", max_lag=3
        ),
    )
