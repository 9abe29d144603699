"""The real local model: what holds with a stand-in holds with it."""

from __future__ import annotations

import pytest

from rag_memory_plugins import TokenBudget

pytest.importorskip("onnxruntime", reason="needs the extra `local`")


def test_a_question_without_a_shared_word_finds_its_turn(opened):
    memory = opened(embedder="default")
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(
        [
            "The kitchen tap drips again.",
            "We bought a puppy yesterday and named it Biscuit.",
            "The train to Vienna leaves at nine.",
            "I passed my driving exam!",
        ]
    )
    found = ann.search("Do they own an animal?")
    assert "Biscuit" in found[0].message.content
    assert found.lanes == {"keywords": "ok", "dense": "ok"}
    context = ann.context("Do they own an animal?", TokenBudget(60, recent=0))
    assert "Biscuit" in context.text


def test_other_tenants_change_no_bit_even_when_embedded_in_the_same_batches(opened):
    memory = opened(embedder="default")
    ann = memory.conversation("acme", "ann", "monday")
    turns = [
        f"We talked about plan {n} for the garden, {'and the fence ' * (n % 9)}" for n in range(12)
    ]
    ann.add(turns)
    memory.settle(120)
    alone = [(h.message.content, h.score) for h in ann.search("fence around the garden", 12)]
    for tenant in range(6):
        other = memory.conversation(f"t{tenant}", "ann", "monday")
        other.add([f"{turn} {'long ' * (40 * tenant)}" for turn in turns])
    memory.rebuild()  # everything is embedded anew, in batches shared by all tenants
    assert memory.settle(120) == 0
    assert [
        (h.message.content, h.score) for h in ann.search("fence around the garden", 12)
    ] == alone


def test_a_long_message_is_found_by_its_end(opened):
    ann = opened(embedder="default").conversation("acme", "ann", "monday")
    ann.add(
        ["The harbour was quiet. " * 120 + "My sister's wedding is in October.", "Good morning."]
    )
    assert (
        "wedding"
        in ann.search("When does the marriage of her sibling take place?")[0].message.content
    )
