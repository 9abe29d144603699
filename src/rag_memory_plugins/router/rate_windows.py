"""Windows that move: how much was taken in the last seconds, in this process.

A window is cut into parts of equal length, and a part counts in full until all of it has left. So
no stretch of the window's length ever holds more than the amount, what was taken comes back at most
one part late, a window costs the same however busy it is, and any amount can be counted back.

`limits` keeps one entry a token in its own memory, where 5.8 never forgets a key, starts a thread
every 10 ms of use, and can take nothing back: so only its stores are used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from math import inf
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Key", "Mark", "Rate", "Short", "Windows", "seconds_until"]

Key: TypeAlias = tuple[object, ...]
"""Whose window: names, None for `SHARED`. As a tuple, "a/b", "c" is not "a", "b/c"."""

PARTS: Final = 256
_AT_ONCE: Final = 2  # ended windows that one call drops, which makes one at most


class Rate(NamedTuple):
    """So much in so many seconds."""

    amount: int
    seconds: int


class Mark(NamedTuple):
    """What was taken of one rule: `cost` in the window of `key`, in its part `part`."""

    rule: int
    key: Key
    cost: int
    part: int = 0


class Short(NamedTuple):
    """A rule that has no room, and in how many seconds it will."""

    rule: int
    seconds: float


class _Window:
    __slots__ = ("parts", "total")

    def __init__(self) -> None:
        self.parts: dict[int, int] = {}  # oldest first
        self.total = 0


class Windows:
    """The windows of some rules, in memory.

    A key costs at most 256 pairs of numbers, and is dropped when its window is empty; of a rule
    with over `most_keys` live ones, who was longest idle is forgotten. `clock` gives seconds that
    never go back. May be used from any thread.

    >>> now = [0.0]
    >>> windows = Windows([Rate(2, 60)], lambda: now[0])
    >>> for _ in range(3):
    ...     last = windows.take([Mark(0, ("acme",), 1)])
    >>> last.rule, round(last.seconds)
    (0, 60)
    """

    def __init__(
        self, rates: Sequence[Rate], clock: Callable[[], float], most_keys: int = 100_000
    ) -> None:
        self._rates = tuple((rate.amount, rate.seconds / PARTS) for rate in rates)
        self._windows: tuple[OrderedDict[Key, _Window], ...] = tuple(OrderedDict() for _ in rates)
        self._clock = clock
        self._most_keys = most_keys
        self._lock = Lock()

    def __len__(self) -> int:
        return sum(map(len, self._windows))

    def take(self, wanted: Sequence[Mark]) -> tuple[Mark, ...] | Short:
        """Count all of it or nothing; of several rules without room the one that takes longest."""
        with self._lock:
            now = self._clock()
            found = []
            short: Short | None = None
            for mark in wanted:
                amount, width = self._rates[mark.rule]
                part = int(now / width)
                window = self._window(mark.rule, mark.key, part)
                over = window.total + mark.cost - amount
                if over > 0:
                    seconds = seconds_until(window.parts, over, PARTS, width, now)
                    if short is None or seconds > short.seconds:
                        short = Short(mark.rule, seconds)
                found.append((window, Mark(mark.rule, mark.key, mark.cost, part)))
            if short is not None:
                return short
            for window, mark in found:
                window.parts[mark.part] = window.parts.get(mark.part, 0) + mark.cost
                window.total += mark.cost
            return tuple(mark for _, mark in found)

    def correct(self, marks: Sequence[tuple[Mark, int]]) -> None:
        """Add so much to what each mark took; where its part has left there is nothing to add to."""
        with self._lock:
            for mark, more in marks:
                window = self._windows[mark.rule].get(mark.key)
                if window is not None and mark.part in window.parts:
                    window.parts[mark.part] += more
                    window.total += more

    def _window(self, rule: int, key: Key, part: int) -> _Window:
        windows = self._windows[rule]
        window = windows.get(key)
        if window is None:
            self._drop_ended(windows, part)
            window = windows[key] = _Window()
        else:
            windows.move_to_end(key)
        parts = window.parts
        while parts and (oldest := next(iter(parts))) < part - PARTS:
            window.total -= parts.pop(oldest)
        return window

    def _drop_ended(self, windows: OrderedDict[Key, _Window], part: int) -> None:
        for _ in range(_AT_ONCE):
            first = next(iter(windows), None)
            if first is None:
                return
            newest = next(reversed(windows[first].parts), -1)
            if newest >= part - PARTS and len(windows) < self._most_keys:
                return
            del windows[first]


def seconds_until(
    parts: Mapping[int, int], over: int, count: int, width: float, now: float
) -> float:
    """Seconds until `over` has left a window of `count` parts; infinite if it never holds that."""
    for part in sorted(parts):
        over -= parts[part]
        if over <= 0:
            return max((part + count + 1) * width - now, 0.0)
    return inf
