"""Windows that processes share, over a store of `limits.aio`.

Counted with `incr` and `get` alone, which every store has and which can count back: the moving
window of `limits` cannot give back what was taken. A window has few parts here, because each is a
key; those that have ended hardly change, and are read again after a second.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from rag_memory_plugins.errors import InvalidInput, InvalidURL, MissingExtra
from rag_memory_plugins.router.rate_windows import Key, Mark, Rate, Short, seconds_until

if TYPE_CHECKING:
    from limits.aio.storage import Storage

__all__ = ["StoreWindows", "open_storage"]

PARTS: Final = 4
_FRESH: Final = 1.0  # seconds for which ended parts are known
_KNOWN: Final = 10_000
_AT_ONCE: Final = 64  # a client opens a connection for each question that waits


def open_storage(storage: object) -> Storage:
    """A store of `limits.aio`, or the one its URL names.

    Raises `InvalidURL`, `InvalidInput`, `MissingExtra`.
    """
    from limits.aio.storage import Storage as Kind
    from limits.errors import ConfigurationError
    from limits.storage import storage_from_string

    if isinstance(storage, Kind):
        return storage
    if not isinstance(storage, str):
        remedy = "pass a URL, or a storage of limits.aio.storage"
        raise InvalidInput("storage", storage, remedy)
    url = storage if storage.startswith("async+") else f"async+{storage}"
    scheme = url.partition("://")[0].removeprefix("async+")
    redis = scheme.startswith("redis")
    if redis and importlib.util.find_spec("redis") is None:
        raise MissingExtra("redis", f"the storage {scheme}:// of rate limits")
    # The client that the extra installs; the default is another one.
    options = {"implementation": "redispy"} if redis else {}
    try:
        made = storage_from_string(url, **options)
    except ConfigurationError as error:
        # Neither the message nor its cause: both hold the URL, and that may hold a password.
        remedy = str(error).replace(url, f"{scheme}://...")
        raise InvalidURL("storage", scheme, remedy) from None
    if not isinstance(made, Kind):
        raise InvalidURL("storage", scheme, "it names no store of limits.aio")
    return made


class _Ended(NamedTuple):
    """The parts of a window before `before`, as they were when they were read."""

    before: int
    read: float
    parts: Mapping[int, int]


class StoreWindows:
    """The windows of some rules, in a store. Awaited on the portal's loop alone.

    `names` tells the rules apart in the store, whatever order another process states them in;
    `wall` gives seconds since 1970, as all of them count. Raises what the store's client raises.

    >>> from limits.aio.storage import MemoryStorage
    >>> windows = StoreWindows(MemoryStorage(), ["a rule"], [Rate(1, 60)], lambda: 0.0)
    >>> async def both():
    ...     return [await windows.take([Mark(0, ("acme",), 1)]) for _ in range(2)]
    >>> asyncio.run(both())[1]
    Short(rule=0, seconds=75.0)
    """

    def __init__(
        self,
        storage: Storage,
        names: Sequence[str],
        rates: Sequence[Rate],
        wall: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._names = tuple(names)
        self._rates = tuple(rates)
        self._wall = wall
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._known: OrderedDict[tuple[int, Key], _Ended] = OrderedDict()

    async def take(self, wanted: Sequence[Mark]) -> tuple[Mark, ...] | Short:
        """Count all of it or nothing; of several rules without room the one that takes longest."""
        now = self._wall()
        marks = tuple(mark._replace(part=int(now / self._width(mark))) for mark in wanted)
        windows = await asyncio.gather(*(self._count(mark) for mark in marks))
        short: Short | None = None
        for mark, parts in zip(marks, windows, strict=True):
            over = sum(parts.values()) - self._rates[mark.rule].amount
            if over > 0:
                parts[mark.part] -= mark.cost
                seconds = seconds_until(parts, over, PARTS, self._width(mark), now)
                if short is None or seconds > short.seconds:
                    short = Short(mark.rule, seconds)
        if short is None:
            return marks
        await self.correct([(mark, -mark.cost) for mark in marks])
        return short

    async def correct(self, marks: Sequence[tuple[Mark, int]]) -> None:
        """Add so much to what each mark took; a part that has left is nobody's any more."""
        now = self._wall()
        for mark, _ in marks:
            self._known.pop((mark.rule, mark.key), None)
        await asyncio.gather(
            *(
                self._add(mark, more)
                for mark, more in marks
                if more and int(now / self._width(mark)) - mark.part <= PARTS
            )
        )

    async def _count(self, mark: Mark) -> dict[int, int]:
        """What the window's parts hold, oldest first, with this mark counted."""
        current, older = await asyncio.gather(self._add(mark, mark.cost), self._older(mark))
        return {**older, mark.part: current}

    async def _older(self, mark: Mark) -> Mapping[int, int]:
        now, whose = self._wall(), (mark.rule, mark.key)
        known = self._known.get(whose)
        if known is not None and known.before == mark.part and 0 <= now - known.read < _FRESH:
            return known.parts
        parts = range(mark.part - PARTS, mark.part)
        counts = await asyncio.gather(*(self._get(mark, part) for part in parts))
        ended = _Ended(mark.part, now, dict(zip(parts, counts, strict=True)))
        self._known[whose] = ended
        self._known.move_to_end(whose)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return ended.parts

    async def _get(self, mark: Mark, part: int) -> int:
        async with self._places:
            return await self._storage.get(self._key(mark, part))

    async def _add(self, mark: Mark, amount: int) -> int:
        if amount == 0:
            return await self._get(mark, mark.part)
        keep = ceil(self._rates[mark.rule].seconds + self._width(mark)) + 1
        async with self._places:
            return await self._storage.incr(self._key(mark, mark.part), keep, amount)

    def _width(self, mark: Mark) -> float:
        return self._rates[mark.rule].seconds / PARTS

    def _key(self, mark: Mark, part: int) -> str:
        """No two windows share one: JSON writes a list of names in one way, and reads it back."""
        whose = json.dumps([self._names[mark.rule], *mark.key])
        return f"rag-memory/rate/{sha256(whose.encode()).hexdigest()[:40]}/{part}"
