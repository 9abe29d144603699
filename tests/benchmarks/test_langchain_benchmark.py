"""`python -m benchmarks langchain`: with tiny counts, all that it prints."""

from __future__ import annotations

import json
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from benchmarks import agent_turns, kept_turns, langgraph_store
from benchmarks.__main__ import main
from benchmarks.agent_turns import Pair
from benchmarks.kept_turns import summary
from benchmarks.langgraph_store import search
from benchmarks.random_vectors import ClusteredVectors
from benchmarks.report import BadData
from benchmarks.scenarios import Probe
from benchmarks.timed import Clock
from rag_memory_plugins import open_memory

ACCEPTANCE = {
    f"{name}_search_ms_p50/{of}" for name in ("store", "inmemory") for of in ("10k", "100k")
}
ACCEPTANCE |= {f"middleware_ms_p50/{of}" for of in ("100", "1k", "10k")}
ACCEPTANCE |= {"kept_old_turns/ours", "kept_old_turns/summarization"}
SCALE = 0.002
CHAT = 30
"""Turns of the conversation whose old turns are asked about."""


def figures(monkeypatch, *arguments: str) -> dict[str, float]:
    monkeypatch.setattr(langgraph_store, "TURNS", {"1k": 2, "10k": 2, "100k": 2})
    monkeypatch.setattr(langgraph_store, "WRITES", 1)
    monkeypatch.setattr(agent_turns, "TURNS", 2)
    monkeypatch.setattr(agent_turns, "WARM_UP", 1)
    share = SCALE * (kept_turns.QUICK if "--quick" in arguments else 1)
    monkeypatch.setattr(kept_turns, "TURNS", round(CHAT / share))
    monkeypatch.setattr(kept_turns, "default_encodings", lambda _: nullcontext(ClusteredVectors()))
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = main(["langchain", "--scale", str(SCALE), "--json", *arguments])
    assert code == 0, error.getvalue()
    found: dict[str, float] = json.loads(out.getvalue().splitlines()[-1])
    return found


def test_every_figure_of_the_acceptance_is_there(monkeypatch):
    found = figures(monkeypatch)
    assert ACCEPTANCE - found.keys() == set()
    assert 3_000 < found["request_tokens/ours"] <= 4_000
    assert found["kept_old_turns/summarization_untrimmed"] == 1
    assert found["summariser_tokens/summarization"] < found["conversation_tokens"] / 2
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


def test_a_summariser_writes_down_the_facts_that_it_is_shown_and_no_other():
    facts = [Probe(f"Which colour has the {what}?", colour, frozenset()) for what, colour in PAINT]
    shown = [HumanMessage("The hull becomes Sea Green.")]
    assert summary(facts, shown) == "- Which colour has the hull? sea green"


PAINT = [("hull", "sea green"), ("mast", "slate grey")]


@pytest.mark.parametrize("name", ["middleware", "agent"])
def test_a_turn_that_did_not_do_what_is_timed_is_no_figure(tmp_path, name):
    with open_memory(tmp_path / "memory.db", embedder=None) as memory:
        pair = Pair(memory, "10k")
        answer = {"messages": [AIMessage("It was noted.")]}
        wrong = ["which crane?"] if name == "middleware" else ["a", "b", "which crane?"]
        pair._model.invoke(wrong)
        with pytest.raises(BadData, match=f"{name}/10k: the model got {len(wrong)} messages"):
            pair.check(name, answer, "which crane?")
