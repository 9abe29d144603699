"""`RedisState` on a real server: the port's own tests, slots, secrets, errors, and a dict beside it."""

from __future__ import annotations

import asyncio
import os

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio.connection import SSLConnection
from redis.crc import key_slot

from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidURL,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.stores.redis import SHARDS, RedisState
from rag_memory_plugins.stores.redis_words import KEYS, NAMES
from rag_memory_plugins.testing.redis_server import RedisServer
from rag_memory_plugins.testing.shared_state import SharedStateConformance


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def prefix():
    return os.urandom(6).hex()


class TestRedisState(SharedStateConformance):
    lifetime = 0.4

    @pytest.fixture(autouse=True)
    def on(self, server, prefix):
        self.url, self.prefix = server.url, prefix

    async def aopen(self):
        return RedisState(self.url, prefix=self.prefix, timeout=30)

    async def ashare(self, state):
        return RedisState(self.url, prefix=self.prefix, timeout=30)

    async def apass(self, seconds):
        await asyncio.sleep(seconds)


def story(url, prefix, work, **options):
    async def run():
        state = RedisState(url, prefix=prefix, timeout=30, **options)
        try:
            return await work(state)
        finally:
            await state.aclose()

    return asyncio.run(run())


@pytest.fixture
def plain(server):
    """Another client, that sees what is in the server."""
    with redis.Redis(port=server.port) as client:
        yield client


BYTES = st.text(st.characters(max_codepoint=0x2FFF), max_size=12)
PARTS = st.lists(st.one_of(BYTES, st.uuids().map(str)), max_size=4).map("/".join)
BEGUN = st.tuples(
    st.sampled_from(["", "usage/conversation/", "usage/tenant/", "day/", "a/sent"]), PARTS
)


@given(BEGUN.map("".join), st.integers(0, 80))
def test_keys_and_names_are_read_back_and_found_by_every_beginning(text, length):
    for book in (KEYS, NAMES):
        assert book.decode(book.encode(text)) == text
    assert any(KEYS.encode(text).startswith(some) for some in KEYS.beginnings(text[:length]))


LARGE = st.one_of(st.integers(-300, 300), st.integers(-(2**63), 2**63 - 1),
                  st.sampled_from([10**14, 10**15, 2**53, -(10**13), -(10**14)]))  # fmt: skip


def test_sums_are_exact_at_every_size(server, prefix):
    @settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(LARGE, min_size=1, max_size=4))
    def check(amounts):
        async def work(state):
            await state.adrop(["a"])
            total = 0
            for amount in amounts:
                if -(2**63) <= total + amount < 2**63:
                    await state.aadd("a", {"x": amount, "y": 1}, 60)
                    total += amount
                else:
                    with pytest.raises(StoreError, match="leaves 64 bits"):
                        await state.aadd("a", {"y": 1, "x": amount}, 60)
            held = await state.aget("a")
            assert held.get("x", 0) == total
            assert await state.aswap("a", held, {"x": -total if total > -(2**63) else 0}, 60)

        story(server.url, prefix, work)

    check()


def test_a_number_of_more_than_64_bits_changes_nothing(server, prefix):
    async def work(state):
        with pytest.raises(InvalidInput, match="64 bits"):
            await state.aadd("a", {"x": 1, "y": 2**63}, 60)
        with pytest.raises(InvalidInput, match="64 bits"):
            await state.aswap("a", {}, {"y": -(2**63) - 1}, 60)
        assert await state.akeys("") == []

    story(server.url, prefix, work)


def test_many_keys_of_many_sizes_are_all_there_while_buckets_are_split(server, prefix):
    async def work(state):
        async def some(numbers):
            for number in numbers:
                name = f"{'long' * (number % 40)}{number}"
                await state.aadd(f"key/{number}", {name: number, "x": 1}, 60)

        await asyncio.gather(*(some(range(start, 3000, 8)) for start in range(8)))
        assert await state.akeys("key/") == sorted(f"key/{number}" for number in range(3000))
        assert await state.akeys("key/29") == sorted(
            f"key/{number}" for number in range(3000) if str(number).startswith("29")
        )
        for number in range(0, 3000, 97):
            name = f"{'long' * (number % 40)}{number}"
            assert await state.aget(f"key/{number}") == {name: number, "x": 1}
        assert await state.adrop([f"key/{number}" for number in range(3000)]) == 3000
        assert await state.akeys("") == []

    story(server.url, prefix, work)


