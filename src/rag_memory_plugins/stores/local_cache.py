"""`LocalCache`: a `SharedCache` of one process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.namespace import Scope

__all__ = ["LocalCache", "whose"]


class _Entry(NamedTuple):
    value: bytes
    end: float
    users: frozenset[str]


class LocalCache:
    """Keeps bytes in memory, each until its end; over `most` the one kept longest ago goes.

    `clock` gives seconds that never go back. May be used from any thread and any loop.

    >>> import asyncio
    >>> cache, ann = LocalCache(), Scope("acme", "ann")
    >>> mark = asyncio.run(cache.alook(ann, b"key"))[1]
    >>> asyncio.run(cache.akeep(ann, b"key", b"value", 60, mark))
    True
    >>> asyncio.run(cache.alook(ann, b"key"))[0]
    b'value'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._entries: dict[tuple[str, bytes], _Entry] = {}
        self._forgotten: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    async def alook(self, scope: Scope, key: bytes) -> tuple[bytes | None, str]:
        """(what the tenant has under `key`, a mark for `akeep`)."""
        with self._lock:
            entry = self._entries.get((scope.tenant, key))
            held = entry is not None and self._clock() < entry.end
            return entry.value if entry is not None and held else None, self._mark(scope)

    async def akeep(
        self, scope: Scope, key: bytes, value: bytes, seconds: float, mark: str
    ) -> bool:
        """Keep it; False if its user was forgotten since `mark` was given."""
        user = whose(scope)[1]
        with self._lock:
            if mark != self._mark(scope):
                return False
            place = (scope.tenant, key)
            before = self._entries.pop(place, None)
            users = before.users if before is not None else frozenset()
            self._entries[place] = _Entry(value, self._clock() + seconds, users | {user})
            if len(self._entries) > self._most:
                del self._entries[next(iter(self._entries))]
            return True

    async def aforget(self, who: Scope | str) -> int:
        """Drop all of a user, or of a tenant (a str)."""
        tenant, user = whose(who)
        with self._lock:
            self._forgotten[tenant, user] += 1
            gone = [
                place
                for place, entry in self._entries.items()
                if place[0] == tenant and (not user or user in entry.users)
            ]
            for place in gone:
                del self._entries[place]
            return len(gone)

    async def aclose(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()

    def _mark(self, scope: Scope) -> str:
        tenant, user = whose(scope)
        return f"{self._forgotten[tenant, user]}/{self._forgotten[tenant, '']}"


def whose(who: Scope | str) -> tuple[str, str]:
    """(tenant, a user's key; "" for all of a tenant). What stands beside a user's chats is theirs.

    Raises `InvalidInput`.
    """
    if isinstance(who, Scope):
        return who.tenant, Scope(who.tenant, who.user).key
    if not isinstance(who, str) or not who:
        raise InvalidInput("who", who, "pass a Scope, or a tenant's id")
    return who, ""
