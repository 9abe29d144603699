"""A run's main figures as a picture file: `--plot recall.svg`.

A benchmark may have a function `picture(report, figure)` of its own; `bars` is for the others.
matplotlib is used without pyplot: nothing global, no window, no display needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import BadData, Report, machine, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Picture = Callable[[Report, Figure], None]

__all__ = ["BLUE", "GREY", "RED", "bars", "check", "level_bars", "save", "tidy"]

SUFFIXES: Final = (".svg", ".png")
BLUE: Final = "#2563eb"
RED: Final = "#dc2626"
GREY: Final = "#94a3b8"
ROW: Final = 0.32
"""Inches that a bar and its label take."""
MANY: Final = 40
"""More bars than these nobody reads."""


def check(path: str) -> None:
    """Raise `BadData` if no picture could be written there; before minutes of measuring."""
    if Path(path).suffix not in SUFFIXES:
        raise BadData(f"--plot: {path} must end in {' or '.join(SUFFIXES)}")
    if not Path(path).parent.is_dir():
        raise BadData(f"--plot: {Path(path).parent} is no folder")
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise BadData(f"--plot needs matplotlib ({error}): pip install --group bench") from error


def save(report: Report, path: str, picture: Picture) -> None:
    """Draw and write the file; its format is by the suffix."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    picture(report, figure)
    figure.suptitle(machine(), fontsize=7, color=GREY, x=0.99, ha="right")
    more: dict[str, Any] = {"dpi": 150} if path.endswith(".png") else {"metadata": {"Date": None}}
    try:
        figure.savefig(path, **more)
    except OSError as error:
        raise BadData(f"--plot: {path} cannot be written: {error.strerror}") from error


def bars(report: Report, figure: Figure) -> None:
    """Each figure that has a goal as a share of it; without goals, every figure by itself."""
    keys = [key for key in report.goals if key in report.figures]
    goals = [report.goals[key] for key in keys]
    if keys:
        # Units differ from row to row; shares of the goal stand on one axis.
        values = [
            report.figures[key] / goal.value if goal.value else report.figures[key]
            for key, goal in zip(keys, goals, strict=True)
        ]
        notes = [
            f"{written(report.figures[key])}  (goal {goal.sign} {goal.value:g})"
            for key, goal in zip(keys, goals, strict=True)
        ]
        met = [goal.met(report.figures[key]) for key, goal in zip(keys, goals, strict=True)]
    else:
        keys = list(report.figures)[:MANY]
        values = [report.figures[key] for key in keys]
        notes = [written(value) for value in values]
        met = [True] * len(keys)
    figure.set_size_inches(9, 1.2 + ROW * len(keys))
    axes = figure.add_subplot()
    axes.set_title(f"{report.name}: figures against their goals" if goals else report.name)
    colours = [BLUE if good else RED for good in met]
    level_bars(axes, keys, values, notes, colours, past=1.0 if goals else 0.0)
    if goals:
        axes.axvline(1, color="black", linewidth=1, linestyle="--")
        axes.set_xlabel("share of the goal (dashed); red missed it")
    if values and max(values) > 10 * max(min(values), 0.1):
        # One long bar must not make dots of the others.
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_xlim(0, 5 * max(values))
    tidy(axes)


def level_bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    notes: Sequence[str],
    colours: Sequence[str],
    bounds: Sequence[tuple[float, float]] | None = None,
    past: float = 0.0,
) -> None:
    """Level bars from the top down, each with a whisker over its bounds and a note behind it.

    Notes stand behind `past` at the least, where a line may be drawn.
    """
    rows = range(len(names))
    axes.barh(rows, values, color=list(colours), height=0.7)
    ends = list(values)
    if bounds is not None:
        sides = [
            [max(0.0, value - low) for value, (low, _) in zip(values, bounds, strict=True)],
            [max(0.0, high - value) for value, (_, high) in zip(values, bounds, strict=True)],
        ]
        axes.errorbar(values, rows, xerr=sides, fmt="none", ecolor="black", capsize=3, linewidth=1)
        ends = [high for _, high in bounds]
    ends = [max(end, past) for end in ends]
    for row, end, note in zip(rows, ends, notes, strict=True):
        axes.annotate(
            note, (end, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(rows, labels=list(names), fontsize=8)
    axes.invert_yaxis()
    # Room behind the longest bar for what is written there.
    axes.set_xlim(0, 1.35 * max([*ends, 1e-9]))


def tidy(axes: Axes) -> None:
    """No frame but the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
