"""What reads and writes texts: counters, embedders, rerankers, chat models, summarizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_memory_plugins.ports.log import Folded
    from rag_memory_plugins.results import SummaryLine
    from rag_memory_plugins.types import Message

    Vectors = NDArray[np.float32]
    TokenVectors = NDArray[np.int8]

__all__ = [
    "ChatModel",
    "Embedder",
    "Encoded",
    "Reranker",
    "Summarizer",
    "TokenCounter",
    "TokenEmbedder",
]


class TokenCounter(Protocol):
    """Counts tokens. Pure and quick: it is called on the event loop."""

    name: str
    """What counts, for people: "cl100k_base", "words"."""
    exact: bool
    """False for an estimate; a `Context` then says `tokens_exact=False`."""

    def count(self, text: str) -> int:
        """Tokens of one text."""

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order."""

    def count_messages(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages as a chat request: names, tool calls and framing count."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors.

    Methods are awaited on the portal's loop and must not be bound to another loop. Blocking work
    belongs in a worker thread. Equal texts give equal vectors, whatever else is in the batch.
    """

    @property
    def fingerprint(self) -> str:
        """Model, version and dimension: vectors of two fingerprints are never compared."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""

    async def aembed_query(self, text: str) -> Vectors:
        """One question as a float32 unit vector of shape (dimension,). Raises `EmbedderError`."""

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its pieces, float32 unit vectors of shape (pieces, dimension), in order.

        A text longer than the model reads gives several overlapping pieces; an empty text gives
        shape (0, dimension). Raises `EmbedderError`.
        """

    async def aclose(self) -> None:
        """Free threads and memory; called once, by the memory that opened it."""


@dataclass(frozen=True)
class Encoded:
    """A text as an embedder reads it: `vectors` of its pieces, and maybe a vector for each token.

    `vectors` are unit float32 of shape (pieces, dimension), one piece for a query. `tokens` are of
    shape (tokens, width), each row of about the same length; `spans` says of a query's tokens which
    characters each stands for. `passages` are of shape (passages, width), a row for each of
    `sentences.passages(text)` and one for a query, all of the same length, their most telling
    numbers first: a first look takes the first half.
    """

    vectors: Vectors
    tokens: TokenVectors | None = None
    spans: tuple[tuple[int, int], ...] = ()
    passages: TokenVectors | None = None


@runtime_checkable
class TokenEmbedder(Embedder, Protocol):
    """An embedder that gives token vectors too, which rank the first candidates more finely."""

    async def aencode_query(self, text: str) -> Encoded:
        """One question. Raises `EmbedderError`."""

    async def aencode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text as in `aembed_documents`, with its token vectors. Raises `EmbedderError`."""


@runtime_checkable
class Reranker(Protocol):
    """Reads a question beside each text and says how well the text answers it.

    It sees the first few dozen candidates only. One that fails leaves the order it was given and
    marks the result `degraded`.
    """

    @property
    def name(self) -> str:
        """What ranks, for people and events: "cross-encoder model.onnx"."""

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One finite score a text, in order, higher is better. Raises `RerankerError`."""

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""


@runtime_checkable
class ChatModel(Protocol):
    """Answers a chat: a provider's model, or one made of several."""

    @property
    def name(self) -> str:
        """Which model, for people and events."""

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The assistant's answer. Raises `ChatModelError`."""

    async def aclose(self) -> None:
        """Free connections; called once, by who made it."""


@runtime_checkable
class Summarizer(Protocol):
    """Folds turns that left the recent ones into a summary, without reading older turns again."""

    @property
    def name(self) -> str:
        """What summarises, for people and events."""

    @property
    def every(self) -> int:
        """Tokens of new turns that are worth a fold: few when a fold is cheap."""

    async def afold(
        self, lines: Sequence[SummaryLine], messages: Sequence[Message], limit: int
    ) -> Folded:
        """`lines` and what matters of `messages`, oldest first, in at most `limit` tokens.

        Every line rests on messages at hand or on lines it was made from. Raises `ChatModelError`
        or `EmbedderError` when it has nothing to fall back on.
        """

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""
