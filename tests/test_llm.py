"""JSON out of what a model wrote."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.llm import json_values
from rag_memory_plugins.llm.reading import DOUBLED

SCORES = {"scores": {"1": 8, "2": 3}}
PLAIN = json.dumps(SCORES)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f"Here you are: {PLAIN} Anything else?",
        f'A 5" pipe (see "notes") {PLAIN}',
        "[see the 5\" pipe\n{'scores': {'1': 8, '2': 3}}",
        '{"scores": {"1": 8, "2": 3,},}',
        "{'scores': {'1': 8, '2': 3}}",
        "{scores: {1: 8, 2: 3}}",
        '{"scores": {"1": 8, // good\n "2": 3, // less so\n}}',
    ],
)
def test_an_object_is_found_however_it_is_wrapped(text):
    assert json_values(text) == [SCORES]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("no brackets", []),
        ("{never closed", []),
        ('{"a": 1} and [2, 3]', [{"a": 1}, [2, 3]]),
        ('[unclosed "and {"a": 1}', [{"a": 1}]),
        (
            "{'it': 'isn\\'t \"so\"', 'b': None, 'c': True}",
            [{"it": 'isn\'t "so"', "b": None, "c": True}],
        ),
        ('{"text": "a } in {, // a string", }', [{"text": "a } in {, // a string"}]),
        ('{"text": "two\nlines"}', [{"text": "two\nlines"}]),
        ('{"a": 8/10, "b": 1.5e3,}', [{"a": "8/10", "b": 1500.0}]),
    ],
)
def test_what_is_almost_json_is_read_as_it_was_meant(text, values):
    assert json_values(text) == values


def test_a_key_with_two_values_is_marked_where_that_is_asked_for():
    text = '{"a": 1, "b": 1, "a": true, "b": 1}'
    assert json_values(text) == [{"a": True, "b": 1}]
    assert json_values(text, mark=True) == [{"a": DOUBLED, "b": 1}]


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())),
    st.text(st.characters(exclude_characters='[]{}"\\')),
)
def test_json_in_prose_comes_back_as_it_was(value, prose):
    assert json_values(f"{prose}{json.dumps(value)}{prose}") == [value]


@given(st.text(alphabet="[]{}\",:\\'1a/\n "))
def test_nothing_a_model_writes_raises(text):
    assert isinstance(json_values(text), list)


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{",
        '{"a":',
        "{a ",
        '"',
        '"\\',
        "'\\",
        "[x] {y} ",
        "{x}" * 3 + "[",
        ", ",
        "1",
        "/",
        "{'",
    ],
)
def test_a_hostile_answer_takes_no_more_than_seconds(piece):
    text = (piece * 25_000)[:25_000]
    closed = text + "".join({"[": "]", "{": "}"}.get(sign, "") for sign in reversed(text))
    begun = time.perf_counter()
    json_values(text)
    json_values(closed)
    json_values("{" + text + "}")
    assert time.perf_counter() - begun < 20  # without limits, minutes


def test_of_a_very_long_answer_the_end_is_read():
    assert json_values("{ " * 100_000 + "\n" * 50_000 + PLAIN) == [SCORES]
