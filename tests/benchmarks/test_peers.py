"""Peers beside ours: each that is installed finds a turn; one that is not is named, and left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.progress import Progress

from benchmarks import peers, side_by_side
from benchmarks.report import BadData, Report
from benchmarks.scores import KEYS
from benchmarks.side_by_side import Stage
from benchmarks.talk_files import Talk
from benchmarks.vectors import AtHand
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.tokens import make_counter

PRIZE = "Which prize did the rye bread of the bakery win?"
RANKED = [name for name in peers.NAMES if peers.load(name).RANKS]


@pytest.fixture
def stage(talk: Talk, tmp_path: Path) -> Iterator[Stage]:
    with Progress(disable=True) as progress:
        yield Stage([talk], make_counter("cl100k_base"), tmp_path, WordEmbedder(), progress)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a peer's set-up writes into the environment is taken back."""
    for name in ("MEM0_TELEMETRY", "MEM0_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, "False"))


def measured(stage: Stage, *names: str) -> Report:
    report = Report("recall")
    side_by_side.measure(report, list(names), stage)
    return report


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("name", RANKED)
def test_a_peer_finds_the_turn_that_shares_the_questions_words(
    name: str, talk: Talk, tmp_path: Path
) -> None:
    module = peers.load(name)
    if reason := peers.missing(module):
        pytest.skip(reason)
    vectors = AtHand(WordEmbedder())
    with closing(module.opened(talk, tmp_path, vectors)) as peer:
        for session, messages in talk.sessions.items():
            for message in messages:
                peer.add(session, message)
        peer.finish()
        found = peer.search(PRIZE, 3)
        assert found[0] == "D2:1"
        assert len(found) <= 3
        # Every session is searched, and nothing is named that was not said.
        everything = peer.search("Ines and Omar: the boat, the bakery, the cello, lessons?", 8)
        assert {talk.session_of[key] for key in everything} == set(talk.sessions)
        assert len(set(everything)) == len(everything)


def test_the_full_history_gives_the_newest_turns_that_fit(stage: Stage) -> None:
    report = measured(stage, "full_history")
    # All eight turns fit into 500 tokens; nothing is ranked.
    assert report.figures["T@500/full_history"] == 1
    assert report.figures["tokens/full_history"] == pytest.approx(110, abs=30)
    assert "R@5/full_history" not in report.figures


def test_a_peer_has_every_key_with_bounds_and_its_times(stage: Stage) -> None:
    figures = measured(stage, "vectors").figures
    wanted = {f"{key}/vectors{more}" for key in KEYS for more in ("", "/low", "/high")}
    wanted |= {"write_ms/vectors", "search_ms_p50/vectors", "search_ms_p95/vectors"}
    assert wanted <= figures.keys()
    assert figures["R@5/vectors/low"] <= figures["R@5/vectors"] <= figures["R@5/vectors/high"]
    assert figures["S@5/vectors"] == 1  # there are but three sessions


def test_a_peer_that_is_not_installed_is_named_with_its_group_and_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = peers.load("mem0")
    monkeypatch.setattr(module, "NEEDS", {"no_such_package.part": peers.GROUP})
    report = measured(stage, "mem0", "full_history")
    assert report.notes == [
        "mem0 left out: no_such_package.part is not installed: pip install --group peers"
    ]
    assert "T@500/full_history" in report.figures
    assert not any("mem0" in key for key in report.figures)


def test_a_peer_that_breaks_costs_its_own_figures_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> peers.Peer:
        raise RuntimeError("the index is torn")

    there = peers.load("vectors")
    torn = SimpleNamespace(NEEDS={}, PARTS=(), EMBEDS=True, RANKS=True, opened=broken)
    monkeypatch.setattr(peers, "load", lambda name: torn if name == "mem0" else there)
    report = measured(stage, "mem0", "vectors")
    assert "mem0 left out: RuntimeError: the index is torn" in report.notes[0]
    assert "R@5/vectors" in report.figures


def test_peers_that_embed_are_left_out_under_keywords(stage: Stage) -> None:
    bare = Stage(stage.talks, stage.counter, stage.folder, None, stage.progress)
    report = measured(bare, "vectors", "ours_keywords")
    assert report.notes == ["vectors left out: it needs an embedder"]
    assert report.figures["R@5/ours_keywords"] > 0.5


def test_an_unknown_peer_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BadData, match=r"there is no 'memo'; there are ours, .*mem0"):
        side_by_side.chosen("ours,memo")


def test_all_peers_are_chosen_by_the_bare_option_and_none_without_it() -> None:
    assert side_by_side.chosen("") == []
    assert side_by_side.chosen(" mem0, ours ,mem0") == ["mem0", "ours"]


def test_vectors_that_were_foreseen_are_made_once_and_cost_no_time_later() -> None:
    inner = WordEmbedder()
    vectors = AtHand(inner)
    vectors.foresee(["rye bread", "a cello"], ["bread?"])
    before, calls = vectors.seconds, inner.calls
    direct = get_portal().call(inner.aembed_query("rye bread"))
    assert vectors.document("rye bread") == pytest.approx(direct.tolist())
    assert vectors.query("rye bread") == vectors.document("rye bread")
    vectors.query("bread?")
    assert (vectors.seconds, inner.calls) == (before, calls + 1)  # the direct one
    vectors.document("a boat")
    assert vectors.seconds > before
