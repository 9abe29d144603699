"""Remembered nodes shown with what was said around them."""

from __future__ import annotations

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from rag_memory_plugins.filters import Filter, combined
from rag_memory_plugins.llama_index.events import dispatcher, warned
from rag_memory_plugins.llama_index.nodes import node_of, rescored
from rag_memory_plugins.memory.arguments import check_window, checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.neighbouring import Windows, around, widened
from rag_memory_plugins.memory.placing import Place, place_of
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Message

__all__ = ["NeighbourPostprocessor"]

Nodes = list[NodeWithScore]


class NeighbourPostprocessor(BaseNodePostprocessor):
    """Puts `before` and `after` messages of the same session beside every remembered node.

    A window stands where its best node stood, in the order it was said; windows that overlap or
    touch are one, so every message comes once. Nodes that were found keep their scores, those
    beside them have none. Only nodes of the conversation's tenant and user have neighbours, from
    any of the user's sessions; others stay as they are, where they are. With `where` only
    messages that match come in: pass the retriever's filter. A store that fails costs the
    neighbours, with a `DegradeEvent` and a warning in the log.
    Raises `InvalidInput`, `InvalidQuery`, `InvalidFilter`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.llama_index import MemoryRetriever
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add(["What is the code of the boathouse?", "4711", "Thanks, bye"])
    ...     found = MemoryRetriever(ann, limit=1).retrieve("code of the boathouse")
    ...     [node.text for node in NeighbourPostprocessor(ann, 1, 0).postprocess_nodes(found)]
    ['What is the code of the boathouse?', '4711']
    >>> folder.cleanup()
    """

    before: int
    after: int
    where: str | None
    _conversation: Conversation = PrivateAttr()
    _where: Filter | None = PrivateAttr()

    @strict
    def __init__(
        self,
        conversation: Conversation,
        before: int = 2,
        after: int = 2,
        *,
        where: Filter | None = None,
    ) -> None:
        checked_conversation(conversation)
        check_window(before, "before")
        check_window(after, "after")
        filtered = combined(where)
        # As text, which `from_dict` refuses: a filter must not get lost on the way.
        told = None if filtered is None else repr(filtered)
        fields: dict[str, Any] = {"before": before, "after": after, "where": told}
        super().__init__(**fields)
        self._conversation = conversation
        self._where = filtered

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "NeighbourPostprocessor"

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        places = self._places(nodes)
        reading = around(self._conversation, places, self.before, self.after)
        read = self._conversation.portal.call(reading, "postprocess_nodes()")
        return self._shown(nodes, places, *read)

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: Nodes, query_bundle: QueryBundle | None = None
    ) -> Nodes:
        places = self._places(nodes)
        reading = around(self._conversation, places, self.before, self.after)
        read = await self._conversation.portal.acall(reading)
        return self._shown(nodes, places, *read)

    def _places(self, nodes: Nodes) -> list[Place | None]:
        scope = self._conversation.namespace.scope
        return [place_of(item.node.node_id, item.node.metadata, scope) for item in nodes]

    def _shown(
        self, nodes: Nodes, places: list[Place | None], windows: Windows, failed: str
    ) -> Nodes:
        if failed:
            warned(f"{self.class_name()} {self._conversation.namespace.key}", failed)
        return [
            rescored(nodes[one], nodes[one].score) if isinstance(one, int) else self._node(*one)
            for one in widened(places, windows, self._where)
        ]

    def _node(self, session: str, message: Message) -> NodeWithScore:
        scope = self._conversation.namespace.scope
        return NodeWithScore(node=node_of(message, scope, session))
