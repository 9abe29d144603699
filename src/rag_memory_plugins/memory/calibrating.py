"""What `min_relevance` is measured by: a calibration that comes with an embedder, or the user's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.retrieval.silence import SIGNALS, Calibration, calibration_of

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Found

__all__ = ["Calibrated", "fitted", "relevance_of", "written"]

LEAST: Final = 10
KEEP: Final = 0.95


@dataclass(frozen=True)
class Calibrated:
    """What a calibration can tell apart, on the very questions it was fitted to.

    With `min_relevance=threshold` 95 % of the answered questions keep their hits, and `rejected` is
    the share of the unanswered ones that get none.
    """

    answered: int
    unanswered: int
    threshold: float
    rejected: float


def relevance_of(found: Found, fingerprint: str) -> float | None:
    """How likely what was found answers the question; None without a calibration or any signal."""
    if not found.signals:
        return 0.0  # nothing was looked at: the user, or the session, holds nothing
    known = calibration_of(fingerprint)
    if found.calibration is not None:
        data = json.loads(found.calibration)
        # Of other signals it means nothing: whoever upgrades calibrates anew.
        if data.get("signals") == list(SIGNALS):
            known = Calibration(tuple(data["weights"]), data["bias"])
    return None if known is None else known.relevance(found.signals)


def written(calibration: Calibration) -> str:
    """A calibration as the index keeps it."""
    kept = {"signals": SIGNALS, "weights": calibration.weights, "bias": calibration.bias}
    return json.dumps(kept)


def fitted(
    answered: Sequence[Sequence[float]], unanswered: Sequence[Sequence[float]]
) -> tuple[Calibration, Calibrated]:
    """A calibration of these signals, and what it is worth. Raises `InvalidInput`."""
    for name, signals in (("answered", answered), ("unanswered", unanswered)):
        if len(signals) < LEAST:
            raise InvalidInput(name, len(signals), f"pass at least {LEAST} questions of each kind")
    made = Calibration.fit(answered, unanswered)
    threshold = made.threshold(answered, KEEP)
    rejected = sum(made.relevance(signals) < threshold for signals in unanswered)
    worth = Calibrated(len(answered), len(unanswered), threshold, rejected / len(unanswered))
    return made, worth
