"""The partitions of a semantic cache: entries by wording and by vector, and what bounds them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.router.evidence import Evidence, Learned
from rag_memory_plugins.router.guards import Guarded, differ, normalised
from rag_memory_plugins.router.wording import LONGEST

if TYPE_CHECKING:
    from rag_memory_plugins.chat import Answer
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports.models import Vectors

__all__ = ["Asked", "Entry", "Partition", "Partitions", "wording_of"]

_LOOKED_AT: Final = 8
"""Neighbours whose guards are compared."""
_SWEPT: Final = 8
"""Entries that are looked at for their end when one is added: those not used for longest."""
_UNREAD: Final = Guarded()
_FIRST_ROWS: Final = 8
_PARTITIONS: Final = 10_000
"""Of more, the one used longest ago goes, with what it has learned."""


@dataclass(eq=False, slots=True)
class Entry:
    """An answer, the prompt it was given to, and what is known of prompts near it.

    `ends` is on the cache's clock; `size` in bytes; `scope` who asked.
    """

    scope: Scope
    frame: bytes
    wording: str
    guarded: Guarded
    answer: Answer
    ends: float
    size: int
    row: int = -1
    learned: Learned = field(default_factory=Learned)


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """A request that is being answered; `near` is the entry its answer will be compared with."""

    scope: Scope
    frame: bytes = b""
    wording: str = ""
    guarded: Guarded = _UNREAD
    vector: Vectors | None = None
    near: Entry | None = None
    similarity: float = 0.0


def wording_of(text: str) -> str:
    """What two prompts must have in common to be one; of a long one its hash."""
    # What is too long for the guards is compared as it stands: ids tell cases apart.
    if len(text) > LONGEST:
        return f"\0{hashlib.blake2b(text.encode()).hexdigest()}"
    return normalised(text)


class Partition:
    """Entries of those who share, under their cache's lock; `scope` is who asked first."""

    def __init__(self, scope: Scope, rows: int) -> None:
        self.scope = scope
        self.evidence = Evidence()
        self._most = rows
        self._entries: OrderedDict[tuple[bytes, str], Entry] = OrderedDict()  # used last, last
        self._frames: dict[bytes, dict[int, Entry]] = {}
        self._matrix: Vectors | None = None
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._entries)

    def worded(self, frame: bytes, wording: str, guarded: Guarded, now: float) -> Entry | None:
        """The entry with the same normalised text; its ids, names and code must be equal too."""
        entry = self._entries.get((frame, wording))
        if entry is None or entry.ends <= now or entry.guarded.slots != guarded.slots:
            return None
        self._entries.move_to_end((frame, wording))
        return entry

    def nearest(
        self,
        frame: bytes,
        vector: Vectors,
        guarded: Guarded,
        now: float,
        floor: float,
        confirmations: int,
    ) -> tuple[Entry | None, float, bool]:
        """(entry, cosine, whether it is near enough), of those whose guards hold."""
        import numpy as np

        rows = self._frames.get(frame)
        if not rows or self._matrix is None:
            return None, 0.0, False
        places = np.fromiter(rows, np.intp, len(rows))
        cosines = self._matrix[places] @ vector
        best: tuple[Entry | None, float, bool] = (None, 0.0, False)
        for place in np.argsort(-cosines, kind="stable")[:_LOOKED_AT]:
            similarity = float(cosines[place])
            if not similarity >= floor:  # not a number is not either
                break
            entry = rows[int(places[place])]
            if entry.ends <= now or differ(entry.guarded, guarded):
                continue
            if similarity >= entry.learned.threshold(confirmations):
                self._entries.move_to_end((entry.frame, entry.wording))
                return entry, similarity, True
            if best[0] is None:
                best = (entry, similarity, False)
        return best

    def add(self, entry: Entry, vector: Vectors | None, now: float) -> list[Entry]:
        """Add an entry; returns those that it replaces, that ended, and that there is no room for."""
        oldest = islice(self._entries.values(), _SWEPT)
        gone = [each for each in oldest if each.ends <= now]
        before = self._entries.get((entry.frame, entry.wording))
        if before is not None and before not in gone:
            gone.append(before)
        for each in gone:
            self._remove(each)
        while len(self._entries) >= self._most:
            gone.append(self.pop())
        if vector is not None:
            self._place(entry, vector)
        self._entries[entry.frame, entry.wording] = entry
        return gone

    def pop(self) -> Entry:
        """Take out the entry that was used longest ago."""
        entry = next(iter(self._entries.values()))
        self._remove(entry)
        return entry

    def drop(self, theirs: Callable[[Scope], bool]) -> list[Entry]:
        """Take out the entries of these scopes."""
        gone = [entry for entry in self._entries.values() if theirs(entry.scope)]
        for entry in gone:
            self._remove(entry)
        return gone

    def _place(self, entry: Entry, vector: Vectors) -> None:
        import numpy as np

        if not self._free:
            old = self._matrix
            held = 0 if old is None else len(old)
            size = min(max(2 * held, _FIRST_ROWS), self._most)
            self._matrix = np.zeros((size, len(vector)), np.float32)
            if old is not None:
                self._matrix[:held] = old
            self._free = list(range(size - 1, held - 1, -1))
        entry.row = self._free.pop()
        assert self._matrix is not None
        self._matrix[entry.row] = vector
        self._frames.setdefault(entry.frame, {})[entry.row] = entry

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.frame, entry.wording]
        if entry.row < 0:
            return
        if self._matrix is not None:
            self._matrix[entry.row] = 0
        rows = self._frames[entry.frame]
        del rows[entry.row]
        if not rows:
            del self._frames[entry.frame]
        self._free.append(entry.row)


class Partitions:
    """Every partition, under their cache's lock: `count` entries of at most so many bytes in all."""

    def __init__(self, rows: int, max_entries: int, max_bytes: int) -> None:
        self.count = 0
        self._bytes = 0
        self._rows, self._max_entries, self._max_bytes = rows, max_entries, max_bytes
        self._all: OrderedDict[tuple[str, ...], Partition] = OrderedDict()  # used last, last

    def known(self, key: tuple[str, ...]) -> Partition | None:
        return self._all.get(key)

    def of(self, key: tuple[str, ...], scope: Scope) -> Partition:
        """The partition of this key, a new one if there is none."""
        partition = self._all.get(key)
        if partition is None:
            partition = self._all[key] = Partition(scope, self._rows)
            if len(self._all) > _PARTITIONS:
                _, oldest = self._all.popitem(last=False)
                self._left(oldest.drop(lambda _: True))
        self._all.move_to_end(key)
        return partition

    def add(self, to: Partition, entry: Entry, vector: Vectors | None, now: float) -> None:
        """Add an entry; what was used longest ago makes room for it. One too large is not kept."""
        if entry.size > self._max_bytes:
            return
        self._left(to.add(entry, vector, now))
        self.count += 1
        self._bytes += entry.size
        while self.count > self._max_entries or self._bytes > self._max_bytes:
            oldest = next(each for each in self._all.values() if len(each))
            self._left([oldest.pop()])

    def forget(self, theirs: Callable[[Scope], bool], *, whole: bool) -> int:
        """Drop the entries of these scopes; `whole` partitions with what was learned in them."""
        before = self.count
        for key, partition in list(self._all.items()):
            self._left(partition.drop(theirs))
            if whole and theirs(partition.scope):
                del self._all[key]
        return before - self.count

    def clear(self) -> None:
        self._all.clear()
        self.count = self._bytes = 0

    def _left(self, entries: list[Entry]) -> None:
        self.count -= len(entries)
        self._bytes -= sum(entry.size for entry in entries)
