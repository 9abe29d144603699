"""One entry of a router as a LangChain model: for a middleware that routes itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from langchain_core.language_models import BaseChatModel

from rag_memory_plugins.chat import Answer, ChatRequest, Delta, Gathered, Wanted
from rag_memory_plugins.errors import AnswerRejected, ProviderUnavailable
from rag_memory_plugins.langchain.chat_model import WrappedChatModel
from rag_memory_plugins.langchain.router_model import RouterChatModel
from rag_memory_plugins.portal import blocking
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.pieces import pieces_of
from rag_memory_plugins.router.router import Router

__all__ = ["Alone", "langchain_model"]


def langchain_model(entry: Model) -> BaseChatModel:
    """The entry's LangChain model; one made of it if it is of another kind."""
    chat = entry.chat
    if isinstance(chat, WrappedChatModel):
        return chat.wrapped
    return RouterChatModel(chat if isinstance(chat, Router) else Alone(entry))


class Alone(Router):
    """A router of one entry that asks it and does nothing else: who uses it routes.

    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> langchain_model(Model(ScriptedModel("Hello!"))).invoke("Hi").text
    'Hello!'
    """

    def __init__(self, entry: Model) -> None:
        super().__init__([entry])
        self._entry = entry

    async def aanswer(self, request: Wanted) -> Answer:
        """The whole answer. Raises what the model raises, as a `ProviderError`."""
        request = ChatRequest.of(request)
        gathered, native = Gathered(), None
        async with aclosing(self.astream(request)) as pieces:
            async for delta in pieces:
                gathered.add(delta)
                native = delta.native or native
        answer = gathered.answer(model=self._entry.name, native=native, request_id=request.id)
        if gathered.broken_call:
            message = f"{self._entry.name}: it calls {gathered.broken_call} with broken arguments"
            raise AnswerRejected(message, model=self._entry.name)
        if request.accept is not None:
            try:
                request.accept(answer)
            except ValueError as error:
                raise AnswerRejected(f"{self._entry.name}: {error}") from error
        return answer

    async def astream(self, request: Wanted) -> AsyncGenerator[Delta, None]:
        """The answer in pieces; a `ProviderError` if it breaks off."""
        request = ChatRequest.of(request)
        entry, finish = self._entry, ""
        seconds = request.timeout or entry.timeouts.total
        async with aclosing(pieces_of(entry, request, seconds)) as pieces:
            async for delta in pieces:
                finish = delta.finish or finish
                yield delta
        if not finish:
            raise ProviderUnavailable(f"{entry.name}: the answer was cut off", model=entry.name)

    answer = blocking(aanswer)  # type: ignore[arg-type]  # of this class alone
