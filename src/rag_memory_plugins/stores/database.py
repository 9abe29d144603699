"""A database: its connections, its threads and its transactions.

A unit of work is a plain function of a SQLAlchemy Core `Connection`; it runs whole in a worker
thread, so a transaction costs one hop instead of one for every statement and fetch (measured for
four statements: 0.39 ms against 1.5 ms through an async driver). Units that wait to be written are
committed together. Readers have their own connections and see a snapshot. `stores/sqlite.py` and
`stores/postgres.py` say how to connect and how a transaction begins.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, Literal, TypeAlias, TypeVar

from sqlalchemy import Connection

from rag_memory_plugins.errors import StoreClosed, StoreError, StoreReadOnly, StoreUnreachable
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import resolve
from rag_memory_plugins.stores.schema import migrate

__all__ = ["OLD_READER", "Database", "Job", "Unit", "Whose"]

R = TypeVar("R")
Unit = Callable[[Connection], R]
Whose: TypeAlias = "Scope | Sequence[int] | Literal['everybody'] | None"
"""Whose rows a unit touches: a scope's, those of scopes by their ids, everybody's, or such as no
scope's order hangs on (queues, leases)."""
Kind: TypeAlias = Literal["read", "write", "plain"]

OLD_READER: Final = "a reader holds an old state of it"
MAX_GROUP: Final = 64
"""Units committed together at most: enough to share the fdatasync, few enough to stay short."""

LONG: Final = 60.0
"""Seconds more for a write that concerns everybody."""

LEFT: Final = 1.0
"""Seconds that a unit may still take when nobody waits for it any more; a scope's write has all."""


