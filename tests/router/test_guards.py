"""What must be equal in two prompts: values, their units and order, names, what is asked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.router.guards import differ, normalised, read, same_facts
from rag_memory_plugins.router.present import time_relative
from rag_memory_plugins.router.spoken import ROMAN, roman
from tests.router import edits

DIFFERENT = """
Is the account 4471 open? | Is the account 4472 open?
How far is 10 miles in km? | How far is 10 km in miles?
A cake with alcohol, what is in it? | A cake without alcohol, what is in it?
What was in the report for Q2? | What was in the report for Q3?
How do I cook rice? | How do I cook pasta?
Is it legal to park here? | Would it be illegal to park here?
Which flights go from Paris to London? | Which flights go to Paris from London?
Who won World War II? | Who won World War I?
Who won world war ii? | Who was the winner of world war iii?
Does the dog bite the man? | Does the man bite the dog?
Does Python 3.1 have it? | Does Python 3.10 have it?
Who is the chair of the board? | Who was the chair of the board?
What is the return policy? | What is the return policy for shoes?
When was the bridge built? | Where was the bridge built?
How many were there? | How much were there?
Can I take it with milk? | Should I take it with milk?
What is his salary? | What is her salary?
What is 5 - 3? | What is 5 + 3?
What is 5!? | What is 5?
What is -5 degrees? | What is 5 degrees?
What does `a[0]` return? | What does `a[1]` return?
What is the pin 007? | What is the pin 7?
What does "the end" mean? | What does "an end" mean?
Is the id aB3 or not? | Is the id AB3 or not?
What is x² of it? | What is x³ of it?
What is ½ of it? | What is ¼ of it?
What is the price in May? | What is the price in March?
Is the shop open on Monday? | Is the shop open on Sunday?
What is a payer of the loan? | Explain to me the payee of the loan, what is that?
Do they like Polish people? | Do they polish like people?
What is 5 MB in bits? | What is 5 Mb in bits?
What is 5Mb in bits? | What is 5MB in bits?
What are the advantages of it? | What are the disadvantages of it?
What does US law say about it? | What does us law say about it?
What is the effect of --force there? | What is the effect of force there?
What is C in the list? | What is R in the list?
What is C in the list? | What is C++ in the list?
Give me all that are not red but blue. | Give me all that are red but not blue.
What did Anna tell Ben? | What did Ben tell Anna?
Is twenty five or six right? | Is twenty six or five right?
What is two hundred and one? | What is two hundred and ten?
What is the 2nd one? | What is the 3rd one?
Is it hyperthyroidism that I have? | Have I got what is called hypothyroidism?
Was ist die Hauptstadt von Peru? | Was ist bitte die Hauptstadt von Peru?
秘鲁的首都是哪里 | 请问秘鲁的首都是哪里
"""
SAME = """
What is twenty-five times four? | What is 25 times 4?
How much is two hundred and five? | How much is 205?
What is the 2nd row? | What is the second row?
What is 12,000 times two? | What is 12000 times 2?
What does $5 buy there? | What does 5 dollars buy there?
What is 5% of it? | What is 5 percent of it?
What is 10km in miles? | What is 10 kilometers in miles?
Who was Henry VIII of England? | Who was Henry 8 of England?
How do I reset my password? | Could you please tell me how to reset a password?
What is the capital of Canada? | What's the capital of Canada, please?
Who wrote Hamlet? | Hi, I was wondering who wrote Hamlet.
Can't I go there? | Can I not go there?
"""


def pairs(text: str) -> list[list[str]]:
    return [line.split(" | ") for line in text.strip().splitlines()]


@pytest.mark.parametrize(("a", "b"), pairs(DIFFERENT))
def test_prompts_that_ask_something_else_differ(a: str, b: str) -> None:
    assert differ(read(a), read(b))
    assert differ(read(b), read(a))
    assert normalised(a) != normalised(b) or read(a).slots != read(b).slots


@pytest.mark.parametrize(("a", "b"), pairs(SAME))
def test_prompts_that_ask_the_same_do_not_differ(a: str, b: str) -> None:
    assert differ(read(a), read(b)) == ""
    assert differ(read(b), read(a)) == ""


@given(st.text(max_size=80))
def test_any_text_can_be_read_and_agrees_with_itself(text: str) -> None:
    guarded = read(text)
    assert differ(guarded, guarded) in {"", "the language is not guarded"}
    assert normalised(normalised(text)) == normalised(text)


@given(st.integers(0, 99_999), st.integers(0, 99_999))
def test_numbers_in_words_and_digits_agree_when_they_are_equal_alone(a: int, b: int) -> None:
    one = read(f"What is the root of {edits.in_words(a)} in the table?")
    two = read(f"What is the root of {b} in the table?")
    assert (differ(one, two) == "") == (a == b)


@given(st.integers(1, 49), st.integers(1, 49))
def test_roman_figures_are_their_numbers(a: int, b: int) -> None:
    text = edits.roman(a)
    assert len(text) < 2 or (ROMAN.fullmatch(text) and roman(text) == a)
    assert (edits.roman(a) == edits.roman(b)) == (a == b)


@given(st.data())
def test_one_digit_changed_anywhere_is_seen(data: st.DataObject) -> None:
    words = st.sampled_from(["what", "is", "the", "of", "rate", "A-17", "v2.3", "x9", "£12.50"])
    text = " ".join(
        [
            "what is",
            *data.draw(
                st.lists(
                    words | st.from_regex(r"[ -~]{0,6}\d[ -~]{0,6}", fullmatch=True),
                    min_size=1,
                    max_size=6,
                )
            ),
        ]
    )
    places = [at for at, sign in enumerate(text) if sign in "0123456789"]
    if not places:
        return
    at = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([sign for sign in "0123456789" if sign != text[at]]))
    edited = text[:at] + digit + text[at + 1 :]
    assert differ(read(text), read(edited))
    assert normalised(text) != normalised(edited)


def test_a_text_longer_than_an_embedder_reads_is_not_guarded() -> None:
    text = "What is the rate of it? " * 100
    assert differ(read(text), read(text)) == "the language is not guarded"


@pytest.mark.parametrize(
    "text",
    [
        "What is the weather like today?",
        "Who is the current president?",
        "What happened last week?",
        "What time is it?",
        "Wie ist das Wetter heute?",
        "Quelle est la date d'aujourd\u2019hui ?",
        "¿Qué hora es ahora?",
        "今天天气怎么样",
        "какая погода сегодня",
        "現在の首相は誰",
    ],
)
def test_a_question_about_the_present_is_told_in_many_languages(text: str) -> None:
    assert time_relative(text)


@pytest.mark.parametrize("text", ["What is a snowman?", "Who knows Nowak?", "Was ist ein Boot?"])
def test_a_question_that_only_looks_like_one_about_the_present_is_not(text: str) -> None:
    assert not time_relative(text)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Ottawa.", "The capital of Canada is Ottawa.", True),
        ("Ottawa.", "The capital of Canada is Toronto.", False),
        ("It costs 5 dollars.", "That is $5.", True),
        ("It costs 5 dollars.", "That is $6.", False),
        ("Yes, you can.", "No, you cannot.", False),
    ],
)
def test_answers_say_the_same_when_their_facts_agree(a: str, b: str, *, same: bool) -> None:
    assert same_facts(a, b) is same


def test_ten_thousand_edits_differ_and_the_same_asked_again_does_not() -> None:
    missed = [
        case for case in edits.cases(10_000) if not differ(read(case.prompt), read(case.edited))
    ]
    assert missed == []
    rng = random.Random(5)
    again = [
        (case.prompt, edits.asked_again(case.prompt, rng)) for case in edits.cases(500, seed=8)
    ]
    passed = sum(not differ(read(a), read(b)) for a, b in again)
    assert passed >= 0.95 * len(again)
    # Free paraphrases, written by hand: the guards refuse more than half of them, and must not refuse all.
    free = sum(not differ(read(a), read(b)) for a, b in edits.PARAPHRASES)
    assert free >= 0.4 * len(edits.PARAPHRASES)
