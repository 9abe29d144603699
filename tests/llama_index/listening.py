"""Events of LlamaIndex's instrumentation, as whoever listens on its root hears them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from pydantic import PrivateAttr


class Heard(list[Any]):
    """Events, in order."""

    def named(self, name: str) -> list[Any]:
        """Those of a class of ours: `named("TrimEvent")`."""
        return [event for event in self if event.class_name() == f"RagMemory{name}"]

    @property
    def ours(self) -> list[Any]:
        return [event for event in self if event.class_name().startswith("RagMemory")]


class Listener(BaseEventHandler):
    """Keeps every event."""

    _heard: Heard = PrivateAttr(default_factory=Heard)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self._heard.append(event)

    @property
    def heard(self) -> Heard:
        return self._heard


@contextmanager
def listening() -> Iterator[Heard]:
    """The events that are sent inside the block."""
    root = get_dispatcher()
    listener = Listener()
    root.add_event_handler(listener)
    try:
        yield listener.heard
    finally:
        root.event_handlers.remove(listener)


def of(events: list[Any], name: str) -> list[Any]:
    """The events of one class, by its `class_name`."""
    return [event for event in events if event.class_name() == name]
