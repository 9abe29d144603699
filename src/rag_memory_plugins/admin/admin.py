"""`Admin`: a store as its owner sees it. No tenant's code ever needs one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from rag_memory_plugins.errors import InvalidInput, StoreError
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.portal import blocking, blocking_function, on_portal, strict
from rag_memory_plugins.results import EraseReceipt

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.stores.database import Database

__all__ = ["Admin", "TenantStats", "aopen_admin", "open_admin"]

_USERS: Final = 200
_MOST: Final = 1_000


@dataclass(frozen=True)
class TenantStats:
    """What one tenant holds.

    `tokens` is what its messages were counted as when they were stored, `bytes` what its vectors
    and keyword rows take, `vectors` are of all embedders, `pending` messages wait for one. `facts`
    are those that were stated.
    """

    tenant: str
    users: int
    sessions: int
    messages: int
    items: int
    facts: int
    tokens: int
    vectors: int
    bytes: int
    pending: int
    pins: int
    first: datetime | None
    last: datetime | None


class Admin:
    """The owner's view of a memory: all tenants, each with what it holds; whole tenants go by it.

    Made of a `Memory`, which the caller closes, or by `open_admin` of a URL. A `Conversation` leads
    to none of this. Methods with an `a` are async, those without are the same, waited for.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...     admin = Admin(memory)
    ...     [(stats.tenant, stats.messages) for stats in admin.tenants()], admin.erase("acme").left
    ([('acme', 1)], {})
    >>> folder.cleanup()
    """

    def __init__(self, memory: Memory) -> None:
        if not isinstance(memory, Memory):
            raise InvalidInput("memory", memory, "pass what open_memory gives, or use open_admin")
        self._memory = memory
        self._owned = False

    @property
    def portal(self) -> Portal:
        """Where its work runs."""
        return self._memory.portal

    @property
    def _database(self) -> Database:
        database: Database = self._memory.log.database  # type: ignore[attr-defined]
        return database

    @on_portal
    async def atenants(self, after: str | None = None, limit: int = 100) -> list[TenantStats]:
        """The next tenants in the order of their keys, each with what it holds; [] at the end.

        `after` is the last one of the page before. Raises `InvalidInput`.
        """
        from rag_memory_plugins.stores import tenants

        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _MOST:
            raise InvalidInput("limit", limit, f"pass an int from 1 to {_MOST}")
        start = "" if after is None else tenants.key_of(after)
        keys = await self._database.aread(partial(tenants.tenants, after=start, limit=limit))
        return [await self.atenant(unquote(key)) for key in keys]

    @on_portal
    async def atenant(self, tenant: str) -> TenantStats:
        """What a tenant holds; zeros for one that holds nothing. Raises `InvalidNamespace`."""
        from rag_memory_plugins.stores import tenants

        key = tenants.key_of(tenant)
        return TenantStats(tenant, **await self._database.aread(partial(tenants.counts, key=key)))

    async def aexport(self, tenant: str) -> AsyncIterator[dict[str, Any]]:
        """All that a tenant stored, user by user in order, as plain values; page by page.

        A message's `to_dict` with its `session` and `user` (None: shared by the tenant), `pinned`
        and `archived`; what stands under a key has an `item` too: path, key and times; a fact that was
        stated a `fact`, with its `sources`.
        """
        place: tuple[int, str, int] = (0, "", 0)
        while True:
            rows, following = await self._apage(tenant, place)
            for row in rows:
                yield row
            if following is None:
                return
            place = following

    def export(self, tenant: str) -> Iterator[dict[str, Any]]:
        """Sync form of `aexport`."""
        place: tuple[int, str, int] = (0, "", 0)
        while True:
            rows, following = self.portal.call(self._apage(tenant, place), "export()")
            yield from rows
            if following is None:
                return
            place = following

    @on_portal
    async def _apage(
        self, tenant: str, place: tuple[int, str, int]
    ) -> tuple[list[dict[str, Any]], tuple[int, str, int] | None]:
        """(the next values, where to go on: a user's id and key, and the last message's number)."""
        from rag_memory_plugins.stores import tenants

        scope_id, key, after = place
        if not after:
            own = tenants.key_of(tenant)
            find = partial(tenants.scopes_of, key=own, after=scope_id, limit=1)
            found = await self._database.aread(find)
            if not found:
                return [], None
            scope_id, key = found[0]
        read = partial(tenants.export_page, scope_id=scope_id, key=key, after=after)
        rows, last = await self._database.aread(read)
        return rows, (scope_id, key, last)

    @on_portal
    async def aerase(self, tenant: str) -> EraseReceipt:
        """Erase all that a tenant stored, user by user; the receipt says what went from where.

        Again after a failure it goes on. Nobody may write for the tenant meanwhile: what comes
        behind is not erased. Raises `InvalidNamespace`, `StoreError`.
        """
        from rag_memory_plugins.stores import erasing, tenants

        key = tenants.key_of(tenant)
        receipts: list[EraseReceipt] = []
        users: list[Scope] = []
        while True:
            find = partial(tenants.scopes_of, key=key, after=0, limit=_USERS)
            found = await self._database.aread(find)
            for _, name in found:
                scope = Scope.from_key(name)
                place = Namespace(
                    scope.tenant, scope.user, "/", items=scope.items, facts=scope.facts
                )
                receipts.append(await erasing.aerase(self._database, place, "user"))
                users.append(scope)
            if not found:
                break
        receipt = _added(key, receipts)
        return await self._aoutside(tenant, receipt, users)

    async def _aoutside(
        self, tenant: str, receipt: EraseReceipt, users: list[Scope]
    ) -> EraseReceipt:
        """Erase what stands beside the log, and look there again."""
        memory = self._memory
        waits = []
        drop = getattr(memory.index, "adrop_tenant", None)
        if drop is not None and users:
            try:
                await drop(tenant)
            except StoreError as error:
                waits.append(f"{error}; this is tried again in the background")
        counters = await memory.aforget_usage(tenant)
        place = Namespace(tenant, "any", "any")
        caches = memory.forget_texts(Erased(place, "tenant"))
        removed = {**receipt.removed, "counters": counters, "caches": caches}
        receipt = await memory.acleaned(replace(receipt, removed=removed))
        left = dict(receipt.left)
        look = getattr(memory.index, "aleft", None)
        if look is not None and receipt.complete:
            name = memory.index.store.name  # type: ignore[attr-defined]
            try:
                found = sum([await look(scope, None) for scope in users])
                left |= {name: found} if found else {}
            except Exception as error:  # a user's store; what cannot be seen is not complete
                waits.append(f"{name} could not be looked at again ({error!r})")
        if left != dict(receipt.left):
            waits.append(f"points are left: {left}")
        memory.wake(chore=not receipt.complete)
        reasons = "; ".join(filter(None, (receipt.pending, *waits)))
        return replace(receipt, complete=not reasons, pending=reasons, left=left)

    @on_portal
    async def aclose(self) -> None:
        """Close the memory, if `open_admin` opened it."""
        if self._owned:
            await self._memory.aclose()

    tenants = blocking(atenants)
    tenant = blocking(atenant)
    erase = blocking(aerase)
    close = blocking(aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Admin({self._memory.name!r})"


def _added(key: str, receipts: list[EraseReceipt]) -> EraseReceipt:
    removed: dict[str, int] = {}
    left: dict[str, int] = {}
    for receipt in receipts:
        for name, count in receipt.removed.items():
            removed[name] = removed.get(name, 0) + count
        for name, count in receipt.left.items():
            left[name] = left.get(name, 0) + count
    # A later erase may have finished what an earlier one had to leave.
    last = receipts[-1] if receipts else None
    pending = "; ".join(dict.fromkeys(r.pending for r in receipts if r.left))
    if last is not None and last.pending:
        pending = last.pending
    sums = {name: removed.get(name, 0) for name in ("messages", "vectors", "pins")}
    note = last.note if last is not None else ""
    return EraseReceipt(
        key, "tenant", **sums, complete=not pending, pending=pending, removed=removed, left=left,
        note=note,
    )  # fmt: skip


@strict
async def aopen_admin(url: str | os.PathLike[str], **options: Any) -> Admin:
    """An `Admin` of a URL, with the options of `open_memory`; it closes what it opens.

    Give `index` and `embedder` as the memory is opened with: else points of what is erased wait in
    the vector store, and the receipt says so. Without them it works on the database alone.
    """
    from rag_memory_plugins.opening import aopen_memory

    plain = {"embedder": None, "background": False, "drain_seconds": 0.0, "summarizer": None}
    admin = Admin(await aopen_memory(url, **{**plain, **options}))
    admin._owned = True  # noqa: SLF001  # its own maker
    return admin


open_admin = blocking_function(aopen_admin)


def stats_json(stats: TenantStats) -> dict[str, Any]:
    """The fields as plain values, times as ISO text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(stats).items()
    }
