"""One turn with any LlamaIndex model: recall, call, store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.llms.llm import LLM

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index import events
from rag_memory_plugins.llama_index.convert import render
from rag_memory_plugins.llama_index.sessions import said_in
from rag_memory_plugins.memory.asking import aanswered, aask, checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import blocking_function, strict
from rag_memory_plugins.results import Context
from rag_memory_plugins.types import Level

__all__ = ["Answer", "achat", "chat"]


@dataclass(frozen=True)
class Answer:
    """What a model answered, and the context it answered from; None without memory.

    >>> Answer(ChatResponse(message=ChatMessage("in Lisbon", role="assistant")), None).text
    'in Lisbon'
    """

    response: ChatResponse
    context: Context | None

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.response.message.content or ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Turn:
    """A turn that waits for its answer: what the model is sent, and where the answer goes."""

    sent: list[ChatMessage]
    conversation: Conversation | None
    context: Context | None


@strict
async def achat(
    memory: Memory,
    llm: LLM,
    messages: str | ChatMessage | Sequence[ChatMessage],
    namespace: Namespace,
    use_memory: bool = True,
    *,
    budget: int | TokenBudget | None = None,
    level: Level = "user",
) -> Answer:
    """Recall for what the user says, ask `llm`, and store both.

    `messages` is what the user says, or a list that ends with it. System messages in it are sent
    and counted, never stored; of the others the log gets what it does not hold yet, on disk
    before the model is asked, so one that fails loses nothing. The model gets a context of the
    log: pins, recent turns, what is recalled from the user's sessions (`level="session"`: from
    this one), within `budget` tokens, the memory's own when left out. The same question again while
    the first waits for an answer is a retry.

    Without `use_memory` the messages are sent as they are; nothing is read and nothing stored.
    What the model raises is raised. Raises `InvalidInput`, `InvalidBudget`, `BudgetTooSmall`,
    `StoreError`.
    """
    turn = await _abegin(memory, llm, messages, namespace, use_memory, budget, level)
    return await _aend(turn, await llm.achat(turn.sent))


@strict
def chat(
    memory: Memory,
    llm: LLM,
    messages: str | ChatMessage | Sequence[ChatMessage],
    namespace: Namespace,
    use_memory: bool = True,
    *,
    budget: int | TokenBudget | None = None,
    level: Level = "user",
) -> Answer:
    """Sync form of `achat`; the model's own sync `chat` runs in the calling thread.

    >>> import tempfile, pathlib
    >>> from llama_index.core.llms import MockLLM
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     monday, tuesday = (Namespace("acme", "ann", day) for day in ("monday", "tuesday"))
    ...     _ = chat(memory, MockLLM(), "I moved to Lisbon in May", monday)
    ...     answer = chat(memory, MockLLM(), "Where did I move?", tuesday)
    >>> "I moved to Lisbon in May" in answer.context.text
    True
    >>> folder.cleanup()
    """
    turn = _begin(memory, llm, messages, namespace, use_memory, budget, level)
    return _end(turn, llm.chat(turn.sent))


async def _abegin(
    memory: Memory,
    llm: LLM,
    messages: str | ChatMessage | Sequence[ChatMessage],
    namespace: Namespace,
    use_memory: bool,
    budget: int | TokenBudget | None,
    level: Level,
) -> _Turn:
    """Store what was said, and make the context of it."""
    chats = _checked(llm, messages)
    conversation = checked_conversation(memory, namespace)
    if not use_memory:
        return _Turn(chats, None, None)
    prompts = [chat for chat in chats if chat.role in _SYSTEM]
    prompt = ChatMessage(role=MessageRole.SYSTEM, blocks=[b for c in prompts for b in c.blocks])
    said = said_in(conversation, [chat for chat in chats if chat.role not in _SYSTEM])
    if not said_in(conversation, chats[-1:]):
        raise InvalidInput("messages", chats[-1].content, "a memory put this in; nobody said it")
    system = prompt.content or ""
    context = await aask(conversation, said, system=system, budget=budget, level=level)
    events.assembled(namespace.key, context)
    shown = context.messages[1:] if system else context.messages
    return _Turn([*([prompt] if prompts else []), *render(shown)], conversation, context)


async def _aend(turn: _Turn, response: ChatResponse) -> Answer:
    """Store the answer."""
    if turn.conversation is not None:
        for message in said_in(turn.conversation, [response.message]):
            await aanswered(turn.conversation, message)
    return Answer(response, turn.context)


_begin = blocking_function(_abegin)
_end = blocking_function(_aend)


def _checked(llm: object, messages: object) -> list[ChatMessage]:
    """The messages as a list that ends with the user's. Raises before anything is stored."""
    if not isinstance(llm, LLM):
        got = f"{type(llm).__module__}.{type(llm).__name__}"
        raise InvalidInput("llm", got, "pass a LlamaIndex LLM")
    given: object = ChatMessage(messages) if isinstance(messages, str) else messages
    chats = [given] if isinstance(given, ChatMessage) else given
    if not isinstance(chats, Sequence) or not all(isinstance(c, ChatMessage) for c in chats):
        raise InvalidInput("messages", messages, "pass a str, a ChatMessage or a list of them")
    if not chats or chats[-1].role != MessageRole.USER:
        ends = chats[-1].role.value if chats else chats
        raise InvalidInput("messages", ends, "end them with what the user says")
    return list(chats)


_SYSTEM: Final = (MessageRole.SYSTEM, MessageRole.DEVELOPER)
