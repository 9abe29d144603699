"""One scope's messages as columns in memory: what ranking needs of them, and nothing else.

Rows are in the order of the log. Everything here is derived, grows by appending, and gives the
same bits whether it was loaded at once or row by row: each value is computed from the row's own
neighbourhood by the same operations in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rag_memory_plugins.retrieval.lexical import Postings, Spread
from rag_memory_plugins.types import Message

__all__ = ["ENDS_WITH_QUESTION", "NOT_RECALLED", "Column", "Corpus", "Row", "index_text", "traits"]

ENDS_WITH_QUESTION: Final = 1
NOT_RECALLED: Final = 2
"""System messages are kept in the log; they are instructions, not memories."""


def index_text(message: Message) -> str:
    """What is searched of a message: who said it if that is known, its text, its tool calls."""
    parts = [f"{message.name}: {message.content}" if message.name else message.content]
    parts += [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(part for part in parts if part)


def traits(message: Message) -> int:
    """The message's flags: what ranking asks of a text, decided once, when it is stored."""
    flags = 0
    # An image's caption in brackets may follow the question.
    if message.content.rstrip().partition(" [")[0].rstrip().endswith(("?", "\uff1f", "\u061f")):
        flags |= ENDS_WITH_QUESTION
    if message.role == "system" or not index_text(message).strip():
        flags |= NOT_RECALLED
    return flags


class Column:
    """A numpy array that grows by doubling. `values` is a view of what is filled.

    >>> column = Column(np.int32)
    >>> column.extend([1, 2, 3])
    >>> column.values.tolist()
    [1, 2, 3]
    """

    def __init__(self, dtype: DTypeLike, width: int | None = None) -> None:
        self._shape = () if width is None else (width,)
        self._data: NDArray[Any] = np.zeros((0, *self._shape), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[Any]:
        return self._data[: self._size]

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    def extend(self, values: Any) -> None:
        """Append `values`, an array or a sequence of rows."""
        added = np.asarray(values, self._data.dtype).reshape(-1, *self._shape)
        self.resize(self._size + len(added))
        self._data[self._size - len(added) : self._size] = added

    def resize(self, size: int) -> None:
        """Make the column `size` rows long; new rows are zero."""
        if size > len(self._data):
            # A scope loaded at once takes what it needs; one that grows doubles.
            capacity = size if not len(self._data) else max(size, 2 * len(self._data))
            grown = np.zeros((capacity, *self._shape), self._data.dtype)
            grown[: self._size] = self._data[: self._size]
            self._data = grown
        self._size = size


@dataclass(frozen=True)
class Row:
    """What the index holds of one message: `terms` as hashes, `flags` as made by `traits`."""

    seq: int
    session: int
    flags: int
    terms: NDArray[np.uint64]


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
        self._last_of_session: dict[int, int] = {}
        self.postings = Postings()

    def __len__(self) -> int:
        return len(self._seq)

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
    def spread_lengths(self) -> NDArray[np.float64]:
        return self._spread_length.values

    @property
    def spread(self) -> Spread:
        return Spread(self.before, self.after)

    def flagged(self, flag: int) -> NDArray[np.bool_]:
        """Which rows have the flag."""
        return np.asarray((self._flags.values & flag) != 0, np.bool_)

    def row_of(self, seqs: Sequence[int]) -> NDArray[np.intp]:
        """Row numbers of these messages, which must be in the corpus."""
        return np.searchsorted(self.seq, np.asarray(seqs, np.int64))

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
        )
        return sum(column.nbytes for column in columns) + self.postings.nbytes

    def extend(self, rows: Sequence[Row]) -> None:
        """Append rows, which must be newer than every row here."""
        if not rows:
            return
        start = len(self)
        before = [-1] * len(rows)
        linked: list[tuple[int, int]] = []
        for number, row in enumerate(rows, start):
            previous = self._last_of_session.get(row.session, -1)
            before[number - start] = previous
            if previous >= 0:
                linked.append((previous, number))
            self._last_of_session[row.session] = number
        self._seq.extend([row.seq for row in rows])
        self._session.extend([row.session for row in rows])
        self._flags.extend([row.flags for row in rows])
        self._length.extend([len(row.terms) for row in rows])
        self._before.extend(before)
        self._after.extend(np.full(len(rows), -1, np.int32))
        if linked:
            earlier, later = np.array(linked).T
            self._after.values[earlier] = later
        self.postings.extend([row.terms for row in rows])
        self._spread_length.resize(len(self))
        affected = self._reached_back(np.arange(start, len(self), dtype=np.int32))
        lengths = self.spread.lengths(self._length.values, affected)
        self._spread_length.values[affected] = lengths

    def _reached_back(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """`rows` and those before them that they reach: whose lengths the new rows change."""
        reached = [rows]
        at = rows
        for _ in range(Spread.REACH):
            at = self.before[at]
            at = at[at >= 0]
            reached.append(at)
        return np.unique(np.concatenate(reached))
