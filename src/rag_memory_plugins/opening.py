"""`open_memory`: one table from URL scheme to engine; the only place that knows all engines."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.config import Modes, Recall
from rag_memory_plugins.engines import make_database, make_state, make_store
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Hook
from rag_memory_plugins.forgetting import forget_texts
from rag_memory_plugins.options import Options
from rag_memory_plugins.portal import blocking_function, get_portal, strict

if TYPE_CHECKING:
    from rag_memory_plugins.memory.extracting import Extracting
    from rag_memory_plugins.memory.folding import Folding
    from rag_memory_plugins.memory.memory import Closable, Memory
    from rag_memory_plugins.ports import (
        Embedder,
        FactExtractor,
        FactSource,
        FactStore,
        ItemStore,
        MessageLog,
        Reranker,
        SharedState,
        Summarizer,
        TokenCounter,
        VectorIndex,
        VectorStore,
    )
    from rag_memory_plugins.stores.database import Database
    from rag_memory_plugins.stores.ledger import SqlLedger

__all__ = ["aopen_ledger", "aopen_memory", "embedder_of", "open_ledger", "open_memory"]


@strict
async def aopen_memory(
    url: str | os.PathLike[str] = "memory.db",
    *,
    embedder: Embedder | Literal["default"] | None = "default",
    counter: TokenCounter | str | None = None,
    hooks: Iterable[Hook] = (),
    busy_timeout: float = 10.0,
    cache_bytes: int = 256 * 2**20,
    drain_seconds: float = 5.0,
    background: bool = True,
    recall: Recall | None = None,
    reranker: Reranker | None = None,
    budget: int | TokenBudget | None = None,
    modes: Modes | None = None,
    summarizer: Summarizer | Literal["default"] | None = "default",
    facts: FactExtractor | FactSource | Literal["rules"] | None = None,
    index: VectorStore | str | None = None,
    shared: SharedState | str | None = None,
) -> Memory:
    """Open a memory: a path, or `sqlite:///relative.db`, `sqlite:////absolute.db?mode=ro`.

    The file is made when it does not exist; several processes and threads may open it at once.
    For many machines: `postgresql://user@host/database`, with `?mode=ro` and `?schema=rag_memory`.

    - `embedder`: "default" is the local model of the extra `local`, or keywords alone without it;
      None is keywords alone; or any `ports.Embedder` (framework embeddings: `as_embedder`).
    - `counter`: what counts tokens: "cl100k_base", "o200k_base", "upper", "words", "characters",
      or a `TokenCounter`. None takes cl100k_base if its file is installed, else an upper estimate.
    - `hooks`: called with every `Event`.
    - `busy_timeout`: seconds to wait for a write lock of another process.
    - `cache_bytes`: memory for the columns of recently searched users.
    - `drain_seconds`: how long `close` goes on embedding what waits.
    - `background`: False embeds only in `search`, `settle` and `close`.
    - `recall`: the weight of every step of a search, unless a search brings its own.
    - `reranker`: any `ports.Reranker`, for the first 50 hits of every search; the caller closes it.
    - `budget`: what a context may hold unless it is told otherwise; `TokenBudget.default()`.
    - `modes`: up to which sizes a context holds the whole history, or many recent turns.
    - `summarizer`: "default" picks sentences without an LLM; None summarises nothing; or any
      `ports.Summarizer`, such as `LLMSummarizer`; the caller closes it.
    - `facts`: what reads facts out of messages, in the background: "rules" (English, without an
      LLM; they follow few changes: docs/facts.md) or any `ports.FactExtractor`, such as
      `LLMExtractor`; the caller closes it. None reads none; what is stated through
      `conversation.facts` is there all the same. Or any `ports.FactSource` of your own: it says
      what holds now in place of them.
    - `index`: a vector store for users with more messages than one process compares; it gets every
      vector the log has. A URL: `qdrant://host:6333`, `edge:///folder`, `pinecone://host`,
      `pgvector` (in the log's Postgres) or `pgvector://host/database`; or any `ports.VectorStore`
      (a framework's: `as_index`), which the caller closes. None compares them all.
    - `shared`: numbers that processes share: a URL (`redis://host`, `rediss://`, `unix://`,
      `redis+sentinel://host:26379/name`) or any `ports.SharedState`, which the caller closes. None
      counts in this process.

    Raises `InvalidURL`, `UnknownArgument`, `InvalidInput` or a `StoreError`.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     memory.conversation("acme", "ann", "monday").search("anything").lanes["keywords"]
    'ok'
    >>> folder.cleanup()
    """
    options = Options(
        embedder=embedder,
        counter=counter,
        hooks=tuple(hooks),
        busy_timeout=busy_timeout,
        cache_bytes=cache_bytes,
        drain_seconds=drain_seconds,
        recall=recall or Recall(),
        reranker=reranker,
        budget=TokenBudget.default() if budget is None else TokenBudget.of(budget),
        modes=modes or Modes(),
        summarizer=summarizer,
        facts=facts,
        index=index,
        shared=shared,
    )
    options.check()
    return await get_portal().acall(_open(url, options, background))


open_memory = blocking_function(aopen_memory)


async def _open(url: str | os.PathLike[str], options: Options, background: bool) -> Memory:
    from rag_memory_plugins.stores.local_state import LocalState

    counter = _make_counter(options.counter)
    embedder, reason = _make_embedder(options.embedder)
    database = make_database(url, options.busy_timeout)
    # What is made here is closed with the memory; what was given is its owner's.
    owned: list[Closable] = []
    if options.embedder == "default" and embedder is not None:
        owned.append(embedder)
    store, state = options.index, options.shared
    if isinstance(store, str):
        store = make_store(store, url)
        owned.append(store)
    if state is None or isinstance(state, str):
        state = LocalState() if state is None else make_state(state, options.hooks)
        owned.append(state)
    parts = _Parts(counter, embedder, reason, store, state, owned)
    try:
        return await _assembled(database, options, background, parts)
    except BaseException:
        for part in owned:
            await part.aclose()
        raise


def _make_counter(counter: Any) -> TokenCounter:
    from rag_memory_plugins.tokens import make_counter

    return make_counter(counter)


def embedder_of(embedder: Any) -> tuple[Embedder | None, bool]:
    """(the embedder that an option stands for, whether it was made here)."""
    made, _ = _make_embedder(embedder)
    return made, embedder == "default" and made is not None


def _make_embedder(embedder: Any) -> tuple[Embedder | None, str]:
    """(embedder or None, why there is none)."""
    if embedder is None:
        return None, "opened with embedder=None"
    if embedder != "default":
        return embedder, ""
    from rag_memory_plugins.retrieval.embedding import default_embedder, missing_local_reason

    made = default_embedder()
    return made, "" if made is not None else missing_local_reason().removeprefix("off: ")


@dataclass(frozen=True)
class _Parts:
    """What the options stand for. `reason` says why there is no embedder."""

    counter: TokenCounter
    embedder: Embedder | None
    reason: str
    store: VectorStore | None
    state: SharedState
    owned: list[Closable]


async def _assembled(
    database: Database, options: Options, background: bool, parts: _Parts
) -> Memory:
    from rag_memory_plugins.memory.memory import Lifetime, Memory
    from rag_memory_plugins.memory.mirror import Mirror
    from rag_memory_plugins.memory.outbox import Outbox
    from rag_memory_plugins.memory.usage import TokenTracker
    from rag_memory_plugins.stores.facts import SqlFacts
    from rag_memory_plugins.stores.items import SqlItems
    from rag_memory_plugins.stores.schema import secret_of
    from rag_memory_plugins.stores.sql import SqlLog

    await database.aopen()
    try:
        log = SqlLog(database)
        index = await _open_index(database, options, parts)
        secret = await database.aread(secret_of)
        store = SqlFacts(database)
        extracting = await _make_extracting(options, database, store, parts.owned)
    except BaseException:
        await database.aclose()
        raise
    items = SqlItems(database)
    outbox = None
    folding = None
    mirror = None
    if not database.readonly:
        outbox = Outbox(index, parts.embedder, options.hooks, partial(_atidy, log, items))
        folding = _make_folding(options, log, parts.embedder, parts.counter)
        mirror = Mirror(index, options.hooks) if parts.store is not None else None
        for worker in (outbox, folding, mirror, extracting):
            if background and worker is not None:
                worker.start()
    usage = TokenTracker(parts.state, options.hooks)
    memory = Memory(
        name=database.name,
        log=log,
        index=index,
        items=items,
        embedder=parts.embedder,
        no_embedder=parts.reason,
        counter=parts.counter,
        secret=secret,
        hooks=options.hooks,
        recall=options.recall,
        reranker=options.reranker,
        lifetime=Lifetime(
            log, outbox, folding, mirror, extracting, usage, parts.owned, options.drain_seconds
        ),
        budget=options.budget,
        modes=options.modes,
        fact_store=store,
        fact_source=None if _is_extractor(options.facts) else options.facts,
        usage=usage,
    )
    if extracting is not None and outbox is not None:
        extracting.stored = outbox.wake
    return memory


def _is_extractor(facts: Any) -> bool:
    from rag_memory_plugins.ports import FactExtractor

    return facts == "rules" or isinstance(facts, FactExtractor)


async def _make_extracting(
    options: Options, database: Database, store: FactStore, owned: list[Closable]
) -> Extracting | None:
    from rag_memory_plugins.memory.extracting import Extracting
    from rag_memory_plugins.stores.reading import SqlReadingQueue

    extractor: Any = options.facts
    if not _is_extractor(extractor):
        return None
    if extractor == "rules":
        from rag_memory_plugins.facts.rules import RuleExtractor

        extractor = RuleExtractor()
        owned.append(extractor)
    queue = SqlReadingQueue(database, extractor.name)
    await queue.aopen()
    return Extracting(queue, store, extractor, options.hooks)


async def _open_index(database: Database, options: Options, parts: _Parts) -> VectorIndex:
    from rag_memory_plugins.stores.flat import FlatIndex
    from rag_memory_plugins.stores.mirrored import MirroredIndex

    embedder = parts.embedder
    index: FlatIndex
    if embedder is None:
        if parts.store is not None:
            remedy = "it needs an embedder; install the extra 'local' or pass embedder="
            raise InvalidInput("index", parts.store, remedy)
        index = FlatIndex(database, None, 0, options.cache_bytes)
    elif parts.store is None:
        index = FlatIndex(database, embedder.fingerprint, embedder.dimension, options.cache_bytes)
    else:
        index = MirroredIndex(
            database,
            embedder.fingerprint,
            embedder.dimension,
            parts.store,
            options.cache_bytes,
        )
    await index.aopen()
    return index


async def _atidy(log: MessageLog, items: ItemStore) -> bool:
    """Erase what has expired, and finish an erase that had to wait; True when none waits."""
    if await items.aexpire(datetime.now(timezone.utc)):
        forget_texts()
    return await log.atidy()


def _make_folding(
    options: Options, log: MessageLog, embedder: Embedder | None, counter: TokenCounter
) -> Folding | None:
    from rag_memory_plugins.memory.extractive import ExtractiveSummarizer
    from rag_memory_plugins.memory.folding import FOLD_AT, SUMMARY_TOKENS, Folding

    summarizer = options.summarizer
    if summarizer is None:
        return None
    if summarizer == "default":
        summarizer = ExtractiveSummarizer(embedder, counter)
    least = options.modes.full_up_to * FOLD_AT // 100
    limit = options.budget.summary or SUMMARY_TOKENS
    return Folding(log, summarizer, options.hooks, limit, least, counter)


@strict
async def aopen_ledger(
    url: str | os.PathLike[str] = "ledger.db",
    *,
    hooks: Iterable[Hook] = (),
    busy_timeout: float = 10.0,
) -> SqlLedger:
    """Open a router's ledger: a path or URL as `open_memory` takes it, of a file of its own.

    In Postgres it stands in the schema `rag_memory_ledger`.

    Raises `InvalidURL`, `UnknownArgument` or a `StoreError`.
    """
    return await get_portal().acall(_open_ledger(url, tuple(hooks), busy_timeout))


open_ledger = blocking_function(aopen_ledger)


async def _open_ledger(
    url: str | os.PathLike[str], hooks: tuple[Hook, ...], busy_timeout: float
) -> SqlLedger:
    from rag_memory_plugins.stores.ledger import SqlLedger, migrate_ledger

    # In Postgres a schema of its own, as it is a file of its own elsewhere.
    database = make_database(
        url, busy_timeout, readers=1, migrate=migrate_ledger, schema="rag_memory_ledger"
    )
    await database.aopen()
    ledger = SqlLedger(database, hooks)
    ledger.start()
    get_portal().at_exit(ledger)
    return ledger
