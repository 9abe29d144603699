"""Blocking iterators and other people's async generators, read so that closing ends them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading

import pytest

from rag_memory_plugins.router.beside import ahead, from_thread

WHO = contextvars.ContextVar("who", default="nobody")


async def listed(items, seen=None):
    seen = [] if seen is None else seen
    async for item in items:
        seen.append(item)  # an error must not take with it what came before
    return seen


async def test_items_come_from_a_thread_in_the_callers_context():
    WHO.set("ann")

    def make():
        yield threading.current_thread().name
        yield WHO.get()

    name, who = await listed(from_thread(make))
    assert name.startswith("rag-memory-chat")
    assert who == "ann"


@pytest.mark.parametrize("said", [[], ["one"]])
async def test_an_error_of_the_thread_comes_after_what_was_said(said):
    def make():
        yield from said
        raise KeyError("gone")

    seen = []
    with pytest.raises(KeyError, match="gone"):
        await listed(from_thread(make), seen)
    assert seen == said


async def test_a_thread_that_is_left_closes_its_iterator():
    go, closed = threading.Event(), threading.Event()

    def make():
        try:
            yield 1
            assert go.wait(10)
            yield 2
        finally:
            closed.set()

    items = from_thread(make)
    assert await anext(items) == 1
    await items.aclose()
    go.set()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_loop_that_ends_first_leaves_no_error():
    go = threading.Event()

    def once():
        assert go.wait(10)
        return [1]

    async def start():
        items = from_thread(once)
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await asyncio.to_thread(asyncio.run, start())
    go.set()


async def test_a_generator_that_is_read_ahead_is_read_from_the_first_item_on():
    taken = []

    async def count():
        for number in range(3):
            taken.append(number)
            yield number

    items = ahead(count())
    assert await anext(items) == 0
    assert await listed(items) == [1, 2]
    assert taken == [0, 1, 2]


class Cyclic:
    """A stream that only the garbage collector would close, as clients' streams are."""

    def __init__(self):
        self.closed = False
        self.waits = asyncio.Event()
        self._items = self._read()

    async def _read(self):
        try:
            yield self
            self.waits.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True

    def __aiter__(self):
        return self._items


async def test_leaving_it_between_two_items_closes_what_it_reads():
    stream = Cyclic()

    async def wrapped():
        async for item in stream:
            yield item

    gc.disable()
    try:
        items = ahead(wrapped())
        assert await anext(items) is stream
        await items.aclose()
        assert stream.closed
    finally:
        gc.enable()


async def test_cancelling_the_reader_closes_what_it_reads():
    stream = Cyclic()
    reading = asyncio.ensure_future(listed(ahead(stream)))
    await stream.waits.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert stream.closed


async def test_an_error_of_the_generator_is_raised_after_its_items():
    async def broken():
        yield 1
        raise ValueError("cut")

    seen = []
    with pytest.raises(ValueError, match="cut"):
        await listed(ahead(broken()), seen)
    assert seen == [1]
