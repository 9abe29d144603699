"""Which entity a name means among a user's facts, kept up to date as names come and go.

```text
name new    -> its row and blocks -> names that share a block, through others too -> `resolved`
changed     -> rows of names, slots of their statements -> folded again
merged      -> a statement "same as" of the user's, or "different from": counted in like names
```

What a name means is a function of the set of names (`facts/naming.py`), so it does not matter in
which order they came, and a name that goes leaves the others as if it had never been.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from rag_memory_plugins.facts.naming import APART, SAME, blocks, resolved
from rag_memory_plugins.facts.values import predicate_key, subject_key
from rag_memory_plugins.ports import Claim
from rag_memory_plugins.stores.dialects import Numbers, one_of
from rag_memory_plugins.stores.fact_rows import EXTRACTED, claim_of, refold_all, slot_of, told
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import (
    fact_blocks,
    fact_names,
    fact_statements,
    messages,
    text_hash,
)

__all__ = [
    "PAIRS",
    "Names",
    "entity_of",
    "forget_names",
    "is_pair",
    "key_of",
    "known",
    "meant",
    "names_in",
    "pairs_changed",
]

PAIRS: Final = {text_hash(predicate_key(each)): each for each in (SAME, APART)}
_COMMON: Final = 16
"""Names that share a block at most: what more share tells none of them apart."""
_MOST: Final = 100
"""Names looked at for one; where more hang together, those that are one step away alone."""
_LONGEST: Final = 80
_WORDS: Final = 5


@dataclass
class _Name:
    """A name as it is stored, with its text."""

    id: int
    name: bytes
    entity: bytes
    text: str


@dataclass(frozen=True)
class Names:
    """The names of a claim: its subject, and its object where that may be an entity."""

    subject: bytes
    object: bytes
    both: bool
    of_subject: frozenset[int]
    of_object: frozenset[int]
    """Their blocks."""

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of `known`."""
        near = self.of_subject | self.of_object
        return {"name": self.subject, "other": self.object, "near": sorted(near)}


@dataclass(frozen=True)
class _Said:
    """That two names, as hashes, mean one entity or two."""

    one: bytes
    how: str
    other: bytes


def key_of(text: str) -> bytes:
    """What a name is stored under."""
    return text_hash(subject_key(text))


def is_pair(predicate: bytes) -> bool:
    """Whether a predicate says of two names that they mean one entity, or two."""
    return bytes(predicate) in PAIRS


def names_in(claim: Claim) -> Names:
    """What is to be known of the names of a claim before it is stated."""
    both = _is_name(claim.object) or is_pair(text_hash(predicate_key(claim.predicate)))
    return Names(
        key_of(claim.subject),
        key_of(claim.object),
        both,
        _blocks(claim.subject),
        _blocks(claim.object) if both else frozenset(),
    )


def known(scope_id: ColumnElement[int]) -> list[ColumnElement[Any]]:
    """What a scope knows of `Names`: the entities that they mean, and whether names are near."""
    of = {name: _OF.where(_n.scope_id == scope_id, _n.name == bindparam(name)) for name in _NAMES}
    near = exists().where(
        _b.scope_id == scope_id, one_of(_b.block, bindparam("near", type_=Numbers))
    )
    return [
        of["name"].scalar_subquery().label("subject_entity"),
        of["other"].scalar_subquery().label("object_entity"),
        near.label("near"),
    ]


def entity_of(
    connection: Connection, scope_id: int, names: Names, seq: int, known: Row[Any]
) -> tuple[bytes, bool]:
    """(the entity that a statement is about, whether nothing was stated of it before).

    Its names are known from now on. `known` is a row of the columns `known`.
    """
    found, fresh = known.subject_entity, known.subject_entity is None
    alone = not known.near and not names.of_subject & names.of_object
    near: set[int] = set()
    if fresh:
        row = {"name": names.subject, "seq": seq, "in_object": 0}
        near |= _add(connection, scope_id, row, names.of_subject, alone=alone)
    other = names.both and names.object != names.subject
    if other and known.object_entity is None:
        row = {"name": names.object, "seq": seq, "in_object": 1}
        near |= _add(connection, scope_id, row, names.of_object, alone=alone)
    if near:
        _resolve(connection, scope_id, near)
        found, fresh = _entity(connection, scope_id, names.subject), False
    return names.subject if found is None else bytes(found), fresh


def pairs_changed(connection: Connection, scope_id: int, seqs: Iterable[int]) -> None:
    """What users said of two names has changed: look at them again."""
    keys: set[bytes] = set()
    for some in in_batches(list(seqs)):
        query = select(_f.name, _f.object).where(_f.seq.in_(some), _f.predicate.in_(list(PAIRS)))
        for row in connection.execute(query):
            keys |= {bytes(row.name), bytes(row.object)}
    _again(connection, scope_id, keys)


