"""One scope's messages as columns in memory: what ranking needs of them, and nothing else.

Rows are in the order of the log. Everything here is derived, grows by appending, and gives the
same bits whether it was loaded at once or row by row: each value is computed from the row's own
neighbourhood by the same operations in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.columns import Column
from rag_memory_plugins.retrieval.postings import Postings, Spread
from rag_memory_plugins.retrieval.traits import ENDS_WITH_QUESTION, NOT_RECALLED, STANDS_ALONE

__all__ = ["Corpus", "Row"]

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Row:
    """What the index holds of one message: `terms` as hashes, `flags` as made by `traits`.

    `names` are hashes of the words of the speaker's name; `days` the day it was said, then those
    that its text speaks of (see `retrieval.dates`).
    """

    seq: int
    session: int
    flags: int
    terms: NDArray[np.uint64]
    names: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    days: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))


class Corpus:
    """The rows of one scope, appended in the order of the log."""

    def __init__(self) -> None:
        self._seq = Column(np.int64)
        self._session = Column(np.int64)
        self._flags = Column(np.int32)
        self._before = Column(np.int32)
        self._after = Column(np.int32)
        self._length = Column(np.float64)
        self._spread_length = Column(np.float64)
        self._speaker = Column(np.int32)
        self._day = Column(np.int32)
        self._told_row = Column(np.int32)
        self._told_day = Column(np.int32)
        self._speakers: dict[bytes, int] = {}
        self._named: dict[int, set[int]] = {}
        self._last_of_session: dict[int, int] = {}
        self.postings = Postings()
        self.side_by_side = True
        self._derived: dict[str, NDArray[Any]] = {}
        self._spread: Spread | None = None

    def __len__(self) -> int:
        return len(self._seq)

    @property
    def held(self) -> int:
        """How many rows there are without those that were removed."""
        return len(self) - self.postings.removed

    @property
    def seq(self) -> NDArray[np.int64]:
        return self._seq.values

    @property
    def session(self) -> NDArray[np.int64]:
        return self._session.values

    @property
    def before(self) -> NDArray[np.int32]:
        """For each row the row said before it in its session, -1 for none."""
        return self._before.values

    @property
    def after(self) -> NDArray[np.int32]:
        """For each row the row said after it in its session, -1 for none."""
        return self._after.values

    @property
    def answers(self) -> NDArray[np.bool_]:
        """Which rows follow one that ends with a question."""
        return self.derived("answers", self._answers)

    def _answers(self) -> NDArray[np.bool_]:
        asks = self.flagged(ENDS_WITH_QUESTION)
        return (self.before >= 0) & asks[self.before]

    def derived(self, name: str, make: Callable[[], NDArray[T]]) -> NDArray[T]:
        """A column made of others, kept for all searches until the next row; not to be written."""
        if name not in self._derived:
            self._derived[name] = make()
        return self._derived[name]

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Terms of each row."""
        return self._length.values

    @property
    def spread_lengths(self) -> NDArray[np.float64]:
        return self._spread_length.values

    @property
    def spread(self) -> Spread:
        if self._spread is None:
            self._spread = Spread(self.before, self.after, self.side_by_side)
        return self._spread

    def idf(self, term: int) -> float:
        """Inverse document frequency of a term, over single rows."""
        return self.postings.idf(term)

    @property
    def speaker(self) -> NDArray[np.int32]:
        """For each row a number of the speaker's name, 0 for none."""
        return self._speaker.values

    def speakers_named(self, words: Iterable[int]) -> set[int]:
        """Numbers of the speakers whose name has one of these words, as hashes."""
        return {number for word in words for number in self._named.get(word, ())}

    @property
    def speakers(self) -> int:
        """How many different names speak."""
        return len(self._speakers)

    @property
    def day(self) -> NDArray[np.int32]:
        """For each row the day it was said."""
        return self._day.values

    @property
    def told(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(rows, days) that texts speak of."""
        return self._told_row.values, self._told_day.values

    def flagged(self, flag: int) -> NDArray[np.bool_]:
        """Which rows have the flag; not to be written."""
        return self.derived(f"flag {flag}", lambda: (self._flags.values & flag) != 0)

    def row_of(self, seqs: Sequence[int]) -> NDArray[np.intp]:
        """Row numbers of these messages, which must be in the corpus."""
        return np.searchsorted(self.seq, np.asarray(seqs, np.int64))

    def remove(self, seqs: NDArray[np.int64]) -> NDArray[np.intp]:
        """Leave out those of these messages that are here, from all scores; return their rows.

        For items, which stand alone: the rest then scores as if they had never been here, but for
        the last bits of a product, which BLAS rounds by where a row stands.
        """
        rows = np.flatnonzero(np.isin(self.seq, seqs))
        if len(rows):
            self._derived = {}
            self._flags.values[rows] |= NOT_RECALLED
            self._length.values[rows] = self._spread_length.values[rows] = 0.0
            self.postings.remove(rows)
        return rows

    @property
    def nbytes(self) -> int:
        columns = (
            self._seq,
            self._session,
            self._flags,
            self._before,
            self._after,
            self._length,
            self._spread_length,
            self._speaker,
            self._day,
            self._told_row,
            self._told_day,
        )
        made = sum(column.nbytes for column in self._derived.values())
        spread = self._spread.nbytes if self._spread is not None else 0
        return sum(column.nbytes for column in columns) + self.postings.nbytes + made + spread

    def extend(self, rows: Sequence[Row]) -> None:
        """Append rows, which must be newer than every row here."""
        self.append(
            [row.seq for row in rows],
            [row.session for row in rows],
            [row.flags for row in rows],
            [row.terms.tobytes() for row in rows],
            [row.names.tobytes() for row in rows],
            [row.days.tobytes() for row in rows],
        )

    def append(
        self,
        seqs: Sequence[int],
        sessions: Sequence[int],
        flags: Sequence[int],
        terms: Sequence[bytes],
        names: Sequence[bytes],
        days: Sequence[bytes],
    ) -> None:
        """Append rows by column, as they are stored: see `Row`.

        A column is converted as one: 10,000 rows take 4 ms, and as objects of their own 24.
        """
        if not seqs:
            return
        start = len(self)
        self._derived, self._spread = {}, None
        self._seq.extend(seqs)
        self._session.extend(sessions)
        self._flags.extend(flags)
        self._speaker.extend(self._numbers_of(names))
        self._tell(start, days)
        counts = np.fromiter(map(len, terms), np.int64, len(terms)) // 8
        self._length.extend(counts)
        self.postings.append(np.frombuffer(b"".join(terms), "<u8"), counts)
        self._link(start)
        self._spread_length.resize(len(self))
        affected = self._reached_back(start)
        lengths = self.spread.lengths(self._length.values, affected)
        self._spread_length.values[affected] = lengths

    def _link(self, start: int) -> None:
        """Set what is said before and after the rows from `start` on, and beside them."""
        session = self.session[start:]
        alone = (self._flags.values[start:] & STANDS_ALONE) != 0
        if alone.any():  # a scope has items or what was said, never both
            self._before.extend(np.full(len(session), -1, np.int32))
            self._after.extend(np.full(len(session), -1, np.int32))
            return
        order = np.argsort(session, kind="stable")
        same = session[order[1:]] == session[order[:-1]]
        before = np.full(len(session), -1, np.int32)
        before[order[1:][same]] = order[:-1][same] + start
        # The first of each session here goes on from the last of those that were there.
        for at in order[np.concatenate([[True], ~same])].tolist():
            before[at] = self._last_of_session.get(int(session[at]), -1)
        for at in order[np.concatenate([~same, [True]])].tolist():
            self._last_of_session[int(session[at])] = at + start
        self._before.extend(before)
        self._after.extend(np.full(len(session), -1, np.int32))
        linked = np.flatnonzero(before >= 0)
        self._after.values[before[linked]] = linked + start
        self.side_by_side &= bool((before[linked] == linked + start - 1).all())

    def _tell(self, start: int, days: Sequence[bytes]) -> None:
        """Keep the day each row was said, and those that its text speaks of."""
        counts = np.fromiter(map(len, days), np.int64, len(days)) // 4
        flat = np.frombuffer(b"".join(days), "<i4")
        first = (np.cumsum(counts) - counts)[counts > 0]
        said = np.zeros(len(days), np.int32)  # a row of the first version has none
        said[counts > 0] = flat[first]
        self._day.extend(said)
        told = np.ones(len(flat), np.bool_)
        told[first] = False
        self._told_row.extend(np.repeat(np.arange(start, len(self), dtype=np.int32), counts)[told])
        self._told_day.extend(flat[told])

    def _numbers_of(self, names: Sequence[bytes]) -> list[int]:
        for name in dict.fromkeys(names):
            if name and name not in self._speakers:
                number = self._speakers[name] = len(self._speakers) + 1
                for word in np.frombuffer(name, "<u8").tolist():
                    self._named.setdefault(word, set()).add(number)
        return [self._speakers[name] if name else 0 for name in names]

    def _reached_back(self, start: int) -> NDArray[np.int32]:
        """The rows from `start` on and those before them that they reach: whose lengths change.

        By marks: the first `np.unique` of a process loads numpy.ma, 20 ms.
        """
        marked = np.zeros(len(self), np.bool_)
        marked[start:] = True
        at = self.before[start:]
        for _ in range(Spread.REACH):
            at = at[at >= 0]
            marked[at] = True
            at = self.before[at]
        return np.flatnonzero(marked).astype(np.int32)
