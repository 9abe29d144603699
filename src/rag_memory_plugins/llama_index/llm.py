"""A LlamaIndex language model as our `ChatModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.llm import LLM

from rag_memory_plugins.errors import ChatModelError, InvalidInput, shorten
from rag_memory_plugins.llama_index.convert import to_chat, to_message
from rag_memory_plugins.portal import Threads
from rag_memory_plugins.types import Message

__all__ = ["WrappedLLM", "as_chat_model"]

LIMITS: Final = ("max_tokens", "max_output_tokens", "max_new_tokens")
"""What the integrations call the longest answer; the first that a model has is set."""


class WrappedLLM:
    """An `LLM` as a `ChatModel`; made by `as_chat_model`.

    Its blocking `chat` runs in a thread of its own for each call: an async client is bound to the
    loop that used it first, which need not be ours, and a model whose `achat` blocks would stop
    the loop. So a call that is cancelled goes on unseen until the model's own timeout.
    """

    def __init__(self, llm: LLM, name: str) -> None:
        self._llm = llm
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The answer, with its tool calls. `max_tokens` holds if the model has such a field.

        Raises `ChatModelError` for anything the model raises.
        """
        llm = self._llm
        field = next((name for name in LIMITS if name in type(llm).model_fields), None)
        if max_tokens is not None and field is not None:
            llm = llm.model_copy(update={field: max_tokens})

        def chat() -> ChatResponse:
            return llm.chat([to_chat(message) for message in messages])

        thread = Threads(1, "rag-memory-chat")
        try:
            return to_message((await thread.run(chat)).message)
        except Exception as error:  # any model, any client: its errors share no base class
            raise ChatModelError(f"{self.name} failed: {shorten(error, 300)}") from error
        finally:
            thread.close()

    async def aclose(self) -> None:
        """Nothing: the model is its maker's."""


def as_chat_model(llm: LLM, *, name: str | None = None) -> WrappedLLM:
    """`llm` as a `ChatModel`, for example for `LLMReranker(as_chat_model(llm))`.

    `name` replaces the class and model name. Raises `InvalidInput` for anything but an `LLM`.

    >>> from llama_index.core.llms import MockLLM
    >>> as_chat_model(MockLLM())
    WrappedLLM('llama-index:MockLLM:unknown')
    """
    if not isinstance(llm, LLM):
        got = f"{type(llm).__module__}.{type(llm).__name__}"
        raise InvalidInput("llm", got, "pass a LlamaIndex LLM")
    return WrappedLLM(llm, name or f"llama-index:{type(llm).__name__}:{llm.metadata.model_name}")
