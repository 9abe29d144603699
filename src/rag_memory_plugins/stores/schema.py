"""The tables, and the ordered migrations that make them.

Rules that make an erase physical in SQLite (see `stores/database.py`):
- Indexes hold hashes and integers only, never a text: a B-tree that splits leaves stale copies of
  moved keys behind, which `secure_delete` does not see. Texts and vectors stand in rows of tables
  that only ever grow at their end, where nothing is moved.
- Ids are AUTOINCREMENT: an erased id is never given out again, so whatever still names it finds
  nothing. A scope that is erased and written again has another id, so no cache can mix the two.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    inspect,
    literal_column,
    select,
    update,
)
from sqlalchemy.schema import SchemaItem

from rag_memory_plugins.errors import StoreCorrupt
from rag_memory_plugins.retrieval.lexical import ANALYZER
from rag_memory_plugins.stores.dialects import Number

__all__ = [
    "ACTIVE",
    "FILLED",
    "MOVING",
    "READ",
    "SYSTEM",
    "archive_ends",
    "archived",
    "calibrations",
    "fact_blocks",
    "fact_marks",
    "fact_names",
    "fact_sources",
    "fact_statements",
    "folds",
    "holds",
    "indexes",
    "is_current",
    "items",
    "keywords",
    "message_sizes",
    "messages",
    "meta",
    "migrate",
    "mirror_removals",
    "mirrors",
    "outbox",
    "paths",
    "pins",
    "removals",
    "scopes",
    "secret_of",
    "session_sizes",
    "sessions",
    "summaries",
    "text_hash",
    "tokens",
    "vectors",
]

metadata: Final = MetaData()

MOVING: Final = "moving"
"""The key in `meta` of a database that is being filled from another one."""


def _table(name: str, *items: SchemaItem, key: str = "id") -> Table:
    number = Column(key, Number, primary_key=True)
    return Table(name, metadata, number, *items, sqlite_autoincrement=True)


meta: Final = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)
migrations: Final = Table(
    "schema_migrations",
    metadata,
    Column("version", Number, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
)
scopes: Final = _table(
    "scopes",
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("generation", Number, nullable=False, default=0),
    Column("key", Text, nullable=False),
)
sessions: Final = _table(
    "sessions",
    Column("scope_id", Number, nullable=False),
    Column("name_hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("scope_id", "name_hash"),
)
messages: Final = _table(
    "messages",
    Column("session_id", Number, nullable=False, index=True),
    Column("id_hash", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("group_seq", Number),  # seq of the assistant message that began the tool group
    Column("time_us", Number, nullable=False),  # microseconds since 1970, UTC
    Column("role", String, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text),
    Column("extra", Text),  # JSON: tool calls, tool_call_id, images, metadata
    Column("content", Text, nullable=False),
    UniqueConstraint("session_id", "id_hash"),
    key="seq",
)
_IN_GROUP: Final = messages.c.group_seq.is_not(None)
Index("messages_group", messages.c.group_seq, sqlite_where=_IN_GROUP, postgresql_where=_IN_GROUP)
# Every turn of a chat asks for its session's system messages, of which there are few.
SYSTEM: Final = messages.c.role == literal_column("'system'")
Index("messages_system", messages.c.session_id, sqlite_where=SYSTEM, postgresql_where=SYSTEM)

# What is derived from `messages` for the keyword lane; committed with the message.
keywords: Final = Table(
    "keywords",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("scope_id", Number, nullable=False, index=True),
    Column("session_id", Number, nullable=False),
    Column("flags", Number, nullable=False),
    Column("terms", LargeBinary, nullable=False),
    Column("names", LargeBinary, nullable=False),
    Column("days", LargeBinary, nullable=False),
)
# One embedder each. `active` is 0 for one that was replaced: it gets no new messages, and is filled
# when it is opened again.
ACTIVE: Final = 1
"""It serves searches."""
FILLED: Final = 2
"""It is filled beside the one that serves; it becomes active when it is opened."""
READ: Final = 3
"""Not an embedder: what reads facts out of messages, which queue for it as for the others."""
indexes: Final = _table(
    "indexes",
    Column("fingerprint", String, nullable=False, unique=True),
    Column("dimension", Number, nullable=False),
    Column("active", Number, nullable=False),
)
vectors: Final = _table(
    "vectors",
    Column("index_id", Number, nullable=False),
    Column("scope_id", Number, nullable=False),
    Column("seq", Number, nullable=False),
    Column("data", LargeBinary, nullable=False),  # float16, the pieces one after the other
    Column("passages", LargeBinary),  # int8, `width` a passage; not every embedder gives them
    Column("width", Number),
    Column("spans", LargeBinary),  # int32, where each passage starts and ends in its text
    UniqueConstraint("index_id", "seq"),
    Index("vectors_scope", "index_id", "scope_id"),
)
# Token vectors of the messages that have them, read for the first candidates of a search only.
tokens: Final = _table(
    "tokens",
    Column("index_id", Number, nullable=False),
    Column("seq", Number, nullable=False),
    Column("width", Number, nullable=False),
    Column("data", LargeBinary, nullable=False),  # int8, a row of `width` a token
    UniqueConstraint("index_id", "seq"),
)
# What a scope's own questions made of the signals of a search, for one embedder.
calibrations: Final = _table(
    "calibrations",
    Column("scope_id", Number, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("data", Text, nullable=False),  # JSON: weights and bias
    UniqueConstraint("scope_id", "fingerprint"),
)
# Messages that wait for a vector. `due` is when a lease ends or a retry may start.
outbox: Final = _table(
    "outbox",
    Column("index_id", Number, nullable=False),
    Column("scope_id", Number, nullable=False),
    Column("seq", Number, nullable=False),
    Column("due", Float, nullable=False, default=0.0),
    UniqueConstraint("index_id", "scope_id", "seq"),
)
pins: Final = _table(
    "pins",
    Column("scope_id", Number, nullable=False, index=True),
    Column("session_id", Number, nullable=False),
    Column("seq", Number, nullable=False, unique=True),
    Column("level", String, nullable=False),
)

# Sizes in tokens. Tables of their own, of integers alone: rows that hold texts are never updated.
message_sizes: Final = Table(
    "message_sizes",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("session_id", Number, nullable=False),
    Column("tokens", Number, nullable=False),
    Column("said", Number, nullable=False),  # in the session before it, erased ones included
    Index("message_sizes_session", "session_id", "said"),
)
session_sizes: Final = Table(
    "session_sizes",
    metadata,
    Column("session_id", Number, primary_key=True, autoincrement=False),
    Column("tokens", Number, nullable=False),
    Column("said", Number, nullable=False),
    Column("peak", Number, nullable=False),
    Column("version", Number, nullable=False, default=0),  # of the summary; never goes back
)
summaries: Final = _table(
    "summaries",
    Column("session_id", Number, nullable=False, unique=True),
    Column("version", Number, nullable=False),
    Column("upto", Number, nullable=False),  # seq of the last message it covers
    Column("made_by", String, nullable=False),
    Column("data", Text, nullable=False),  # JSON: lines, and what was degraded
)
# Sessions whose turns wait to be summarised. `due` is when a lease ends or a retry may start.
folds: Final = Table(
    "folds",
    metadata,
    Column("session_id", Number, primary_key=True, autoincrement=False),
    Column("due", Float, nullable=False, index=True),
)
# Messages that are out of the active list of whoever keeps one; the log keeps them like any other.
archived: Final = Table(
    "archived",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
)
# What items are beside messages: their times in microseconds, and how long they stay.
items: Final = Table(
    "items",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("scope_id", Number, nullable=False),
    Column("session_id", Number, nullable=False),
    Column("created_us", Number, nullable=False),
    Column("updated_us", Number, nullable=False),
    Column("stay_us", Number),  # how long after it was last read or written; NULL: for ever
    Column("expires_us", Number),
    Index("items_scope", "scope_id", "updated_us"),
    Index("items_session", "session_id", "updated_us"),
)
_EXPIRES: Final = items.c.expires_us.is_not(None)
Index("items_expires", items.c.expires_us, sqlite_where=_EXPIRES, postgresql_where=_EXPIRES)
# Sessions whose names are paths of labels, by every path that they are under.
paths: Final = Table(
    "paths",
    metadata,
    Column("scope_id", Number, primary_key=True, autoincrement=False),
    Column("path_hash", LargeBinary, primary_key=True),
    Column("session_id", Number, primary_key=True, autoincrement=False),
    Index("paths_session", "session_id"),
    sqlite_with_rowid=False,
)
# Items that were replaced since their scope's generation began, so that columns in memory leave
# them out and need not be read anew.
removals: Final = _table(
    "removals",
    Column("scope_id", Number, nullable=False),
    Column("seq", Number, nullable=False),
    Index("removals_scope", "scope_id"),
)


# Up to which message everything in a session is archived: what is active stands behind.
archive_ends: Final = Table(
    "archive_ends",
    metadata,
    Column("session_id", Number, primary_key=True, autoincrement=False),
    Column("upto", Number, nullable=False),
)
# Vector stores that were opened beside the log, how far each has the vectors of one index
# (`upto` of `vectors.id`), and until when somebody is at it.
mirrors: Final = _table(
    "mirrors",
    Column("index_id", Number, nullable=False),
    Column("name", Text, nullable=False),
    Column("upto", Number, nullable=False, default=0),
    Column("due", Float, nullable=False, default=0.0),
)
# What was erased and a vector store still holds.
mirror_removals: Final = _table(
    "mirror_removals",
    Column("mirror_id", Number, nullable=False, index=True),
    Column("scope", Text, nullable=False),
    Column("seq", Number, nullable=False),
    Column("pieces", Number, nullable=False),
)
# What was stated, beside its text, which is a message of the scope of facts: see `stores/facts.py`.
# `slot`, `subject` and `predicate` are hashes; `said` is the message it was read out of, 0 for none.
# `name` and `object` are hashes of the subject and the object as they were stated; `subject` is the
# entity that the name means, `value` the one of several values that a slot is of, b"" where it is of
# all.
fact_statements: Final = Table(
    "fact_statements",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("scope_id", Number, nullable=False),
    # In which it was stated, if it rests on no message; else 0.
    Column("session_id", Number, nullable=False),
    Column("slot", LargeBinary, nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("predicate", LargeBinary, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("object", LargeBinary, nullable=False),
    Column("names_object", Number, nullable=False),  # whether the object may be an entity
    Column("pair", Number, nullable=False),  # whether it is about two names: see `naming.py`
    Column("value", LargeBinary, nullable=False),
    Column("recorded_us", Number, nullable=False),
    Column("said", Number, nullable=False),
    Column("from_us", Number, nullable=False),
    Column("to_us", Number),
    Column("confidence", Float, nullable=False),
    Column("flags", Number, nullable=False),
    Column("decision", Number, nullable=False),
    Column("reason", String, nullable=False),
    Column("over", String, nullable=False),  # JSON: statements whose value gave way, or said it
    Column("wording", Number),  # the statement whose wording its value has; NULL of a negated one
    Column("undone", Number, nullable=False, default=0),
    Index("fact_statements_slot", "scope_id", "slot", "recorded_us", "said", "seq"),
    Index("fact_statements_subject", "scope_id", "subject", "predicate", "seq"),
)
# Of few statements, so that stating the others does not write these too.
for _name, _column, _few in (
    ("pair", "predicate", fact_statements.c.pair == literal_column("1")),
    ("object", "object", fact_statements.c.names_object == literal_column("1")),
    ("session", "session_id", fact_statements.c.session_id != literal_column("0")),
):
    _columns = [fact_statements.c.scope_id, fact_statements.c[_column]]
    if _name == "session":
        _columns.reverse()
    Index(f"fact_statements_{_name}", *_columns, sqlite_where=_few, postgresql_where=_few)
# Names and the entity that each means, as hashes; `seq` is a statement that has the name as its
# subject, or, where `in_object`, as its object.
fact_names: Final = _table(
    "fact_names",
    Column("scope_id", Number, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("entity", LargeBinary, nullable=False),
    Column("seq", Number, nullable=False),
    Column("in_object", Number, nullable=False),
    UniqueConstraint("scope_id", "name"),
    Index("fact_names_entity", "scope_id", "entity"),
)
# Names that share none of these cannot mean one entity.
fact_blocks: Final = Table(
    "fact_blocks",
    metadata,
    Column("scope_id", Number, primary_key=True, autoincrement=False),
    Column("block", Number, primary_key=True, autoincrement=False),  # a hash
    Column("name_id", Number, primary_key=True, autoincrement=False),
    Index("fact_blocks_name", "name_id"),
    sqlite_with_rowid=False,
)
fact_sources: Final = Table(
    "fact_sources",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("source", Number, primary_key=True, autoincrement=False),
    Index("fact_sources_source", "source"),
)
# Undone and done again, and when: what was known then leaves out what was undone then.
fact_marks: Final = _table(
    "fact_marks",
    Column("act", LargeBinary, nullable=False, index=True),
    Column("seq", Number, nullable=False, index=True),
    Column("at_us", Number, nullable=False),
    Column("undone", Number, nullable=False),
)
# What statements come to: what held from when to when. `seq` is the statement that gave the wording.
holds: Final = _table(
    "holds",
    Column("scope_id", Number, nullable=False),
    Column("slot", LargeBinary, nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("predicate", LargeBinary, nullable=False),
    Column("seq", Number, nullable=False),
    Column("from_us", Number, nullable=False),
    Column("to_us", Number),
    Column("ended_by", Number),
    Column("confidence", Float, nullable=False),
    Column("statements", String, nullable=False),  # JSON: the first it rests on
    Index("holds_slot", "scope_id", "slot", "to_us"),
    Index("holds_subject", "scope_id", "subject", "to_us"),
    Index("holds_now", "scope_id", "to_us", "from_us"),
)


def text_hash(text: str) -> bytes:
    """What an index holds in place of a text: 16 bytes of BLAKE2b."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _first(connection: Connection) -> None:
    metadata.create_all(connection)
    rows = {"secret": secrets.token_hex(32), "analyzer": ANALYZER}
    connection.execute(insert(meta), [{"key": key, "value": rows[key]} for key in rows])


