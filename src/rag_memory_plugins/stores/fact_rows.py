"""Statements and what holds as rows and back, and the fold of a slot in one transaction.

The text of a statement is a message of the user's scope of facts, whose metadata is all that was
stated; so it has the keywords, the vectors, the queue and the erase of any message. What is beside
it is numbers and hashes: a row of `fact_statements`, its sources, and the `holds` that the
statements of its slot come to.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from rag_memory_plugins.facts.fold import Decided, Held, Line, Statement, fold
from rag_memory_plugins.facts.values import normal, predicate_key, same_value
from rag_memory_plugins.ports import Claim, NewFact
from rag_memory_plugins.ports.facts import Decision
from rag_memory_plugins.stores.dialects import Numbers, one_of
from rag_memory_plugins.stores.schema import (
    fact_sources,
    fact_statements,
    holds,
    messages,
    text_hash,
)
from rag_memory_plugins.types import Message

__all__ = [
    "CORRECTS",
    "EXTRACTED",
    "MANY",
    "NEGATED",
    "claim_of",
    "decide",
    "decision_of",
    "message_of_fact",
    "micros",
    "moment",
    "refold",
    "refold_all",
    "slot_of",
    "statements_of",
    "told",
    "value_of",
]

NEGATED, CORRECTS, MANY, EXTRACTED = 1, 2, 4, 8  # the last is the largest: see `reading.py`
_DECISIONS: Final[tuple[Decision, ...]] = ("ADD", "UPDATE", "NOOP", "CONFLICT")
_LOOKED_AT: Final = 64
"""Statements of one subject and predicate that are looked at for a value in other words."""
_EVER: Final = -(2**62)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The time of so many microseconds."""
    return _EPOCH + timedelta(microseconds=micros)


def decision_of(number: int) -> Decision:
    """The decision as it is stored."""
    return _DECISIONS[number]


def message_of_fact(fact: NewFact) -> Message:
    """The message that holds a statement, and all of it."""
    claim = fact.claim
    told: dict[str, Any] = {
        "subject": claim.subject,
        "predicate": claim.predicate,
        "object": claim.object,
        "confidence": claim.confidence,
        "by": fact.by,
    }
    for name in ("negated", "corrects", "many"):
        if getattr(claim, name):
            told[name] = True
    for name in ("valid_from", "valid_to"):
        if (time := getattr(claim, name)) is not None:
            told[name] = time.isoformat()
    ends = " no longer" if claim.negated else ""
    text = f"{claim.subject}{ends} {claim.predicate} {claim.object}"
    return Message("user", text, id=fact.id, time=fact.recorded_at, metadata={"fact": told})


def told(extra: str) -> dict[str, Any]:
    """What was stated, of the column `messages.extra`."""
    return dict(json.loads(extra)["metadata"]["fact"])


def claim_of(stated: Mapping[str, Any]) -> Claim:
    """What was stated, as far as a slot hangs on it."""
    many = bool(stated.get("many"))
    return Claim(stated["subject"], stated["predicate"], stated["object"], many=many)


