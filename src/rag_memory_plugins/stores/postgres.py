"""A Postgres database, for a memory that many processes and machines share.

Writers of one scope take turns (an advisory lock a scope, held until the commit), so the numbers of
a scope's rows grow in the order in which others see them: what a process has read up to a number it
never has to read again. What concerns everybody, such as another embedder, shuts out all writers
for a moment. Readers see a snapshot (REPEATABLE READ) and wait for nobody.

As a second wall every transaction tells the database whose rows it is about, and row-level security
hides all others; see `stores/row_security.py`.

Tables stand in a schema of their own, `rag_memory` unless the URL says `?schema=`.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from rag_memory_plugins.errors import (
    InvalidURL,
    MissingExtra,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.stores.database import OLD_READER, Database, Job
from rag_memory_plugins.stores.row_security import (
    EVERYBODY,
    binds,
    is_secure,
    named,
    secure,
)
from rag_memory_plugins.stores.schema import is_current, migrate, scopes, text_hash, vectors

__all__ = ["PostgresDatabase"]

SCHEMA: Final = "rag_memory"
_SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_EVERYBODY: Final = 0
_VECTORS: Final = 1
"""Keys of the locks that are no scope's."""
_CONNECT: Final = 2
"""Seconds for connecting at least: libpq takes no fewer."""
_KEEPALIVE: Final = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
_GRACE: Final = 1.0
"""Seconds beyond the time-outs of the server's own until a connection is given up."""

_LATER: Final = (StoreUnreachable, "check that the server runs and can be reached; try again")
_RIGHTS: Final = (StoreReadOnly, "grant the role what docs/deployment.md lists")
_SLOW: Final = (StoreLocked, "another transaction is in the way; raise busy_timeout or try again")
_REFUSED: Final = (StoreError, "check the user and the password of the URL")
_NO_DATABASE: Final = (StoreError, "create the database first, or correct the URL")
_CROWDED: Final = (StoreUnreachable, "raise max_connections, or open fewer memories")
# libpq gives no SQLSTATE of what a server said while connecting, only its words; in another
# language than English they are taken for a server that cannot be reached.
_WHILE_CONNECTING: Final[list[tuple[str, tuple[type[StoreError], str]]]] = [
    ("password authentication failed", _REFUSED),
    ("no password supplied", _REFUSED),
    ("pg_hba.conf", _REFUSED),
    ("permission denied for database", _REFUSED),
    ('FATAL: +role ".*" (does not exist|is not permitted)', _REFUSED),
    ('FATAL: +database ".*" does not exist', _NO_DATABASE),
    ("too many (clients|connections)", _CROWDED),
    ("remaining connection slots", _CROWDED),
]
# SQLSTATEs (postgresql.org/docs/current/errcodes-appendix.html), by how they begin; first match.
_MEANING: Final[list[tuple[str, tuple[type[StoreError], str]]]] = [
    ("08", _LATER),
    ("57P", _LATER),
    ("28", _REFUSED),
    ("3D", _NO_DATABASE),
    ("53300", _CROWDED),
    ("53", (StoreFull, "make room on the server; what was acknowledged is intact")),
    ("55P03", _SLOW),
    ("57014", _SLOW),
    ("40", _SLOW),
    ("25P03", _LATER),
    ("25006", (StoreReadOnly, "the server is a replica or read-only; write to the primary")),
    ("42501", _RIGHTS),
    ("3F", _RIGHTS),  # a schema that a role may not use is not there for it
    ("42P01", (StoreCorrupt, "a table is missing; open it once with a role that may create")),
    ("XX", (StoreCorrupt, "restore a backup; the server's log says more")),
]


_ABOUT_ALL: Final = f"SET LOCAL rag_memory.scopes TO '{EVERYBODY}'"
_OLDER: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND xact_start < %s"
)
_SIZE: Final = (
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'"
)
# MAINTAIN is a right of its own since Postgres 17; before, a table's owner alone vacuums it.
_MAY_VACUUM: Final = (
    "SELECT bool_and(CASE WHEN current_setting('server_version_num')::int >= 170000 "
    "THEN has_table_privilege(t::regclass, 'MAINTAIN') ELSE pg_has_role(c.relowner, 'USAGE') END) "
    "FROM unnest(%s::text[]) t JOIN pg_class c ON c.oid = t::regclass"
)
_HOLD_TEXTS: Final = (
    "messages", "keywords", "vectors", "tokens", "summaries", "sessions", "scopes",
    "calibrations", "mirror_removals",
)  # fmt: skip


def _migrate(connection: Connection) -> None:
    migrate(connection)
    secure(connection)


def _client() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("postgres", "a memory at postgresql://") from error
    return psycopg


