"""A conversation as the ranking sees it, held in memory: for asking the same questions many times.

The rows, columns and steps are the package's own; only the database is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from rag_memory_plugins.config import Recall
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.retrieval.corpus import Corpus, Row
from rag_memory_plugins.retrieval.cues import cues_of
from rag_memory_plugins.retrieval.dense import DenseRows
from rag_memory_plugins.retrieval.encoding import aencode_documents, aencode_query
from rag_memory_plugins.retrieval.lexical import terms_of
from rag_memory_plugins.retrieval.passages import Passages
from rag_memory_plugins.retrieval.retriever import Question, Ranking, rank
from rag_memory_plugins.retrieval.traits import index_text
from rag_memory_plugins.stores.rows import keyword_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag_memory_plugins import Message
    from rag_memory_plugins.ports import Embedder

__all__ = ["Field", "made", "question_of"]

LATER: Final = timedelta(days=1)
"""Questions are asked this long after the last message."""


@dataclass
class Field:
    """One scope's columns, its questions, and the rows that answer each."""

    name: str
    corpus: Corpus
    dense: DenseRows
    passages: Passages
    tokens: list[NDArray[np.int8] | None]
    now: datetime
    questions: list[Question] = field(default_factory=list)
    evidence: list[list[int]] = field(default_factory=list)

    def ranked(self, question: Question, settings: Recall, limit: int = 10) -> Ranking:
        """One question's ranking."""
        return rank(
            self.corpus,
            self.dense,
            question,
            limit,
            settings=settings,
            source=lambda rows: [self.tokens[row] for row in rows],
            passages=self.passages,
        )

    def recalls(self, settings: Recall) -> NDArray[np.float64]:
        """(R@5, R@10) of every question; shape (questions, 2)."""
        shares = []
        for question, wanted in zip(self.questions, self.evidence, strict=True):
            rows = [item.row for item in self.ranked(question, settings).rows]
            shares.append([len(set(wanted) & set(rows[:depth])) / len(wanted) for depth in (5, 10)])
        return np.array(shares)


def made(
    name: str,
    sessions: Mapping[str, Sequence[Message]],
    questions: Sequence[tuple[str, frozenset[str]]],
    embedder: Embedder,
) -> Field:
    """The field of a conversation and its (question, ids that answer it)."""
    said = [(session, message) for session in sessions for message in sessions[session]]
    numbers = {session: number for number, session in enumerate(sessions, 1)}
    corpus = Corpus()
    corpus.extend([_row(at, numbers[session], m) for at, (session, m) in enumerate(said, 1)])
    texts = ["" if m.role == "system" else index_text(m) for _, m in said]
    encoded = get_portal().call(aencode_documents(embedder, texts))
    dense = DenseRows(embedder.dimension)
    # As the index stores them.
    halves = [item.vectors.astype(np.float16).astype(np.float32) for item in encoded]
    dense.update(corpus, np.arange(len(said)), halves)
    passages = Passages()
    short = [item.passages for item in encoded]
    passages.put(
        np.arange(len(said)),
        [None if rows is None else rows.tobytes() for rows in short],
        [None if rows is None else rows.shape[1] for rows in short],
    )
    now = max(m.time for _, m in said) + LATER
    result = Field(name, corpus, dense, passages, [item.tokens for item in encoded], now)
    place = {m.id: at for at, (_, m) in enumerate(said)}
    for text, ids in questions:
        result.questions.append(question_of(text, embedder, now))
        result.evidence.append([place[key] for key in ids])
    return result


def question_of(text: str, embedder: Embedder, now: datetime) -> Question:
    """A question as a search makes it, asked at `now`."""
    encoded = get_portal().call(aencode_query(embedder, text))
    return Question(
        text,
        terms_of(text),
        cues_of(text, now),
        now,
        encoded.vectors[0],
        encoded.tokens,
        encoded.spans,
        encoded.passages,
    )


def _row(seq: int, session: int, message: Message) -> Row:
    columns = keyword_row(message)
    return Row(
        seq,
        session,
        columns["flags"],
        np.frombuffer(columns["terms"], "<u8"),
        np.frombuffer(columns["names"], "<u8"),
        np.frombuffer(columns["days"], "<i4"),
    )
