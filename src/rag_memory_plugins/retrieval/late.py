"""Late interaction: each token of a question finds its nearest token near a candidate.

Khattab and Zaharia, "ColBERT", arXiv 2004.12832, over the first candidates alone: over all it is a
thousand times dearer than one product a row. A candidate's neighbours lend their tokens at a loss,
so that an answer is found by the words of the turns around it. Question tokens weigh by the rarity
of their word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.retrieval.corpus import Corpus
from rag_memory_plugins.retrieval.lexical import terms_of

__all__ = ["TokenSource", "late_scores", "token_weights"]

Tokens = NDArray[np.int8]
Floats = NDArray[np.float32]
TokenSource = Callable[[Sequence[int]], list[Tokens | None]]
"""Token vectors of corpus rows, None of a row that has none."""

FUNCTION_WORD: Final = 3.0
"""What a stop word weighs, as much as a word of one row in twenty: a question's turn of phrase
is read with the words around it, and counts (0.5 loses .004 of R@5, and on other talk too)."""
ONE_THREAD: Final = 262_144
"""Multiplications of one product: OpenBLAS shares larger ones among threads."""
LOSS_BEFORE: Final = (0.9, 0.8)
LOSS_AFTER: Final = (0.85, 0.75)
"""What a token of the 1st and 2nd row before or after a candidate counts of its own."""


def token_weights(text: str, spans: Sequence[tuple[int, int]], corpus: Corpus) -> Floats:
    """For each token the inverse document frequency of the word it is of; shape (tokens,)."""
    words = _words(text, spans)
    weights = np.zeros(len(spans), np.float32)
    for tokens, word in words:
        terms = terms_of(word)
        if terms:
            weights[tokens] = max(corpus.idf(term) for term in terms)
        elif any(sign.isalnum() for sign in word):
            weights[tokens] = FUNCTION_WORD
    return weights


def _words(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[list[int], str]]:
    """(tokens, word) for tokens that touch one another without a blank between them."""
    words: list[tuple[list[int], int, int]] = []
    for token, (start, end) in enumerate(spans):
        joined = (
            words
            and words[-1][2] == start
            and (text[start:end].isalnum() and text[start - 1].isalnum())
        )
        if joined:
            tokens, first, _ = words[-1]
            words[-1] = ([*tokens, token], first, end)
        else:
            words.append(([token], start, end))
    return [(tokens, text[start:end]) for tokens, start, end in words]


def late_scores(
    corpus: Corpus,
    rows: NDArray[np.intp],
    question: Tokens,
    weights: Floats,
    source: TokenSource,
) -> tuple[Floats, NDArray[np.bool_]]:
    """(score of each of `rows`, whether it has tokens at all); shape (rows,).

    Scores are weighted means of cosines.
    """
    rings = _around(corpus, rows)
    mask = np.zeros(len(corpus) + 1, np.bool_)
    for ring, _ in rings:
        mask[ring] = True  # -1, for none, marks the one row more
    wanted = np.flatnonzero(mask[:-1])
    found = source(wanted.tolist())
    kept = [tokens for tokens in found if tokens is not None and len(tokens)]
    if not kept or not weights.any():
        return np.zeros(len(rows), np.float32), np.zeros(len(rows), np.bool_)
    best = _maxima(kept, question[weights > 0])
    # One row more, for what is not there: it never wins, and -1 points at it.
    place = np.full(len(corpus) + 1, len(kept), np.intp)
    held = [tokens is not None and len(tokens) > 0 for tokens in found]
    place[wanted[held]] = np.arange(len(kept))
    padded = np.concatenate([best, np.zeros((1, best.shape[1]), np.float32)])
    reached = padded[place[rows]]
    for ring, loss in rings[1:]:
        np.maximum(reached, np.float32(loss) * padded[place[ring]], out=reached)
    asked = question[weights > 0].astype(np.float32)
    share = weights[weights > 0] / (weights.sum() * np.square(asked).sum(axis=1).mean())
    # A product would add in another order for another number of rows, and change the last bits.
    return (reached * share).sum(axis=1), place[rows] < len(kept)


def _around(corpus: Corpus, rows: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], float]]:
    """(rows at each distance, -1 for none; what their tokens count)."""
    rings: list[tuple[NDArray[np.intp], float]] = [(rows, 1.0)]
    for step, losses in ((corpus.before, LOSS_BEFORE), (corpus.after, LOSS_AFTER)):
        at = rows
        for loss in losses:
            at = np.where(at >= 0, step[at], -1)
            rings.append((at, loss))
    return rings


def _maxima(rows: Sequence[Tokens], question: Tokens) -> Floats:
    """For each row and question token the largest product; shape (rows, question tokens)."""
    starts = np.cumsum([0, *(len(tokens) for tokens in rows[:-1])])
    flat = np.concatenate(rows)
    asked = np.ascontiguousarray(question.astype(np.float32).T)
    products = np.empty((len(flat), asked.shape[1]), np.float32)
    # In slices that BLAS leaves to one thread: its helpers spin on after each product (dense.py).
    step = max(1, ONE_THREAD // asked.size)
    for start in range(0, len(flat), step):
        part = flat[start : start + step].astype(np.float32)
        np.dot(part, asked, out=products[start : start + step])
    maxima: Floats = np.maximum.reduceat(products, starts, axis=0)
    return maxima