def _recall_columns(connection: Connection) -> None:
    """Speakers, days and token vectors; `ANALYZER` has changed, so opening fills the columns."""
    metadata.create_all(connection)
    # Vectors are made again, with token vectors, by whoever opens an index next.
    connection.execute(delete(vectors))
    connection.execute(update(indexes).values(active=0))
    held = {column["name"] for column in inspect(connection).get_columns(keywords.name)}
    for name in ("names", "days"):
        if name not in held:
            connection.exec_driver_sql(
                f"ALTER TABLE keywords ADD COLUMN {name} BLOB NOT NULL DEFAULT x''"
            )


def _sizes(connection: Connection) -> None:
    """Sizes and summaries; what was said before is counted at four characters a token."""
    metadata.create_all(connection)
    held = {column["name"] for column in inspect(connection).get_columns(vectors.name)}
    for name, kind in (("passages", "BLOB"), ("width", "INTEGER")):
        if name not in held:
            connection.exec_driver_sql(f"ALTER TABLE vectors ADD COLUMN {name} {kind}")
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO message_sizes (seq, session_id, tokens, said) "
        "SELECT seq, session_id, tokens, total - tokens FROM (SELECT seq, session_id, tokens, "
        "SUM(tokens) OVER (PARTITION BY session_id ORDER BY seq) AS total FROM (SELECT seq, "
        "session_id, length(content) / 4 + 4 AS tokens FROM messages))"
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO session_sizes (session_id, tokens, said, peak, version) "
        "SELECT session_id, SUM(tokens), SUM(tokens), SUM(tokens), 0 FROM message_sizes "
        "GROUP BY session_id"
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO folds (session_id, due) SELECT session_id, 0 FROM session_sizes"
    )


