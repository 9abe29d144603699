"""A Redis that goes away and comes back, under `ResilientState`, and what the plain one says."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace

import pytest

from rag_memory_plugins.errors import InvalidInput, StoreError
from rag_memory_plugins.memory.usage import TokenTracker
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.stores.local_state import LocalState
from rag_memory_plugins.stores.redis import RedisState
from rag_memory_plugins.stores.resilient import ResilientState
from rag_memory_plugins.testing.redis_server import RedisServer
from rag_memory_plugins.testing.shared_state import SharedStateConformance


@pytest.fixture(scope="module")
def running():
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(running):
    yield running
    running.resume()
    running.stop()
    running.start()


@pytest.fixture
def events():
    return []


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(server, events, clock):
    inner = RedisState(server.url, prefix=os.urandom(6).hex(), timeout=5)
    return ResilientState(inner, hooks=[events.append], timeout=5, clock=clock)


def names(events):
    return [event.name for event in events]


class TestOverALocalState(SharedStateConformance):
    async def aopen(self):
        self.now = 0.0
        return ResilientState(LocalState(clock=lambda: self.now), clock=lambda: self.now)

    async def apass(self, seconds):
        self.now += seconds


def test_amounts_of_an_outage_are_added_when_the_server_is_back(server, state, events, clock):
    async def story():
        await state.aadd("a", {"x": 1}, 60)
        server.stop()
        for _ in range(3):
            await state.aadd("a", {"x": 10}, 60)
        assert (await state.aget("a"), state.degraded) == ({"x": 30}, True)
        server.start()  # empty: what it held is gone, what was counted meanwhile is not
        assert await state.aget("a") == {"x": 30}  # not asked yet
        clock.now = 1.0
        assert await state.aget("a") == {"x": 30}
        await state.aadd("a", {"x": 1}, 60)
        assert (await state.aget("a"), state.degraded) == ({"x": 31}, False)
        await state.aclose()

    asyncio.run(story())
    assert names(events) == ["shared.store_down", "shared.store_back"]
    assert events[0].data["error"] == "StoreError"


def test_keys_that_nobody_asks_for_are_sent_too(server, state, clock):
    async def story():
        server.stop()
        for number in range(50):
            await state.aadd(f"key {number}", {"x": number}, 60)
        server.start()
        clock.now = 1.0
        assert len(await state.akeys("key ")) == 50
        assert (await state.aget("key 49"), state.degraded) == ({"x": 49}, False)
        await state.aclose()

    asyncio.run(story())


def test_one_call_after_an_outage_sends_all_that_waits(server, state, clock):
    async def story():
        server.stop()
        for number in range(50):
            await state.aadd(f"key {number}", {"x": 1}, 60)
        server.start()
        clock.now = 1.0
        await state.aadd("other", {"x": 1}, 60)
        while state.degraded:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await state.aclose()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_what_one_process_cannot_promise_is_refused_at_once(server, state):
    async def story():
        await state.aadd("a", {"x": 1}, 60)
        server.stop()
        for work in (
            lambda: state.aswap("a", {"x": 1}, {"x": 2}, 60),
            lambda: state.akeys(""),
            lambda: state.adrop(["a"]),
        ):
            with pytest.raises(StoreError, match="does not answer; it is asked again in"):
                await work()
        await state.aclose()

    asyncio.run(story())


def test_a_server_that_swallows_everything_costs_one_call_a_second(server, events):
    inner = RedisState(server.url, prefix="hung", timeout=0.25)
    state = ResilientState(inner, hooks=[events.append], timeout=0.25)

    async def story():
        await state.aadd("a", {"x": 1}, 60)
        server.pause()
        start = time.perf_counter()
        await state.aadd("a", {"x": 1}, 60)
        first = time.perf_counter() - start
        for _ in range(100):
            await state.aadd("a", {"x": 1}, 60)
        rest = time.perf_counter() - start - first
        assert 0.2 < first < 0.7
        assert rest < 0.25
        server.resume()
        await asyncio.sleep(1.0)  # the outage's own clock is the point
        assert (await state.aget("a"))["x"] >= 102
        await state.aclose()

    asyncio.run(story())
    assert names(events) == ["shared.store_down", "shared.store_back"]


def test_amounts_whose_key_has_ended_meanwhile_are_not_sent(server, state, clock):
    async def story():
        server.stop()
        await state.aadd("a", {"x": 1}, 60)
        await state.aadd("b", {"x": 1}, 600)
        server.start()
        clock.now = 61.0
        assert await state.aget("a") == {}
        assert await state.akeys("") == ["b"]
        await state.aclose()

    asyncio.run(story())


def test_what_finds_no_room_is_told(server, events, clock):
    inner = RedisState(server.url, prefix="room")
    state = ResilientState(inner, hooks=[events.append], timeout=5, most_keys=1, clock=clock)

    async def story():
        server.stop()
        for key in "aba":
            await state.aadd(key, {"x": 1}, 60)
        assert (await state.aget("a"), await state.aget("b")) == ({"x": 2}, {})
        await state.aclose()

    asyncio.run(story())
    lost = [event.data for event in events if event.name == "shared.lost"]
    assert lost == [{"keys": 1}, {"keys": 1}]


def test_bad_input_is_refused_while_the_server_is_down(server, state):
    async def story():
        server.stop()
        with pytest.raises(InvalidInput):
            await state.aadd("a", {"x": 1.5}, 60)
        await state.aadd("a", {"x": 1}, 60)
        with pytest.raises(InvalidInput):
            await state.aadd("a", {"x": 1}, -1)
        assert await state.aget("a") == {"x": 1}
        await state.aclose()

    asyncio.run(story())


def test_the_plain_state_says_that_the_server_is_gone_and_joins_it_again(server):
    state = RedisState(server.url, prefix="plain", timeout=5)

    async def story():
        await state.aadd("a", {"x": 1}, 60)
        server.stop()
        with pytest.raises(StoreError, match=r"Redis at redis://127.* cannot be reached"):
            await state.aget("a")
        server.start()
        assert await state.aget("a") == {}
        await state.aclose()

    asyncio.run(story())


def test_the_plain_state_waits_no_longer_than_its_timeout(server):
    state = RedisState(server.url, prefix="slow", timeout=0.1)

    async def story():
        await state.aget("a")
        server.pause()
        with pytest.raises(StoreError, match=r"did not answer within 0.1 s"):
            await state.aget("a")
        server.resume()
        assert await state.aget("a") == {}  # no answer to the question before is taken for it
        await state.aclose()

    asyncio.run(story())


def test_a_tracker_counts_through_an_outage(server, state, clock):
    tracker = TokenTracker(state)
    ann = Namespace("acme", "ann", "monday")
    made = SimpleNamespace(tokens=10, history_tokens=40, mode="full", parts=[])
    tracker.record(ann, made)
    assert tracker.conversation(ann).sent == 10
    server.stop()
    tracker.record(ann, made)
    tracker.record(ann, made)
    assert tracker.conversation(ann).sent == 20  # what this process counted meanwhile
    server.start()
    clock.now = 1.0
    assert (tracker.conversation(ann).sent, tracker.total().saved) == (20, 60)
    assert tracker.tenants() == ["acme"]
    assert tracker.forget(ann.scope) == 1
    get_portal().call(state.aclose())
