"""Passages: what a long message is searched and shown by."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Message, TokenBudget
from rag_memory_plugins.retrieval.sentences import MOST_PASSAGES, SHORT, passages

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
SIGNS = "aB1 .?!\n\r\t\"'()[]“”。\uff1fé😀\u2028\x0b\x85\u00a0-*#`|:;\ud800\u200b\u3000中"
RUNS = st.tuples(st.sampled_from(SIGNS), st.sampled_from([1, 1, 1, 30, 300])).map(
    lambda run: run[0] * run[1]
)
SAID = st.tuples(
    st.sampled_from(["It rained. ", "The boat is green!\n\n", "row | 1\n", "你好。", "  \n"]),
    st.integers(1, 120),
).map(lambda run: run[0] * run[1])
TEXTS = st.lists(RUNS | SAID, max_size=20).map("".join) | st.text()

PLAN = {
    "beds": "The beds along the southern wall get tomatoes and basil this year, because the bricks "
    "keep the heat of the day and give it back slowly until long after midnight, when the rest of "
    "the garden has been cold and wet for hours already.",
    "beans": "Beans stand in the second row and climb on poles of hazel, and between them we leave "
    "a path of bark that is wide enough for the barrow and for two people side by side, with a "
    "small bend around the old stump of the pear tree.",
    "gate": "The gate at the back is locked with the code 4821, which the neighbours know as well, "
    "so that they can water the pots while we are away at the sea, and let themselves out again "
    "without having to walk through the kitchen and the hall.",
    "slugs": "Slugs are picked by hand in the evening after rain, and the hedgehog gets a house of "
    "logs and straw beside the shed, away from the road and from the dogs, where it may sleep from "
    "the first frost until the crocuses are out.",
}


@given(TEXTS)
def test_they_follow_one_another_and_leave_out_blanks_alone(text):
    spans = passages(text)
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    assert edges == sorted(edges)
    assert all(start < end for start, end in spans)
    assert not any(text[end:start].strip() for end, start in list(pairwise(edges))[::2])


@given(TEXTS)
def test_none_begins_or_ends_with_a_blank_where_there_are_more_than_one(text):
    spans = passages(text)
    pieces = [text[start:end] for start, end in spans] if len(spans) > 1 else []
    assert pieces == [piece.strip() for piece in pieces]


@given(TEXTS)
def test_there_are_at_most_as_many_as_promised_and_one_of_a_short_text(text):
    most = 1 if len(text) <= SHORT else MOST_PASSAGES
    assert bool(text.strip()) <= len(passages(text)) <= most


def test_of_a_long_text_neighbouring_sentences_are_taken_together():
    spans = passages("It rained on the hills. " * (3 * MOST_PASSAGES))
    assert {end - start for start, end in spans} == {3 * len("It rained on the hills. ") - 1}
    assert len(spans) == MOST_PASSAGES


def test_a_context_shows_of_a_long_message_the_sentence_that_answers(opened):
    pytest.importorskip("onnxruntime", reason="needs the extra `local`")
    ann = opened(embedder="default").conversation("acme", "ann", "monday")
    ann.add(
        [
            Message("user", "How shall we plant everything this spring?", id="ask", time=START),
            Message("assistant", " ".join(PLAN.values()), id="plan", time=START),
            Message("user", "My aunt plays the cello in Ghent.", id="aunt", time=START),
        ]
    )
    context = ann.context("Which number opens the door outside?", TokenBudget(120, recent=0))
    shown = {piece.message.id: piece.message.content for piece in context.pieces if piece.included}
    assert shown["plan"] == f"… {PLAN['gate']} …"
    assert f"assistant: … {PLAN['gate']} …\n" in context.text
    assert context.tokens <= 120


def test_in_a_context_the_newer_of_like_messages_stands_above_the_older(opened):
    pytest.importorskip("onnxruntime", reason="needs the extra `local`")
    ann = opened(embedder="default").conversation("acme", "ann", "monday")
    said = {
        "old": "The launch of the new shop is planned for 3 June.",
        "tea": "I like tea in the morning.",
        "rain": "We had rain in the hills.",
        "new": "By the way, the launch of the shop is planned for 17 June.",
    }
    ann.add(
        [
            Message("user", text, id=name, time=START + timedelta(days=number))
            for number, (name, text) in enumerate(said.items())
        ]
    )
    question = "When is the launch of the new shop planned?"
    pieces = ann.context(question, TokenBudget(300, recent=0)).pieces
    scores = {piece.message.id: piece.score for piece in pieces}
    assert scores["new"] > scores["old"] > max(scores["tea"], scores["rain"])
    found = {hit.message.id: hit for hit in ann.search(question)}
    assert list(found)[:2] == ["old", "new"]
    assert found["old"].score == scores["old"]
    assert not any("newer" in hit.parts for hit in found.values())
