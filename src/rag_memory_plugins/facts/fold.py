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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

__all__ = ["Decided", "Folded", "Held", "Statement", "fold", "known_at"]

Decision = Literal["ADD", "UPDATE", "NOOP", "CONFLICT"]
_MOST_SURE: Final = 0.99
"""What several sources together come to at most; 1.0 is for who says so."""


@dataclass(frozen=True)
class Statement:
    """Somebody's word that `object` holds from `valid_from` on, or with `negated` that it does not.

    Without `valid_to` it holds until something else is stated. `corrects` says that what was stated
    for that time was never so. `confidence` is from 0 to 1, `sources` are ids of messages.

    >>> may = datetime(2026, 5, 1)
    >>> Statement(1, "Lisbon", may, recorded_at=may, sources=("m1",)).object
    'Lisbon'
    """

    id: int
    object: str
    valid_from: datetime
    recorded_at: datetime
    confidence: float = 1.0
    sources: tuple[str, ...] = ()
    valid_to: datetime | None = None
    negated: bool = False
    corrects: bool = False


@dataclass(frozen=True)
class Held:
    """What held from `valid_from` until `valid_to` (None: it still does), and by whose word.

    `statements` are the ids of those it rests on, the first gave the wording. `rivals` says that
    others state another value for the same time, and nothing decides between them.
    """

    object: str
    valid_from: datetime
    valid_to: datetime | None
    confidence: float
    sources: tuple[str, ...]
    statements: tuple[int, ...]
    rivals: bool = False

    def at(self, moment: datetime) -> bool:
        """Whether it held at a moment."""
        return self.valid_from <= moment and (self.valid_to is None or moment < self.valid_to)


@dataclass(frozen=True)
class Decided:
    """What was decided on a statement, and why. `over` are statements whose value had to give way."""

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
        """What held at a moment: nothing, one value, or rivals."""
        return tuple(held for held in self.held if held.at(moment))


def known_at(statements: Iterable[Statement], moment: datetime) -> list[Statement]:
    """Those that had been recorded by a moment."""
    return [each for each in statements if each.recorded_at <= moment]


def fold(statements: Sequence[Statement], same: Callable[[str, str], bool]) -> Folded:
    """What the statements of a slot with one value at a time come to; `same` compares two values.

    They are taken in the order of their ids. A value gives way to a later one from the moment that
    holds from; what is told late about the past changes the past alone. A slot of many values is
    folded once for each of them.

    >>> def day(n): return datetime(2026, 5, n)
    >>> said = [
    ...     Statement(1, "Lisbon", day(3), day(3), sources=("m1",)),
    ...     Statement(2, "Porto", day(9), day(9), sources=("m2",)),
    ...     Statement(3, "Faro", day(1), day(10), sources=("m3",)),
    ... ]
    >>> folded = fold(said, str.__eq__)
    >>> [(held.object, held.valid_from.day) for held in folded.held]
    [('Faro', 1), ('Lisbon', 3), ('Porto', 9)]
    >>> [decided.decision for decided in folded.decisions]
    ['ADD', 'UPDATE', 'ADD']
    """
    line = _Line(same)
    decisions = [line.take(each) for each in sorted(statements, key=lambda each: each.id)]
    return Folded(tuple(line.held), tuple(decisions))


@dataclass
class _Line:
    """The values of a slot on the line of time, never two at once but rivals."""

    same: Callable[[str, str], bool]
    held: list[Held] = field(default_factory=list)

    def take(self, said: Statement) -> Decided:
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
            self._cut(held, said.valid_from)
        self._settle_rivals()
        return Decided(said.id, "UPDATE", "it holds no longer", _statements(ended))

    def _again(self, said: Statement, held: Held) -> Decided:
        self._swap(held, _merged(held, said))
        return Decided(said.id, "NOOP", "it was known", held.statements)

    def _free(self, said: Statement) -> Decided:
        """Nothing held then: it holds until something does."""
        later = [held for held in self.held if held.valid_from > said.valid_from]
        start = min((held.valid_from for held in later), default=None)
        first = [held for held in later if held.valid_from == start]
        reaches = said.valid_to is None or (start is not None and said.valid_to >= start)
        if reaches and len(first) == 1 and self.same(first[0].object, said.object):
            earlier = replace(_merged(first[0], said), valid_from=said.valid_from)
            self._swap(first[0], earlier)
            return Decided(said.id, "NOOP", "it was known, and held earlier", first[0].statements)
        self._put(_held(said, _earlier(said.valid_to, start)))
        return Decided(said.id, "ADD", "it held before what is known" if first else "it is new")

    def _correct(self, said: Statement, covering: list[Held]) -> Decided:
        """What was stated for that time was never so: the same time, another value."""
        first = covering[0]
        for held in covering:
            self.held.remove(held)
        self._put(replace(_held(said, first.valid_to), valid_from=first.valid_from))
        return Decided(said.id, "UPDATE", "it corrects what was stated", _statements(covering))

    def _rival(self, said: Statement, covering: list[Held]) -> Decided:
        end = _earlier(said.valid_to, covering[0].valid_to)
        self._put(replace(_held(said, end)))
        self._settle_rivals()
        reason = "another value is stated from the same moment"
        return Decided(said.id, "CONFLICT", reason, _statements(covering))

    def _change(self, said: Statement, covering: list[Held]) -> Decided:
        end = _earlier(said.valid_to, covering[0].valid_to)
        for held in covering:
            self._cut(held, said.valid_from)
            if end is not None and (held.valid_to is None or end < held.valid_to):
                self._put(replace(held, valid_from=end))  # and then it was as before
        self._put(_held(said, end))
        self._settle_rivals()
        return Decided(said.id, "UPDATE", "it changed", _statements(covering))

    def _put(self, held: Held) -> None:
        self.held.append(held)
        self.held.sort(key=lambda each: (each.valid_from, each.statements))

    def _swap(self, old: Held, new: Held) -> None:
        self.held[self.held.index(old)] = new
        self.held.sort(key=lambda each: (each.valid_from, each.statements))

    def _cut(self, held: Held, end: datetime) -> None:
        self.held.remove(held)
        if held.valid_from < end:
            self._put(replace(held, valid_to=end))

    def _settle_rivals(self) -> None:
        """Rivals are those whose times meet; of what was cut apart some are none any more."""
        self.held = [
            replace(
                each, rivals=any(_meet(each, other) for other in self.held if other is not each)
            )
            for each in self.held
        ]


def _held(said: Statement, end: datetime | None) -> Held:
    return Held(
        said.object, said.valid_from, end, said.confidence, said.sources, (said.id,)
    )  # fmt: skip


def _merged(held: Held, said: Statement) -> Held:
    """Surer by every source that is another one's; the wording stays."""
    new = tuple(source for source in said.sources if source not in held.sources)
    sure = max(held.confidence, said.confidence)
    if new and held.sources:
        both = 1 - (1 - held.confidence) * (1 - said.confidence)
        sure = max(sure, min(both, _MOST_SURE))
    statements = (*held.statements, said.id)
    return replace(
        held, confidence=sure, sources=(*held.sources, *new), statements=statements
    )  # fmt: skip


def _statements(held: Iterable[Held]) -> tuple[int, ...]:
    return tuple(number for each in held for number in each.statements)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)


def _meet(one: Held, other: Held) -> bool:
    return one.at(other.valid_from) or other.at(one.valid_from)
