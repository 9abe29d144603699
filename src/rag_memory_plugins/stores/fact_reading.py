"""What holds and what was stated, read back: units of reading over one user's facts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, exists, literal, literal_column, select

from rag_memory_plugins.facts.fold import Held, fold, known_at
from rag_memory_plugins.facts.values import predicate_key, same_value
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Fact, FactChange, FactQuery, Said
from rag_memory_plugins.ports.facts import Stater
from rag_memory_plugins.stores.dialects import Numbers, one_of
from rag_memory_plugins.stores.fact_rows import (
    EXTRACTED,
    MANY,
    NEGATED,
    decision_of,
    micros,
    moment,
    statements_of,
    told,
)
from rag_memory_plugins.stores.naming import PAIRS, meant
from rag_memory_plugins.stores.rows import in_batches
from rag_memory_plugins.stores.schema import (
    fact_marks,
    fact_sources,
    fact_statements,
    holds,
    messages,
    scopes,
    sessions,
    text_hash,
)

__all__ = ["changes", "facts_of", "held", "id_of", "ids_of", "outdated", "sources"]

_MOST_SLOTS: Final = 200
"""Slots of a search that are looked at."""


@dataclass(frozen=True)
class _Hold:
    """One value of a slot, as a row of `holds` or a fold of what was known has it."""

    slot: bytes
    seq: int
    from_us: int
    to_us: int | None
    ended_by: int | None
    confidence: float
    statements: tuple[int, ...]
    rivals: bool


def id_of(connection: Connection, scope: Scope) -> int | None:
    """The number of the scope of a user's facts, None while there is none."""
    key = scope.of_facts.scope.key
    row = connection.execute(_SCOPE, {"scope": text_hash(key)}).one_or_none()
    return row.id if row is not None and row.key == key else None


def ids_of(connection: Connection, seqs: Collection[int]) -> dict[int, str]:
    """Ids of statements by their numbers, in the order given; those that are erased left out."""
    if not seqs:
        return {}
    found = {row.seq: row.id for row in connection.execute(_IDS, {"seqs": list(seqs)})}
    return {seq: found[seq] for seq in seqs if seq in found}


def held(connection: Connection, scope: Scope, asked: FactQuery) -> list[Fact]:
    """What held at a moment: in the order of what was found, else the latest first."""
    scope_id = id_of(connection, scope)
    if scope_id is None:
        return []
    slots: list[bytes] | None = None
    if asked.found is not None:
        slots = _slots(connection, scope_id, asked.found, asked.said)
    read = _now if asked.known_at is None else _known
    found = read(connection, scope_id, asked, slots)
    places = {slot: place for place, slot in enumerate(slots or ())}
    found.sort(key=lambda hold: (places.get(hold.slot, 0), -hold.from_us, -hold.seq))
    return _facts(connection, found[: asked.limit])


def _slots(
    connection: Connection, scope_id: int, found: Sequence[int], said: Sequence[int]
) -> list[bytes]:
    """Slots of statements, in order, behind those of what messages stated."""
    first: list[tuple[int, bytes]] = []
    if said:
        order = {seq: place for place, seq in enumerate(said)}
        rows = connection.execute(_SAID_SLOTS, {"scope": scope_id, "seqs": list(said)})
        first = sorted((order[row.source], bytes(row.slot)) for row in rows)
    order = {seq: place for place, seq in enumerate(found)}
    rows = connection.execute(_SLOTS, {"scope": scope_id, "seqs": list(found)})
    best = sorted((order[row.seq], bytes(row.slot)) for row in rows)
    return list(dict.fromkeys(slot for _, slot in [*first, *best]))[:_MOST_SLOTS]


