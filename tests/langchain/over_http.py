"""A LangChain chat model that asks an OpenAI server through the client library, without retries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx2 as httpx
import openai
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_openai_messages,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool


class HTTPChat(BaseChatModel):
    base_url: str
    model: str = "small"
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float = 20.0

    @property
    def _llm_type(self) -> str:
        return "http-chat"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if tool_choice is not None:
            named = {"type": "function", "function": {"name": tool_choice}}
            words = {"any": "required", "auto": "auto"}
            kwargs["tool_choice"] = words.get(tool_choice, named)
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _body(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> dict[str, Any]:
        limits = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        given = {
            **limits,
            **{k: v for k, v in kwargs.items() if k not in ("run_manager", "stream")},
        }
        body = {name: value for name, value in given.items() if value is not None}
        return {"model": self.model, "messages": convert_to_openai_messages(messages), **body}

    def _settings(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url, "api_key": "none", "max_retries": 0, "timeout": self.timeout
        }  # fmt: skip

    def _generate(self, messages: Any, stop: Any = None, *_: Any, **kwargs: Any) -> ChatResult:
        with openai.OpenAI(**self._settings()) as client:
            answer = client.chat.completions.create(
                **self._body(messages, {"stop": stop, **kwargs})
            )
        return _result(answer)

    async def _agenerate(
        self, messages: Any, stop: Any = None, *_: Any, **kwargs: Any
    ) -> ChatResult:
        body = self._body(messages, {"stop": stop, **kwargs})
        async with openai.AsyncOpenAI(**self._settings()) as client:
            return _result(await client.chat.completions.create(**body))

    def _stream(
        self, messages: Any, stop: Any = None, *_: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        body = self._body(messages, {"stop": stop, **kwargs, "stream_options": USAGE})
        with (
            openai.OpenAI(**self._settings()) as client,
            client.chat.completions.create(**body, stream=True) as chunks,
        ):
            for chunk in chunks:
                yield _chunk(chunk)

    async def _astream(
        self, messages: Any, stop: Any = None, *_: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        body = self._body(messages, {"stop": stop, **kwargs, "stream_options": USAGE})
        async with (
            openai.AsyncOpenAI(**self._settings()) as client,
            await client.chat.completions.create(**body, stream=True) as chunks,
        ):
            async for chunk in chunks:
                yield _chunk(chunk)


USAGE = {"include_usage": True}


def _usage(usage: Any) -> Any:
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _result(answer: Any) -> ChatResult:
    if not answer.choices:
        error = answer.model_extra.get("error") or {}
        request = httpx.Request("POST", "http://127.0.0.1")
        raise openai.APIError(str(error), request, body=error)
    choice = answer.choices[0]
    calls, broken = [], []
    for call in choice.message.tool_calls or ():
        raw = call.model_dump()
        try:
            calls.append(parse_tool_call(raw, return_id=True))
        except ValueError as error:
            function = raw["function"]
            broken.append(
                {"name": function["name"], "args": function["arguments"], "id": raw["id"],
                 "error": str(error), "type": "invalid_tool_call"}
            )  # fmt: skip
    message = AIMessage(
        choice.message.content or "",
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=_usage(answer.usage),
        response_metadata={
            "finish_reason": choice.finish_reason, "model_name": answer.model,
            "model_provider": "http-chat",
        },
    )  # fmt: skip
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(chunk: Any) -> ChatGenerationChunk:
    if not chunk.choices:
        message = AIMessageChunk("", usage_metadata=_usage(chunk.usage))
        return ChatGenerationChunk(message=message)
    choice = chunk.choices[0]
    calls = [
        tool_call_chunk(
            name=call.function.name, args=call.function.arguments, id=call.id, index=call.index
        )
        for call in choice.delta.tool_calls or ()
    ]
    said = {"finish_reason": choice.finish_reason, "model_name": chunk.model}
    metadata = said if choice.finish_reason else {}
    return ChatGenerationChunk(
        message=AIMessageChunk(
            choice.delta.content or "", tool_call_chunks=calls, response_metadata=metadata
        )
    )
