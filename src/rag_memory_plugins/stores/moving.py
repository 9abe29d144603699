"""What of a database goes to another one, and how: page by page, each row under its own number.

Plain units of work; `admin/migrating.py` runs them. Rows keep their ids, so what is there already
says where to go on: after the last row of each table. A page is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, insert, select, tuple_, update

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.row_security import secure
from rag_memory_plugins.stores.schema import (
    MOVING,
    archive_ends,
    archived,
    calibrations,
    fact_blocks,
    fact_marks,
    fact_names,
    fact_sources,
    fact_statements,
    folds,
    holds,
    indexes,
    is_current,
    items,
    keywords,
    message_sizes,
    messages,
    meta,
    migrate,
    mirrors,
    paths,
    pins,
    scopes,
    secret_of,
    session_sizes,
    sessions,
    summaries,
    text_hash,
    tokens,
    vectors,
)

__all__ = [
    "COPIED",
    "LEFT",
    "OF_INDEX",
    "analyzer_of",
    "begin",
    "claim",
    "count",
    "finish",
    "followers",
    "highest",
    "page",
    "put",
    "reached",
    "rows_of",
    "schema_unit",
]

COPIED: Final[tuple[Table, ...]] = (
    scopes, sessions, messages, message_sizes, session_sizes, keywords, items, paths, pins,
    archived, archive_ends, calibrations, summaries, folds,
    fact_statements, fact_sources, fact_marks, fact_names, fact_blocks, holds,
)  # fmt: skip
"""Every row of these, in this order: policies of the later ones look at the earlier ones."""
OF_INDEX: Final[tuple[Table, ...]] = (indexes, vectors, tokens)
"""Of these the rows of embedders that are active: nobody needs to embed again what has a vector."""
LEFT: Final[Mapping[str, str]] = {
    "meta": "secret and analyzer are copied, the rest is about the file",
    "schema_migrations": "the target's own",
    "outbox": "filled on opening, with what has no vector",
    "removals": "for columns in memory, of which there are none yet",
    "mirrors": "a vector store follows one log; the target's follows the target",
    "mirror_removals": "what the source's vector stores must still let go of",
}
"""What stays behind, and why."""

_MOVED: Final = "moved"
_ROWS: Final = 500
_BYTES: Final = 4 * 2**20


def schema_unit(connection: Connection) -> None:
    """Make the target's tables; also of a target that is being filled."""
    migrate(connection, moving=True)
    if connection.dialect.name == "postgresql":
        secure(connection)


def begin(connection: Connection) -> str:
    """Who the source is. Raises `StoreError` for one that nothing can be copied from."""
    if not is_current(connection):
        raise StoreError(
            "the source has an older schema, or is being filled itself; open it once with this "
            "version, or finish its own migration"
        )
    return secret_of(connection)


def claim(connection: Connection, secret: str, analyzer: str) -> bool:
    """Make the target this source's, which is read to the end already (True) or not (False).

    The secret goes with it: fences, by which a conversation knows what a context made up, and names
    in vector stores are made from it. Raises `StoreError` when the target holds other data.
    """
    held = {row.key: row.value for row in connection.execute(select(meta))}
    source = text_hash(f"moving {secret}").hex()
    if held.get(_MOVED) == source:
        return True
    if MOVING in held:
        if held[MOVING] != source:
            raise StoreError("the target is being filled from another source; pass an empty one")
        return False
    if held["secret"] == secret:
        raise StoreError("source and target are the same database, or one is a copy of the other")
    for table in (scopes, indexes):
        if connection.execute(select(table.c.id).limit(1)).first() is not None:
            raise StoreError("the target holds other data; pass an empty database")
    for key, value in ((MOVING, source), ("secret", secret), ("analyzer", analyzer)):
        row = upsert(meta).values(key=key, value=value)
        connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
    return False