@dataclass(eq=False)
class Job:
    """A unit of work and the future that waits for it. A "plain" one runs outside a transaction."""

    unit: Unit[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    whose: Whose = None
    kind: Kind = "write"
    result: Any = None
    dropped: bool = False
    """Nobody waits for it any more."""

    @property
    def alone(self) -> bool:
        """Whether nothing may be committed with it."""
        return self.kind == "plain" or self.whose == "everybody"

    def settle(self, error: BaseException | None = None) -> None:
        """Give whoever waits the result, or the error."""
        resolve(self.loop, self.future, self.result, error)


Jobs: TypeAlias = "queue.SimpleQueue[Job | None]"


@dataclass(kw_only=True)
class Database(ABC):
    """Connections to one database, a thread each. Open it with `aopen`.

    `busy_timeout` is in seconds. Units of one scope are written in the order they were given, and
    with several writers by one of them. `readers` and `writers` are how many there may be: each is
    started, and connects, when there is a unit that no other can take.
    """

    busy_timeout: float = 10.0
    readonly: bool = False
    readers: int = 2
    writers: int = 1
    migrate: Unit[None] = migrate
    _writes: list[Jobs] = field(default_factory=list)
    _reads: Jobs = field(default_factory=queue.SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _reading: int = 0
    """Reads that were given and are not done."""
    _started: set[str] = field(default_factory=set)
    _closed: bool = False
    _at_work: threading.Lock = field(default_factory=threading.Lock)
    _doubted: set[int] = field(default_factory=set)
    _working: dict[int, Sequence[Job]] = field(default_factory=dict)

    @property
    @abstractmethod
    def name(self) -> str:
        """Which database, for people; no secret."""

    @property
    def plain_by_readers(self) -> bool:
        """Whether a reader's connection runs what stands outside of a transaction."""
        return False

    @property
    def erase_note(self) -> str:
        """What an erase cannot reach here, by itself; "" when nothing."""
        return ""

    @property
    @abstractmethod
    def patience(self) -> float | None:
        """Seconds until a unit is given up; None where only another writer can be in the way."""

    @abstractmethod
    def check(self) -> None:
        """Raise a `StoreError` for what cannot be opened, before any thread is started."""

    @abstractmethod
    def connect(self) -> Connection:
        """A new connection, configured."""

    @abstractmethod
    def begin(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Begin the transaction of these jobs, all of one kind."""

    @abstractmethod
    def translated(self) -> AbstractContextManager[None]:
        """Every error of the client becomes a `StoreError`, with its cause."""

    @abstractmethod
    async def acheckpoint(self) -> str:
        """Leave no bytes of what was deleted; why that must wait, "" when it is done."""

    @abstractmethod
    async def ahorizon(self) -> int | None:
        """Up to which `vectors.id` nothing is being written any more; None is no limit."""

    @abstractmethod
    async def ahealth(self) -> tuple[dict[str, object], list[str]]:
        """(where it is and how large, what is wrong with it)."""

    def is_current(self, connection: Connection) -> bool:
        """Whether there is nothing to migrate, by a look that shuts nobody out."""
        connection.exec_driver_sql("SELECT 1")
        return False

    def worth_another_try(self, error: BaseException, *, committing: bool) -> bool:
        """Whether a unit that failed so may do better at once."""
        return False

    @abstractmethod
    def interrupt(self, thread: int) -> None:
        """Make whatever a thread's connection waits for fail."""

    async def aopen(self) -> None:
        """Connect, create or migrate the schema. Raises a `StoreError`."""
        self.check()
        self._writes = [queue.SimpleQueue() for _ in range(self.writers)]
        try:
            current = await self.aread(self.is_current)
            if not self.readonly and not current:
                await self.awrite(self.migrate, "everybody")
        except BaseException:
            await self.aclose()
            raise

    def _give(self, job: Job) -> None:
        """Queue a job, and see that there is a thread for it."""
        reads = self._by_reader(job.kind)
        with self._at_work:
            if self._closed:
                raise StoreClosed(f"database {self.name}: it was closed; open the memory again")
            if reads:
                self._reading += 1
                number = min(self._reading, self.readers) - 1
                jobs = self._reads
            else:
                number = hash(job.whose) % self.writers if isinstance(job.whose, Scope) else 0
                jobs = self._writes[number]
            jobs.put(job)
            name = f"rag-memory-{'reader' if reads else 'writer'}-{number}"
            if name not in self._started:
                self._started.add(name)
                loop = self._read_loop if reads else self._write_loop
                thread = threading.Thread(target=loop, name=name, args=(jobs,), daemon=True)
                self._threads.append(thread)
                thread.start()

    async def awrite(self, unit: Unit[R], whose: Whose = None) -> R:
        """Run `unit` in a write transaction; its effects are on disk when this returns.

        No other unit of the same scope runs at the same time, in any process. A unit may be run
        again after a rollback, so it must not change anything but the database. A unit may have a
        static `together(connection, units)`, which gives the results of several as one would.
        """
        if self.readonly:
            raise StoreReadOnly(f"database {self.name}: it was opened with ?mode=ro")
        return await self._put(unit, whose, "write")

    async def aread(self, unit: Unit[R], whose: Whose = "everybody") -> R:
        """Run `unit` on a snapshot of the database."""
        return await self._put(unit, whose, "read")

    async def aplain(self, unit: Unit[R]) -> R:
        """Run `unit` outside of a transaction, by a writer."""
        return await self._put(unit, None, "plain")

    async def aclose(self, seconds: float | None = None) -> None:
        """Let the threads finish what is queued, in `seconds` or their `patience`, and end."""
        with self._at_work:
            if self._closed:
                return
            self._closed = True
        for jobs in self._writes:
            jobs.put(None)
        for _ in range(self.readers):
            self._reads.put(None)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def wait() -> None:
            most = self.patience if seconds is None else seconds
            end = None if most is None else time.monotonic() + most
            for thread in self._threads:
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
            with self._at_work:
                for number in list(self._working):
                    self._free(number)
            for thread in self._threads:  # one that connects cannot be freed, and ends by itself
                thread.join(None if end is None else LEFT)
            resolve(loop, done, None, None)

        threading.Thread(target=wait, name="rag-memory-closer", daemon=True).start()
        await done

    async def _put(self, unit: Unit[R], whose: Whose, kind: Kind) -> R:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        job = Job(unit, loop, future, whose, kind)
        self._give(job)
        if self.patience is None or kind == "plain":
            return await future
        # Making tables, or another embedder's queue, takes its time.
        patience = self.patience + (LONG if whose == "everybody" and kind == "write" else 0)
        timer = loop.call_later(patience, self._expire, job, patience)
        try:
            return await future
        except asyncio.CancelledError:
            # What nobody waits for may hang all the same, and with it all that comes after.
            if kind == "read" or whose is None:
                timer.cancel()
                timer = loop.call_later(LEFT, self._expire, job, LEFT)
            raise
        finally:
            if not future.cancelled():
                timer.cancel()

    def _expire(self, job: Job, seconds: float) -> None:
        job.dropped = True
        with self._at_work:
            at_it = [thread for thread, jobs in self._working.items() if job in jobs]
            for thread in at_it:
                self._free(thread)
        if not job.future.done():
            job.future.set_exception(
                StoreUnreachable(
                    f"database {self.name}: no answer in {seconds:g} s; what was being written "
                    "may be stored or not: write it again with the same id, nothing is stored twice"
                )
            )

    def _free(self, thread: int) -> None:
        """End what a thread waits for.

        Other connections were made to the same server, and may wait for ever too: they are made
        anew.
        """
        self._doubted = {each.ident for each in self._threads if each.ident}
        self.interrupt(thread)
        del self._working[thread]

    def _connected(self, group: list[Job]) -> Connection | None:
        """A connection for a thread; without one these jobs fail with the reason."""
        with self._at_work:
            self._working[threading.get_ident()] = group
        failed: BaseException | None = None
        try:
            with self.translated():
                return self.connect()
        except BaseException as error:  # whatever it is belongs to the coroutines that wait
            failed = error
        finally:
            with self._at_work:
                self._working.pop(threading.get_ident(), None)
        self._settle(group, failed)
        return None

    def _read_loop(self, jobs: Jobs) -> None:
        connection: Connection | None = None
        while (job := jobs.get()) is not None:
            connection = connection or self._connected([job])
            if connection is not None:
                self._run(connection, [job])
            del job
        if connection is not None:
            connection.close()

    def _write_loop(self, jobs: Jobs) -> None:
        connection: Connection | None = None
        held: Job | None = None
        stopping = False
        while not stopping:
            job = held or jobs.get()
            if job is None:
                break
            group, held, stopping = self._collect(jobs, job)
            connection = connection or self._connected(group)
            if connection is not None:
                self._run_group(connection, group)
            del job, group  # a finished unit must not keep its memory alive while we wait
        if connection is not None:
            connection.close()

    def _collect(self, jobs: Jobs, job: Job) -> tuple[list[Job], Job | None, bool]:
        """(units to commit together, a unit that must run apart, whether to stop after them)."""
        group = [job]
        while not job.alone and len(group) < MAX_GROUP:
            try:
                following = jobs.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return group, None, True
            if following.alone:
                return group, following, False
            group.append(following)
        return group, None, False

    def _run_group(self, connection: Connection, group: list[Job]) -> None:
        if len(group) > 1 and self._run(connection, group, quiet=True):
            return
        for job in group:  # alone, or again one by one because one of them failed
            self._run(connection, [job])

    def _run(self, connection: Connection, jobs: list[Job], *, quiet: bool = False) -> bool:
        """Run jobs in one transaction and settle them; a failed `quiet` run settles nothing."""
        self._settle([job for job in jobs if job.dropped])
        jobs = [job for job in jobs if not job.dropped]
        if not jobs:
            return True
        thread = threading.get_ident()
        with self._at_work:
            doubted = thread in self._doubted
            self._doubted.discard(thread)
            self._working[thread] = jobs
        if doubted:
            connection.invalidate()
        error, committing = self._try(connection, jobs)
        tries = 2
        while error is not None and not quiet and tries:
            given_up = any(job.dropped for job in jobs)
            if given_up or not self.worth_another_try(error, committing=committing):
                break
            tries -= 1
            error, committing = self._try(connection, jobs)
        with self._at_work:
            self._working.pop(thread, None)
        if error is not None and quiet:
            return False
        self._settle(jobs, error)
        return error is None

    def _settle(self, jobs: Sequence[Job], error: BaseException | None = None) -> None:
        with self._at_work:
            self._reading -= sum(self._by_reader(job.kind) for job in jobs)
        for job in jobs:
            job.settle(error)

    def _by_reader(self, kind: Kind) -> bool:
        return kind == "read" or (kind == "plain" and self.plain_by_readers)

    def _try(
        self, connection: Connection, jobs: Sequence[Job]
    ) -> tuple[BaseException | None, bool]:
        """(what failed, whether it may have been the commit)."""
        error: BaseException | None = None
        committing = False
        try:
            with self.translated():
                self.begin(connection, jobs)
                _run_units(connection, jobs)
                if any(job.dropped for job in jobs):
                    # Whoever wrote it was told that it may not be stored, and may write it again.
                    raise StoreUnreachable(f"database {self.name}: it was too late")
                committing = jobs[0].kind == "write"
                if committing:
                    connection.commit()
        except BaseException as raised:  # whatever it is belongs to the coroutine that waits
            error = raised
        try:
            with self.translated():
                connection.rollback()
        except StoreError as failed:
            error = error or failed
        return error, committing


def _run_units(connection: Connection, jobs: Sequence[Job]) -> None:
    """Run every unit in order; neighbours of a kind that has `together` are run by that."""
    for together, some in groupby(jobs, lambda job: getattr(job.unit, "together", None)):
        units = list(some)
        if together is None or len(units) == 1:
            for job in units:
                job.result = job.unit(connection)
            continue
        results = together(connection, [job.unit for job in units])
        for job, result in zip(units, results, strict=True):
            job.result = result
