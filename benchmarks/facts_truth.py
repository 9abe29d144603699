"""What holds on each day, worked out from what was told by painting days one after the other.

Written without a look at the package's rules, and as slow as that is plain: a `Track` is one state,
and what was told of it are boundaries: from a day on a value, or nothing. On a day holds what the
last boundary before it says. What is told late is a boundary like any other; a correction writes
another value over the boundary that covered its day; a value told with its end leaves after it what
was there before. Several values at once are a track each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["NOTHING", "Told", "day_by_day", "holding"]

NOTHING: Final = None


@dataclass(frozen=True)
class Told:
    """One thing that was told: on `recorded` that from `start` on `value` holds, None for nothing.

    Days are counted from the first one of the time line. With `end` it was said when it ends;
    `again` tells nothing new, `corrects` that what covered `start` was never so.
    """

    value: Hashable | None
    start: int
    recorded: int
    end: int | None = None
    again: bool = False
    corrects: bool = False
    track: Hashable = 0


def day_by_day(told: Iterable[Told], days: int, known: int | None = None) -> list[Hashable | None]:
    """The value on each of `days` days of one track, by what had been told on the day `known`."""
    painted: list[Hashable | None] = [NOTHING] * days
    since: list[int | None] = [None] * days  # the boundary that covers the day
    for item in sorted(told, key=lambda item: item.recorded):
        if item.again or item.start >= days or (known is not None and item.recorded > known):
            continue
        if item.corrects:
            covering = since[item.start]
            for day in range(days):
                if covering is not None and since[day] == covering:
                    painted[day] = item.value
            continue
        covering = since[item.start]
        day = item.start
        while day < days and since[day] == covering and (item.end is None or day < item.end):
            painted[day], since[day] = item.value, item.start
            day += 1
    return painted


def holding(
    told: Sequence[Told], day: int, *, known: int | None = None
) -> frozenset[Hashable | None]:
    """All that holds on a day: of every track its value, if there is one."""
    tracks: dict[Hashable, list[Told]] = {}
    for item in told:
        tracks.setdefault(item.track, []).append(item)
    # What was told of later days may correct what reaches back to this one.
    days = max([day, *(item.start for item in told)]) + 1
    found = (day_by_day(some, days, known)[day] for some in tracks.values())
    return frozenset(value for value in found if value is not NOTHING)
