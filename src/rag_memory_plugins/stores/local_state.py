"""`LocalState`: the numbers of one process, in memory, each key with an end."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final, TypeAlias

from rag_memory_plugins.errors import InvalidInput, StoreClosed

__all__ = ["LocalState", "check_numbers"]

_AT_ONCE: Final = 4
"""Ended keys that one update drops, which makes one at most: a great many stop nobody."""

# (numbers, end, seconds). A plain tuple, which the garbage collector need not walk through.
_Entry: TypeAlias = tuple[dict[str, int], float, float]


class LocalState:
    """A `SharedState` for one process: nothing is written, and all is forgotten with the process.

    An update costs the same whatever is kept, and never looks through it. Over `most_keys` the key
    whose last change is longest ago is dropped. `clock` gives seconds that never go back. May be
    used from any thread and any loop.

    >>> import asyncio
    >>> state = LocalState()
    >>> asyncio.run(state.aadd("tokens/acme", {"sent": 120, "saved": 900}, seconds=60))
    >>> asyncio.run(state.aadd("tokens/acme", {"sent": 80}, seconds=60))
    >>> asyncio.run(state.aget("tokens/acme"))
    {'sent': 200, 'saved': 900}
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, most_keys: int = 100_000
    ) -> None:
        if not isinstance(most_keys, int) or isinstance(most_keys, bool) or most_keys < 1:
            raise InvalidInput("most_keys", most_keys, "pass a number of keys, an int >= 1")
        self._clock = clock
        self._most_keys = most_keys
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # last changed last
        # Keys by their lifetime: within one, who was changed first ends first.
        self._queues: OrderedDict[float, OrderedDict[str, None]] = OrderedDict()
        self._closed = False
        self._lock = Lock()

    async def aadd(self, key: str, amounts: Mapping[str, int], seconds: float) -> None:
        """Add each amount to the number of its name under `key`, all at once.

        The key is dropped `seconds` after its last change. Raises `InvalidInput`, changing nothing.
        """
        check_numbers("amounts", amounts, seconds)
        with self._lock:
            now = self._now()
            numbers, end, _ = self._pop(key) or ({}, now, seconds)
            if end <= now:
                numbers = {}
            for name, amount in amounts.items():
                numbers[name] = numbers.get(name, 0) + amount
            self._put(key, numbers, now, seconds)

    async def aget(self, key: str) -> dict[str, int]:
        """The numbers under `key`; empty when there are none."""
        with self._lock:
            now = self._now()
            numbers, end, _ = self._entries.get(key, ({}, now, 0.0))
            return dict(numbers) if now < end else {}

    async def aswap(
        self, key: str, expected: Mapping[str, int], numbers: Mapping[str, int], seconds: float
    ) -> bool:
        """Put `numbers` in the place of all under `key`, if that is `expected`; say whether.

        Raises `InvalidInput`, changing nothing.
        """
        check_numbers("numbers", numbers, seconds)
        with self._lock:
            now = self._now()
            held, end, _ = self._entries.get(key, ({}, now, 0.0))
            if (held if now < end else {}) != dict(expected):
                return False
            self._pop(key)
            if numbers:
                self._put(key, dict(numbers), now, seconds)
            return True

    async def akeys(self, prefix: str) -> list[str]:
        """Keys that begin with `prefix`, sorted. Looks through all of them."""
        with self._lock:
            now = self._now()
            return sorted(
                key
                for key, (_, end, _) in self._entries.items()
                if key.startswith(prefix) and now < end
            )

    async def adrop(self, keys: Sequence[str]) -> int:
        """Forget these keys; return how many there were."""
        with self._lock:
            now = self._now()
            found = [self._pop(key) for key in dict.fromkeys(keys)]
            return sum(entry is not None and now < entry[1] for entry in found)

    async def aclose(self) -> None:
        """Forget everything; what is asked afterwards raises `StoreClosed`. May be called twice."""
        with self._lock:
            self._closed = True
            self._entries.clear()
            self._queues.clear()

    def _now(self) -> float:
        if self._closed:
            raise StoreClosed("this state was closed; make a new LocalState()")
        return self._clock()

    def _put(self, key: str, numbers: dict[str, int], now: float, seconds: float) -> None:
        """Keep a key that is not there now, and drop what ended and what is too much."""
        self._entries[key] = (numbers, now + seconds, seconds)
        self._queues.setdefault(seconds, OrderedDict())[key] = None
        self._drop_ended(now)
        if len(self._entries) > self._most_keys:
            self._pop(next(iter(self._entries)))

    def _pop(self, key: str) -> _Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            queue = self._queues[entry[2]]
            del queue[key]
            if not queue:
                del self._queues[entry[2]]
        return entry

    def _drop_ended(self, now: float) -> None:
        """Drop a few keys of one lifetime that ended; the next update looks at the next lifetime."""
        seconds, queue = next(iter(self._queues.items()))
        self._queues.move_to_end(seconds)
        for _ in range(_AT_ONCE):
            key = next(iter(queue), None)
            if key is None or self._entries[key][1] > now:
                return
            self._pop(key)

    def __repr__(self) -> str:
        return f"LocalState({len(self._entries)} keys{', closed' if self._closed else ''})"


def check_numbers(field: str, numbers: Mapping[str, int], seconds: float) -> None:
    """Raise `InvalidInput` for what no `SharedState` keeps."""
    for name, number in numbers.items():
        if not isinstance(number, int):
            raise InvalidInput(f"{field}[{name!r}]", number, "pass a whole number")
    if not isinstance(seconds, (int, float)) or not seconds > 0:  # NaN is not either
        raise InvalidInput("seconds", seconds, "pass seconds, a number > 0")