def test_everything_in_the_server_ends_by_itself_with_the_last_key(server, prefix, plain):
    async def work(state):
        for number in range(200):
            await state.aadd(f"key/{number}", {"x": 2**60}, 0.2)
        ours = list(plain.scan_iter(f"{{{prefix}:*"))
        assert ours
        assert all(0 < plain.pttl(key) <= 250 for key in ours)
        await asyncio.sleep(0.3)
        assert list(plain.scan_iter(f"{{{prefix}:*")) == []

    story(server.url, prefix, work)


def test_nothing_of_another_application_is_read_or_changed(server, prefix, plain):
    plain.set("theirs", "1")
    plain.hset("a", "x", "7")
    plain.execute_command("ACL", "SETUSER", prefix, "on", ">pass", f"~{{{prefix}:*",
                          "+@all", "-keys", "-scan", "-@dangerous")  # fmt: skip

    async def work(state):
        await state.aadd("a", {"x": 1}, 60)
        assert await state.akeys("") == ["a"]
        assert await state.adrop(["a"]) == 1

    story(server.url.replace("//", f"//{prefix}:pass@"), prefix, work)
    assert (plain.get("theirs"), plain.hget("a", "x")) == (b"1", b"7")


def test_two_prefixes_have_nothing_in_common(server, prefix):
    async def work(state):
        other = RedisState(server.url, prefix=f"{prefix}:0", timeout=30)
        await state.aadd("a", {"x": 1}, 60)
        assert (await other.akeys(""), await other.adrop(["a"])) == ([], 0)
        await other.aclose()

    story(server.url, prefix, work)


def test_every_key_of_a_script_is_in_one_slot(server, prefix, plain):
    async def work(state):
        for number in range(500):
            await state.aadd(f"key/{number}", {"n" * 200: 2**60}, 60)
        for shard in range(SHARDS):
            first = state.key_of(shard)
            keys = list(plain.scan_iter(f"{first}*"))
            assert len(keys) > 2
            assert {key_slot(key) for key in [*keys, first.encode(), f"{first}:sum".encode()]} == {
                key_slot(first.encode())
            }
        assert len({key_slot(state.key_of(shard).encode()) for shard in range(SHARDS)}) > 8

    story(server.url, prefix, work)


def test_it_works_in_a_cluster(prefix):
    with RedisServer("--cluster-enabled", "yes") as server:
        with redis.Redis(port=server.port) as plain:
            plain.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while plain.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                pass

        async def work(state):
            for number in range(40):
                await state.aadd(f"key/{number}", {"x": 2**60, "y": number}, 60)
            assert len(await state.akeys("key/")) == 40
            assert await state.aswap("key/7", {"x": 2**60, "y": 7}, {"z": 1}, 60)
            assert await state.aget("key/7") == {"z": 1}
            assert await state.adrop([f"key/{number}" for number in range(40)]) == 40

        story(server.url.replace("redis", "redis+cluster"), prefix, work)


def test_sentinel_says_where_the_server_is(server, prefix, tmp_path):
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor counts 127.0.0.1 {server.port} 1\n")
    with RedisServer(config=config) as sentinel:

        async def work(state):
            await state.aadd("a", {"x": 1}, 60)
            assert await state.aget("a") == {"x": 1}
            assert repr(state) == (
                f"RedisState('redis+sentinel://127.0.0.1:{sentinel.port},localhost:1/counts', "
                f"prefix={prefix!r})"
            )

        story(f"redis+sentinel://127.0.0.1:{sentinel.port},localhost:1/counts/0", prefix, work)


