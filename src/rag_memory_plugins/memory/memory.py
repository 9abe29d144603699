"""`Memory`: the ports, assembled. The one object a user holds."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, overload

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.forgetting import Erased, Keeper, forget_texts
from rag_memory_plugins.ingest.arguments import Options, checked_path, checked_paths
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.ingesting import aingested, aside_by_side
from rag_memory_plugins.memory.searching import Search
from rag_memory_plugins.namespace import Namespace, Scope, SharedUser
from rag_memory_plugins.portal import blocking, get_portal, on_portal, strict
from rag_memory_plugins.results import EraseReceipt, SearchResult
from rag_memory_plugins.tokens import REPLY_TOKENS
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from rag_memory_plugins.budget import TokenBudget
    from rag_memory_plugins.config import Modes, Recall
    from rag_memory_plugins.ingest.results import Ingested, Progress
    from rag_memory_plugins.ingest.transcripts import Kind
    from rag_memory_plugins.memory.extracting import Extracting
    from rag_memory_plugins.memory.folding import Folding
    from rag_memory_plugins.memory.mirror import Mirror
    from rag_memory_plugins.memory.outbox import Outbox
    from rag_memory_plugins.memory.usage import TokenTracker
    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.ports import (
        Embedder,
        FactSource,
        FactStore,
        ItemStore,
        MessageLog,
        Pending,
        Query,
        Reranker,
        TokenCounter,
        VectorIndex,
    )

__all__ = ["Closable", "Lifetime", "Memory"]

_COUNTED_HERE: Final = 4_000
"""Characters whose tokens are counted on the loop itself, in half a millisecond."""
_COUNTING: Final = 2.0
"""Seconds that closing gives the counters of usage."""
_STOPPING: Final = _COUNTING + 2.0
"""Seconds that closing gives all that does not drain."""


class Memory:
    """A durable memory for many tenants; made by `open_memory`, closed by `close` or `with`.

    `log`, `index` and `items` are its stores, `embedder` what makes vectors (None: keywords alone),
    `counter` what counts tokens, `usage` what was sent and saved.

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
        items: ItemStore,
        embedder: Embedder | None,
        no_embedder: str,
        counter: TokenCounter,
        secret: str,
        hooks: tuple[Hook, ...],
        recall: Recall,
        reranker: Reranker | None,
        lifetime: Lifetime,
        budget: TokenBudget,
        modes: Modes,
        fact_store: FactStore,
        fact_source: FactSource | None,
        usage: TokenTracker,
    ) -> None:
        self.name = name
        self.log = log
        self.index = index
        self.items = items
        self.embedder = embedder
        self.counter = counter
        self.secret = secret
        self.hooks = hooks
        self.portal = get_portal()
        self.recall = recall
        self.reranker = reranker
        self.budget = budget
        self.modes = modes
        self.fact_store = fact_store
        self.fact_source = fact_source
        self.usage = usage
        self.keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()
        """Who holds messages that wait to be stored here: an erase takes its part of them."""
        self._lifetime = lifetime
        self._search = Search(index, embedder, no_embedder, reranker, hooks, self._embed)
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
            if tenant.items:
                raise InvalidNamespace("namespace", tenant.key, "items are no conversation")
            return Conversation(self, tenant)
        return Conversation(self, Namespace(tenant, user, session))  # type: ignore[arg-type]

    @on_portal
    async def abacklog(self) -> int:
        """Messages of all tenants that wait for a vector."""
        return await self.index.abacklog() if self.index.ready else 0

    @on_portal
    async def asettle(self, timeout: float = 60.0) -> int:
        """Read, embed and summarise all that waits; how many messages still wait for a vector.

        Vectors are put into the vector store that the memory was opened with. Each of the four
        takes `timeout` seconds at most.
        """
        outbox, mirror = self._lifetime.outbox, self._lifetime.mirror
        if self._lifetime.extracting is not None:
            await self._lifetime.extracting.adrain(timeout)
        left = await outbox.adrain(timeout, wait=True) if outbox is not None else 0
        if mirror is not None:
            await mirror.afinish(timeout)
        await self.afold(timeout)
        return left

    @on_portal
    async def aread_facts(self, timeout: float = 600.0) -> int:
        """Read facts out of all that waits, for `timeout` seconds at most; how many were read.

        A memory that was opened without an extractor (`facts=`) reads none.
        """
        extracting = self._lifetime.extracting
        if extracting is None:
            return 0
        before = extracting.count
        await extracting.adrain(timeout)
        return extracting.count - before

    @on_portal
    async def arebuild(self) -> int:
        """Derive keywords and vectors of every tenant from the log again.

        Summaries too, and facts that were read out of messages; those that were stated stay.
        Returns how many messages were queued; `settle` waits for all of it.
        """
        if self._lifetime.extracting is not None:
            await self._lifetime.extracting.queue.arebuild()
        count = await self.index.arebuild()
        await self.log.adrop_summary()
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
    async def aingest(
        self,
        path: str | os.PathLike[str],
        tenant: Namespace | str,
        user: str | SharedUser | None = None,
        session: str | None = None,
        *,
        kind: Kind | None = None,
        start: datetime | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Ingested:
        """Store a transcript, a message a turn, in the session, else in one of the file's name.

        Plain text, WebVTT, SRT or JSON Lines: `kind` instead of what the content says. Turns are at
        `start` plus what the file tells in seconds (`metadata["offset"]`); without one at the date
        the file states, else when it was changed. The same file again stores nothing twice, one
        that has grown or was interrupted goes on. A session should hold one transcript. `progress`
        is called on the portal after each batch. Raises `InvalidFile`, with the line,
        `InvalidInput`, `InvalidNamespace` or a `StoreError`.
        """
        file, options = checked_path(path), Options(kind, start, progress)
        if isinstance(tenant, Namespace):
            remedy = "it holds user and session already"
            if user is not None or session is not None:
                raise InvalidNamespace("namespace", tenant, remedy)
            return await aingested(self.conversation(tenant), file, options)
        name = file.name if session is None else session
        place = Namespace(tenant, user, name)  # type: ignore[arg-type]  # it refuses None
        return await aingested(self.conversation(place), file, options)

    @on_portal
    async def aingest_files(
        self,
        paths: Iterable[str | os.PathLike[str]],
        tenant: str,
        user: str | SharedUser,
        *,
        kind: Kind | None = None,
        start: datetime | None = None,
        progress: Callable[[Progress], None] | None = None,
        concurrency: int = 4,
    ) -> tuple[Ingested, ...]:
        """Store several transcripts side by side, each in a session of its file's name.

        As `aingest` does each; `concurrency` of them at a time. The first that fails ends all:
        what is stored stays, and calling this again goes on.
        """
        options = Options(kind, start, progress)
        files = checked_paths(paths, concurrency)
        places = [self.conversation(tenant, user, file.name) for file in files]
        work = [
            partial(aingested, place, file, options)
            for place, file in zip(places, files, strict=True)
        ]
        return await aside_by_side(work, concurrency)

    @on_portal
    async def aclose(self) -> None:
        """Embed what waits, for a few seconds at most, and release the file. May be called twice.

        What is left is embedded by the next opener.
        """
        self._abandoned.detach()
        await self._lifetime.aclose()

    backlog = blocking(abacklog)
    settle = blocking(asettle)
    read_facts = blocking(aread_facts)
    rebuild = blocking(arebuild)
    namespaces = blocking(anamespaces)
    health = blocking(ahealth)
    ingest = blocking(aingest)
    ingest_files = blocking(aingest_files)
    close = blocking(aclose)

    async def astore(self, namespace: Namespace, batch: Sequence[Message]) -> int:
        """Append to the log and wake the outbox; how many were new; on the portal."""
        started = time.perf_counter()
        new = await self.log.aappend(namespace, batch, await self._sizes(batch))
        if new:
            self.wake()
        seconds = time.perf_counter() - started
        data = {"messages": len(batch), "new": new}
        self.emit(Event("log.append", namespace.scope.key, seconds, data))
        return new

    async def _sizes(self, batch: Sequence[Message]) -> list[int]:
        def count() -> list[int]:
            return [max(1, self.counter.count_messages([m]) - REPLY_TOKENS) for m in batch]

        small = sum(len(message.content) for message in batch) <= _COUNTED_HERE
        return count() if small else await self.portal.acompute(count)

    async def asearch(self, namespace: Namespace, query: Query) -> SearchResult:
        """One search of a namespace, as `Conversation.search` asks for it; on the portal."""
        return await self._search.arun(namespace, query)

    async def afold(self, timeout: float = 60.0) -> None:
        """Summarise what waits, for `timeout` seconds at most; on the portal."""
        if self._lifetime.folding is not None:
            await self._lifetime.folding.afinish(timeout)

    def summary_failed(self, namespace: Namespace) -> str:
        """Why the last fold of a session failed; "" when it did not."""
        folding = self._lifetime.folding
        return folding.failed(namespace) if folding is not None else ""

    async def acleaned(self, receipt: EraseReceipt) -> EraseReceipt:
        """The receipt of an erase when it was made outside the log too; on the portal."""
        store = getattr(getattr(self.index, "store", None), "name", "")
        waits = [await self.index.aclean()]
        if store and receipt.vectors and not waits[0]:
            removed = {**receipt.removed, store: receipt.vectors}
            receipt = replace(receipt, removed=removed)
        for keeper in list(self.keepers):
            clean = getattr(keeper, "aclean", None)  # of what is kept outside of this process too
            if clean is not None:
                waits.append(await clean())
        if not any(waits):
            return receipt
        reasons = "; ".join(filter(None, (receipt.pending, *waits)))
        return replace(receipt, complete=False, pending=reasons)

    def forget_texts(self, erased: Erased) -> int:
        """Let go of what this process keeps of texts, as some were erased; on the portal.

        Returns how many caches and keepers that were.
        """
        count = forget_texts()
        for keeper in list(self.keepers):
            keeper.forget(erased)
            count += 1
        if self._lifetime.folding is not None:
            self._lifetime.folding.forget(erased.namespace, erased.level)
        return count

    async def aforget_usage(self, what: Namespace | Scope | str) -> int:
        """Forget what was counted of an erased session, user or tenant; how many; on the portal."""
        try:
            return await self.usage.aforget(what)
        except Exception as error:  # what is erased is erased; the counters hold no text
            self.emit(Event("usage.failed", data={"error": repr(error)}))
            return 0

    async def asignals(self, namespace: Namespace, query: Query) -> tuple[float, ...]:
        """The signals of a search, to calibrate by; on the portal."""
        return await self._search.asignals(namespace, query)

    async def _embed(self, pending: Sequence[Pending]) -> None:
        if self._lifetime.outbox is not None:
            await self._lifetime.outbox.aembed(pending)

    def wake(self, *, chore: bool = False) -> None:
        """Tell the workers that there is work; on the portal."""
        if self._lifetime.folding is not None:
            self._lifetime.folding.wake()
        if self._lifetime.extracting is not None:
            self._lifetime.extracting.wake()
        if self._lifetime.outbox is not None and (chore or self.index.ready):
            self._lifetime.outbox.wake(chore=chore)
        if self._lifetime.mirror is not None:
            self._lifetime.mirror.wake()

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


class Closable(Protocol):
    """What a memory was opened with and must let go of."""

    async def aclose(self) -> None:
        """Free what it holds."""


@dataclass
class Lifetime:
    """What a memory must release: kept apart from it, so that a forgotten memory can be closed."""

    log: MessageLog
    outbox: Outbox | None
    folding: Folding | None
    mirror: Mirror | None
    extracting: Extracting | None
    usage: TokenTracker
    owned: Sequence[Closable]
    drain_seconds: float
    closed: bool = False

    async def aclose(self) -> None:
        """Drain, stop, release; on the portal, once."""
        if self.closed:
            return
        self.closed = True
        draining = asyncio.ensure_future(self._adrain())
        try:
            # Each part keeps to its time unless the log itself hangs.
            await asyncio.wait({draining}, timeout=3 * self.drain_seconds + _STOPPING)
            if draining.done():
                await draining
        finally:
            draining.add_done_callback(_taken)
            draining.cancel()
            await self._arelease([*self.owned, self.log])

    async def _adrain(self) -> None:
        """Stop the workers, and do what waits for `drain_seconds` each."""
        if self.folding is not None:
            await self.folding.astop()
        if self.extracting is not None:
            await self.extracting.astop()
            await self.extracting.afinish(self.drain_seconds)
        if self.outbox is not None:
            await self.outbox.astop()
            await self.outbox.adrain(self.drain_seconds, wait=False)
        if self.mirror is not None:
            await self.mirror.astop()
            await self.mirror.afinish(self.drain_seconds)
        await self.usage.adrain(_COUNTING)

    async def _arelease(self, parts: Sequence[Closable]) -> None:
        """Close all of them, also when one of them fails."""
        if parts:
            try:
                await parts[0].aclose()
            finally:
                await self._arelease(parts[1:])


def _taken(draining: asyncio.Task[None]) -> None:
    """What a drain that took too long fails with in the end is nobody's any more."""
    if not draining.cancelled():
        draining.exception()


def _abandon(portal: Portal, lifetime: Lifetime) -> None:
    if not lifetime.closed and os.getpid() == portal.pid and portal.loop.is_running():
        lifetime.drain_seconds = 0.0
        asyncio.run_coroutine_threadsafe(lifetime.aclose(), portal.loop)
