"""Questions to the memory as a LlamaIndex query engine, and as a tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import Response
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool, ToolMetadata, ToolOutput

from rag_memory_plugins.llama_index import events
from rag_memory_plugins.llama_index.llm import as_chat_model
from rag_memory_plugins.memory.answering import Answer, aanswered, answered, fenced_answer
from rag_memory_plugins.memory.arguments import check_limit, checked_level
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.evidence import TOKENS
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.sourcing import CITATION, HIDDEN, sourced
from rag_memory_plugins.memory.whose import whose
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Level

if TYPE_CHECKING:
    from llama_index.core.callbacks.base import CallbackManager

__all__ = ["MemoryQueryEngine"]

NAME: Final = "query_memory"
DESCRIPTION: Final = (
    "What the user said in this and earlier conversations, and the facts known about people and "
    "things: what holds now, and what held before or on a date."
)


class MemoryQueryEngine(BaseQueryEngine):
    """Answers from what was said and what holds, with a mark behind what rests on each source.

    Pass a conversation; or a memory, and as `namespace` a function that every query asks whose
    memory it is for: one that fails or gives anything but a `Namespace` raises `InvalidNamespace`,
    and nothing is read.

    `llm` is asked once a query. Without one the answer is the evidence itself, and never what
    `Settings.llm` would say: that setting has a provider by default, and what is remembered of a
    user goes to nobody whom the caller did not name. A model that fails, or takes more than
    `timeout` seconds, leaves the evidence too.

    A `Response` has the shown memories and facts as source nodes, `citation` in the metadata of
    each; their scores fall with their rank. Its metadata: `degraded` (a list of reasons), `as_of`
    (ISO 8601, None for now) and `citations`, the node id of each mark in the answer. `as_of`,
    `limit`, `level` and `budget` are those of `memory.evidence.agathered`; without `as_of` a date
    that a question names counts. Raises `InvalidInput`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.facts.insert("Ann", "lives in", "Porto", id="f1")
    ...     response = MemoryQueryEngine(ann).query("Where does Ann live?")
    >>> [node.text for node in response.source_nodes], response.metadata["citations"]
    (['Ann lives in Porto'], {'[f:f1]': 'acme/ann@facts/f1'})
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        conversation: Conversation | Memory,
        *,
        namespace: Namespace | Callable[[], Namespace] | None = None,
        llm: LLM | None = None,
        as_of: datetime | None = None,
        limit: int = 10,
        level: Level = "user",
        budget: int = TOKENS,
        timeout: float = 30.0,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self._whose = whose(conversation, namespace)
        check_limit(limit)
        self._asked: dict[str, Any] = {
            "model": None if llm is None else as_chat_model(llm),
            "as_of": as_of,
            "limit": limit,
            "level": checked_level(level),
            "budget": budget,
            "timeout": timeout,
        }
        super().__init__(callback_manager=callback_manager)

    def as_tool(self, name: str = NAME, description: str = DESCRIPTION) -> QueryEngineTool:
        """This engine as a tool, for an agent, a RouterQueryEngine or a SubQuestionQueryEngine.

        An agent is given the answer inside the conversation's fence, so that its memory does not
        store it as said; an engine made of engines asks this one itself, and gets it without.
        """
        return _FencedTool(self, ToolMetadata(name=name, description=description))

    def _query(self, query_bundle: QueryBundle) -> Response:
        conversation = self._whose()
        return _response(
            conversation, answered(conversation, query_bundle.query_str, **self._asked)
        )

    async def _aquery(self, query_bundle: QueryBundle) -> Response:
        conversation = self._whose()
        answer = await aanswered(conversation, query_bundle.query_str, **self._asked)
        return _response(conversation, answer)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}


@dataclass
class _Fenced(Response):
    """A response that knows what a tool says in its place."""

    fenced: str = ""


class _FencedTool(QueryEngineTool):
    """A query engine's tool whose output nobody stores as said."""

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return _as_fenced(super().call(*args, **kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return _as_fenced(await super().acall(*args, **kwargs))


def _as_fenced(output: ToolOutput) -> ToolOutput:
    response = output.raw_output
    assert isinstance(response, _Fenced)  # of a query engine of ours
    return ToolOutput(
        content=response.fenced,
        tool_name=output.tool_name,
        raw_input=output.raw_input,
        raw_output=response,
    )


def _response(conversation: Conversation, answer: Answer) -> Response:
    evidence, namespace = answer.evidence, conversation.namespace
    for reason in answer.degraded:
        events.degraded(namespace.key, reason)
    nodes = [
        NodeWithScore(
            node=TextNode(
                id_=source.id,
                text=source.text,
                metadata=source.metadata,
                excluded_llm_metadata_keys=list(HIDDEN),
                excluded_embed_metadata_keys=list(source.metadata),
            ),
            score=source.score,
        )
        for source in sourced(evidence, namespace.scope, conversation.facts.clock())
    ]
    places = {node.node.metadata[CITATION]: node.node_id for node in nodes}
    metadata = {
        "degraded": list(answer.degraded),
        "as_of": None if evidence.as_of is None else evidence.as_of.isoformat(),
        "citations": {mark: places[mark] for mark in answer.citations},
    }
    return _Fenced(answer.text, nodes, metadata, fenced_answer(conversation, answer))
