"""A chat model within a budget, and one that remembers: runnables around a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.configurable import DynamicRunnable
from langgraph.runtime import Runtime

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, ChatModelError, InvalidInput
from rag_memory_plugins.langchain.around import Around, InTurn
from rag_memory_plugins.langchain.convert import to_message
from rag_memory_plugins.langchain.counting import BlockCounter, schema_tokens
from rag_memory_plugins.langchain.fitting import Sent, Work, fitted_call
from rag_memory_plugins.langchain.middleware import MemoryMiddleware
from rag_memory_plugins.langchain.prompt import Prompt, turn_start, unmixed
from rag_memory_plugins.langchain.telling import ADJUSTED, Adjustment
from rag_memory_plugins.memory.asking import aanswered
from rag_memory_plugins.memory.conversation import Conversation

__all__ = [
    "LimitedModel",
    "RememberingModel",
    "asked_with",
    "is_model",
    "marked_answer",
    "parted",
    "prepared",
]

Mark: TypeAlias = dict[str, Any]
"""What a request lost, as an answer's response_metadata tells it; empty if nothing."""


def is_model(step: object) -> bool:
    """Whether a runnable is a chat model, or one with arguments, retries or fallbacks bound."""
    if isinstance(step, RunnableBindingBase):
        return is_model(step.bound)
    if isinstance(step, RunnableWithFallbacks):
        return is_model(step.runnable)
    if isinstance(step, DynamicRunnable):
        return is_model(step.default)
    return isinstance(step, BaseChatModel)


def parted(
    messages: Sequence[BaseMessage],
) -> tuple[SystemMessage | None, list[BaseMessage]]:
    """The system message that messages begin with, and the rest."""
    if messages and isinstance(messages[0], SystemMessage):
        return messages[0], list(messages[1:])
    return None, list(messages)


def mark_of(adjustment: Adjustment) -> Mark:
    """`adjustment` as an answer tells it."""
    if not (adjustment.removed or adjustment.degraded):
        return {}
    return {ADJUSTED: {**vars(adjustment), "degraded": [*adjustment.degraded]}}


def marked_answer(message: Any, mark: Mark) -> Any:
    """An answer that tells what its request lost; what is no answer comes back as it is."""
    if not mark or not isinstance(message, AIMessage):
        return message
    return message.model_copy(update={"response_metadata": {**message.response_metadata, **mark}})


def _told_last(mark: Mark, output: Any) -> AIMessageChunk | None:
    """What ends a stream of chunks whose request lost something."""
    if not mark or not isinstance(output, AIMessageChunk):
        return None
    return AIMessageChunk(content="", id=output.id, response_metadata=mark)


def asked_with(given: object) -> list[BaseMessage]:
    """What a chat model is asked with, as messages. Raises `InvalidInput`."""
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, str):
        return [HumanMessage(given)]
    items = [given] if isinstance(given, BaseMessage) else given
    try:
        return convert_to_messages(cast("Sequence[Any]", items))
    except (ValueError, NotImplementedError, TypeError) as error:
        remedy = "pass a str, a prompt, or a list of messages"
        raise InvalidInput("input", given, remedy) from error


def _schemas(model: object, kwargs: Mapping[str, Any]) -> list[Any]:
    """Schemas of tools and response that go out beside the messages."""
    bound: dict[str, Any] = {}
    while not isinstance(model, BaseChatModel):
        if isinstance(model, RunnableBindingBase):
            bound, model = {**model.kwargs, **bound}, model.bound
        elif isinstance(model, RunnableWithFallbacks):
            model = model.runnable
        else:
            break
    bound = {**bound, **kwargs}
    wanted = bound.get("response_format")
    return [*(bound.get("tools") or ()), *([wanted] if isinstance(wanted, Mapping) else [])]


