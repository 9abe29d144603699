"""`Flights`: who asks for what is being asked already waits for that; on one event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Flights"]

T = TypeVar("T")


@dataclass(eq=False)
class _Flight(Generic[T]):
    """Keys that are being asked, and how many callers wait for any of them."""

    task: asyncio.Task[Mapping[bytes, T]]
    keys: Collection[bytes]
    waiting: int = 0


class Flights(Generic[T]):
    """Work that yields values by key, shared by all who wait for one; cancelled with the last.

    >>> async def upper():
    ...     return {b"a": "A"}
    >>> async def twice():
    ...     flights = Flights()
    ...     flights.begin([b"a"], upper())
    ...     return await asyncio.gather(flights.wait([b"a"]), flights.wait([b"a"]))
    >>> asyncio.run(twice())
    [{b'a': 'A'}, {b'a': 'A'}]
    """

    def __init__(self) -> None:
        self._of: dict[bytes, _Flight[T]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._of

    def begin(self, keys: Collection[bytes], work: Coroutine[Any, Any, Mapping[bytes, T]]) -> None:
        """Begin `work`, which yields a value for each of `keys`. Somebody must `wait` for it."""
        flight = _Flight(asyncio.ensure_future(work), keys)
        self._of.update(dict.fromkeys(keys, flight))
        flight.task.add_done_callback(functools.partial(self._landed, flight))

    async def wait(self, keys: Collection[bytes]) -> dict[bytes, T]:
        """The values of these, all of which were begun; raises what their work raises."""
        joined = {key: self._of[key] for key in keys}
        flights = set(joined.values())
        for flight in flights:
            flight.waiting += 1
        try:
            if flights:
                await asyncio.wait([flight.task for flight in flights])
        finally:
            for flight in flights:
                flight.waiting -= 1
                if not flight.waiting and not flight.task.done():
                    self._landed(flight)  # at once: nobody may join what is being cancelled
                    flight.task.cancel()
        return {key: flight.task.result()[key] for key, flight in joined.items()}

    def _landed(self, flight: _Flight[T], _: object = None) -> None:
        for key in flight.keys:
            if self._of.get(key) is flight:
                del self._of[key]