def meant(connection: Connection, scope_id: int, text: str) -> bytes | None:
    """The entity that a name in a question means; None for one that nobody is known by."""
    found = _entity(connection, scope_id, key_of(text))
    if found is not None:
        return found
    sharing = _sharing(connection, scope_id, _blocks(text))
    if not sharing:
        return None
    said = _told(connection, scope_id)
    near = _near(connection, scope_id, sharing, said)
    shown = {each.text: each for each in near.values()}
    means = _means(near, said, text)[text]
    return shown[means].entity if means in shown and means != text else None


def forget_names(
    connection: Connection, scope_id: int, seqs: Collection[int], names: Collection[bytes]
) -> None:
    """Statements with these names were forgotten: what no other one has goes with them."""
    gone: list[int] = []
    again: set[bytes] = set()
    forgotten = set(seqs)
    for some in in_batches(sorted(names)):
        query = select(fact_names).where(
            fact_names.c.scope_id == scope_id, fact_names.c.name.in_(some)
        )
        for row in connection.execute(query).all():
            if row.seq not in forgotten:
                continue
            named = {"scope": scope_id, "name": row.name, "entity": row.entity}
            other = connection.execute(_SUBJECT, named).first()
            in_object = other is None
            if in_object:
                other = connection.execute(_OBJECT, named).first()
            if other is not None:
                at = {"seq": other.seq, "in_object": int(in_object)}
                connection.execute(update(fact_names).where(fact_names.c.id == row.id).values(**at))
                again.add(bytes(row.name))  # it may be written another way there
                continue
            gone.append(row.id)
            around = _sharing(connection, scope_id, (), [row.id])
            again |= {each.name for each in _names(connection, around).values()}
    for ids in in_batches(gone):
        connection.execute(delete(fact_blocks).where(fact_blocks.c.name_id.in_(ids)))
        connection.execute(delete(fact_names).where(fact_names.c.id.in_(ids)))
    _again(connection, scope_id, again)


def _again(connection: Connection, scope_id: int, keys: Collection[bytes]) -> None:
    found = _numbers(connection, scope_id, keys)
    if found:
        _resolve(connection, scope_id, found)


def _is_name(text: str) -> bool:
    """Whether an object may be an entity: a few words, one of them with a capital."""
    parts = text.split()
    if not 0 < len(parts) <= _WORDS or len(text) > _LONGEST:
        return False
    return any(part[0].isupper() and any(map(str.isalpha, part)) for part in parts)


def _entity(connection: Connection, scope_id: int, name: bytes) -> bytes | None:
    found = connection.execute(_ENTITY, {"scope": scope_id, "name": name}).scalar_one_or_none()
    return None if found is None else bytes(found)


def _add(
    connection: Connection,
    scope_id: int,
    row: dict[str, Any],
    inside: Collection[int],
    *,
    alone: bool,
) -> set[int]:
    """A new name, which means itself; what has to be looked at again, if others share a block."""
    values = {**row, "scope_id": scope_id, "entity": row["name"]}
    key = connection.execute(_INSERT_NAME, values).inserted_primary_key
    assert key is not None  # a single insert always has one
    number = int(key[0])
    if inside:
        rows = [{"scope_id": scope_id, "block": b, "name_id": number} for b in sorted(inside)]
        connection.execute(_INSERT_BLOCKS, rows)
    if alone:
        return set()
    near = set(_sharing(connection, scope_id, inside))
    return near | {number} if near - {number} else set()


def _resolve(connection: Connection, scope_id: int, ids: Collection[int]) -> None:
    """Find out what these names and all that hang together with them mean; move what changed."""
    said = _told(connection, scope_id)
    near = _near(connection, scope_id, ids, said)
    means = _means(near, said)
    changed = [
        replace(each, entity=entity)
        for each in near.values()
        if (entity := key_of(means[each.text])) != each.entity
    ]
    if not changed:
        return
    connection.execute(_MEANT, [{"n": each.id, "entity": each.entity} for each in changed])
    touched: set[bytes] = set()
    for each in changed:
        touched |= _move(connection, scope_id, each, near[each.id].entity)
    refold_all(connection, scope_id, touched)


def _move(connection: Connection, scope_id: int, name: _Name, was: bytes) -> set[bytes]:
    """Put a name's statements into the slots of its entity; the slots that this changed."""
    rows, touched = [], set()
    for row in connection.execute(_OF_NAME, {"scope": scope_id, "name": name.name, "entity": was}):
        slot, subject, _ = slot_of(claim_of(told(row.extra)), name.entity, bytes(row.value))
        if slot != bytes(row.slot):
            touched |= {bytes(row.slot), slot}
            rows.append({"s": row.seq, "slot": slot, "subject": subject})
    if rows:
        connection.execute(_MOVED, rows)
    return touched


