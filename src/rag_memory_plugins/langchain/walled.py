"""A vector store's methods for one tenant: one implementation for sync and async calls."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from rag_memory_plugins.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidNamespace,
    RagMemoryError,
    StoreError,
    UnknownArgument,
    shorten,
)
from rag_memory_plugins.langchain.documents import checked_documents
from rag_memory_plugins.langchain.events import Told, atell, degraded, tell
from rag_memory_plugins.langchain.filtering import Form
from rag_memory_plugins.retrieval.tenancy import TENANT, Tenant, check_keywords, tenant_now

__all__ = ["Walled", "later", "now", "told_later", "told_now"]

Ask: TypeAlias = Callable[..., Awaitable[Any]]
"""(store, sync name of its method, arguments): calls it, in the one way or the other."""

_FIRST: Final = 4
"""How many times `k` a store is asked for first, where it cannot be asked for the tenant."""
_MOST: Final = 10_000
"""Documents that are looked through for a tenant's, before the answer is what was found."""
_STATE: Final = "state it as filter="


async def now(store: VectorStore, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the sync method, here and now."""
    return getattr(store, name)(*args, **kwargs)


async def later(store: VectorStore, name: str, *args: Any, **kwargs: Any) -> Any:
    """Await the async method; LangChain runs the sync one in a thread where there is none."""
    return await getattr(store, f"a{name}")(*args, **kwargs)


async def told_now(told: Sequence[Told]) -> None:
    """Tell the run that is going on, without waiting."""
    tell(told)


async def told_later(told: Sequence[Told]) -> None:
    """Tell the run that is going on."""
    await atell(told)


@dataclass(frozen=True)
class Walled:
    """A store within a tenant's wall; see `TenantVectorStore` for what each method promises."""

    store: VectorStore
    tenant: Tenant
    form: Form | None
    argument: str
    unique_ids: bool
    show_tenant: bool
    ask: Ask
    tell: Callable[[Sequence[Told]], Awaitable[None]]

    async def add(
        self, documents: object, ids: Sequence[str | None] | None, given: Mapping[str, Any]
    ) -> list[str]:
        """Stamp and store documents, or none of them."""
        tenant = tenant_now(self.tenant)
        check_keywords("add_documents", given, "set up the wrapped store instead")
        copies = _stamped(checked_documents(documents, "documents"), ids, tenant)
        if not copies:
            return []
        more = dict(given)
        if any(copy.id for copy in copies):
            if not self.unique_ids:
                await self._check_free([copy.id for copy in copies if copy.id], tenant)
            # Not every store makes an id for a None among others.
            copies = [copy if copy.id else _named(copy) for copy in copies]
            more["ids"] = [copy.id for copy in copies]
        added: list[str] = await self.ask(self.store, "add_documents", copies, **more)
        return added

    async def search(self, method: str, asked: Any, k: int, given: Mapping[str, Any]) -> list[Any]:
        """What the store's `method` finds of the tenant's, restricted before and looked at after.

        Items are documents, or tuples that begin with one.
        """
        tenant = tenant_now(self.tenant)
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise InvalidInput("k", k, "pass a number of documents, an int from 1")
        check_keywords(method, given, _STATE, but=("filter",))
        more = {name: value for name, value in given.items() if name != "filter"}
        stated = given.get("filter")
        if self.form is None:
            if stated is not None:
                more[self.argument] = stated
            return await self._looked_through(method, asked, k, tenant, more)
        more[self.argument] = self._restricted(self.form, tenant, stated)
        found = await self.ask(self.store, method, asked, k=k, **more) or []
        mine = [item for item in found if _owned(item, tenant)]
        if len(mine) < len(found):
            left = f"{len(found) - len(mine)} of {len(found)} documents that {self._name} found"
            await self._warn(f"{left} were not the tenant's and were left out")
        return [self._shown(item) for item in mine]

    async def get(self, ids: Sequence[str]) -> list[Document]:
        """The tenant's documents of these ids."""
        tenant = tenant_now(self.tenant)
        found = await self._read(checked_ids(ids), "use a store that can")
        return [self._shown(document) for document in found if _owned(document, tenant)]

    async def delete(self, ids: object, given: Mapping[str, Any]) -> bool | None:
        """Delete the tenant's documents of these ids."""
        tenant = tenant_now(self.tenant)
        for name, value in given.items():
            remedy = "what it deletes cannot be checked; delete on the wrapped store itself"
            raise UnknownArgument(f"delete({name}=)", value, remedy)
        if ids is None:
            raise InvalidInput("ids", ids, "state ids: a store may take None for all it holds")
        remedy = "delete on the wrapped store itself"
        found = await self._read(checked_ids(ids), remedy)
        own = list(dict.fromkeys(document.id for document in found if _owned(document, tenant)))
        if not own:
            return True
        try:
            return cast("bool | None", await self.ask(self.store, "delete", own))
        except NotImplementedError as error:
            raise StoreError(f"{self._name} cannot delete; {remedy}") from error

    async def _looked_through(
        self, method: str, asked: Any, k: int, tenant: str, given: Mapping[str, Any]
    ) -> list[Any]:
        """The best `k` of the tenant's among more and more of everybody's."""
        count = min(k * _FIRST, _MOST)
        while True:
            more = dict(given)
            if "marginal" in method:
                more["fetch_k"] = max(count, more.get("fetch_k", 0))
            found = await self.ask(self.store, method, asked, k=count, **more) or []
            mine = [item for item in found if _owned(item, tenant)]
            if len(mine) >= k or len(found) < count:
                break
            if count >= _MOST:
                await self._warn(
                    f"{len(mine)} of {k} documents are the tenant's among the first {count} that "
                    f"{self._name} found; pass filter= so that it can be asked for the tenant"
                )
                break
            count = min(count * _FIRST, _MOST)
        return [self._shown(item) for item in mine[:k]]

    def _restricted(self, form: Form, tenant: str, stated: Any) -> Any:
        try:
            restriction = form(tenant, stated)
        except RagMemoryError:
            raise
        except Exception as error:  # the user's function: it may fail in any way, never open
            raise InvalidFilter("filter", stated, f"filter= of the store failed: {error!r}") from (
                error
            )
        if restriction is None:
            raise InvalidFilter("filter", stated, "filter= of the store gave None: no restriction")
        return restriction

    async def _check_free(self, ids: list[str], tenant: str) -> None:
        """Raise `InvalidInput` for an id that another's document has: it would be overwritten."""
        for document in await self._read(ids, "make ids unique and pass unique_ids=True"):
            if not _owned(document, tenant):
                remedy = f"a document that is not the tenant's has it; give {tenant!r} its own ids"
                raise InvalidInput("ids", document.id, remedy)

    async def _read(self, ids: list[str], remedy: str) -> list[Document]:
        """The store's documents of these ids, whosever they are. Raises `StoreError`."""
        try:
            found = await self.ask(self.store, "get_by_ids", ids) if ids else []
            wanted = set(ids)
            if all(document.id in wanted for document in found):
                return list(found)
            # Qdrant's gives documents without their ids: asked one by one, it is known whose is whose.
            each = [(name, await self.ask(self.store, "get_by_ids", [name])) for name in ids]
        except Exception as error:  # any store, any client: their errors share no base class
            raise StoreError(
                f"{self._name} cannot look documents up by id ({shorten(error, 200)}); {remedy}"
            ) from error
        return [
            document.model_copy(update={"id": name}) for name, some in each for document in some
        ]

    async def _warn(self, reason: str) -> None:
        await self.tell([degraded("TenantVectorStore", reason)])

    def _shown(self, item: Any) -> Any:
        """The item as it was added: a new document, without the stamp unless it is to be seen."""
        if isinstance(item, tuple):
            return (self._shown(item[0]), *item[1:])
        kept = {
            name: value
            for name, value in item.metadata.items()
            if name != TENANT or self.show_tenant
        }
        return item.model_copy(update={"metadata": kept})

    @property
    def _name(self) -> str:
        return type(self.store).__name__


def _owned(item: Any, tenant: str) -> bool:
    """Whether a document is the tenant's; one that names none is nobody's."""
    document = item[0] if isinstance(item, tuple) and item else item
    return isinstance(document, Document) and document.metadata.get(TENANT) == tenant


def _stamped(
    documents: list[Document], ids: Sequence[str | None] | None, tenant: str
) -> list[Document]:
    """Copies under these ids, or their own, that carry the tenant."""
    named: list[Any] = [document.id for document in documents] if ids is None else list(ids)
    if len(named) != len(documents):
        raise InvalidInput("ids", len(named), f"pass one, or None, for each of {len(documents)}")
    checked_ids([name for name in named if name is not None])
    copies = []
    for document, name in zip(documents, named, strict=True):
        owner = document.metadata.get(TENANT)
        if owner not in (None, tenant):
            remedy = f"the document {name!r} is another tenant's than {tenant!r}"
            raise InvalidNamespace(f"metadata[{TENANT!r}]", owner, remedy)
        update = {"id": name or None, "metadata": {**document.metadata, TENANT: tenant}}
        copies.append(document.model_copy(update=update))
    return copies


def _named(document: Document) -> Document:
    return document.model_copy(update={"id": str(uuid.uuid4())})


def checked_ids(ids: object) -> list[str]:
    """Ids as a list. Raises `InvalidInput`."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Sequence):
        raise InvalidInput("ids", ids, "pass a list of document ids")
    for name in ids:
        if not isinstance(name, str):
            raise InvalidInput("ids", name, "pass document ids, each a str")
    return list(ids)
