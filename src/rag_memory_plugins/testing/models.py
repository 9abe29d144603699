"""A chat model that says what a test wrote, and fails when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

from rag_memory_plugins.chat import ChatRequest, Delta, Usage
from rag_memory_plugins.types import Message

__all__ = ["ScriptedModel"]

Reply: TypeAlias = "str | BaseException | Sequence[Delta | BaseException]"


class ScriptedModel:
    """A model of the router without a provider: each request gets the next of `replies`, in turn.

    A reply is a text, an error to raise, or pieces and errors in a row. After the last it begins
    anew. `requests` are those it was sent.

    >>> import asyncio
    >>> model = ScriptedModel("one", "two")
    >>> request = ChatRequest((Message("user", "Count"),))
    >>> async def ask():
    ...     return [delta.text async for delta in model.astream(request)]
    >>> asyncio.run(ask()), asyncio.run(ask())
    (['one'], ['two'])
    """

    def __init__(self, *replies: Reply, name: str = "scripted") -> None:
        self.name = name
        self.provider = "scripted"
        self.replies = replies or ("",)
        self.requests: list[ChatRequest] = []
        self.closed = False

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The pieces of the next reply, raising the errors in it."""
        reply = self.replies[len(self.requests) % len(self.replies)]
        self.requests.append(request)
        if isinstance(reply, str):
            usage = Usage(len(request.messages), len(reply.split()))
            yield Delta(reply, finish="stop", usage=usage)
            return
        for piece in [reply] if isinstance(reply, BaseException) else reply:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The next reply as one message."""
        request = ChatRequest(tuple(messages), max_tokens=max_tokens)
        text = "".join([delta.text async for delta in self.astream(request)])
        return Message("assistant", text)

    async def aclose(self) -> None:
        self.closed = True
