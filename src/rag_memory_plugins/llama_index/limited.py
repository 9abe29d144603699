"""A LlamaIndex language model that is never asked more than a budget holds."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from pydantic import PrivateAttr, SerializeAsAny

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, InvalidInput
from rag_memory_plugins.llama_index.counting import tool_tokens
from rag_memory_plugins.llama_index.events import TrimEvent, degraded, dispatcher
from rag_memory_plugins.llama_index.fitting import fitted_chats
from rag_memory_plugins.memory.arguments import checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.rendering import Fence
from rag_memory_plugins.portal import strict
from rag_memory_plugins.ports import TokenCounter
from rag_memory_plugins.tokens import make_counter

if TYPE_CHECKING:
    from llama_index.core.tools import BaseTool

__all__ = ["LimitedLLM"]

_MIRRORED: Final = (
    "callback_manager",
    "system_prompt",
    "messages_to_prompt",
    "completion_to_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
)


_SLACK: Final = 16  # LlamaIndex counts a prompt that it fills a few tokens lower than it is sent


class LimitedLLM(FunctionCallingLLM):
    r"""`llm`, asked with at most `budget` tokens a call, schemas of tools included.

    LlamaIndex never trims what an agent gathers during a turn. Here every chat request is made to
    fit, by the rules of `memory.fitting.fitted`, and goes to the same method of `llm`: history
    goes first, then results of tools are shortened, then the oldest rounds of tools go; a call is
    never parted from its result. Each cut is a `TrimEvent`. Raises `BudgetTooSmall` (with a
    `DegradeEvent`, because some of LlamaIndex's synthesizers take that for an empty answer) when
    system prompt, question and tools alone are too much.

    A text completion has no parts that could be left out: it passes as it is, and a `DegradeEvent`
    tells of one that is too long. Structured predictions run as LlamaIndex's programs over these
    calls. `metadata` is the model's, its window no larger than the budget and an answer.

    `budget` may be a `TokenBudget`: its total without what it keeps for the answer. `counter` is
    the conversation's, else as `make_counter` makes it. `conversation` says whose blocks in a
    prompt may be moved or left out.

    >>> from llama_index.core.llms import MockLLM
    >>> chats = [ChatMessage("hello " * 50), ChatMessage("hi", role="assistant")]
    >>> LimitedLLM(MockLLM(), 30).chat([*chats, ChatMessage("a joke?")]).message.content
    'user: a joke?\nassistant: '
    """

    llm: SerializeAsAny[LLM]
    budget: int
    _counter: TokenCounter = PrivateAttr()
    _fence: Fence | None = PrivateAttr(default=None)

    @strict
    def __init__(
        self,
        llm: LLM,
        budget: int | TokenBudget,
        *,
        counter: str | TokenCounter | None = None,
        conversation: Conversation | None = None,
    ) -> None:
        if not isinstance(llm, LLM):
            raise InvalidInput("llm", type(llm).__name__, "pass a LlamaIndex LLM")
        if conversation is not None:
            checked_conversation(conversation)
        limit = TokenBudget.of(budget)
        mirrored: dict[str, Any] = {name: getattr(llm, name) for name in _MIRRORED}
        super().__init__(llm=llm, budget=limit.total - limit.completion, **mirrored)
        if counter is None and conversation is not None:
            counter = conversation.memory.counter
        self._counter = make_counter(counter)
        self._fence = None if conversation is None else conversation.fence

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "callback_manager":
            self.llm.callback_manager = value  # as engines set it where no model stands between

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> LimitedLLM:
        return self.model_copy(update={"llm": copy.deepcopy(self.llm, memo)})

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "LimitedLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The model's; its window holds a request of the budget and an answer, if it is larger."""
        known = self.llm.metadata
        room = max(1, self.budget - _SLACK) + max(known.num_output, 0)
        window = min(known.context_window, room)
        return known.model_copy(update={"context_window": window})

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.llm.chat(self._fitted(messages), **kwargs)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self.llm.achat(await self._afitted(messages), **kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self.llm.stream_chat(self._fitted(messages), **kwargs)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        return await self.llm.astream_chat(await self._afitted(messages), **kwargs)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self.llm.complete(self._told(prompt), formatted=formatted, **kwargs)

    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        return await self.llm.acomplete(self._told(prompt), formatted=formatted, **kwargs)

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        return self.llm.stream_complete(self._told(prompt), formatted=formatted, **kwargs)

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        return await self.llm.astream_complete(self._told(prompt), formatted=formatted, **kwargs)

    def chat_with_tools(  # type: ignore[override]  # what it does not name goes on as it came
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        request = self._request(tools, user_msg, chat_history)
        return self._calling().chat_with_tools(tools, **request, **kwargs)

    async def achat_with_tools(  # type: ignore[override]
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        request = await asyncio.to_thread(self._request, tools, user_msg, chat_history)
        return await self._calling().achat_with_tools(tools, **request, **kwargs)

    def stream_chat_with_tools(  # type: ignore[override]
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponseGen:
        request = self._request(tools, user_msg, chat_history)
        return self._calling().stream_chat_with_tools(tools, **request, **kwargs)

    async def astream_chat_with_tools(  # type: ignore[override]
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        request = await asyncio.to_thread(self._request, tools, user_msg, chat_history)
        return await self._calling().astream_chat_with_tools(tools, **request, **kwargs)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The model's; none where it cannot call tools and none have to be."""
        if not error_on_no_tool_call and not isinstance(self.llm, FunctionCallingLLM):
            return []
        return self._calling().get_tool_calls_from_response(
            response, error_on_no_tool_call=error_on_no_tool_call, **kwargs
        )

    def _prepare_chat_with_tools(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._calling()._prepare_chat_with_tools(*args, **kwargs)  # noqa: SLF001  # its own

    def _calling(self) -> FunctionCallingLLM:
        if not isinstance(self.llm, FunctionCallingLLM):
            name = type(self.llm).__name__
            raise InvalidInput("llm", name, "pass a FunctionCallingLLM to use tools")
        return self.llm

    def _request(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None,
        chat_history: list[ChatMessage] | None,
    ) -> dict[str, Any]:
        """`user_msg` and `chat_history`, made to fit beside the tools."""
        if isinstance(user_msg, str):
            user_msg = ChatMessage(user_msg, role=MessageRole.USER)
        chats = [*(chat_history or []), *([user_msg] if user_msg is not None else [])]
        made = self._fitted(chats, tools)
        if user_msg is None or not made or made[-1].role != user_msg.role:
            return {"chat_history": made}
        return {"user_msg": made[-1], "chat_history": made[:-1]}

    async def _afitted(self, chats: Sequence[ChatMessage]) -> list[ChatMessage]:
        # Counting a long result for the first time takes a while; the loop serves others too.
        return await asyncio.to_thread(self._fitted, chats)

    def _fitted(
        self, chats: Sequence[ChatMessage], tools: Sequence[BaseTool] = ()
    ) -> list[ChatMessage]:
        taken = tool_tokens(tools, self._counter)
        try:
            made = fitted_chats(chats, self.budget - taken, self._counter, self._fence)
        except BudgetTooSmall as error:
            remedy = f"{error.remedy} (schemas of tools take {taken} of it)" if taken else ""
            refused = BudgetTooSmall("budget", self.budget, remedy or error.remedy)
            degraded(self._source, str(refused))
            raise refused from error
        if made.removed:
            dispatcher.event(
                TrimEvent(
                    source=self._source,
                    original=len(chats),
                    kept=len(made.chats),
                    tokens=made.tokens + taken,
                    available=self.budget,
                    removed=made.removed,
                )
            )
        for reason in made.degraded:
            degraded(self._source, reason)
        return made.chats

    def _told(self, prompt: str) -> str:
        tokens = self._counter.count(prompt)
        if tokens > self.budget:
            reason = f"a prompt of {tokens} tokens was sent whole; the budget is {self.budget}"
            degraded(self._source, reason)
        return prompt

    @property
    def _source(self) -> str:
        return f"LimitedLLM({self.llm.metadata.model_name})"
