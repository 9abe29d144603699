"""Events of LlamaIndex's instrumentation, as whoever listens on its root hears them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from pydantic import PrivateAttr


class Listener(BaseEventHandler):
    """Keeps every event."""

    _events: list[BaseEvent] = PrivateAttr(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self._events.append(event)

    @property
    def events(self) -> list[BaseEvent]:
        return self._events


@contextmanager
def listening() -> Iterator[list[BaseEvent]]:
    """The events that are sent inside the block."""
    root = get_dispatcher()
    listener = Listener()
    root.event_handlers.append(listener)
    try:
        yield listener.events
    finally:
        root.event_handlers.remove(listener)


def of(events: list[BaseEvent], name: str) -> list[Any]:
    """The events of one class, by its `class_name`."""
    return [event for event in events if event.class_name() == name]