def slot_of(claim: Claim, entity: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    """(slot, entity, predicate) as hashes: of many values each has a slot of its own."""
    predicate = predicate_key(claim.predicate)
    parts = [entity.hex(), predicate, claim.many, value.hex() if claim.many else ""]
    return text_hash(json.dumps(parts)), entity, text_hash(predicate)


def value_of(
    connection: Connection, scope_id: int, claim: Claim, entity: bytes, *, fresh: bool
) -> bytes:
    """Which of many values a statement is of: the one among the last that says the same.

    b"" for a claim of one value, whose slot has them all.
    """
    if not claim.many:
        return b""
    own = text_hash(normal(claim.object))
    if fresh:
        return own
    predicate = text_hash(predicate_key(claim.predicate))
    place = {"scope": scope_id, "subject": entity, "predicate": predicate}
    if connection.execute(_KNOWN_VALUE, {**place, "value": own}).first() is not None:
        return own
    for row in connection.execute(_LAST_VALUES, place):
        if row.flags & MANY and same_value(told(row.extra)["object"], claim.object):
            return bytes(row.value)
    return own


def decide(
    connection: Connection, scope_id: int, row: dict[str, Any], said: Statement, *, fresh: bool
) -> Decided:
    """Store a statement, lay it over its slot, and write what that changed.

    `fresh` says that nothing can be in the slot.
    """
    slot = {"scope": scope_id, "slot": row["slot"]}
    last = None if fresh else connection.execute(_LAST, {**slot, "seq": said.id}).one_or_none()
    order = (row["recorded_us"], row["said"], row["seq"])
    if last is not None and tuple(last) > order:
        connection.execute(_INSERT, row)
        decisions = {each.statement: each for each in refold(connection, scope_id, row["slot"])}
        return decisions[said.id]
    known = {}
    line = Line(same_value)
    # Without a statement nothing holds; a correction reaches back.
    since = _EVER if said.corrects else row["from_us"]
    for found in () if last is None else connection.execute(_LIVE, {**slot, "from": since}):
        held = _held_of(connection, found)
        known[id(held)] = found.id
        line.held.append(held)
    before = list(line.held)  # keeps them alive: they are known by identity
    decided = line.take(said)
    kept = {id(held) for held in line.held}
    gone = [known[id(held)] for held in before if id(held) not in kept]
    if gone:
        connection.execute(_GONE, {"ids": gone})
    _insert_holds(connection, scope_id, row, [h for h in line.held if id(h) not in known])
    connection.execute(_INSERT, row | _decided(decided, negated=said.negated))
    return decided


def refold(connection: Connection, scope_id: int, slot: bytes) -> tuple[Decided, ...]:
    """Make what holds of one slot anew; what was decided on each of its statements."""
    found = connection.execute(_STATEMENTS, {"scope": scope_id, "slots": [slot]}).all()
    statements = statements_of(connection, found)
    folded = fold(
        [each for each, row in zip(statements, found, strict=True) if not row.undone], same_value
    )
    connection.execute(delete(holds).where(holds.c.scope_id == scope_id, holds.c.slot == slot))
    if found:
        row = {"slot": slot, "subject": found[0].subject, "predicate": found[0].predicate}
        _insert_holds(connection, scope_id, row, folded.held)
    negated = {each.id: each.negated for each in statements}
    _write_decisions(connection, [(each, negated[each.statement]) for each in folded.decisions])
    return folded.decisions


def refold_all(connection: Connection, scope_id: int, slots: Iterable[bytes] | None = None) -> int:
    """Make what holds of these slots anew, or of all; how many they are."""
    if slots is None:
        every = select(fact_statements.c.slot).where(fact_statements.c.scope_id == scope_id)
        connection.execute(delete(holds).where(holds.c.scope_id == scope_id))
        slots = connection.execute(every.distinct()).scalars().all()
    count = 0
    for slot in sorted(set(slots)):
        refold(connection, scope_id, bytes(slot))
        count += 1
    return count


def statements_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Statement]:
    """The statements of rows of `fact_statements` with their texts."""
    sources = _sources(connection, [row.seq for row in rows])
    return [
        Statement(
            row.seq,
            told(row.extra)["object"],
            moment(row.from_us),
            moment(row.recorded_us),
            row.confidence,
            tuple(sources.get(row.seq, ())),
            None if row.to_us is None else moment(row.to_us),
            bool(row.flags & NEGATED),
            bool(row.flags & CORRECTS),
            row.said,
        )
        for row in rows
    ]


def _held_of(connection: Connection, row: Row[Any]) -> Held:
    statements = tuple(json.loads(row.statements))
    sources = _sources(connection, statements)
    # As the fold has them: of each statement in turn, none twice, the first few.
    said = dict.fromkeys(source for seq in statements for source in sources.get(seq, ()))
    return Held(
        told(row.extra)["object"],
        moment(row.from_us),
        None if row.to_us is None else moment(row.to_us),
        row.confidence,
        tuple(said),
        statements,
        row.ended_by,
    )


