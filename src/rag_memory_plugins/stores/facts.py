"""`FactStore` on SQL: statements in the log's own file, and what they come to in the same transaction.

```text
astate    sources found -> message, keywords, queue -> statement -> its slot folded -> decision
aheld     slots (of a search), or a subject, or the latest -> holds at a moment -> Fact
aundo     statements marked -> their slots folded without them
```

What an erase of messages takes of facts is in `fact_erasing.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, exists, insert, literal_column, select, update

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import (
    Entity,
    Fact,
    FactChange,
    FactDecision,
    FactQuery,
    NewFact,
    Relation,
)
from rag_memory_plugins.stores import relating
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.fact_reading import changes, held, id_of, outdated
from rag_memory_plugins.stores.fact_rows import message_of_fact, micros, refold_all
from rag_memory_plugins.stores.naming import pairs_changed
from rag_memory_plugins.stores.rows import in_batches, keyword_row
from rag_memory_plugins.stores.schema import (
    fact_marks,
    fact_statements,
    messages,
    sessions,
    text_hash,
)
from rag_memory_plugins.stores.stating import state

__all__ = ["SqlFacts"]

_PLACE: Final = Scope("any", "any").of_facts  # its session is the same for everybody


class SqlFacts:
    """Facts in the log's own file; implements `ports.FactStore`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def astate(self, namespace: Namespace, facts: Sequence[NewFact]) -> list[FactDecision]:
        """Store all or none and decide on each; see `ports.FactStore`."""
        if not facts:
            return []
        made = [(fact, message_of_fact(fact)) for fact in facts]
        rows = [(fact, message, keyword_row(message, item=True)) for fact, message in made]

        def unit(connection: Connection) -> list[FactDecision]:
            return [state(connection, namespace, *row) for row in rows]

        return await self.database.awrite(unit, namespace.scope)

    async def aany(self, scope: Scope) -> bool:
        """Whether anything was ever stated for the user."""
        return await self.database.aread(lambda c: id_of(c, scope) is not None, scope)

    async def aheld(self, scope: Scope, asked: FactQuery) -> list[Fact]:
        """What held at a moment; see `ports.FactStore`."""
        return await self.database.aread(partial(held, scope=scope, asked=asked), scope)

    async def ahistory(
        self, scope: Scope, subject: str | None, predicate: str | None, limit: int
    ) -> list[FactChange]:
        """The last statements, in the order they were recorded."""

        def unit(connection: Connection) -> list[FactChange]:
            return changes(connection, id_of(connection, scope) or 0, subject, predicate, limit)

        return await self.database.aread(unit, scope)

    async def aentities(self, scope: Scope, name: str | None, limit: int) -> list[Entity]:
        """The entity that a name means, or all that facts hold of, most facts first."""
        return await self.database.aread(
            lambda connection: relating.entities(connection, scope, name, limit), scope
        )

    async def arelations(
        self, scope: Scope, name: str | None, depth: int, at: datetime
    ) -> list[Relation]:
        """Facts between entities at a moment; see `ports.FactStore`."""
        return await self.database.aread(
            lambda connection: relating.relations(connection, scope, name, depth, at), scope
        )

    async def aretract(self, scope: Scope, fact_id: str, now: datetime) -> tuple[str, int]:
        """Leave out every statement of a value; see `ports.FactStore`."""

        def unit(connection: Connection) -> tuple[str, int]:
            scope_id, row = _find(connection, scope, fact_id)
            wording = row.wording if row.wording is not None else row.seq
            alike = select(_f.seq, _f.slot).where(
                _f.scope_id == scope_id,
                _f.slot == row.slot,
                _f.undone == 0,
                (_f.wording == wording) | (_f.seq == row.seq),
            )
            found = connection.execute(alike).all()
            if not found:
                raise InvalidInput("fact_id", fact_id, "it was retracted or undone before")
            act = f"act-{uuid.uuid4().hex}"
            _mark(connection, act, [each.seq for each in found], now, undone=True)
            refold_all(connection, scope_id, [bytes(each.slot) for each in found])
            pairs_changed(connection, scope_id, [each.seq for each in found])
            return act, len(found)

        return await self.database.awrite(unit, scope)

    async def aundo(self, scope: Scope, act: str, now: datetime) -> int:
        """Leave out a statement, or count in again what an act left out; see `ports.FactStore`."""

        def unit(connection: Connection) -> int:
            scope_id = id_of(connection, scope) or 0
            key = {"scope": scope_id, "id": text_hash(act)}
            own = connection.execute(_BY_ID, key).one_or_none()
            if own is not None:
                found = [(own.seq, own.slot)] * (not own.undone)
            else:
                left = connection.execute(_LEFT_OUT, {"scope": scope_id, "act": key["id"]})
                found = [(row.seq, row.slot) for row in left]
            if not found:
                remedy = "nothing of this user has that id, or it was undone before"
                raise InvalidInput("act", act, remedy)
            seqs = [seq for seq, _ in found]
            _mark(connection, act, seqs, now, undone=own is not None)
            refold_all(connection, scope_id, [bytes(slot) for _, slot in found])
            pairs_changed(connection, scope_id, seqs)
            return len(found)

        return await self.database.awrite(unit, scope)

    async def aoutdated(self, scope: Scope, seqs: Sequence[int], at: datetime) -> set[int]:
        """Those of these messages whose every value has given way to another one."""
        if not seqs:
            return set()
        return await self.database.aread(
            lambda connection: outdated(connection, scope, seqs, micros(at)), scope
        )

    async def arefold(self, scope: Scope) -> int:
        """Make what holds anew from the statements; how many slots there are."""

        def unit(connection: Connection) -> int:
            scope_id = id_of(connection, scope)
            return refold_all(connection, scope_id) if scope_id else 0

        return await self.database.awrite(unit, scope)


