"""`migrate`: one memory copied to another place, of whatever kind.

```text
claim    the target is empty, or this source's already -> marked as being filled: nobody opens it
copy     table by table, after the last row that is there: a kill repeats nothing and loses nothing
finish   numbers go on where the source's were -> the mark goes
fill     opened with the embedder and the vector store: what has no vector gets one
compare  all rows, some searches
```
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from rag_memory_plugins.admin.checking import Comparison, Progress, acompare, quiet
from rag_memory_plugins.admin.filling import Filled, afill
from rag_memory_plugins.engines import make_database
from rag_memory_plugins.portal import blocking_function, get_portal, strict

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder, VectorStore
    from rag_memory_plugins.stores.database import Database

__all__ = ["Migration", "amigrate", "migrate"]

_BUSY: Final = 30.0


@dataclass(frozen=True)
class Migration:
    """What a migration did. `rows` says how many are in each table of the target that was filled.

    `pending` messages have no vector yet, `unmirrored` says whether the vector store lacks some;
    `left_behind` are vector stores that follow the source still. `compared` is None when that was
    not asked for.
    """

    rows: dict[str, int]
    pending: int
    unmirrored: bool
    left_behind: tuple[str, ...]
    compared: Comparison | None

    @property
    def complete(self) -> bool:
        """Whether all is there, and alike as far as it was compared."""
        same = self.compared is None or self.compared.alike
        return same and not self.pending and not self.unmirrored


@strict
async def amigrate(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    index: VectorStore | str | None = None,
    embedder: Embedder | Literal["default"] | None = "default",
    check: bool = True,
    progress: Progress = quiet,
) -> Migration:
    """Copy a memory to an empty place, and fill its search index there; run again it goes on.

    Both are paths or URLs as `open_memory` takes them. Messages, pins, items, summaries and
    calibrations go with their numbers and times; vectors too, so that only what has none is
    embedded, or all of it for another `embedder`. `index` is the target's vector store. The
    target's secret becomes the source's: fences stay the same, so a conversation still knows what a
    context of before made up. Whoever holds the source's secret can therefore write the target's
    fences: keep the old database as safe as the new one, or delete it.

    Nobody may write to the source meanwhile: what `compared` finds different then was, and the
    target must be dropped and filled again. The source is only read. Raises `InvalidURL`,
    `StoreError` (the target holds other data).

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> old, new = (pathlib.Path(folder.name) / name for name in ("old.db", "new.db"))
    >>> with open_memory(old, embedder=None) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    >>> migrate(old, new, embedder=None).complete
    True
    >>> folder.cleanup()
    """
    return await get_portal().acall(_migrate(source, target, index, embedder, check, progress))


migrate = blocking_function(amigrate)


async def _migrate(
    source: Any, target: Any, index: Any, embedder: Any, check: bool, progress: Progress
) -> Migration:
    from rag_memory_plugins.stores import moving

    old = make_database(source, _BUSY, readonly=True)
    await old.aopen()
    try:
        secret = await old.aread(moving.begin)
        new = make_database(target, _BUSY, migrate=moving.schema_unit)
        await new.aopen()
        try:
            rows = await _copied(old, new, secret, progress)
        finally:
            await new.aclose()
        followers = await old.aread(moving.followers)
    finally:
        await old.aclose()
    filled = await _filled(target, index, embedder, progress)
    compared = None
    if check:
        compared = await acompare(source, target, embedder=embedder, progress=progress)
    return Migration(rows, filled.pending, filled.unmirrored, tuple(followers), compared)


async def _copied(old: Database, new: Database, secret: str, progress: Progress) -> dict[str, int]:
    """Copy every table, unless that was done before; how many rows each has."""
    from rag_memory_plugins.stores import moving

    analyzer = await old.aread(moving.analyzer_of)
    tables = (*moving.COPIED, *moving.OF_INDEX)
    done = await new.awrite(lambda c: moving.claim(c, secret, analyzer), "everybody")
    if not done:
        totals = [await old.aread(partial(moving.count, table=table)) for table in tables]
        for table, total in zip(tables, totals, strict=True):
            await _copy(old, new, table, total, progress)
        highest = await old.aread(moving.highest)
        await new.awrite(lambda c: moving.finish(c, highest), "everybody")
    counts = [await new.aread(partial(moving.count, table=table)) for table in tables]
    return {table.name: number for table, number in zip(tables, counts, strict=True)}


async def _copy(old: Database, new: Database, table: Any, total: int, progress: Progress) -> None:
    from rag_memory_plugins.stores import moving

    last = await new.aread(lambda c: moving.reached(c, table))
    there = await new.aread(lambda c: moving.count(c, table)) if last is not None else 0
    keys = [column.name for column in table.primary_key.columns]
    while True:
        progress(table.name, there, total)
        rows = await old.aread(partial(moving.page, table=table, after=last))
        if not rows:
            return
        await new.awrite(partial(moving.put, table=table, rows=rows), "everybody")
        there += len(rows)
        last = tuple(rows[-1][key] for key in keys)


async def _filled(target: Any, index: Any, embedder: Any, progress: Progress) -> Filled:
    from rag_memory_plugins.opening import embedder_of

    made, owned = embedder_of(embedder)
    try:
        return await afill(target, made, index, progress)
    finally:
        if owned and made is not None:
            await made.aclose()
