"""A LangChain embedding model as our `Embedder`, and our local model as one of LangChain's."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from rag_memory_plugins.errors import InvalidInput, MissingExtra
from rag_memory_plugins.portal import Portal, blocking, get_portal
from rag_memory_plugins.retrieval.embedding import default_embedder
from rag_memory_plugins.retrieval.whole import listed, whole
from rag_memory_plugins.retrieval.wrapped import PIECE_CHARACTERS, WrappedEmbedder

__all__ = ["LocalEmbeddings", "as_embedder"]


class LocalEmbeddings(Embeddings):
    """The local model, MiniLM in int8 on two threads, as embeddings of any vector store.

    No key and no download: it comes with the extra `local`. A vector has 384 numbers and length 1;
    a text longer than the model reads gets the mean of its pieces' vectors. Runs beside the event
    loop. Raises `MissingExtra`, `EmbedderError` (for a query without any word).

    >>> from langchain_core.vectorstores import InMemoryVectorStore
    >>> store = InMemoryVectorStore.from_texts(["a ship", "the tax form"], LocalEmbeddings())
    >>> store.similarity_search("a boat", k=1)[0].page_content
    'a ship'
    """

    def __init__(self) -> None:
        embedder = default_embedder()
        if embedder is None:
            raise MissingExtra("local", type(self).__name__)
        self._embedder = embedder

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    @property
    def model(self) -> str:
        """The model's name and version, which changes when its vectors do."""
        return self._embedder.fingerprint

    @property
    def portal(self) -> Portal:
        """Where the model runs, whichever loop or thread asks."""
        return get_portal()

    async def aembed_query(self, text: str) -> list[float]:
        """One question as a vector of length 1."""
        return listed(await self.portal.acall(self._embedder.aembed_query(text)))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector a text; zeros for a text without any word."""
        return whole(await self.portal.acall(self._embedder.aembed_documents(texts)))

    embed_query = blocking(aembed_query)
    embed_documents = blocking(aembed_documents)


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
