"""Trimming: the budget is kept whatever is counted, and what answers the question is kept first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import EmbedderError, InvalidBudget, InvalidInput
from rag_memory_plugins.retrieval.sentences import sentences
from rag_memory_plugins.retrieval.trimming import Trimmed, atrim, trim
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.tokens import COUNTERS, make_counter

WORDS = make_counter("words")
BOAT = (
    "We met in Porto in the spring. The harbour was full of swallows. The boat is painted green. "
    "Nobody remembers who chose the colour of it. The bakery opens at seven every morning."
)
CHAPTERS = (
    "# Harbour\n\nIt rained all week.\n\n# Colours\n\nWe asked the painters. They came at noon. "
    "They left at nine. Nobody wrote a word. The boat is green. That was long ago. So it is told."
)
RAIN = "It rained on us for days. We sat inside with tea. Nobody knew a song. All slept. "
TEXTS = st.lists(
    st.lists(
        st.sampled_from(
            [
                "The boat is green. ",
                "It rained.\n\n",
                "# The harbour\n\n",
                "row | 1 | 2\n",
                "你好。再见。",
                "yes ",
                "🙂🙃!",
                "don't\u00a0",
                "\ud83d",
                "supercalifragilistic",
            ]
        )
        | st.text(max_size=20),
        max_size=12,
    ).map("".join),
    max_size=6,
)


class Failing:
    """An embedder whose model is gone."""

    fingerprint, dimension = "failing/1", 3

    async def aembed_query(self, text: str) -> np.ndarray:
        raise EmbedderError("the model is gone")

    async def aembed_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        raise EmbedderError("the model is gone")

    async def aclose(self) -> None:
        """Nothing is held."""


class Listening(WordEmbedder):
    """Remembers which texts it was asked for."""

    asked: tuple[str, ...] = ()

    async def aembed_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        self.asked = (*self.asked, *texts)
        return await super().aembed_documents(texts)


def kept(found: Trimmed, texts: Sequence[str]) -> list[list[str]]:
    return [
        [text[start:end] for start, end in spans]
        for text, spans in zip(texts, found.spans, strict=True)
    ]


@given(
    texts=TEXTS,
    budget=st.integers(0, 120),
    query=st.sampled_from(["which boat?", "", "你好"]),
    counter=st.sampled_from(list(COUNTERS)),
)
def test_the_joined_text_never_costs_more_than_the_budget(
    texts: list[str], budget: int, query: str, counter: str
) -> None:
    counts = make_counter(counter)
    found = trim(query, texts, budget, counts)
    assert counts.count(found.text) == found.tokens <= budget


@given(texts=TEXTS, budget=st.integers(0, 120))
def test_spans_are_in_order_and_hold_what_the_texts_say(texts: list[str], budget: int) -> None:
    found = trim("which boat?", texts, budget, WORDS)
    assert len(found.spans) == len(found.texts) == len(texts)
    for text, spans, cut in zip(texts, found.spans, found.texts, strict=True):
        places = [place for span in spans for place in span]
        assert places == sorted(places)
        assert all(text[start:end] in cut for start, end in spans)
        assert bool(cut) == bool(spans)


@given(texts=TEXTS)
def test_with_room_for_all_nothing_but_repetitions_is_left_out(texts: list[str]) -> None:
    found = trim("which boat?", texts, 10_000, WORDS)
    said = {
        piece.strip()
        for text in texts
        for start, end in sentences(text)
        if (piece := text[start:end])
    }
    assert all(any(piece in text for text in found.texts) for piece in said if piece)


def test_the_sentence_that_answers_is_kept_when_there_is_room_for_one() -> None:
    found = trim("Which green is the boat painted?", [BOAT], 8, WORDS)
    assert found.text == "The boat is painted green."


def test_a_sentence_gains_by_the_words_of_those_beside_it() -> None:
    texts = ["Ann found a cat. It is black. It rained all week. Nobody went out."]
    found = trim("What about the cat?", texts, 12, WORDS)
    assert kept(found, texts) == [["Ann found a cat. It is black."]]


def test_of_equal_sentences_that_of_the_better_text_is_kept() -> None:
    texts = ["The boat is red.", "The boat is blue."]
    assert trim("which boat?", texts, 6, WORDS).texts == ("The boat is red.", "")


def test_a_gap_shows_where_sentences_were_left_out() -> None:
    text = f"The boat is green. {RAIN}The boat was sold."
    assert trim("boat", [text], 14, WORDS).text == "The boat is green. … The boat was sold."


def test_a_gap_over_the_end_of_a_line_stands_on_a_line_of_its_own() -> None:
    text = f"The boat is green.\n{RAIN}\nThe boat was sold."
    assert trim("boat", [text], 14, WORDS).text == "The boat is green.\n…\nThe boat was sold."


def test_a_sentence_that_two_overlapping_texts_share_is_kept_once() -> None:
    shared = "The boat is painted dark green."
    texts = [f"Ann came. {shared}", f"{shared} It was sold in May."]
    found = trim("the boat", texts, 100, WORDS)
    assert found.text.count(shared) == 1
    assert "It was sold in May." in found.text


def test_a_part_at_the_edge_of_a_text_gives_way_to_the_whole_in_another() -> None:
    whole = "The boat that Omar bought is painted dark green."
    texts = ["Ann came. The boat that Omar bought is", f"{whole} It was sold in May."]
    found = trim("the boat", texts, 100, WORDS)
    assert kept(found, texts) == [["Ann came."], [f"{whole} It was sold in May."]]


def test_of_three_overlapping_texts_the_longest_whole_is_kept() -> None:
    whole = "The boat that Omar bought in Porto is painted dark green."
    texts = ["The boat that Omar bought", "The boat that Omar bought in Porto", f"{whole} Yes."]
    assert trim("the boat", texts, 100, WORDS).texts == ("", "", f"{whole} Yes.")


def test_a_line_that_one_text_repeats_is_its_own() -> None:
    text = "| tide | low | low | low |\n" * 3
    rows = "\n\n".join(text.splitlines())
    assert trim("tide", [rows], 100, WORDS).texts == (rows,)


def test_short_sentences_that_are_equal_are_said_twice() -> None:
    assert trim("yes", ["Yes. No.", "Yes. Maybe."], 100, WORDS).text.count("Yes.") == 2


def test_a_heading_comes_with_its_sentence_while_there_is_room() -> None:
    found = trim("which boat?", [CHAPTERS], 12, WORDS)
    assert kept(found, [CHAPTERS]) == [["# Colours", "The boat is green."]]


def test_without_room_for_the_heading_the_sentence_stands_alone() -> None:
    found = trim("which boat?", [CHAPTERS], 7, WORDS)
    assert kept(found, [CHAPTERS]) == [["The boat is green."]]


def test_cosines_move_what_is_kept() -> None:
    text = "It is dark green. It rained a lot."
    plain = trim("colour", [text], 6, WORDS)
    led = trim("colour", [text], 6, WORDS, [np.array([0.1, 0.9])])
    assert (plain.text, led.text) == ("It is dark green.", "It rained a lot.")


def test_cosines_that_are_not_one_a_sentence_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cosines"):
        trim("colour", ["One came. Two stayed."], 6, WORDS, [np.array([0.1])])


@pytest.mark.parametrize("budget", [-1, True, 1.5, None])
def test_a_budget_that_is_no_number_of_tokens_is_refused(budget: object) -> None:
    with pytest.raises(InvalidBudget, match="budget"):
        trim("colour", ["One came."], budget, WORDS)  # type: ignore[arg-type]


def test_nothing_to_trim_gives_nothing() -> None:
    assert trim("colour", [], 10, WORDS) == Trimmed((), (), "", 0)
    assert trim("colour", ["", " \n"], 10, WORDS) == Trimmed(((), ()), ("", ""), "", 0)


async def test_vectors_find_what_the_keywords_leave_out(words: WordEmbedder) -> None:
    text = "We sat inside with tea. What she would not do again."
    query = "What would you not do?"  # stop words alone
    plain, led = trim(query, [text], 9, WORDS), await atrim(query, [text], 9, WORDS, words)
    assert plain.text != "What she would not do again."
    assert led.text == "What she would not do again."


async def test_only_what_could_be_kept_is_embedded() -> None:
    embedder = Listening()
    text = "".join(f"Sentence number {at} says nothing of it. " for at in range(200))
    await atrim("boats", [text], 30, WORDS, embedder)
    assert 0 < len(embedder.asked) < 15


async def test_an_embedder_that_fails_leaves_the_keywords_and_says_so() -> None:
    found = await atrim("Which green is the boat painted?", [BOAT], 8, WORDS, Failing())
    assert found.text == "The boat is painted green."
    assert found.degraded == ("sentences by keywords alone: the model is gone",)