def _now(
    connection: Connection, scope_id: int, asked: FactQuery, slots: list[bytes] | None
) -> list[_Hold]:
    """What holds at a moment, as it is known."""
    values = {
        "scope": scope_id,
        "at": micros(asked.at),
        "least": asked.min_confidence,
        "n": asked.limit,
    }
    chosen: list[Any] = []
    if slots is not None:
        chosen.append(holds.c.slot.in_(slots))
    if asked.subject is not None:
        chosen.append(holds.c.subject == meant(connection, scope_id, asked.subject))
    if asked.predicate is not None:
        chosen.append(holds.c.predicate == _predicate(asked.predicate))
    else:
        chosen.append(holds.c.predicate.not_in(list(PAIRS)))  # they are about names
    narrow = slots is not None or asked.subject is not None
    return [
        _read(row, rivals=bool(row.rivals))
        for query in (_OPEN, _ENDING, *([_ENDED] if asked.past and narrow else []))
        for row in connection.execute(query.where(*chosen), values)
    ]


def _known(
    connection: Connection, scope_id: int, asked: FactQuery, slots: list[bytes] | None
) -> list[_Hold]:
    """What held at a moment, as it was known at another: a fold of what had been recorded."""
    assert asked.known_at is not None
    query = _STATED.where(_f.scope_id == scope_id)
    if slots is not None:
        query = query.where(_f.slot.in_(slots))
    if asked.subject is not None:
        query = query.where(_f.subject == meant(connection, scope_id, asked.subject))
    if asked.predicate is not None:
        query = query.where(_f.predicate == _predicate(asked.predicate))
    else:
        query = query.where(_f.pair == literal_column("0"))  # they are about names
    rows = connection.execute(query).all()
    undone = _undone(connection, [row.seq for row in rows], micros(asked.known_at))
    of_slot: dict[bytes, list[Row[Any]]] = {}
    for row in rows:
        if row.seq not in undone:
            of_slot.setdefault(bytes(row.slot), []).append(row)
    found = []
    for slot, some in of_slot.items():
        known = known_at(statements_of(connection, some), asked.known_at)
        there = fold(known, same_value).at(asked.at)
        found += [
            _hold_of(slot, each, rivals=len(there) > 1)
            for each in there
            if each.confidence >= asked.min_confidence
        ]
    return found


def _predicate(text: str) -> bytes:
    return text_hash(predicate_key(text))


def _read(row: Row[Any], *, rivals: bool) -> _Hold:
    return _Hold(
        bytes(row.slot),
        row.seq,
        row.from_us,
        row.to_us,
        row.ended_by,
        row.confidence,
        tuple(json.loads(row.statements)),
        rivals,
    )


def facts_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Fact]:
    """The facts of rows of `holds`."""
    return _facts(connection, [_read(row, rivals=False) for row in rows])


def _hold_of(slot: bytes, held: Held, *, rivals: bool) -> _Hold:
    return _Hold(
        slot,
        held.statements[0],
        micros(held.valid_from),
        None if held.valid_to is None else micros(held.valid_to),
        held.ended_by,
        held.confidence,
        held.statements,
        rivals,
    )


def _undone(connection: Connection, seqs: Sequence[int], at: int) -> set[int]:
    """Those that were left out at a moment: by the last mark before it."""
    last: dict[int, int] = {}
    for some in in_batches(seqs):
        query = (
            select(fact_marks.c.seq, fact_marks.c.undone)
            .where(fact_marks.c.seq.in_(some), fact_marks.c.at_us <= at)
            .order_by(fact_marks.c.id)
        )
        last |= {row.seq: row.undone for row in connection.execute(query)}
    return {seq for seq, undone in last.items() if undone}


