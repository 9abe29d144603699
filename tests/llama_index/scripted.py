"""A LlamaIndex model that answers from a script and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from pydantic import PrivateAttr

from rag_memory_plugins import Message, ToolCall
from rag_memory_plugins.llama_index.blocks import calls, plain

Call = tuple[str, str, dict[str, Any]]
"""A tool call as (id, tool, arguments)."""
Reply = str | list[Call]


def calling(*made: Call, text: str = "") -> ChatMessage:
    """An assistant message that calls tools, as this version of LlamaIndex holds it."""
    wanted = tuple(ToolCall(key, name, json.dumps(given)) for key, name, given in made)
    return plain(Message("assistant", text, tool_calls=wanted))


def result(call_id: str, text: str) -> ChatMessage:
    """What a tool gave."""
    return ChatMessage(text, role="tool", additional_kwargs={"tool_call_id": call_id})


class ScriptedLLM(FunctionCallingLLM):
    """Gives `replies` in order; `asked` holds the messages of every call."""

    _replies: list[Reply] = PrivateAttr()
    _asked: list[list[ChatMessage]] = PrivateAttr(default_factory=list)

    def __init__(self, *replies: Reply) -> None:
        super().__init__()
        self._replies = list(replies)

    @property
    def asked(self) -> list[list[ChatMessage]]:
        return self._asked

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        self._asked.append([message.model_copy(deep=True) for message in messages])
        reply = self._replies.pop(0)
        message = (
            ChatMessage(reply, role=MessageRole.ASSISTANT)
            if isinstance(reply, str)
            else calling(*reply)
        )
        return ChatResponse(message=message, delta=message.content)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.chat(messages)

    def stream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> Generator[ChatResponse, None, None]:
        whole = self.chat(messages)

        def parts() -> Generator[ChatResponse, None, None]:
            words = (whole.message.content or "").split(" ")
            for index in range(len(words) - 1):
                text = " ".join(words[: index + 1]) + " "
                yield ChatResponse(
                    message=ChatMessage(text, role="assistant"), delta=words[index] + " "
                )
            yield ChatResponse(message=whole.message, delta=words[-1])

        return parts()

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> AsyncGenerator[ChatResponse, None]:
        async def parts() -> AsyncGenerator[ChatResponse, None]:
            for part in self.stream_chat(messages):
                yield part

        return parts()

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        return {"messages": [*(chat_history or []), *([user_msg] if user_msg else [])]}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        return [
            ToolSelection(
                tool_id=call.id, tool_name=call.name, tool_kwargs=json.loads(call.arguments)
            )
            for call in calls(response.message)
        ]

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.chat([ChatMessage(prompt)]).message.content or "")

    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        return self.complete(prompt)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


def texts(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    """(role, text) of messages."""
    return [(message.role.value, message.content or "") for message in messages]
