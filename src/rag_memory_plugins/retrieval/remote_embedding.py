"""Embedders of OpenAI, Cohere and HuggingFace, each through its own library, imported at first use.

A text longer than the model reads becomes overlapping pieces. They are cut by UTF-8 bytes, because
a token is at least a byte: no tokenizer is needed to stay under a limit in tokens.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

import numpy as np

from rag_memory_plugins.errors import EmbedderError, InvalidInput, MissingExtra, shorten
from rag_memory_plugins.portal import Threads

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Vectors

__all__ = ["CohereEmbedder", "HuggingFaceEmbedder", "OpenAIEmbedder"]

Kind = Literal["query", "document"]
R = TypeVar("R")

CONNECT_SECONDS: Final = 2.0  # twice, with the one retry, stays under five
READ_SECONDS: Final = 30.0
QUERY_SECONDS: Final = 5.0  # a turn waits for it; without an answer the keywords answer alone


class _Remote(ABC):
    """What the three share: cutting, batches, checks, unit length, errors, the client's life.

    A client is bound to the loop that first uses it: await one embedder from one loop.
    """

    extra: ClassVar[str]
    module: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the key; the first is the documented one."""
    models: ClassVar[Mapping[str, tuple[int, int]]]
    """Dimension, and bytes of the longest piece, of each known model; the first is the default."""
    batch: ClassVar[int]
    """Pieces a request."""

    def __init__(
        self, model: str | None = None, client: Any = None, *, dimension: int | None = None
    ) -> None:
        self.model = model or next(iter(self.models))
        pieces = min(piece for _, piece in self.models.values())
        known, self._piece = self.models.get(self.model, (None, pieces))
        if dimension is None and known is None:
            names = ", ".join(self.models)
            remedy = f"pass the length of the vectors of {self.model!r}; known models: {names}"
            raise InvalidInput("dimension", None, remedy)
        if dimension is not None and (not isinstance(dimension, int) or dimension < 1):
            raise InvalidInput("dimension", dimension, "pass the length of the model's vectors")
        self.dimension: int = dimension or known or 0
        self.fingerprint = f"{self.extra}/{self.model}/{self.dimension}"
        self._asked = dimension if known and dimension != known else None
        self._client = client
        self._close: Callable[[], Awaitable[None]] | None = None
        self._worker: Threads | None = None
        if client is None:
            self._check_installed()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, dimension={self.dimension})"

    async def aembed_query(self, text: str) -> Vectors:
        """One question, shape (dimension,). Raises `EmbedderError`, at the latest after 5 s.

        Of a text longer than one piece the first piece is asked about.
        """
        pieces = _pieces(text, self._piece)[:1]
        if not pieces:
            raise EmbedderError("the query is empty; ask with at least one word")
        try:
            vectors = await asyncio.wait_for(self._ask(pieces, "query"), QUERY_SECONDS)
        except asyncio.TimeoutError as error:
            raise EmbedderError(
                f"{self.fingerprint} gave no vector in {QUERY_SECONDS:g} s; "
                "look at the network and the provider's status"
            ) from error
        if not vectors[0].any():
            raise EmbedderError(f"{self.fingerprint} gave a vector of length zero for the query")
        query: Vectors = vectors[0]
        return query

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its pieces, shape (pieces, dimension); an empty text gives none."""
        of_texts = [_pieces(text, self._piece) for text in texts]
        flat = [piece for of_text in of_texts for piece in of_text]
        answers = [
            await self._ask(flat[start : start + self.batch], "document")
            for start in range(0, len(flat), self.batch)
        ]
        rows = np.concatenate([np.empty((0, self.dimension), np.float32), *answers])
        ends = np.cumsum([len(of_text) for of_text in of_texts], dtype=np.intp)
        parts = np.split(rows, ends[:-1]) if of_texts else []
        return [part[part.any(axis=1)] for part in parts]  # zeros point nowhere

    async def aclose(self) -> None:
        """End the worker and close the client, unless it was passed in; a later call begins anew."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()
        close, self._close = self._close, None
        if close is not None:
            self._client = None
            await close()

    @abstractmethod
    async def _embed(self, client: Any, texts: list[str], kind: Kind) -> Any:
        """Rows of numbers, one a text, in order."""

    @abstractmethod
    def _make(self, module: Any) -> tuple[Any, Callable[[], Awaitable[None]]]:
        """A client of the imported `module`, and what closes it; may block."""

    def _check_installed(self) -> None:
        if importlib.util.find_spec(self.module) is None:
            raise MissingExtra(self.extra, type(self).__name__)
        if self.keys and not any(map(os.environ.get, self.keys)):
            raise EmbedderError(
                f"{type(self).__name__} needs a key: set the environment variable "
                f"{self.keys[0]}, or pass a built client"
            )

    async def _block(self, function: Callable[[], R]) -> R:
        if self._worker is None:
            self._worker = Threads(1, f"rag-memory-{self.extra}")
        return await self._worker.run(function)

    def _connect(self) -> None:
        if self._client is None:  # the worker is one thread: of two that ask, one gets here first
            self._client, self._close = self._make(importlib.import_module(self.module))

    async def _ask(self, texts: list[str], kind: Kind) -> Vectors:
        try:
            if self._client is None:  # importing these libraries takes a second, or ten
                await self._block(self._connect)
            return self._unit(await self._embed(self._client, texts, kind), len(texts))
        except EmbedderError:
            raise
        except ImportError as error:
            raise MissingExtra(self.extra, f"{type(self).__name__} ({error})") from error
        except Exception as error:  # a client's and its HTTP library's errors share no base class
            raise EmbedderError(f"{self.fingerprint} failed: {_reason(error)}") from error

    def _unit(self, rows: Any, count: int) -> Vectors:
        vectors: Vectors = np.asarray(rows, dtype=np.float32)
        if vectors.shape != (count, self.dimension):
            raise EmbedderError(
                f"{self.fingerprint} gave vectors of shape {vectors.shape}, expected "
                f"{(count, self.dimension)}; pass dimension= as the model gives it"
            )
        if not np.isfinite(vectors).all():
            raise EmbedderError(f"{self.fingerprint} gave vectors with NaN or infinity")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        unit: Vectors = vectors / lengths
        return unit