def _facts(connection: Connection, found: Sequence[_Hold]) -> list[Fact]:
    """The holds with their texts, times and sources."""
    ends = [hold.ended_by for hold in found if hold.ended_by is not None]
    rows = _rows(connection, [*(hold.seq for hold in found), *ends])
    stated = _stated(connection, found, rows)
    said_in = sources(connection, [seq for hold in found for seq in hold.statements])
    facts = []
    for hold in found:
        row = rows[hold.seq]
        claim = told(row.extra)
        end = rows.get(hold.ended_by or 0)
        said = dict.fromkeys(each for seq in hold.statements for each in said_in.get(seq, ()))
        facts.append(
            Fact(
                id=row.id,
                subject=claim["subject"],
                predicate=claim["predicate"],
                object=claim["object"],
                confidence=hold.confidence,
                valid_from=moment(hold.from_us),
                valid_to=None if hold.to_us is None else moment(hold.to_us),
                recorded_at=moment(row.recorded_us),
                superseded_at=None if end is None else moment(end.recorded_us),
                sources=tuple(said),
                by=stated.get(hold.seq, claim["by"]),
                conflict=hold.rivals and not row.flags & MANY,
                many=bool(row.flags & MANY),
            )
        )
    return facts


def _stated(
    connection: Connection, found: Sequence[_Hold], rows: Mapping[int, Row[Any]]
) -> dict[int, Stater]:
    """Who stated what was first read in a message: whoever has said so too outranks a reader."""
    read = [hold for hold in found if rows[hold.seq].flags & EXTRACTED and len(hold.statements) > 1]
    others = _rows(connection, [seq for hold in read for seq in hold.statements]) if read else {}
    by: dict[int, Stater] = {}
    for hold in read:
        for seq in hold.statements[::-1]:
            row = others.get(seq)
            if row is not None and not row.flags & EXTRACTED:
                by[hold.seq] = told(row.extra)["by"]
    return by


def changes(
    connection: Connection, scope_id: int, subject: str | None, predicate: str | None, limit: int
) -> list[FactChange]:
    """The last statements, in the order they were recorded."""
    query = _STATED.where(_f.scope_id == scope_id)
    if subject is not None:
        query = query.where(_f.subject == meant(connection, scope_id, subject))
    if predicate is not None:
        query = query.where(_f.predicate == _predicate(predicate))
    last_first = (_f.recorded_us.desc(), _f.said.desc(), _f.seq.desc())
    rows = connection.execute(query.order_by(*last_first).limit(limit)).all()[::-1]
    said_in = sources(connection, [row.seq for row in rows])
    over = {row.seq: json.loads(row.over) for row in rows}
    before = _rows(connection, sorted({seq for seqs in over.values() for seq in seqs}))
    made = []
    for row in rows:
        stated = told(row.extra)
        decision = decision_of(row.decision)
        gone = over[row.seq] if decision == "UPDATE" else []
        made.append(
            FactChange(
                id=row.id,
                subject=stated["subject"],
                predicate=stated["predicate"],
                old=tuple(told(before[seq].extra)["object"] for seq in gone if seq in before),
                new=stated["object"],
                negated=bool(row.flags & NEGATED),
                decision=decision,
                reason=row.reason,
                confidence=row.confidence,
                valid_from=moment(row.from_us),
                valid_to=None if row.to_us is None else moment(row.to_us),
                recorded_at=moment(row.recorded_us),
                sources=tuple(said_in.get(row.seq, ())),
                by=stated["by"],
                undone=bool(row.undone),
            )
        )
    return made


def outdated(connection: Connection, scope: Scope, seqs: Sequence[int], at: int) -> set[int]:
    """Those of these messages whose every value has given way to another one."""
    scope_id = id_of(connection, scope)
    if scope_id is None:
        return set()
    values = {"scope": scope_id, "seqs": list(seqs), "at": at}
    states: dict[int, list[bool]] = {}
    for row in connection.execute(_VALUES, values):
        states.setdefault(row.source, []).append(not row.holds and not row.ran_out)
    return {source for source, gone in states.items() if all(gone)}


def _rows(connection: Connection, seqs: Collection[int]) -> dict[int, Row[Any]]:
    found = connection.execute(_BY_SEQ, {"seqs": list(seqs)})
    return {row.seq: row for row in found}


