"""Remembered messages as LlamaIndex nodes, LlamaIndex nodes as ours, and nodes changed in a copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.retrieval.nodes import Node
from rag_memory_plugins.types import Message

__all__ = ["TENANT", "node_of", "nodes_for_packing", "rescored", "with_text"]

TENANT: Final = "tenant"
"""Metadata key of the tenant a node belongs to; no model and no embedder is shown it."""
_HIDDEN: Final = (TENANT, "session", "id")


def node_of(message: Message, scope: Scope, session: str) -> TextNode:
    """A remembered message as a node; no two tenants' nodes have one id.

    Metadata: tenant, session, role, time (ISO 8601), name, id. A model is shown who said it when.
    """
    said_in = Namespace(scope.tenant, scope.user, session)
    metadata = {
        "time": message.time.isoformat(),
        "role": message.role,
        "name": message.name,
        TENANT: scope.tenant,
        "session": session,
        "id": message.id,
    }
    return TextNode(
        id_=f"{said_in.key}/{quote(message.id, safe='')}",
        text=message.content,
        metadata={key: value for key, value in metadata.items() if value is not None},
        excluded_llm_metadata_keys=list(_HIDDEN),
        excluded_embed_metadata_keys=list(metadata),
    )


def nodes_for_packing(nodes: Sequence[NodeWithScore]) -> list[Node]:
    """Nodes as `retrieval.packing.pack` takes them: what a model is shown of each, and when.

    The id is the node's place among `nodes`, because two of them may share theirs.
    """
    return [
        Node(str(at), item.node.get_content(MetadataMode.LLM), item.score, _time(item.node))
        for at, item in enumerate(nodes)
    ]


def rescored(item: NodeWithScore, score: float | None) -> NodeWithScore:
    """The same node under another score; `item` is as it was."""
    return NodeWithScore(node=item.node, score=score)


def with_text(item: NodeWithScore, text: str) -> NodeWithScore:
    """A node of the same id and metadata with another text; `item` and its node are as they were."""
    node = item.node.model_copy(deep=True)
    node.set_content(text)
    return NodeWithScore(node=node, score=item.score)


def _time(node: BaseNode) -> datetime | None:
    value: Any = node.metadata.get("time")
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None
