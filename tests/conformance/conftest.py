"""What the engines' small files share: a Postgres, and a database of it that is emptied."""

from __future__ import annotations

import psycopg
import pytest

from tests.stores.conftest import postgres  # noqa: F401  # a fixture


@pytest.fixture(scope="session")
def one_database(postgres):  # noqa: F811
    """The URL of a database that all these tests have in turn: each new one costs 0.15 s."""
    return postgres.url(postgres.create_database())


@pytest.fixture
def emptied(one_database):
    """That database, without a row: numbers go on, so nothing of an earlier test is met again."""
    with psycopg.connect(one_database, autocommit=True) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'rag_memory'"
        tables = [
            row[0]
            for row in connection.execute(query)
            if row[0] not in ("meta", "schema_migrations")
        ]
        deletes = "; ".join(f'DELETE FROM rag_memory."{table}"' for table in tables)
        connection.execute(f"SET session_replication_role = replica; {deletes}")
        if tables:
            connection.execute("DELETE FROM rag_memory.meta WHERE key = 'erase_pending'")
    return one_database