def rows_of(table: Table) -> Any:
    """The rows of a table that are copied."""
    if table is indexes:
        return table.c.active == 1
    if table in OF_INDEX:
        return table.c.index_id.in_(select(indexes.c.id).where(indexes.c.active == 1))
    return table.primary_key.columns[0].is_not(None)


def count(connection: Connection, table: Table) -> int:
    """How many rows of a table are copied."""
    query = select(func.count()).select_from(table).where(rows_of(table))
    return int(connection.execute(query).scalar_one())


def reached(connection: Connection, table: Table) -> tuple[Any, ...] | None:
    """The key of the last row that is there, None while there is none."""
    keys = table.primary_key.columns
    row = connection.execute(select(*keys).order_by(*(key.desc() for key in keys)).limit(1)).first()
    return None if row is None else tuple(row)


def page(
    connection: Connection, table: Table, after: tuple[Any, ...] | None
) -> list[dict[str, Any]]:
    """The next rows, by key: a few hundred, or a few megabytes of them; at the end none."""
    keys = list(table.primary_key.columns)
    query = select(table).where(rows_of(table)).order_by(*keys).limit(_ROWS)
    query = query.execution_options(yield_per=50)
    if after is not None:
        beyond = keys[0] > after[0] if len(keys) == 1 else tuple_(*keys) > tuple_(*after)
        query = query.where(beyond)
    rows: list[dict[str, Any]] = []
    size = 0
    result = connection.execute(query)
    for row in result.mappings():
        rows.append(dict(row))
        size += sum(len(value) for value in row.values() if isinstance(value, (str, bytes)))
        if size > _BYTES:
            break
    result.close()
    return rows


def put(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write a page."""
    connection.execute(insert(table), list(rows))


def followers(connection: Connection) -> list[str]:
    """Vector stores that follow a log, by name."""
    return list(connection.execute(select(mirrors.c.name).order_by(mirrors.c.id)).scalars())


def finish(connection: Connection, highest: Mapping[str, int]) -> None:
    """Let the target be opened: numbers go on behind `highest`, and all that waits is known."""
    for table in (*COPIED, *OF_INDEX):
        if table.name in highest:
            _go_on(connection, table, highest[table.name])
    source = connection.execute(select(meta.c.value).where(meta.c.key == MOVING)).scalar_one()
    # A lease of the source's workers means nothing here.
    connection.execute(update(folds).values(due=0.0))
    connection.execute(delete(meta).where(meta.c.key == MOVING))
    connection.execute(insert(meta), {"key": _MOVED, "value": source})


def highest(connection: Connection) -> dict[str, int]:
    """The largest number that each table has ever given out."""
    found = {}
    for table in (*COPIED, *OF_INDEX):
        key = table.primary_key.columns[0]
        if not table.kwargs.get("sqlite_autoincrement"):
            continue
        if connection.dialect.name == "sqlite":
            query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
            row = connection.exec_driver_sql(query, (table.name,)).first()
            found[table.name] = int(row[0]) if row else 0
        else:
            name = _sequence(connection, table, key.name)
            row = connection.exec_driver_sql(f"SELECT last_value FROM {name}").one()  # noqa: S608
            found[table.name] = int(row[0])
    return found


def _go_on(connection: Connection, table: Table, number: int) -> None:
    if not number:
        return
    if connection.dialect.name == "sqlite":
        changed = connection.exec_driver_sql(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table.name)
        )
        if not changed.rowcount:
            connection.exec_driver_sql(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, number)
            )
        return
    name = _sequence(connection, table, table.primary_key.columns[0].name)
    connection.exec_driver_sql("SELECT setval(%s::regclass, %s)", (name, number))


def _sequence(connection: Connection, table: Table, key: str) -> str:
    query = "SELECT pg_get_serial_sequence(%s, %s)"
    return str(connection.exec_driver_sql(query, (table.name, key)).scalar_one())


def analyzer_of(connection: Connection) -> str:
    """Which analyzer made the keyword rows: opening makes them again by another one."""
    query = select(meta.c.value).where(meta.c.key == "analyzer")
    return str(connection.execute(query).scalar_one())
