"""`Memory`: the ports, assembled. The one object a user holds."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, overload

from rag_memory_plugins.errors import InvalidNamespace, shorten
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.outbox import check_vectors
from rag_memory_plugins.namespace import Namespace, SharedUser
from rag_memory_plugins.portal import blocking, get_portal, on_portal, strict
from rag_memory_plugins.results import SearchResult
from rag_memory_plugins.types import Level, Message

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from rag_memory_plugins.memory.outbox import Outbox
    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.ports import Embedder, Found, MessageLog, TokenCounter, VectorIndex

__all__ = ["Lifetime", "Memory"]

INLINE: Final = 8
"""Messages that a search embeds itself, so that what was just said is found by meaning too."""


class Memory:
    """A durable memory for many tenants; made by `open_memory`, closed by `close` or `with`.

    `log` and `index` are its stores, `embedder` what makes vectors (None: keywords alone),
    `counter` what counts tokens.

    >>> from rag_memory_plugins import open_memory
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> memory = open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None)
    >>> memory.conversation("acme", "ann", "monday")
    Conversation(tenant='acme', user='ann', session='monday')
    >>> memory.close(); folder.cleanup()
    """

    def __init__(
        self,
        *,
        name: str,
        log: MessageLog,
        index: VectorIndex,
        embedder: Embedder | None,
        no_embedder: str,
        counter: TokenCounter,
        secret: str,
        hooks: tuple[Hook, ...],
        lifetime: Lifetime,
    ) -> None:
        self.name = name
        self.log = log
        self.index = index
        self.embedder = embedder
        self.counter = counter
        self.secret = secret
        self.hooks = hooks
        self.portal = get_portal()
        self._no_embedder = no_embedder
        self._lifetime = lifetime
        # What nobody holds any more is closed too, so that running a notebook cell again does not
        # leave threads behind; the lifetime must therefore not know the memory.
        self._abandoned = weakref.finalize(self, _abandon, self.portal, lifetime)
        self._abandoned.atexit = False  # at exit the portal closes what is open, and drains it
        self.portal.at_exit(self)

    @overload
    def conversation(self, namespace: Namespace, /) -> Conversation: ...
    @overload
    def conversation(self, tenant: str, user: str | SharedUser, session: str) -> Conversation: ...
    @strict
    def conversation(
        self,
        tenant: Namespace | str,
        user: str | SharedUser | None = None,
        session: str | None = None,
    ) -> Conversation:
        """The memory of one namespace: `conversation("acme", "ann", "monday")`.

        Raises `InvalidNamespace`, naming the part. Nothing is stored by asking for it.
        """
        if isinstance(tenant, Namespace):
            if user is not None or session is not None:
                raise InvalidNamespace("namespace", tenant, "it holds user and session already")
            return Conversation(self, tenant)
        return Conversation(self, Namespace(tenant, user, session))  # type: ignore[arg-type]

    @on_portal
    async def abacklog(self) -> int:
        """Messages of all tenants that wait for a vector."""
        return await self.index.abacklog() if self.index.ready else 0

    @on_portal
    async def asettle(self, timeout: float = 60.0) -> int:
        """Embed all that waits, for `timeout` seconds at most; return how many still wait."""
        outbox = self._lifetime.outbox
        return await outbox.adrain(timeout, wait=True) if outbox is not None else 0

    @on_portal
    async def arebuild(self) -> int:
        """Derive keywords and vectors of every tenant from the log again.

        Returns how many messages were queued; `settle` waits for their vectors.
        """
        count = await self.index.arebuild()
        self.wake()
        return count

    @on_portal
    async def anamespaces(self) -> list[Namespace]:
        """Every session of every tenant: for the owner of the file, not for a tenant."""
        return await self.log.anamespaces()

    @on_portal
    async def ahealth(self) -> dict[str, object]:
        """Facts about the store, with a list of "problems" that is empty when all is well."""
        return await self.log.ahealth()

    @on_portal
    async def aclose(self) -> None:
        """Embed what waits, for a few seconds at most, and release the file. May be called twice.

        What is left is embedded by the next opener.
        """
        self._abandoned.detach()
        await self._lifetime.aclose()

    backlog = blocking(abacklog)
    settle = blocking(asettle)
    rebuild = blocking(arebuild)
    namespaces = blocking(anamespaces)
    health = blocking(ahealth)
    close = blocking(aclose)

    async def astore(self, namespace: Namespace, batch: Sequence[Message]) -> None:
        """Append to the log and wake the outbox; on the portal."""
        started = time.perf_counter()
        new = await self.log.aappend(namespace, batch)
        if new:
            self.wake()
        seconds = time.perf_counter() - started
        data = {"messages": len(batch), "new": new}
        self.emit(Event("log.append", namespace.scope.key, seconds, data))

    async def afind(
        self, namespace: Namespace, query: str, limit: int, level: Level, *, neighbours: bool
    ) -> SearchResult:
        """Search every lane that can run, and say what of each; on the portal."""
        vector, dense, degraded = None, f"off: {self._no_embedder}", []
        if self.embedder is not None and self.index.ready:
            dense = "ok"
            try:
                vector = await self.embedder.aembed_query(query)
                check_vectors(self.embedder, vector[None, :])
            except (
                Exception
            ) as error:  # a user's embedder may raise anything; keywords still answer
                dense = f"failed: {shorten(error)}"
                degraded.append(f"dense: {shorten(error)}")

        async def search() -> Found:
            return await self.index.asearch(namespace, query, vector, limit, level, neighbours)

        found = await search()
        if vector is not None and 0 < found.pending <= INLINE:
            try:
                await self._embed_pending(namespace)
            except Exception as error:  # as above; the outbox tries these messages again
                degraded.append(f"dense: {found.pending} pending ({shorten(error)})")
            found = await search()
        if vector is not None and found.pending:
            dense = f"ok, {found.pending} pending"
        lanes = {"keywords": "ok", "dense": dense}
        return SearchResult(query, found.hits, lanes, tuple(degraded))

    async def _embed_pending(self, namespace: Namespace) -> None:
        pending = await self.index.apending(namespace.scope, INLINE)
        if pending and self._lifetime.outbox is not None:
            await self._lifetime.outbox.aembed(pending)

    def wake(self, *, chore: bool = False) -> None:
        """Tell the outbox that there is work; on the portal."""
        if self._lifetime.outbox is not None and (chore or self.index.ready):
            self._lifetime.outbox.wake(chore=chore)

    def emit(self, event: Event) -> None:
        """Hand an event to the hooks."""
        emit(self.hooks, event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        embedder = self.embedder.fingerprint if self.embedder is not None else "keywords alone"
        state = ", closed" if self._lifetime.closed else ""
        return f"Memory({self.name!r}, {embedder}, tokens: {self.counter.name}{state})"


@dataclass
class Lifetime:
    """What a memory must release: kept apart from it, so that a forgotten memory can be closed."""

    log: MessageLog
    outbox: Outbox | None
    own_embedder: Embedder | None
    drain_seconds: float
    closed: bool = False

    async def aclose(self) -> None:
        """Drain, stop, release; on the portal, once."""
        if self.closed:
            return
        self.closed = True
        try:
            if self.outbox is not None:
                await self.outbox.astop()
                await self.outbox.adrain(self.drain_seconds, wait=False)
            if self.own_embedder is not None:
                await self.own_embedder.aclose()
        finally:
            await self.log.aclose()


def _abandon(portal: Portal, lifetime: Lifetime) -> None:
    if not lifetime.closed and os.getpid() == portal.pid and portal.loop.is_running():
        lifetime.drain_seconds = 0.0
        asyncio.run_coroutine_threadsafe(lifetime.aclose(), portal.loop)
