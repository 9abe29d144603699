"""Sentences: nothing is lost, and none is too long, whatever the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.retrieval.sentences import LONGEST, sentences

SIGNS = "aB1 .?!\n\r\t\"'()[]“”。\uff1fé😀\u2028\x0b\x85\u00a0-*#`|:;\ud800\u200b\u3000中"
RUNS = st.tuples(st.sampled_from(SIGNS), st.sampled_from([1, 1, 1, 30, 300])).map(
    lambda run: run[0] * run[1]
)
TEXTS = st.lists(RUNS, max_size=30).map("".join) | st.text()


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(TEXTS)
def test_put_together_they_are_the_text(text: str) -> None:
    assert "".join(cut(text)) == text


@given(TEXTS)
def test_they_follow_one_another_and_none_is_empty(text: str) -> None:
    spans = sentences(text)
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert all(start < end for start, end in spans)


@given(TEXTS)
def test_none_is_longer_than_promised_but_for_blanks_at_its_end(text: str) -> None:
    assert all(len(piece.strip()) <= LONGEST for piece in cut(text))


def test_a_full_stop_of_an_abbreviation_ends_nothing() -> None:
    text = "Dr. Ames saw it (Fig. 2, cf. Roe et al. 2001). Nobody else did, e.g. the cook."
    assert cut(text) == [
        "Dr. Ames saw it (Fig. 2, cf. Roe et al. 2001). ",
        "Nobody else did, e.g. the cook.",
    ]


def test_blanks_and_lone_signs_belong_to_the_sentence_before_them() -> None:
    assert cut("One came.\n\n* * *\n\nTwo stayed. ") == ["One came.\n\n* * *\n\n", "Two stayed. "]


def test_signs_before_the_first_word_belong_to_the_first_sentence() -> None:
    assert cut("--- ! ? \nOne came. Two stayed.") == ["--- ! ? \nOne came. ", "Two stayed."]


def test_a_text_without_words_is_one_piece() -> None:
    assert cut("... !\n\n? ") == ["... !\n\n? "]


def test_an_empty_text_has_no_sentences() -> None:
    assert sentences("") == []


def test_full_stops_of_other_scripts_end_a_sentence() -> None:
    assert cut("我住在里斯本。你呢\uff1f我也是。") == ["我住在里斯本。", "你呢\uff1f", "我也是。"]


def test_a_quote_that_is_never_closed_does_not_swallow_what_follows() -> None:
    text = '"' + "The boat is green. It was sold in May. " * 20
    assert max(len(piece) for piece in cut(text)) < 50


def test_lines_without_full_stops_are_cut_where_a_line_ends() -> None:
    rows = [f"| row {at} | {'x' * 60} |\n" for at in range(20)]
    pieces = cut("".join(rows))
    assert len(pieces) > 1
    assert all(piece.endswith("|\n") for piece in pieces)


def test_words_without_lines_are_cut_between_words() -> None:
    pieces = cut("word " * 300)
    assert len(pieces) > 1
    assert {piece.strip(" ").split(" ")[-1] for piece in pieces} == {"word"}


def test_a_word_longer_than_a_sentence_is_cut_all_the_same() -> None:
    assert [len(piece) for piece in cut("x" * (2 * LONGEST + 1))] == [LONGEST, LONGEST, 1]


@pytest.mark.parametrize("text", ["B\u00a0A. x", "*\u0085. ].B\u00a0.)1", "\ud800 lone. x"])
def test_what_makes_the_library_panic_or_refuse_is_cut_like_any_text(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "".join(cut(text)) == text
    assert capfd.readouterr().err == ""


def test_a_page_of_quotes_without_paragraphs_takes_no_longer_than_its_length() -> None:
    # Given whole, sentencex would compare each of these sentences with each quote: minutes.
    text = 'She said "it rained (again). No" and left. ' * 25_000
    assert len(sentences(text)) >= 25_000
