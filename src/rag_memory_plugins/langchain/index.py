"""Any LangChain vector store as the vector store of a memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from rag_memory_plugins.errors import InvalidInput, StoreError
from rag_memory_plugins.langchain.filtering import kind_of
from rag_memory_plugins.portal import strict
from rag_memory_plugins.stores.points import Bridge, named, point_id, seqs_of

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["StoreOfTexts", "as_index"]

Equal: TypeAlias = Callable[[Mapping[str, str]], Any]
"""Metadata that a document must have -> a filter of the store's by which it does."""

ID: Final = "rag_memory_id"
"""Metadata key of a document's name: not every store gives documents back with their ids."""


class StoreOfTexts(Bridge):
    """A LangChain vector store that a memory keeps what was said in; `as_index` makes it.

    LangChain's stores embed by themselves: they are given texts and asked by text, so the model is
    the store's. Queries ask for the user's alone where the store can be asked; a document of
    anybody else is left out.
    """

    def __init__(
        self, store: VectorStore, name: str | None, equal: Equal | None, argument: str
    ) -> None:
        super().__init__(name, type(store).__name__)
        self._store = store
        self._equal = equal
        self._argument = argument

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; each takes the place of the one before it."""
        self.check_open()
        documents = {}  # by name: some stores refuse a batch that holds one twice
        for point in points:
            name = point_id(self.log, point.scope, point.seq, 0)
            metadata = {**named(self.log, point.scope, point.session), ID: name}
            documents[name] = Document(id=name, page_content=point.text, metadata=metadata)
        if documents:
            ids = list(documents)
            async with self.one:
                # Some stores refuse an id that they hold: a batch that was not acknowledged.
                await self._delete(await self._held(ids) or [])
                await self._store.aadd_documents(list(documents.values()), ids=ids)

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first."""
        self.check_open()
        wanted = named(self.log, scope, session)

        async def search(most: int, **given: Any) -> tuple[list[int], int]:
            async with self.one:
                found = await self._store.asimilarity_search(text, k=most, **given)
            mine = [item for item in found if wanted.items() <= item.metadata.items()]
            names = [str(document.metadata.get(ID)) for document in mine]
            return seqs_of(names, self.log, scope)[0], len(found)

        if self._equal is None:
            return await self.awider(limit, search)
        seqs, _ = await search(limit, **{self._argument: self._equal(wanted)})
        return seqs[:limit]

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points."""
        self.check_open()
        ids = self.ids_of(replace(point, pieces=1) for point in points)
        if not ids:
            return  # some take no id for all there are
        async with self.one:
            held = await self._held(ids)
            # Some refuse an id that they do not hold: what was erased before it was put.
            await self._delete(ids if held is None else held)

    async def _held(self, ids: list[str]) -> list[str] | None:
        """Those of these ids that the store holds; None where it cannot tell."""
        try:
            found = await self._store.aget_by_ids(ids)
        except NotImplementedError:
            return None
        return [document.metadata[ID] for document in found if ID in document.metadata]

    async def _delete(self, ids: list[str]) -> None:
        if not ids:
            return
        try:
            done = await self._store.adelete(ids)
        except NotImplementedError as error:
            raise StoreError(
                f"{self.name} cannot delete by id, so nothing could be erased from it; "
                "use a store that can"
            ) from error
        if done is False:
            raise StoreError(f"{self.name} did not delete {len(ids)} documents; try again")


@strict
def as_index(
    store: VectorStore,
    *,
    name: str | None = None,
    filter: Literal["function", "operators"] | Equal | None = None,  # noqa: A002  # LangChain's word
    argument: str = "filter",
) -> StoreOfTexts:
    """A LangChain vector store as the `index=` of `open_memory`.

    The store gets what was said as documents, embeds it by its own model, and proposes what is near.
    `name` tells it from others when a memory is opened again, `type(store).__name__` when left out:
    a store under a new name gets all messages again. The caller closes the store.

    `filter` says how the store is asked for one user's documents: "function" (of a document, as
    InMemoryVectorStore), "operators" (a dict with `$and` and `$eq`, as Chroma, PGVector, Pinecone),
    or a function that makes a filter of metadata to be equal to. Left out it is known for those
    named; of any other store more documents are asked for, and the user's picked out. `argument` is
    the search keyword that takes it.

    >>> import tempfile, pathlib
    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> from langchain_core.vectorstores import InMemoryVectorStore
    >>> from rag_memory_plugins import open_memory
    >>> store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", index=as_index(store)) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...     memory.settle()
    0
    >>> [document.page_content for document in store.similarity_search("where?")]
    ['Lisbon, in May']
    >>> folder.cleanup()
    """
    if not isinstance(store, VectorStore):
        raise InvalidInput("store", store, "pass a LangChain vector store")
    kind = kind_of(store, filter)
    equal = _EQUAL[kind] if isinstance(kind, str) else kind
    return StoreOfTexts(store, name, equal, argument)


def _by_function(wanted: Mapping[str, str]) -> Callable[[Document], bool]:
    return lambda document: wanted.items() <= document.metadata.items()


def _by_operators(wanted: Mapping[str, str]) -> dict[str, Any]:
    return {"$and": [{key: {"$eq": value}} for key, value in wanted.items()]}


_EQUAL: Final[Mapping[str, Equal]] = {"function": _by_function, "operators": _by_operators}
