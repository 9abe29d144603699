"""What a router between two models is worth: APGR and CPT of RouteLLM (arXiv 2406.18665).

Prompts are sent to the strong model by falling score. With c the share that is sent, PGR(c) is the
part of the gap between all-weak (0) and all-strong (1) that is recovered; above 1 when the weak model
answers better what it keeps. APGR is the mean of PGR over c from 0 to 1: a random router has 0.5.
CPT(x) is the smallest c, in percent, at which PGR reaches x percent. The paper takes ten steps of c;
here the curve is taken whole, a point for each prompt and straight lines between them. Prompts of
equal score come in random order: on average that too is a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Numbers = NDArray[np.float64]

__all__ = ["apgr", "bounds", "cpt"]

DRAWS: Final = 1_000
BATCH: Final = 1_000_000  # numbers at a time: 8 MB
OUTSIDE: Final = 0.025  # on either side of 95 %


def apgr(weak: ArrayLike, strong: ArrayLike, scores: ArrayLike) -> float:
    """Average performance gap recovered when prompts go to the strong model by falling `scores`.

    `weak` and `strong` are what each model's answer was worth, a number a prompt. Raises
    `InvalidInput`, also when the strong model is not the better one: there is no gap then.

    >>> apgr(weak=[1, 0, 1, 0], strong=[1, 1, 1, 1], scores=[1, 3, 0, 2])
    0.75
    """
    gains, starts = _by_score(weak, strong, scores)
    _check_gap(gains)
    return float(_areas(gains, starts, None)[0])


def cpt(weak: ArrayLike, strong: ArrayLike, scores: ArrayLike, percent: float) -> float:
    """Percent of prompts the strong model must answer to recover `percent` of the gap.

    The first place where the curve is that high. Raises `InvalidInput` as `apgr`.

    >>> cpt([1, 0, 1, 0], [1, 1, 1, 1], [1, 3, 0, 2], 50)
    25.0
    """
    import numpy as np

    if not 0 <= percent <= 100:
        raise InvalidInput("percent", percent, "pass a number from 0 to 100")
    gains, starts = _by_score(weak, strong, scores)
    _check_gap(gains)
    sent = np.append(starts, len(gains))
    got = np.concatenate([[0.0], np.cumsum(np.add.reduceat(gains, starts))])
    got *= 100 / got[-1]
    got[-1] = 100.0  # and not a rounding below it
    at = int(np.argmax(got >= percent))
    if at == 0:
        return 0.0
    part = (percent - got[at - 1]) / (got[at] - got[at - 1])
    return float(100 * (sent[at - 1] + part * (sent[at] - sent[at - 1])) / len(gains))


def bounds(
    weak: ArrayLike,
    strong: ArrayLike,
    scores: ArrayLike,
    *,
    draws: int = DRAWS,
    seed: int = 1,
) -> tuple[float, float]:
    """95 % bounds of `apgr`: the prompts drawn anew with replacement, `draws` times.

    A draw without a gap bounds nothing: it counts as -inf below and as inf above, so few prompts
    with a small gap give infinite bounds. Raises `InvalidInput` as `apgr`.

    >>> low, high = bounds([0, 1] * 50, [1, 1] * 50, [1, 0] * 50)
    >>> low <= apgr([0, 1] * 50, [1, 1] * 50, [1, 0] * 50) <= high
    True
    """
    import numpy as np

    if not isinstance(draws, int) or draws < 1:
        raise InvalidInput("draws", draws, "pass an int from 1")
    gains, starts = _by_score(weak, strong, scores)
    _check_gap(gains)
    random, count = np.random.default_rng(seed), len(gains)
    found: list[Numbers] = []
    step = max(1, BATCH // count)
    for begin in range(0, draws, step):
        rows = min(step, draws - begin)
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        found.append(_areas(gains, starts, times))
    areas = np.sort(np.concatenate(found))
    none = np.isnan(areas)
    low, high = np.where(none, -np.inf, areas), np.where(none, np.inf, areas)
    return (
        float(np.quantile(low, OUTSIDE, method="lower")),
        float(np.quantile(high, 1 - OUTSIDE, method="higher")),
    )


def _by_score(
    weak: ArrayLike, strong: ArrayLike, scores: ArrayLike
) -> tuple[Numbers, NDArray[np.intp]]:
    """(what the strong model gains, by falling score; where each run of equal scores begins)."""
    import numpy as np

    columns = [_column(n, v) for n, v in (("weak", weak), ("strong", strong), ("scores", scores))]
    lengths = [len(column) for column in columns]
    if not lengths[0] or len(set(lengths)) > 1:
        raise InvalidInput("scores", lengths, "pass as many of each, and at least one")
    order = np.argsort(-columns[2], kind="stable")
    ranked = columns[2][order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    return (columns[1] - columns[0])[order], starts


def _column(name: str, values: ArrayLike) -> Numbers:
    import numpy as np

    column: Numbers = np.asarray(values, np.float64)
    if column.ndim != 1 or not np.isfinite(column).all():
        raise InvalidInput(name, column.shape, "pass one row of finite numbers")
    return column


def _check_gap(gains: Numbers) -> None:
    if gains.sum() <= 0:
        mean = round(float(gains.mean()), 6)
        raise InvalidInput("strong", mean, "it must be worth more than weak on the whole")


def _areas(
    gains: Numbers, starts: Sequence[int] | NDArray[np.intp], times: NDArray[np.intp] | None
) -> Numbers:
    """The area under PGR for each row of `times`, how often each prompt counts; nan without a gap.

    A prompt's gain stays in the curve from where it is sent to the end, so it adds itself times the
    share of prompts behind it, half of its equals among them.
    """
    import numpy as np

    counts = np.ones((1, len(gains))) if times is None else times
    sizes = np.add.reduceat(counts, starts, axis=1)
    won = np.add.reduceat(counts * gains, starts, axis=1)
    behind = 1 - (np.cumsum(sizes, axis=1) - sizes / 2) / len(gains)
    gap = won.sum(axis=1)
    area = (won * behind).sum(axis=1)
    result: Numbers = np.full(len(gap), np.nan)
    np.divide(area, gap, out=result, where=gap > 0)
    return result
