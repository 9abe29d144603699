"""How a search is set: `Recall`, `window`, the reranker's place, and the events of its steps."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest

from rag_memory_plugins import Message, Recall, TokenBudget
from rag_memory_plugins.errors import InvalidInput, InvalidQuery
from rag_memory_plugins.ports import Encoded
from rag_memory_plugins.testing.fakes import WordEmbedder

SAID = [
    "We flew a kite", "It was red", "Was it windy?", "Very", "The harbour froze",
    "A parrot sang", "Nobody danced", "We ate plums", "Then it rained", "Good night",
]  # fmt: skip
NUMBERS = [item.name for item in fields(Recall)]


class TokenWords(WordEmbedder):
    """Words with one token vector for a whole text, whatever it says."""

    async def aencode_query(self, text):
        vector = await self.aembed_query(text)
        return Encoded(vector[None, :], np.ones((1, 4), np.int8), ((0, len(text)),))

    async def aencode_documents(self, texts):
        vectors = await self.aembed_documents(texts)
        return [Encoded(pieces, np.ones((1, 4), np.int8)) for pieces in vectors]


@pytest.fixture
def ann(opened):
    conversation = opened().conversation("acme", "ann", "monday")
    conversation.add([Message("user", text, id=f"m{n}") for n, text in enumerate(SAID)])
    conversation.memory.settle()
    return conversation


def ids(messages):
    return [message.id for message in messages]


def parts(found):
    return set().union(*(hit.parts for hit in found))


# ---- Recall ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, -math.inf, [1], 1j])
def test_a_setting_that_is_no_finite_number_is_refused_by_name(name, value):
    with pytest.raises(InvalidInput, match=f"^{name}: got "):
        Recall(**{name: value})


def test_a_number_that_no_float_can_hold_is_refused():
    with pytest.raises(InvalidInput, match=r"^late: got "):
        Recall(late=10**400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("half_life_days", 0),
        ("half_life_days", -1.0),
        ("diversity", -0.01),
        ("diversity", 1.01),
        ("candidates", -1),
        ("candidates", 1_001),
        ("candidates", 48.0),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(InvalidInput, match=f"^{name}: got "):
        Recall(**{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"half_life_days": 0.5},
        {"diversity": 0},
        {"diversity": 1},
        {"candidates": 0},
        {"candidates": 1_000},
        {"late": -1, "keywords": 0},
    ],
)
def test_the_ends_of_every_range_can_be_searched_with(ann, given):
    found = ann.search("a red kite", 5, recall=Recall(**given))
    assert all(math.isfinite(hit.score) for hit in found)
    assert len(found) == 5


@pytest.mark.parametrize("recall", ["default", {"late": 0}, 1, Recall])
def test_what_is_no_recall_is_refused_when_opening_and_when_searching(opened, ann, recall):
    with pytest.raises(InvalidInput, match=r"^recall: got "):
        opened(recall=recall)
    with pytest.raises(InvalidQuery, match=r"^recall: got "):
        ann.search("kite", recall=recall)


def test_a_memorys_recall_weighs_every_search_and_context(opened, ann):
    fresh = opened(recall=Recall(recency=5)).conversation("acme", "ann", "monday")
    assert "recency" in parts(fresh.search("kite"))
    assert "recency" not in parts(ann.search("kite"))
    pieces = fresh.context("kite", TokenBudget(2_000, recent=0)).pieces
    assert {piece.score for piece in pieces} == {hit.score for hit in fresh.search("kite", 50)}


def test_a_searchs_recall_stands_in_for_the_memorys_once(opened, ann):
    memory = opened(recall=Recall(recency=5))
    fresh = memory.conversation("acme", "ann", "monday")
    before = fresh.search("kite").hits
    assert "recency" not in parts(fresh.search("kite", recall=Recall()))
    assert fresh.search("kite", recall=Recall()).hits == ann.search("kite").hits
    assert fresh.search("kite").hits == before


def test_weights_decide_the_order(ann):
    # "windy" stands in a question, which steps back unless that is off.
    assert ann.search("windy", 1, recall=Recall(question=0))[0].message.id == "m2"
    assert ann.search("windy", 1, recall=Recall(question=-50))[0].message.id != "m2"


# ---- The window -----------------------------------------------------------------------------


def near(ann, query, limit=1, **given):
    return {hit.message.id: ids(hit.neighbours) for hit in ann.search(query, limit, **given)}


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (0, []),
        (1, ["m4", "m6"]),
        (2, ["m3", "m4", "m6", "m7"]),
        (20, [f"m{n}" for n in range(10) if n != 5]),
    ],
)
def test_a_hit_comes_with_as_many_to_either_side_as_asked_for(ann, window, expected):
    assert near(ann, "parrot", window=window) == {"m5": expected}


def test_one_to_either_side_is_what_comes_unasked(ann):
    assert near(ann, "parrot") == near(ann, "parrot", window=1)


def test_the_window_moves_no_score(ann):
    scores = [
        [(hit.message.id, hit.score) for hit in ann.search("red kite", 10, window=window)]
        for window in (0, 1, 2, 5)
    ]
    assert scores.count(scores[0]) == 4


def test_windows_that_overlap_show_every_message_once_beside_the_better_hit(ann):
    found = ann.search("a parrot sang, and nobody ate plums", 2, window=2)
    shown = [name for hit in found for name in (hit.message.id, *ids(hit.neighbours))]
    assert len(found) == 2
    assert len(set(shown)) == len(shown)
    first, second = found
    place = int(first.message.id[1:])
    other = int(second.message.id[1:])
    around = [n for n in range(place - 2, place + 3) if 0 <= n < 10 and n not in {place, other}]
    assert ids(first.neighbours) == [f"m{n}" for n in around]
    assert 0 < abs(place - other) <= 4


def test_windows_of_one_each_stand_alone(ann):
    found = near(ann, "a parrot sang, and nobody danced", limit=10, window=1)
    assert found["m5"] == ["m4", "m6"]
    assert found["m6"] == ["m5", "m7"]


def test_a_window_ends_where_its_session_does(opened, ann):
    tuesday = opened().conversation("acme", "ann", "tuesday")
    for text, name in (("A camel came", "t0"), ("It sneezed", "t1")):
        tuesday.add(text, id=name)
        ann.add("between the two", id=f"x{name}")
    assert near(tuesday, "camel", window=2) == {"t0": ["t1"]}
    assert near(tuesday, "Good night", window=2, level="user")["m9"] == ["m7", "m8", "xt0", "xt1"]


def test_a_filter_holds_inside_the_window(ann):
    ann.add([Message("assistant", "A lantern lit up", id="a0"), Message("user", "Ah", id="m10")])
    assert near(ann, "lantern", window=2) == {"a0": ["m8", "m9", "m10"]}
    assert near(ann, "lantern", window=2, roles="assistant") == {"a0": []}
    assert near(ann, "rained", window=2, roles="user") == {"m8": ["m6", "m7", "m9"]}


@pytest.mark.parametrize("window", [-1, 21, 1.0, True, "2", None])
def test_a_window_that_is_no_small_number_is_refused(ann, window):
    with pytest.raises(InvalidQuery, match=r"^window: got "):
        ann.search("kite", window=window)


# ---- The reranker's place -------------------------------------------------------------------


class Scripted:
    """Scores texts by `key`, or raises; counts its calls."""

    name = "scripted"

    def __init__(self, key):
        self.key = key
        self.calls = 0

    async def arerank(self, query, texts):
        self.calls += 1
        return [self.key(text) for text in texts]

    async def aclose(self):
        """Nothing."""


def rained_first(text):
    return "rained" in text


def broken(text):
    raise RuntimeError(text)


def test_a_reranker_lifts_what_stood_beyond_the_limit(opened, ann):
    assert "m8" not in ids(hit.message for hit in ann.search("red kite", 2))
    memory = opened(reranker=Scripted(rained_first))
    found = memory.conversation("acme", "ann", "monday").search("red kite", 2)
    assert found[0].message.id == "m8"
    assert len(found) == 2
    assert found.lanes["rerank"] == "ok"


def test_a_reranker_that_fails_leaves_the_order_there_was(opened, ann):
    found = (
        opened(reranker=Scripted(broken)).conversation("acme", "ann", "monday").search("kite", 3)
    )
    assert found.hits == ann.search("kite", 3).hits
    assert found.lanes["rerank"].startswith("failed: RuntimeError(")
    assert found.degraded[0].startswith("rerank: RuntimeError(")


@pytest.mark.parametrize("key", [rained_first, broken])
def test_a_hit_that_was_reranked_keeps_its_window(opened, ann, key):
    memory = opened(reranker=Scripted(key))
    found = memory.conversation("acme", "ann", "monday").search("parrot then rained", 1, window=2)
    place = int(found[0].message.id[1:])
    expected = [f"m{n}" for n in range(place - 2, place + 3) if n != place and 0 <= n < 10]
    assert ids(found[0].neighbours) == expected


def test_a_search_without_a_reranker_says_nothing_of_one(ann):
    assert "rerank" not in ann.search("kite").lanes


def test_nothing_found_is_not_reranked(opened):
    reranker = Scripted(rained_first)
    assert len(opened(reranker=reranker).conversation("acme", "zoe", "monday").search("kite")) == 0
    assert reranker.calls == 0


@pytest.mark.parametrize("reranker", ["cross-encoder", object(), 1])
def test_what_is_no_reranker_is_refused(opened, reranker):
    with pytest.raises(InvalidInput, match=r"^reranker: got "):
        opened(reranker=reranker)


# ---- Events ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({}, "embed load keywords dense fuse boosts order signals read"),
        ({"recall": Recall(diversity=0.5)}, "diversity"),
        ({"reranker": Scripted(rained_first)}, "rerank"),
    ],
)
def test_every_step_of_a_search_is_an_event_with_its_seconds_and_its_scope(
    opened, ann, given, steps
):
    events = []
    memory = opened(hooks=[events.append], **given)
    place = memory.conversation("acme", "ann", "monday")
    place.search("red kite")
    found = [event for event in events if event.name.startswith("search")]
    assert {f"search.{step}" for step in steps.split()} <= {event.name for event in found}
    assert {event.scope for event in found} == {place.namespace.scope.key}
    assert all(event.seconds >= 0 for event in found)
    whole = [event.seconds for event in found if event.name == "search"]
    assert sum(event.seconds for event in found) <= 2 * whole[0]
    names = [event.name for event in found]
    assert len(names) == len(set(names))


def test_a_step_that_did_not_run_is_no_event(opened, ann):
    events = []
    memory = opened(embedder=None, hooks=[events.append])
    memory.conversation("acme", "ann", "monday").search("red kite")
    ran = {event.name for event in events}
    assert not ran & {"search.embed", "search.dense", "search.diversity", "search.rerank"}


@pytest.mark.parametrize(
    ("recall", "ran"), [({}, True), ({"late": 0}, False), ({"candidates": 0}, False)]
)
def test_late_interaction_is_an_event_when_it_ran(opened, recall, ran):
    events = []
    memory = opened(embedder=TokenWords(), hooks=[events.append], recall=Recall(**recall))
    place = memory.conversation("acme", "ann", "monday")
    place.add(SAID)
    place.search("red kite")
    assert ("search.late" in {event.name for event in events}) is ran


def test_without_token_vectors_late_interaction_is_no_event(opened, ann):
    events = []
    opened(hooks=[events.append]).conversation("acme", "ann", "monday").search("red kite")
    assert "search.late" not in {event.name for event in events}


def test_who_listens_changes_no_result(opened, ann):
    events = []
    told = opened(hooks=[events.append]).conversation("acme", "ann", "monday")
    assert told.search("red kite") == ann.search("red kite")
    assert events


def test_the_event_of_a_rerank_says_who_ranked_and_whether_it_failed(opened, ann):
    events = []
    for key in (rained_first, broken):
        memory = opened(hooks=[events.append], reranker=Scripted(key))
        memory.conversation("acme", "ann", "monday").search("red kite")
    reranks = [event.data for event in events if event.name == "search.rerank"]
    assert reranks == [
        {"reranker": "scripted", "failed": False},
        {"reranker": "scripted", "failed": True},
    ]
