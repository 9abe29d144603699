"""One tenant's outcomes: a ring of prompts, and what the nearest of them say about a new one.

Worth of a model's answer = a straight line in the prior, plus what the answers to the nearest
prompts differ from it, summed and divided by their number + `SHRINK`: few outcomes, or mixed ones,
leave the line. The gain is the strong model's worth less the weak one's.

Not thread-safe: `outcomes` holds a lock over each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Numbers = NDArray[np.float64]

__all__ = ["FAR", "Fit", "History", "closest", "differences", "gain", "line", "neighbours"]

NEIGHBOURS: Final = 100
SHARE: Final = 5  # a fifth of few outcomes
CLOSEST: Final = 10
SHRINK: Final = 10.0  # as many outcomes as the line counts for
FIRST: Final = 64  # rows
BLOCK: Final = 16  # rows
FAR: Final = 0.1  # so many of a tenant's own prompts count as unlike the others
LATEST: Final = 50  # prompts over which it is seen that they have become others
COLUMNS: Final = ("_vectors", "_priors", "_worth", "_differences")


@dataclass(frozen=True)
class Fit:
    """What is learnt of all of a tenant's outcomes at once.

    `weak` and `strong` are lines, (intercept, slope) in the prior. `gains` and `priors` are sorted,
    as long as each other. `floor` is how close to what is known a prompt must be.
    """

    weak: tuple[float, float]
    strong: tuple[float, float]
    gains: Numbers
    priors: Numbers
    floor: float

    def value(self, gain: float) -> float:
        """The prior at the gain's rank.

        So whatever threshold a policy has, as many prompts pass it as pass it by the prior; and
        values can be compared with the prior of a prompt that is far from what is known.
        """
        import numpy as np

        return float(np.interp(gain, self.gains, self.priors))


def line(priors: Numbers, worth: Numbers) -> tuple[float, float]:
    """Least squares (intercept, slope) over what is known; flat if priors are all the same."""
    import numpy as np

    known = np.isfinite(worth)
    x, y = priors[known], worth[known]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 1e-12 else 0.0
    return float(y.mean()) - slope * float(x.mean()), slope


def differences(
    weak: tuple[float, float], strong: tuple[float, float], priors: Numbers, worth: Numbers
) -> Floats:
    """Shape (prompts, 4): for weak and strong what worth differs from its line, and if it is known."""
    import numpy as np

    result = np.zeros((len(priors), 4), np.float32)
    for at, (intercept, slope) in enumerate((weak, strong)):
        known = np.isfinite(worth[:, at])
        off = worth[:, at] - (intercept + slope * priors)
        result[:, 2 * at] = np.where(known, off, 0)
        result[:, 2 * at + 1] = known
    return result


def gain(
    weak: tuple[float, float],
    strong: tuple[float, float],
    prior: Numbers | float,
    near: Sequence[Numbers | float],
) -> Numbers | float:
    """Of a prompt, or of many: `near` are the four sums of `differences` over the nearest."""
    weak_off, weak_known, strong_off, strong_known = near
    base = strong[0] - weak[0] + (strong[1] - weak[1]) * prior
    return base + strong_off / (strong_known + SHRINK) - weak_off / (weak_known + SHRINK)


def neighbours(rows: int) -> int:
    """How many of so many prompts count as near."""
    return max(1, min(NEIGHBOURS, rows // SHARE))


class History:
    """Up to `capacity` prompts, the newest: vectors, priors, and what answers were worth."""

    def __init__(self, dimension: int, capacity: int) -> None:
        import numpy as np

        self._capacity = capacity
        self._vectors = np.zeros((0, dimension), np.float32)
        self._priors = np.zeros(0)
        self._worth = np.zeros((0, 2))  # weak, strong; nan where it is not known
        self._differences = np.zeros((0, 4), np.float32)
        self._users: list[object] = []
        self._oldest = 0
        self.fit: Fit | None = None
        self.fresh = 0  # prompts since `fit` was last set
        self.version = 0  # changes when prompts are dropped on demand
        self.far = FAR
        """Share of the latest prompts that were unlike what is known."""

    def __len__(self) -> int:
        return len(self._users)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(getattr(self, name).nbytes for name in COLUMNS)

    def add(self, user: object, vector: Floats, prior: float, worth: Sequence[float]) -> None:
        """Keep a prompt, in place of the oldest when there is no room."""
        at = len(self)
        if at == self._capacity:
            at = self._oldest
            self._oldest = (at + 1) % self._capacity
            self._users[at] = user
        else:
            self._make_room(at + 1)
            self._users.append(user)
        self._vectors[at], self._priors[at], self._worth[at] = vector, prior, worth
        self.fresh += 1
        if self.fit is not None:
            one = slice(at, at + 1)
            self._differences[one] = differences(
                self.fit.weak, self.fit.strong, self._priors[one], self._worth[one]
            )

    def near(self, vector: Floats, fit: Fit, prior: float) -> tuple[float, float, int]:
        """(the gain of a prompt, how close it is to what is known, how many prompts say so).

        Counts it among the latest.
        """
        rows = len(self)
        count = neighbours(rows)
        alike = self._alike(vector)
        at = alike.argpartition(rows - count)[rows - count :]
        sums = self._differences.take(at, axis=0).sum(axis=0).tolist()
        found = gain(fit.weak, fit.strong, prior, sums)
        close = float(closest(alike.take(at)))
        self.far += ((close < fit.floor) - self.far) / LATEST
        return float(found), close, count

    def columns(self) -> tuple[Floats, Numbers, Numbers]:
        """Copies of vectors, priors and worth, for work that takes long."""
        rows = len(self)
        return self._vectors[:rows].copy(), self._priors[:rows].copy(), self._worth[:rows].copy()

    def learn(self, fit: Fit | None) -> None:
        """Go by `fit` from now on."""
        self.fit, self.fresh = fit, 0
        if fit is not None:
            rows = len(self)
            self._differences[:rows] = differences(
                fit.weak, fit.strong, self._priors[:rows], self._worth[:rows]
            )

    def forget(self, user: object) -> int:
        """Drop a user's prompts, and what was learnt with them; how many there were."""
        order = [*range(self._oldest, len(self)), *range(self._oldest)]
        kept = [at for at in order if self._users[at] != user]
        gone = len(self) - len(kept)
        if gone:
            # New arrays: nothing of what was dropped stays behind in unused rows.
            self._copy(kept, len(kept))
            self._users = [self._users[at] for at in kept]
            self._oldest, self.fit, self.version = 0, None, self.version + 1
        return gone

    def _alike(self, vector: Floats) -> Floats:
        """The cosine of every prompt; shape (prompts,)."""
        rows = len(self)
        # In blocks so small that BLAS shares none among threads: on a busy machine these wait for
        # each other, and 0.1 ms became 7. The same numbers by `einsum` take twice as long.
        blocks = self._vectors[: _whole(rows)].reshape(-1, BLOCK, self._vectors.shape[1])
        cosines: Floats = (blocks @ vector).ravel()[:rows]
        return cosines

    def _make_room(self, rows: int) -> None:
        held = len(self._priors)
        if rows > held:
            self._copy(slice(held), min(max(FIRST, 2 * held), self._capacity))

    def _copy(self, kept: Sequence[int] | slice, room: int) -> None:
        """Move these rows to the front of new arrays with room for so many."""
        import numpy as np

        for name in COLUMNS:
            old = getattr(self, name)[kept]
            new = np.zeros((_whole(room), *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


def _whole(rows: int) -> int:
    """So many rows in whole blocks."""
    return -(-rows // BLOCK) * BLOCK


def closest(alike: Floats) -> Floats:
    """The mean of the largest few along the last axis: how close prompts are to what is known."""
    import numpy as np

    few = min(CLOSEST, alike.shape[-1])
    mean: Floats = np.partition(alike, -few, axis=-1)[..., -few:].mean(axis=-1)
    return mean
