"""What a process keeps of what users said: an erase in it empties the caches, and more.

What is erased from the files must not stay behind in the memory of a process that goes on for
months. A cache cannot be asked for one user's texts, and is soon full again. What waits to be
stored is nowhere else: of that an erase takes what it takes of the log (`Erased`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.types import Level, Message

if TYPE_CHECKING:
    from rag_memory_plugins.filters import Filter

__all__ = ["Erased", "Keeper", "forget_texts", "keeps_texts"]


@dataclass(frozen=True)
class Erased:
    """What an erase takes: a session, all of a user's, and there `ids` and what matches `where`.

    Or all of a tenant's.

    >>> monday = Namespace("acme", "ann", "monday")
    >>> Erased(monday).takes(monday, Message("user", "my pin is 4821"))
    True
    >>> Erased(monday, ids=["m7"]).takes(monday, Message("user", "hello", id="m8"))
    False
    """

    namespace: Namespace
    level: Level | Literal["tenant"] = "session"
    ids: Collection[str] | None = None
    where: Filter | None = None

    def takes(self, namespace: Namespace, message: Message) -> bool:
        """Whether a message of `namespace` is gone."""
        inside = namespace.scope == self.namespace.scope and (
            self.level == "user" or namespace == self.namespace
        )
        if self.level == "tenant":
            inside = namespace.tenant == self.namespace.tenant
        named = self.ids is None or message.id in self.ids
        return (
            inside
            and named
            and (self.where is None or self.where.matches(message, namespace.session))
        )


class Keeper(Protocol):
    """Holds messages that no log holds yet."""

    def forget(self, erased: Erased) -> None:
        """Let go of what was erased."""


class Cache(Protocol):
    """A function behind `functools.lru_cache`."""

    def cache_clear(self) -> None: ...


_C = TypeVar("_C", bound=Cache)
_caches: Final[list[Cache]] = []


def keeps_texts(cache: _C) -> _C:
    """Have the cache emptied when something is erased; stands above `lru_cache`.

    >>> from functools import lru_cache
    >>> @keeps_texts
    ... @lru_cache(maxsize=8)
    ... def shouted(text: str) -> str:
    ...     return text.upper()
    >>> shouted("my pin is 4821"), shouted.cache_info().currsize
    ('MY PIN IS 4821', 1)
    >>> caches = forget_texts()
    >>> shouted.cache_info().currsize
    0
    """
    _caches.append(cache)
    return cache


def forget_texts() -> int:
    """Empty every cache that keeps what users said, or who they are; return how many there are."""
    for cache in _caches:
        cache.cache_clear()
    return len(_caches)
