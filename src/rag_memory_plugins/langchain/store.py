"""A tenant's items as a LangGraph store: durable, searched by words and meaning, walled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NamespacePath,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from rag_memory_plugins.config import Recall
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.labels import path_of
from rag_memory_plugins.langchain.store_ops import (
    Get,
    Names,
    Search,
    asked_of,
    checked_fields,
    checked_ttl,
    found_of,
    item_of,
)
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.shelf import Shelf, utc_now
from rag_memory_plugins.namespace import SHARED, Scope, SharedUser
from rag_memory_plugins.portal import Portal, blocking, on_portal, strict
from rag_memory_plugins.ports import ItemChange, StoredItem
from rag_memory_plugins.results import EraseReceipt

__all__ = ["TenantStore"]


class TenantStore(BaseStore):
    """Items of one tenant, or with `user` of one user of it: `create_agent(store=...)`.

    Every operation stays inside: `()` is all of this tenant's items, never another's. Search
    goes by keywords and, if the memory has an embedder, by meaning; without a query items come
    last written first. `fields` is what is searched of an item, as LangGraph's `IndexConfig` has
    it; all of it by default. `ttl` is LangGraph's `TTLConfig`; what has expired is never returned
    and is erased in the background, whatever its `omit_expired` and sweep interval say. `recall`
    weighs the steps of a search. Labels and keys may hold any character, dots too.

    Methods raise `InvalidInput` (also a ValueError) for what cannot be stored; nothing was changed
    then.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     store = TenantStore(memory, "acme")
    ...     store.put(("users", "ann@acme.com"), "home", {"text": "Ann lives in Lisbon"})
    ...     store.search(("users",), query="who lives in Lisbon?")[0].value
    ...     TenantStore(memory, "evil").search(())
    {'text': 'Ann lives in Lisbon'}
    []
    >>> folder.cleanup()
    """

    supports_ttl = True

    @strict
    def __init__(
        self,
        memory: Memory,
        tenant: str,
        user: str | SharedUser = SHARED,
        *,
        fields: Sequence[str] | None = None,
        ttl: TTLConfig | None = None,
        recall: Recall | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if not isinstance(memory, Memory):
            got = f"{type(memory).__module__}.{type(memory).__name__}"
            raise InvalidInput("memory", got, "pass what rag_memory_plugins.open_memory() gave")
        scope = Scope(tenant, user, items=True)
        self.memory = memory
        self.fields = ("$",) if fields is None else checked_fields("fields", fields)
        self.ttl_config = None if ttl is None else checked_ttl(ttl)
        self._shelf = Shelf(memory, scope, recall=recall, clock=clock)

    @property
    def portal(self) -> Portal:
        """Where its work runs."""
        return self.memory.portal

    @on_portal
    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations together: reads see what was before them, writes are all or none.

        The last write of a key counts. Raises `InvalidInput` for an operation that cannot be run;
        then none was.
        """
        now = self._shelf.clock()
        asked = [asked_of(op, self.fields, now) for op in ops]
        results: list[Result] = [None] * len(asked)
        changes = [item for item in asked if isinstance(item, ItemChange)]
        renewed: list[StoredItem] = await self._got(asked, results)
        for at, item in enumerate(asked):
            if isinstance(item, Search):
                found = await self._found(item)
                results[at] = [found_of(*hit) for hit in found]
                renewed += [hit[0] for hit in found if item.refresh]
            elif isinstance(item, Names):
                results[at] = item.of(await self._shelf.apaths(item.under))
        if changes:
            await self._shelf.achange(changes)
        await self._shelf.arefresh([item.seq for item in renewed if not item.stays])
        return results

    async def _got(self, asked: Sequence[object], results: list[Result]) -> list[StoredItem]:
        """Put what is got into the results, at once; return what stays longer for it."""
        gets = [(at, item) for at, item in enumerate(asked) if isinstance(item, Get)]
        if not gets:
            return []
        renewed = []
        found = await self._shelf.aget([item.place for _, item in gets])
        for (at, item), stored in zip(gets, found, strict=True):
            if stored is not None:
                results[at] = item_of(stored)
                renewed += [stored] if item.refresh else []
        return renewed

    async def _found(self, asked: Search) -> Sequence[tuple[StoredItem, float | None]]:
        page = asked.under, asked.where, asked.limit, asked.offset
        if not asked.limit:
            return []
        if asked.query:
            return await self._shelf.asearch(asked.query, *page)
        return [(item, None) for item in await self._shelf.alist(*page)]

    async def aget(
        self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None
    ) -> Item | None:
        """The item, or None. The caller may change its value: it is a copy."""
        (found,) = await self.abatch([GetOp(namespace, str(key), self._refresh(refresh_ttl))])
        return found if isinstance(found, Item) else None

    async def asearch(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's word
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Items under the prefix: the best for the query first, else the last written."""
        refresh = self._refresh(refresh_ttl)
        op = SearchOp(namespace_prefix, filter, limit, offset, query, refresh)
        found: Any = (await self.abatch([op]))[0]
        return list(found)

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Store an item, or another value in its place; on disk when this returns.

        `index=False` keeps it out of searches with a query; a list of paths says what is searched.
        """
        minutes = self._default_ttl if isinstance(ttl, NotProvided) else ttl
        if value is None:  # a value that was lost on its way must not delete
            raise InvalidInput("value", value, "pass a mapping of JSON values; delete() deletes")
        await self.abatch([PutOp(namespace, str(key), value, index, minutes)])

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        """Erase an item; nothing happens if there is none."""
        await self.abatch([PutOp(namespace, str(key), None)])

    async def alist_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """Namespaces that hold an item, sorted; "*" in a prefix or suffix is any label."""
        conditions = []
        if prefix:
            conditions.append(MatchCondition("prefix", prefix))
        if suffix:
            conditions.append(MatchCondition("suffix", suffix))
        op = ListNamespacesOp(tuple(conditions), max_depth, limit, offset)
        found: Any = (await self.abatch([op]))[0]
        return list(found)

    @on_portal
    async def aerase(self, namespace_prefix: tuple[str, ...] = ()) -> EraseReceipt:
        """Erase all items under the prefix from every file; () is everything of this store."""
        return await self._shelf.aerase(path_of("namespace_prefix", namespace_prefix))

    @on_portal
    async def asweep_ttl(self) -> int:
        """Erase what has expired now, without waiting for the background; return how many."""
        return await self._shelf.asweep()

    batch = blocking(abatch)
    get = blocking(aget)
    search = blocking(asearch)
    put = blocking(aput)
    delete = blocking(adelete)
    list_namespaces = blocking(alist_namespaces)
    erase = blocking(aerase)
    sweep_ttl = blocking(asweep_ttl)

    def _refresh(self, given: bool | None) -> bool:
        default = (self.ttl_config or {}).get("refresh_on_read", True)
        return default if given is None else given

    @property
    def _default_ttl(self) -> float | None:
        return (self.ttl_config or {}).get("default_ttl")

    def __repr__(self) -> str:
        scope = self._shelf.scope
        return f"TenantStore(tenant={scope.tenant!r}, user={scope.user!r})"
