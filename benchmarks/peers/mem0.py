"""mem0's open-source `Memory`: turns stored as they are (`infer=False`), embedded Qdrant on a path.

Its defaults otherwise: a hit needs a cosine of 0.1, up to four times the wanted hits are fetched and
scored. Our vectors come in through its `langchain` embedder. The turn's date goes in as `created_at`
(its parameter `timestamp` is refused outside the paid platform). With `infer=True` an LLM would
rewrite what is stored; without it, search adds BM25 and entities to the cosine where their models
are there, and `notes` say whether they were. Telemetry is off; its files stand in the folder given.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import GROUP, Peer
from benchmarks.scores import line
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

NEEDS: Final[Mapping[str, str]] = {
    "mem0": GROUP,
    "langchain": "pip install 'rag-memory-plugins[langchain]'",
}
PARTS: Final[Sequence[str]] = ("mem0ai", "qdrant-client")
EMBEDS: Final = True
RANKS: Final = True


class Mem0(Peer):
    """A memory of its own for every conversation, because its local Qdrant locks its path."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand) -> None:
        # Read when it is imported: afterwards it would report to its makers and write to ~/.mem0.
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ["MEM0_DIR"] = str(folder)
        logging.getLogger("mem0").setLevel(logging.ERROR)  # `notes` say what its warnings would
        library: Any = importlib.import_module("mem0")
        if importlib.import_module("mem0.memory.telemetry").MEM0_TELEMETRY:
            raise ImportError("mem0 was imported before with its telemetry on; start anew")
        from benchmarks.peers.langchain_vectors import as_langchain

        place = folder / f"{talk.name}-mem0"
        self._user = talk.name
        self._memory = library.Memory.from_config(
            {
                "vector_store": {
                    "provider": "qdrant",
                    "config": {
                        "path": str(place),
                        "embedding_model_dims": vectors.dimension,
                        "on_disk": True,
                    },
                },
                "embedder": {"provider": "langchain", "config": {"model": as_langchain(vectors)}},
                # Made at once, though nothing asks it.
                "llm": {"provider": "openai", "config": {"api_key": "unused"}},
                "history_db_path": str(place.with_suffix(".history.db")),
            }
        )

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]  # known once it has searched
        off = []
        if self._memory.vector_store._get_bm25_encoder() is None:
            off.append("BM25 (fastembed's model)")
        if importlib.import_module("mem0.utils.spacy_models").get_nlp_full() is None:
            off.append("entities (spaCy's model)")
        return (f"ran without {' and '.join(off)}: not installed",) if off else ()

    def add(self, session: str, message: Message) -> None:
        self._memory.add(
            [{"role": message.role, "name": message.name, "content": line(message)}],
            user_id=self._user,
            run_id=session,
            metadata={"turn": message.id, "created_at": message.time.isoformat()},
            infer=False,
        )

    def search(self, query: str, limit: int) -> list[str]:
        found = self._memory.search(query, filters={"user_id": self._user}, top_k=limit)
        return [item["metadata"]["turn"] for item in found["results"]]

    def close(self) -> None:
        self._memory.close()
        self._memory.vector_store.client.close()


opened = Mem0