def _sources(connection: Connection, seqs: Collection[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in connection.execute(_SOURCES, {"seqs": list(seqs)}):
        found.setdefault(row.seq, []).append(row.source)
    return found


def _insert_holds(
    connection: Connection, scope_id: int, row: dict[str, Any], held: Sequence[Held]
) -> None:
    place = {"scope_id": scope_id} | {n: row[n] for n in ("slot", "subject", "predicate")}
    rows = [
        {
            **place,
            "seq": each.statements[0],
            "from_us": micros(each.valid_from),
            "to_us": None if each.valid_to is None else micros(each.valid_to),
            "ended_by": each.ended_by,
            "confidence": each.confidence,
            "statements": json.dumps(each.statements),
        }
        for each in held
    ]
    if rows:
        connection.execute(_INSERT_HOLDS, rows)


def _write_decisions(connection: Connection, made: Sequence[tuple[Decided, bool]]) -> None:
    rows = [{"s": each.statement, **_decided(each, negated=negated)} for each, negated in made]
    if rows:
        connection.execute(_DECIDED, rows)


def _decided(made: Decided, *, negated: bool) -> dict[str, Any]:
    """The columns of a decision."""
    known = made.decision == "NOOP" and bool(made.over)
    wording = None if negated else made.over[0] if known else made.statement
    return {
        "decision": _DECISIONS.index(made.decision),
        "reason": made.reason,
        "over": json.dumps(made.over),
        "wording": wording,
    }


# Statements built once: compiling them anew would cost as much as running them.
_f = fact_statements.c
_LAST: Final = (
    select(_f.recorded_us, _f.said, _f.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.slot == bindparam("slot"),
        _f.seq != bindparam("seq"),
        _f.undone == 0,
    )
    .order_by(_f.recorded_us.desc(), _f.said.desc(), _f.seq.desc())
    .limit(1)
)
_OF_SLOT: Final = (
    select(holds, messages.c.extra)
    .join(messages, messages.c.seq == holds.c.seq)
    .where(holds.c.scope_id == bindparam("scope"), holds.c.slot == bindparam("slot"))
)
# What had ended when the statement holds from has no part in it.
_LIVE: Final = _OF_SLOT.where(holds.c.to_us.is_(None)).union_all(
    _OF_SLOT.where(holds.c.to_us > bindparam("from"))
)
_GONE: Final = delete(holds).where(one_of(holds.c.id, bindparam("ids", type_=Numbers)))
_KNOWN_VALUE: Final = (
    select(_f.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.subject == bindparam("subject"),
        _f.predicate == bindparam("predicate"),
        _f.value == bindparam("value"),
    )
    .limit(1)
)
_LAST_VALUES: Final = (
    select(_f.value, _f.flags, messages.c.extra)
    .join(messages, messages.c.seq == _f.seq)
    .where(
        _f.scope_id == bindparam("scope"),
        _f.subject == bindparam("subject"),
        _f.predicate == bindparam("predicate"),
    )
    .order_by(_f.seq.desc())
    .limit(_LOOKED_AT)
)
_STATEMENTS: Final = (
    select(fact_statements, messages.c.extra)
    .join(messages, messages.c.seq == _f.seq)
    .where(_f.scope_id == bindparam("scope"), _f.slot.in_(bindparam("slots", expanding=True)))
)
_SOURCES: Final = (
    select(fact_sources)
    .where(one_of(fact_sources.c.seq, bindparam("seqs", type_=Numbers)))
    .order_by(fact_sources.c.seq, fact_sources.c.source)
)
_INSERT: Final = insert(fact_statements)
_INSERT_HOLDS: Final = insert(holds)
_DECIDED: Final = (
    update(fact_statements)
    .where(_f.seq == bindparam("s"))
    .values({name: bindparam(name) for name in ("decision", "reason", "over", "wording")})
)
