"""Caches of what users said: an erase in this process empties them all.

What is erased from the files must not stay behind in the memory of a process that goes on for
months. A cache cannot be asked for one user's texts, and is soon full again.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

__all__ = ["forget_texts", "keeps_texts"]


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
    >>> forget_texts()
    >>> shouted.cache_info().currsize
    0
    """
    _caches.append(cache)
    return cache


def forget_texts() -> None:
    """Empty every cache that keeps what users said, or who they are."""
    for cache in _caches:
        cache.cache_clear()
