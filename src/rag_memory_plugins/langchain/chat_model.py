"""A LangChain chat model as our `ChatModel`, and as an entry of a `Router`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, nullcontext
from typing import Any, Final, cast

from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config

from rag_memory_plugins.chat import ChatRequest, Delta, NativeMessages
from rag_memory_plugins.errors import ChatModelError, InvalidInput, shorten
from rag_memory_plugins.langchain.asking import Asked, field_of, unheard
from rag_memory_plugins.langchain.convert import to_langchain, to_message
from rag_memory_plugins.langchain.foreign import (
    for_model,
    known_settings,
    provider_of,
    tools_for,
)
from rag_memory_plugins.langchain.reading import Reading
from rag_memory_plugins.portal import Threads, get_portal
from rag_memory_plugins.router.models import Capabilities
from rag_memory_plugins.types import Message

__all__ = ["WrappedChatModel", "as_chat_model"]

LIMITS: Final = ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
"""What the integrations call the longest answer; the first that a model has is set."""

UNSEEN: Final = RunnableConfig(tags=["nostream"])
"""LangGraph streams what any model says inside a node; this one does not speak to the user."""

FORM: Final = "answer"


class WrappedChatModel:
    """A `BaseChatModel` as a `ChatModel` and a `StreamingChatModel`; made by `as_chat_model`.

    `astream`, which a `Router` calls, uses the model's async methods on the loop that asks, so that
    a cancelled request closes its connection at once. Behind the sync faces, and in `achat`, its
    blocking methods run in a thread of its own for each call: an async client is bound to the loop
    that used it first, which need not be ours. There a call that is cancelled goes on unseen until
    its next piece or its own time-out. Callbacks and traces of the caller see the call.
    """

    def __init__(self, model: BaseChatModel, name: str) -> None:
        self._model = model
        self.name = name
        self.provider = provider_of(model) or "langchain"
        self.model = _model_name(model)
        self._says_finish: dict[bool, bool] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def wrapped(self) -> BaseChatModel:
        """The model itself."""
        return self._model

    @property
    def window(self) -> int | None:
        """Tokens of a prompt, if the model's profile says."""
        return (self._model.profile or {}).get("max_input_tokens")

    @property
    def takes_schemas(self) -> bool:
        """Whether the model's provider enforces a JSON Schema, as its profile says."""
        return bool((self._model.profile or {}).get("structured_output"))

    @property
    def capabilities(self) -> Capabilities:
        """What the model's profile says it can do; what it does not say is taken for possible."""
        kind, says = type(self._model), self._model.profile or {}
        tools = kind.bind_tools is not BaseChatModel.bind_tools and says.get("tool_calling", True)
        return Capabilities(
            tools=tools,
            schema=tools or self.takes_schemas,
            vision=bool(says.get("image_inputs", False)),
            streaming=any(
                getattr(kind, name) is not getattr(BaseChatModel, name)
                for name in ("_stream", "_astream")
            ),
        )

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The answer, with its tool calls. `max_tokens` holds if the model has such a field.

        Raises `ChatModelError` for anything the model raises.
        """
        model = self._limited(max_tokens)

        def invoke() -> BaseMessage:
            return model.invoke([to_langchain(message) for message in messages], UNSEEN)

        thread = Threads(1, "rag-memory-chat")
        try:
            return to_message(await thread.run(invoke))
        except Exception as error:  # any model, any client: its errors share no base class
            raise ChatModelError(f"{self.name} failed: {shorten(error, 300)}") from error
        finally:
            thread.close()

    async def astream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The answer in pieces, each with its LangChain message as `native`; one without a stream.

        Raises what the model raises. What the model has no field for is left out of its settings.
        """
        bound, form = self._bound(request)
        reading = Reading(form)
        async with aclosing(self._pieces(bound, request)) as pieces:
            async for message in pieces:
                delta = reading.piece(message)
                if request.stream:
                    yield delta
        # One that has said it before and does not now was cut off.
        cut_off = self._says_finish.get(request.stream, False) and not reading.said_finish
        self._says_finish[request.stream] = cut_off or reading.said_finish
        last = reading.end(cut_off=cut_off)
        if request.stream:
            yield last
        else:
            yield Delta(
                delta.text, delta.reasoning, delta.tools, last.finish, delta.usage, delta.model,
                delta.native,
            )  # fmt: skip

    async def aclose(self) -> None:
        """Nothing: the model is its maker's."""

    def _limited(self, max_tokens: int | None) -> BaseChatModel:
        field = next((name for name in LIMITS if name in type(self._model).model_fields), None)
        if max_tokens is None or field is None:
            return self._model
        return self._model.model_copy(update={field: max_tokens})

    def _bound(self, request: ChatRequest) -> tuple[Runnable[Any, Any], str]:
        """The model with what the request sets, and the tool that stands for its schema."""
        native = request.native if isinstance(request.native, Asked) else Asked()
        model = self._limited(request.max_tokens)
        wanted = {"temperature": request.temperature, **request.options}
        update: dict[str | None, Any] = {
            field_of(model, name): value for name, value in wanted.items() if value is not None
        }
        update.pop(None, None)
        apart = native.quiet or request.scope is not None
        if apart and model.cache is None and get_llm_cache() is not None:
            # LangChain's cache for the process knows no tenants; a router's model has its own.
            update["cache"] = False
        if update:
            model = model.model_copy(update=cast("dict[str, Any]", update))
        given = {**request.options, **native.settings}
        settings = {name: given[name] for name in known_settings(model) & given.keys()}
        tools = list(native.tools) or [_openai(tool) for tool in request.tools]
        choice = {"required": "any"}.get(request.tool_choice, request.tool_choice)
        form = ""
        if request.schema is not None:
            if self.takes_schemas:
                settings["response_format"] = _format(request.schema)
            else:
                form = str(request.schema.get("title") or FORM)
                tools, choice = [*tools, _form(request.schema, form)], "any"
        if tools and choice != "none":
            if choice:
                settings["tool_choice"] = choice
            return model.bind_tools(tools_for(tools, model), **settings), form
        return (model.bind(**settings) if settings else model), form

    def _messages(self, request: ChatRequest) -> list[BaseMessage]:
        if isinstance(request.messages, NativeMessages):
            native = list(request.messages.native)
            if all(isinstance(message, BaseMessage) for message in native):
                return for_model(native, self._model)
        return [to_langchain(message) for message in request.messages]

    async def _pieces(
        self, bound: Runnable[Any, Any], request: ChatRequest
    ) -> AsyncGenerator[BaseMessage, None]:
        native = request.native if isinstance(request.native, Asked) else Asked()
        config = RunnableConfig(**UNSEEN)
        if native.quiet:
            config["callbacks"] = native.callbacks or []
            config["metadata"] = ensure_config().get("metadata") or {}
        messages, stream = self._messages(request), request.stream
        stop: dict[str, Any] = {"stop": list(request.stop)} if request.stop else {}
        silent = unheard if native.quiet else nullcontext

        def blocking() -> Iterator[BaseMessage]:
            with silent():  # the thread has a context of its own
                if stream:
                    yield from bound.stream(messages, config, **stop)
                else:
                    yield bound.invoke(messages, config, **stop)

        if get_portal().is_current_thread:
            async with aclosing(in_thread(blocking)) as pieces:
                async for piece in pieces:
                    yield piece
        elif not stream:
            with silent():
                answer = await bound.ainvoke(messages, config, **stop)
            yield answer
        else:
            found: Any = bound.astream(messages, config, **stop)
            async with aclosing(found) as chunks:
                with silent():  # who hears a call is settled before its first piece
                    first = await anext(chunks, None)
                if first is not None:
                    yield first
                async for chunk in chunks:
                    yield chunk


