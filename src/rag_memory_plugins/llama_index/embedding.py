"""A LlamaIndex embedding model as our `Embedder`."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.retrieval.wrapped import PIECE_CHARACTERS, WrappedEmbedder

__all__ = ["as_embedder"]


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
