"""Names that a question, and what was found for it, may mean entities by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.memory.candidates import candidate_names


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Where does Ann live?", ["Ann"]),
        ("Where does Ann Lee live?", ["Ann Lee", "Ann", "Lee"]),
        ("Is Ann, Bob's manager, in Porto?", ["Ann", "Bob", "Porto"]),
        ("What did J.R.R. Tolkien write?", ["J.R.R Tolkien", "J.R.R", "Tolkien"]),
        ("Did ANN call ann or Ann?", ["ANN"]),
        ("What is my job?", ["user"]),
        ("where does ann live?", []),
        (
            "\u041a\u0442\u043e \u0410\u043d\u043d\u0430?",
            [
                "\u041a\u0442\u043e \u0410\u043d\u043d\u0430",
                "\u041a\u0442\u043e",
                "\u0410\u043d\u043d\u0430",
            ],
        ),
        ("", []),
    ],
)
def test_capitalised_words_of_a_question_may_be_names(question: str, names: list[str]) -> None:
    assert candidate_names(question, [], []) == names


@given(st.text(max_size=120))
def test_of_any_text_no_name_is_blank_or_told_twice(text: str) -> None:
    names = candidate_names(text, [], [])
    assert all(name.strip() for name in names)
    assert len({name.casefold() for name in names}) == len(names)
