"""Late interaction: each token of a question finds its nearest token near a candidate.

Khattab and Zaharia, "ColBERT", arXiv 2004.12832, over the first candidates alone: over all it is a
thousand times dearer than one product a row. A candidate's neighbours lend their tokens at a loss,
so that an answer is found by the words of the turns around it. Question tokens weigh by the rarity
of their word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.forgetting import keeps_texts
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
LONG: Final = 64
"""Terms above which a row lends its tokens to none; a few sentences of talk have fewer."""
LOSS_BEFORE: Final = (0.9, 0.8)
LOSS_AFTER: Final = (0.85, 0.75)
"""What a token of the 1st and 2nd row before or after a candidate counts of its own."""
_COUNTS: Final = np.array([1.0, *LOSS_BEFORE, *LOSS_AFTER], np.float32)[:, None, None]


def token_weights(text: str, spans: Sequence[tuple[int, int]], corpus: Corpus) -> Floats:
    """For each token the inverse document frequency of the word it is of; shape (tokens,)."""
    weights: list[float] = []
    for tokens, word in _words(text, spans):
        weight = 0.0
        if terms := _terms(word):
            weight = max(map(corpus.idf, terms))
        elif any(sign.isalnum() for sign in word):
            weight = FUNCTION_WORD
        weights += [weight] * tokens
    return np.array(weights, np.float32)


@keeps_texts
@lru_cache(maxsize=4_096)
def _terms(word: str) -> tuple[int, ...]:
    """`terms_of` one word; questions share most of theirs."""
    return tuple(terms_of(word))


def _words(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
    """(how many tokens, word) of tokens that touch one another without a blank between them."""
    words: list[tuple[int, int, int]] = []
    for start, end in spans:
        joined = (
            words
            and words[-1][2] == start
            and (text[start:end].isalnum() and text[start - 1].isalnum())
        )
        if joined:
            tokens, first, _ = words[-1]
            words[-1] = (tokens + 1, first, end)
        else:
            words.append((1, start, end))
    return [(tokens, text[start:end]) for tokens, start, end in words]


def late_scores(
    corpus: Corpus,
    rows: NDArray[np.intp],
    question: Tokens,
    weights: Floats,
    source: TokenSource,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(score of each of `rows`, by its own tokens alone, whether it has any); shape (rows,).

    Scores are weighted means of cosines.
    """
    around = _around(corpus, rows)
    mask = np.zeros(len(corpus) + 1, np.bool_)
    mask[around] = True  # -1, for none, marks the one row more
    wanted = np.flatnonzero(mask[:-1])
    found = source(wanted.tolist())
    kept = [tokens for tokens in found if tokens is not None and len(tokens)]
    heard = weights > 0
    if not kept or not heard.any():
        nothing = np.zeros(len(rows), np.float32)
        return nothing, nothing, np.zeros(len(rows), np.bool_)
    if len(kept) < len(found):
        wanted = wanted[[tokens is not None and len(tokens) > 0 for tokens in found]]
    asked = question[heard].astype(np.float32)
    # One row more, for what is not there: it never wins, and -1 points at it.
    best = np.zeros((len(kept) + 1, len(asked)), np.float32)
    _maxima(kept, asked, best[:-1])
    place = np.full(len(corpus) + 1, len(kept), np.intp)
    place[wanted] = np.arange(len(kept))
    places = place[around]
    nearest = best[places]
    reached = np.maximum.reduce(nearest * _COUNTS, axis=0)
    share = weights[heard] / (weights.sum() * np.square(asked).sum(axis=1).mean())
    # A product would add in another order for another number of rows, and change the last bits.
    own = (nearest[0] * share).sum(axis=1)
    return (reached * share).sum(axis=1), own, places[0] < len(kept)


def _around(corpus: Corpus, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """`rows`, then those at each distance as in `_COUNTS`, -1 for none; shape (5, rows)."""
    around = np.empty((len(_COUNTS), len(rows)), np.intp)
    around[0] = rows
    for first, step in ((1, corpus.before), (3, corpus.after)):
        near = around[first] = step[rows]
        around[first + 1] = np.where(near >= 0, step[near], -1)
    # A long one has many tokens, and says most of them about something else.
    around[1:][corpus.lengths[around[1:]] > LONG] = -1
    return around


def _maxima(rows: Sequence[Tokens], asked: Floats, out: Floats) -> None:
    """For each row and question token the largest product, into `out` (rows, question tokens).

    Products of whole numbers of one byte, and so exact in whatever order they are added.
    """
    lengths = np.fromiter(map(len, rows), np.intp, len(rows))
    starts = lengths.cumsum() - lengths
    flat = np.concatenate(rows)
    columns = np.ascontiguousarray(asked.T)
    products = np.empty((len(flat), len(asked)), np.float32)
    # In slices that BLAS leaves to one thread: its helpers spin on after each product (dense.py).
    step = max(1, ONE_THREAD // asked.size)
    for start in range(0, len(flat), step):
        part = flat[start : start + step].astype(np.float32)  # whole it would leave the caches
        np.dot(part, columns, out=products[start : start + step])
    np.maximum.reduceat(products, starts, axis=0, out=out)
