"""`recall --engine` on a small talk: every engine's store is asked, and finds what flat finds."""

from __future__ import annotations

import os

from rich.progress import Progress

from benchmarks import recall_engines
from benchmarks.__main__ import main
from rag_memory_plugins.testing.fakes import WordEmbedder

# The stores themselves have their tests; all six take ten seconds.
ASKED = "all" if os.environ.get("RAG_MEMORY_LONG") == "1" else "edge"


def test_every_engine_finds_what_flat_finds(talk, tmp_path):
    report = recall_engines.measure(ASKED, [talk], tmp_path, WordEmbedder(), Progress(disable=True))
    assert report.figures["R@10/flat"] > 0.5
    names = recall_engines.ENGINES if ASKED == "all" else ("flat", ASKED)
    for name in names:
        assert report.figures[f"gap@10/{name}"] <= 0.01
        assert report.figures.get(f"asked/{name}", 1.0) == 1.0
    assert "asked/edge" in report.figures


def test_texts_are_embedded_once_for_all(talk, tmp_path):
    embedder = WordEmbedder()
    recall_engines.measure("edge", [talk], tmp_path, embedder, Progress(disable=True))
    assert len(embedder.embedded) == len(set(embedder.embedded))


def test_without_an_embedder_no_engine_is_measured(talk_file, capsys):
    arguments = ["recall", "--data", talk_file, "--keywords", "--engine", "edge"]
    assert main(arguments) == 2
    assert "--engine: engines keep vectors" in capsys.readouterr().err
