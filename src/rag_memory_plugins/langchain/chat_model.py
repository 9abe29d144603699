"""A LangChain chat model as our `ChatModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from rag_memory_plugins.errors import ChatModelError, InvalidInput, shorten
from rag_memory_plugins.langchain.convert import to_langchain, to_message
from rag_memory_plugins.portal import Threads
from rag_memory_plugins.types import Message

__all__ = ["WrappedChatModel", "as_chat_model"]

LIMITS: Final = ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
"""What the integrations call the longest answer; the first that a model has is set."""

UNSEEN: Final = RunnableConfig(tags=["nostream"])
"""LangGraph streams what any model says inside a node; this one does not speak to the user."""


class WrappedChatModel:
    """A `BaseChatModel` as a `ChatModel`; made by `as_chat_model`.

    Its blocking `invoke` runs in a thread of its own for each call: an async client is bound to
    the loop that used it first, which need not be ours. So a call that is cancelled goes on unseen
    until the model's own timeout. Callbacks and traces of the caller see the call.
    """

    def __init__(self, model: BaseChatModel, name: str) -> None:
        self._model = model
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The answer, with its tool calls. `max_tokens` holds if the model has such a field.

        Raises `ChatModelError` for anything the model raises.
        """
        model = self._model
        field = next((name for name in LIMITS if name in type(model).model_fields), None)
        if max_tokens is not None and field is not None:
            model = model.model_copy(update={field: max_tokens})

        def invoke() -> BaseMessage:
            return model.invoke([to_langchain(message) for message in messages], UNSEEN)

        thread = Threads(1, "rag-memory-chat")
        try:
            return to_message(await thread.run(invoke))
        except Exception as error:  # any model, any client: its errors share no base class
            raise ChatModelError(f"{self.name} failed: {shorten(error, 300)}") from error
        finally:
            thread.close()

    async def aclose(self) -> None:
        """Nothing: the model is its maker's."""


def as_chat_model(model: BaseChatModel, *, name: str | None = None) -> WrappedChatModel:
    """`model` as a `ChatModel`, for example for `LLMReranker(as_chat_model(model))`.

    `name` replaces the class and model name. Raises `InvalidInput` for anything but a
    `BaseChatModel`: a model with bound tools or fallbacks is another kind of runnable.

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
