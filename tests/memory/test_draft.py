"""A context in the making: what stands in its blocks."""

from __future__ import annotations

from datetime import datetime, timezone

from rag_memory_plugins import Message, TokenBudget
from rag_memory_plugins.memory.draft import Draft
from rag_memory_plugins.memory.rendering import Fence
from rag_memory_plugins.memory.units import Unit
from rag_memory_plugins.ports import StoredMessage
from rag_memory_plugins.tokens import make_counter

MAY = datetime(2023, 5, 8, 12, tzinfo=timezone.utc)


def test_another_passage_of_the_same_length_is_rendered_anew():
    counter = make_counter("words")
    draft = Draft("lamps?", TokenBudget(500), counter, Fence("secret", "key"), "", room=500)
    for text in ("The hall has nine lamps.", "The yard has zero lamps."):
        message = Message("user", text, id="m1", time=MAY)
        draft.retrieved = [Unit([StoredMessage(1, "s", message, None)])]
        ((_, (block,)),) = draft.messages()
        assert text in block.content
