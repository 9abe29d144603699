"""`rag-memory context`: what a model would get, with the figures and the reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rag_memory_plugins import open_memory
from rag_memory_plugins.cli.main import app

WHO = ("--tenant", "acme", "--user", "ann", "--session", "launch")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty turns of one session, without vectors."""
    path = tmp_path_factory.mktemp("context") / "memory.db"
    with open_memory(path, embedder=None, background=False) as memory:
        talk = memory.conversation("acme", "ann", "launch")
        talk.add(
            [
                {
                    "role": "user" if number % 2 == 0 else "assistant",
                    "content": f"Turn {number}: the harbour opens at {number} and the crane waits.",
                    "id": f"m{number}",
                }
                for number in range(60)
            ]
        )
        talk.add("\x1b[31mred\x1b[0m harbour [bold]news[/bold]", id="m60")
    return path


@pytest.fixture
def run(database: Path) -> Run:
    def invoke(*arguments: str, code: int = 0) -> Result:
        command = ["context", "When does the harbour open?", *WHO, "--db", str(database)]
        result = CliRunner().invoke(app, [*command, *arguments])
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_it_prints_the_context_its_parts_and_its_mode(run: Run) -> None:
    text = run("--budget", "400").stdout
    assert "of 400 tokens" in text
    assert "━" in text
    assert "\nmode balanced: " in text
    assert "tokens of history" in text
    assert "over the share" not in text


def test_with_explain_it_prints_every_piece_and_why(run: Run) -> None:
    text = run("--budget", "400", "--explain").stdout
    assert "     part " in text
    assert "\nin   recent" in text
    assert "\nout  " in text
    assert "(launch #m60)" in text


@pytest.mark.parametrize("mode", ["full", "balanced", "safe"])
def test_the_mode_may_be_asked_for(run: Run, mode: str) -> None:
    made = json.loads(run("--mode", mode, "--json").stdout)
    assert (made["mode"], made["mode_reason"]) == (mode, "asked for")


def test_a_mode_that_is_none_is_wrong_usage(run: Run) -> None:
    assert "--mode" in run("--mode", "tiny", code=2).stderr


def test_as_json_it_is_the_explanation_and_what_is_sent(run: Run) -> None:
    made = json.loads(run("--budget", "400", "--json").stdout)
    assert 0 < made["tokens"] <= 400
    assert made["history_tokens"] > made["tokens"]
    assert {piece["included"] for piece in made["pieces"]} == {True, False}
    assert sum(part["tokens"] for part in made["parts"]) > 0
    assert made["messages"][-1]["role"] == "user"
    assert "harbour" in made["text"]


def test_stored_text_neither_colours_nor_marks_up_the_screen(run: Run) -> None:
    text = run("--explain").stdout
    assert "\x1b" not in text
    assert "[bold]news[/bold]" in text
