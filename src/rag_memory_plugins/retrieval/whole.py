"""An `Embedder`'s vectors as the frameworks take them: one list of floats a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Vectors

__all__ = ["listed", "whole"]


def whole(pieces: Sequence[Vectors]) -> list[list[float]]:
    """One vector a text: the direction of the mean of its pieces; zeros for a text of none."""
    return [listed(some.sum(axis=0)) for some in pieces]


def listed(vector: Vectors) -> list[float]:
    """A vector as floats, at length 1; zeros stay zeros."""
    flat = vector.reshape(-1)
    length = float(np.linalg.norm(flat))
    return [float(number) for number in flat / (length or 1.0)]
