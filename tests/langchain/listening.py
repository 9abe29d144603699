"""Our custom events, as LangChain hands them to callbacks."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler


class Heard(BaseCallbackHandler):
    """The (name, data) of every custom event."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.events.append((name, data))

    def reasons(self) -> list[str]:
        return [data["reason"] for name, data in self.events if name == "rag_memory_degrade"]
