"""A store that was slow is left alone: one turn waits, the next are told at once, one probes."""

from __future__ import annotations

import asyncio
import time

import pytest

from rag_memory_plugins.stores import resting
from rag_memory_plugins.stores.resting import REST, Resting, Rests


class Store:
    """Answers when it is let; counts who asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.well = asyncio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        await self.well.wait()
        return "found"


@pytest.fixture
def now():
    return [1_000.0]


@pytest.fixture
def asks(now, monkeypatch):
    monkeypatch.setattr(resting, "PROBE", 0.02)
    return Resting(lambda: now[0])


async def told(asks, store):
    with pytest.raises(Rests) as caught:
        await asks.ask(store, 0.05)
    return str(caught.value)


async def test_one_turn_waits_and_the_next_do_not(asks, now):
    store = Store()
    assert await told(asks, store) == "did not answer in 0.05 s"
    for _ in range(3):
        assert await told(asks, store) == "did not answer before, and is asked again in 5 s"
    assert store.asked == 1


async def test_after_its_rest_one_of_many_asks(asks, now):
    store = Store()
    await told(asks, store)
    now[0] += REST
    said = await asyncio.gather(*(told(asks, store) for _ in range(5)))
    assert store.asked == 2
    assert max(said) == "did not answer in 0.02 s"


async def test_a_store_that_is_well_again_answers_the_turn_that_asks(asks, now):
    store = Store()
    await told(asks, store)
    store.well.set()
    now[0] += REST
    assert await asks.ask(store, 0.05) == "found"
    assert await asks.ask(store, 0.05) == "found"


async def test_a_slow_answer_that_no_turn_waited_for_ends_the_rest(asks, now):
    store = Store()
    await told(asks, store)
    now[0] += REST
    assert await told(asks, store) == "did not answer in 0.02 s"
    store.well.set()
    while asks._asking:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert await asks.ask(store, 0.05) == "found"


async def test_a_quick_error_is_asked_again_at_once(asks):
    async def broken():
        raise ConnectionRefusedError

    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await asks.ask(broken, 0.05)


async def test_a_client_that_will_not_be_cancelled_holds_no_turn_up(asks):
    release = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    started = time.perf_counter()
    assert await told(asks, stubborn) == "did not answer in 0.05 s"
    assert time.perf_counter() - started < 1.0
    release.set()


async def test_a_clock_that_was_set_back_leaves_no_store_alone_for_an_hour(asks, now):
    store = Store()
    await told(asks, store)
    now[0] -= 3_600
    store.well.set()
    assert await asks.ask(store, 0.05) == "found"
