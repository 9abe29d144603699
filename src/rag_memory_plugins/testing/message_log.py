"""What every `MessageLog` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

from rag_memory_plugins.testing.log_erasing import LogErasing
from rag_memory_plugins.testing.log_folding import LogFolding
from rag_memory_plugins.testing.log_reading import LogReading

__all__ = ["MessageLogConformance"]


class MessageLogConformance(LogReading, LogFolding, LogErasing):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    Those of writing, reading, folding and erasing stand in files of their own.

    >>> import itertools, pathlib, tempfile
    >>> from rag_memory_plugins.stores.sql import SqlLog
    >>> from rag_memory_plugins.stores.sqlite import SqliteDatabase
    >>> from rag_memory_plugins.testing.stores import Stores
    >>> folder = tempfile.TemporaryDirectory()
    >>> class TestSqlite(MessageLogConformance):
    ...     numbers = itertools.count()
    ...     async def aopen(self):
    ...         self.path = pathlib.Path(folder.name) / f"{next(self.numbers)}.db"
    ...         return await self.ashare(None)
    ...     async def ashare(self, kept):
    ...         database = SqliteDatabase(self.path, busy_timeout=10.0)
    ...         await database.aopen()
    ...         return Stores(SqlLog(database))
    >>> TestSqlite().test_a_retry_stores_nothing_twice()
    >>> folder.cleanup()
    """
