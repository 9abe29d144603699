"""The picture of a recall run: evidence by tokens, and by hits, beside the peers that ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from benchmarks import peers, plots
from benchmarks.scores import BUDGETS, KEYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.report import Report

__all__ = ["draw"]

PACKAGE: Final = "rag-memory-plugins"
COLOURS: Final = (
    "#7c3aed", "#0891b2", "#059669", "#d97706", "#db2777", "#65a30d", "#b45309", "#64748b",
)  # fmt: skip
MARKERS: Final = "sDv^<>PX"
LABELS: Final = {
    "ours": "ours, hits alone",
    "ours_keywords": "ours without a model",
    "vectors": "plain vectors",
    "bm25": "BM25, a turn each",
    "langgraph": "LangGraph InMemoryStore",
    "llamaindex": "LlamaIndex VectorMemoryBlock",
    "mem0": "mem0, infer=False",
    "full_history": "full history, newest turns",
}


def draw(report: Report, figure: Figure) -> None:
    """Left the share of evidence by budget, right the shares by rank with their bounds."""
    names = [name for name in peers.NAMES if f"T@{BUDGETS[0]}/{name}" in report.figures]
    figure.set_size_inches(12, 5)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _by_budget(report, left, names)
    ranked = [name for name in names if f"R@10/{name}" in report.figures]
    if ranked:
        _by_peer(report, right, ranked)
    else:
        _by_key(report, right)
    for axes in (left, right):
        plots.tidy(axes)
    if names:
        # Outside: within the axes it would lie on somebody's line.
        figure.legend(fontsize=8, ncols=3, loc="outside lower center", frameon=False)


def _by_budget(report: Report, axes: Axes, names: Sequence[str]) -> None:
    axes.set_title("evidence that stands whole in a context", fontsize=10)
    own = [report.figures[f"T@{budget}"] for budget in BUDGETS]
    low, high = (
        [report.figures[f"T@{budget}/{side}"] for budget in BUDGETS] for side in ("low", "high")
    )
    axes.fill_between(BUDGETS, low, high, color=plots.BLUE, alpha=0.15, linewidth=0)
    label = f"{PACKAGE}, context"
    axes.plot(BUDGETS, own, color=plots.BLUE, marker="o", linewidth=2.5, label=label)
    curves: dict[tuple[float, ...], list[str]] = {}
    for name in names:
        values = tuple(report.figures[f"T@{budget}/{name}"] for budget in BUDGETS)
        curves.setdefault(values, []).append(LABELS[name])
    for at, (values, labels) in enumerate(curves.items()):
        axes.plot(
            BUDGETS,
            values,
            label=" = ".join(labels),
            color=COLOURS[at],
            marker=MARKERS[at],
            linewidth=1.2,
            markersize=5,
        )
    axes.set_xscale("log")
    axes.set_xticks(BUDGETS, labels=[f"{budget:,}" for budget in BUDGETS])
    axes.minorticks_off()
    axes.set_xlabel("tokens (cl100k), logarithmic", fontsize=9)
    axes.set_ylabel("share of a question's evidence turns", fontsize=9)
    axes.set_ylim(0 if names else max(0, min(low) - 0.05), 1)
    axes.grid(alpha=0.25)


def _by_peer(report: Report, axes: Axes, names: Sequence[str]) -> None:
    axes.set_title("evidence among the first 10 hits, 95 % bounds", fontsize=10)
    rows = [("", PACKAGE, plots.BLUE), *((f"/{name}", LABELS[name], plots.GREY) for name in names)]
    rows.sort(key=lambda row: -report.figures[f"R@10{row[0]}"])
    _bars(report, axes, [f"R@10{row[0]}" for row in rows], [row[1] for row in rows])
    for bar, (_, _, colour) in zip(axes.patches, rows, strict=True):
        bar.set_facecolor(colour)


def _by_key(report: Report, axes: Axes) -> None:
    axes.set_title("by hits, sessions and tokens, 95 % bounds", fontsize=10)
    _bars(report, axes, KEYS, KEYS)


def _bars(report: Report, axes: Axes, keys: Sequence[str], names: Sequence[str]) -> None:
    values = [report.figures[key] for key in keys]
    bounds = [(report.figures[f"{key}/low"], report.figures[f"{key}/high"]) for key in keys]
    notes = [f"{value:.3f}" for value in values]
    plots.level_bars(axes, names, values, notes, [plots.BLUE] * len(keys), bounds)
    axes.set_xlabel("share", fontsize=9)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