@dataclass
class PostgresDatabase(Database):
    """One Postgres database, of which one schema is ours. `url` is libpq's.

    `readers` and `writers` are connections of one process. Raises `InvalidURL`, `MissingExtra`.
    """

    url: str
    schema: str = SCHEMA
    readers: int = field(default=4, kw_only=True)
    writers: int = field(default=4, kw_only=True)

    def __post_init__(self) -> None:
        _client()
        try:
            url = make_url(self.url)
        except (ArgumentError, ValueError) as error:
            raise InvalidURL("url", _masked(self.url), "write postgresql://host/name") from error
        query = dict(url.query)
        mode = query.pop("mode", "rw")
        if mode not in ("ro", "rw"):
            raise InvalidURL("url", _masked(self.url), "mode is ro or rw")
        self.readonly = self.readonly or mode == "ro"
        schema = query.pop("schema", self.schema)
        if not isinstance(schema, str) or not _SCHEMA_NAME.fullmatch(schema):
            raise InvalidURL("schema", schema, "a name of small letters, digits and _")
        self.schema = schema
        if self.migrate is migrate:
            self.migrate = _migrate
        self._lines: dict[int, Any] = {}
        self._url = url.set(drivername="postgresql+psycopg", query=query)
        # Locks are the whole database's: ours are told from others' by this.
        key = text_hash(f"rag-memory/{schema}")[:4]
        self._locks = int.from_bytes(key, "big", signed=True)

    @property
    def name(self) -> str:
        """Host and database, without user and password."""
        host = self._url.host or self._url.query.get("host") or "localhost"
        return f"{host}/{self._url.database or ''}"

    @property
    def plain_by_readers(self) -> bool:
        """What cleans up must not keep a scope's writer waiting."""
        return True

    @property
    def erase_note(self) -> str:
        """Rows are gone and vacuumed; what stands in files of the server is the server's."""
        return (
            "rows are deleted and vacuumed; free space inside the server's pages, its WAL, its "
            "replicas and its backups are the server's: their bytes go when it reuses or drops them"
        )

    @property
    def patience(self) -> float | None:
        """A little more than is given for a statement and for connecting."""
        return max(self.busy_timeout, _CONNECT) + _GRACE

    def __repr__(self) -> str:
        return f"PostgresDatabase({self.name!r}, schema={self.schema!r})"

    def check(self) -> None:
        """Nothing: the server says what is wrong."""

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Every error of the client becomes a `StoreError`, with its cause."""
        try:
            yield
        except (SQLAlchemyError, _client().Error) as error:
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> StoreError:
        cause = getattr(error, "orig", None) or error
        state = getattr(cause, "sqlstate", None) or ""
        # The primary message alone: details may quote what users said.
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
        words = primary or str(cause).strip().splitlines()[0]
        kind, remedy = self._meaning(cause, state, words)
        return kind(f"database {self.name}: {_masked(words)}; {remedy}")

    def _meaning(self, cause: object, state: str, words: str) -> tuple[type[StoreError], str]:
        if state:
            found = (meaning for begin, meaning in _MEANING if state.startswith(begin))
            return next(found, (StoreError, "the server's log says more"))
        if not isinstance(cause, _client().OperationalError):
            return StoreError, "check the options of the URL"
        found = (meaning for said, meaning in _WHILE_CONNECTING if re.search(said, words))
        return next(found, _LATER)

    def worth_another_try(self, error: BaseException, *, committing: bool) -> bool:
        """After a deadlock, or a connection that broke before anything was to be committed."""
        state = getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) or ""
        if state in ("40001", "40P01"):
            return True
        return isinstance(error, StoreUnreachable) and not committing

    def is_current(self, connection: Connection) -> bool:
        """Whether the tables are as this version makes them."""
        return self.migrate is _migrate and is_current(connection) and is_secure(connection)

    def interrupt(self, thread: int) -> None:
        """Shut the socket: a server that is gone tells nobody."""
        raw = self._lines.get(thread)
        if raw is not None and not raw.closed:
            with socket.socket(fileno=os.dup(raw.fileno())) as line, suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def connect(self) -> Connection:
        """A new connection, configured; the schema is made if it is not there."""
        engine = self._engine()
        return engine.connect()

    def _engine(self) -> Engine:
        arguments: dict[str, Any] = {"connect_timeout": max(_CONNECT, int(self.busy_timeout))}
        # A network that drops packets ends a connection that nobody uses, too, in half a minute.
        arguments |= {name: n for name, n in _KEEPALIVE.items() if name not in self._url.query}
        arguments["autocommit"] = True
        engine = create_engine(
            self._url, poolclass=NullPool, connect_args=arguments, hide_parameters=True
        )
        event.listen(engine, "connect", self._configure, insert=True)
        return engine

    def _configure(self, raw: Any, _record: object) -> None:
        self._lines[threading.get_ident()] = raw
        raw.autocommit = True  # we write BEGIN ourselves
        wait = int(self.busy_timeout * 1000)
        raw.execute(
            f"SET search_path TO {self.schema}; SET statement_timeout TO {wait}; "
            f"SET lock_timeout TO {wait}; SET idle_in_transaction_session_timeout TO {4 * wait}; "
            "SET client_encoding TO 'UTF8'; SET synchronous_commit TO 'on'"
        )
        if not self.readonly:
            self._make_schema(raw)

    def _make_schema(self, raw: Any) -> None:
        found = raw.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,))
        if found.fetchone() is None:
            # Two at once: one makes it, under the lock that everybody's changes take.
            raw.execute(
                f"BEGIN; SELECT pg_advisory_xact_lock({self._locks}, {_EVERYBODY}); "
                f"CREATE SCHEMA IF NOT EXISTS {self.schema}; COMMIT"
            )

    def begin(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Begin, and for writers take the locks of the scopes, in one order for all."""
        kind = jobs[0].kind
        if kind == "read":
            connection.exec_driver_sql(
                f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_about(jobs)}"
            )
        elif kind == "write":
            self._begin_write(connection, jobs)

    def _begin_write(self, connection: Connection, jobs: Sequence[Job]) -> None:
        if jobs[0].whose == "everybody":
            connection.exec_driver_sql(
                f"BEGIN; SELECT pg_advisory_xact_lock({self._locks}, {_EVERYBODY}); {_about(jobs)}"
            )
            return
        keys = {_key(job.whose) for job in jobs if isinstance(job.whose, Scope)}
        ids = {number for job in jobs if isinstance(job.whose, list) for number in job.whose}
        if ids:
            connection.exec_driver_sql(f"BEGIN; {_ABOUT_ALL}")
            query = select(scopes.c.key_hash).where(scopes.c.id.in_(ids))
            keys |= {_number(row.key_hash) for row in connection.execute(query)}
        shared = [_EVERYBODY, *([_VECTORS] if ids else [])]
        locks = [
            *(f"SELECT pg_advisory_xact_lock_shared({self._locks}, {key})" for key in shared),
            *(f"SELECT pg_advisory_xact_lock({self._locks}, {key})" for key in sorted(keys)),
        ]
        connection.exec_driver_sql("; ".join([*([] if ids else ["BEGIN"]), *locks, _about(jobs)]))

    async def acheckpoint(self) -> str:
        """Have what was deleted taken out of the tables; why that must wait, "" when it is done."""
        return await self.avacuum(_HOLD_TEXTS)

    async def avacuum(self, tables: Sequence[str]) -> str:
        """Vacuum tables of the schema, once nobody reads an older state; why not, or ""."""
        names = [f"{self.schema}.{table}" for table in tables]

        def unit(connection: Connection) -> str:
            if not connection.exec_driver_sql(_MAY_VACUUM, (names,)).scalar_one():
                return "the role may not VACUUM; grant it MAINTAIN on the tables, or wait for autovacuum"
            since = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
            deadline = time.monotonic() + min(1.0, self.busy_timeout)
            while connection.exec_driver_sql(_OLDER, (since,)).scalar_one():
                if time.monotonic() > deadline:
                    return OLD_READER
                time.sleep(0.02)  # in a thread of ours; readers take milliseconds
            connection.exec_driver_sql("SET statement_timeout TO 0")
            connection.exec_driver_sql(f"VACUUM (TRUNCATE OFF, SKIP_LOCKED OFF) {', '.join(names)}")
            connection.exec_driver_sql(f"SET statement_timeout TO {int(self.busy_timeout * 1000)}")
            return ""

        return await self.aplain(unit)

    async def ahorizon(self) -> int | None:
        """Wait for whoever writes vectors now; then no number below the largest is in flight."""

        def unit(connection: Connection) -> int:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({self._locks}, {_VECTORS})")
            return int(connection.execute(select(func.max(vectors.c.id))).scalar_one() or 0)

        return await self.awrite(unit)

    async def ahealth(self) -> tuple[dict[str, object], list[str]]:
        """The server's version and the size of our tables."""

        def unit(connection: Connection) -> dict[str, object]:
            version = connection.exec_driver_sql("SHOW server_version").scalar_one()
            size = connection.exec_driver_sql(_SIZE, (self.schema,)).scalar_one()
            second = "on" if binds(connection) else "off: the role is not bound by it"
            return {
                "path": self.name,
                "bytes": int(size),
                "server": str(version),
                "row_level_security": second,
            }

        started = time.perf_counter()
        facts = await self.aread(unit)
        return {**facts, "round_trip_seconds": time.perf_counter() - started}, []


def _about(jobs: Sequence[Job]) -> str:
    """Tell the transaction whose rows it is about."""
    whose = [job.whose for job in jobs if isinstance(job.whose, Scope)]
    if len(whose) < len(jobs):
        return _ABOUT_ALL
    return f"SET LOCAL rag_memory.scopes TO '{named(whose)}'"


def _key(scope: Scope) -> int:
    return _number(text_hash(scope.key))


def _number(key_hash: bytes) -> int:
    """The key of a scope's lock; two that share one only wait for each other now and then."""
    number = int.from_bytes(key_hash[:4], "big", signed=True)
    return number if number not in (_EVERYBODY, _VECTORS) else 2


def _masked(text: str) -> str:
    """A URL without its password, wherever it stands."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
