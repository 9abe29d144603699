"""LlamaIndex's `VectorMemoryBlock` over Qdrant in memory (it refuses a store without texts).

One `aput` a turn: inside LlamaIndex's `Memory` the block would get 3,000 tokens at a time and make
one vector of them, of which the model reads the beginning. Its settings otherwise, but for
`similarity_top_k`, which is 2 and would never name ten turns.

Known faults that are kept out here: a `session_id` in the first `aget` stays in the filter of all
later ones and hides every other session, so none is passed; a date could only be passed in
`additional_kwargs`, which it appends to the text and embeds, so there is none. It embeds each text
inside `<message role='...'>`, as stored, and gives one string, which is taken apart again here.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import GROUP, Peer
from benchmarks.scores import line
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins import Message

NEEDS: Final[Mapping[str, str]] = {
    "llama_index": "pip install 'rag-memory-plugins[llama-index]'",
    "llama_index.vector_stores.qdrant": GROUP,
}
PARTS: Final[Sequence[str]] = (
    "llama-index-core",
    "llama-index-vector-stores-qdrant",
    "qdrant-client",
)
EMBEDS: Final = True
RANKS: Final = True

STORED: Final = re.compile(r"<message role='\w+'>(.*?)</message>", re.DOTALL)


class VectorBlock(Peer):
    """A block and a collection of its own for every conversation."""

    def __init__(self, talk: Talk, folder: Path, vectors: AtHand) -> None:
        from llama_index.core.memory import VectorMemoryBlock
        from llama_index.vector_stores.qdrant import QdrantVectorStore
        from qdrant_client import AsyncQdrantClient

        from benchmarks.peers.llamaindex_vectors import as_llamaindex

        self._loop = asyncio.new_event_loop()
        self._client = AsyncQdrantClient(location=":memory:")
        self._block: Any = VectorMemoryBlock(
            vector_store=QdrantVectorStore(
                collection_name="memory",
                aclient=self._client,
                index_doc_id=False,  # Qdrant in memory has no such index, and warns of it
            ),
            embed_model=as_llamaindex(vectors),
        )
        # The string does not name its turns. Of equal texts, the one said first stands first.
        self._ids: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, session: str, message: Message) -> None:
        from llama_index.core.llms import ChatMessage

        text = line(message)
        self._ids[text].append(message.id)
        said = ChatMessage(role=message.role, content=text)
        self._loop.run_until_complete(self._block.aput([said]))

    def search(self, query: str, limit: int) -> list[str]:
        from llama_index.core.llms import ChatMessage

        self._block.similarity_top_k = limit
        asked = [ChatMessage(role="user", content=query)]
        answer = self._loop.run_until_complete(self._block.aget(asked))
        left = {text: iter(ids) for text, ids in self._ids.items()}
        return [next(left[text]) for text in STORED.findall(answer)]

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


opened = VectorBlock