def _find(
    connection: Connection, scope: Scope, fact_id: str, field: str = "fact_id"
) -> tuple[int, Row[Any]]:
    """(the scope's number, the statement of an id). Raises `InvalidInput`."""
    scope_id = id_of(connection, scope) or 0
    row = connection.execute(_BY_ID, {"scope": scope_id, "id": text_hash(fact_id)}).one_or_none()
    if row is None:
        raise InvalidInput(field, fact_id, "no fact of this user has that id")
    return scope_id, row


def _mark(
    connection: Connection, act: str, seqs: Sequence[int], now: datetime, *, undone: bool
) -> None:
    """Leave statements out, or count them in again, and note when."""
    at = {"act": text_hash(act), "at_us": micros(now), "undone": int(undone)}
    connection.execute(insert(fact_marks), [{**at, "seq": seq} for seq in seqs])
    for some in in_batches(seqs):
        connection.execute(
            update(fact_statements).where(_f.seq.in_(some)).values(undone=int(undone))
        )


# Statements built once: compiling them anew would cost as much as running them.
_f = fact_statements.c
_BY_ID: Final = (
    select(fact_statements)
    .join(messages, messages.c.seq == _f.seq)
    .join(sessions, sessions.c.id == messages.c.session_id)
    .where(
        sessions.c.scope_id == bindparam("scope"),
        sessions.c.name_hash == text_hash(_PLACE.session),
        messages.c.id_hash == bindparam("id"),
    )
)
_later: Final = fact_marks.alias("later")
# What the act left out, unless something else was done with it since.
_LEFT_OUT: Final = (
    select(_f.seq, _f.slot)
    .join(fact_marks, fact_marks.c.seq == _f.seq)
    .where(
        fact_marks.c.act == bindparam("act"),
        fact_marks.c.undone == literal_column("1"),
        _f.scope_id == bindparam("scope"),
        ~exists().where(_later.c.seq == fact_marks.c.seq, _later.c.id > fact_marks.c.id),
    )
)
