"""What the lines that tell dates cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from rag_memory_plugins.memory.rendering import day_line
from rag_memory_plugins.ports import TokenCounter

__all__ = ["Days"]


@dataclass
class Days:
    """The days that a block tells so far: a day costs when it is the first of its messages."""

    counter: TokenCounter
    days: set[date] = field(default_factory=set)

    def cost(self, days: Iterable[date]) -> int:
        """What these days add: each its line, and a year that is new its digits."""
        new = {day for day in days if day not in self.days}
        if not new:
            return 0
        years: set[int] = set()
        total = 0
        for day in sorted(new):
            known = day.year in years or any(day.year == other.year for other in self.days)
            total += self.counter.count(f"{day_line(day, with_year=not known)}\n")
            years.add(day.year)
        return total
