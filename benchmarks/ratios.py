"""How far a quotient of two means could lie from where it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

__all__ = ["ratio", "ratio_bounds"]

DRAWS: Final = 2_000
SEED: Final = 1
BOUNDS: Final = (2.5, 97.5)


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The mean of `above` by that of `below`; 0 if both are 0."""
    return sum(above) / sum(below) if sum(below) else float(bool(sum(above)))


def ratio_bounds(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """95 % of a seeded bootstrap over questions, whose two figures stay together."""
    pairs = np.stack([above, below]).T
    random = np.random.default_rng(SEED)
    drawn = [
        ratio(some[:, 0].tolist(), some[:, 1].tolist())
        for some in (random.choice(pairs, len(pairs)) for _ in range(DRAWS))
    ]
    low, high = np.percentile(drawn, BOUNDS)
    return float(low), float(high)
