"""The time of one call to Pinecone: its deadline, its waits, and what it does at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

__all__ = ["Deadline", "agathered", "auntil", "indexed_of", "written_of"]

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
AT_ONCE: Final = 8
"""Requests of one call."""


class Deadline:
    """When a call must be over.

    >>> Deadline(2.0, lambda: 10.0).left
    2.0
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0.0 when it is over."""
        return max(0.0, self._end - self._clock())


async def auntil(
    done: Callable[[], Awaitable[bool]],
    deadline: Deadline,
    sleep: Callable[[float], Awaitable[None]],
) -> bool:
    """Ask until it is done, or until there is no time to ask again; whether it is done."""
    pause = FIRST_PAUSE
    while not await done():
        if deadline.left <= pause:
            return False
        await sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return True


async def agathered(works: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Await all, a few at a time; when one raises, the others are ended first."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(work: Callable[[], Awaitable[object]]) -> None:
        async with places:
            await work()

    tasks = [asyncio.ensure_future(one(work)) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def written_of(answer: Any) -> int | None:
    """The LSN of a write, counted in its namespace; None where the answer does not say."""
    return _header(answer, "request-lsn", "lsn-committed")


def indexed_of(answer: Any) -> int | None:
    """The LSN of the last write that a query saw; None where the answer does not say."""
    return _header(answer, "max-indexed-lsn", "lsn-reconciled")


def _header(answer: Any, *names: str) -> int | None:
    # By name: the client's own properties read other headers from release to release.
    headers = getattr(answer.response_info, "raw_headers", {})
    found = (headers.get(f"x-pinecone-{name}", "") for name in names)
    return next((int(text) for text in found if text.isdecimal()), None)
