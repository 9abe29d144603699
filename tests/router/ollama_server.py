"""What the tests of `ollama()` share: models that are installed, and a chat with a clock in hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta
from rag_memory_plugins.events import Event
from rag_memory_plugins.router import ollama_health
from rag_memory_plugins.router.ollama_chat import OllamaChat
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.types import Message

Q8 = Installed("llama3.1:8b-instruct-q8_0", 8_500_000_000, "8.0B", "Q8_0")
Q5 = Installed("llama3.1:8b-instruct-q5_K_M", 5_700_000_000, "8.0B", "Q5_K_M")
Q4 = Installed("llama3.1:8b-instruct-q4_0", 4_700_000_000, "8.0B", "Q4_0")


@contextmanager
def serving(*models: Installed) -> Iterator[FaultServer]:
    """A server that has `models`; at the end no request of its test has left a connection."""
    with pytest.MonkeyPatch.context() as patch, FaultServer(models=list(models)) as server:
        patch.setattr(ollama_health, "FIRST_SECONDS", 10.0)  # a busy machine is not what is tested
        yield server
        server.wait_for_connections(0)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """A chat of `server`, the clock it reads, and the events it told."""

    def __init__(
        self, server: FaultServer | str, model: str = "llama3.1:8b", **options: Any
    ) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.chat = OllamaChat(
            model,
            server if isinstance(server, str) else server.url,
            clock=self.clock,
            random=lambda: 0.5,
            hooks=(self.events.append,),
            **options,
        )

    async def pieces(self, request: ChatRequest | str = "Hello") -> list[Delta]:
        return [piece async for piece in self.chat.astream(ask(request))]

    def told(self, name: str) -> list[dict[str, object]]:
        return [dict(event.data) for event in self.events if event.name == name]


def ask(request: ChatRequest | str = "Hello", **fields: Any) -> ChatRequest:
    if isinstance(request, ChatRequest):
        return request
    return ChatRequest((Message("user", request),), **fields)
