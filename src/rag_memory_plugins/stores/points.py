"""The name of a vector in a store outside: a UUID that tells whose it is and of which message.

Eight bytes of a hash of log and user, six of the message's number, two of the piece. The name alone
is therefore enough to know a message again, and to see that it is the asking user's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from uuid import UUID

from rag_memory_plugins.namespace import Scope

__all__ = ["owner_key", "point_id", "seqs_of"]

PIECES = 1 << 16


def owner_key(log: str, scope: Scope) -> str:
    """What every vector of a user carries in a store that several logs may share."""
    return f"{log}/{scope.key}"


def point_id(log: str, scope: Scope, seq: int, piece: int) -> str:
    """The name of one vector; the same whenever it is asked for.

    >>> point_id("log", Scope("acme", "ann"), 7, 0)[-12:]
    '000000070000'
    """
    mark = _mark(log, scope) + seq.to_bytes(6, "big") + (piece % PIECES).to_bytes(2, "big")
    return str(UUID(bytes=mark))


def seqs_of(ids: Iterable[str], log: str, scope: Scope) -> tuple[list[int], int]:
    """(seqs that these names stand for, each once; how many names were not this user's).

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
