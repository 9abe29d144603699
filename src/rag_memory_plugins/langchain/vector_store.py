"""One tenant's view of any LangChain vector store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from typing_extensions import Self

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.filtering import Stated, form_of
from rag_memory_plugins.langchain.walled import Walled, later, now, told_later, told_now
from rag_memory_plugins.portal import at_once, strict
from rag_memory_plugins.retrieval.tenancy import Tenant, tenant_now

__all__ = ["TenantVectorStore"]

Scored = tuple[Document, float]


class TenantVectorStore(VectorStore):
    """A vector store that holds and finds the documents of one tenant alone.

    `store` is any LangChain vector store; `tenant` a str, or a function that every call asks (for
    request-time tenants); it has no default, and a call without a tenant raises `InvalidNamespace`.

    - Adding stamps the tenant on every document (metadata `tenant`) and refuses one that names
      another. Stated ids are looked up first: one that another tenant's document has, which would
      be overwritten, is refused; `unique_ids=True` says that none ever is, for a store that cannot
      look ids up.
    - Every search asks the store for the tenant AND whatever `filter=` states, in the store's own
      form: known for InMemoryVectorStore ("function"), Chroma, PGVector and Pinecone ("operators":
      dicts of `$and`, `$eq`). For another pass `filter`: one of these two words, or a function of
      tenant and stated filter that gives what the store takes as `filter=` (or `filter_argument`).
      Without it the store is asked for more and more, up to 10,000 documents, until enough are the
      tenant's. Arguments that could replace a filter (`where=`, `namespace=`) are refused.
    - Each document found is looked at again. One that is not the tenant's is left out, with the
      event `rag_memory_degrade` and a warning in the log.
    - `get_by_ids` and `delete` look at whose a document is first; another's stays, unseen. A store
      that cannot look ids up raises `StoreError`. `delete` wants ids.

    Documents come back as they were added, without the stamp; `show_tenant=True` leaves it on, for
    a `TenantGuardCompressor` behind. Two tenants that add one id at the same moment are not told
    apart from one that adds it twice. LangChain's `index()` makes ids of texts: give each tenant a
    `key_encoder` of its own. Async methods use the store's own.

    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> shared = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    >>> acme, globex = TenantVectorStore(shared, "acme"), TenantVectorStore(shared, "globex")
    >>> _ = acme.add_texts(["Lisbon"]), globex.add_texts(["Oslo"])
    >>> [found.page_content for found in acme.as_retriever().invoke("Oslo", filter=None)]
    ['Lisbon']
    """

    @strict
    def __init__(
        self,
        store: VectorStore,
        tenant: Tenant,
        *,
        filter: Stated = None,  # noqa: A002  # what LangChain calls it in every search
        filter_argument: str = "filter",
        unique_ids: bool = False,
        show_tenant: bool = False,
    ) -> None:
        if not isinstance(store, VectorStore):
            raise InvalidInput("store", store, "pass a LangChain vector store")
        if not callable(tenant):
            tenant_now(tenant)
        if not isinstance(filter_argument, str) or not filter_argument.isidentifier():
            raise InvalidInput("filter_argument", filter_argument, "pass the name of an argument")
        parts = (store, tenant, form_of(store, filter), filter_argument, unique_ids, show_tenant)
        self._now = Walled(*parts, now, told_now)
        self._later = Walled(*parts, later, told_later)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._now.store).__name__}, {self._now.tenant!r})"

    @property
    def tenant(self) -> str:
        """Whose documents these are, now. Raises `InvalidNamespace`."""
        return tenant_now(self._now.tenant)

    @property
    def embeddings(self) -> Embeddings | None:
        """The wrapped store's model."""
        return self._now.store.embeddings

    def add_documents(
        self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Stamp and store documents; returns their ids. Raises before any of them is stored."""
        return at_once(self._now.add(documents, ids, kwargs))

    async def aadd_documents(
        self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Async form of `add_documents`."""
        return await self._later.add(documents, ids, kwargs)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_documents`, of texts and their metadata."""
        return at_once(self._now.add(_documents(texts, metadatas), ids, kwargs))

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Async form of `add_texts`."""
        return await self._later.add(_documents(texts, metadatas), ids, kwargs)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The tenant's documents of these ids."""
        return at_once(self._now.get(ids))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Async form of `get_by_ids`."""
        return await self._later.get(ids)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete the tenant's documents of these ids; others stay. Raises without ids."""
        return at_once(self._now.delete(ids, kwargs))

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Async form of `delete`."""
        return await self._later.delete(ids, kwargs)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The tenant's documents that are nearest to `query`."""
        return at_once(self._now.search("similarity_search", query, k, kwargs))

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Async form of `similarity_search`."""
        return await self._later.search("similarity_search", query, k, kwargs)

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[Scored]:
        """As `similarity_search`, with the store's scores."""
        return at_once(self._now.search("similarity_search_with_score", query, k, kwargs))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[Scored]:
        """Async form of `similarity_search_with_score`."""
        return await self._later.search("similarity_search_with_score", query, k, kwargs)

    # LangChain's public method of this name takes the score threshold and calls this one.
    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[Scored]:
        method = "similarity_search_with_relevance_scores"
        return at_once(self._now.search(method, query, k, kwargs))

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[Scored]:
        method = "similarity_search_with_relevance_scores"
        return await self._later.search(method, query, k, kwargs)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The tenant's documents that are nearest to a vector."""
        return at_once(self._now.search("similarity_search_by_vector", embedding, k, kwargs))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Async form of `similarity_search_by_vector`."""
        return await self._later.search("similarity_search_by_vector", embedding, k, kwargs)

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """The tenant's documents that are near to `query` and differ from each other."""
        given = {"fetch_k": fetch_k, "lambda_mult": lambda_mult, **kwargs}
        return at_once(self._now.search("max_marginal_relevance_search", query, k, given))

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Async form of `max_marginal_relevance_search`."""
        given = {"fetch_k": fetch_k, "lambda_mult": lambda_mult, **kwargs}
        return await self._later.search("max_marginal_relevance_search", query, k, given)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, of a vector."""
        given = {"fetch_k": fetch_k, "lambda_mult": lambda_mult, **kwargs}
        method = "max_marginal_relevance_search_by_vector"
        return at_once(self._now.search(method, embedding, k, given))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Async form of `max_marginal_relevance_search_by_vector`."""
        given = {"fetch_k": fetch_k, "lambda_mult": lambda_mult, **kwargs}
        method = "max_marginal_relevance_search_by_vector"
        return await self._later.search(method, embedding, k, given)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A view with these texts in it; takes `tenant`, and what the class takes beside it.

        Without `store` the texts go into a new InMemoryVectorStore of `embedding`.
        """
        made = cls._over(embedding, kwargs)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Async form of `from_texts`."""
        made = cls._over(embedding, kwargs)
        await made.aadd_texts(texts, metadatas, ids=ids)
        return made

    @classmethod
    def _over(cls, embedding: Embeddings, given: dict[str, Any]) -> Self:
        options = dict(given)
        store = options.pop("store", None)
        if store is None:
            store = InMemoryVectorStore(embedding)
        elif isinstance(store, VectorStore) and store.embeddings not in (None, embedding):
            raise InvalidInput("embedding", embedding, "it is not the model that store= has")
        return cls(store, options.pop("tenant", None), **options)


def _documents(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    if isinstance(texts, str):
        raise InvalidInput("texts", texts, "pass a list of texts")
    given = list(texts)
    stated = [{} for _ in given] if metadatas is None else list(metadatas)
    if len(stated) != len(given):
        raise InvalidInput("metadatas", len(stated), f"pass one for each of {len(given)} texts")
    return [
        Document(page_content=text, metadata=dict(metadata))
        for text, metadata in zip(given, stated, strict=True)
    ]
