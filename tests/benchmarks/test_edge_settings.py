"""`python -m benchmarks edge_settings` on few vectors of few numbers."""

from __future__ import annotations

import json

import pytest

from benchmarks import edge_settings
from benchmarks.__main__ import main


def test_every_setting_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(edge_settings, "MS", (16,))
    monkeypatch.setattr(edge_settings, "EFS", (16, 256))
    assert main(["edge_settings", "--count", "1200", "--dimension", "16", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["recall@10/exact"] == pytest.approx(1.0, abs=0.01)
    assert figures["recall@10/m16_ef256"] >= max(0.95, figures["recall@10/m16_ef16"])
    for name in ("put_ms_p50/exact", "build_s/m16", "remove_s/m16_1000", "search_ms_p95/m16_ef16"):
        assert name in figures


def test_too_few_vectors_are_refused(capsys):
    assert main(["edge_settings", "--count", "10"]) == 2
    assert "--count must be 1,100 or more" in capsys.readouterr().err
