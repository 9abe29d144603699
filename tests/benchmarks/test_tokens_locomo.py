"""`python -m benchmarks tokens --locomo`: a talk that fits into a context answers everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main

pytest.importorskip("tiktoken", reason="the extra `llama-index` is not installed")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "tokens-data.md"


def test_evidence_of_a_talk_that_fits_stands_in_every_context(
    tmp_path: Path, talk_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # A small conversation beside it: without --data the benchmark would make up long ones.
    data = tmp_path / "data.json"
    data.write_text(DOCS.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0])
    arguments = ["tokens", "--keywords", "--json", "--data", str(data), "--locomo", talk_file]
    assert main(arguments) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["questions/locomo"] == 2
    assert figures["answers/locomo"] == 1.0
    assert figures["saved/locomo"] <= 0  # all is sent, with the frame of a context around it