class OpenAIEmbedder(_Remote):
    """OpenAI's embeddings as an `Embedder`; needs the extra `openai` and OPENAI_API_KEY.

    `client` is a built `openai.AsyncOpenAI` (for Azure, a proxy or another server), which is never
    closed here. `dimension` shortens the vectors of text-embedding-3, and is required for a model
    that is not known. Raises `MissingExtra`, `EmbedderError`, `InvalidInput`.

    >>> OpenAIEmbedder("my-model")
    Traceback (most recent call last):
    rag_memory_plugins.errors.InvalidInput: dimension: got None; pass the length of the vectors of
    'my-model'; known models: text-embedding-3-small, text-embedding-3-large, text-embedding-ada-002
    """

    extra = "openai"
    module = "openai"
    keys = ("OPENAI_API_KEY",)
    models: ClassVar = {
        "text-embedding-3-small": (1536, 8000),
        "text-embedding-3-large": (3072, 8000),
        "text-embedding-ada-002": (1536, 8000),
    }
    batch = 32  # of 8,000 bytes each: under the 300,000 tokens that one request may hold

    def _make(self, module: Any) -> tuple[Any, Callable[[], Awaitable[None]]]:
        timeout = module.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        client = module.AsyncOpenAI(timeout=timeout, max_retries=1)
        return client, client.close

    async def _embed(self, client: Any, texts: list[str], kind: Kind) -> Any:
        more = {"dimensions": self._asked} if self._asked else {}
        answer = await client.embeddings.create(model=self.model, input=texts, **more)
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]


