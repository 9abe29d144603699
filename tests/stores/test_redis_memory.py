"""What a conversation of the token tracker takes in Redis: `used_memory` before and after.

For other numbers: `RAG_MEMORY_CONVERSATIONS=100000 pytest -s tests/stores/test_redis_memory.py`.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from types import SimpleNamespace

import redis

from rag_memory_plugins.memory.usage import TokenTracker
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.stores.local_state import LocalState
from rag_memory_plugins.stores.redis import RedisState
from rag_memory_plugins.testing.redis_server import RedisServer

CONVERSATIONS = int(os.environ.get("RAG_MEMORY_CONVERSATIONS", "5000"))
MOST = 200  # bytes
DAYS = 90.0 * 86_400
WRITERS = 32


def recorded():
    """The numbers of a conversation that the tracker wrote: two modes, all parts, a model, two days."""
    days = [20_780.0 * 86_400]
    state = LocalState()
    tracker = TokenTracker(state, clock=lambda: days[0])
    whole = Namespace("acme", "ann", "monday")
    for turn in range(12):
        mode = "full" if turn < 8 else "balanced"
        names = ("anchors", "facts", "summary", "recent", "retrieved", "system", "question")
        parts = [SimpleNamespace(name=name, tokens=40 + 17 * turn) for name in names]
        days[0] += 86_400 if turn == 6 else 0
        made = SimpleNamespace(
            tokens=420 + 31 * turn, history_tokens=600 * (turn + 1), mode=mode, parts=parts
        )
        tracker.record(whole, made, "gpt-4o-mini")
    assert tracker.drain()
    return asyncio.run(state.aget(f"usage/conversation/{whole.key}"))


def keys():
    """Where everything is long: a name of a company, an address, a UUID for a session."""
    made = random.Random(8)
    for number in range(CONVERSATIONS):
        session = str(uuid.UUID(int=made.getrandbits(128)))
        user = f"user-{made.randrange(10**6)}@example.com"
        yield "usage/conversation/" + Namespace(f"company-{number % 500}", user, session).key


def used(client):
    """Of data alone: nobody else is connected."""
    while client.info("clients")["connected_clients"] > 1:
        pass
    return client.info("memory")["used_memory"]


def test_a_conversation_of_the_token_tracker_takes_less_than_200_bytes():
    numbers = recorded()
    assert len(numbers) == 21
    made = random.Random(9)

    async def some(state, keys):
        for key in keys:
            amounts = {name: made.randrange(1, 2 * number + 2) for name, number in numbers.items()}
            await state.aadd(key, amounts, DAYS)

    async def fill(url):
        state = RedisState(url, timeout=60)
        every = list(keys())
        await asyncio.gather(*(some(state, every[start::WRITERS]) for start in range(WRITERS)))
        await state.aclose()

    with RedisServer() as server, redis.Redis(port=server.port) as client:
        asyncio.run(_warm(server.url))
        before = used(client)
        asyncio.run(fill(server.url))
        bytes_each = (used(client) - before) / CONVERSATIONS
        held = asyncio.run(_read(server.url, next(keys())))
        assert held.keys() == numbers.keys()
        assert all(client.ttl(key) > 89 * 86_400 for key in client.scan_iter())
    print(f"\nredis_bytes_a_conversation/{CONVERSATIONS} = {bytes_each:.1f} (<= {MOST})")  # noqa: T201
    assert bytes_each <= MOST


async def _warm(url):
    state = RedisState(url)
    await state.aadd("a", {"x": 1}, 0.01)
    await state.aclose()


async def _read(url, key):
    state = RedisState(url)
    numbers = await state.aget(key)
    await state.aclose()
    return numbers
