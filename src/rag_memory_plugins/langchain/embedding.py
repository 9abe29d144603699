"""A LangChain embedding model as our `Embedder`."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.retrieval.wrapped import PIECE_CHARACTERS, WrappedEmbedder

__all__ = ["as_embedder"]


def as_embedder(
    model: Embeddings,
    *,
    dimension: int | None = None,
    name: str | None = None,
    piece_characters: int = PIECE_CHARACTERS,
) -> WrappedEmbedder:
    """`model` for `open_memory(..., embedder=as_embedder(model))`.

    With `dimension` left out, the model embeds one word now to tell it. `name` replaces the class
    and model name in the fingerprint; pass one where two models would look the same.
    Raises `InvalidInput` for anything but an `Embeddings`, `EmbedderError` if the model fails.

    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> as_embedder(DeterministicFakeEmbedding(size=8))
    WrappedEmbedder('langchain:DeterministicFakeEmbedding:unknown:8:2000')
    """
    if not isinstance(model, Embeddings):
        raise InvalidInput("model", model, "pass a LangChain Embeddings")
    return WrappedEmbedder(
        name or f"langchain:{type(model).__name__}:{_model_name(model)}",
        model.embed_query,
        model.embed_documents,
        dimension=dimension,
        piece_characters=piece_characters,
    )


def _model_name(model: Embeddings) -> str:
    # LangChain has no common name for it; these are what its partner packages use.
    for field in ("model_name", "model", "model_id", "deployment", "repo_id"):
        value = getattr(model, field, None)
        if isinstance(value, str) and value:
            return value
    return "unknown"
