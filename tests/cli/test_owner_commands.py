"""What the owner of a store does from the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rag_memory_plugins import open_memory
from rag_memory_plugins.cli.main import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_memory("memory.db", embedder=None) as memory:
        for tenant in ("acme", "globex"):
            memory.conversation(tenant, "ann", "monday").add(f"the piano of {tenant}", id="m1")

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_migrate_copies_and_checks_and_says_when_they_differ(run):
    told = json.loads(run("migrate", "--from", "memory.db", "--to", "new.db", "--json").stdout)
    assert told["sound"]
    assert told["rows"]["messages"] == 2
    run("migrate", "--from", "memory.db", "--to", "new.db", "--check")
    with open_memory("new.db", embedder=None) as memory:
        memory.conversation("acme", "ann", "monday").add("more")
    text = run("migrate", "--from", "memory.db", "--to", "new.db", "--check", code=1).stdout
    assert "messages of acme/ann differ" in text


def test_reembed_and_drop_index_by_the_name_of_an_embedder(run):
    name = "rag_memory_plugins.testing.fakes:WordEmbedder"
    assert "is whole" in run("reembed", "memory.db", "--embedder", name).stdout
    error = run("reembed", "memory.db", "--embedder", "nothing:here", code=1).stderr
    assert "module:name" in error
    assert "removed 2 vectors" in run("drop-index", "memory.db", "words/1/64", "--yes").stdout


def test_a_tenant_is_counted_exported_and_erased(run):
    assert json.loads(run("stats", "--tenant", "acme", "--json").stdout)["messages"] == 1
    lines = run("export", "--tenant", "acme").stdout.splitlines()
    assert [json.loads(line)["content"] for line in lines] == ["the piano of acme"]
    told = json.loads(
        run("erase", "--tenant", "acme", "--level", "tenant", "--yes", "--json").stdout
    )
    assert told["complete"]
    assert told["removed"]["messages"] == 1
    assert json.loads(run("stats", "--tenant", "acme", "--json").stdout)["messages"] == 0
    assert json.loads(run("stats", "--tenant", "globex", "--json").stdout)["messages"] == 1
