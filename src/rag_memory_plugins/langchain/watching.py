"""What of an answer has been seen while a model gives it: after that no other can take over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tracers.context import register_configure_hook

from rag_memory_plugins.chat import Delta, Gathered
from rag_memory_plugins.langchain.reading import Reading

__all__ = ["Watch"]

_watch: Final[ContextVar[BaseCallbackHandler | None]] = ContextVar("rag_memory_watch", default=None)
register_configure_hook(_watch, inheritable=False)


class Watch(BaseCallbackHandler):
    """Hears the pieces of every model that speaks to the user while `listening`.

    `begun` is called at the first. `gathered` is what came.
    """

    run_inline = True  # before whoever else hears a piece

    def __init__(self, begun: Callable[[], None], gathered: Gathered) -> None:
        self.seen = False
        self.gathered = gathered
        self._begun = begun
        self._silent: set[UUID] = set()
        self._readings: dict[UUID, Reading] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Models that are asked inside, in this context, are heard."""
        token = _watch.set(self)
        try:
            yield
        finally:
            _watch.reset(token)

    def end(self, message: AIMessage | None) -> None:
        """The whole answer has come: its usage, and its text if nobody saw it come."""
        if message is None:
            return
        piece = Reading().piece(message)
        self.gathered.add(Delta(usage=piece.usage, model=piece.model) if self.seen else piece)

    def on_chat_model_start(self, *_: Any, run_id: UUID, tags: Any = None, **__: Any) -> None:
        if "nostream" in (tags or ()):
            self._silent.add(run_id)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **_: Any) -> None:
        if run_id in self._silent:
            return
        if isinstance(chunk, ChatGenerationChunk):
            delta = self._readings.setdefault(run_id, Reading()).piece(chunk.message)
            self._saw(Delta(delta.text, delta.reasoning, delta.tools))
        else:
            self._saw(Delta(str(token)))

    def on_stream_event(self, event: Any, *, run_id: UUID, **_: Any) -> None:
        """A piece in LangChain's newer protocol, where pieces stand in blocks."""
        if run_id in self._silent or event.get("event") != "content-block-delta":
            return
        block = event.get("delta") or event.get("content_block") or {}
        self._saw(Delta(block.get("text") or "", block.get("reasoning") or ""), block=True)

    def _saw(self, delta: Delta, *, block: bool = False) -> None:
        self.gathered.add(delta)
        if not self.seen and (block or delta.has_content):
            self.seen = True
            self._begun()
