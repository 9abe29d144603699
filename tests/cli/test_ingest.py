"""`rag-memory ingest`, through the front door of the command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rag_memory_plugins import open_memory
from rag_memory_plugins.cli.main import app

ANN = ("--tenant", "acme", "--user", "ann")
QUICK = (*ANN, "--no-embed")
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder of its own; expects exit code `code`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "standup.txt").write_text(
        "Date: 8 May 2026 14:30\n\n[00:00:05] Ann: The launch moves to Friday.\n"
        "[00:00:09] Bob: Fine.\n",
        encoding="utf-8",
    )
    (tmp_path / "budget.vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Kim>We have 40,000 left.</v>\n", encoding="utf-8"
    )

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, result.output
        return result

    return invoke


def one_line(result: Result) -> str:
    line = result.stderr.rstrip("\n")
    assert "\n" not in line
    assert not result.stdout
    return line


def test_a_file_is_stored_and_found(run: Run) -> None:
    text = run("ingest", "standup.txt", *QUICK).stdout
    assert "2 new of 2 turns (text), 2 speaker(s), session 'standup.txt'" in text
    assert "from 2026-05-08 14:30 UTC" in text
    found = json.loads(run("search", "when is the launch", *ANN, "--json").stdout)
    assert found["hits"][0]["name"] == "Ann"
    assert found["hits"][0]["time"] == "2026-05-08T14:30:05+00:00"


def test_several_files_as_json_and_once_only(run: Run) -> None:
    command = ("ingest", "standup.txt", "budget.vtt", *QUICK, "--json")
    done = json.loads(run(*command).stdout)
    assert [(one["file"], one["kind"], one["new"]) for one in done["files"]] == [
        ("standup.txt", "text", 2),
        ("budget.vtt", "vtt", 1),
    ]
    assert done["files"][0]["speakers"] == ["Ann", "Bob"]
    assert done["files"][0]["start"] == "2026-05-08T14:30:00+00:00"
    again = json.loads(run(*command).stdout)
    assert [(one["turns"], one["new"]) for one in again["files"]] == [(2, 0), (1, 0)]


def test_session_start_format_and_database_are_as_asked(run: Run, tmp_path: Path) -> None:
    options = ("--session", "s", "--start", "2026-01-02T03:04", "--format", "text")
    run("ingest", "standup.txt", *QUICK, *options, "--db", "other.db")
    with open_memory(tmp_path / "other.db", embedder=None) as memory:
        first = memory.conversation("acme", "ann", "s").messages()[0]
    assert first.time.isoformat() == "2026-01-02T03:04:05+00:00"
    assert not (tmp_path / "memory.db").exists()


def test_vectors_are_made_unless_left_for_later(run: Run) -> None:
    assert json.loads(run("ingest", "budget.vtt", *QUICK, "--json").stdout)["pending"] == 1
    assert "pending" in json.loads(run("ingest", "budget.vtt", *ANN, "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["standup.txt", "--tenant", "acme"], "--user"),
        (["standup.txt", "--user", "ann"], "--tenant"),
        (["standup.txt", *ANN, "--format", "pdf"], "--format"),
        (["standup.txt", *ANN, "--start", "noon"], "--start"),
        (["standup.txt", "budget.vtt", *ANN, "--session", "s"], "--session"),
        ([*ANN], "FILE"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_option(run: Run, arguments, words) -> None:
    assert words in run("ingest", *arguments, code=2).stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "a file that you may read"),
        (b"", "an empty file"),
        (b"%PDF-1.7", "save the transcript as text or WebVTT"),
        (b"Ann: hi\nBob: \xff", "bad.txt, line 2: .*UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_in_one_line(
    run: Run, tmp_path: Path, content, words
) -> None:
    if content is not None:
        (tmp_path / "bad.txt").write_bytes(content)
    line = one_line(run("ingest", "standup.txt", "bad.txt", *QUICK, code=1))
    assert line.startswith("error: ")
    assert not (tmp_path / "memory.db").exists()
    assert re.search(words, line)


def test_another_start_than_before_is_an_error_in_one_line(run: Run) -> None:
    run("ingest", "standup.txt", *QUICK)
    line = one_line(run("ingest", "standup.txt", *QUICK, "--start", "2020-01-01", code=1))
    assert "stored from 2026-05-08T14:30:00+00:00" in line


def test_a_files_name_cannot_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "[red]x[").write_text("Ann: hi", encoding="utf-8")
    assert "'[red]x['" in run("ingest", "[red]x[", *QUICK).stdout
