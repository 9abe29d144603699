"""`recall --engine`: the same pipeline with its log or its vectors in another engine, beside flat.

`postgres` is the log in Postgres, without a store; the others keep a SQLite log (pgvector: Postgres)
and ask their store, which `exact_up_to` 0 makes them do however few turns there are. Qdrant and
Pinecone are the loopback servers of `testing`. Texts are embedded once and their vectors shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from benchmarks import servers
from benchmarks.report import BadData, Goal, Report
from benchmarks.scores import among
from benchmarks.vectors import AtHand
from benchmarks.volume import settle
from rag_memory_plugins import Namespace, open_memory
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import VectorStore
from rag_memory_plugins.stores.mirrored import MirroredIndex

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.talk_files import Talk
    from rag_memory_plugins import Memory
    from rag_memory_plugins.ports import Embedder
    from tests.stores.servers import PostgresServer

__all__ = ["ENGINES", "GOALS", "GRID", "measure"]

ENGINES: Final = ("flat", "postgres", "edge", "pgvector", "qdrant", "pinecone")
GRID: Final = ("R@10", "gap@10", "asked", "search_ms_p50")
GOALS: Final = {
    **{f"gap@10/{name}": Goal("<=", 0.01) for name in ENGINES[1:]},
    **{f"asked/{name}": Goal(">=", 1.0) for name in ENGINES[2:]},
}
EDGE_GRAPH_FROM: Final = 100
"""`exact_up_to` of `EdgeStore` here: with so few turns it would compare them all."""


class Counting:
    """A `VectorStore` that counts how often it is asked."""

    def __init__(self, inner: VectorStore) -> None:
        self._inner = inner
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def anearest(self, *arguments: Any, **options: Any) -> list[int]:
        """What the store itself proposes."""
        self.asked += 1
        return await self._inner.anearest(*arguments, **options)


class Places:
    """Where each talk's log and vectors go, by engine; servers are started when first used."""

    def __init__(self, folder: Path, dimension: int, stack: ExitStack) -> None:
        self._folder = folder
        self._dimension = dimension
        self._stack = stack
        self._server: PostgresServer | None = None
        self._stores: Mapping[str, Callable[[str, str], VectorStore]] = {
            "edge": self._edge,
            "pgvector": self._pgvector,
            "qdrant": self._qdrant,
            "pinecone": self._pinecone,
        }

    def log(self, engine: str, talk: str) -> str:
        """The URL of a new log."""
        if engine not in ("postgres", "pgvector"):
            return str(self._folder / f"{engine}-{talk}.db")
        if self._server is None:
            self._server = self._stack.enter_context(servers.postgres(fsync="off"))
        return self._server.url(self._server.create_database())

    @contextmanager
    def store(self, engine: str, talk: str, log: str) -> Iterator[Counting | None]:
        """The talk's vector store, if the engine has one."""
        if engine not in self._stores:
            yield None
            return
        store = Counting(self._stores[engine](talk, log))
        try:
            yield store
        finally:
            get_portal().call(store.aclose())

    def _edge(self, talk: str, log: str) -> VectorStore:
        from rag_memory_plugins.stores.edge import EdgeStore

        return EdgeStore(self._folder / f"edge-{talk}", exact_up_to=EDGE_GRAPH_FROM)

    def _pgvector(self, talk: str, log: str) -> VectorStore:
        from rag_memory_plugins.stores.pgvector import PgvectorStore

        return PgvectorStore(log)

    def _qdrant(self, talk: str, log: str) -> VectorStore:
        from rag_memory_plugins.stores.qdrant import QdrantStore
        from rag_memory_plugins.testing.qdrant_server import QdrantServer

        return QdrantStore(self._stack.enter_context(QdrantServer()).url)

    def _pinecone(self, talk: str, log: str) -> VectorStore:
        from rag_memory_plugins.stores.pinecone import PineconeStore
        from rag_memory_plugins.testing.pinecone_server import PineconeServer

        server = self._stack.enter_context(
            PineconeServer(dimension=self._dimension, api_key="loopback")
        )
        return PineconeStore(server.url, api_key="loopback")


def measure(
    engine: str, talks: Sequence[Talk], folder: Path, inner: Embedder, progress: Progress
) -> Report:
    """R@10 of an engine, or of "all", and of flat, on the same vectors."""
    report = Report("recall", GOALS, grid=GRID)
    names = ENGINES if engine == "all" else tuple(dict.fromkeys(("flat", engine)))
    embedder = AtHand(inner)
    # No engine pays for what the others have at hand.
    embedder.foresee((), [question.text for talk in talks for question in talk.questions])
    with ExitStack() as stack:
        places = Places(folder, inner.dimension, stack)
        for name in names:
            _put(report, name, talks, places, embedder, progress)
    report.put("questions", sum(len(talk.questions) for talk in talks))
    report.put("embedding_s", embedder.seconds)
    report.notes.append(
        "texts are embedded once, and every engine gets the same vectors; gap: distance from flat; "
        "asked: share of the searches that asked the store"
    )
    return report


def _put(
    report: Report,
    engine: str,
    talks: Sequence[Talk],
    places: Places,
    embedder: AtHand,
    progress: Progress,
) -> None:
    """Every question of every talk, with one engine."""
    scores: list[float] = []
    seconds: list[float] = []
    asked = 0
    for talk in talks:
        log = places.log(engine, talk.name)
        with places.store(engine, talk.name, log) as store:
            index: dict[str, Any] = {} if store is None else {"index": store}
            with open_memory(log, embedder=embedder, summarizer=None, **index) as memory:
                _fill(memory, talk, progress, f"{engine} {talk.name}")
                _ask(memory, talk, scores, seconds)
            asked += store.asked if store is not None else 0
    report.put(f"R@10/{engine}", sum(scores) / len(scores))
    report.put(
        f"gap@10/{engine}", abs(report.figures[f"R@10/{engine}"] - report.figures["R@10/flat"])
    )
    if engine in ENGINES[2:]:
        report.put(f"asked/{engine}", asked / len(scores))
    report.put_times("search", seconds, engine)


def _fill(memory: Memory, talk: Talk, progress: Progress, name: str) -> None:
    """Say all turns, and wait until the store has them too."""
    for session, messages in talk.sessions.items():
        memory.conversation(talk.name, "reader", session).add(messages)
    settle(memory, progress, name)
    memory.settle()
    if isinstance(memory.index, MirroredIndex):
        memory.index.exact_up_to = 0


def _ask(memory: Memory, talk: Talk, scores: list[float], seconds: list[float]) -> None:
    conversation = memory.conversation(Namespace(talk.name, "reader", "questions"))
    for question in talk.questions:
        start = perf_counter()
        found = conversation.search(question.text, limit=10)
        seconds.append(perf_counter() - start)
        if found.degraded or found.lanes["dense"] != "ok":
            raise BadData(f"a search was not complete: {dict(found.lanes)} {found.degraded}")
        scores.append(among(question, [hit.message.id for hit in found])["R@10"])
