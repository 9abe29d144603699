"""Have an embedder's index filled: every message its vector, and in a vector store if there is one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.engines import make_database, make_store
from rag_memory_plugins.memory.outbox import Outbox

if TYPE_CHECKING:
    from rag_memory_plugins.admin.checking import Progress
    from rag_memory_plugins.ports import Embedder
    from rag_memory_plugins.stores.flat import FlatIndex
    from rag_memory_plugins.stores.mirrored import MirroredIndex

__all__ = ["Filled", "afill"]

_BUSY: Final = 30.0
_SLICE: Final = 0.5
"""Seconds between two words about the progress."""
_LOOK_AGAIN: Final = 0.25
_STUCK: Final = 120
"""Looks without any progress until the rest is left: longer than a lease of a killed worker."""


@dataclass(frozen=True)
class Filled:
    """`pending` messages have no vector yet; `unmirrored`: the vector store lacks some."""

    pending: int = 0
    unmirrored: bool = False


async def afill(
    url: str | os.PathLike[str],
    embedder: Embedder | None,
    index: Any,
    progress: Progress,
    *,
    beside: bool = False,
    until: Callable[[], Awaitable[bool]] | None = None,
) -> Filled:
    """Fill the index of an embedder at a URL; `beside` the one that serves, or as the active one.

    With `until` it goes on with what is added until that says True, and looks once more.
    """
    from rag_memory_plugins.stores.flat import FlatIndex
    from rag_memory_plugins.stores.mirrored import MirroredIndex

    database = make_database(url, _BUSY)
    store = make_store(index, url) if isinstance(index, str) else index
    try:
        await database.aopen()
        if embedder is None:
            await FlatIndex(database, None).aopen()  # keyword rows of another version
            return Filled()
        place = (database, embedder.fingerprint, embedder.dimension)
        made = (
            FlatIndex(*place, beside=beside)
            if store is None
            else MirroredIndex(*place, store, beside=beside)
        )
        await made.aopen()
        outbox = Outbox(made, embedder, (), _nothing)
        while True:
            last = until is None or await until()  # before: what was added by then is looked at
            found = await _once(made, outbox, progress)
            if last:
                return found
            await asyncio.sleep(_LOOK_AGAIN)
    finally:
        await database.aclose()
        if isinstance(index, str) and store is not None:
            await store.aclose()


async def _once(made: FlatIndex, outbox: Outbox, progress: Progress) -> Filled:
    left = total = await made.abacklog()
    stuck = 0
    while left and stuck < _STUCK:
        progress("embedding", total - left, total)
        now = await outbox.adrain(_SLICE, wait=True)
        stuck = stuck + 1 if now >= left else 0
        left = now
    from rag_memory_plugins.stores.mirrored import MirroredIndex

    if not isinstance(made, MirroredIndex):
        return Filled(left)
    return Filled(left, await _mirrored(made, progress))


async def _mirrored(made: MirroredIndex, progress: Progress) -> bool:
    """Bring the vector store up to date; whether it still lacks anything. Raises `StoreError`."""
    stuck = done = 0
    while await made.abehind() and stuck < 4 * _STUCK:
        count = await made.amirror()
        done += count
        progress("vector store", done, 0)
        stuck = 0 if count else stuck + 1
        if not count:  # another process has its lease
            await asyncio.sleep(_LOOK_AGAIN)
    return await made.abehind()


async def _nothing() -> bool:
    return True
