"""Another tenant's id is of no use; every public method on every engine: test_isolation_machine.py."""

from __future__ import annotations

import pytest

from rag_memory_plugins.errors import MessageConflict


def test_another_tenants_id_can_be_neither_read_pinned_nor_forgotten(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("secret", id="m1")
    eve = memory.conversation("evil", "ann", "monday")
    with pytest.raises(ValueError, match="no such message"):
        eve.pin("m1")
    assert eve.forget("m1").messages == 0
    eve.add("mine", id="m1")
    with pytest.raises(MessageConflict):
        eve.add("yours", id="m1")
    assert [m.content for m in ann.messages()] == ["secret"]
