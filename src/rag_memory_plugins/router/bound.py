"""A router on behalf of one tenant's user."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING

from rag_memory_plugins.chat import Answer, ChatRequest, Delta, Wanted
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import Portal, blocking
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.router.router import Router

__all__ = ["BoundRouter"]


class BoundRouter:
    """A router on behalf of one scope: what it is asked counts for that tenant and user."""

    def __init__(self, router: Router, scope: Scope) -> None:
        if not isinstance(scope, Scope):
            raise InvalidInput("scope", scope, "pass a rag_memory_plugins.Scope")
        self.router = router
        self.scope = scope
        self.name = router.name

    def __repr__(self) -> str:
        return f"{self.router!r}.bound({self.scope!r})"

    @property
    def portal(self) -> Portal:
        return self.router.portal

    async def achat(
        self, messages: Sequence[Message] | str, *, max_tokens: int | None = None
    ) -> Message:
        request = ChatRequest.of(messages, max_tokens=max_tokens, scope=self.scope)
        return (await self.router.aanswer(request)).message

    async def aanswer(self, request: Wanted) -> Answer:
        return await self.router.aanswer(ChatRequest.of(request, scope=self.scope))

    def astream(self, request: Wanted) -> AsyncGenerator[Delta, None]:
        return self.router.astream(ChatRequest.of(request, scope=self.scope))

    def stream(self, request: Wanted) -> Iterator[Delta]:
        """Sync form of `astream`."""
        return self.router.stream(ChatRequest.of(request, scope=self.scope))

    async def aclose(self) -> None:
        """Nothing: the router is its maker's."""

    answer = blocking(aanswer)
    chat = blocking(achat)
