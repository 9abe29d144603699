"""`python -m benchmarks tokens`: its figures on a conversation small enough to check by hand."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from benchmarks import growth, tokens
from benchmarks.__main__ import main
from benchmarks.evidence import Given, answered, recent, stale
from benchmarks.report import Report, progress_bar
from benchmarks.scenario_files import read
from benchmarks.scenarios import Dialogue, Outdated, Probe
from rag_memory_plugins import Message
from rag_memory_plugins.tokens import make_counter

pytest.importorskip("tiktoken", reason="the extra `llama-index` is not installed")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "tokens-data.md"
TEXTS = {
    "old": "Paint the hull sea green, two coats of it, before the rain comes.",
    "new": "The hull becomes slate grey after all, says the harbour master.",
}
PROBE = Probe(
    "Which colour is it?",
    "slate grey",
    frozenset({"new"}),
    (Outdated("sea green", frozenset({"old"})),),
)


def run(*arguments: str) -> tuple[int, dict[str, float], str]:
    """(exit code, figures, stderr)."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = main(["tokens", "--keywords", "--json", *arguments])
    return code, json.loads(out.getvalue().splitlines()[-1]) if code == 0 else {}, error.getvalue()


def example() -> str:
    """The file that the page shows."""
    return DOCS.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]


def saved(folder: Path, text: str) -> str:
    path = folder / "data.json"
    path.write_text(text, encoding="utf-8")
    return str(path)


def given(*keys: str, scores: dict[str, float] | None = None) -> Given:
    return Given("\n".join(TEXTS[key] for key in keys), keys, scores or {})


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    code, found, error = run("--data", saved(tmp_path_factory.mktemp("data"), example()))
    assert code == 0, error
    return found


def test_a_conversation_that_fits_is_sent_whole_and_answers_everything(
    figures: dict[str, float],
) -> None:
    keys = ("answers/50", "answers/50/recent", "answers/50/hobby", "answers/50/as_proposed")
    assert [figures[key] for key in keys] == [1, 1, 1, 1]


def test_no_context_of_the_run_is_over_its_budget(figures: dict[str, float]) -> None:
    assert figures["over_budget"] == 0


def test_the_whole_history_is_counted_anew_for_each_turn(figures: dict[str, float]) -> None:
    messages = read_example()
    count = make_counter("cl100k_base").count_messages
    assert figures["tokens/50/full_history"] == sum(count(messages[:at]) for at in (1, 3, 5))


def read_example() -> list[Message]:
    (item,) = json.loads(example())["conversations"]
    return [Message(m["role"], m["content"], id=m["id"]) for m in item["messages"]]


def test_a_conversation_counts_for_the_size_nearest_by_ratio() -> None:
    def of(turns: int) -> int:
        messages = [Message("user", "x", id=str(at)) for at in range(turns)]
        return tokens.bucket(Dialogue("d", "s", messages, []))

    assert [of(turns) for turns in (1, 70, 71, 316, 317)] == [50, 50, 100, 100, 1_000]


def test_the_example_of_the_page_is_read_as_it_is_written(tmp_path: Path) -> None:
    (talk,) = read(saved(tmp_path, example()))
    assert (talk.turns, [probe.lexical for probe in talk.probes]) == (3, [False, False])


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('"evidence": ["m5"]', '"evidence": ["m9"]', "conversations[0].probes[0]"),
        ('"answer": "oiled ash"', '"answer": "oak"', "conversations[0].probes[1]"),
        ('"answer": "sea green"', '"answer": "red"', "conversations[0].probes[0].outdated[0]"),
        ('"support"', '"suport"', "unknown field 'suport'"),
        ('"role": "user"', '"role": "tool"', "conversations[0].messages[0]"),
        ('"id": "m2"', '"id": "m1"', "the id 'm1' is taken"),
        ("2026-03-01T10:00:00Z", "yesterday", "conversations[0].messages[2]"),
        ('"question"', '"asked"', "no field 'question'"),
        ('"conversations"', '"talks"', "no field 'conversations'"),
        ("{", "[", "is not JSON"),
    ],
)
def test_data_that_cannot_be_measured_is_one_sentence_that_names_the_place(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    code, _, error = run("--data", saved(tmp_path, example().replace(before, after, 1)))
    sentence = error.strip().splitlines()[-1]
    assert (code, sentence[:8], reason in sentence) == (2, "--data: ", True), sentence


def test_an_answer_counts_only_with_the_words_around_it() -> None:
    elsewhere = Given("the roof is slate grey and wet", ["x"])
    assert not answered(elsewhere, "slate grey", {"new"}, TEXTS)


def test_an_answer_counts_in_a_shortened_message() -> None:
    cut = Given("[...] becomes slate grey after all, says [...]", ["new"])
    assert answered(cut, "slate grey", {"new"}, TEXTS)


def test_an_answer_counts_in_a_summary_line_that_cites_its_message() -> None:
    line = Given("- colour: slate grey [new]\n- something else", [])
    assert answered(line, "slate grey", {"new"}, TEXTS)


def test_an_answer_inside_a_longer_word_does_not_count() -> None:
    texts = {"a": "the delay is 12 ms here"}
    assert not answered(Given("the delay is 312 ms here", ["a"]), "12 ms", {"a"}, texts)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (given("old"), True),
        (given("new"), False),
        (given("new", "old"), False),
        (given("old", "new"), True),
        (given("old", "new", scores={"old": 1.0, "new": 2.0}), False),
        (given("new", "old", scores={"old": 2.0, "new": 1.0}), True),
        (Given("", []), False),
    ],
)
def test_an_outdated_value_outranks_alone_or_from_above(context: Given, expected: bool) -> None:
    assert stale(context, PROBE, TEXTS) is expected


def test_the_last_turns_have_no_gap_and_fit() -> None:
    messages = [Message("user", "word " * size, id=str(size)) for size in (1, 30, 2, 3)]
    count = make_counter("words").count_messages
    assert recent(messages, 30, count).order == ["3", "2"]


def test_what_two_texts_begin_with_is_counted_in_characters() -> None:
    from benchmarks.walks import common

    assert [common("abc", other) for other in ("abd", "abcd", "ab", "x")] == [2, 3, 2, 0]


def test_growth_times_both_histories_and_their_ratio(tmp_path: Path) -> None:
    report = Report("tokens")
    with progress_bar() as progress:
        counter = make_counter("cl100k_base")
        growth.measure(report, tmp_path, 1, counter, progress, (("1k", 40), ("10k", 80)))
    assert report.figures.keys() >= {"context_ms_p50/1k", "context_ms_p50/10k", "context_ms_ratio"}
