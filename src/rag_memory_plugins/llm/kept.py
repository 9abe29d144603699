"""`KeptAnswers`: what a model answered, by scope, for a while; no scope sees another's."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.forgetting import keeps_texts

if TYPE_CHECKING:
    from cachetools import LRUCache, TTLCache

__all__ = ["KeptAnswers"]

SCOPES: Final = 256
"""Scopes whose answers are kept at a time; the one asked longest ago goes first."""
OVERHEAD: Final = 200  # bytes of a key and what holds it


class KeptAnswers:
    """Answers as JSON text: at most `characters` a scope, 200 counted for each beside its own.

    A scope that asks much pushes out its own answers and nobody else's. `clock` gives seconds.
    An erase anywhere in the process empties all: answers may quote what was said. An answer to a
    question from before an erase (`generation`) is not kept after it. Any thread may call this.

    >>> kept = KeptAnswers(60.0, 10_000, clock=lambda: 0.0)
    >>> kept.keep("acme/ann", {b"key": "true"}, kept.generation)
    >>> kept.find("acme/ann", [b"key"]), kept.find("globex/ann", [b"key"])
    ({b'key': 'true'}, {})
    """

    def __init__(self, seconds: float, characters: int, *, clock: Callable[[], float]) -> None:
        from cachetools import LRUCache

        self.generation = 0
        self._seconds = seconds
        self._characters = characters
        self._clock = clock
        self._lock = threading.Lock()
        self._scopes: LRUCache[str, TTLCache[bytes, str, float]] = LRUCache(SCOPES)
        _all.add(self)

    def find(self, scope: str, keys: Iterable[bytes]) -> dict[bytes, str]:
        """The answers that are kept for these keys."""
        with self._lock:
            own = self._scopes.get(scope)
            if own is None:
                return {}
            found = ((key, own.get(key)) for key in keys)
            return {key: text for key, text in found if text is not None}

    def keep(self, scope: str, answers: Mapping[bytes, str], generation: int) -> None:
        """Keep these, unless something was erased since `generation` was read."""
        from cachetools import TTLCache

        with self._lock:
            if not self._seconds or generation != self.generation:
                return
            own = self._scopes.get(scope)
            if own is None:
                own = TTLCache(self._characters, self._seconds, self._clock, _size)
                self._scopes[scope] = own
            for key, text in answers.items():
                if _size(text) <= self._characters:
                    own[key] = text

    def clear(self) -> None:
        """Forget all, and what is being asked."""
        with self._lock:
            self.generation += 1
            self._scopes.clear()


def _size(text: str) -> int:
    return OVERHEAD + len(text)


class _All:
    """Every `KeptAnswers` of the process that is still used, as one cache to empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: weakref.WeakSet[KeptAnswers] = weakref.WeakSet()

    def add(self, kept: KeptAnswers) -> None:
        with self._lock:
            self._kept.add(kept)

    def cache_clear(self) -> None:
        with self._lock:
            everything = list(self._kept)
        for kept in everything:
            kept.clear()


_all: Final = keeps_texts(_All())
