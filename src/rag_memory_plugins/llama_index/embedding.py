"""A LlamaIndex embedding model as our `Embedder`, and our local model as one of LlamaIndex's."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput, MissingExtra
from rag_memory_plugins.portal import get_portal, strict
from rag_memory_plugins.ports import Embedder
from rag_memory_plugins.retrieval.embedding import default_embedder
from rag_memory_plugins.retrieval.whole import listed, whole
from rag_memory_plugins.retrieval.wrapped import PIECE_CHARACTERS, WrappedEmbedder

__all__ = ["LocalEmbedding", "as_embedder"]


class LocalEmbedding(BaseEmbedding):
    """The local model, MiniLM in int8 on two threads, as `embed_model=` of an index.

    No key and no download: it comes with the extra `local`. A vector has 384 numbers and length 1;
    a text longer than the model reads gets the mean of its pieces' vectors. Runs beside the event
    loop. Raises `MissingExtra`, `EmbedderError` (for a text without any word).

    >>> model = LocalEmbedding()
    >>> boat, ship, tax = model.get_text_embedding_batch(["a boat", "a ship", "the tax form"])
    >>> bool(model.similarity(boat, ship) > model.similarity(boat, tax))
    True
    """

    _embedder: Embedder = PrivateAttr()

    @strict
    def __init__(self, *, embed_batch_size: int = 32) -> None:
        embedder = default_embedder()
        if embedder is None:
            raise MissingExtra("local", "LocalEmbedding")
        fields: dict[str, Any] = {
            "model_name": embedder.fingerprint,
            "embed_batch_size": embed_batch_size,
        }
        super().__init__(**fields)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "LocalEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return listed(get_portal().call(self._embedder.aembed_query(query), "embed a query"))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return listed(await get_portal().acall(self._embedder.aembed_query(query)))

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found = get_portal().call(self._embedder.aembed_documents(texts), "embed texts")
        return whole(found)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return whole(await get_portal().acall(self._embedder.aembed_documents(texts)))


def as_embedder(
    model: BaseEmbedding,
    *,
    dimension: int | None = None,
    name: str | None = None,
    piece_characters: int = PIECE_CHARACTERS,
) -> WrappedEmbedder:
    """`model` for `open_memory(..., embedder=as_embedder(model))`.

    With `dimension` left out, the model embeds one word now to tell it. `name` replaces the class
    and `model_name` in the fingerprint; pass one where two models would look the same.
    Raises `InvalidInput` for anything but a `BaseEmbedding`, `EmbedderError` if the model fails.

    >>> from llama_index.core.embeddings import MockEmbedding
    >>> as_embedder(MockEmbedding(embed_dim=8))
    WrappedEmbedder('llama-index:MockEmbedding:unknown:8:2000')
    """
    if not isinstance(model, BaseEmbedding):
        raise InvalidInput("model", model, "pass a LlamaIndex BaseEmbedding")
    return WrappedEmbedder(
        name or f"llama-index:{type(model).__name__}:{model.model_name}",
        model.get_query_embedding,
        model.get_text_embedding_batch,
        dimension=dimension,
        piece_characters=piece_characters,
    )
