"""What a framework's vector store keeps of a message, and what of it is read back.

A vector's name is a UUID that tells whose it is and of which message: eight bytes of a hash of log
and user, six of the message's number, two of the piece. The name alone is therefore enough to know
a message again, and to see that it is the asking user's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from rag_memory_plugins.errors import InvalidInput, StoreError
from rag_memory_plugins.retrieval.tenancy import TENANT

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import RemovedPoint

__all__ = ["Bridge", "named", "owner_key", "point_id", "seqs_of"]

OWNER: Final = "rag_memory_owner"
SESSION: Final = "rag_memory_session"
_PIECES: Final = 1 << 16
OVER: Final = 8
"""How many times as many are asked for, of a store that cannot be asked for one user's alone."""
MOST: Final = 1 << 16
"""How many are asked for at most."""


class Bridge:
    """What every framework's store has that serves as a `ports.VectorStore`.

    It serves one log, one call at a time: many stores are not made for threads.
    """

    def __init__(self, name: object, kind: str) -> None:
        chosen = kind if name is None else name
        if not isinstance(chosen, str) or not chosen:
            raise InvalidInput("name", name, "pass a name, a str")
        self.name = chosen
        self.log = ""
        self.dimension = 0
        self.one = asyncio.Lock()
        self.closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def aopen(self, log: str, fingerprint: str, dimension: int) -> None:
        """Begin to serve a log. Raises `InvalidInput` when it serves another."""
        if self.log not in ("", log):
            remedy = "it serves a memory already; wrap the store once for each memory"
            raise InvalidInput("index", self.name, remedy)
        self.log = log
        self.dimension = dimension

    async def aclose(self) -> None:
        """Serve nobody any more; the store is the caller's."""
        self.closed = True

    def check_open(self) -> None:
        """Raise `StoreError` once it was closed."""
        if self.closed:
            raise StoreError(f"{self.name} is closed; wrap the store again for another memory")

    def ids_of(self, points: Iterable[RemovedPoint]) -> list[str]:
        """The names of all their vectors, each once."""
        named = {
            point_id(self.log, point.scope, point.seq, piece): None
            for point in points
            for piece in range(point.pieces)
        }
        return list(named)

    async def awider(
        self, limit: int, search: Callable[[int], Awaitable[tuple[list[int], int]]]
    ) -> list[int]:
        """Seqs of a store that cannot be asked for one user's alone: more is looked through.

        `search` is told how many to look for, and gives (the user's of them, how many were found).
        """
        asked = min(limit * OVER, MOST)
        while True:
            mine, found = await search(asked)
            if len(mine) >= limit or found < asked or asked >= MOST:
                return mine[:limit]
            asked = min(asked * OVER, MOST)


def named(log: str, scope: Scope, session: str | None) -> dict[str, str]:
    """The metadata of a user's vectors, by which they are asked for; without a session, all."""
    owner = {TENANT: scope.tenant, OWNER: owner_key(log, scope)}
    return owner if session is None else {**owner, SESSION: session}


def owner_key(log: str, scope: Scope) -> str:
    """What every vector of a user carries in a store that several logs may share."""
    return f"{log}/{scope.key}"


def point_id(log: str, scope: Scope, seq: int, piece: int) -> str:
    """The name of one vector; the same whenever it is asked for.

    >>> from rag_memory_plugins.namespace import Scope
    >>> point_id("log", Scope("acme", "ann"), 7, 0)[-12:]
    '000000070000'
    """
    mark = _mark(log, scope) + seq.to_bytes(6, "big") + (piece % _PIECES).to_bytes(2, "big")
    return str(UUID(bytes=mark))


def seqs_of(ids: Iterable[str], log: str, scope: Scope) -> tuple[list[int], int]:
    """(seqs that these names stand for, each once; how many names were not this user's).

    >>> from rag_memory_plugins.namespace import Scope
    >>> scope = Scope("acme", "ann")
    >>> seqs_of([point_id("log", scope, 7, 0), point_id("log", scope, 7, 1), "x"], "log", scope)
    ([7], 1)
    """
    mark, seqs, foreign = _mark(log, scope), dict[int, None](), 0
    for name in ids:
        try:
            held = UUID(name).bytes
        except (AttributeError, TypeError, ValueError):  # no name of ours
            held = b""
        if held[:8] == mark:
            seqs[int.from_bytes(held[8:14], "big")] = None
        else:
            foreign += 1
    return list(seqs), foreign


def _mark(log: str, scope: Scope) -> bytes:
    return hashlib.blake2b(owner_key(log, scope).encode(), digest_size=8).digest()
