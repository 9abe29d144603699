"""One turn with any LangChain model: recall, call, store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    MessageLikeRepresentation,
    convert_to_messages,
    message_chunk_to_message,
)
from langchain_core.runnables import Runnable, RunnableConfig

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import ChatModelError, InvalidInput
from rag_memory_plugins.langchain.convert import injected, to_message
from rag_memory_plugins.langchain.convert import said as without
from rag_memory_plugins.langchain.rendering import rendered
from rag_memory_plugins.memory.asking import aanswered, aask, checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.rendering import said_only
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import blocking_function, strict
from rag_memory_plugins.results import Context
from rag_memory_plugins.types import Level

__all__ = ["Answer", "achat", "chat"]

Said: TypeAlias = str | BaseMessage | Sequence[MessageLikeRepresentation]


@dataclass(frozen=True)
class Answer:
    """What a model answered, and the context it answered from; None without memory.

    >>> Answer(AIMessage("in Lisbon"), None).text
    'in Lisbon'
    """

    message: AIMessage
    context: Context | None

    @property
    def text(self) -> str:
        """The answer's text."""
        return str(self.message.text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Turn:
    """A turn that waits for its answer: what the model is sent, and where the answer goes."""

    sent: list[BaseMessage]
    conversation: Conversation | None
    context: Context | None


@strict
async def achat(
    memory: Memory,
    model: Runnable[Any, Any],
    messages: Said,
    namespace: Namespace,
    use_memory: bool = True,
    *,
    budget: int | TokenBudget | None = None,
    level: Level = "user",
    config: RunnableConfig | None = None,
) -> Answer:
    """Recall for what the user says, ask `model`, and store both.

    `model` is a chat model, or a runnable made of one that answers with a message (tools bound,
    fallbacks). `messages` is what the user says, or a list that ends with it. System messages in it
    are sent and counted, never stored; of the others the log gets what it does not hold yet, on
    disk before the model is asked, so one that fails loses nothing. The model gets a context of
    the log: pins, recent turns, what is recalled from the user's sessions (`level="session"`: from
    this one), within `budget` tokens, the memory's own when left out. The same question again while
    the first waits for an answer is a retry. `config` goes to the model.

    Without `use_memory` the messages are sent as they are; nothing is read and nothing stored.
    What the model raises is raised. Raises `InvalidInput`, `InvalidBudget`, `BudgetTooSmall`,
    `StoreError`, and `ChatModelError` for an answer that is no message.
    """
    turn = await _abegin(memory, model, messages, namespace, use_memory, budget, level)
    return await _aend(turn, await model.ainvoke(turn.sent, config))


@strict
def chat(
    memory: Memory,
    model: Runnable[Any, Any],
    messages: Said,
    namespace: Namespace,
    use_memory: bool = True,
    *,
    budget: int | TokenBudget | None = None,
    level: Level = "user",
    config: RunnableConfig | None = None,
) -> Answer:
    """Sync form of `achat`; the model's own sync `invoke` runs in the calling thread.

    >>> import tempfile, pathlib
    >>> from langchain_core.language_models import FakeListChatModel
    >>> from rag_memory_plugins import open_memory
    >>> folder, model = tempfile.TemporaryDirectory(), FakeListChatModel(responses=["Noted."])
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     monday, tuesday = (Namespace("acme", "ann", day) for day in ("monday", "tuesday"))
    ...     _ = chat(memory, model, "I moved to Lisbon in May", monday)
    ...     answer = chat(memory, model, "Where did I move?", tuesday)
    >>> "I moved to Lisbon in May" in answer.context.text
    True
    >>> folder.cleanup()
    """
    turn = _begin(memory, model, messages, namespace, use_memory, budget, level)
    return _end(turn, model.invoke(turn.sent, config))


async def _abegin(
    memory: Memory,
    model: Runnable[Any, Any],
    messages: Said,
    namespace: Namespace,
    use_memory: bool,
    budget: int | TokenBudget | None,
    level: Level,
) -> _Turn:
    """Store what was said, and make the context of it."""
    given = _checked(model, messages)
    conversation = checked_conversation(memory, namespace)
    if not use_memory:
        return _Turn(given, None, None)
    pairs = [(to_message(message), message) for message in given if not injected(message)]
    prompts = [message for said, message in pairs if said.role == "system"]
    said = said_only([said for said, _ in pairs if said.role != "system"], conversation.fence)
    if injected(given[-1]) or not said_only([pairs[-1][0]], conversation.fence):
        raise InvalidInput("messages", given[-1].content, "a memory put this in; nobody said it")
    system = "\n".join(str(prompt.text) for prompt in prompts)
    context = await aask(conversation, said, system=system, budget=budget, level=level)
    shown = context.messages[1:] if system else context.messages
    # One that was copied out of a prompt holds that prompt's blocks; the log's form does not.
    whole = without(given[-1]) if said[-1].content == pairs[-1][0].content else None
    return _Turn([*prompts, *rendered(shown, whole)], conversation, context)


async def _aend(turn: _Turn, answer: object) -> Answer:
    """Store the answer."""
    message = message_chunk_to_message(answer) if isinstance(answer, BaseMessage) else None
    if not isinstance(message, AIMessage):
        got = type(answer).__name__
        raise ChatModelError(f"model: its answer is a {got}; pass a model that gives an AIMessage")
    if turn.conversation is not None:
        await aanswered(turn.conversation, to_message(message))
    return Answer(message, turn.context)


_begin = blocking_function(_abegin)
_end = blocking_function(_aend)


def _checked(model: object, messages: object) -> list[BaseMessage]:
    """The messages as a list that ends with the user's. Raises before anything is stored."""
    if not isinstance(model, Runnable):
        got = f"{type(model).__module__}.{type(model).__name__}"
        raise InvalidInput("model", got, "pass a LangChain chat model")
    given: Any = [messages] if isinstance(messages, (str, BaseMessage)) else messages
    remedy = "pass a str, a message or a list of them"
    if not isinstance(given, Sequence):
        raise InvalidInput("messages", messages, remedy)
    try:
        chats = convert_to_messages(given)
    except (ValueError, NotImplementedError, TypeError) as error:
        raise InvalidInput("messages", messages, remedy) from error
    if not chats or to_message(chats[-1]).role != "user":
        ends = chats[-1].type if chats else chats
        raise InvalidInput("messages", ends, "end them with what the user says")
    return chats
