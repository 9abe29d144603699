"""Row-level security in Postgres: a second wall around every scope, kept by the database.

A transaction names the scopes that it is about, by their hashes, in the setting `rag_memory.scopes`
(`*` for workers and owners, who see everybody). A row of any other scope is not there for it, so a
statement of ours that forgot its scope would find nothing. Roles that are superusers or have
BYPASSRLS are not bound by it (postgresql.org/docs/current/ddl-rowsecurity.html): `health` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import Connection, Table, select

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.stores.dialects import upsert
from rag_memory_plugins.stores.schema import meta, metadata, mirror_removals, text_hash

__all__ = ["EVERYBODY", "binds", "is_secure", "named", "policy", "secure"]

EVERYBODY: Final = "*"
_SETTING: Final = "current_setting('rag_memory.scopes', true)"
_ALL: Final = f"{_SETTING} = '{EVERYBODY}'"
_NAMED: Final = f"encode(key_hash, 'hex') = ANY (string_to_array({_SETTING}, ','))"
_NAME: Final = "rag_memory_scope"
_MARK: Final = "row_security"


def named(scopes: Iterable[Scope]) -> str:
    """The setting of a transaction about these scopes, with the facts that stand beside them."""
    whose = {key for scope in scopes for key in (scope.key, _beside(scope).key)}
    return ",".join(sorted(text_hash(key).hex() for key in whose))


def _beside(scope: Scope) -> Scope:
    return scope if scope.items else scope.of_facts.scope


def secure(connection: Connection) -> None:
    """Put the policy on every table that has a scope's rows, unless it is there already."""
    if is_secure(connection):
        return
    for statement in _statements():
        connection.exec_driver_sql(statement)
    row = upsert(meta).values(key=_MARK, value=_mark())
    connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": _mark()}))


def is_secure(connection: Connection) -> bool:
    """Whether the policies are as this version puts them."""
    held = select(meta.c.value).where(meta.c.key == _MARK)
    return connection.execute(held).scalar_one_or_none() == _mark()


def _mark() -> str:
    return text_hash(";".join(_statements())).hex()


def _statements() -> Iterator[str]:
    for table in metadata.sorted_tables:
        mine = _of_scope(table)
        if mine is not None:
            yield from _policy(table.name, mine)


def policy(table: str, column: str) -> Iterator[str]:
    """The statements that put it on a table whose rows name their scope by its hash."""
    return _policy(table, _NAMED.replace("key_hash", column))


def _policy(table: str, mine: str) -> Iterator[str]:
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"DROP POLICY IF EXISTS {_NAME} ON {table}"
    yield f"CREATE POLICY {_NAME} ON {table} USING ({_ALL} OR {mine})"


def binds(connection: Connection) -> bool:
    """Whether the role is bound by it."""
    query = "SELECT NOT (rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = current_user"
    return bool(connection.exec_driver_sql(query).scalar_one())


def _of_scope(table: Table) -> str | None:
    """The condition by which a row is of a named scope; each leans on the policy of the next."""
    if table.name == "scopes":
        return _NAMED
    if "scope_id" in table.c:
        return _in("scopes", "id", table, "scope_id")
    if "session_id" in table.c:
        return _in("sessions", "id", table, "session_id")
    if table is not mirror_removals and "seq" in table.c:
        return _in("messages", "seq", table, "seq")
    return None


def _in(other: str, key: str, table: Table, column: str) -> str:
    return f"EXISTS (SELECT 1 FROM {other} o WHERE o.{key} = {table.name}.{column})"  # noqa: S608  # our names
