"""`python -m benchmarks engines` and `bytes` on little, and what they measure with."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

from benchmarks import engines
from benchmarks.__main__ import main
from benchmarks.engine_vectors import ask, exact, make
from benchmarks.processes import cpu_seconds, resident_mb, tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it measures by /proc")
LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
FIGURES = (
    "search_ms_p50",
    "search_ms_p95",
    "cold_search_ms_p50",
    "search_cpu_ms",
    "adds_per_s",
    "add_cpu_ms",
)


@pytest.mark.parametrize("name", ["flat", "pgvector", *(["edge", "chroma"] if LONG else [])])
def test_an_engine_is_filled_and_asked_in_both_layouts(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "QUESTIONS", 10)
    # Without a network the peer runs where the tests do.
    monkeypatch.setattr(engines, "command", lambda _: [sys.executable])
    arguments = ["--vectors", "400", "--tenants", "20", "--dir", str(tmp_path), "--json"]
    assert main(["engines", "--only", name, *arguments]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for row in ("400_20", "400_1"):
        for figure in FIGURES:
            assert figures[f"{figure}/{name}/{row}"] >= 0
        assert figures[f"recall@10/{name}/{row}"] >= 0.9
    assert figures[f"rss_mb/{name}"] > 10
    assert figures[f"disk_mb/{name}"] > 0.1
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_cannot_run_is_left_out_with_the_reason(capsys, monkeypatch):
    def command(_):
        return [sys.executable, "-c", "raise SystemExit('no such package')"]

    monkeypatch.setattr(engines, "command", command)
    assert main(["engines", "--only", "lancedb", "--vectors", "200", "--tenants", "2"]) == 0
    assert "lancedb was not measured: no such package" in capsys.readouterr().out


@pytest.mark.parametrize("package", engines.PEERS.values())
def test_every_peer_is_pinned(package):
    assert engines.pinned(package).startswith(f"{package}==")


def test_vectors_that_tenants_cannot_share_are_refused(capsys):
    assert main(["engines", "--vectors", "1001"]) == 2
    assert "pass a multiple of --tenants" in capsys.readouterr().err


def test_vectors_of_a_topic_are_near_and_a_question_is_near_its_source():
    vectors = make(2_000, seed=1)
    cosines = vectors @ vectors.T
    assert np.allclose(np.diag(cosines), 1, atol=1e-5)
    assert abs(float(cosines.mean())) < 0.1
    asked = ask(vectors, 20, among=5, count=50, seed=1)
    assert len(set(asked.tenants)) == 5
    nearest = []
    for tenant, question, best in zip(
        asked.tenants, asked.vectors, exact(vectors, 20, asked, 10), strict=True
    ):
        assert len(best) == 10
        assert all(number // 100 == tenant for number in best)
        nearest.append(float((vectors[sorted(best)] @ question).max()))
    assert float(np.median(nearest)) == pytest.approx(0.7, abs=0.1)


def test_a_process_is_measured_with_what_it_started():
    import subprocess

    code = "import time; data = b'x' * 50_000_000; print(len(data), flush=True); time.sleep(60)"
    alone = resident_mb([os.getpid()])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            assert child.pid in tree([os.getpid()])
            assert resident_mb([os.getpid()]) > alone + 40
            assert cpu_seconds([os.getpid()]) > 0
        finally:
            child.kill()


def test_bytes_a_turn_are_measured_of_every_place(capsys):
    assert main(["bytes", "--turns", "200", "--count", "2000", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for name in ("sqlite", "postgres", "edge", "pgvector"):
        # At least the vector itself, in half precision.
        assert figures[f"bytes_per_turn/{name}"] > 2 * 384
    assert 20 < figures["bytes_per_conversation/redis"] < 250