class LimitedModel(Around):
    """A chat model of which no request is larger than a budget; see `fitting` for what goes.

    What a memory put before the question joins it, because several providers refuse two user
    messages in a row.
    """

    def __init__(
        self, model: Runnable[Any, Any], budget: TokenBudget, conversation: Conversation
    ) -> None:
        super().__init__(model)
        self._room = budget.total - budget.completion
        self._conversation = conversation

    async def _abefore(self, given: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Mark]:
        messages = asked_with(given)
        counter = BlockCounter(self._conversation.memory.counter)
        schemas = _schemas(self.inner, kwargs)
        work = partial(self._fitted, messages, schemas, counter)
        sent, taken = await self.portal.acompute(work)
        adjustment = Adjustment.of(sent, taken, self._room)
        adjustment.tell(self._conversation)
        system = [] if (first := parted(messages)[0]) is None else [first]
        return [*system, *sent.messages], mark_of(adjustment)

    async def _aafter(self, pending: Mark, output: Any) -> Any:
        return marked_answer(output, pending)

    def _shown(self, pending: Mark, chunk: Any) -> Any:
        return chunk if isinstance(chunk, AIMessageChunk) else marked_answer(chunk, pending)

    def _last(self, pending: Mark, output: Any) -> Any:
        return _told_last(pending, output)

    def _fitted(
        self, messages: list[BaseMessage], schemas: list[Any], counter: BlockCounter
    ) -> tuple[Sent, int]:
        taken = schema_tokens(schemas, None, counter)
        system, rest = parted(messages)
        start = turn_start(rest)
        history, blocks = unmixed(rest[:start])
        turn, more = unmixed(rest[start:])
        prompt = Prompt((*blocks, *more), tuple(history))
        try:
            return fitted_call(Work(system, prompt, turn, self._room - taken), counter), taken
        except BudgetTooSmall as error:
            beside = f" (schemas take {taken} of it)" if taken else ""
            raise BudgetTooSmall("budget", self._room, error.remedy + beside) from error


class RememberingModel(InTurn):
    """A chat model that recalls for what it is asked, and stores question and answer.

    Its input is what a chat model takes: what the user says, or messages that end with it. A system
    message is sent and counted, never stored.
    """

    def __init__(
        self, model: Runnable[Any, Any], middleware: MemoryMiddleware, conversation: Conversation
    ) -> None:
        super().__init__(model)
        self._middleware = middleware
        self._conversation = conversation

    async def _abefore(self, given: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Mark]:
        system, rest = parted(asked_with(given))
        tools = _schemas(self.inner, kwargs)
        return await prepared(self._middleware, system, rest, tools)

    async def _aafter(self, pending: Mark, output: Any) -> Any:
        whole = message_chunk_to_message(output) if isinstance(output, BaseMessage) else None
        if not isinstance(whole, AIMessage):
            got = type(output).__name__
            raise ChatModelError(f"model: its answer is a {got}, which is no AIMessage")
        await aanswered(self._conversation, to_message(whole))
        await self._middleware.aafter_agent({"messages": []}, Runtime())
        return marked_answer(output, pending)

    def _shown(self, pending: Mark, chunk: Any) -> Any:
        return chunk if isinstance(chunk, AIMessageChunk) else marked_answer(chunk, pending)

    def _last(self, pending: Mark, output: Any) -> Any:
        return _told_last(pending, output)


async def prepared(
    middleware: MemoryMiddleware,
    system: SystemMessage | None,
    messages: list[BaseMessage],
    tools: Sequence[Any] = (),
) -> tuple[list[BaseMessage], Mark]:
    """What a model is sent for these messages, and what they lost; the turn is stored."""
    sent: list[BaseMessage] = [] if system is None else [system]

    async def take(request: ModelRequest[Any]) -> ModelResponse[Any]:
        sent.extend(request.messages)
        return ModelResponse(result=[AIMessage("")])

    request: ModelRequest[Any] = ModelRequest(
        model=cast("BaseChatModel", None),  # nobody asks it here
        messages=cast("list[Any]", messages),
        system_message=system,
        tools=list(tools),
        state=cast("AgentState[Any]", {"messages": messages}),
        runtime=Runtime(),
    )
    response = await middleware.awrap_model_call(request, take)
    return sent, dict(response.result[0].response_metadata)
