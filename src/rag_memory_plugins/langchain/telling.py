"""What a model call lost, told: an event, and a mark on the answer. Neither holds a message's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from langchain.agents.middleware import ModelResponse
from langchain_core.messages import AIMessage, BaseMessage

from rag_memory_plugins.errors import RagMemoryError, shorten
from rag_memory_plugins.events import Event

if TYPE_CHECKING:
    from rag_memory_plugins.langchain.fitting import Sent
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = ["ADJUSTED", "Adjustment", "marked", "reason"]

ADJUSTED: Final = "context_adjustment"
"""Key of an answer's response_metadata."""


@dataclass(frozen=True)
class Adjustment:
    """What a request held and what was sent of it: messages and tokens, schemas included."""

    original: int
    kept: int
    tokens: int
    available: int
    removed: int
    degraded: tuple[str, ...] = ()

    @classmethod
    def of(cls, sent: Sent, schemas: int, available: int) -> Adjustment:
        """Of a request and the schemas beside it."""
        kept, tokens = len(sent.messages), sent.tokens + schemas
        return cls(sent.original, kept, tokens, available, sent.removed, sent.degraded)

    def tell(self, conversation: Conversation) -> None:
        """Emit what happened: `middleware.trimmed` and `middleware.degraded`."""
        memory, scope = conversation.memory, conversation.namespace.scope.key
        numbers = {name: value for name, value in vars(self).items() if name != "degraded"}
        if self.removed:
            memory.emit(Event("middleware.trimmed", scope, data=numbers))
        if self.degraded:
            memory.emit(Event("middleware.degraded", scope, data={"reasons": [*self.degraded]}))


def reason(error: Exception) -> str:
    """Why memory could not be read. Only our own errors are known to hold no text of a user."""
    text = shorten(str(error)) if isinstance(error, RagMemoryError) else ""
    return f"memory was not read: {type(error).__name__} {text}".strip()


def marked(response: ModelResponse[Any], adjustment: Adjustment) -> ModelResponse[Any]:
    """`response`, its answer marked in response_metadata if anything was lost.

    Of several memories in one agent the one nearest to the model gives the numbers.
    """
    if not (adjustment.removed or adjustment.degraded):
        return response
    return replace(response, result=_marked(response.result, adjustment))


def _marked(messages: Sequence[BaseMessage], adjustment: Adjustment) -> list[BaseMessage]:
    made = {**vars(adjustment), "degraded": [*adjustment.degraded]}
    result = list(messages)
    for at, message in enumerate(result):
        if isinstance(message, AIMessage):
            inner = message.response_metadata.get(ADJUSTED)
            if isinstance(inner, dict):
                made = {**inner, "degraded": [*inner["degraded"], *made["degraded"]]}
            metadata = {**message.response_metadata, ADJUSTED: made}
            result[at] = message.model_copy(update={"response_metadata": metadata})
    return result
