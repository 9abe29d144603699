"""A new embedder without downtime: filled beside the one that serves; then the old one is dropped.

```text
fill     every message gets a vector of the new embedder; new messages get both
switch   open the memory with the new embedder: it has what the old one had
drop     the old vectors go, from the database and from a vector store
```
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from rag_memory_plugins.admin.checking import Progress, quiet
from rag_memory_plugins.admin.filling import afill
from rag_memory_plugins.engines import make_database, make_store
from rag_memory_plugins.errors import EmbedderError, InvalidInput
from rag_memory_plugins.portal import blocking_function, get_portal, strict

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder, VectorStore
    from rag_memory_plugins.stores.database import Database

__all__ = ["Dropped", "Reembedded", "adrop_index", "areembed", "drop_index", "reembed"]

_BUSY: Final = 30.0
_REMOVE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Reembedded:
    """An index that was filled: `whole` when nothing is pending, in a vector store neither."""

    fingerprint: str
    pending: int
    unmirrored: bool

    @property
    def whole(self) -> bool:
        """Whether a memory opened with this embedder lacks nothing."""
        return not self.pending and not self.unmirrored


@dataclass(frozen=True)
class Dropped:
    """An index that was removed: its vectors, and vector stores that still hold points of it."""

    fingerprint: str
    vectors: int
    still_in: tuple[str, ...]


@strict
async def areembed(
    url: str | os.PathLike[str],
    embedder: Embedder | Literal["default"],
    *,
    index: VectorStore | str | None = None,
    follow: threading.Event | None = None,
    progress: Progress = quiet,
) -> Reembedded:
    """Give every message a vector of another embedder, beside the one that serves.

    Searches of running processes are as before; what is added meanwhile gets vectors of both. Run
    it again after a crash: it goes on with what has none. When the result is `whole`, open the
    memory with the new embedder, and with `index` if one was given here. Between the end of this
    and that opening new messages wait for their new vector: with `follow` it goes on until the
    event is set, by another thread or task. Raises `EmbedderError`, `StoreError`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "memory.db"
    >>> with open_memory(path, embedder=WordEmbedder(name="old")) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    >>> reembed(path, WordEmbedder(name="new")).whole
    True
    >>> folder.cleanup()
    """
    return await get_portal().acall(_reembed(url, embedder, index, follow, progress))


reembed = blocking_function(areembed)


async def _reembed(
    url: Any, embedder: Any, index: Any, follow: threading.Event | None, progress: Progress
) -> Reembedded:
    from rag_memory_plugins.opening import embedder_of

    made, owned = embedder_of(embedder)
    if made is None:
        raise EmbedderError("embedder: there is none; install the extra 'local' or pass one")

    async def until() -> bool:
        return follow is None or follow.is_set()

    try:
        filled = await afill(url, made, index, progress, beside=True, until=until)
        return Reembedded(made.fingerprint, filled.pending, filled.unmirrored)
    finally:
        if owned:
            await made.aclose()


@strict
async def adrop_index(
    url: str | os.PathLike[str],
    fingerprint: str,
    *,
    index: VectorStore | str | None = None,
    progress: Progress = quiet,
) -> Dropped:
    """Remove all vectors of an embedder; with `index` its points in that vector store too.

    For one that was replaced: a process that still uses it makes them all anew. Calibrations of it
    go as well. Again after a crash it goes on. Raises `InvalidInput` for an unknown fingerprint and
    for the last one that serves searches, `StoreError`.
    """
    return await get_portal().acall(_drop(url, fingerprint, index, progress))


drop_index = blocking_function(adrop_index)


async def _drop(url: Any, fingerprint: str, index: Any, progress: Progress) -> Dropped:
    from rag_memory_plugins.stores import dropping
    from rag_memory_plugins.stores.schema import secret_of, text_hash

    database = make_database(url, _BUSY)
    store = make_store(index, url) if isinstance(index, str) else index
    try:
        await database.aopen()
        place = await database.awrite(lambda c: dropping.retire(c, fingerprint), "everybody")
        if isinstance(place, list):
            known = ", ".join(place) or "none"
            raise InvalidInput("fingerprint", fingerprint, f"known: {known}")
        if place is None:
            raise InvalidInput(
                "fingerprint", fingerprint, "searches use it; open the memory with another first"
            )
        if store is not None:
            secret = await database.aread(secret_of)
            log = text_hash(f"log {secret} {fingerprint}").hex()
            await store.aopen(log, fingerprint, place.dimension)
        gone = await _drop_vectors(database, place, store, progress)
        names = await database.awrite(
            lambda c: dropping.finish(c, place, store.name if store is not None else ""),
            "everybody",
        )
        from rag_memory_plugins.stores.erasing import afinish

        await afinish(database)
        return Dropped(fingerprint, gone, tuple(names))
    finally:
        await database.aclose()
        if isinstance(index, str) and store is not None:
            await store.aclose()


async def _drop_vectors(database: Database, place: Any, store: Any, progress: Progress) -> int:
    """Remove page by page: first from the store, so that a crash leaves it known what is there."""
    from rag_memory_plugins.stores import dropping

    gone = 0
    while True:
        points, ids = await database.aread(partial(dropping.page, place=place))
        if not ids:
            break
        if store is not None:
            await asyncio.wait_for(store.aremove(points), _REMOVE_SECONDS)
        gone += await database.awrite(partial(dropping.remove, place=place, ids=ids), "everybody")
        progress("dropping", gone, 0)
    if store is not None:
        waiting = await database.aread(lambda c: dropping.removals(c, place, store.name))
        if waiting:
            await asyncio.wait_for(store.aremove(waiting), _REMOVE_SECONDS)
    return gone
