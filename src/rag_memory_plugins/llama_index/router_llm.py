"""`RouterLLM`: a router where LlamaIndex takes a language model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.generic_utils import (
    astream_chat_response_to_completion_response,
    chat_response_to_completion_response,
    stream_chat_response_to_completion_response,
)
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
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.types import BaseOutputParser, PydanticProgramMode
from pydantic import BaseModel, PrivateAttr

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index.requests import SchemaOf, ToolList, request_of
from rag_memory_plugins.llama_index.responses import (
    aparts,
    one_call,
    parts,
    response_of,
    selections,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import strict
from rag_memory_plugins.router.router import Router

if TYPE_CHECKING:
    from llama_index.core.prompts import PromptTemplate
    from llama_index.core.tools import BaseTool

__all__ = ["RouterLLM"]


class RouterLLM(FunctionCallingLLM):
    """A `Router` as a LlamaIndex model: chat, completion, tools, structured output, streams.

    Its models may be of LlamaIndex (`as_chat_model(llm)`) or the router's own; those of LlamaIndex
    get the messages, tools and keyword arguments as they were given here. `scope` says on whose
    behalf it asks, where a call does not (`scope=`). A response tells who answered, who failed and
    what it took in `additional_kwargs["router"]`, with `router.explain(request_id)` for the rest. A
    call may be given its `request_id=`, for `router.cancel`.

    Where a tool has to be called (structured predictions), an answer without a call that fits the
    tool is refused and another model is asked. A stream can go to another model until its first
    piece. `metadata` is the least of all candidates; tools can be called if one of them can.
    Raises what the router raises. The instrumentation's events of LlamaIndex models in it are told
    beside its own: each is an attempt.

    >>> from rag_memory_plugins.errors import ProviderLimited
    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> first, second = ScriptedModel(ProviderLimited("429"), name="a"), ScriptedModel("Hi!", name="b")
    >>> response = RouterLLM(Router([first, second])).chat([ChatMessage("Hello")])
    >>> response.message.content, response.additional_kwargs["router"]["model"]
    ('Hi!', 'b')
    """

    _router: Router | None = PrivateAttr(default=None)
    _scope: Scope | None = PrivateAttr(default=None)
    _marks: bool = PrivateAttr(default=False)

    @strict
    def __init__(
        self,
        router: Router,
        *,
        scope: Scope | None = None,
        system_prompt: str | None = None,
        callback_manager: CallbackManager | None = None,
        output_parser: BaseOutputParser | None = None,
        pydantic_program_mode: PydanticProgramMode = PydanticProgramMode.DEFAULT,
    ) -> None:
        if not isinstance(router, Router):
            raise InvalidInput("router", type(router).__name__, "pass a Router([...])")
        if scope is not None and not isinstance(scope, Scope):
            raise InvalidInput("scope", scope, "pass a rag_memory_plugins.Scope")
        super().__init__(
            system_prompt=system_prompt,
            callback_manager=callback_manager or CallbackManager([]),
            output_parser=output_parser,
            pydantic_program_mode=pydantic_program_mode,
        )
        self._router = router
        self._scope = scope

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> RouterLLM:
        """A copy over the same router: what it has learnt of its models is one thing."""
        return self.model_copy()

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "RouterLLM"

    @property
    def router(self) -> Router:
        """The router. Raises `InvalidInput` in what was pickled: connections do not travel."""
        router: Router | None = getattr(self, "_router", None)  # LlamaIndex drops it in pickles
        if router is None:
            raise InvalidInput("router", None, "make a RouterLLM(router) here; it was pickled")
        return router

    @property
    def scope(self) -> Scope | None:
        """On whose behalf it asks."""
        return self._scope

    @property
    def metadata(self) -> LLMMetadata:
        """The least of all candidates, of what is known of them."""
        router = self.router
        outputs = [getattr(model.chat, "num_output", None) for model in router.candidates]
        known: dict[str, Any] = {"num_output": min((n for n in outputs if n and n > 0), default=-1)}
        if router.window is not None:
            known["context_window"] = router.window
        return LLMMetadata(
            is_chat_model=True,
            is_function_calling_model=router.capabilities.tools,
            model_name=router.name,
            **known,
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._ask(messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._aask(messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream(messages, kwargs)

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        return self._astream(messages, kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return chat_response_to_completion_response(self._ask(_chats(prompt), kwargs))

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        return chat_response_to_completion_response(await self._aask(_chats(prompt), kwargs))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        return stream_chat_response_to_completion_response(self._stream(_chats(prompt), kwargs))

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        return astream_chat_response_to_completion_response(self._astream(_chats(prompt), kwargs))

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls of a response; arguments that are not whole yet as far as they came."""
        made = selections(response)
        if not made and error_on_no_tool_call:
            raise ValueError("the model called no tool")
        return made

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if isinstance(user_msg, str):
            user_msg = ChatMessage(user_msg, role=MessageRole.USER)
        asked = {**kwargs, "messages": [*(chat_history or []), *([user_msg] if user_msg else [])]}
        if not tools:
            return asked
        return {
            **asked,
            "tools": ToolList(tools),
            "tool_required": tool_required or self._marks,
            "allow_parallel_tool_calls": allow_parallel_tool_calls,
        }

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else one_call(response)

    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """An `output_cls`; a model whose answer is none is passed over."""
        known = self._predicting(output_cls, llm_kwargs)
        return super().structured_predict(output_cls, prompt, known, **prompt_args)

    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Async form of `structured_predict`."""
        known = self._predicting(output_cls, llm_kwargs)
        return await super().astructured_predict(output_cls, prompt, known, **prompt_args)

    def stream_structured_predict(self, *args: Any, **kwargs: Any) -> Generator[Any, None, None]:
        """The object as it grows. After its first piece no other model can take over."""
        return super(RouterLLM, self._marking()).stream_structured_predict(*args, **kwargs)

    async def astream_structured_predict(
        self, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """Async form of `stream_structured_predict`."""
        growing: AsyncGenerator[Any, None] = await super(
            RouterLLM, self._marking()
        ).astream_structured_predict(*args, **kwargs)
        return growing

    def _marking(self) -> RouterLLM:
        """A copy that has tools called, and shows calls where programs look in a stream."""
        copy = self.model_copy()
        copy._marks = True  # noqa: SLF001  # its own
        return copy

    def _predicting(
        self, output_cls: type[BaseModel], llm_kwargs: dict[str, Any] | None
    ) -> dict[str, Any]:
        """What a prediction is asked with: where no tool carries the schema, the schema."""
        mode, known = self.pydantic_program_mode, dict(llm_kwargs or {})
        tools = self.router.capabilities.tools and mode == PydanticProgramMode.DEFAULT
        if not tools and mode in (PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM):
            known["schema"] = SchemaOf(output_cls)
        return known

    def _request(
        self, chats: Sequence[ChatMessage], kwargs: dict[str, Any], *, stream: bool
    ) -> ChatRequest:
        schemas = self.router.capabilities.schema
        return request_of(chats, kwargs, scope=self._scope, stream=stream, schemas=schemas)

    def _ask(self, chats: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        request = self._request(chats, kwargs, stream=False)
        return response_of(self.router.answer(request), self.router.explain(request.id))

    async def _aask(self, chats: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        request = self._request(chats, kwargs, stream=False)
        return response_of(await self.router.aanswer(request), self.router.explain(request.id))

    def _stream(self, chats: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponseGen:
        request = self._request(chats, kwargs, stream=True)
        return parts(self.router, request, marks=self._marks)

    def _astream(
        self, chats: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> ChatResponseAsyncGen:
        request = self._request(chats, kwargs, stream=True)
        return aparts(self.router, request, marks=self._marks)


def _chats(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(prompt, role=MessageRole.USER)]
