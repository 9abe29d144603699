"""Whether a tenant's outcomes foretell better than the prior does: each prompt by all the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.router.apgr import apgr, bounds
from rag_memory_plugins.router.history import FAR, Fit, closest, differences, gain, line, neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Numbers = NDArray[np.float64]

__all__ = ["QualityReport", "examine"]

SAME: Final = 0.9999  # a prompt that came twice foretells itself, and no other
BLOCK: Final = 128


@dataclass(frozen=True)
class QualityReport:
    """What kNN over a tenant's outcomes is worth on these outcomes, and the prior beside it.

    APGR of both over the `n` prompts where it is known what either model's answer is worth; `low`
    and `high` are 95 % bounds of kNN's. None where `reason` says that nothing could be measured.
    `reason` is empty if, and only if, kNN is used: its lower bound is above the prior.
    """

    n: int
    apgr: float | None = None
    low: float | None = None
    high: float | None = None
    prior: float | None = None
    reason: str = ""


def examine(
    vectors: Floats, priors: Numbers, worth: Numbers, *, least: int, seed: int
) -> tuple[QualityReport, Fit | None]:
    """Leave-one-out over all prompts; no `Fit` unless kNN is better than the prior.

    A fraction of a second for 2,000 prompts. The lines in the prior (four numbers) are not left out.
    """
    import numpy as np

    both = np.isfinite(worth).all(axis=1)
    n = int(both.sum())
    if n < least:
        wanted = f"not enough: both answers' worth is known of {n} prompts, {least} are wanted"
        return QualityReport(n, reason=wanted), None
    weak, strong = line(priors, worth[:, 0]), line(priors, worth[:, 1])
    sums, close = leave_one_out(vectors, differences(weak, strong, priors, worth))
    gains = np.asarray(gain(weak, strong, priors, list(sums.T)))
    pair = worth[both, 0], worth[both, 1]
    try:
        of_prior = apgr(*pair, priors[both])
        found, (low, high) = apgr(*pair, gains[both]), bounds(*pair, gains[both], seed=seed)
    except InvalidInput:
        return QualityReport(
            n, reason="no gap: the strong model's answers were worth no more"
        ), None
    fit = Fit(weak, strong, np.sort(gains), np.sort(priors), float(np.quantile(close, FAR)))
    if low > of_prior:
        return QualityReport(n, found, low, high, of_prior), fit
    reason = f"no better than the prior: APGR {found:.3f}, at least {low:.3f}; {of_prior:.3f}"
    return QualityReport(n, found, low, high, of_prior, reason), None


def leave_one_out(vectors: Floats, terms: Floats) -> tuple[Numbers, Floats]:
    """(the sums of `terms` over each prompt's nearest others, how close these are)."""
    import numpy as np

    rows = len(vectors)
    count = neighbours(rows)
    sums, close = np.zeros((rows, terms.shape[1])), np.zeros(rows, np.float32)
    for start in range(0, rows, BLOCK):
        alike = vectors[start : start + BLOCK] @ vectors.T
        alike[alike > SAME] = -1.0
        at = np.argpartition(alike, rows - count, axis=1)[:, rows - count :]
        alike = np.take_along_axis(alike, at, axis=1)
        near = terms[at] * (alike > -1.0)[..., None]
        sums[start : start + BLOCK] = near.sum(axis=1)
        close[start : start + BLOCK] = closest(alike)
    return sums, close
