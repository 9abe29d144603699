"""A LangChain chat model that answers from a script and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

Reply = str | list[tuple[str, str, dict[str, Any]]] | AIMessage | Exception
"""A text, tool calls as (id, tool, arguments), a whole message, or an error to raise."""


class ScriptedModel(BaseChatModel):
    """Gives `replies` in order; `asked` holds the messages of every call, `schemas` the rest."""

    _replies: list[Reply] = PrivateAttr()
    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _bound: list[Any] = PrivateAttr(default_factory=list)
    _schemas: list[list[Any]] = PrivateAttr(default_factory=list)

    def __init__(self, *replies: Reply) -> None:
        super().__init__()
        self._replies = list(replies)

    @property
    def asked(self) -> list[list[BaseMessage]]:
        return self._asked

    @property
    def schemas(self) -> list[list[Any]]:
        """What every call was told of tools and of the wanted response, as JSON values."""
        return self._schemas

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        self._bound = [convert_to_openai_tool(tool) for tool in tools]
        if "response_format" in kwargs:
            self._bound.append(kwargs["response_format"])
        return self

    def _next(self, messages: Sequence[BaseMessage]) -> AIMessage:
        self._asked.append([message.model_copy(deep=True) for message in messages])
        self._schemas.append(self._bound)
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, AIMessage):
            return reply
        if isinstance(reply, str):
            return AIMessage(reply)
        calls = [ToolCall(id=i, name=name, args=args) for i, name, args in reply]
        return AIMessage("", tool_calls=calls)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])


class StreamingModel(ScriptedModel):
    """The same, a word at a time."""

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._next(messages)
        words = str(answer.text).split(" ")
        for index, word in enumerate(words):
            text = word if index == len(words) - 1 else f"{word} "
            yield ChatGenerationChunk(message=AIMessageChunk(text))
        if answer.tool_calls:
            chunks = [
                {"id": c["id"], "name": c["name"], "args": json.dumps(c["args"]), "index": n}
                for n, c in enumerate(answer.tool_calls)
            ]
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=chunks))


def texts(messages: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    """(type, text) of messages."""
    return [(message.type, str(message.text)) for message in messages]
