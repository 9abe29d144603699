"""A small conversation of LoCoMo's shape, written for these tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.talk_files import Talk, read

TURNS = {
    "session_1": [
        ("Ines", "My sister opened a bakery in Porto last week."),
        ("Omar", "Congratulations! I am still painting the boat."),
        ("Ines", "Which colour did you choose?"),
        ("Omar", "Dark green, with a white stripe along the keel."),
    ],
    "session_2": [
        ("Ines", "The bakery won a prize for its rye bread."),
        ("Omar", "I sold the boat and bought a cello instead."),
    ],
    "session_3": [
        ("Ines", "Do you take lessons?"),
        ("Omar", "Every Tuesday, with a teacher called Marta."),
    ],
}
QUESTIONS = (
    ("Which prize did the rye bread of the bakery win?", 4, ["D2:1"]),
    ("What became of the boat that Omar painted dark green?", 1, ["D1:4", "D2:2"]),
)


@pytest.fixture
def talk_file(tmp_path: Path) -> str:
    """Path of a file with one talk: three sessions, eight turns, two questions."""
    conversation: dict[str, object] = {"speaker_a": "Ines", "speaker_b": "Omar"}
    for number, (session, turns) in enumerate(TURNS.items(), 1):
        conversation[f"{session}_date_time"] = f"{number}:05 pm on {number} March, 2024"
        conversation[session] = [
            {"speaker": who, "dia_id": f"D{number}:{at}", "text": text}
            for at, (who, text) in enumerate(turns, 1)
        ]
    asked = [
        {"question": text, "category": category, "evidence": evidence}
        for text, category, evidence in QUESTIONS
    ]
    item = {"sample_id": "small", "conversation": conversation, "qa": asked}
    path = tmp_path / "small.json"
    path.write_text(json.dumps([item]), encoding="utf-8")
    return str(path)


@pytest.fixture
def talk(talk_file: str) -> Talk:
    """The same talk, read."""
    return read(talk_file)[0]