def test_a_socket_in_the_file_system_and_tls_are_urls_too(prefix, tmp_path):
    path = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(path)):

        async def work(state):
            await state.aadd("a", {"x": 1}, 60)
            assert await state.aget("a") == {"x": 1}

        story(f"unix://{path}", prefix, work)
    tls, nodes = (
        RedisState("rediss://host:6380/1"),
        RedisState("rediss+sentinel://:word@one,two:7/it"),
    )
    pool = nodes._client.connection_pool
    assert tls._client.connection_pool.connection_class is SSLConnection
    assert pool.connection_kwargs["password"] == "word"
    assert pool.connection_class.__name__ == "SentinelManagedSSLConnection"
    get_portal().call(tls.aclose())
    get_portal().call(nodes.aclose())


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:hush@127.0.0.1:1",
        "redis://127.0.0.1:1/?password=hu@sh",
        "redis://:hu?sh@127.0.0.1:hush",
        "redis+cluster://ann:hush@127.0.0.1:1",
        "redis+sentinel://ann:hush@127.0.0.1:1/service",
        "redis+sentinel://ann:hush@127.0.0.1:hush/service",
        "redis+sentinel://ann:hush@127.0.0.1:1",
        "rediss://ann:hush@127.0.0.1:1",
        "ann:hush@127.0.0.1:1",
    ],
)
def test_no_password_is_told(url):
    said = []

    async def work(state):
        said.append(repr(state))
        try:
            await state.aget("a")
        except StoreError as error:
            said.extend([str(error), repr(error)])

    try:
        story(url, "p", work)
    except InvalidURL as error:
        said.extend([str(error), repr(error), repr(error.__cause__), repr(error.__context__)[:0]])
    assert len(said) > 2
    assert not [text for text in said if "hush" in text or "sh@" in text or "word" in text]


def test_every_error_of_the_client_is_one_of_ours(server, prefix):
    public = [
        kind
        for kind in vars(redis.exceptions).values()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and kind.__module__ == "redis.exceptions"
    ]
    assert len(public) > 30

    class Broken:
        def __init__(self, error):
            self.error = error

        async def evalsha(self, *_):
            raise self.error

        async def eval(self, *_):
            raise self.error

    async def work(state):
        own, kinds = state._client, {}
        for kind in [*public, ConnectionResetError, TimeoutError, asyncio.TimeoutError]:
            error = kind.__new__(kind, "it")
            error.args = ("it",)
            state._client = Broken(error)
            with pytest.raises(StoreError, match=r"^Redis at redis://") as raised:
                await state.aget("a")
            state._client = own
            assert raised.value.__cause__ is error
            kinds[kind.__name__] = type(raised.value)
        assert kinds["OutOfMemoryError"] is StoreFull
        assert kinds["ReadOnlyError"] is StoreReadOnly

    story(server.url, prefix, work)


def test_a_full_server_and_a_wrong_password_are_told_apart(prefix):
    async def work(state):
        await state.aget("a")
        with pytest.raises(StoreFull, match="raise its maxmemory"):
            await state.aadd("a", {"x": 1}, 60)

    with RedisServer("--maxmemory", "1") as server:
        story(server.url, prefix, work)

    async def refused(state):
        with pytest.raises(StoreError, match="refused the user or password"):
            await state.aget("a")

    with RedisServer("--requirepass", "right") as server:
        story(server.url.replace("//", "//:wrong@"), prefix, refused)
        story(server.url, prefix, refused)


def test_scripts_of_a_server_that_forgot_them_are_told_again(server, prefix, plain):
    async def work(state):
        await state.aadd("a", {"x": 1}, 60)
        plain.script_flush()
        await state.aadd("a", {"x": 1}, 60)
        plain.script_flush()
        assert await state.aget("a") == {"x": 2}

    story(server.url, prefix, work)


def test_many_at_once_open_few_connections(server, prefix, plain):
    async def work(state):
        before = plain.info("clients")["connected_clients"]
        await asyncio.gather(*(state.aadd("a", {"x": 1}, 60) for _ in range(1000)))
        assert plain.info("clients")["connected_clients"] - before <= 64
        assert await state.aget("a") == {"x": 1000}

    story(server.url, prefix, work)


def test_a_client_of_the_callers_is_used_and_left_open(server, prefix):
    client = redis.asyncio.Redis(port=server.port)

    async def work():
        state = RedisState(client, prefix=prefix)
        await state.aadd("a", {"x": 1}, 60)
        await state.aclose()
        await state.aclose()
        with pytest.raises(StoreClosed):
            await state.aget("a")
        assert await client.ping()
        await client.aclose()

    get_portal().call(work())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"server": "rediss+sentinal://a/b"}, "did you mean 'rediss\\+sentinel'"),
        ({"server": object()}, "a client of redis.asyncio"),
        ({"server": redis.Redis()}, "a client of redis.asyncio"),
        ({"server": redis.asyncio.Redis(decode_responses=True)}, "decode_responses=False"),
        ({"server": "redis://a", "prefix": "a{b}"}, "without braces"),
        ({"server": "redis://a", "prefix": ""}, "without braces"),
        ({"server": "redis://a", "timeout": 0}, "a number > 0"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, said):
    with pytest.raises(InvalidInput, match=said):
        RedisState(**arguments)
