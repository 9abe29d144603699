"""Whether two memories answer alike: their rows, scope by scope, and a sample of searches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from rag_memory_plugins.engines import make_database
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.portal import blocking_function, get_portal, strict
from rag_memory_plugins.ports import Query
from rag_memory_plugins.retrieval.encoding import aencode_query

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder
    from rag_memory_plugins.stores.database import Database
    from rag_memory_plugins.stores.flat import FlatIndex

__all__ = ["Comparison", "Progress", "acompare", "compare"]

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and of how much."""

_SAMPLE: Final = 20
_HITS: Final = 10
_BUSY: Final = 30.0


@dataclass(frozen=True)
class Comparison:
    """What two memories have in common.

    `scopes` and `messages` is how many were compared; `different` are keys of scopes whose messages
    differ, `tables` what else does, `searches` how many were asked on both sides (`dense` of them
    with vectors), `unlike` those with other hits.
    """

    scopes: int
    messages: int
    different: tuple[str, ...]
    tables: tuple[str, ...]
    searches: int
    dense: int
    unlike: tuple[str, ...]

    @property
    def alike(self) -> bool:
        """Whether nothing differs."""
        return not (self.different or self.tables or self.unlike)


def quiet(_what: str, _done: int, _of: int) -> None:
    """Tell nobody."""


@strict
async def acompare(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    embedder: Embedder | Literal["default"] | None = "default",
    sample: int = _SAMPLE,
    progress: Progress = quiet,
) -> Comparison:
    """Read all of both, and search some users of both, at most `sample`; nothing is changed.

    Searches use vectors where both sides have them all, else keywords. Raises `InvalidURL`,
    `StoreError`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "memory.db"
    >>> with open_memory(path, embedder=None) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    >>> compare(path, path, embedder=None).alike
    True
    >>> folder.cleanup()
    """
    return await get_portal().acall(_compare(source, target, embedder, sample, progress))


compare = blocking_function(acompare)


async def _compare(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    embedder: Any,
    sample: int,
    progress: Progress,
) -> Comparison:
    from rag_memory_plugins.opening import embedder_of

    made, owned = embedder_of(embedder)
    sides = [make_database(url, _BUSY, readonly=True) for url in (source, target)]
    opened: list[Database] = []
    try:
        for side in sides:
            await side.aopen()
            opened.append(side)
        rows = await _compare_rows(sides, progress)
        searched = await _compare_searches(sides, made, sample, progress)
        return Comparison(*rows, *searched)
    finally:
        for side in opened:
            await side.aclose()
        if owned and made is not None:
            await made.aclose()


async def _compare_rows(
    sides: list[Database], progress: Progress
) -> tuple[int, int, tuple[str, ...], tuple[str, ...]]:
    from rag_memory_plugins.stores import comparing

    tables, scopes, different = [], 0, []
    messages = 0
    for number, table in enumerate(comparing.COMPARED):
        progress("comparing", number, len(comparing.COMPARED))
        one, other = [await _digests(side, table) for side in sides]
        if table.name == "messages":
            scopes, messages = len(one[0]), one[1]
            ids = [key for key in {**one[0], **other[0]} if one[0].get(key) != other[0].get(key)]
            for start in range(0, len(ids), 500):
                some = ids[start : start + 500]
                found = [
                    await side.aread(partial(comparing.scope_keys, ids=some)) for side in sides
                ]
                different += sorted({key for keys in found for key in keys})
        elif one != other:
            tables.append(table.name)
    return scopes, messages, tuple(different), tuple(tables)


async def _digests(side: Database, table: Any) -> tuple[dict[int, bytes], int]:
    from rag_memory_plugins.stores import comparing

    into: comparing.Digests = {}
    last, total = None, 0
    while True:
        last, rows = await side.aread(
            partial(comparing.digest_page, table=table, after=last, into=into)
        )
        total += rows
        if last is None:
            return {key: digest.digest() for key, digest in into.items()}, total


async def _compare_searches(
    sides: list[Database], embedder: Embedder | None, sample: int, progress: Progress
) -> tuple[int, int, tuple[str, ...]]:
    from rag_memory_plugins.stores import comparing
    from rag_memory_plugins.stores.flat import FlatIndex

    chosen = await sides[0].aread(lambda c: comparing.sample(c, sample))
    plain = [FlatIndex(side, None) for side in sides]
    dense = []
    if embedder is not None:
        dense = [FlatIndex(side, embedder.fingerprint, embedder.dimension) for side in sides]
        for index in dense:
            await index.aopen()
    unlike, with_vectors = [], 0
    for number, (scope_id, key, session, text) in enumerate(chosen):
        progress("searching", number, len(chosen))
        whole = await _have_all(dense, scope_id)
        indexes = dense if whole and dense else plain
        with_vectors += indexes is dense
        encoded = None
        if indexes is dense and embedder is not None:
            encoded = await aencode_query(embedder, text)
        scope = Scope.from_key(key)
        asked = Query(text, encoded, _HITS, "user", datetime.now(timezone.utc))
        place = Namespace(scope.tenant, scope.user, session)
        if not text.strip():
            continue
        one, other = [
            [
                (hit.session, hit.message.id, hit.score)
                for hit in (await i.asearch(place, asked)).hits
            ]
            for i in indexes
        ]
        if one != other:
            unlike.append(f"{key}: {text[:60]}")
    return len(chosen), with_vectors, tuple(unlike)


async def _have_all(indexes: list[FlatIndex], scope_id: int) -> bool:
    """Whether every message of a scope has its vector on both sides."""
    from rag_memory_plugins.stores import comparing

    for index in indexes:
        number = index.index_id
        if not number:
            return False
        missing = await index.database.aread(
            partial(comparing.unembedded, index_id=number, scope_id=scope_id)
        )
        if missing:
            return False
    return bool(indexes)
