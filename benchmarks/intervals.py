"""How far a mean could lie from where it was measured: percentile bootstrap, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

__all__ = ["by_group", "by_row"]

DRAWS: Final = 2_000
BATCH: Final = 100
SEED: Final = 1
BOUNDS: Final = (2.5, 97.5)


def by_row(rows: Sequence[Sequence[float]]) -> Numbers:
    """95 % bounds of each column's mean, shape (2, columns), drawing rows with replacement."""
    return by_group(rows, range(len(rows)))


def by_group(rows: Sequence[Sequence[float]], groups: Sequence[object]) -> Numbers:
    """As `by_row`, drawing whole groups: rows of one group may be alike."""
    values = np.asarray(rows, dtype=np.float64)
    names = list(dict.fromkeys(groups))
    place = {name: at for at, name in enumerate(names)}
    at = np.array([place[name] for name in groups])
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, at, values)
    sizes = np.bincount(at, minlength=len(names)).astype(np.float64)
    random = np.random.default_rng(SEED)
    means = []
    for _ in range(DRAWS // BATCH):
        # How often each group was drawn; the same as drawing indices, and one product away.
        times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=BATCH)
        means.append(times @ sums / (times @ sizes)[:, None])
    bounds: Numbers = np.percentile(np.concatenate(means), BOUNDS, axis=0)
    return bounds
