"""A LlamaIndex language model as our `ChatModel`, and as an entry of a `Router`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM

from rag_memory_plugins.chat import ChatRequest, Delta
from rag_memory_plugins.errors import ChatModelError, InvalidInput, ProviderUnavailable, shorten
from rag_memory_plugins.llama_index.asking import Asked, asked
from rag_memory_plugins.llama_index.convert import to_chat, to_message
from rag_memory_plugins.llama_index.events import degraded
from rag_memory_plugins.llama_index.pieces import Reading
from rag_memory_plugins.portal import Threads, get_portal
from rag_memory_plugins.router.beside import ahead, from_thread
from rag_memory_plugins.router.models import Capabilities
from rag_memory_plugins.types import Message

__all__ = ["WrappedLLM", "as_chat_model"]

LIMITS: Final = ("max_tokens", "max_output_tokens", "max_new_tokens")
"""What the integrations call the longest answer; the first that a model has is set."""


class WrappedLLM:
    """An `LLM` as a `ChatModel` and a `StreamingChatModel`; made by `as_chat_model`.

    `astream` uses the model's async methods on the caller's own loop, so a cancelled request closes
    its connection at once. On the portal's loop, where sync faces run, the blocking methods run in
    a thread of their own: an async client is bound to the loop that used it first. So they do for
    `achat`, and for a model whose async methods would block the loop; such a call, cancelled, goes
    on unseen until its next piece.
    """

    def __init__(self, llm: LLM, name: str) -> None:
        known = llm.metadata
        self._llm = llm
        self._copy: tuple[dict[str, Any], dict[str, Any], LLM] | None = None
        self._lock = Lock()
        self.name = name
        self.provider = type(llm).__name__.lower()
        self.model = known.model_name
        # A window that nobody has set is LlamaIndex's default, which says nothing of the model.
        said = known.model_fields_set
        self.window = known.context_window if "context_window" in said else None
        self.num_output = known.num_output if "num_output" in said else None
        calls = isinstance(llm, FunctionCallingLLM) and known.is_function_calling_model
        self.capabilities = Capabilities(tools=calls, schema=calls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The answer, with its tool calls. `max_tokens` holds if the model has such a field.

        Raises `ChatModelError` for anything the model raises.
        """
        llm = self._limited(max_tokens, None)

        def chat() -> ChatResponse:
            return llm.chat([to_chat(message) for message in messages])

        thread = Threads(1, "rag-memory-chat")
        try:
            return to_message((await thread.run(chat)).message)
        except Exception as error:  # any model, any client: its errors share no base class
            raise ChatModelError(f"{self.name} failed: {shorten(error, 300)}") from error
        finally:
            thread.close()

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer in pieces, each with its `ChatResponse` as `native`.

        Raises what the model's client raises. A `schema` is filled in as the arguments of a tool
        that has to be called.
        """
        ask = asked(request, self.name, calls=self.capabilities.tools)
        said = ask.kwargs
        llm = self._limited(
            None if said.keys() & set(LIMITS) else request.max_tokens,
            None if "temperature" in said else request.temperature,
        )
        begun = False
        try:
            async with aclosing(self._deltas(llm, ask)) as deltas:
                async for delta in deltas:
                    begun = True
                    yield delta
        except ValueError as error:
            plain = ask.plainly()
            if begun or plain is None:
                raise
            # Integrations refuse blocks of others so: another model's thinking, before they ask.
            degraded(self.name, f"asked without the blocks it does not know: {error}")
            async with aclosing(self._deltas(llm, plain)) as deltas:
                async for delta in deltas:
                    yield delta
        except LookupError as error:  # an integration reads what is not there: choices[0] of none
            message = f"{self.name}: not an answer of a chat model: {shorten(error, 300)}"
            raise ProviderUnavailable(message) from error

    async def _deltas(self, llm: LLM, ask: Asked) -> AsyncGenerator[Delta, None]:
        reading = Reading()
        async with aclosing(self._responses(llm, ask)) as responses:
            async for response in responses:
                yield ask.unwrapped(reading.read(response, whole=not ask.streams))
        end = reading.end()
        yield replace(end, finish="stop") if ask.schema_tool else end

    async def aclose(self) -> None:
        """Nothing: the model is its maker's."""

    async def _responses(self, llm: LLM, ask: Asked) -> AsyncGenerator[ChatResponse, None]:
        if get_portal().is_current_thread or _blocks(llm):

            def blocking() -> Any:
                made = getattr(llm, ask.method)(*ask.args, **ask.kwargs)
                return made if ask.streams else [made]

            async with aclosing(from_thread(blocking)) as items:
                async for item in items:
                    yield item
            return
        made = await getattr(llm, f"a{ask.method}")(*ask.args, **ask.kwargs)
        if not ask.streams:
            yield made
            return
        async with aclosing(ahead(made)) as responses:
            async for response in responses:
                yield response

    def _limited(self, max_tokens: int | None, temperature: float | None) -> LLM:
        """The model, or a copy of it with these fields, if it has them.

        The last copy is kept while the model stays as it is: integrations make a client for each.
        """
        llm, known = self._llm, type(self._llm).model_fields
        limit = next((name for name in LIMITS if name in known), None)
        update: dict[str, Any] = {}
        if max_tokens is not None and limit is not None:
            update[limit] = max_tokens
        if temperature is not None and "temperature" in known:
            update["temperature"] = temperature
        if not update:
            return llm
        with self._lock:
            now = dict(vars(llm))
            if self._copy is not None:
                wanted, before, copy = self._copy
                same = now.keys() == before.keys()
                if wanted == update and same and all(before[key] is now[key] for key in now):
                    return copy
            made = llm.model_copy(update=update)
            self._copy = (update, now, made)
            return made


def _blocks(llm: LLM) -> bool:
    """Whether its async methods are CustomLLM's, which call the blocking ones on the loop."""
    # By name: LlamaIndex wraps inherited methods anew in every class.
    own = type(llm).achat.__qualname__ != CustomLLM.achat.__qualname__
    return isinstance(llm, CustomLLM) and not own


def as_chat_model(llm: LLM, *, name: str | None = None) -> WrappedLLM:
    """`llm` as a `ChatModel`, for `LLMReranker(as_chat_model(llm))` or `Router([...])`.

    `name` replaces the class and model name. In a router switch the integration's own retries off
    (`max_retries=0` in most), else they are over before another model is asked. The router reads
    window and tool calls from `llm.metadata`; nothing there says whether a model sees images:
    `Model(as_chat_model(llm), capabilities=Capabilities(vision=True))`. Raises `InvalidInput` for
    anything but an `LLM`.

    >>> from llama_index.core.llms import MockLLM
    >>> as_chat_model(MockLLM())
    WrappedLLM('llama-index:MockLLM:unknown')
    """
    if not isinstance(llm, LLM):
        got = f"{type(llm).__module__}.{type(llm).__name__}"
        raise InvalidInput("llm", got, "pass a LlamaIndex LLM")
    return WrappedLLM(llm, name or f"llama-index:{type(llm).__name__}:{llm.metadata.model_name}")
