"""Remembered messages as LlamaIndex nodes, LlamaIndex nodes as ours, and nodes changed in a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode

from rag_memory_plugins.memory.placing import FIELDS, placed_id, placed_metadata, time_of
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.retrieval.nodes import Node
from rag_memory_plugins.retrieval.tenancy import TENANT
from rag_memory_plugins.types import Message

__all__ = ["node_of", "nodes_for_packing", "rescored", "shown_as", "with_text"]

_HIDDEN: Final = (TENANT, "session", "id")
"""What no model is shown of a remembered message."""


def node_of(
    message: Message, scope: Scope, session: str, beside: Sequence[Message] = ()
) -> TextNode:
    """A remembered message as a node; no two tenants' nodes have one id.

    Metadata: tenant, session, role, time (ISO 8601), name, id. A model is shown who said it when.
    What was said `beside` it is one more value, which a model is shown and no embedder: a dated
    line a message, in the order they were said. The node's text stays the message's own.
    """
    metadata = placed_metadata(message, scope, session, beside)
    return TextNode(
        id_=placed_id(scope, session, message.id),
        text=message.content,
        metadata=metadata,
        excluded_llm_metadata_keys=list(_HIDDEN),
        excluded_embed_metadata_keys=list(FIELDS),
    )


def nodes_for_packing(nodes: Sequence[NodeWithScore]) -> list[Node]:
    """Nodes as `retrieval.packing.pack` takes them: what a model is shown of each, and when.

    The id is the node's place among `nodes`, because two of them may share theirs.
    """
    return [
        Node(str(at), text, item.score, time_of(item.node.metadata), before, after)
        for at, item in enumerate(nodes)
        for before, text, after in (_shown(item.node),)
    ]


def rescored(item: NodeWithScore, score: float | None) -> NodeWithScore:
    """The same node under another score; `item` is as it was."""
    return NodeWithScore(node=item.node, score=score)


def with_text(item: NodeWithScore, text: str) -> NodeWithScore:
    """A node of the same id and metadata with another text; `item` and its node are as they were."""
    node = item.node.model_copy(deep=True)
    node.set_content(text)
    return NodeWithScore(node=node, score=item.score)


def shown_as(item: NodeWithScore, packed: Node) -> NodeWithScore:
    """The node so that a model is shown what was packed of it; `item` is as it was."""
    if item.node.get_content(MetadataMode.LLM) == packed.shown:
        return rescored(item, item.score)
    made = with_text(item, packed.text)
    if made.node.get_content(MetadataMode.LLM) != packed.shown:
        # There was no room for metadata, or the node's template puts it where no part can stay.
        made = with_text(item, packed.shown)
        made.node.excluded_llm_metadata_keys = list(made.node.metadata)
    return made


def _shown(node: BaseNode) -> tuple[str, str, str]:
    """(what stands before, the text, what stands after) of what a model is shown.

    Without blanks at both ends, which most of LlamaIndex's prompts leave out and some do not.
    """
    whole = node.get_content(MetadataMode.LLM).strip()
    text = node.get_content(MetadataMode.NONE).rstrip()
    for form in (text, text.strip()):
        if form and form in whole:
            before, _, after = whole.rpartition(form)
            return before, form, after
    return "", whole, ""
