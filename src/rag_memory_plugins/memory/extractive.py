"""`ExtractiveSummarizer`: a rolling summary of sentences that were said, without a language model."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import EmbedderError, InvalidInput, shorten
from rag_memory_plugins.memory.condensing import KEYWORDS, VECTORS, condensed, keyword_likeness
from rag_memory_plugins.memory.statement import Statement
from rag_memory_plugins.memory.statements import of_lines, of_messages
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import Embedder, Folded
from rag_memory_plugins.tokens import make_counter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_memory_plugins.ports import TokenCounter, Vectors
    from rag_memory_plugins.results import SummaryLine
    from rag_memory_plugins.types import Message

__all__ = ["ExtractiveSummarizer", "checked_limit"]

FLOOR: Final = -1.3
"""Worth below which a sentence is not taken, whatever room there is: an assistant's question, code."""
MOST: Final = 400
"""New sentences that are compared with each other; of more, those of least worth are left out."""


class ExtractiveSummarizer:
    """Keeps the sentences that matter, in their own words; no language model.

    New sentences and the lines of the summary compete for the tokens. What counts: decisions,
    corrections, rules, goals, facts about the speaker; numbers, dates, names, identifiers; how
    central a sentence is by `embedder` (None: by keywords); the user's words above the
    assistant's. A correction takes the place of what it corrects, a statement that differs in a
    number alone the place of the older one. English cues are not asked of texts in other
    languages: there centrality, numbers and names remain.

    `embedder` is never closed here. `every` tokens of new turns are worth a fold. Vectors of the
    last lines are kept, `cache_bytes` of them, so that a fold embeds new sentences alone. Raises
    `InvalidInput`. An embedder that fails costs its part and is told in `degraded`.

    >>> import asyncio
    >>> from rag_memory_plugins.types import Message
    >>> said = [Message("user", "Hi! Let's launch on 3 June.", name="Ann", id="m1"),
    ...         Message("user", "Actually, move the launch to 10 June.", name="Ann", id="m2")]
    >>> folded = asyncio.run(ExtractiveSummarizer().afold([], said, 100))
    >>> [(line.text, line.ids) for line in folded.lines]
    [('Ann: Actually, move the launch to 10 June.', ('m2',))]
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        counter: TokenCounter | str | None = None,
        *,
        every: int = 600,
        cache_bytes: int = 8_000_000,
    ) -> None:
        if embedder is not None and not isinstance(embedder, Embedder):
            remedy = "pass None or a ports.Embedder; as_embedder of an adapter makes one"
            raise InvalidInput("embedder", embedder, remedy)
        self.embedder = embedder
        self.counter = make_counter(counter)
        self.every = checked("every", every, 1)
        self.cache_bytes = checked("cache_bytes", cache_bytes, 0)
        # By digest: a line that was erased must not stand here in clear.
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()

    @property
    def name(self) -> str:
        """What tells which sentences are central."""
        return f"extractive {self.embedder.fingerprint if self.embedder else 'keywords'}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, every={self.every})"

    async def afold(
        self, lines: Sequence[SummaryLine], messages: Sequence[Message], limit: int
    ) -> Folded:
        """`lines` and what matters of `messages` in at most `limit` tokens, as lines.

        Raises `InvalidInput`.
        """
        checked_limit(limit)
        acompute = get_portal().acompute
        pool = await acompute(lambda: self._pool(lines, messages))
        if all(item.old for item in pool) and self._tokens(pool) <= limit:
            return Folded(tuple(lines))
        vectors, degraded = await self._embedded([item.said for item in pool])

        def fold() -> tuple[SummaryLine, ...]:
            if vectors is None:
                keywords = keyword_likeness([item.terms for item in pool])
                return condensed(pool, keywords, KEYWORDS, limit, self.counter)
            return condensed(pool, vectors @ vectors.T, VECTORS, limit, self.counter)

        kept = await acompute(fold)
        if vectors is not None:
            self._keep(pool, vectors, {line.text for line in kept})
        return Folded(kept, degraded)

    async def aclose(self) -> None:
        """Forget the vectors; the embedder is its maker's."""
        self._vectors.clear()

    def _pool(self, lines: Sequence[SummaryLine], messages: Sequence[Message]) -> list[Statement]:
        named = {message.speaker for message in messages if message.role == "assistant"}
        new = [item for item in of_messages(messages, self.counter) if item.worth >= FLOOR]
        best = sorted(range(len(new)), key=lambda at: -new[at].worth)[:MOST]
        return [
            *of_lines(lines, frozenset(named | {"assistant"})),
            *(new[at] for at in sorted(best)),
        ]

    def _tokens(self, pool: Sequence[Statement]) -> int:
        return sum(self.counter.count_batch([f"{item.text}\n" for item in pool]))

    async def _embedded(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
        """(unit vectors of shape (texts, dimension) or None, why none)."""
        if self.embedder is None:  # asked for, so nothing is degraded
            return None, ()
        # The known ones are held from here on: another fold may push them out of the cache.
        known = {text: self._vectors.get(_key(text)) for text in dict.fromkeys(texts)}
        missing = [text for text, vector in known.items() if vector is None]
        try:
            made = await self.embedder.aembed_documents(missing) if missing else []
            known.update(zip(missing, map(self._mean, made), strict=True))
            return _stacked([known[text] for text in texts]), ()
        except Exception as error:  # a user's embedder may raise anything
            return None, (f"summary by keywords alone: {shorten(error)}",)

    def _mean(self, pieces: Vectors) -> Vectors:
        """A text's pieces as one unit vector; zeros for a text without any."""
        import numpy as np

        assert self.embedder is not None
        total = np.asarray(pieces, np.float32).reshape(-1, self.embedder.dimension).sum(axis=0)
        if not np.isfinite(total).all():
            raise EmbedderError(f"{self.embedder.fingerprint} gave NaN or infinity")
        length = float(np.linalg.norm(total))
        mean: Vectors = (total / length if length else total).astype(np.float32)
        return mean

    def _keep(
        self, pool: Sequence[Statement], vectors: NDArray[np.float32], lines: set[str]
    ) -> None:
        """Hold the vectors of the lines that stay: other sentences never come again."""
        for item, vector in zip(pool, vectors, strict=True):
            if item.text in lines:
                key = _key(item.said)
                self._vectors[key] = vector.copy()  # a row would keep its whole matrix
                self._vectors.move_to_end(key)
        most = self.cache_bytes // max(1, vectors.itemsize * vectors.shape[1])
        while len(self._vectors) > most:
            self._vectors.popitem(last=False)


def _stacked(vectors: Sequence[Vectors | None]) -> NDArray[np.float32]:
    import numpy as np

    stacked: NDArray[np.float32] = np.stack([vector for vector in vectors if vector is not None])
    return stacked


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def checked(name: str, value: object, least: int) -> int:
    """A whole number from `least`, or `InvalidInput` that names it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInput(name, value, f"pass a whole number from {least}")
    return value


def checked_limit(limit: object) -> int:
    """The tokens a summary may have. Raises `InvalidInput`."""
    return checked("limit", limit, 0)
