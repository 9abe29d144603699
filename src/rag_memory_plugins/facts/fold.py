"""What holds, made of what was stated: rules without a model, the same for everybody.

```text
statement  that something holds from a moment on, said or written by somebody; never changed
slot       all statements about one subject and predicate, in the order they were recorded
fold       a slot -> what held from when to when (`Held`), and a decision on each statement
```

Nothing is ever overwritten. What is true now, what was true then and what was known then are folds
of the same statements; a statement that is retracted is left out of the fold, and counted in again
it gives what was there before. Two time lines as in Snodgrass, "Developing Time-Oriented Database
Applications in SQL" (1999): when it holds in the world, and when it was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

__all__ = ["Decided", "Folded", "Held", "Line", "Statement", "fold", "known_at"]

Decision = Literal["ADD", "UPDATE", "NOOP", "CONFLICT"]
_MOST_SURE: Final = 0.99
"""What several sources together come to at most; 1.0 is for who says so."""
_MOST: Final = 64
"""Statements of a value that are counted: by then more sources make nothing surer."""


@dataclass(frozen=True)
class Statement:
    """Somebody's word that `object` holds from `valid_from` on, or with `negated` that it does not.

    Without `valid_to` it holds until something else is stated. `corrects` says that what was stated
    for that time was never so. `confidence` is from 0 to 1, `sources` are numbers of messages.
    Statements are taken in the order of when they were recorded, then of `said`, the message that
    one was read out of, then of their ids: who reads the same messages again, in any order, comes
    to the same.

    >>> may = datetime(2026, 5, 1)
    >>> Statement(1, "Lisbon", may, recorded_at=may, said=7).order[1:]
    (7, 1)
    """

    id: int
    object: str
    valid_from: datetime
    recorded_at: datetime
    confidence: float = 1.0
    sources: tuple[int, ...] = ()
    valid_to: datetime | None = None
    negated: bool = False
    corrects: bool = False
    said: int = 0

    @property
    def order(self) -> tuple[datetime, int, int]:
        """What statements are sorted by."""
        return (self.recorded_at, self.said, self.id)


@dataclass(frozen=True)
class Held:
    """What held from `valid_from` until `valid_to` (None: it still does), and by whose word.

    `statements` are the ids of the first it rests on, of which the very first gave the wording;
    `ended_by` is the one that ended it.
    """

    object: str
    valid_from: datetime
    valid_to: datetime | None
    confidence: float
    sources: tuple[int, ...]
    statements: tuple[int, ...]
    ended_by: int | None = None

    def at(self, moment: datetime) -> bool:
        """Whether it held at a moment."""
        return self.valid_from <= moment and (self.valid_to is None or moment < self.valid_to)


@dataclass(frozen=True)
class Decided:
    """What was decided on a statement, and why. `over` are statements whose value had to give way.

    Of a NOOP they are those that had said it before.
    """

    statement: int
    decision: Decision
    reason: str
    over: tuple[int, ...] = ()


@dataclass(frozen=True)
class Folded:
    """A slot as it stands: what held, in the order of time, and a decision for each statement."""

    held: tuple[Held, ...] = ()
    decisions: tuple[Decided, ...] = ()

    def at(self, moment: datetime) -> tuple[Held, ...]:
        """What held at a moment: nothing, one value, or rivals that nothing decides between."""
        return tuple(held for held in self.held if held.at(moment))


def known_at(statements: Iterable[Statement], moment: datetime) -> list[Statement]:
    """Those that had been recorded by a moment."""
    return [each for each in statements if each.recorded_at <= moment]


def fold(statements: Iterable[Statement], same: Callable[[str, str], bool]) -> Folded:
    """What the statements of a slot with one value at a time come to; `same` compares two values.

    A value gives way to a later one from the moment that holds from; what is told late about the
    past changes the past alone. A slot of many values is folded once for each of them.

    >>> def day(n): return datetime(2026, 5, n)
    >>> said = [
    ...     Statement(1, "Lisbon", day(3), day(3)),
    ...     Statement(2, "Porto", day(9), day(9)),
    ...     Statement(3, "Faro", day(1), day(10)),
    ... ]
    >>> folded = fold(said, str.__eq__)
    >>> [(held.object, held.valid_from.day) for held in folded.held]
    [('Faro', 1), ('Lisbon', 3), ('Porto', 9)]
    >>> [decided.decision for decided in folded.decisions]
    ['ADD', 'UPDATE', 'ADD']
    """
    line = Line(same)
    decisions = [line.take(each) for each in sorted(statements, key=lambda each: each.order)]
    return Folded(tuple(line.held), tuple(decisions))


@dataclass
class Line:
    """The values of a slot on the line of time, never two at once but rivals.

    `held` may begin with what is known: of that, what had ended when the next statement holds from
    has no part in what becomes of it, unless it corrects.
    """

    same: Callable[[str, str], bool]
    held: list[Held] = field(default_factory=list)

    def take(self, said: Statement) -> Decided:
        """Lay the next statement over what is there; what was decided on it."""
        covering = [held for held in self.held if held.at(said.valid_from)]
        if said.negated:
            return self._end(said, covering)
        alike = [held for held in covering if self.same(held.object, said.object)]
        if alike:
            return self._again(said, alike[0])
        if not covering:
            return self._free(said)
        if said.corrects:
            return self._correct(said, covering)
        if covering[0].valid_from == said.valid_from:
            return self._rival(said, covering)
        return self._change(said, covering)

    def _end(self, said: Statement, covering: list[Held]) -> Decided:
        ended = [h for h in covering if not said.object or self.same(h.object, said.object)]
        if not ended:
            return Decided(said.id, "NOOP", "it did not hold then")
        for held in ended:
            self._cut(held, said)
        return Decided(said.id, "UPDATE", "it holds no longer", _statements(ended))

    def _again(self, said: Statement, held: Held) -> Decided:
        self._swap(held, _merged(held, said))
        return Decided(said.id, "NOOP", "it was known", held.statements[:1])

    def _free(self, said: Statement) -> Decided:
        """Nothing held then: it holds until something does."""
        later = [held for held in self.held if held.valid_from > said.valid_from]
        start = min((held.valid_from for held in later), default=None)
        first = [held for held in later if held.valid_from == start]
        reaches = said.valid_to is None or (start is not None and said.valid_to >= start)
        if reaches and len(first) == 1 and self.same(first[0].object, said.object):
            earlier = replace(_merged(first[0], said), valid_from=said.valid_from)
            self._swap(first[0], earlier)
            known = first[0].statements[:1]
            return Decided(said.id, "NOOP", "it was known, and held earlier", known)
        end = _earlier(said.valid_to, start)
        self._put(_held(said, end, first[0].statements[0] if first and end == start else None))
        return Decided(said.id, "ADD", "it held before what is known" if first else "it is new")

    def _correct(self, said: Statement, covering: list[Held]) -> Decided:
        """What was stated for that time was never so: the same time, another value."""
        first = covering[0]
        for held in covering:
            self.held.remove(held)
        corrected = _held(said, first.valid_to, first.ended_by)
        # A rival had said so for a part of that time: it is one value now.
        for rival in [held for held in self.held if self._also(held, said, first)]:
            self.held.remove(rival)
            corrected = replace(
                _merged(rival, said), valid_to=first.valid_to, ended_by=first.ended_by
            )
        self._put(replace(corrected, valid_from=first.valid_from))
        return Decided(said.id, "UPDATE", "it corrects what was stated", _statements(covering))

    def _also(self, held: Held, said: Statement, first: Held) -> bool:
        """Whether a value said the same of the time of another one, or of a part of it."""
        begins = held.valid_to is None or first.valid_from < held.valid_to
        ends = first.valid_to is None or held.valid_from < first.valid_to
        return begins and ends and self.same(held.object, said.object)

    def _rival(self, said: Statement, covering: list[Held]) -> Decided:
        self._put(_held(said, *_end_of(said, covering[0])))
        reason = "another value is stated from the same moment"
        return Decided(said.id, "CONFLICT", reason, _statements(covering))

    def _change(self, said: Statement, covering: list[Held]) -> Decided:
        end, ended_by = _end_of(said, covering[0])
        for held in covering:
            self._cut(held, said)
            if end is not None and (held.valid_to is None or end < held.valid_to):
                self._put(replace(held, valid_from=end))  # and then it was as before
        self._put(_held(said, end, ended_by))
        return Decided(said.id, "UPDATE", "it changed", _statements(covering))

    def _put(self, held: Held) -> None:
        self.held.append(held)
        self.held.sort(key=lambda each: (each.valid_from, each.statements))

    def _swap(self, old: Held, new: Held) -> None:
        self.held.remove(old)
        self._put(new)

    def _cut(self, held: Held, said: Statement) -> None:
        self.held.remove(held)
        if held.valid_from < said.valid_from:
            self._put(replace(held, valid_to=said.valid_from, ended_by=said.id))


def _held(said: Statement, end: datetime | None, ended_by: int | None) -> Held:
    rests_on = (said.sources, (said.id,))
    return Held(said.object, said.valid_from, end, said.confidence, *rests_on, ended_by)


def _end_of(said: Statement, held: Held) -> tuple[datetime | None, int | None]:
    """When a value ends that is stated while another held, and by which statement."""
    end = _earlier(said.valid_to, held.valid_to)
    return end, (None if end == said.valid_to else held.ended_by)


def _merged(held: Held, said: Statement) -> Held:
    """Surer by every source that is another one's; the wording stays."""
    sure = max(held.confidence, said.confidence)
    if len(held.statements) >= _MOST:
        return replace(held, confidence=sure)
    new = tuple(source for source in said.sources if source not in held.sources)
    if new and held.sources:
        both = 1 - (1 - held.confidence) * (1 - said.confidence)
        sure = max(sure, min(both, _MOST_SURE))
    sources, statements = (*held.sources, *new), (*held.statements, said.id)
    return replace(held, confidence=sure, sources=sources, statements=statements)


def _statements(held: Iterable[Held]) -> tuple[int, ...]:
    """The first of each: who gave the wording."""
    return tuple(each.statements[0] for each in held)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)
