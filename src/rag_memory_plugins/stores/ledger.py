"""`SqlLedger`: the router's attempts in SQLite or Postgres, written behind the calls."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    case,
    func,
    insert,
    inspect,
    select,
    update,
)
from typing_extensions import Self

from rag_memory_plugins.errors import InvalidInput, StoreClosed, StoreCorrupt, StoreError, nearest
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.worker import Worker
from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.portal import Portal, blocking, get_portal, on_portal
from rag_memory_plugins.router.ledger import Entry
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.stores.dialects import Number
from rag_memory_plugins.stores.schema import text_hash

__all__ = ["SqlLedger", "Total", "migrate_ledger"]

REST: Final = 0.5
"""Seconds that entries wait for more, so that many are one transaction; a second is promised."""
BATCH: Final = 1_000
MOST_WAITING: Final = 100_000
"""Entries kept while the file cannot be written: some minutes of a busy process."""
BY: Final = ("tenant", "user", "provider", "model", "outcome")

By: TypeAlias = tuple[str, ...]

_metadata: Final = MetaData()
attempts: Final = Table(
    "attempts",
    _metadata,
    Column("id", Number, primary_key=True),
    Column("tenant_hash", LargeBinary, nullable=False),
    Column("request_id", String, nullable=False),
    Column("number", Number, nullable=False),
    Column("time", Float, nullable=False),
    *[Column(name, String, nullable=False) for name in ("tenant", "user", "provider", "model")],
    Column("answered_by", String, nullable=False),
    *[
        Column(f"{name}_tokens", BigInteger, nullable=False)
        for name in ("input", "output", "cached")
    ],
    Column("exact", Boolean, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("first_seconds", Float),
    Column("seconds", Float, nullable=False),
    Column("outcome", String, nullable=False),
    Column("error", String, nullable=False),
    sqlite_autoincrement=True,
)
# As everywhere in our files, an index holds hashes and numbers: see `stores/schema.py`.
Index("attempts_by_tenant", attempts.c.tenant_hash, attempts.c.time)
Index("attempts_by_time", attempts.c.time)
_NAMES: Final = tuple(field.name for field in fields(Entry))
_values: Final = attrgetter(*_NAMES)


def migrate_ledger(connection: Connection) -> None:
    """Make the table. Raises `StoreCorrupt` for a database of something else."""
    names = set(inspect(connection).get_table_names()) - {"sqlite_sequence"}
    if names and attempts.name not in names:
        raise StoreCorrupt(
            f"the database has tables of something else ({', '.join(sorted(names)[:3])}); "
            "pass a path of its own for the ledger"
        )
    _metadata.create_all(connection)


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of some attempts. `by` has the values of what was asked for; `cost` is in US dollars.

    `failed` counts attempts that gave no whole answer: failed, rejected, interrupted, cancelled.
    """

    by: dict[str, str]
    attempts: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: float
    seconds: float


