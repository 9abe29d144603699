"""One SQLite file.

Durable: WAL with synchronous=FULL, one fdatasync for a commit. Physical erase: secure_delete
overwrites what is deleted, and a TRUNCATE checkpoint leaves no copy in the WAL. One thread writes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from rag_memory_plugins.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)
from rag_memory_plugins.stores.database import OLD_READER, Database, Job

__all__ = ["SqliteDatabase", "translated"]

_LOCKED: Final = (StoreLocked, "another process holds it; raise busy_timeout or retry")
_READONLY: Final = (StoreReadOnly, "give write access to the file and its folder")
_FULL: Final = (StoreFull, "make room on the disk; what was acknowledged is intact")
_CORRUPT: Final = (StoreCorrupt, "restore a backup; `rag-memory doctor` says more")
# Primary result codes (sqlite.org/rescode.html) and, for Python 3.10 which does not pass them on,
# the words SQLite uses.
_MEANING: Final[list[tuple[tuple[int, ...], tuple[str, ...], tuple[type[StoreError], str]]]] = [
    ((5, 6), ("locked",), _LOCKED),
    ((3, 8), ("readonly",), _READONLY),
    ((14,), ("unable to open",), (StoreReadOnly, "check that its folder exists and is writable")),
    ((10, 13), ("is full", "disk i/o"), _FULL),
    ((11,), ("malformed",), _CORRUPT),
    ((26,), ("not a database",), (StoreCorrupt, "pass the path of a memory, or of no file")),
]


def _translated(error: BaseException, path: Path) -> StoreError:
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    words = str(cause).lower()
    for codes, phrases, (kind, remedy) in _MEANING:
        if code in codes or (not code and any(phrase in words for phrase in phrases)):
            return kind(f"database {path.name}: {cause}; {remedy}")
    return StoreError(f"database {path.name}: {cause}; run `rag-memory doctor`")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Every error of the database client becomes a `StoreError`, with its cause."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _translated(error, path) from error


@dataclass
class SqliteDatabase(Database):
    """One SQLite file; `path` is created when it does not exist."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def patience(self) -> float | None:
        """No limit: the file is here, and `busy_timeout` limits the wait for another writer."""
        return None

    def check(self) -> None:
        """Raise `StoreReadOnly` when there is no folder, or no file to read."""
        if not self.readonly and not self.path.parent.is_dir():
            raise StoreReadOnly(
                f"database {self.name}: the folder {self.path.parent} does not exist; make it"
            )
        if self.readonly and not self.path.is_file():
            raise StoreReadOnly(f"database {self.name}: no such file to open read-only")

    def translated(self) -> Any:
        """Every error of the client becomes a `StoreError`, with its cause."""
        return translated(self.path)

    async def acheckpoint(self) -> str:
        """Move the WAL into the file and cut it to nothing; why not, while a reader holds it open."""

        def unit(connection: Connection) -> str:
            wait = int(min(1.0, self.busy_timeout) * 1000)
            connection.exec_driver_sql(f"PRAGMA busy_timeout={wait}")
            row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout={int(self.busy_timeout * 1000)}")
            return OLD_READER if row[0] else ""

        return await self.aplain(unit)

    def interrupt(self, thread: int) -> None:
        """Nothing: without `patience` nothing is given up."""

    async def ahorizon(self) -> int | None:
        """No limit: one writes at a time, in the order of the ids."""
        return None

    async def ahealth(self) -> tuple[dict[str, object], list[str]]:
        """The file's size and integrity."""
        rows = await self.aread(
            lambda connection: connection.exec_driver_sql("PRAGMA quick_check").all()
        )
        check = [row[0] for row in rows]
        problems = [] if check == ["ok"] else check
        return {"path": str(self.path), "bytes": self.path.stat().st_size}, problems

    def begin(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Writers take the lock at once: a reader that becomes a writer may find it taken."""
        kind = jobs[0].kind
        if kind != "plain":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if kind == "write" else "BEGIN")

    def connect(self) -> Connection:
        """A new connection, configured."""
        query = {"uri": "true", "mode": "ro"} if self.readonly else {}
        database = self.path.absolute().as_uri() if self.readonly else str(self.path)
        url = URL.create("sqlite", database=database, query=query)
        wait = self.busy_timeout
        # Parameters are what users said: they must not reach a log through an error's text.
        engine = create_engine(
            url, poolclass=NullPool, connect_args={"timeout": wait}, hide_parameters=True
        )
        event.listen(engine, "connect", self._configure)
        return engine.connect()

    def _configure(self, raw: Any, _record: object) -> None:
        raw.isolation_level = None  # we write BEGIN ourselves: IMMEDIATE for writers
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(self.busy_timeout * 1000)}")
        if not self.readonly:
            self._use_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")  # no text reaches a temporary file
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.close()

    def _use_wal(self, cursor: sqlite3.Cursor) -> None:
        # Two processes that create the file at once: switching to WAL ignores the busy timeout.
        deadline = time.monotonic() + self.busy_timeout
        while True:
            try:
                cursor.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return
