"""`python -m benchmarks conversations`: 50 conversations of 5 turns, with Postgres and with SQLite."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    import contextlib
    import io

    out = io.StringIO()
    folder = str(tmp_path_factory.mktemp("place"))
    with contextlib.redirect_stdout(out):
        arguments = ["--count", "50", "--turns", "5", "--dir", folder, "--json"]
        assert main(["conversations", *arguments]) == 0
    return json.loads(out.getvalue().splitlines()[-1])


@pytest.mark.parametrize("setup", ["", "/sqlite"])
def test_of_many_conversations_at_once_no_turn_is_lost_or_out_of_order(figures, setup):
    for name in ("lost", "reordered", "uncounted", "without_vector"):
        assert figures[f"{name}{setup}"] == 0


@pytest.mark.parametrize("setup", ["", "/sqlite"])
def test_acknowledgements_are_timed(figures, setup):
    assert 0 < figures[f"ack_ms_p50{setup}"] <= figures[f"ack_ms_p99{setup}"]
    assert figures[f"turns_per_s{setup}"] > 0


def test_no_conversation_is_refused(capsys):
    assert main(["conversations", "--count", "0"]) == 2
    assert "--count and --turns must be 1 or more" in capsys.readouterr().err
