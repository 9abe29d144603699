"""Tenants cannot touch each other: hostile ids, equal texts, every public method."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import MessageConflict
from rag_memory_plugins.testing.fakes import WordEmbedder

HOSTILE = [
    "a", "A", "a ", "a/b", "a:b", "a%2Fb", "*", "%", "_", "a%", "' OR 1=1 --", '"', "tenant1",
    "tenant10", "caf\u00e9", "cafe\u0301", "\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m", "\u202e", "\u200b", "SHARED",
    "None", "null", "..", "../a", "{}", "$ne", "\U0001f600",
]  # fmt: skip
TEXTS = ["yes", "the piano is blue", "the piano is blue?", "the piano is green", "Anna likes tea"]
ids = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)


@settings(
    max_examples=500 if os.environ.get("RAG_MEMORY_LONG") == "1" else 40,
    suppress_health_check=list(HealthCheck),
)
@given(
    scopes=st.lists(st.tuples(ids, ids), min_size=3, max_size=3, unique=True),
    session=ids,
    said=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(TEXTS)), min_size=3, max_size=25),
    erased=st.integers(0, 2),
)
def test_no_public_method_shows_or_touches_another_tenants_messages(
    tmp_path_factory, scopes, session, said, erased
):
    path = tmp_path_factory.mktemp("isolation") / "memory.db"
    with open_memory(path, embedder=WordEmbedder(), background=False, drain_seconds=0) as memory:
        places = [memory.conversation(tenant, user, session) for tenant, user in scopes]
        model = [[], [], []]
        for number, (owner, text) in enumerate(said):
            # Equal ids in every tenant, equal texts across them: the owner stands in metadata.
            message = Message("user", text, id=f"m{len(model[owner])}", metadata={"owner": owner})
            places[owner].add(message)
            model[owner].append(message)
            if number == 0:
                places[owner].pin(message.id, level="user")
        for _ in range(2):
            for owner, place in enumerate(places):
                seen = [hit.message for hit in place.search("the blue piano", 50)]
                seen += [near for hit in place.search("yes", 50) for near in hit.neighbours]
                seen += [m for part in place.context("piano", 3000).parts for m in part.messages]
                seen += [*place.messages(), *place.recent(100)]
                assert {message.metadata["owner"] for message in seen} <= {owner}
                assert list(place.messages()) == model[owner]
                assert [row["id"] for row in place.export("user")] == [m.id for m in model[owner]]
                assert place.stats().messages == len(model[owner])
            receipt = places[erased].erase(level="user")
            assert receipt.messages == len(model[erased])
            model[erased] = []


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
