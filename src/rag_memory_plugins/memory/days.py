"""What the lines that tell dates cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from rag_memory_plugins.memory.rendering import day_lines
from rag_memory_plugins.ports import TokenCounter

__all__ = ["Days"]


@dataclass
class Days:
    """The days that a block tells so far: a day costs when it is the first of its messages."""

    counter: TokenCounter
    days: set[date] = field(default_factory=set)

    def cost(self, days: Iterable[date]) -> int:
        """What these days add: each its line, and a year that is new its digits."""
        years = {day.year for day in self.days}
        total = 0
        for day in sorted(set(days) - self.days):
            known = [day.replace(day=1), day] if day.year in years else [day]
            total += self.counter.count(day_lines(known)[-1] + "\n")
            years.add(day.year)
        return total
