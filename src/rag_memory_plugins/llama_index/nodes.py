"""Remembered messages as LlamaIndex nodes, LlamaIndex nodes as ours, and nodes changed in a copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.memory.rendering import render_line
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.retrieval.nodes import Node
from rag_memory_plugins.types import Message

__all__ = [
    "TENANT",
    "node_of",
    "nodes_for_packing",
    "place_of",
    "rescored",
    "shown_as",
    "with_text",
]

TENANT: Final = "tenant"
"""Metadata key of the tenant a node belongs to; no model and no embedder is shown it."""
_HIDDEN: Final = (TENANT, "session", "id")


def node_of(
    message: Message, scope: Scope, session: str, beside: Sequence[Message] = ()
) -> TextNode:
    """A remembered message as a node; no two tenants' nodes have one id.

    Metadata: tenant, session, role, time (ISO 8601), name, id. A model is shown who said it when.
    What was said `beside` it is one more value, which a model is shown and no embedder: a dated
    line a message, in the order they were said. The node's text stays the message's own.
    """
    metadata = {
        "time": message.time.isoformat(),
        "role": message.role,
        "name": message.name,
        TENANT: scope.tenant,
        "session": session,
        "id": message.id,
        "beside": "\n".join(_line(near) for near in beside) or None,
    }
    return TextNode(
        id_=_node_id(scope, session, message.id),
        text=message.content,
        metadata={key: value for key, value in metadata.items() if value is not None},
        excluded_llm_metadata_keys=list(_HIDDEN),
        excluded_embed_metadata_keys=list(metadata),
    )


def place_of(node: BaseNode, scope: Scope) -> tuple[str, str] | None:
    """(session, message id) of a node that `node_of` made for `scope`; None for any other."""
    session, key = node.metadata.get("session"), node.metadata.get("id")
    if not isinstance(session, str) or not isinstance(key, str):
        return None
    try:
        ours = node.node_id == _node_id(scope, session, key)
    except (InvalidNamespace, UnicodeEncodeError):  # no session and no id that we would have stored
        return None
    return (session, key) if ours and node.metadata.get(TENANT) == scope.tenant else None


def nodes_for_packing(nodes: Sequence[NodeWithScore]) -> list[Node]:
    """Nodes as `retrieval.packing.pack` takes them: what a model is shown of each, and when.

    The id is the node's place among `nodes`, because two of them may share theirs.
    """
    return [
        Node(str(at), text, item.score, _time(item.node), before, after)
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


def _node_id(scope: Scope, session: str, key: str) -> str:
    said_in = Namespace(scope.tenant, scope.user, session)
    return f"{said_in.key}/{quote(key, safe='')}"


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


def _line(message: Message) -> str:
    return f"{message.time.isoformat(timespec='seconds')} {render_line(message)}"


def _time(node: BaseNode) -> datetime | None:
    value: Any = node.metadata.get("time")
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None
