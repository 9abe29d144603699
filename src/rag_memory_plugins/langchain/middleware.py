"""The memory of a conversation as a LangChain agent middleware."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import HumanMessage

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    InvalidInput,
    InvalidNamespace,
    MessageConflict,
)
from rag_memory_plugins.langchain.convert import injected, minted, to_message
from rag_memory_plugins.langchain.prompt import (
    Prompt,
    arranged,
    last_question,
    question,
    turn_start,
)
from rag_memory_plugins.memory.arguments import checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Level

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langgraph.runtime import Runtime

    from rag_memory_plugins.types import Message

__all__ = ["MemoryMiddleware"]

_TURNS: Final = 256  # running turns remembered; one that falls out is recalled for again


@dataclass
class _Turn:
    """A running turn: what stands round it in the prompt, and what was stored of it."""

    key: tuple[str, ...]
    prompt: Prompt | None = None
    stored: dict[str, str] = field(default_factory=dict)  # digest by id


class MemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Gives an agent the memory of a conversation, or of the one its runtime names.

    Before every model call the request gets pins, history and what is recalled for the user's
    message; the agent's state is not rewritten. History comes from the state where a checkpointer
    or the caller supplies it, and from the log where they do not; nothing stands in it twice.
    `budget` counts all of that and the user's message. The running turn (tool calls and results
    since that message), the system prompt and tool schemas come on top: a turn is never cut.
    History over the budget is left out of the request, oldest first, whole tool groups at a time.

    The turn's messages are stored before the model is called, so a failing model loses nothing,
    and its answer after `after_model` of the middleware listed behind this one. Put this one
    first: then what the others (PII, human review) make of an answer is all that is ever stored;
    behind them, their form replaces the model's at the end of the run. A message is known by its
    LangChain id: tool rounds and resumed runs store nothing twice, and one that was changed under
    its id takes the place of the stored one.

    `namespace` may be a function of the runtime: `lambda runtime: Namespace(...)` with what
    `context=` brought. A run without the context it needs raises `InvalidNamespace`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     MemoryMiddleware(conversation=memory.conversation("acme", "ann", "monday"))
    MemoryMiddleware('acme/ann/monday', 4000 tokens)
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        memory: Memory | None = None,
        *,
        conversation: Conversation | None = None,
        namespace: Namespace | Callable[[Runtime[Any]], Namespace] | None = None,
        budget: int | TokenBudget = 4000,
        level: Level = "user",
        name: str | None = None,
    ) -> None:
        super().__init__()
        if (memory is None) == (conversation is None):
            raise InvalidInput(
                "memory", memory, "pass conversation=, or a memory and namespace=; not both"
            )
        if memory is not None and not isinstance(memory, Memory):
            raise InvalidInput("memory", memory, "pass what open_memory() gave")
        if conversation is not None:
            checked_conversation(conversation)
        if memory is not None and not (isinstance(namespace, Namespace) or callable(namespace)):
            raise InvalidNamespace(
                "namespace", namespace, "pass a Namespace, or a function of the runtime"
            )
        if conversation is not None and namespace is not None:
            raise InvalidNamespace("namespace", namespace, "the conversation has one already")
        if memory is not None and isinstance(namespace, Namespace):
            conversation = memory.conversation(namespace)
        self._memory = memory
        self._fixed = conversation
        self._namespace = namespace
        self._budget = TokenBudget.of(budget)
        self._level: Level = level
        self._name = name
        self._turns: OrderedDict[str, _Turn] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What LangChain tells middleware apart by; `name=` lets several stand in one agent."""
        return self._name or type(self).__name__

    def __repr__(self) -> str:
        where = "by runtime" if self._fixed is None else repr(self._fixed.namespace.key)
        return f"{type(self).__name__}({where}, {self._budget.total} tokens)"

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Store the turn so far and call the model with the memory's context."""
        conversation = self._conversation(request.runtime)
        before = self._aprepare(conversation, request)
        return handler(conversation.portal.call(before, "wrap_model_call()"))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Async form of `wrap_model_call`."""
        return await handler(await self._aprepare(self._conversation(request.runtime), request))

    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Store the model's answer."""
        conversation = self._conversation(runtime)
        work = self._aafter(conversation, state["messages"], changed=False)
        conversation.portal.call(work, "after_model()")

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Async form of `after_model`."""
        await self._aafter(self._conversation(runtime), state["messages"], changed=False)

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Store what middleware in front of this one made of the answer since."""
        conversation = self._conversation(runtime)
        work = self._aafter(conversation, state["messages"], changed=True)
        conversation.portal.call(work, "after_agent()")

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Async form of `after_agent`."""
        await self._aafter(self._conversation(runtime), state["messages"], changed=True)

    def _conversation(self, runtime: Runtime[Any]) -> Conversation:
        if self._fixed is not None:
            return self._fixed
        assert self._memory is not None  # the constructor saw to it
        assert callable(self._namespace)
        context = getattr(runtime, "context", None)
        try:
            namespace = self._namespace(runtime)
        except InvalidNamespace:
            raise
        except Exception as error:  # the user's function: it may fail in any way, never open
            raise InvalidNamespace(
                "namespace", context, f"its function failed ({error!r}); was context= passed?"
            ) from error
        if not isinstance(namespace, Namespace):
            raise InvalidNamespace("namespace", namespace, "the function must give a Namespace")
        return self._memory.conversation(namespace)

    async def _aprepare(
        self, conversation: Conversation, request: ModelRequest[Any]
    ) -> ModelRequest[Any]:
        messages: list[BaseMessage] = list(request.messages)
        ids = [minted(message) for message in messages]
        start = turn_start(messages)
        asked = last_question(messages)
        running = self._turn(conversation.namespace.key, (*ids[:start], *ids[asked:][:1]))
        try:
            if running.prompt is None:
                running.prompt = await self._arecall(conversation, messages, start, asked)
        finally:
            # Whatever reading the memory came to, what the user said is kept.
            await self._astore(conversation, messages[start:], running.stored, changed=True)
        prompt = running.prompt.around(messages[start:])
        return request.override(messages=prompt)  # type: ignore[arg-type]  # AnyMessage, at run time

    async def _arecall(
        self, conversation: Conversation, messages: list[BaseMessage], start: int, asked: int
    ) -> Prompt:
        # The turn is not in the log yet, so the context holds nothing of it; after a resumed run
        # it is, and `arranged` leaves it out.
        turn = messages[start:]
        counter = conversation.memory.counter
        said = counter.count_messages([to_message(m) for m in messages[start : asked + 1]])
        budget = self._budget
        if said >= budget.total:
            raise BudgetTooSmall(
                "budget", budget.total, f"the user's message alone has {said} tokens; raise it"
            )
        rest = budget.less(said)
        context = await conversation.acontext(question(turn).strip(), rest, level=self._level)
        return arranged(messages[:start], turn, context, counter)

    def _turn(self, where: str, key: tuple[str, ...]) -> _Turn:
        with self._lock:
            running = self._turns.get(where)
            if running is None or running.key != key:
                running = self._turns[where] = _Turn(key)
            self._turns.move_to_end(where)
            while len(self._turns) > _TURNS:
                self._turns.popitem(last=False)
            return running

    async def _aafter(
        self, conversation: Conversation, messages: Sequence[BaseMessage], *, changed: bool
    ) -> None:
        with self._lock:
            running = self._turns.get(conversation.namespace.key)
        stored = running.stored if running is not None else {}
        # What the user said is stored before the call, as the request has it: a middleware in front
        # of this one may have redacted there what the state still holds.
        turn = messages[turn_start(messages) :]
        answered = [message for message in turn if not isinstance(message, HumanMessage)]
        await self._astore(conversation, answered, stored, changed=changed)

    async def _astore(
        self,
        conversation: Conversation,
        turn: Sequence[BaseMessage],
        stored: dict[str, str],
        *,
        changed: bool,
    ) -> None:
        for message in turn:
            minted(message)
        new = [
            message
            for message in (to_message(item) for item in turn if not injected(item))
            if message.id not in stored or (changed and stored[message.id] != message.digest)
        ]
        if new:
            try:
                await conversation.aadd(new)
            except MessageConflict:
                await _areplace(conversation, new)
            stored.update((message.id, message.digest) for message in new)


async def _areplace(conversation: Conversation, messages: list[Message]) -> None:
    """Store `messages`; one whose id is taken by other content takes its place.

    LangGraph replaces a message by one of the same id: a reviewed tool call, a redacted text.
    What was replaced there must not be remembered here.
    """
    for message in messages:
        try:
            await conversation.aadd(message)
        except MessageConflict:
            await conversation.aforget([message.id])
            await conversation.aadd(message)
