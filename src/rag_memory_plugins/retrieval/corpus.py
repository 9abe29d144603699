"""One scope's messages as columns in memory: what ranking needs of them, and nothing else.

Rows are in the order of the log. Everything here is derived, grows by appending, and gives the
same bits whether it was loaded at once or row by row: each value is computed from the row's own
neighbourhood by the same operations in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rag_memory_plugins.retrieval.cues import names_something, tells_time
from rag_memory_plugins.retrieval.lexical import Postings, Spread
from rag_memory_plugins.retrieval.sentences import sentences
from rag_memory_plugins.types import Message

__all__ = [
    "BY_ASSISTANT",
    "BY_USER",
    "ENDS_WITH_QUESTION",
    "NAMES_SOMETHING",
    "NOT_RECALLED",
    "ONLY_ASKS",
    "TELLS_TIME",
    "Column",
    "Corpus",
    "Row",
    "index_text",
    "traits",
]

ENDS_WITH_QUESTION: Final = 1
NOT_RECALLED: Final = 2
"""System messages are kept in the log; they are instructions, not memories."""
TELLS_TIME: Final = 4
NAMES_SOMETHING: Final = 8
ONLY_ASKS: Final = 16
BY_USER: Final = 32
BY_ASSISTANT: Final = 64


def index_text(message: Message) -> str:
    """What is searched of a message: who said it if that is known, its text, its tool calls."""
    parts = [f"{message.name}: {message.content}" if message.name else message.content]
    parts += [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(part for part in parts if part)


def traits(message: Message) -> int:
    """The message's flags: what ranking asks of a text, decided once, when it is stored."""
    text = message.content
    flags = {"user": BY_USER, "assistant": BY_ASSISTANT}.get(message.role, 0)
    # An image's caption in brackets may follow the question.
    said = text.rstrip().partition(" [")[0].rstrip()
    if said.endswith(_MARKS):
        flags |= ENDS_WITH_QUESTION
        if all(part.rstrip().endswith(_MARKS) for part in _parts(said)):
            flags |= ONLY_ASKS
    if message.role == "system" or not index_text(message).strip():
        flags |= NOT_RECALLED
    if tells_time(text):
        flags |= TELLS_TIME
    if names_something(text):
        flags |= NAMES_SOMETHING
    return flags


_MARKS: Final = ("?", "\uff1f", "\u061f")


def _parts(text: str) -> list[str]:
    """The sentences of a short text that say something: greetings do not."""
    parts = [text[start:end].strip() for start, end in sentences(text)]
    return [part for part in parts if len(part.split()) > _GREETING or part.endswith(_MARKS)]


_GREETING: Final = 4


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
    def answers(self) -> NDArray[np.bool_]:
        """Which rows follow one that ends with a question."""
        asks = self.flagged(ENDS_WITH_QUESTION)
        return (self.before >= 0) & asks[self.before]

    @property
    def spread_lengths(self) -> NDArray[np.float64]:
        return self._spread_length.values

    @property
    def spread(self) -> Spread:
        return Spread(self.before, self.after)

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
            self._speaker,
            self._day,
            self._told_row,
            self._told_day,
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
        self._speaker.extend([self._number_of(row.names) for row in rows])
        self._day.extend([int(row.days[0]) for row in rows])
        told = [(start + at, day) for at, row in enumerate(rows) for day in row.days[1:]]
        if told:
            self._told_row.extend([row for row, _ in told])
            self._told_day.extend([day for _, day in told])
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

    def _number_of(self, names: NDArray[np.uint64]) -> int:
        if not len(names):
            return 0
        number = self._speakers.setdefault(names.tobytes(), len(self._speakers) + 1)
        for word in names.tolist():
            self._named.setdefault(word, set()).add(number)
        return number

    def _reached_back(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """`rows` and those before them that they reach: whose lengths the new rows change."""
        reached = [rows]
        at = rows
        for _ in range(Spread.REACH):
            at = self.before[at]
            at = at[at >= 0]
            reached.append(at)
        return np.unique(np.concatenate(reached))
