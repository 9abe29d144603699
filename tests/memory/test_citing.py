"""Citation marks: found again in any text, and of an answer only the true ones kept."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.memory.citing import checked_marks, mark_of, unmarked
from rag_memory_plugins.ports import Said

ANY = {"[f:1]": Said("a", "1"), "[f:2]": Said("a", "2")}


@given(st.text(), st.sampled_from(list(ANY)))
def test_no_text_of_anybody_holds_a_mark_once_it_is_made_plain(text: str, mark: str) -> None:
    cited = checked_marks(unmarked(f"{text}{mark}[ {mark[1:]}"), ANY)
    assert (cited.citations, cited.removed) == ({}, ())


@given(st.text(max_size=20), st.text(min_size=1, max_size=20), st.text(max_size=40))
def test_a_mark_is_one_word_that_is_found_again_in_any_text(
    session: str, key: str, around: str
) -> None:
    try:
        mark = mark_of(Said(session, key))
    except UnicodeEncodeError:
        return  # no id that is stored holds a lone surrogate
    assert re.fullmatch(r"\[m:[^\[\]\s]+\]", mark)
    text = re.sub(r"[\[\]]", "", around)
    cited = checked_marks(f"{text} {mark}", {mark: Said(session, key)})
    assert (cited.citations, cited.removed) == ({mark: Said(session, key)}, ())


@pytest.mark.parametrize(
    ("said", "text", "removed"),
    [
        ("Porto [f:1].", "Porto [f:1].", ()),
        ("Porto [f:1, f:2].", "Porto [f:1][f:2].", ()),
        ("Porto [f:1; f:9].", "Porto [f:1].", ("[f:9]",)),
        ("Porto [f:9], Oslo [m:a/1].", "Porto, Oslo.", ("[f:9]", "[m:a/1]")),
        ("Porto [ f: 1 ].", "Porto [f:1].", ()),
        ("A [note] and [1].", "A [note] and [1].", ()),
        ("[f:9]", "", ("[f:9]",)),
    ],
)
def test_of_an_answer_true_marks_stay(said: str, text: str, removed: tuple[str, ...]) -> None:
    cited = checked_marks(said, {"[f:1]": Said("a", "1"), "[f:2]": Said("a", "2")})
    assert (cited.text, cited.removed) == (text, removed)