async def in_thread(
    work: Callable[[], Iterator[BaseMessage]],
) -> AsyncGenerator[BaseMessage, None]:
    """What a blocking iterator gives, run in a thread with the caller's context."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[BaseMessage | None] = asyncio.Queue()
    stopped = threading.Event()
    thread = Threads(1, "rag-memory-chat")

    def read() -> None:
        pieces: Any = work()
        try:
            for piece in pieces:
                if stopped.is_set():
                    return
                loop.call_soon_threadsafe(queue.put_nowait, piece)
        finally:
            pieces.close()

    reading = asyncio.ensure_future(thread.run(read))
    reading.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (piece := await queue.get()) is not None:
            yield piece
        await reading
    finally:
        stopped.set()
        reading.cancel()
        thread.close()


def as_chat_model(model: BaseChatModel, *, name: str | None = None) -> WrappedChatModel:
    """`model` as a `ChatModel`, for example for `LLMReranker(as_chat_model(model))`, or a `Router`.

    `name` replaces the class and model name. Make a model for a router with `max_retries=0` where
    it has that: its own retries take time that the router cannot see. Raises `InvalidInput` for
    anything but a `BaseChatModel`: a model with bound tools or fallbacks is another kind of
    runnable.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> as_chat_model(FakeListChatModel(responses=["Hi"]))
    WrappedChatModel('langchain:FakeListChatModel:unknown')
    """
    if not isinstance(model, BaseChatModel):
        got = f"{type(model).__module__}.{type(model).__name__}"
        raise InvalidInput("model", got, "pass a LangChain BaseChatModel")
    return WrappedChatModel(model, name or f"langchain:{type(model).__name__}:{_model_name(model)}")


def _model_name(model: BaseChatModel) -> str:
    # LangChain has no common name for it; these are what its partner packages use.
    for field in ("model_name", "model", "model_id", "deployment_name", "repo_id"):
        value = getattr(model, field, None)
        if isinstance(value, str) and value:
            return value
    return "unknown"


def _openai(tool: Any) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _form(schema: Any, name: str) -> dict[str, Any]:
    said = str(schema.get("description") or "How the answer is given.")
    function = {"name": name, "description": said, "parameters": dict(schema)}
    return {"type": "function", "function": function}


def _format(schema: Any) -> dict[str, Any]:
    name = str(schema.get("title") or FORM)
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(schema)}}
