"""What a listener on LlamaIndex's dispatcher hears of a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from pydantic import PrivateAttr

from rag_memory_plugins import Memory
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.llama_index import ScopedMemory
from rag_memory_plugins.llama_index.events import AssemblyEvent, DegradeEvent
from rag_memory_plugins.testing.fakes import WordEmbedder


class Listener(BaseEventHandler):
    """Keeps what it hears."""

    _heard: list[BaseEvent] = PrivateAttr(default_factory=list)

    @property
    def heard(self) -> list[BaseEvent]:
        return self._heard

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        return [event for event in self._heard if isinstance(event, kind)]

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self._heard.append(event)


@pytest.fixture
def listener() -> Iterator[Listener]:
    root, listener = get_dispatcher(), Listener()
    before = root.event_handlers
    root.event_handlers = [*before, listener]
    yield listener
    root.event_handlers = before


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    root, spans = get_dispatcher(), SimpleSpanHandler()
    before = root.span_handlers
    root.span_handlers = [*before, spans]
    yield spans
    root.span_handlers = before


def scoped(memory: Memory, budget: int = 4000) -> ScopedMemory:
    return ScopedMemory(memory.conversation("acme", "ann", "tuesday"), budget)


def test_a_context_is_told_of_once_a_turn(memory: Memory, listener: Listener) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    for _ in range(3):
        chat.get()
    (event,) = listener.of(AssemblyEvent)
    told = (event.namespace, event.mode, event.budget, event.tokens > 0)
    assert told == ("acme/ann/tuesday", "full", 4000, True)


async def test_an_async_get_is_told_of_too(memory: Memory, listener: Listener) -> None:
    chat = scoped(memory)
    await chat.aput(ChatMessage("where did I move?"))
    await chat.aget()
    assert len(listener.of(AssemblyEvent)) == 1


def test_tokens_of_the_parts_are_told(memory: Memory, listener: Listener) -> None:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    chat.get()
    (event,) = listener.of(AssemblyEvent)
    assert sorted(event.parts) == ["recent", "retrieved"]


def test_what_failed_is_told(opened: Callable[..., Memory], listener: Listener) -> None:
    words = WordEmbedder()
    memory = opened(embedder=words)
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    words.fail = True
    scoped(memory).get(input="where did I move?")
    reasons = [event.reason for event in listener.of(DegradeEvent)]
    assert any("dense" in reason for reason in reasons)


def test_an_event_stands_in_the_span_that_made_it(memory: Memory, listener: Listener) -> None:
    scoped(memory).get(input="where did I move?")
    (event,) = listener.of(AssemblyEvent)
    assert (event.span_id or "").startswith("ScopedMemory.aget-")


def test_every_get_is_a_span(memory: Memory, spans: SimpleSpanHandler) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    chat.get()
    chat.get()
    assert [span.id_.rpartition(".")[2][:5] for span in spans.completed_spans] == ["aget-"] * 2


def test_a_get_that_fails_is_a_dropped_span(memory: Memory, spans: SimpleSpanHandler) -> None:
    chat = scoped(memory, 20)
    chat.put(ChatMessage("which crane is green? " * 50))
    with pytest.raises(BudgetTooSmall):
        chat.get()
    assert len(spans.dropped_spans) == 1


def test_no_event_holds_a_messages_text(memory: Memory, listener: Listener) -> None:
    memory.conversation("acme", "ann", "monday").add("my secret is pomegranate")
    chat = scoped(memory, 200)
    chat.put(ChatMessage("what is my secret pomegranate?"))
    chat.put_messages([ChatMessage(f"pomegranate {n}", role="assistant") for n in range(40)])
    chat.get()
    chat.get(input="the pomegranate")
    assert listener.heard
    assert "pomegranate" not in "".join(event.model_dump_json() for event in listener.heard)


def test_a_listener_that_fails_does_not_stop_the_turn(
    memory: Memory, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Listener, event: BaseEvent, **kwargs: Any) -> None:
        raise RuntimeError("a listener of somebody else's")

    monkeypatch.setattr(Listener, "handle", fail)
    chat = scoped(memory)
    chat.put(ChatMessage("hello"))
    assert [message.content for message in chat.get()] == ["hello"]
