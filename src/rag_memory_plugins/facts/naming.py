"""Which names mean one entity, told from the names alone.

Each name is a form; equal forms are one name ("Ann Lee", "ann lee", "Lee, Ann"). A form joins one
that tells more ("Ann", "A. Lee", "Bob Lee", "Acme", "NYC") if exactly one entity fits; where two
fit, it stays by itself, so that "Ann" never makes one of "Ann Lee" and "Ann Kim". What users told
goes first: `together` joins, `apart` parts. The result depends on the set of names, not on their
order, and on no name that shares no block with them, directly or through others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.facts import nicknames as known
from rag_memory_plugins.facts.fitting import LONG, conflict, fits, one_slip_apart
from rag_memory_plugins.facts.people import form_of

__all__ = ["APART", "SAME", "blocks", "resolved"]

SAME: Final = "same as"
APART: Final = "different from"
"""Predicates by which users say that two names mean one entity, or two."""

Pairs = Collection[tuple[str, str]]


def resolved(names: Collection[str], *, apart: Pairs = (), together: Pairs = ()) -> dict[str, str]:
    """Each name with the fullest name of its entity, a function of the set of names.

    `together` are pairs that users said are one, `apart` pairs that are not; `apart` wins. Names in
    pairs that are not in `names` are left out. Raises `InvalidInput` for a name that is no text.

    >>> found = resolved(["Ann", "Ann Lee", "A. Lee", "IBM", "International Business Machines"])
    >>> found["Ann"], found["A. Lee"], found["IBM"]
    ('Ann Lee', 'Ann Lee', 'International Business Machines')
    >>> resolved(["Ann", "Ann Lee", "Ann Kim"])["Ann"]
    'Ann'
    """
    for name in names:
        if not isinstance(name, str):
            raise InvalidInput("names", name, "pass names as texts")
    found = _Entities(sorted(set(names)), apart)
    for one, other in sorted(tuple(sorted(pair)) for pair in together):
        found.join(one, other)
    for same in _by_key(found.names).values():
        for one, other in pairwise(same):
            found.join(one, other)
        for number, one in enumerate(same):
            for other in same[number + 2 :]:
                found.join(one, other)
    _Joining(found).slips()
    _Joining(found).run()
    return {name: found.fullest(name) for name in found.names}


def blocks(name: str) -> set[str]:
    """Keys of which any two names share one that could be one entity by themselves.

    >>> blocks("Bob") & blocks("Robert Lee")
    {'first robert'}
    >>> blocks("Team A") & blocks("Team B")
    set()
    """
    form = form_of(name)
    keys = {f"name {form.bare or form.key}"}
    if form.person:
        if form.first and not form.first.endswith("."):
            keys |= {f"first {each}" for each in known.FORMAL.get(form.first, {form.first})}
        keys |= {f"last {part}" for part in (form.last,) if part and not part.endswith(".")}
        if not form.last:
            keys.add(f"last {form.first}")
    keys |= {f"letters {each}" for each in (form.acronym, *form.letters) if each}
    for word in form.words:
        if len(word) >= LONG - 1:
            keys |= {f"slip {word[:4]}-", f"slip -{word[-4:]}"}
    return keys


def _by_key(names: Iterable[str]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        found[form_of(name).key].append(name)
    return found


class _Entities:
    """Names in sets that never hold two that are apart."""

    def __init__(self, names: list[str], apart: Pairs) -> None:
        self.names = names
        self._of = {name: name for name in names}
        self._members = {name: [name] for name in names}
        self._apart: defaultdict[str, set[str]] = defaultdict(set)
        for one, other in apart:
            if one != other:
                self._apart[one].add(other)
                self._apart[other].add(one)

    def of(self, name: str) -> str:
        return self._of[name]

    def members(self, entity: str) -> list[str]:
        return self._members[entity]

    def may(self, one: str, other: str) -> bool:
        """Whether nobody said that two entities are apart."""
        others = set(self._members[other])
        return all(
            others.isdisjoint(self._apart[name])
            for name in self._members[one]
            if name in self._apart
        )

    def join(self, one: str, other: str) -> None:
        """Make one entity of those of two names, if nothing keeps them apart."""
        if one not in self._of or other not in self._of:
            return
        left, right = sorted((self._of[one], self._of[other]))
        if left == right or not self.may(left, right):
            return
        for name in self._members[right]:
            self._of[name] = left
        self._members[left] += self._members.pop(right)

    def fullest(self, name: str) -> str:
        return min(self._members[self._of[name]], key=_fullness)


def _fullness(name: str) -> tuple[object, ...]:
    rank = form_of(name).rank
    plain = name.islower() or (name.isupper() and len(name.split()) > 1)
    dressed = form_of(name).titled or name != name.strip() or name.endswith(("'s", "\u2019s", "'"))
    return (tuple([-each for each in rank[1:4]]), plain, dressed, -len(name), name)


class _Joining:
    """Joins what one entity alone fits, the fullest first."""

    def __init__(self, found: _Entities) -> None:
        self._found = found
        self._entities = sorted({found.of(name) for name in found.names})
        self._form = {each: form_of(found.fullest(each)) for each in self._entities}
        self._near = self._neighbours()
        self._joins: dict[str, str] = {}

    def _neighbours(self) -> dict[str, set[str]]:
        """The entities that share a block with each."""
        sharing: defaultdict[str, set[str]] = defaultdict(set)
        for entity in self._entities:
            for name in self._found.members(entity):
                for key in blocks(name):
                    sharing[key].add(entity)
        near: defaultdict[str, set[str]] = defaultdict(set)
        for entities in sharing.values():
            for entity in entities:
                near[entity] |= entities
        return near

    def run(self) -> None:
        order = sorted(self._entities, key=lambda each: (self._form[each].rank, each), reverse=True)
        fitting = {each: self._fitting(each) for each in order}
        takers: defaultdict[str, set[str]] = defaultdict(set)
        for each, others in fitting.items():
            for other in others:
                takers[other].add(each)
        for each in order:
            ends = {self._joins.get(other, other) for other in fitting[each]}
            if len(ends) != 1:
                continue
            (end,) = ends
            rivals = takers[end] - {each}
            if end in fitting[each] and not any(self._rivals(each, other) for other in rivals):
                self._joins[each] = end
        for each in order:
            if each in self._joins:
                self._found.join(each, self._joins[each])

    def _fitting(self, entity: str) -> set[str]:
        form = self._form[entity]
        return {
            other
            for other in self._near[entity]
            if other != entity
            and self._form[other].rank > form.rank
            and any(fits(form, form_of(name)) for name in self._found.members(other))
            and self._found.may(entity, other)
        }

    def _rivals(self, one: str, other: str) -> bool:
        """Whether two that fit one entity cannot both be it."""
        forms = self._form[one], self._form[other]
        spelt = not any(form.acronym for form in forms)
        return not self._found.may(one, other) or (spelt and conflict(*forms))

    def slips(self) -> None:
        """Join long names that one slip tells apart, where no third is near and no word is used twice."""
        used: defaultdict[str, set[str]] = defaultdict(set)
        for name in self._found.names:
            for word in form_of(name).words:
                used[word].add(self._found.of(name))
        for each in self._entities:
            near = [
                other
                for other in sorted(self._near[each])
                if other != each and one_slip_apart(self._form[each], self._form[other], used)
            ]
            if len(near) == 1:
                back = [
                    other
                    for other in self._near[near[0]]
                    if other != near[0]
                    and one_slip_apart(self._form[near[0]], self._form[other], used)
                ]
                if len(back) == 1:
                    self._found.join(each, near[0])
