"""Which rows hold which terms, and BM25 over them.

BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009. Term frequencies of a
turn are its own plus those of its neighbours in the session, faded: an answer is found by the
words of the question before it.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Postings", "Spread", "bm25"]

K1: Final = 0.9
B: Final = 0.4

KEPT: Final = 32
"""Words whose rows are kept after they were looked up."""
SMALL: Final = 4_096
"""Rows up to which a column of all of them costs less than choosing some."""
TABLE: Final = 4 * SMALL
"""Terms times rows up to which all terms are spread at once: so few that a step of it costs more
than what it does."""
FREQUENT: Final = 12
"""A word of one row in so many is spread by shifting columns instead of following its rows."""


class Postings:
    """Which rows of a scope hold a term, and how often.

    A sorted base (all rows up to the last merge) and an unsorted tail of newer rows; the tail is
    merged when it is larger than an eighth of the base, so that adding a row costs O(1) amortised
    and a look-up O(log terms + rows found + tail).
    """

    def __init__(self) -> None:
        self.count = 0
        # By the first 16 bits of the hash, which numpy sorts by radix: 10,000 turns in 1 ms and by
        # all 64 in 10. A look-up compares the few terms that share them.
        self._keys = np.empty(0, np.uint16)
        self._terms = np.empty(0, np.uint64)
        self._rows = np.empty(0, np.int32)
        self._tail: list[tuple[NDArray[np.uint64], NDArray[np.int32]]] = []
        self._tail_size = 0
        self._gone: NDArray[np.bool_] | None = None
        self.removed = 0
        # A search asks thrice for each of its words: for scores, token weights and signals.
        self._found: dict[int, tuple[NDArray[np.int32], float]] = {}

    def extend(self, batch: Sequence[NDArray[np.uint64]]) -> None:
        """Add the terms of the next rows."""
        if batch:
            self.append(np.concatenate(batch), np.array([len(terms) for terms in batch]))

    def append(self, terms: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
        """Add the terms of the next rows, one row's after the other's, `counts` of each."""
        numbers = np.arange(self.count, self.count + len(counts), dtype=np.int32)
        self._tail.append((terms, np.repeat(numbers, counts)))
        self._tail_size += len(terms)
        self.count += len(counts)
        if self._gone is not None:
            self._gone = np.concatenate([self._gone, np.zeros(len(counts), np.bool_)])
        self._found.clear()
        if self._tail_size > max(2_048, len(self._terms) // 8):
            self._merge()

    def remove(self, rows: NDArray[np.intp]) -> None:
        """Leave these rows, of those that are here, out of every look-up and every count."""
        if self._gone is None:
            self._gone = np.zeros(self.count, np.bool_)
        self._gone[rows] = True
        self.removed = int(np.count_nonzero(self._gone))
        self._found.clear()

    def _joined(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """(terms, rows) of the tail, joined once for all look-ups."""
        if len(self._tail) > 1:
            terms, rows = zip(*self._tail, strict=True)
            self._tail = [(np.concatenate(terms), np.concatenate(rows))]
        return self._tail[0]

    def _merge(self) -> None:
        new_terms, new_rows = self._joined()
        terms = np.concatenate([self._terms, new_terms])
        rows = np.concatenate([self._rows, new_rows])
        keys = (terms >> np.uint64(48)).astype(np.uint16)
        order = np.argsort(keys, kind="stable")  # stable keeps rows ascending inside a term
        self._keys, self._terms, self._rows = keys[order], terms[order], rows[order]
        self._tail, self._tail_size = [], 0

    def find(self, term: int) -> NDArray[np.int32]:
        """Rows of a term, ascending, each as often as the term stands in it."""
        return self._looked_up(term)[0]

    def idf(self, term: int) -> float:
        """Inverse document frequency of a term over single rows; the most for an unknown one."""
        return self._looked_up(term)[1]

    def _looked_up(self, term: int) -> tuple[NDArray[np.int32], float]:
        """(rows of a term, its inverse document frequency)."""
        known = self._found.get(term)
        if known is not None:
            return known
        key, short = np.uint64(term), np.uint16(term >> 48)
        low = self._keys.searchsorted(short, "left")
        high = self._keys.searchsorted(short, "right")
        rows: NDArray[np.int32] = self._rows[low:high][self._terms[low:high] == key]
        if self._tail_size:
            terms, tail_rows = self._joined()
            rows = np.concatenate([rows, tail_rows[terms == key]])
        if self._gone is not None:
            rows = rows[~self._gone[rows]]
        holding = 1 + int(np.count_nonzero(rows[1:] != rows[:-1])) if len(rows) else 0
        if len(self._found) >= KEPT:
            self._found.clear()
        idf = float(np.log1p((self.count - self.removed - holding + 0.5) / (holding + 0.5)))
        self._found[term] = rows, idf
        return rows, idf

    @property
    def nbytes(self) -> int:
        base = self._keys.nbytes + self._terms.nbytes + self._rows.nbytes
        found = sum(rows.nbytes for rows, _ in self._found.values())
        return base + 12 * self._tail_size + found


@dataclass(frozen=True)
class Spread:
    """How a row's terms reach its neighbours in the session.

    `before` and `after` hold for each row the row said just before and after it, -1 for none. The
    d-th row after a term takes `FORWARD ** d` of its frequency, the d-th row before it
    `BACKWARD ** d`, up to `REACH` rows. `side_by_side` says that each row before another stands
    just above it: no sessions were held at the same time.
    """

    before: NDArray[np.int32]
    after: NDArray[np.int32]
    side_by_side: bool = False

    FORWARD: ClassVar[float] = 0.6
    BACKWARD: ClassVar[float] = 0.4
    REACH: ClassVar[int] = 4

    def of(self, rows: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """(rows that a term reaches from those it stands in, its spread frequency in each).

        `rows` holds a row as often as the term stands in it.
        """
        count = len(self.before)
        if self.side_by_side and len(rows) * FREQUENT > count > SMALL:
            everywhere = self._shifted(rows)
        else:
            flat, weights = self._beside(rows) if self.side_by_side else self._followed(rows)
            if count > SMALL:
                return _counted(flat, weights, count)
            everywhere = np.asarray(np.bincount(flat, weights, minlength=count), np.float64)
        near = np.flatnonzero(everywhere != 0)  # of flags, not of floats: six times quicker
        return near, everywhere[near]

    def table(self, found: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
        """The spread frequency of each term in every row, given each one's rows; (terms, rows).

        For neighbours that stand side by side.
        """
        count, whole = len(self.before), len(self.before) * len(found)
        first = np.arange(0, whole, count, dtype=np.int32).repeat([len(rows) for rows in found])
        flat, weights = self._beside(np.concatenate(found), first)
        return np.asarray(np.bincount(flat, weights, whole), np.float64).reshape(-1, count)

    def _followed(self, rows: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(rows reached, what each gets): `rows`, those after them by distance, those before."""
        reached, spread = [rows], [np.ones(len(rows))]
        for step, fade in ((self.after, self.FORWARD), (self.before, self.BACKWARD)):
            at, weight = rows, 1.0
            for _ in range(self.REACH):
                at = step[at]
                at = at[at >= 0]
                weight *= fade
                reached.append(at)
                spread.append(np.full(len(at), weight))
        return np.concatenate(reached), np.concatenate(spread)

    def _beside(
        self, rows: NDArray[np.int32], first: NDArray[np.int32] | int = 0
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """`_followed`, in the same order, where neighbours stand side by side: all steps at once.

        A word of few rows takes 20 us, and followed step by step 60. What a row reaches is
        numbered from its `first`.
        """
        reached = rows + _STEPS[:, None]
        blocks = self._blocks.take(reached + self.REACH)
        same = blocks == blocks[0]  # the first step goes nowhere
        return (reached + first)[same], _FADES.repeat(np.add.reduce(same, axis=1))

    @cached_property
    def _blocks(self) -> NDArray[np.int32]:
        """For each row the number of its session, with `REACH` rows of none at both ends."""
        blocks = np.zeros(len(self.before) + 2 * self.REACH, np.int32)
        np.cumsum(self.before < 0, out=blocks[self.REACH : -self.REACH])
        return blocks

    def _shifted(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """The spread frequency in every row, to the same bits, where neighbours stand side by side.

        For a word of one row in five of 100,000, 0.4 ms; by following the rows 1.9. A row's
        repeats are added one by one after it, as counting adds them.
        """
        result = np.zeros(len(self.before))
        result[rows] = 1.0
        once, repeats = result.copy(), rows[1:][rows[1:] == rows[:-1]]
        np.add.at(result, repeats, 1.0)
        moved, room = once.copy(), np.empty(len(result))
        ends = (slice(1, None), slice(None, -1))
        for step, links, fade, (to, of), edge in (
            (self.after, self._links[0], self.FORWARD, ends, 0),
            (self.before, self._links[1], self.BACKWARD, ends[::-1], -1),
        ):
            moved[:], at, weight = once, repeats, 1.0
            for _ in range(self.REACH):
                np.multiply(moved[of], links, out=room[to])
                room[edge] = 0.0
                moved, room = room, moved
                result += moved
                at = step[at]
                at = at[at >= 0]
                weight *= fade
                np.add.at(result, at, weight)
        return result

    @cached_property
    def _links(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What goes on from each row to the next, and back from the next; shape (rows - 1,)."""
        linked = (self.before[1:] >= 0).astype(np.float64)
        return linked * self.FORWARD, linked * self.BACKWARD

    @property
    def nbytes(self) -> int:
        made = self.__dict__
        blocks = [made["_blocks"]] if "_blocks" in made else []
        return sum(column.nbytes for column in (*made.get("_links", ()), *blocks))

    def lengths(self, lengths: NDArray[np.float64], rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """The spread length of `rows`: their own plus what reaches them from their neighbours."""
        total = lengths[rows].copy()
        for step, fade in ((self.before, self.FORWARD), (self.after, self.BACKWARD)):
            at = rows
            weight = np.ones(len(rows))
            for _ in range(self.REACH):
                at = np.where(at >= 0, step[at], -1)
                weight = weight * fade
                total += np.where(at >= 0, lengths[at] * weight, 0.0)
        return total


_STEPS: Final = np.array([0, 1, 2, 3, 4, -1, -2, -3, -4], np.int32)
_FADES: Final = np.array(
    [
        1.0,
        *itertools.accumulate([Spread.FORWARD] * Spread.REACH, operator.mul),
        *itertools.accumulate([Spread.BACKWARD] * Spread.REACH, operator.mul),
    ]
)


def _counted(
    flat: NDArray[np.int32], weights: NDArray[np.float64], count: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(different rows of `flat`, the sum of the weights of each).

    Counted among the rows that are reached: among 100,000 it takes 0.2 ms more for each word.
    """
    marked = np.zeros(count, np.bool_)
    marked[flat] = True
    near = np.flatnonzero(marked)
    place = np.empty(count, np.intp)
    place[near] = np.arange(len(near))
    return near, np.asarray(np.bincount(place[flat], weights), np.float64)


def bm25(
    postings: Postings, query: list[int], lengths: NDArray[np.float64], spread: Spread
) -> NDArray[np.float64]:
    """Scores of every row for the query's terms; shape (rows,), higher is better, 0 for no match.

    `lengths` are the rows' spread lengths; IDF counts single rows, not spread ones.
    """
    count = len(lengths)
    scores = np.zeros(count)
    if not count:
        return scores
    mean = np.add.reduce(lengths) / max(1, count - postings.removed)
    norm = K1 * (1 - B + B * lengths / (mean or 1.0))
    terms = dict.fromkeys(query)
    known = [(rows, postings.idf(term)) for term in terms if len(rows := postings.find(term))]
    if spread.side_by_side and 0 < len(known) * count <= TABLE:
        table = spread.table([rows for rows, _ in known])
        for (_, idf), frequency in zip(known, table, strict=True):
            scores += idf * frequency * (K1 + 1) / (frequency + norm)
        return scores
    for rows, idf in known:
        near, frequency = spread.of(rows)
        scores[near] += idf * frequency * (K1 + 1) / (frequency + norm[near])
    return scores
