"""Answers that processes share: the port on both caches, a router over it, and an erase of it."""

from __future__ import annotations

import asyncio
import os

import pytest
import redis
from redis.crc import key_slot

from rag_memory_plugins import open_memory
from rag_memory_plugins.chat import Answer, ChatRequest
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router import AnswerCache, CacheRules, Model, Router, SharedExactCache
from rag_memory_plugins.stores.local_cache import LocalCache
from rag_memory_plugins.stores.redis_cache import RedisCache
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.testing.redis_server import RedisServer
from rag_memory_plugins.testing.shared_cache import SharedCacheConformance
from rag_memory_plugins.types import Message

ANN, BEN = Scope("acme", "ann"), Scope("acme", "ben")
SECRET = bytes(range(32))
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def running():
    with RedisServer() as server:
        yield server


@pytest.fixture
def prefix():
    return os.urandom(6).hex()


@pytest.fixture(params=["local", "redis"])
def cache(request, running, prefix):
    made = LocalCache() if request.param == "local" else RedisCache(
        running.url, prefix=prefix, timeout=30)  # fmt: skip
    yield made
    get_portal().call(made.aclose())


async def put(cache, scope, key=b"key", value=b"value", seconds=60.0):
    mark = (await cache.alook(scope, key))[1]
    return await cache.akeep(scope, key, value, seconds, mark)


class TestLocalCache(SharedCacheConformance):
    async def aopen(self):
        self.now = 0.0
        return LocalCache(clock=lambda: self.now)

    async def apass(self, seconds):
        self.now += seconds


class TestRedisCache(SharedCacheConformance):
    lifetime = 0.3

    @pytest.fixture(autouse=True)
    def _place(self, running, prefix):
        self.place = (running.url, prefix)

    async def aopen(self):
        url, prefix = self.place
        return RedisCache(url, prefix=prefix, timeout=30)

    async def ashare(self, kept):
        return await self.aopen()

    async def apass(self, seconds):
        await asyncio.sleep(seconds)


def test_nothing_stays_in_the_server_and_all_of_a_tenant_is_in_one_slot(running, prefix):
    cache = RedisCache(running.url, prefix=prefix, timeout=30)

    async def story():
        for number in range(5):
            await put(cache, ANN, bytes([number]))
        await cache.aforget(BEN)
        with redis.Redis(port=running.port) as plain:
            keys = list(plain.scan_iter(f"{{{prefix}:*"))
            assert len(keys) == 7
            assert len({key_slot(key) for key in keys}) == 1
            assert all(plain.ttl(key) > 0 for key in keys)
            assert not [key for key in keys if b"acme" in key or b"ann" in key]
            await cache.aforget("acme")
            assert len(list(plain.scan_iter(f"{{{prefix}:*"))) == 1  # how often it was forgotten
        await cache.aclose()

    asyncio.run(story())


def asked(scope=ANN, text="What is HTTP?"):
    return ChatRequest([Message("user", text)], scope=scope)


def answers(shared, **values):
    return SharedExactCache(CacheRules(["small"], secret=SECRET), shared, **values)


def test_a_router_answers_what_another_processs_router_was_asked(cache):
    one, other = ScriptedModel("A protocol."), ScriptedModel("Another.")
    caches = [answers(cache), answers(cache)]
    assert isinstance(caches[0], AnswerCache)

    async def story():
        for model, own in zip((one, other), caches, strict=True):
            async with Router([Model(model, "small")], cache=own) as router:
                answer = await router.aanswer(asked())
                assert answer.message.content == "A protocol."
        assert (len(one.requests), len(other.requests)) == (1, 0)

    asyncio.run(story())


def test_an_erase_of_a_memory_empties_the_shared_cache(cache, tmp_path):
    keeper, other = answers(cache), answers(cache)
    said = Answer(Message("assistant", "4821."), "stop", model="small")

    async def keep(scope):
        request = asked(scope)
        await other.alook(request)
        await other.akeep(request, said)
        return (await other.alook(asked(scope))).answer.message.content

    with open_memory(tmp_path / "memory.db", embedder=None) as memory:
        memory.keepers.add(keeper)
        conversation = memory.conversation("acme", "ann", "monday")
        conversation.add(Message("user", "my pin is 4821"))
        portal = get_portal()
        assert [portal.call(keep(scope)) for scope in (ANN, BEN)] == ["4821.", "4821."]
        assert conversation.erase(level="user").complete
        assert portal.call(other.alook(asked(ANN))) is None
        assert portal.call(other.alook(asked(BEN))) is not None


def test_while_the_server_is_gone_an_erase_is_pending_and_nothing_old_is_found(prefix, tmp_path):
    events = []
    now = [0.0]
    said = Answer(Message("assistant", "4821."), "stop", model="small")
    with RedisServer() as server, open_memory(tmp_path / "memory.db", embedder=None) as memory:
        shared = RedisCache(server.url, prefix=prefix, timeout=1)
        own = answers(shared, hooks=[events.append], timeout=1, clock=lambda: now[0])
        memory.keepers.add(own)
        conversation = memory.conversation("acme", "ann", "monday")
        conversation.add(Message("user", "my pin is 4821"))
        call = get_portal().call
        first = asked()
        call(own.alook(first))
        call(own.akeep(first, said))
        server.pause()
        receipt = conversation.erase(level="user")
        assert not receipt.complete
        assert "cached answers: Redis at" in receipt.pending
        assert call(own.alook(asked())) is None
        server.resume()
        now[0] = 2.0
        assert call(own.alook(asked())) is None  # it was told of the erase first
        assert call(own.aclean()) == ""
        call(shared.aclose())
    assert [event.name for event in events if "store" in event.name] == [
        "cache.store_down",
        "cache.store_back",
    ]