class SqlLedger(Worker):
    """The ledger of a router in a SQLite file or a Postgres schema; made by `open_ledger`.

    `record` takes an entry in a microsecond, from any thread; entries are on disk within a second
    and at `close`. What a process that is killed took in its last second is lost. While the file
    cannot be written up to 100,000 wait, then the oldest go, each loss with an Event. Several
    processes may write one file.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins.opening import open_ledger
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_ledger(pathlib.Path(folder.name) / "ledger.db") as ledger:
    ...     ledger.totals()
    []
    >>> folder.cleanup()
    """

    def __init__(
        self, database: Database, hooks: tuple[Hook, ...] = (), most_waiting: int = MOST_WAITING
    ) -> None:
        super().__init__(first=1.0, last=60.0)
        self._database = database
        self._hooks = hooks
        self._most = most_waiting
        self._waiting: deque[Entry] = deque()
        self._lost = 0
        self._told = False  # the worker knows that entries wait
        self._closed = False
        # Who writes what waits also waits for what is being written.
        self._one_at_a_time = asyncio.Lock()

    @property
    def portal(self) -> Portal:
        return get_portal()

    def record(self, entry: Entry) -> None:
        """Take an entry. Raises `StoreClosed` after `close`."""
        if self._closed:
            raise StoreClosed("the ledger was closed; open it again")
        self._waiting.append(entry)
        if len(self._waiting) > self._most:
            self._waiting.popleft()
            self._lost += 1
        if not self._told:
            self._told = True
            self.portal.loop.call_soon_threadsafe(self.wake)

    async def astep(self) -> int:
        """Write one batch; return how many entries it had. Raises `StoreError`."""
        async with self._one_at_a_time:
            return await self._awrite()

    async def _awrite(self) -> int:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if not batch:
            return 0
        started = time.perf_counter()
        hashes = {name: text_hash(name) for name in {entry.tenant for entry in batch}}
        rows = [
            {"tenant_hash": hashes[entry.tenant], **dict(zip(_NAMES, _values(entry), strict=True))}
            for entry in batch
        ]
        try:
            await self._database.awrite(
                lambda connection: connection.execute(insert(attempts), rows)
            )
        except BaseException as error:
            self._waiting.extendleft(reversed(batch))
            data = {"error": repr(error), "retry_seconds": self._retry_after(error)}
            emit(self._hooks, Event("ledger.failed", data=data))
            raise
        self._pause = 0.0
        lost, self._lost = self._lost, 0
        data = {"entries": len(batch), "lost": lost}
        emit(self._hooks, Event("ledger.written", seconds=time.perf_counter() - started, data=data))
        return len(batch)

    async def _round(self) -> None:
        await self._woken.wait()
        await asyncio.sleep(REST)
        self._told = False
        self._woken.clear()
        try:
            await self._all()
        except StoreError:  # `astep` told; what waits is tried again
            await asyncio.sleep(self._pause)
            self.wake()

    @on_portal
    async def aflush(self) -> None:
        """Write all that waits. Raises `StoreError`."""
        while await self.astep():
            pass

    @on_portal
    async def atotals(
        self,
        *,
        by: By = ("tenant", "model"),
        tenant: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Total]:
        """Sums, dearest first, of one tenant's attempts or of everybody's.

        `since` and `until` are in seconds since 1970. What waits is written first.
        """
        for name in by:
            if name not in BY:
                raise InvalidInput("by", name, nearest(str(name), BY))
        await self.aflush()
        query = _totals(by)
        if tenant is not None:
            query = query.where(attempts.c.tenant_hash == text_hash(tenant))
        if since is not None:
            query = query.where(attempts.c.time >= since)
        if until is not None:
            query = query.where(attempts.c.time < until)
        rows = await self._database.aread(lambda connection: connection.execute(query).all())
        return [_total(by, row) for row in rows]

    @on_portal
    async def aentries(self, tenant: str, limit: int = 100) -> list[Entry]:
        """The latest attempts of a tenant, newest first."""
        await self.aflush()
        query = (
            select(*[attempts.c[name] for name in _NAMES])
            .where(attempts.c.tenant_hash == text_hash(tenant))
            .order_by(attempts.c.time.desc(), attempts.c.id.desc())
            .limit(limit)
        )
        rows = await self._database.aread(lambda connection: connection.execute(query).all())
        return [Entry(*row) for row in rows]

    @on_portal
    async def aforget(self, scope: Scope) -> int:
        """Take a user's name out of a tenant's entries; return of how many. Their sums stay."""
        await self.aflush()
        user = "*" if scope.user is SHARED else str(scope.user)

        def unit(connection: Connection) -> int:
            mine = attempts.c.tenant_hash == text_hash(scope.tenant)
            change = update(attempts).where(mine, attempts.c.user == user)
            return connection.execute(change.values(user="")).rowcount

        return await self._database.awrite(unit)

    @on_portal
    async def aclose(self) -> None:
        """Write what waits and let go of the file. Raises `StoreError` when it cannot be written."""
        if self._closed:
            return
        self._closed = True
        await self.astop()
        try:
            while await self.astep():
                pass
        finally:
            await self._database.aclose()

    totals = blocking(atotals)
    entries = blocking(aentries)
    flush = blocking(aflush)
    forget = blocking(aforget)
    close = blocking(aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _totals(by: By) -> Select[Any]:
    c = attempts.c
    whole = c.outcome.in_(("ok", "cached"))
    sums = [
        func.count(),
        func.sum(case((whole, 0), else_=1)),
        *[func.sum(column) for column in (c.input_tokens, c.output_tokens, c.cost, c.seconds)],
    ]
    groups = [c[name] for name in by]
    query = select(*groups, *sums)
    return (query.group_by(*groups) if groups else query).order_by(func.sum(c.cost).desc())


def _total(by: By, row: Any) -> Total:
    count, failed, read, written, cost, seconds = row[len(by) :]
    keys = dict(zip(by, row, strict=False))
    # Postgres adds up large numbers as decimals.
    failed, read, written = (int(number or 0) for number in (failed, read, written))
    return Total(keys, count, failed, read, written, int(cost or 0) / 1e9, seconds or 0.0)