def sources(connection: Connection, seqs: Collection[int]) -> dict[int, list[Said]]:
    """The messages that statements rest on, by the statements' numbers."""
    found: dict[int, list[Said]] = {}
    for row in connection.execute(_SAID, {"seqs": list(seqs)}):
        found.setdefault(row.seq, []).append(Said(row.name, row.id))
    return found


# Statements built once: compiling them anew would cost as much as running them.
_f = fact_statements.c
_SEQS: Final = bindparam("seqs", type_=Numbers)
_SCOPE: Final = select(scopes.c.id, scopes.c.key).where(scopes.c.key_hash == bindparam("scope"))
_IDS: Final = select(messages.c.seq, messages.c.id).where(one_of(messages.c.seq, _SEQS))
_SLOTS: Final = select(_f.seq, _f.slot).where(
    _f.scope_id == bindparam("scope"), one_of(_f.seq, _SEQS)
)
_SAID_SLOTS: Final = (
    select(fact_sources.c.source, _f.slot)
    .join(fact_statements, _f.seq == fact_sources.c.seq)
    .where(_f.scope_id == bindparam("scope"), one_of(fact_sources.c.source, _SEQS))
)
_STATED: Final = select(fact_statements, messages.c.id, messages.c.extra).join(
    messages, messages.c.seq == _f.seq
)
_BY_SEQ: Final = _STATED.where(one_of(_f.seq, _SEQS))
_SAID: Final = (
    select(fact_sources.c.seq, sessions.c.name, messages.c.id)
    .join(messages, messages.c.seq == fact_sources.c.source)
    .join(sessions, sessions.c.id == messages.c.session_id)
    .where(one_of(fact_sources.c.seq, _SEQS))
    .order_by(fact_sources.c.seq, fact_sources.c.source)
)
_other: Final = holds.alias("other")
_rivals: Final = exists().where(
    _other.c.scope_id == holds.c.scope_id,
    _other.c.slot == holds.c.slot,
    _other.c.id != holds.c.id,
    _other.c.from_us <= bindparam("at"),
    _other.c.to_us.is_(None) | (_other.c.to_us > bindparam("at")),
)
_HELD: Final = (
    select(holds, _rivals.label("rivals"))
    .where(
        holds.c.scope_id == bindparam("scope"),
        holds.c.from_us <= bindparam("at"),
        holds.c.confidence >= bindparam("least"),
    )
    .order_by(holds.c.from_us.desc(), holds.c.id.desc())
    .limit(bindparam("n"))
)
# Two statements: what holds still is one range of each index, what ended since another.
_OPEN: Final = _HELD.where(holds.c.to_us.is_(None))
_ENDING: Final = _HELD.where(holds.c.to_us > bindparam("at"))
_ENDED: Final = (
    select(holds, literal(0).label("rivals"))
    .where(
        holds.c.scope_id == bindparam("scope"),
        holds.c.to_us <= bindparam("at"),
        holds.c.confidence >= bindparam("least"),
    )
    .order_by(holds.c.to_us.desc(), holds.c.id.desc())
    .limit(bindparam("n"))
)
_of_value: Final = (
    (holds.c.scope_id == bindparam("scope"))
    & (holds.c.slot == _f.slot)
    & (holds.c.seq == _f.wording)
)
_VALUES: Final = (
    select(
        fact_sources.c.source,
        exists()
        .where(_of_value, holds.c.to_us.is_(None) | (holds.c.to_us > bindparam("at")))
        .label("holds"),
        # Ended when it was said to: a plan that is over is no mistake about the present.
        exists().where(_of_value, holds.c.ended_by.is_(None)).label("ran_out"),
    )
    .join(fact_statements, _f.seq == fact_sources.c.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.undone == 0,
        _f.wording.is_not(None),
        one_of(fact_sources.c.source, _SEQS),
    )
)
