"""LangGraph's `InMemoryStore` with semantic search: what LangGraph's long-term memory is built on.

One item a turn, all sessions under the user's namespace, as its documentation has it; `fields` is
the text alone, because its default ("$") would embed the JSON of the whole item, date and all. The
date stands in the item, where its filters can read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import Peer
from benchmarks.scores import line
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

NEEDS: Final[Mapping[str, str]] = {"langgraph": "pip install 'rag-memory-plugins[langchain]'"}
PARTS: Final[Sequence[str]] = ("langgraph",)
EMBEDS: Final = True
RANKS: Final = True


class LangGraphStore(Peer):
    """A store of its own for every conversation."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand) -> None:
        from langgraph.store.memory import InMemoryStore

        from benchmarks.peers.langchain_vectors import as_langchain

        self._user = (talk.name, "memories")
        self._store: Any = InMemoryStore(
            index={
                "dims": vectors.dimension,
                "embed": as_langchain(vectors),
                "fields": ["text"],
            }
        )

    def add(self, session: str, message: Message) -> None:
        item = {"text": line(message), "session": session, "time": message.time.isoformat()}
        self._store.put(self._user, message.id, item)

    def search(self, query: str, limit: int) -> list[str]:
        return [item.key for item in self._store.search(self._user, query=query, limit=limit)]


opened = LangGraphStore
