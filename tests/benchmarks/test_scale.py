"""`python -m benchmarks scale`: what it says and asks, and with tiny counts what it prints."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import islice, pairwise
from pathlib import Path

import pytest

from benchmarks import plots, scale
from benchmarks.__main__ import main
from benchmarks.chats import MONTHS, TURNS, chat, questions
from benchmarks.random_vectors import ClusteredVectors, Foreseen
from benchmarks.report import BadData, Report, progress_bar, written
from benchmarks.timed import Asked, answered, reopened
from rag_memory_plugins import open_memory
from rag_memory_plugins.portal import get_portal

ACCEPTANCE = {
    f"{figure}/{row}"
    for row in ("1k", "1m_10k_tenants")
    for figure in (
        "search_ms_p50",
        "search_ms_p95",
        "search_ms_p50_per_1k",
        "context_ms_p50",
        "cold_search_ms_p50",
        "matrix_ms_p50",
        "rss_mb",
        "file_bytes_per_message",
    )
}
SMALL = replace(scale.SIZES[0], each=3 * TURNS)


def run(*arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = main(["scale", *arguments])
    return code, out.getvalue(), error.getvalue()


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    """Of a row with one tenant and of that with many: 100k differs from 1k by a number alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale, "SIZES", (scale.SIZES[0], scale.SIZES[-1]))
        code, out, error = run("--scale", "0.0001", "--json")
    assert code == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of one tenant with three sessions."""
    path = tmp_path_factory.mktemp("scale") / "small.db"
    with progress_bar() as progress:
        scale.load(path, SMALL, 7, progress)
    return path


def test_a_run_prints_every_key_of_the_acceptance(figures: dict[str, float]) -> None:
    assert figures.keys() >= ACCEPTANCE


def test_a_run_prints_only_finite_numbers_above_zero(figures: dict[str, float]) -> None:
    assert {key: value for key, value in figures.items() if not 0 < value < math.inf} == {}


def test_a_run_says_in_its_figures_that_it_was_scaled(figures: dict[str, float]) -> None:
    assert figures["scale"] == 0.0001


def test_the_rows_and_their_goals_are_those_of_the_acceptance() -> None:
    assert [size.name for size in scale.SIZES] == ["1k", "10k", "100k", "1m_10k_tenants"]
    assert {key: goal.value for key, goal in scale.GOALS.items()} == {
        "search_ms_p50/1k": 2,
        "search_ms_p50/10k": 5,
        "search_ms_p50/100k": 30,
        "cold_search_ms_p50/1k": 25,
        "cold_search_ms_p50/10k": 150,
    }


def test_quick_leaves_out_the_rows_that_take_minutes() -> None:
    assert [size.name for size in scale.SIZES[: scale.QUICK]] == ["1k", "10k"]


def test_cost_per_thousand_turns_is_the_search_over_the_turns_of_one_tenant() -> None:
    report = Report("scale")
    report.put("search_ms_p50/1k", 3.0)
    scale.put_growth(report, replace(scale.SIZES[0], each=500))
    assert report.figures["search_ms_p50_per_1k/1k"] == 6.0


@pytest.mark.parametrize("share", ["0", "1.5"])
def test_a_share_out_of_range_is_one_sentence_and_exit_code_2(share: str) -> None:
    code, out, error = run("--scale", share)
    assert (code, out) == (2, "")
    assert "--scale: got" in error


def test_scaling_keeps_three_sessions_so_that_a_context_has_something_to_recall() -> None:
    assert [size.scaled(0.0001).each for size in scale.SIZES] == [75, 75, 75, 100]


def test_scaling_takes_the_share_of_the_tenants_of_many_and_never_of_one() -> None:
    assert [size.scaled(0.01).tenants for size in scale.SIZES] == [1, 1, 1, 100]


def test_chats_are_the_same_for_a_seed_and_others_for_another() -> None:
    texts = [[m.content for s in chat(seed, 50) for m in s.messages] for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_a_chat_has_the_turns_it_was_asked_for_in_sessions_of_twenty_five() -> None:
    assert [len(session.messages) for session in chat(7, 60)] == [25, 25, 10]


def test_turns_have_ten_to_sixty_words() -> None:
    counts = [len(m.content.split()) for s in chat(7, 2_000) for m in s.messages]
    assert min(counts) >= 10
    assert max(counts) <= 60


def test_turns_have_several_sentences_questions_among_them_and_names() -> None:
    said = [m for s in chat(7, 2_000) for m in s.messages]
    assert statistics.mean(m.content.count(".") + m.content.count("?") for m in said) > 2
    assert 0.25 < statistics.mean(m.content.endswith("?") for m in said) < 0.35
    assert len({m.name for m in said}) == 2


def test_sessions_of_a_thousand_turns_are_weeks_apart_and_in_order() -> None:
    starts = [session.messages[0].time for session in chat(7, 1_000)]
    apart = [(later - earlier).days for earlier, later in pairwise(starts)]
    assert min(apart) >= 14


def test_a_few_words_make_up_much_of_the_text_and_many_are_said_once() -> None:
    words = [w for s in chat(7, 2_000) for m in s.messages for w in m.content.lower().split()]
    counts = Counter(words)
    assert sum(count for _, count in counts.most_common(50)) > 0.3 * len(words)
    assert sum(count == 1 for count in counts.values()) > 0.2 * len(counts)


def test_questions_have_five_to_twelve_words() -> None:
    said = [m for s in chat(7, 1_000) for m in s.messages]
    counts = [len(question.split()) for question in questions(said, 500, 7)]
    assert min(counts) >= 5
    assert max(counts) <= 12


def test_some_questions_name_a_speaker_and_some_a_month() -> None:
    said = [m for s in chat(7, 1_000) for m in s.messages]
    asked = questions(said, 500, 7)
    speakers = {m.name or "" for m in said}
    assert 0.3 < statistics.mean(bool(speakers & set(q.split())) for q in asked) < 0.7
    assert 0.2 < statistics.mean(any(f" {m} " in q for m in MONTHS) for q in asked) < 0.4


def test_a_question_finds_words_in_the_chat_that_are_frequent_and_words_that_are_rare() -> None:
    said = [m for s in chat(7, 1_000) for m in s.messages]
    turns = [set(m.content.lower().replace(".", "").replace("?", "").split()) for m in said]
    spread = []
    for question in questions(said, 50, 7):
        words = question.lower().rstrip("?").split()[3:]
        held = [sum(word in turn for turn in turns) for word in words]
        spread.append((max(held), min(count for count in held if count)))
    assert statistics.median(most for most, _ in spread) > 20 * statistics.median(
        least for _, least in spread
    )


def test_made_up_vectors_have_length_one_and_repeat() -> None:
    embedder = ClusteredVectors()
    first, again = (get_portal().call(embedder.aembed_query("a")) for _ in range(2))
    assert (first == again).all()
    assert float(first @ first) == pytest.approx(1.0)


def test_made_up_vectors_lie_in_clusters() -> None:
    vectors = ClusteredVectors()._vectors([f"text {number}" for number in range(400)])
    cosines = vectors @ vectors.T
    near = (cosines > 0.2).mean()
    # One in 48 shares the topic, one in 512 a random part; without topics almost none is near.
    assert 0.01 < near < 0.05


def test_a_long_word_has_two_tokens_that_lie_side_by_side() -> None:
    encoded = get_portal().call(ClusteredVectors().aencode_query("A sonderable day?"))
    assert encoded.spans == ((0, 1), (2, 7), (7, 12), (13, 16), (16, 17))
    assert encoded.tokens is not None
    assert encoded.tokens.shape == (5, 64)


def test_a_word_has_the_same_token_vectors_in_every_text() -> None:
    asked, other = (
        get_portal().call(ClusteredVectors().aencode_query(text)).tokens
        for text in ("boat", "the boat")
    )
    assert asked is not None
    assert other is not None
    assert (asked[0] == other[1]).all()


def test_a_foreseen_question_is_encoded_as_any_other() -> None:
    foreseen, fresh = (
        get_portal().call(embedder.aencode_query("Who painted the boat?"))
        for embedder in (Foreseen(["Who painted the boat?"]), ClusteredVectors())
    )
    assert (foreseen.vectors == fresh.vectors).all()
    assert (foreseen.tokens == fresh.tokens).all()
    assert foreseen.spans == fresh.spans


def test_loading_writes_every_turn_and_leaves_none_without_a_vector(small: Path) -> None:
    with open_memory(small, embedder=ClusteredVectors(), background=False) as memory:
        assert memory.conversation("tenant-0", "ann", "session-0").stats().messages == 3 * TURNS
        assert memory.backlog() == 0


def test_loading_many_tenants_writes_each_once_whichever_process_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "SLICE", 2)
    size = replace(scale.SIZES[3], tenants=3, each=TURNS)
    with progress_bar() as progress:
        scale.load(tmp_path / "many.db", size, 7, progress)
    with open_memory(tmp_path / "many.db", embedder=ClusteredVectors()) as memory:
        assert sorted(space.tenant for space in memory.namespaces()) == [
            "tenant-0",
            "tenant-1",
            "tenant-2",
        ]
        assert memory.backlog() == 0


def test_a_warm_up_is_not_counted(small: Path) -> None:
    asked = scale.asked_of(0, SMALL, 5, 7)
    steps = {"warm_up": asked[:2], "search": asked[2:4], "context": asked[4:]}
    taken = answered(small, steps)
    assert {name: len(clock.wall) for name, clock in taken.clocks.items()} == {
        "search": 2,
        "context": 1,
    }


def test_a_reopened_memory_is_timed_in_turn_with_and_without_the_systems_pages(
    small: Path,
) -> None:
    taken = reopened(small, scale.asked_of(0, SMALL, 5, 7))
    assert [len(taken.clocks[name].cpu) for name in ("cold_search", "disk_search")] == [2, 2]


def test_a_context_without_recent_turns_stops_the_benchmark(small: Path) -> None:
    asked = [Asked(0, "no-such-session", "What did Ines say about the boat?")]
    with pytest.raises(BadData, match=r"has only \['retrieved'\]"):
        answered(small, {"context": asked})


def test_a_search_without_every_vector_stops_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "pending.db"
    with open_memory(
        path, embedder=ClusteredVectors(), background=False, drain_seconds=0
    ) as memory:
        for session in islice(chat(7, 50), 2):
            memory.conversation("tenant-0", "ann", session.name).add(session.messages)
    with pytest.raises(BadData, match="50 pending"):
        answered(path, {"search": [Asked(0, "session-0", "What was it?")]})


def test_the_picture_has_a_line_for_each_cost_and_a_number_at_each_point(
    figures: dict[str, float], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    report = Report("scale", figures=figures)
    plots.save(report, str(tmp_path / "scale.svg"), scale.picture)
    drawn = (tmp_path / "scale.svg").read_text(encoding="utf-8")
    assert "first search after opening" in drawn
    assert f"<!-- {written(figures['search_ms_p50/1k'])} -->" in drawn
