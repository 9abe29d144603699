"""Whether a pin can be kept: what is pinned is in every context, so it must fit into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.filters import Filter
from rag_memory_plugins.memory.draft import Draft
from rag_memory_plugins.memory.units import units_of

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = ["acheck_pins"]


async def acheck_pins(conversation: Conversation, message_id: str) -> None:
    """Raise `BudgetTooSmall` if the pins with this one are over the anchors' share.

    An id that is not stored is left to the log, which refuses it.
    """
    memory, namespace = conversation.memory, conversation.namespace
    new = await memory.log.afind(namespace, Filter(ids=[message_id]), 1, "session")
    pins = await memory.log.apins(namespace)
    held = [item for item in pins if item.message.id != message_id]
    items = sorted([*held, *new], key=lambda item: item.seq)
    groups = sorted({item.group for item in items if item.group is not None})
    whole = await memory.log.agroups(namespace.scope, groups) if groups else []
    budget = memory.budget
    room = budget.available // 2 if budget.anchors is None else budget.anchors
    draft = Draft("", budget, memory.counter, conversation.fence, "", room)
    draft.anchors = units_of(items, whole)
    if new and draft.tokens() > room:
        remedy = f"with it the pins take {draft.tokens()} tokens; unpin some, or open the memory"
        raise BudgetTooSmall("pin", room, f"{remedy} with a larger budget")
