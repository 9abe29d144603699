"""Models of others, read beside the loop that asks: in a thread, or in a task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Final, TypeVar

from rag_memory_plugins.portal import Threads

__all__ = ["ahead", "from_thread"]

T = TypeVar("T")
_END: Final = object()


async def from_thread(make: Callable[[], Iterable[T]]) -> AsyncGenerator[T, None]:
    """The items of `make()`, which runs in a thread of its own with this context's variables.

    Closing it ends the thread at its next item; what blocks until then goes on unseen. Raises what
    `make()` or its iteration raises.

    >>> async def read():
    ...     return [item async for item in from_thread(lambda: "ab")]
    >>> asyncio.run(read())
    ['a', 'b']
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[Any] = asyncio.Queue()
    stopped = threading.Event()

    def work() -> None:
        source = make()
        try:
            for item in source:
                if stopped.is_set():
                    return
                loop.call_soon_threadsafe(items.put_nowait, item)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    thread = Threads(1, "rag-memory-chat")
    try:
        async with aclosing(_read(items, thread.run(work))) as read:
            async for item in read:
                yield item
    finally:
        stopped.set()
        thread.close()


async def ahead(source: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """The items of `source`, read ahead in a task of their own.

    Closing it cancels the read that is under way and returns when that has ended: a generator that
    is closed between two items does not tell the generators, clients and connections below it.
    Raises what `source` raises.

    >>> async def count():
    ...     for number in range(3):
    ...         yield number
    >>> async def read():
    ...     return [item async for item in ahead(count())]
    >>> asyncio.run(read())
    [0, 1, 2]
    """
    items: asyncio.Queue[Any] = asyncio.Queue()

    async def work() -> None:
        async for item in source:
            items.put_nowait(item)

    async with aclosing(_read(items, work())) as read:
        async for item in read:
            yield item


async def _read(
    items: asyncio.Queue[Any], work: Coroutine[Any, Any, None]
) -> AsyncGenerator[Any, None]:
    """What `work`, in a task of its own, puts into `items`."""
    working = asyncio.ensure_future(work)
    working.add_done_callback(lambda _: items.put_nowait(_END))
    try:
        while (item := await items.get()) is not _END:
            yield item
        await working
    finally:
        working.cancel()
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # else asyncio says that nobody has seen it
