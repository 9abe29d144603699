"""One SQLite file, its threads and its transactions.

A unit of work is a plain function of a SQLAlchemy Core `Connection`; it runs whole in a worker
thread, so a transaction costs one hop instead of one for every statement and fetch (measured for
four statements: 0.39 ms against 1.5 ms through an async driver). One thread writes: units that
wait are committed together. Readers have their own connections and see a snapshot.

Durable: WAL with synchronous=FULL, one fdatasync for a commit. Physical erase: secure_delete
overwrites what is deleted, and a TRUNCATE checkpoint leaves no copy in the WAL.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from rag_memory_plugins.errors import (
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)
from rag_memory_plugins.portal import resolve
from rag_memory_plugins.stores.schema import migrate

__all__ = ["Database", "Unit"]

R = TypeVar("R")
Unit = Callable[[Connection], R]

MAX_GROUP: Final = 64
"""Units committed together at most: enough to share the fdatasync, few enough to stay short."""

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
class _Job:
    """A unit of work and the future that waits for it. `plain` runs outside a transaction."""

    unit: Unit[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    plain: bool = False
    result: Any = None

    def settle(self, error: BaseException | None = None) -> None:
        resolve(self.loop, self.future, self.result, error)


@dataclass
class Database:
    """One SQLite file. Open it with `aopen`; `path` is created when it does not exist."""

    path: Path
    busy_timeout: float = 10.0
    readonly: bool = False
    readers: int = 2
    migrate: Unit[None] = migrate
    _writes: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    _reads: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False

    async def aopen(self) -> None:
        """Connect, create or migrate the schema, start the threads. Raises a `StoreError`."""
        if not self.readonly and not self.path.parent.is_dir():
            raise StoreReadOnly(
                f"database {self.path.name}: the folder {self.path.parent} does not exist; make it"
            )
        if self.readonly and not self.path.is_file():
            raise StoreReadOnly(f"database {self.path.name}: no such file to open read-only")
        self._start(self._write_loop, "rag-memory-writer")
        for number in range(self.readers):
            self._start(self._read_loop, f"rag-memory-reader-{number}")
        try:
            if not self.readonly:
                await self.awrite(self.migrate)
            await self.aread(lambda connection: connection.exec_driver_sql("SELECT 1"))
        except BaseException:
            await self.aclose()
            raise

    def _start(self, loop: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    async def awrite(self, unit: Unit[R]) -> R:
        """Run `unit` in a write transaction; its effects are on disk when this returns.

        A unit may be run again after a rollback, so it must not change anything but the database.
        """
        if self.readonly:
            raise StoreReadOnly(f"database {self.path.name}: it was opened with ?mode=ro")
        return await self._put(self._writes, unit)

    async def aread(self, unit: Unit[R]) -> R:
        """Run `unit` on a snapshot of the database."""
        return await self._put(self._reads, unit)

    async def acheckpoint(self) -> bool:
        """Move the WAL into the file and cut it to nothing; False while a reader holds it open."""

        def unit(connection: Connection) -> bool:
            wait = int(min(1.0, self.busy_timeout) * 1000)
            connection.exec_driver_sql(f"PRAGMA busy_timeout={wait}")
            row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout={int(self.busy_timeout * 1000)}")
            return int(row[0]) == 0

        return await self._put(self._writes, unit, plain=True)

    async def aclose(self) -> None:
        """Let the threads finish what is queued and end."""
        if self._closed:
            return
        self._closed = True
        self._writes.put(None)
        for _ in range(self.readers):
            self._reads.put(None)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def wait() -> None:
            for thread in self._threads:
                thread.join()
            resolve(loop, done, None, None)

        threading.Thread(target=wait, name="rag-memory-closer", daemon=True).start()
        await done

    async def _put(
        self, jobs: queue.SimpleQueue[_Job | None], unit: Unit[R], *, plain: bool = False
    ) -> R:
        if self._closed:
            raise StoreClosed(f"database {self.path.name}: it was closed; open the memory again")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        jobs.put(_Job(unit, loop, future, plain))
        return await future

    def _engine(self) -> Engine:
        query = {"uri": "true", "mode": "ro"} if self.readonly else {}
        database = self.path.absolute().as_uri() if self.readonly else str(self.path)
        url = URL.create("sqlite", database=database, query=query)
        wait = self.busy_timeout
        # Parameters are what users said: they must not reach a log through an error's text.
        engine = create_engine(
            url, poolclass=NullPool, connect_args={"timeout": wait}, hide_parameters=True
        )
        event.listen(engine, "connect", self._configure)
        return engine

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

    def _connect(self, jobs: queue.SimpleQueue[_Job | None]) -> Connection | None:
        """A connection for a thread; without one its jobs fail with the reason, one by one."""
        while True:
            try:
                with translated(self.path):
                    return self._engine().connect()
            except StoreError as error:
                job = jobs.get()
                if job is None:
                    return None
                job.settle(error)

    def _read_loop(self) -> None:
        connection = self._connect(self._reads)
        if connection is None:
            return
        while (job := self._reads.get()) is not None:
            self._run(connection, [job], "BEGIN")
            del job
        connection.close()

    def _write_loop(self) -> None:
        connection = self._connect(self._writes)
        if connection is None:
            return
        held: _Job | None = None
        stopping = False
        while not stopping:
            job = held or self._writes.get()
            if job is None:
                break
            group, held, stopping = self._collect(job)
            self._run_group(connection, group)
            del job, group  # a finished unit must not keep its memory alive while we wait
        connection.close()

    def _collect(self, job: _Job) -> tuple[list[_Job], _Job | None, bool]:
        """(units to commit together, a unit that must run apart, whether to stop after them)."""
        group = [job]
        while not job.plain and len(group) < MAX_GROUP:
            try:
                following = self._writes.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return group, None, True
            if following.plain:
                return group, following, False
            group.append(following)
        return group, None, False

    def _run_group(self, connection: Connection, group: list[_Job]) -> None:
        if len(group) > 1 and self._run(connection, group, "BEGIN IMMEDIATE", quiet=True):
            return
        for job in group:  # alone, or again one by one because one of them failed
            self._run(connection, [job], "BEGIN IMMEDIATE")

    def _run(
        self, connection: Connection, jobs: list[_Job], begin: str, *, quiet: bool = False
    ) -> bool:
        """Run jobs in one transaction and settle them; a failed `quiet` run settles nothing."""
        error: BaseException | None = None
        try:
            with translated(self.path):
                if not jobs[0].plain:
                    connection.exec_driver_sql(begin)
                for job in jobs:
                    job.result = job.unit(connection)
                if begin == "BEGIN IMMEDIATE":
                    connection.commit()
        except BaseException as raised:  # whatever it is belongs to the coroutine that waits
            error = raised
        try:
            with translated(self.path):
                connection.rollback()
        except StoreError as failed:
            error = error or failed
        if error is not None and quiet:
            return False
        for job in jobs:
            job.settle(error)
        return error is None
