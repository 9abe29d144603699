"""`python -m benchmarks langchain`: with tiny counts, all that it prints."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from benchmarks import langgraph_store
from benchmarks.__main__ import main
from benchmarks.langgraph_store import search
from benchmarks.report import BadData
from benchmarks.timed import Clock

ACCEPTANCE = {
    f"{name}_search_ms_p50/{of}" for name in ("store", "inmemory") for of in ("10k", "100k")
}


def figures(monkeypatch, *arguments: str) -> dict[str, float]:
    monkeypatch.setattr(langgraph_store, "TURNS", {"1k": 2, "10k": 2, "100k": 2})
    monkeypatch.setattr(langgraph_store, "WRITES", 1)
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = main(["langchain", "--scale", "0.002", "--json", *arguments])
    assert code == 0, error.getvalue()
    found: dict[str, float] = json.loads(out.getvalue().splitlines()[-1])
    return found


def test_every_figure_of_the_store_is_there(monkeypatch):
    found = figures(monkeypatch)
    assert ACCEPTANCE - found.keys() == set()
    ratio = found["inmemory_search_ms_p50/100k"] / found["store_search_ms_p50/100k"]
    assert found["store_faster/100k"] == pytest.approx(ratio, rel=0.01)


def test_quick_leaves_out_the_largest(monkeypatch):
    found = figures(monkeypatch, "--quick")
    assert {key for key in found if key.endswith("/100k")} == set()


def test_a_search_that_finds_too_little_is_no_figure():
    class Empty:
        def search(self, *_: object, **__: object) -> list[object]:
            return []

    with pytest.raises(BadData, match="found 0 items"):
        search(Empty(), "which crane?", Clock())
