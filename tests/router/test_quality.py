"""The prior: between 0 and 1 for any text, longer is never less, and as quick for a megabyte."""

from __future__ import annotations

import subprocess
import sys
from time import process_time_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.router.quality import prior


@given(st.text())
def test_any_text_has_a_prior_between_0_and_1(text) -> None:
    assert 0 <= prior(text) < 1


@given(st.text(), st.text(min_size=1))
def test_a_text_that_grows_is_worth_more(text, more) -> None:
    assert prior(text + more) > prior(text)


@given(st.text())
def test_what_the_text_says_is_not_read(text) -> None:
    assert prior(text) == prior("x" * len(text))


@pytest.mark.parametrize(
    "text", ["🧑‍🚀" * 50, "\0", "\ud800", "x" * 1_000_000], ids=["emoji", "nul", "half", "long"]
)
def test_odd_texts_have_one_too(text) -> None:
    assert 0 < prior(text) < 1


def test_a_megabyte_takes_no_longer_than_a_word() -> None:
    texts = "x" * 1_000_000, "word"
    best = []
    for text in texts:
        spent = []
        for _ in range(50):
            start = process_time_ns()
            for _ in range(200):
                prior(text)
            spent.append(process_time_ns() - start)
        best.append(min(spent))
    assert best[0] < 3 * best[1]


def test_what_the_router_estimates_with_imports_no_numpy() -> None:
    code = (
        "import sys; from rag_memory_plugins.router import apgr, outcomes, quality; "
        "print(sorted({'numpy', 'sqlalchemy'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
