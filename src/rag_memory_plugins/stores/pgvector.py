"""`VectorStore` in Postgres, by the extension pgvector: vectors in a schema of their own.

One table an embedder, half precision as the log has them, with an HNSW graph over all of it and a
B-tree by owner. Postgres chooses: a small user's points are read by the B-tree and compared one by
one, a large user's are found by the graph, which goes on until enough of them belong to the user
(iterative scan, pgvector 0.8). No text is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from rag_memory_plugins.errors import InvalidInput, StoreClosed, StoreError
from rag_memory_plugins.stores.points import owner_key
from rag_memory_plugins.stores.postgres import PostgresDatabase
from rag_memory_plugins.stores.row_security import policy
from rag_memory_plugins.stores.schema import text_hash

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["PgvectorStore"]

SCHEMA: Final = "rag_memory_vectors"
MOST_DIMENSIONS: Final = 4_000
"""What an index over half precision takes (github.com/pgvector/pgvector, HNSW)."""
CLOSE_SECONDS: Final = 1.0
_ROWS: Final = 200
_PLACES: Final = "owner, scope_hash, session, seq, piece, embedding"


class PgvectorStore:
    """A memory's vectors in Postgres; `open_memory(index="pgvector")` puts them beside its log.

    `url` is libpq's; tables stand in the schema `rag_memory_vectors` unless it says `?schema=`.
    `m` and `ef_construct` are the graph's when it is made, `ef_search` is how many of its points a
    search looks at: more find more and take longer. Raises `InvalidURL`, `InvalidInput`,
    `MissingExtra`.

    >>> from rag_memory_plugins.stores.pgvector import PgvectorStore
    >>> PgvectorStore("postgresql://db.example/app")  # needs the extra 'postgres'
    PgvectorStore('pgvector at db.example/app')
    """

    def __init__(
        self,
        url: str,
        *,
        m: int = 16,
        ef_construct: int = 64,
        ef_search: int = 100,
        busy_timeout: float = 10.0,
    ) -> None:
        for name, value, most in (
            ("m", m, 100),
            ("ef_construct", ef_construct, 1_000),
            ("ef_search", ef_search, 1_000),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not 2 <= value <= most:
                raise InvalidInput(name, value, f"pass an int from 2 to {most}")
        if ef_construct < 2 * m:
            raise InvalidInput("ef_construct", ef_construct, f"pass at least 2 * m, {2 * m}")
        self._graph = f"m = {m}, ef_construction = {ef_construct}"
        self._ef_search = ef_search
        self._database = PostgresDatabase(
            url, SCHEMA, busy_timeout=busy_timeout, readers=2, writers=1, migrate=self._migrate
        )
        self._open = False
        self._log = ""
        self._table = ""
        self._dimension = 0

    @property
    def name(self) -> str:
        """Which store: the same whenever it is opened at this place."""
        schema = "" if self._database.schema == SCHEMA else f", schema {self._database.schema}"
        return f"pgvector at {self._database.name}{schema}"

    def __repr__(self) -> str:
        return f"PgvectorStore({self.name!r})"

    async def aopen(self, log: str, fingerprint: str, dimension: int) -> None:
        """Connect, and make the embedder's table if it is not there.

        Raises `InvalidInput` when it serves another log, or for too many dimensions.
        """
        if self._log not in ("", log):
            raise InvalidInput("index", self.name, "it serves a memory already; make another one")
        if dimension > MOST_DIMENSIONS:
            remedy = f"pgvector indexes at most {MOST_DIMENSIONS}; use another store"
            raise InvalidInput("dimension", dimension, remedy)
        if self._open:
            return
        self._log = log
        self._table = f"points_{text_hash(fingerprint).hex()[:16]}"
        self._dimension = dimension
        await self._database.aopen()
        self._open = True

    def _migrate(self, connection: Connection) -> None:
        has = connection.exec_driver_sql("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
        if has.first() is None:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        found = connection.exec_driver_sql(_DIMENSION, (self._database.schema, self._table))
        held = found.scalar_one_or_none()
        if held is None:
            for statement in self._tables():
                connection.exec_driver_sql(statement)
        elif held != self._dimension:
            raise StoreError(
                f"{self.name}: table {self._table} has vectors of {held} dimensions and the "
                f"embedder makes {self._dimension}; drop the table, it is filled from the log again"
            )

    def _tables(self) -> Iterator[str]:
        table = self._table
        yield (
            f"CREATE TABLE {table} (owner bytea NOT NULL, scope_hash bytea NOT NULL, "
            "session bytea NOT NULL, seq bigint NOT NULL, piece integer NOT NULL, "
            f"embedding public.halfvec({self._dimension}) NOT NULL, "
            "PRIMARY KEY (owner, seq, piece))"
        )
        yield (
            f"CREATE INDEX {table}_graph ON {table} "
            f"USING hnsw (embedding public.halfvec_ip_ops) WITH ({self._graph})"
        )
        yield from policy(table, "scope_hash")

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; each takes the place of the one before it."""
        self._check_open()
        rows = [
            (*self._owner(point.scope), text_hash(point.session), point.seq, piece, _text(vector))
            for point in points
            for piece, vector in enumerate(point.vectors)
        ]
        gone = [(*self._owner(point.scope)[:1], point.seq, len(point.vectors)) for point in points]

        def unit(connection: Connection) -> None:
            cursor = connection.connection.cursor()
            cursor.executemany(
                f"DELETE FROM {self._table} WHERE owner = %s AND seq = %s AND piece >= %s",  # noqa: S608
                gone,
            )
            for start in range(0, len(rows), _ROWS):
                cursor.executemany(
                    f"INSERT INTO {self._table} ({_PLACES}) "  # noqa: S608  # our names
                    "VALUES (%s, %s, %s, %s, %s, %s::text::public.halfvec) "
                    "ON CONFLICT (owner, seq, piece) DO UPDATE SET "
                    "session = excluded.session, embedding = excluded.embedding",
                    rows[start : start + _ROWS],
                )

        if points:
            await self._database.awrite(unit)

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` of the user's messages, best first, each once."""
        self._check_open()
        owner, _ = self._owner(scope)
        inside = "" if session is None else "AND session = %s "
        asked = (owner,) if session is None else (owner, text_hash(session))
        query = (
            f"SELECT seq FROM {self._table} WHERE owner = %s {inside}"  # noqa: S608  # our names
            "ORDER BY embedding OPERATOR(public.<#>) %s::text::public.halfvec LIMIT %s"
        )

        def unit(connection: Connection) -> list[int]:
            connection.exec_driver_sql(
                f"SET LOCAL hnsw.ef_search = {max(self._ef_search, min(limit, 1_000))}; "
                "SET LOCAL hnsw.iterative_scan = strict_order"
            )
            # Pieces of one message are several rows.
            found = connection.exec_driver_sql(query, (*asked, _text(vector), limit + limit // 4))
            return list(dict.fromkeys(row[0] for row in found))[:limit]

        return await self._database.aread(unit, scope)

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points, all their pieces; those that are not there are no error.

        The table is vacuumed, so that the graph holds none of them any more. Raises `StoreError`
        while that must wait; they are found by nobody then, and asking again is no harm.
        """
        self._check_open()
        rows = [(self._owner(point.scope)[0], point.seq) for point in points]

        def unit(connection: Connection) -> None:
            connection.connection.cursor().executemany(
                f"DELETE FROM {self._table} WHERE owner = %s AND seq = %s",  # noqa: S608
                rows,
            )

        if points:
            await self._database.awrite(unit)
            waits_for = await self._database.avacuum([self._table])
            if waits_for:
                raise StoreError(f"{self.name}: removed, but {waits_for}")

    async def aclose(self) -> None:
        """Close the connections; what they still wait for is put again by the next opener."""
        if self._open:
            await self._database.aclose(CLOSE_SECONDS)

    def _owner(self, scope: Scope) -> tuple[bytes, bytes]:
        """(whose points they are in this log, whose they are for row-level security)."""
        return text_hash(owner_key(self._log, scope)), text_hash(scope.key)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreClosed(f"{self.name}: it is not open; open_memory does that")


def _text(vector: Vectors) -> str:
    return "[" + ",".join(f"{number:.6g}" for number in vector.tolist()) + "]"


_DIMENSION: Final = (
    "SELECT a.atttypmod FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s AND a.attname = 'embedding'"
)
