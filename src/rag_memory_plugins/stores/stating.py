"""One statement stored, and what it comes to: a unit of writing.

```text
what is known  -> its scope, whether its id is stored, what its names mean      one statement
new            -> message, keywords, queue -> names -> slot folded -> decision
```
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    exists,
    insert,
    literal,
    literal_column,
    or_,
    select,
)

from rag_memory_plugins.errors import InvalidInput, MessageConflict
from rag_memory_plugins.facts.fold import Statement
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.ports import FactDecision, NewFact, Said
from rag_memory_plugins.stores.appending import insert_messages, make_place
from rag_memory_plugins.stores.fact_reading import ids_of
from rag_memory_plugins.stores.fact_rows import (
    CORRECTS,
    EXTRACTED,
    MANY,
    NEGATED,
    decide,
    decision_of,
    micros,
    moment,
    slot_of,
    value_of,
)
from rag_memory_plugins.stores.naming import (
    Names,
    entity_of,
    is_pair,
    known,
    names_in,
    pairs_changed,
)
from rag_memory_plugins.stores.schema import (
    ACTIVE,
    FILLED,
    fact_sources,
    fact_statements,
    indexes,
    keywords,
    messages,
    outbox,
    scopes,
    sessions,
    text_hash,
)
from rag_memory_plugins.types import Message

__all__ = ["state"]


def state(
    connection: Connection,
    namespace: Namespace,
    fact: NewFact,
    message: Message,
    keyword: dict[str, Any],
) -> FactDecision:
    """Store one statement, unless it is stored, and decide on it."""
    place, names = namespace.scope.of_facts, names_in(fact.claim)
    found = connection.execute(
        _KNOWN,
        {
            "place": text_hash(place.scope.key),
            "session": text_hash(place.session),
            "id": text_hash(fact.id),
            "scope": text_hash(namespace.scope.key),
            "said_in": text_hash(namespace.session),
            **names.values,
        },
    ).one()
    if found.digest is not None:
        return _stored(connection, fact, found, message)
    sources = _sources(connection, namespace, fact.sources)
    scope_id, session_id = make_place(connection, place, found.scope_id, found.session_id)
    seq = insert_messages(connection, session_id, [message])[0]
    at = {"scope_id": scope_id, "session_id": session_id}
    connection.execute(_INSERT_KEYWORDS, {"seq": seq, **at, **keyword})
    if found.embedded:
        connection.execute(_INSERT_OUTBOX, {"s": seq, "scope": scope_id})
    entity, fresh = entity_of(connection, scope_id, names, seq, found)
    value = value_of(connection, scope_id, fact.claim, entity, fresh=fresh)
    said_in = 0 if sources else found.said_in or 0
    place_of = {"scope_id": scope_id, "seq": seq, "session_id": said_in}
    values = _row(fact, place_of, names, (entity, value), sources)
    numbers = tuple(sorted(sources))
    if numbers:
        rows = [{"seq": seq, "source": source} for source in numbers]
        connection.execute(_INSERT_SOURCES, rows)
    claim = fact.claim
    statement = Statement(
        seq,
        claim.object,
        moment(values["from_us"]),
        fact.recorded_at,
        claim.confidence,
        numbers,
        claim.valid_to,
        claim.negated,
        claim.corrects,
        values["said"],
    )
    decided = decide(connection, scope_id, values, statement, fresh=fresh)
    if is_pair(values["predicate"]):
        pairs_changed(connection, scope_id, [seq])
    gave_way = ids_of(connection, decided.over)
    return FactDecision(fact.id, decided.decision, decided.reason, tuple(gave_way.values()))


def _stored(
    connection: Connection, fact: NewFact, found: Row[Any], message: Message
) -> FactDecision:
    """What was decided on a statement before."""
    if found.digest.hex() != message.digest:
        remedy = "another fact is stored under it; use another id"
        raise MessageConflict("id", fact.id, remedy)
    row = connection.execute(_BY_SEQ, {"seq": found.seq}).one()
    over = ids_of(connection, json.loads(row.over))
    decision = decision_of(row.decision)
    return FactDecision(fact.id, decision, row.reason, tuple(over.values()), new=False)


def _row(
    fact: NewFact,
    place: dict[str, int],
    names: Names,
    about: tuple[bytes, bytes],
    sources: dict[int, int],
) -> dict[str, Any]:
    """The columns of a statement that is not decided on; it holds from when it was first said."""
    claim = fact.claim
    slot, subject, predicate = slot_of(claim, *about)
    recorded, since = micros(fact.recorded_at), min(sources.values(), default=None)
    if claim.valid_from is not None:
        since = micros(claim.valid_from)
    flags = NEGATED * claim.negated + CORRECTS * claim.corrects + MANY * claim.many
    extracted = fact.by == "extracted"
    return {
        **place,
        "slot": slot,
        "subject": subject,
        "predicate": predicate,
        "name": names.subject,
        "object": names.object,
        "names_object": int(names.both),
        "pair": int(is_pair(predicate)),
        "value": about[1],
        "recorded_us": recorded,
        "said": min(sources, default=0) if extracted else 0,
        "from_us": recorded if since is None else since,
        "to_us": None if claim.valid_to is None else micros(claim.valid_to),
        "confidence": claim.confidence,
        "flags": flags + EXTRACTED * extracted,
        "decision": 0,
        "reason": "",
        "over": "[]",
        "wording": None,
        "undone": 0,
    }


def _sources(
    connection: Connection, namespace: Namespace, sources: Sequence[Said]
) -> dict[int, int]:
    """The time of each source by its number. Raises `InvalidInput`."""
    scope = text_hash(namespace.scope.key)
    times = {}
    for source in sources:
        place = {"session": text_hash(source.session), "id": text_hash(source.id)}
        row = connection.execute(_SOURCE, {"scope": scope, **place}).one_or_none()
        if row is None:
            remedy = f"no such message in session {source.session!r}; store it first"
            raise InvalidInput("sources", source.id, remedy)
        times[row.seq] = row.time_us
    return times


# Statements built once: compiling them anew would cost as much as running them.
_said_in: Final = sessions.alias("said_in")
_users: Final = scopes.alias("users")
_message: Final = (messages.c.session_id == sessions.c.id) & (messages.c.id_hash == bindparam("id"))
# In the text of the statement: what is a parameter takes longer, a list of them the longest.
_embeds: Final = or_(*(indexes.c.active == literal_column(str(n)) for n in (ACTIVE, FILLED)))
_one: Final = select(literal_column("1").label("one")).subquery("one")  # without a scope a row too
# One statement for all that is known: most facts are stated by themselves, one a transaction.
_KNOWN: Final = (
    select(
        scopes.c.id.label("scope_id"),
        sessions.c.id.label("session_id"),
        messages.c.seq,
        messages.c.digest,
        select(_said_in.c.id)
        .join(_users, _users.c.id == _said_in.c.scope_id)
        .where(
            _users.c.key_hash == bindparam("scope"), _said_in.c.name_hash == bindparam("said_in")
        )
        .scalar_subquery()
        .label("said_in"),
        # Embedders alone: nothing reads facts out of facts.
        exists().where(_embeds).label("embedded"),
        *known(scopes.c.id),
    )
    .select_from(_one)
    .outerjoin(scopes, scopes.c.key_hash == bindparam("place"))
    .outerjoin(
        sessions,
        (sessions.c.scope_id == scopes.c.id) & (sessions.c.name_hash == bindparam("session")),
    )
    .outerjoin(messages, _message)
)
_BY_SEQ: Final = select(fact_statements).where(fact_statements.c.seq == bindparam("seq"))
_SOURCE: Final = (
    select(messages.c.seq, messages.c.time_us)
    .join(sessions, sessions.c.id == messages.c.session_id)
    .join(scopes, scopes.c.id == sessions.c.scope_id)
    .where(
        scopes.c.key_hash == bindparam("scope"),
        sessions.c.name_hash == bindparam("session"),
        messages.c.id_hash == bindparam("id"),
    )
)
_INSERT_KEYWORDS: Final = insert(keywords)
_INSERT_OUTBOX: Final = insert(outbox).from_select(
    ["index_id", "scope_id", "seq", "due"],
    select(indexes.c.id, bindparam("scope"), bindparam("s"), literal(0.0)).where(_embeds),
)
_INSERT_SOURCES: Final = insert(fact_sources)
