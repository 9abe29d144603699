"""`open_memory`: one table from URL scheme to engine; the only place that knows all engines."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.config import Modes, Recall
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Hook
from rag_memory_plugins.forgetting import forget_texts
from rag_memory_plugins.options import Options, parse_url
from rag_memory_plugins.portal import blocking_function, get_portal, strict

if TYPE_CHECKING:
    from rag_memory_plugins.memory.folding import Folding
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.ports import (
        Embedder,
        FactSource,
        ItemStore,
        MessageLog,
        Reranker,
        Summarizer,
        TokenCounter,
        VectorIndex,
        VectorStore,
    )
    from rag_memory_plugins.stores.database import Database
    from rag_memory_plugins.stores.ledger import SqlLedger

__all__ = ["aopen_ledger", "aopen_memory", "open_ledger", "open_memory"]


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
    facts: FactSource | None = None,
    index: VectorStore | None = None,
) -> Memory:
    """Open a memory: a path, or `sqlite:///relative.db`, `sqlite:////absolute.db?mode=ro`.

    The file is made when it does not exist; several processes and threads may open it at once.

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
    - `facts`: any `ports.FactSource`: what holds now, beside what was said.
    - `index`: any `ports.VectorStore` for users with more messages than one process compares (a
      framework's vector store: `as_index`); it gets every vector the log has, and the caller
      closes it. None compares them all.

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
    )
    options.check()
    return await get_portal().acall(_open(url, options, background))


open_memory = blocking_function(aopen_memory)


async def _open(url: str | os.PathLike[str], options: Options, background: bool) -> Memory:
    path, url_options = parse_url(url)
    counter = _make_counter(options.counter)
    embedder, reason = _make_embedder(options.embedder)
    return await _open_sqlite(
        path, options, background, counter, embedder, reason, url_options.get("mode") == "ro"
    )


def _make_counter(counter: Any) -> TokenCounter:
    from rag_memory_plugins.tokens import make_counter

    return make_counter(counter)


def _make_embedder(embedder: Any) -> tuple[Embedder | None, str]:
    """(embedder or None, why there is none)."""
    if embedder is None:
        return None, "opened with embedder=None"
    if embedder != "default":
        return embedder, ""
    from rag_memory_plugins.retrieval.embedding import default_embedder, missing_local_reason

    made = default_embedder()
    return made, "" if made is not None else missing_local_reason().removeprefix("off: ")


async def _open_sqlite(
    path: Path,
    options: Options,
    background: bool,
    counter: TokenCounter,
    embedder: Embedder | None,
    reason: str,
    readonly: bool,
) -> Memory:
    from rag_memory_plugins.memory.memory import Lifetime, Memory
    from rag_memory_plugins.memory.mirror import Mirror
    from rag_memory_plugins.memory.outbox import Outbox
    from rag_memory_plugins.memory.usage import TokenTracker
    from rag_memory_plugins.stores.database import Database
    from rag_memory_plugins.stores.items import SqlItems
    from rag_memory_plugins.stores.local_state import LocalState
    from rag_memory_plugins.stores.schema import secret_of
    from rag_memory_plugins.stores.sql import SqlLog

    database = Database(path, options.busy_timeout, readonly)
    await database.aopen()
    try:
        log = SqlLog(database)
        index = await _open_index(database, options, embedder)
        secret = await database.aread(secret_of)
    except BaseException:
        await database.aclose()
        raise
    items = SqlItems(database)
    outbox = None
    folding = None
    mirror = None
    if not readonly:
        outbox = Outbox(index, embedder, options.hooks, partial(_atidy, log, items))
        folding = _make_folding(options, log, embedder, counter)
        mirror = Mirror(index, options.hooks) if options.index is not None else None
        for worker in (outbox, folding, mirror):
            if background and worker is not None:
                worker.start()
    state = LocalState()
    usage = TokenTracker(state, options.hooks)
    own = embedder if options.embedder == "default" else None
    return Memory(
        name=path.name,
        log=log,
        index=index,
        items=items,
        embedder=embedder,
        no_embedder=reason,
        counter=counter,
        secret=secret,
        hooks=options.hooks,
        recall=options.recall,
        reranker=options.reranker,
        lifetime=Lifetime(log, outbox, folding, mirror, usage, state, own, options.drain_seconds),
        budget=options.budget,
        modes=options.modes,
        facts=options.facts,
        usage=usage,
    )


async def _open_index(
    database: Database, options: Options, embedder: Embedder | None
) -> VectorIndex:
    from rag_memory_plugins.stores.flat import FlatIndex
    from rag_memory_plugins.stores.mirrored import MirroredIndex

    index: FlatIndex
    if embedder is None:
        if options.index is not None:
            remedy = "it needs an embedder; install the extra 'local' or pass embedder="
            raise InvalidInput("index", options.index, remedy)
        index = FlatIndex(database, None, 0, options.cache_bytes)
    elif options.index is None:
        index = FlatIndex(database, embedder.fingerprint, embedder.dimension, options.cache_bytes)
    else:
        index = MirroredIndex(
            database,
            embedder.fingerprint,
            embedder.dimension,
            options.index,
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

    Raises `InvalidURL`, `UnknownArgument` or a `StoreError`.
    """
    path, _ = parse_url(url)
    return await get_portal().acall(_open_ledger(path, tuple(hooks), busy_timeout))


open_ledger = blocking_function(aopen_ledger)


async def _open_ledger(path: Path, hooks: tuple[Hook, ...], busy_timeout: float) -> SqlLedger:
    from rag_memory_plugins.stores.database import Database
    from rag_memory_plugins.stores.ledger import SqlLedger, migrate_ledger

    database = Database(path, busy_timeout, readers=1, migrate=migrate_ledger)
    await database.aopen()
    ledger = SqlLedger(database, hooks)
    ledger.start()
    get_portal().at_exit(ledger)
    return ledger
