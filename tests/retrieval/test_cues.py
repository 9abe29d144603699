"""Cues: what an English question asks for; other languages go without, and the search says so."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.retrieval.cues import cues_of, names_something, tells_time
from rag_memory_plugins.retrieval.dates import asked_days
from rag_memory_plugins.retrieval.lexical import word_hashes

NOW = datetime(2023, 5, 10, tzinfo=timezone.utc)

FOREIGN = [
    "Wann bin ich nach Rom geflogen?",
    "Wo haben wir gestern gegessen?",
    "Was war mein erstes Auto?",
    "Wer hat das Bild gemalt?",
    "Quand ai-je d\u00e9m\u00e9nag\u00e9 \u00e0 Lyon ?",
    "Qui a peint le tableau ?",
    "Quel est le nom de ma s\u0153ur ?",
    "\u00bfCu\u00e1ndo me mud\u00e9 a Madrid?",
    "\u00bfQui\u00e9n pint\u00f3 el cuadro?",
    "\u00bfC\u00f3mo se llama mi gato?",
    "\u53bb\u5e74\u3069\u3053\u306b\u5f15\u3063\u8d8a\u3057\u307e\u3057\u305f\u304b\uff1f",
    "\u732b\u306e\u540d\u524d\u306f\u4f55\u3067\u3059\u304b\uff1f",
]
LOOK_ENGLISH = [
    "Wo kommt das Bild her?",
    "Wie lange ist das her?",
    "\u00bfD\u00f3nde has estado?",
    "\u00bfQu\u00e9 me has recomendado?",
    "\u00bfQu\u00e9 he dicho ayer?",
]
"""Everyday words of German and Spanish that English has too: her, has, he."""


def cues(question):
    return cues_of(question, NOW)


@pytest.mark.parametrize("question", FOREIGN)
def test_a_question_in_another_language_has_no_cue_but_its_dates(question):
    found = cues(question)
    assert (found.english, found.when, found.name, found.role) == (False, False, False, None)


@pytest.mark.parametrize("question", LOOK_ENGLISH)
def test_a_word_that_two_languages_share_makes_no_question_english(question):
    assert not cues(question).english


@pytest.mark.parametrize(
    "question",
    [
        "When did I move?",
        "Who painted the picture?",
        "WHAT IS MY CAT CALLED?",
        "Tell me about Rome",
    ],
)
def test_an_english_question_is_english(question):
    assert cues(question).english


@pytest.mark.parametrize("question", FOREIGN)
def test_a_search_says_that_the_cues_are_off(opened, question):
    ann = opened(embedder=None).conversation("acme", "ann", "monday")
    ann.add("We talked about a cat")
    assert ann.search(question).lanes["cues"] == "off: they know English questions only"
    assert "cues" not in ann.search("When did we talk about the cat?").lanes


def test_a_search_in_another_language_takes_nothing_for_a_time_or_a_name(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add(["In March 2022 we flew to Rome", "Sonst nichts"])
    found = ann.search("Wann und wo waren wir in Rom?", 5)
    assert [set(hit.parts) & {"when", "name"} for hit in found] == [set(), set()]
    assert {"when", "name"} <= set(ann.search("When, and in which city, was it?", 1)[0].parts)


def test_a_numeric_date_is_found_in_any_language():
    assert cues("Was war am 2022-05-08 los?").days == (20220508,)
    assert not cues("Was war am 2022-05-08 los?").english


@pytest.mark.parametrize(
    "question",
    [
        "When did I fly?",
        "Since when do we know her?",
        "How long did it take?",
        "Which year was it?",
        "On what day did she call?",
    ],
)
def test_who_asks_for_a_time_is_understood(question):
    assert cues(question).when


@pytest.mark.parametrize("question", ["What did he say?", "How is she?", "Is the whenever box in?"])
def test_who_asks_for_no_time_is_not_taken_to(question):
    assert not cues(question).when


@pytest.mark.parametrize(
    "question",
    [
        "Where did we eat?",
        "Who was it?",
        "Whose bike is it?",
        "What is the name of my cat?",
        "Which city did she leave?",
        "What was the book about the sea?",
    ],
)
def test_who_asks_for_a_name_is_understood(question):
    assert cues(question).name


@pytest.mark.parametrize("question", ["How was the food?", "Is that where we ate?", "What is it?"])
def test_who_asks_for_no_name_is_not_taken_to(question):
    assert not cues(question).name


@pytest.mark.parametrize(
    ("question", "role"),
    [
        ("What did I say about Rome?", "user"),
        ("Where is my bike?", "user"),
        ("When did we meet?", "user"),
        ("What did you suggest?", "assistant"),
        ("Which recipe did you give me?", "assistant"),
        ("What was your advice?", "assistant"),
        ("What did you say about my bike?", "assistant"),
        ("What did she say?", None),
        ("Which island is it?", None),
    ],
)
def test_whose_words_are_asked_for(question, role):
    assert cues(question).role == role


@pytest.mark.parametrize(
    "text",
    [
        "We flew to Rome.",
        "I said so. Then Ann left.",
        "my dog Biscuit",
        'She read "dune" twice',
        "\u201ca quiet place\u201d is what we saw",
        "Thanks, Ann! We flew to Rome",
    ],
)
def test_a_text_that_names_something(text):
    assert names_something(text)


@pytest.mark.parametrize(
    "text",
    [
        "Thanks, Ann!",
        "Hey Ann, how are you?",
        "Wow Ann! That is great.",
        "Good to see you, Mel.",
        "Hi Ann",
        "Yesterday it rained.",
        "It rained. We slept.",
        "He and I left",
        "",
    ],
)
def test_who_is_only_called_by_name_is_nothing_that_a_text_names(text):
    assert not names_something(text)


@pytest.mark.parametrize(
    "text", ["in March", "since 1999", "on the 3rd", "for two years", "last summer", "yesterday"]
)
def test_a_text_that_tells_a_time(text):
    assert tells_time(f"we moved {text}.")


@pytest.mark.parametrize("text", ["It may rain", "a second one", "once more", "room 12", ""])
def test_a_text_that_tells_no_time(text):
    assert not tells_time(text)


def test_the_words_of_a_question_hold_every_part_of_a_name_and_its_genitive():
    words = cues("What did Ann\u2019s brother Bob Lee say?").words
    assert set(word_hashes("ANN bob lee")) <= words
    assert not set(word_hashes("Lea")) & words


@given(st.text(max_size=60))
def test_no_text_makes_a_cue_or_a_trait_raise(text):
    cues(text)
    names_something(text)
    tells_time(text)


@pytest.mark.parametrize(
    "question",
    [
        "What did we plan on 8 May?", "What happened in june?", "Where was I in 2019?", "And tonight?",
        "Who came three weeks ago?", "What broke last Friday?", "2023-05-08?", "Who came?", "May I?",
        "What did I buy two years back?", "Was I ill tomorrow?", "08.05.2023", "\u0662\u0660\u0662\u0663",
        "in a few months", "the day before yesterday", "this past weekend", "Was war das?", "",
    ],
)  # fmt: skip
def test_every_day_a_question_speaks_of_is_among_its_cues(question):
    assert cues_of(question, NOW).days == tuple(asked_days(question, NOW))
