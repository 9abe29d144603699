"""A LlamaIndex model behind OpenAI's protocol, made as its integrations are, over a real client."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI
from pydantic import PrivateAttr

from rag_memory_plugins.llama_index.blocks import plain
from rag_memory_plugins.llama_index.convert import to_message
from rag_memory_plugins.types import Message, ToolCall

PLAIN = {"verify": False, "trust_env": False}  # loading certificates takes 30 ms of CPU a client


class HttpLLM(FunctionCallingLLM):
    """Text and tool calls, sync, async and streamed, with what a provider says in `raw`."""

    base_url: str
    model: str = "small"
    max_tokens: int | None = None
    temperature: float | None = None
    _client: Any = PrivateAttr()
    _aclient: Any = PrivateAttr()

    def __init__(self, base_url: str, **fields: Any) -> None:
        super().__init__(base_url=base_url, **fields)
        how = {"base_url": base_url, "api_key": "x", "max_retries": 0}
        self._client = OpenAI(**how, http_client=DefaultHttpxClient(**PLAIN))
        self._aclient = AsyncOpenAI(**how, http_client=DefaultAsyncHttpxClient(**PLAIN))

    async def aclose(self) -> None:
        self._client.close()
        await self._aclient.close()

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=8_192,
            num_output=self.max_tokens or -1,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model,
        )

    def _body(self, messages: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        own = {"max_tokens": self.max_tokens, "temperature": self.temperature, **kwargs}
        chats = [_written(to_message(message)) for message in messages]
        known = {name: value for name, value in own.items() if value is not None}
        return {"model": self.model, "messages": chats, **known}

    @llm_chat_callback()
    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return _whole(self._client.chat.completions.create(**self._body(messages, kwargs)))

    @llm_chat_callback()
    async def achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return _whole(await self._aclient.chat.completions.create(**self._body(messages, kwargs)))

    @llm_chat_callback()
    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        def parts() -> Any:
            growing = _Growing()
            body = self._body(messages, kwargs)
            for chunk in self._client.chat.completions.create(**body, stream=True):
                yield growing.add(chunk)

        return parts()

    @llm_chat_callback()
    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        async def parts() -> Any:
            growing = _Growing()
            body = self._body(messages, kwargs)
            async for chunk in await self._aclient.chat.completions.create(**body, stream=True):
                yield growing.add(chunk)

        return parts()

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        own = {"tools": [tool.metadata.to_openai_tool() for tool in tools]}
        if kwargs.get("tool_required"):
            own["tool_choice"] = "required"
        words = ("verbose", "tool_required", "allow_parallel_tool_calls")
        return {
            "messages": [*(chat_history or []), *([user_msg] if user_msg else [])],
            **own,
            **{name: value for name, value in kwargs.items() if name not in words},
        }

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    acomplete = stream_complete = astream_complete = complete


class _Growing:
    """All that came so far, as integrations of this kind give it with every chunk."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: dict[int, list[str]] = {}

    def add(self, chunk: Any) -> ChatResponse:
        delta = chunk.choices[0].delta
        self.text += delta.content or ""
        for piece in delta.tool_calls or ():
            call = self.calls.setdefault(piece.index, ["", "", ""])
            call[0] = call[0] or piece.id or ""
            call[1] = call[1] or piece.function.name or ""
            call[2] += piece.function.arguments or ""
        calls = tuple(ToolCall(*self.calls[index]) for index in sorted(self.calls))
        message = plain(Message("assistant", self.text, tool_calls=calls))
        return ChatResponse(message=message, delta=delta.content or "", raw=chunk)


def _whole(completion: Any) -> ChatResponse:
    said = completion.choices[0].message
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments)
        for call in said.tool_calls or ()
    )
    message = plain(Message("assistant", said.content or "", tool_calls=calls))
    return ChatResponse(message=message, raw=completion)


def _written(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.tool_call_id:
        written["tool_call_id"] = message.tool_call_id
    return written


HELLO = [ChatMessage("Hello?")]