def _near(
    connection: Connection, scope_id: int, ids: Collection[int], said: Collection[_Said]
) -> dict[int, _Name]:
    """These names and those that hang together with them by blocks, or by what users said."""
    # Of what users said any name may hang together with these: it is little.
    named = {name for each in said for name in (each.one, each.other)}
    known = set(ids) | set(_numbers(connection, scope_id, named))
    last = set(known)
    for step in range(_MOST):
        following = set(_sharing(connection, scope_id, (), last)) - known
        if not following or (step > 0 and len(known) + len(following) > _MOST):
            break
        known |= following
        last = following
    return _names(connection, known)


def _told(connection: Connection, scope_id: int) -> list[_Said]:
    """What the user said of pairs of names."""
    rows = connection.execute(_SAID, {"scope": scope_id})
    return [_Said(bytes(row.name), PAIRS[bytes(row.predicate)], bytes(row.object)) for row in rows]


def _numbers(connection: Connection, scope_id: int, names: Collection[bytes]) -> list[int]:
    found: list[int] = []
    for some in in_batches(sorted(names)):
        query = select(fact_names.c.id).where(
            fact_names.c.scope_id == scope_id, fact_names.c.name.in_(some)
        )
        found += connection.execute(query).scalars()
    return found


def _means(near: Mapping[int, _Name], said: Collection[_Said], *more: str) -> dict[str, str]:
    """What each name means, by its text, and `more` names too."""
    spelt = {each.name: each.text for each in near.values()}
    pairs: dict[str, list[tuple[str, str]]] = {SAME: [], APART: []}
    for each in said:
        if each.one in spelt and each.other in spelt:
            pairs[each.how].append((spelt[each.one], spelt[each.other]))
    return resolved([*spelt.values(), *more], together=pairs[SAME], apart=pairs[APART])


def _blocks(name: str) -> frozenset[int]:
    return frozenset(
        [int.from_bytes(text_hash(key)[:8], "big", signed=True) for key in blocks(name)]
    )


def _sharing(
    connection: Connection, scope_id: int, inside: Iterable[int], ids: Collection[int] = ()
) -> list[int]:
    """Numbers of the names that are in these blocks, or in a block of these names."""
    found = list(inside)
    if ids:
        found += connection.execute(_BLOCKS, {"ids": list(ids)}).scalars()
    near = connection.execute(_SHARING, {"scope": scope_id, "blocks": found}).scalars()
    return sorted(set(near))


def _names(connection: Connection, ids: Collection[int]) -> dict[int, _Name]:
    rows = connection.execute(_TEXTS, {"ids": sorted(ids)})
    found = {}
    for row in rows:
        stated = told(row.extra)
        text = stated["object" if row.in_object else "subject"]
        found[row.id] = _Name(row.id, bytes(row.name), bytes(row.entity), text)
    return found


_f = fact_statements.c
_n: Final = fact_names.c
_NAMES: Final = ("name", "other")
_OF: Final = select(_n.entity)
_ENTITY: Final = _OF.where(_n.scope_id == bindparam("scope"), _n.name == bindparam("name"))
_INSERT_NAME: Final = insert(fact_names)
_INSERT_BLOCKS: Final = insert(fact_blocks)
_BLOCKS: Final = (
    select(fact_blocks.c.block)
    .where(one_of(fact_blocks.c.name_id, bindparam("ids", type_=Numbers)))
    .distinct()
)
_b: Final = fact_blocks.c
_inside: Final = (_b.scope_id == bindparam("scope")) & one_of(
    _b.block, bindparam("blocks", type_=Numbers)
)
_SHARING: Final = select(_b.name_id).where(
    _inside,
    _b.block.in_(
        select(_b.block).where(_inside).group_by(_b.block).having(func.count() <= _COMMON)
    ),
)
_SUBJECT: Final = (
    select(_f.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.subject == bindparam("entity"),
        _f.name == bindparam("name"),
    )
    .limit(1)
)
_OBJECT: Final = (
    select(_f.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.object == bindparam("name"),
        _f.names_object == literal_column("1"),
    )
    .limit(1)
)
_TEXTS: Final = (
    select(fact_names, messages.c.extra)
    .join(messages, messages.c.seq == fact_names.c.seq)
    .where(one_of(fact_names.c.id, bindparam("ids", type_=Numbers)))
)
_OF_NAME: Final = (
    select(_f.seq, _f.slot, _f.value, messages.c.extra)
    .join(messages, messages.c.seq == _f.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.subject == bindparam("entity"),
        _f.name == bindparam("name"),
    )
)
# Only what a user or a tool stated: what was read in a message merges nobody.
_SAID: Final = select(_f.name, _f.object, _f.predicate).where(
    _f.scope_id == bindparam("scope"),
    _f.pair == literal_column("1"),
    _f.undone == 0,
    _f.flags < EXTRACTED,
)
_MEANT: Final = (
    update(fact_names).where(fact_names.c.id == bindparam("n")).values(entity=bindparam("entity"))
)
_MOVED: Final = (
    update(fact_statements)
    .where(_f.seq == bindparam("s"))
    .values(slot=bindparam("slot"), subject=bindparam("subject"))
)
