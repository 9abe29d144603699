"""The running turns of a middleware: recalled for once, stored once, forgotten when erased."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.langchain.prompt import Prompt

__all__ = ["Turn", "Turns"]

_MOST: Final = 256  # turns remembered; one that falls out is recalled for again


@dataclass
class Turn:
    """A running turn: what stands round it in the prompt, and what was stored of it.

    `taken` is what system prompt and schemas took of the budget when the prompt was made.
    """

    key: tuple[str, ...]
    prompt: Prompt | None = None
    taken: int = 0
    stored: dict[str, str] = field(default_factory=dict)  # digest by id


class Turns:
    """The running turn of each namespace. An erase takes the texts out of all of them.

    >>> turns = Turns()
    >>> turn = turns.of("acme/ann/monday", ("m1",))
    >>> turns.keep(turn, Prompt((("recalled", "I moved"),)), 0, turns.emptied)
    >>> every.cache_clear()
    >>> turns.of("acme/ann/monday", ("m1",)).prompt
    """

    def __init__(self) -> None:
        self.emptied = 0
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._lock = threading.Lock()
        every.add(self)

    def of(self, where: str, key: tuple[str, ...]) -> Turn:
        """The running turn, a new one if `key` says that another began."""
        with self._lock:
            turn = self._turns.get(where)
            if turn is None or turn.key != key:
                turn = self._turns[where] = Turn(key)
            self._turns.move_to_end(where)
            while len(self._turns) > _MOST:
                self._turns.popitem(last=False)
            return turn

    def stored(self, where: str) -> dict[str, str]:
        """What was stored of the running turn: digests by id."""
        with self._lock:
            turn = self._turns.get(where)
            return turn.stored if turn is not None else {}

    def keep(self, turn: Turn, prompt: Prompt, taken: int, emptied: int) -> None:
        """Keep what was made for a turn, unless something was erased since `emptied` was read."""
        with self._lock:
            if emptied == self.emptied:
                turn.prompt, turn.taken = prompt, taken

    def end(self, where: str) -> None:
        """Let go of a turn's texts as its run ends. What was stored is still known."""
        with self._lock:
            if where in self._turns:
                self._turns[where].prompt = None

    def empty(self) -> None:
        """Let go of all texts. Ids and digests stay: what was stored and erased stays erased."""
        with self._lock:
            self.emptied += 1
            for turn in self._turns.values():
                turn.prompt = None


class _Every:
    """All tables of this process, as one cache that an erase empties."""

    def __init__(self) -> None:
        self._tables: weakref.WeakSet[Turns] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, table: Turns) -> None:
        with self._lock:
            self._tables.add(table)

    def cache_clear(self) -> None:
        with self._lock:
            tables = list(self._tables)
        for table in tables:
            table.empty()


every: Final = keeps_texts(_Every())
