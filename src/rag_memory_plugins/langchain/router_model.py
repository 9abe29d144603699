"""A `Router` where LangChain expects a chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import BaseModel, SkipValidation

from rag_memory_plugins.chat import Answer
from rag_memory_plugins.errors import (
    AllModelsFailed,
    InvalidInput,
    UnknownArgument,
    nearest,
)
from rag_memory_plugins.langchain.asking import (
    told_tools,
    tracers,
)
from rag_memory_plugins.langchain.chat_model import WrappedChatModel
from rag_memory_plugins.langchain.router_call import RouterCall
from rag_memory_plugins.langchain.structured import Method, form_of, parsed_with
from rag_memory_plugins.langchain.writing import Writing, message_of
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.router import Router

__all__ = ["RouterChatModel", "profile_of"]


class RouterChatModel(BaseChatModel):
    """A `Router` as a LangChain chat model: tools, structured output, streams, sync and async.

    `scope` says on whose behalf it asks. `temperature`, `max_tokens`, `stop` and `timeout` (seconds,
    all attempts included) hold where a call says nothing. A call may set them too, and `model`, the
    entry that is asked first, and `request_id`, by which `Router.cancel` stops it; other keywords go
    to the provider, or to a LangChain model that has such a field.

    Entries of LangChain get messages and tools as they are, others translated. An answer that does
    not parse, or calls a tool with broken arguments, is asked of another model, unless it was
    streamed. `response_metadata["router"]` says who was asked and how it went. Callbacks hear one
    run a call; tracers see the entries' runs below it. Raises what the router raises.

    >>> from rag_memory_plugins.errors import ProviderLimited
    >>> from rag_memory_plugins.router.models import Model
    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> limited = Model(ScriptedModel(ProviderLimited("429"), name="first"), "first")
    >>> model = RouterChatModel(Router([limited, ScriptedModel("Hello!", name="second")]))
    >>> answer = model.invoke("Hi")
    >>> answer.text, [tried["model"] for tried in answer.response_metadata["router"]["attempts"]]
    ('Hello!', ['first', 'second'])
    """

    router: SkipValidation[Router]
    scope: SkipValidation[Scope | None] = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    timeout: float | None = None
    streaming: bool = False

    def __init__(self, router: Router | None = None, **fields: Any) -> None:
        known = type(self).model_fields
        for name, value in fields.items():
            if name not in known:
                raise UnknownArgument(f"RouterChatModel({name}=)", value, nearest(name, known))
        if not isinstance(router, Router):
            raise InvalidInput("router", type(router).__name__, "pass a Router")
        scope = fields.get("scope")
        if scope is not None and not isinstance(scope, Scope):
            raise InvalidInput("scope", scope, "pass a rag_memory_plugins.Scope")
        fields.setdefault("profile", profile_of(router))
        super().__init__(**{"router": router, **fields})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> RouterChatModel:
        return self.model_copy()  # what a router knows of failures is shared, like a client

    @property
    def _llm_type(self) -> str:
        return "rag-memory-router"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        # LangChain's caches go by these: an answer for one tenant is none for another.
        return {
            "models": [model.name for model in self.router.candidates],
            "mode": self.router.mode,
            "scope": None if self.scope is None else self.scope.key,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": self.stop,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "router"
        params.setdefault("ls_model_name", self.router.name)
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = RouterCall(self, messages, stop, kwargs, tracers(run_manager))
        try:
            answer = self.router.answer(asked.request)
        except AllModelsFailed as error:
            answer = asked.last(error)
        return self._result(answer)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = RouterCall(self, messages, stop, kwargs, tracers(run_manager))
        try:
            answer = await self.router.aanswer(asked.request)
        except AllModelsFailed as error:
            answer = asked.last(error)
        return self._result(answer)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asked = RouterCall(self, messages, stop, kwargs, tracers(run_manager))
        writing, deltas = Writing(), cast("Any", self.router.stream(asked.request))
        with closing(deltas):
            for delta in deltas:
                if (chunk := writing.chunk(delta)) is not None:
                    yield chunk
        yield writing.last(self.router, asked.request.id)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = RouterCall(self, messages, stop, kwargs, tracers(run_manager))
        writing = Writing()
        async with aclosing(self.router.astream(asked.request)) as deltas:
            async for delta in deltas:
                if (chunk := writing.chunk(delta)) is not None:
                    yield chunk
        yield writing.last(self.router, asked.request.id)

    # `with_fallbacks` keeps its fallbacks only if it can read what these return (#35170).

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools. `tool_choice` is "any", "auto", "none" or a tool's name."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=told_tools(tools, strict=kwargs.get("strict")), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answers of the form of `schema`; another model is asked where one does not parse.

        `method` is "function_calling" (by default), "json_schema", or "json_mode", for which the
        prompt must ask for JSON. With `include_raw` the last answer comes back even so.
        """
        for name, value in kwargs.items():
            known = ("include_raw", "method", "schema", "strict")
            raise UnknownArgument(f"with_structured_output({name}=)", value, nearest(name, known))
        form = form_of(schema, method or "function_calling", strict=strict, raw=include_raw)
        return parsed_with(self.bind(**form.bound), form, include_raw=include_raw)

    def _result(self, answer: Answer) -> ChatResult:
        message = message_of(self.router, answer)
        return ChatResult(generations=[ChatGeneration(message=message)])


def profile_of(router: Router) -> ModelProfile:
    """What every candidate holds, and what at least one can do: requests go to those that can.

    `structured_output` makes agents send tools and a schema at once, which not every provider
    takes: it is said only if all candidates are of LangChain and say it. Else agents use a tool.
    """
    can = router.capabilities
    profile = ModelProfile(
        tool_calling=can.tools,
        image_inputs=can.vision,
        structured_output=all(
            isinstance(model.chat, WrappedChatModel) and model.chat.takes_schemas
            for model in router.candidates
        ),
    )
    if router.window is not None:
        profile["max_input_tokens"] = router.window
    return profile
