"""Ranked texts cut down to the sentences that answer a question, within a number of tokens.

A sentence scores by three lanes, each in standard deviations over all sentences at hand: BM25 of
its words and, fading, of its neighbours' words; the place of its text in the ranking; and, where
there are vectors, its cosine to the question. The lanes weigh the same: other weights gained
nothing that held on another corpus (`docs/benchmarks.md`). Framework-free: texts in, spans out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from rag_memory_plugins.errors import EmbedderError, InvalidBudget, InvalidInput
from rag_memory_plugins.retrieval.lexical import terms_of
from rag_memory_plugins.retrieval.sentences import sentences

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder, TokenCounter

__all__ = ["Trimmed", "atrim", "trim"]

Floats = NDArray[np.float64]
Span = tuple[int, int]

GAP, LINE_GAP = " … ", "\n…\n"
"""Stands where sentences were left out, so that nobody reads those around as adjoining; the second
where a line ended between them, as in tables, lists and code. One token more than a blank."""
BETWEEN: Final = "\n\n"

K1, B = 0.9, 0.4
FADE, REACH = 0.6, 3
KEYWORD_FLOOR: Final = 0.5
COSINE_FLOOR: Final = 0.03
REPEATED: Final = 20
"""Characters from which an equal sentence is an overlap of two texts, and not a "Yes."."""
EMBEDDED: Final = 3
"""How many times the budget is embedded: all sentences keep 0.006 more at 400 tokens, else none."""
_HEADING: Final = re.compile(r"#{1,6}\s")


@dataclass(frozen=True)
class Trimmed:
    """What was kept of ranked texts.

    `spans` holds for every text the (start, end) of what was kept, in order; `texts` the same as
    strings, "" for a text of which nothing was; `text` those that are left, joined, and `tokens`
    its count, never above the budget. `degraded` says which lane could not run, and why.

    >>> from rag_memory_plugins.tokens import make_counter
    >>> text = "We met in May. The boat is green. It rained."
    >>> trim("Which colour is the boat?", [text], 8, make_counter("words"))
    Trimmed(spans=(((15, 33),),), texts=('The boat is green.',), text='The boat is green.',
            tokens=6, degraded=())
    """

    spans: tuple[tuple[Span, ...], ...]
    texts: tuple[str, ...]
    text: str
    tokens: int
    degraded: tuple[str, ...] = ()


def trim(
    query: str,
    texts: Sequence[str],
    budget: int,
    counter: TokenCounter,
    cosines: Sequence[Floats] | None = None,
) -> Trimmed:
    """Keep what answers `query` of `texts`, best text first, in at most `budget` tokens.

    `cosines` holds for each text the question's cosine to each of `sentences(text)`, NaN where it
    is not known. A markdown heading comes with its sentences while there is room. A sentence that
    overlapping texts share is kept once. Raises `InvalidBudget`, `InvalidInput`.
    """
    pool = _Pool(query, texts, counter)
    known = np.concatenate([np.empty(0), *cosines]) if cosines is not None else None
    if known is not None and len(known) != len(pool.spans):
        remedy = f"pass one for each of the {len(pool.spans)} sentences of the texts"
        raise InvalidInput("cosines", len(known), remedy)
    return _kept(pool, pool.scores(known), _checked(budget))


async def atrim(
    query: str,
    texts: Sequence[str],
    budget: int,
    counter: TokenCounter,
    embedder: Embedder,
) -> Trimmed:
    """`trim` with the cosines of the sentences that the other lanes rank first.

    An embedder that fails leaves those lanes and a reason in `degraded`. Raises `InvalidBudget`.
    """
    pool = _Pool(query, texts, counter)
    scores = pool.scores(None)
    order = np.argsort(-scores, kind="stable")
    enough = int(np.searchsorted(pool.tokens[order].cumsum(), EMBEDDED * _checked(budget))) + 1
    first = [int(at) for at in order[:enough] if np.isfinite(scores[at])]
    degraded: tuple[str, ...] = ()
    if first:
        try:
            vector = await embedder.aembed_query(query)
            made = await embedder.aembed_documents([pool.strings[at] for at in first])
        except EmbedderError as error:
            degraded = (f"sentences by keywords alone: {error}",)
        else:
            cosines = np.full(len(pool.strings), np.nan)
            for at, pieces in zip(first, made, strict=True):
                if len(pieces):
                    cosines[at] = float((pieces @ vector).max())
            scores = pool.scores(cosines)
    return _kept(pool, scores, budget, degraded)


class _Pool:
    """Every sentence of the texts, in order, with what the lanes ask of it."""

    def __init__(self, query: str, texts: Sequence[str], counter: TokenCounter) -> None:
        self.query, self.texts, self.counter = query, texts, counter
        self.spans: list[Span] = []
        of_text: list[int] = []
        for number, text in enumerate(texts):
            spans = sentences(text)
            self.spans += [(start, start + len(text[start:end].rstrip())) for start, end in spans]
            of_text += [number] * len(spans)
        self.text = np.array(of_text, np.intp)
        self.strings = [
            texts[number][start:end].lstrip()
            for number, (start, end) in zip(of_text, self.spans, strict=True)
        ]

    @cached_property
    def tokens(self) -> NDArray[np.intp]:
        """Tokens of every sentence, and one for what joins it to the next."""
        return np.array(self.counter.count_batch(self.strings), np.intp) + 1

    def scores(self, cosines: Floats | None) -> Floats:
        """Of every sentence, shape (sentences,); -inf for one without text and for a repetition."""
        total = _standard(self._keywords, KEYWORD_FLOOR) + _standard(-np.log1p(self.text), 1e-4)
        if cosines is not None:
            known = np.isfinite(cosines)
            total[known] += _standard(cosines[known], COSINE_FLOOR)
        result = np.full(len(total), -np.inf)
        np.maximum.at(result, self._original, total)
        result[[not string for string in self.strings]] = -np.inf
        return result

    @cached_property
    def _keywords(self) -> Floats:
        """Soft-window BM25 over the sentences; shape (sentences,)."""
        counts = [Counter(terms_of(string)) for string in self.strings]
        lengths = self._spread(np.array([sum(count.values()) for count in counts], np.float64))
        relative = lengths / max(float(lengths.mean()), 1e-9) if len(lengths) else lengths
        total = np.zeros(len(counts))
        for term in set(terms_of(self.query)):
            found = np.array([count[term] for count in counts], np.float64)
            rows = np.count_nonzero(found)
            if rows:
                weight = np.log1p((len(counts) - rows + 0.5) / (rows + 0.5))
                near = self._spread(found)
                total += weight * near * (K1 + 1) / (near + K1 * (1 - B + B * relative))
        return total

    def _spread(self, values: Floats) -> Floats:
        """Each value and, faded, those of the sentences beside it in its text."""
        result = values.copy()
        for step in range(1, min(REACH, len(values) - 1) + 1):
            beside = (self.text[step:] == self.text[:-step]) * FADE**step
            result[step:] += beside * values[:-step]
            result[:-step] += beside * values[step:]
        return result

    @cached_property
    def _original(self) -> NDArray[np.intp]:
        """For each sentence the place of the one it repeats, or its own."""
        plain = [" ".join(string.split()) for string in self.strings]
        result = list(range(len(plain)))
        first: dict[str, int] = {}
        for at, key in enumerate(plain):
            other = first.setdefault(key, at)
            # Within one text a repeated line is that text's own: a refrain, a row of a table.
            if len(key) >= REPEATED and self.text[other] != self.text[at]:
                result[at] = other
        # Texts that overlap are cut inside sentences: a part at an edge may stand whole elsewhere.
        starts, ends = np.diff(self.text, prepend=-1), np.diff(self.text, append=-1)
        for at in np.flatnonzero((starts != 0) | (ends != 0)).tolist():
            part = plain[at]
            if len(part) >= REPEATED and result[at] == at:
                for other, key in enumerate(plain):
                    longer = len(key) > len(part) and self.text[other] != self.text[at]
                    if longer and part in key:
                        result[at] = other
                        break
        # A whole is longer than its part: from the longest down, each is led to the last whole.
        for at in sorted(range(len(plain)), key=lambda at: -len(plain[at])):
            result[at] = result[result[at]]
        return np.array(result, np.intp)

    def headings(self) -> list[int]:
        """For each sentence the place of the markdown heading it stands under, -1 for none."""
        result, above = [], -1
        for at, string in enumerate(self.strings):
            if above >= 0 and self.text[above] != self.text[at]:
                above = -1
            if _HEADING.match(string):
                above = at
            result.append(above if above != at else -1)
        return result


def _kept(pool: _Pool, scores: Floats, budget: int, degraded: tuple[str, ...] = ()) -> Trimmed:
    """Sentences by score while they fit, then joined and counted once more."""
    order = [int(at) for at in np.argsort(-scores, kind="stable") if np.isfinite(scores[at])]
    heads = pool.headings()
    kept: list[int] = []
    spans, text = _joined(pool, kept)
    tokens = pool.counter.count(text)
    # Tokens of parts are not those of the whole: what joining saved is filled again, and if it
    # cost something, what came in last goes.
    room = budget - tokens + 1  # nothing follows the last
    while room > 0 and (added := _fitting(pool, order, heads, set(kept), room)):
        kept += added
        spans, text = _joined(pool, kept)
        tokens = pool.counter.count(text)
        room = budget - tokens
    while tokens > budget and kept:
        kept.pop()
        spans, text = _joined(pool, kept)
        tokens = pool.counter.count(text)
    texts = tuple(map(_with_gaps, pool.texts, spans))
    return Trimmed(spans, texts, text, tokens, degraded)


def _fitting(
    pool: _Pool, order: Sequence[int], heads: Sequence[int], kept: set[int], room: int
) -> list[int]:
    """The next sentences by score that fit into `room`, each after its heading."""
    added: list[int] = []
    for at in order:
        if at in kept:
            continue
        head = heads[at]
        both = [head, at] if head >= 0 and head not in kept else [at]
        for group in (both, [at]):
            cost = int(pool.tokens[group].sum())
            if cost <= room:
                room -= cost
                kept.update(group)
                added += group
                break
    return added


def _joined(pool: _Pool, kept: Sequence[int]) -> tuple[tuple[tuple[Span, ...], ...], str]:
    """(spans of every text, the text they make): neighbours make one span."""
    spans: list[list[Span]] = [[] for _ in pool.texts]
    last = -2
    for at in sorted(kept):
        some, end = spans[pool.text[at]], pool.spans[at][1]
        if some and last == at - 1:
            some[-1] = (some[-1][0], end)
        else:
            some.append((end - len(pool.strings[at]), end))
        last = at
    texts = map(_with_gaps, pool.texts, spans)
    return tuple(tuple(some) for some in spans), BETWEEN.join(filter(None, texts))


def _with_gaps(text: str, spans: Sequence[Span]) -> str:
    parts: list[str] = []
    last = 0
    for start, end in spans:
        if parts:
            parts.append(LINE_GAP if "\n" in text[last:start] else GAP)
        parts.append(text[start:end])
        last = end
    return "".join(parts)


def _standard(values: Floats, floor: float) -> Floats:
    """Standard deviations from the mean; `floor` is a spread that means nothing yet."""
    if not len(values):
        return values
    result: Floats = (values - values.mean()) / np.sqrt(values.var() + floor**2)
    return result


def _checked(budget: int) -> int:
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 0:
        raise InvalidBudget("budget", budget, "pass a number of tokens, an int >= 0")
    return budget
