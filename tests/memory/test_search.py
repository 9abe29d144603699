"""Search: read your writes, own data only, degraded in the open."""

from __future__ import annotations

import random

import pytest

from rag_memory_plugins import Message
from rag_memory_plugins.errors import InvalidQuery
from rag_memory_plugins.testing.fakes import WordEmbedder

TOPICS = "garden bicycle piano harbour violet kitchen winter parrot compass lantern".split()


def chat(seed: int, turns: int) -> list[Message]:
    rng = random.Random(seed)
    return [
        Message(
            "user" if n % 2 else "assistant", " ".join(rng.choices(TOPICS, k=6)), id=f"{seed}-{n}"
        )
        for n in range(turns)
    ]


def scores(conversation, query="the piano by the harbour"):
    return [(hit.message.id, hit.score, dict(hit.parts)) for hit in conversation.search(query, 20)]


def test_what_was_just_said_is_found_by_meaning_too(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add("The parrot is called Kiko")
    found = ann.search("parrots")
    assert found[0].message.content == "The parrot is called Kiko"
    assert (found.lanes["keywords"], found.lanes["dense"]) == ("ok", "ok")


def test_a_large_backlog_is_counted_in_the_lanes(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(chat(1, 20))
    assert ann.search("piano").lanes["dense"] == "ok, 20 pending"
    assert memory.settle() == 0
    assert ann.search("piano").lanes["dense"] == "ok"


def test_other_tenants_change_no_score_by_one_bit(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(chat(1, 60))
    memory.settle()
    before = scores(ann)
    for tenant in range(200):
        memory.conversation(f"tenant{tenant}", "ann", "monday").add(chat(tenant + 2, 10))
    memory.settle()
    for tenant in range(200):
        memory.conversation(f"tenant{tenant}", "ann", "monday").search("piano")
    assert scores(ann) == before


def test_a_cold_cache_a_warm_one_and_a_rebuilt_index_score_alike(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    for message in chat(1, 100):
        ann.add(message)
        ann.search("piano")  # the warm columns grow row by row
    warm = scores(ann)
    assert scores(opened().conversation("acme", "ann", "monday")) == warm
    memory.rebuild()
    memory.settle()
    assert scores(ann) == warm


def test_a_cache_too_small_for_one_user_answers_the_same(opened):
    large, small = opened(), opened(cache_bytes=1)
    for user in ("ann", "bob"):
        large.conversation("acme", user, "monday").add(chat(1, 40))
    large.settle()
    for _ in range(2):
        for user in ("ann", "bob"):
            place = ("acme", user, "monday")
            assert scores(small.conversation(*place)) == scores(large.conversation(*place))


def test_another_sessions_turns_are_found_unless_one_session_is_asked_for(opened):
    memory = opened()
    memory.conversation("acme", "ann", "monday").add("The parrot is called Kiko", id="m1")
    tuesday = memory.conversation("acme", "ann", "tuesday")
    tuesday.add("Good morning", id="t1")
    assert tuesday.search("parrot")[0].session == "monday"
    assert [hit.message.id for hit in tuesday.search("parrot", level="session")] == ["t1"]


def test_system_messages_are_kept_but_not_recalled(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add([Message("system", "Talk about the parrot"), Message("user", "the parrot eats nuts")])
    assert [hit.message.role for hit in ann.search("parrot")] == ["user"]
    assert ann.search("parrot").lanes["dense"] == "ok"


def test_a_hit_has_its_parts_and_its_neighbours(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add(["before", "the parrot is green", "after"])
    hit = ann.search("parrot", 1)[0]
    assert [m.content for m in hit.neighbours] == ["before", "after"]
    assert sum(hit.parts.values()) == pytest.approx(hit.score)


def test_a_failing_embedder_costs_its_lane_and_nothing_else(opened, words):
    events = []
    memory = opened(hooks=[events.append])
    ann = memory.conversation("acme", "ann", "monday")
    words.fail = True
    ann.add(["The parrot is called Kiko", "It rained"])
    found = ann.search("parrot")
    assert found[0].message.content == "The parrot is called Kiko"
    assert found.lanes["dense"].startswith("failed:")
    assert "told to fail" in found.degraded[0]
    assert memory.settle() == 2
    assert "outbox.failed" in [event.name for event in events]
    words.fail = False
    assert ann.search("parrot").lanes["dense"] == "ok"
    assert ann.search("parrot").degraded == ()
    assert ann.stats().pending == 0


def test_without_an_embedder_keywords_answer_and_say_so(opened):
    ann = opened(embedder=None).conversation("acme", "ann", "monday")
    ann.add(["The parrot is called Kiko", "It rained", "We went home"])
    found = ann.search("parrots?")
    assert found[0].message.content == "The parrot is called Kiko"
    assert found.lanes["dense"] == "off: opened with embedder=None"
    assert len(ann.search("submarine")) == 0


def test_another_embedder_gets_its_own_vectors_and_the_first_comes_back(opened):
    first = opened(embedder=WordEmbedder(64, "one"))
    ann = first.conversation("acme", "ann", "monday")
    ann.add(chat(1, 30))
    first.settle()
    with_first = scores(ann)
    second = opened(embedder=WordEmbedder(32, "two"))
    other = second.conversation("acme", "ann", "monday")
    assert second.backlog() == 30
    assert other.search("piano").lanes["dense"] == "ok, 30 pending"
    second.settle()
    assert other.search("piano").lanes["dense"] == "ok"
    assert scores(ann) == with_first
    ann.add("one more piano", id="new")  # the first is in use again: it gets new messages too
    parts = {name: part for name, _, part in scores(ann)}
    assert parts["new"]["dense_turn"] != 0


def test_scripts_without_spaces_are_found_by_bigrams(opened):
    ann = opened(embedder=None).conversation("acme", "ann", "monday")
    ann.add(
        [
            "\u660e\u65e5\u6771\u4eac\u3078\u884c\u304d\u307e\u3059",
            "\u4eca\u65e5\u306f\u96e8",
            "hello",
        ]
    )
    assert ann.search("\u6771\u4eac")[0].message.content.startswith("\u660e\u65e5")


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("query", {"query": ""}),
        ("query", {"query": "  "}),
        ("query", {"query": None}),
        ("limit", {"query": "x", "limit": 0}),
        ("limit", {"query": "x", "limit": 1.5}),
        ("limit", {"query": "x", "limit": 10_000}),
        ("level", {"query": "x", "level": "tenant"}),
    ],
)
def test_a_search_that_cannot_be_run_is_refused(opened, field, call):
    ann = opened().conversation("acme", "ann", "monday")
    with pytest.raises(InvalidQuery, match=f"^{field}: got "):
        ann.search(**call)


def test_nothing_stored_and_one_message_are_no_special_case(opened):
    ann = opened().conversation("acme", "ann", "monday")
    assert len(ann.search("anything")) == 0
    ann.add("only this")
    assert [hit.score for hit in ann.search("anything else")] == [0.0]