class CohereEmbedder(_Remote):
    """Cohere's embeddings as an `Embedder`; needs the extra `cohere` and CO_API_KEY.

    `client` is a built `cohere.AsyncClientV2`, which is never closed here. Queries and documents
    are sent with their own `input_type`. `dimension` shortens the vectors of embed-v4.0, and is
    required for a model that is not known. Raises `MissingExtra`, `EmbedderError`, `InvalidInput`.

    >>> CohereEmbedder(dimension=0)
    Traceback (most recent call last):
    rag_memory_plugins.errors.InvalidInput: dimension: got 0; pass the length of the model's vectors
    """

    extra = "cohere"
    module = "cohere"
    keys = ("CO_API_KEY", "COHERE_API_KEY")
    models: ClassVar = {
        "embed-v4.0": (1536, 8000),
        "embed-english-v3.0": (1024, 1500),  # v3 reads 512 tokens
        "embed-multilingual-v3.0": (1024, 1500),
        "embed-english-light-v3.0": (384, 1500),
        "embed-multilingual-light-v3.0": (384, 1500),
    }
    batch = 96  # the most that the API takes

    def _make(self, module: Any) -> tuple[Any, Callable[[], Awaitable[None]]]:
        httpx = importlib.import_module("httpx")  # cohere's own, and the only way to its timeouts
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        http = httpx.AsyncClient(timeout=timeout, follow_redirects=True)
        return module.AsyncClientV2(httpx_client=http), http.aclose

    async def _embed(self, client: Any, texts: list[str], kind: Kind) -> Any:
        more = {"output_dimension": self._asked} if self._asked else {}
        answer = await client.embed(
            model=self.model,
            texts=texts,
            input_type=f"search_{kind}",
            embedding_types=["float"],
            **more,
        )
        # The attribute is float_ because `float` is taken; a dictionary of it says "float".
        return answer.embeddings.float_


class HuggingFaceEmbedder(_Remote):
    """A sentence-transformers model as an `Embedder`; needs the extra `huggingface`.

    The model is downloaded at first use unless it is on the disk (HF_HUB_OFFLINE=1 forbids it); a
    query does not wait for that longer than 5 s. `client` is a built `SentenceTransformer`.
    `dimension` is required for a model that is not known. Raises `MissingExtra`, `EmbedderError`,
    `InvalidInput`.

    >>> HuggingFaceEmbedder(dimension=-1)
    Traceback (most recent call last):
    rag_memory_plugins.errors.InvalidInput: dimension: got -1; pass the length of the model's
    vectors
    """

    extra = "huggingface"
    module = "sentence_transformers"
    models: ClassVar = {
        "sentence-transformers/all-MiniLM-L6-v2": (384, 1000),
        "sentence-transformers/all-mpnet-base-v2": (768, 1500),
        "BAAI/bge-small-en-v1.5": (384, 2000),
        "BAAI/bge-base-en-v1.5": (768, 2000),
        "BAAI/bge-large-en-v1.5": (1024, 2000),
        "BAAI/bge-m3": (1024, 8000),
    }
    batch = 32

    def _make(self, module: Any) -> tuple[Any, Callable[[], Awaitable[None]]]:
        async def close() -> None:
            """Nothing but memory, which goes with the model."""

        return module.SentenceTransformer(self.model), close

    async def _embed(self, client: Any, texts: list[str], kind: Kind) -> Any:
        # Since version 5 a model knows its own prompts for either.
        encode = getattr(client, f"encode_{kind}", client.encode)
        return await self._block(lambda: encode(texts, show_progress_bar=False))


def _pieces(text: str, size: int) -> list[str]:
    """Pieces of at most `size` bytes of UTF-8, each beginning with a tenth of the last one."""
    data = text.strip().encode("utf-8", "replace")
    step = size - size // 10
    last = max(len(data) - size // 10, min(len(data), 1))
    # A character that a cut halves stands whole in the neighbour.
    return [data[at : at + size].decode("utf-8", "ignore") for at in range(0, last, step)]


def _reason(error: Exception) -> str:
    """One line: a client's message may hold a page of headers."""
    status = getattr(error, "status_code", None)
    told = getattr(error, "body", None) or str(error)
    return f"{type(error).__name__}{f' {status}' if status else ''}: {shorten(told, 200)}"