def _spans(connection: Connection) -> None:
    """Where passages stand; those of what was embedded before are found when they are shown."""
    metadata.create_all(connection)
    held = {column["name"] for column in inspect(connection).get_columns(vectors.name)}
    if "spans" not in held:
        connection.exec_driver_sql("ALTER TABLE vectors ADD COLUMN spans BLOB")


def _archived(connection: Connection) -> None:
    """Nothing was archived before."""
    metadata.create_all(connection)


def _beside(connection: Connection) -> None:
    """No vector store and no items before; system messages are found without looking at others."""
    metadata.create_all(connection)
    connection.exec_driver_sql(
        "CREATE INDEX IF NOT EXISTS messages_system ON messages (session_id) WHERE role = 'system'"
    )


def _facts(connection: Connection) -> None:
    """No facts before."""
    metadata.create_all(connection)


MIGRATIONS: Final[list[tuple[str, Callable[[Connection], None]]]] = [
    ("first", _first),
    ("recall columns", _recall_columns),
    ("sizes and summaries", _sizes),
    ("spans of passages", _spans),
    ("archived messages", _archived),
    ("vector stores beside the log, items, system messages", _beside),
    ("facts", _facts),
]


def migrate(connection: Connection, *, moving: bool = False) -> None:
    """Bring the schema up to date; the caller's transaction holds the steps and their record.

    A new database is made as it stands in this file. Raises `StoreCorrupt` for a database of
    another program or of a newer version, and unless `moving` for one that is being filled.
    """
    names = set(inspect(connection).get_table_names())
    if names and migrations.name not in names:
        raise StoreCorrupt(
            f"the database has tables of another program ({', '.join(sorted(names)[:3])}); "
            "pass a path of its own"
        )
    done = 0
    if names:
        done = len(connection.execute(select(migrations.c.version)).all())
    if done > len(MIGRATIONS):
        raise StoreCorrupt(
            f"the database has schema {done} and this version knows {len(MIGRATIONS)}; "
            "upgrade rag-memory-plugins"
        )
    if not done:
        _first(connection)
    for version, (name, step) in enumerate(MIGRATIONS[done:], done + 1):
        if done:
            step(connection)
        connection.execute(insert(migrations), {"version": version, "name": name})
    if not moving and _is_moving(connection):
        raise StoreCorrupt(
            "the database is being filled from another one; finish that: run "
            "`rag-memory migrate` again"
        )


def _is_moving(connection: Connection) -> bool:
    return connection.execute(select(meta.c.key).where(meta.c.key == MOVING)).first() is not None


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to migrate."""
    if migrations.name not in inspect(connection).get_table_names():
        return False
    done = connection.execute(select(func.count()).select_from(migrations)).scalar_one()
    return int(done) == len(MIGRATIONS) and not _is_moving(connection)


def secret_of(connection: Connection) -> str:
    """The random key of this database, from which fences are made."""
    query = select(meta.c.value).where(meta.c.key == "secret")
    return str(connection.execute(query).scalar_one())
