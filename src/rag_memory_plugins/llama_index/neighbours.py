"""Remembered nodes shown with what was said around them."""

from __future__ import annotations

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from rag_memory_plugins.errors import StoreError, shorten
from rag_memory_plugins.filters import Filter, combined
from rag_memory_plugins.llama_index.events import dispatcher, warned
from rag_memory_plugins.llama_index.nodes import node_of, place_of, rescored
from rag_memory_plugins.memory.arguments import check_window, checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Message, Messages

__all__ = ["NeighbourPostprocessor"]

Nodes = list[NodeWithScore]
Place = tuple[str, str]
"""A session, and the id of a message said in it."""
Windows = list[tuple[str, Messages]]
"""Sessions, and what was said there in a row."""


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
        found = self._found(nodes)
        reading = self._aread(list(found))
        read = self._conversation.portal.call(reading, "postprocess_nodes()")
        return self._shown(nodes, found, *read)

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: Nodes, query_bundle: QueryBundle | None = None
    ) -> Nodes:
        found = self._found(nodes)
        read = await self._conversation.portal.acall(self._aread(list(found)))
        return self._shown(nodes, found, *read)

    def _found(self, nodes: Nodes) -> dict[Place, NodeWithScore]:
        """Nodes of the scope's messages, each message's first."""
        scope = self._conversation.namespace.scope
        found: dict[Place, NodeWithScore] = {}
        for item in nodes:
            if (place := place_of(item.node, scope)) is not None:
                found.setdefault(place, item)
        return found

    async def _aread(self, places: list[Place]) -> tuple[Windows, str]:
        """What was said around these places, and why it could not be read."""
        scope = self._conversation.namespace.scope
        windows: Windows = []
        for session in dict.fromkeys(session for session, _ in places):
            said_in = self._conversation.memory.conversation(scope.tenant, scope.user, session)
            ids = [key for other, key in places if other == session]
            try:
                around = await said_in.aaround(ids, self.before, self.after)
            except StoreError as error:
                return [], f"no neighbours: {shorten(error)}"
            windows += [(session, window) for window in around]
        return windows, ""

    def _shown(
        self, nodes: Nodes, found: dict[Place, NodeWithScore], windows: Windows, failed: str
    ) -> Nodes:
        if failed:
            warned(f"{self.class_name()} {self._conversation.namespace.key}", failed)
        scope = self._conversation.namespace.scope
        window_of = {
            (session, message.id): (session, window)
            for session, window in windows
            for message in window
        }
        shown: Nodes = []
        done: set[Place] = set()
        for item in nodes:
            place = place_of(item.node, scope)
            if place is None or place not in window_of:
                shown.append(rescored(item, item.score))
            elif place not in done:
                session, window = window_of[place]
                done.update((session, message.id) for message in window)
                shown += [
                    self._node(found.get((session, message.id)), message, session)
                    for message in window
                    if (session, message.id) in found or self._matches(message, session)
                ]
        return shown

    def _node(self, item: NodeWithScore | None, message: Message, session: str) -> NodeWithScore:
        if item is not None:
            return rescored(item, item.score)
        scope = self._conversation.namespace.scope
        return NodeWithScore(node=node_of(message, scope, session))

    def _matches(self, message: Message, session: str) -> bool:
        # A message that only calls tools has no text to show.
        where = self._where
        return bool(message.content.strip()) and (where is None or where.matches(message, session))
