"""What a benchmark hands back: figures by key, a table for people, one line of JSON for machines.

Stdout holds the table and, asked for, the JSON as its last line; progress goes to stderr, so that
`python -m benchmarks latency --json | tail -n 1` is always the JSON.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["BadData", "Goal", "Report", "percentile", "progress_bar"]


class BadData(Exception):
    """The data cannot be measured on; the message is one sentence for the person who passed it."""


@dataclass(frozen=True)
class Goal:
    """What a figure should be: at most ("<=") or at least (">=") `value`."""

    sign: Literal["<=", ">="]
    value: float

    def met(self, figure: float) -> bool:
        """Whether `figure` is on the right side."""
        return figure <= self.value if self.sign == "<=" else figure >= self.value


@dataclass
class Report:
    """The figures of one run, in the order they were measured.

    `goals` are shown beside the figures of the same key; `notes` stand under the table. `grid`
    names columns that are shown as a table of their own: figures `COLUMN` and `COLUMN/ROW`;
    `COLUMN/ROW/MORE` is for machines.
    """

    name: str
    goals: Mapping[str, Goal] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    grid: Sequence[str] = ()

    def put(self, key: str, figure: float) -> None:
        """Keep one figure; it must be finite, because JSON knows no other number."""
        if not math.isfinite(figure):
            raise BadData(f"{self.name}: {key} is {figure}, which is not a figure")
        self.figures[key] = figure

    def put_times(self, name: str, seconds: Sequence[float], of: str = "") -> None:
        """Keep `NAME_ms_p50` and `NAME_ms_p95` of some durations, as `.../OF` if given."""
        suffix = f"/{of}" if of else ""
        for share in (50, 95):
            self.put(f"{name}_ms_p{share}{suffix}", 1000 * percentile(seconds, share))

    def show(self, *, as_json: bool) -> None:
        """Print the table to stdout and, if asked, the JSON line after it."""
        # A pipe has no width; without a given one rich cuts the keys at 80 columns.
        console = Console() if sys.stdout.isatty() else Console(width=100)
        if self.grid:
            console.print(self._grid())
        console.print(self._table())
        for note in [machine(), *self.notes]:
            console.print(f"[dim]{escape(note)}[/dim]")
        if as_json:
            sys.stdout.write(json.dumps({k: round(v, 6) for k, v in self.figures.items()}) + "\n")
        sys.stdout.flush()

    def _grid(self) -> Table:
        table = Table("", title=self.name, title_justify="left")
        for column in self.grid:
            table.add_column(column, justify="right", no_wrap=True)
        parted = [key.partition("/") for key in self.figures]
        rows = (row for column, _, row in parted if column in self.grid and "/" not in row)
        for row in dict.fromkeys(rows):
            keys = [f"{column}/{row}" if row else column for column in self.grid]
            table.add_row(row or "all", *map(self._cell, keys))
        return table

    def _cell(self, key: str) -> str:
        figure = self.figures.get(key)
        if figure is None:
            return ""
        return f"{figure:.3f}" if 0 <= figure <= 1 else written(figure)

    def _table(self) -> Table:
        table = Table(title=self.name, title_justify="left")
        table.add_column("figure", no_wrap=True)
        for column in ("value", "goal"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("")
        for key, figure in self.figures.items():
            if key.partition("/")[0] in self.grid and key not in self.goals:
                continue
            goal = self.goals.get(key)
            wanted = f"{goal.sign} {goal.value:g}" if goal else ""
            state = "" if goal is None else "met" if goal.met(figure) else "[red]missed[/red]"
            table.add_row(key, written(figure), wanted, state)
        return table


def percentile(values: Sequence[float], share: int) -> float:
    """The value that `share` percent of `values` do not exceed, interpolated."""
    if not values:
        raise BadData(f"percentile {share} of no values")
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def written(figure: float) -> str:
    """A number for a table: three decimals where they matter, thousands with commas."""
    if float(figure).is_integer():
        return f"{int(figure):,}"
    return f"{figure:,.1f}" if abs(figure) >= 100 else f"{figure:.3f}"


def machine() -> str:
    """Where the figures were taken, for the reader who compares."""
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} CPUs"
    )


def progress_bar() -> Progress:
    """A bar on stderr; a pipe gets only its last state."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
