"""README, docs and notebooks are run: every Python block, every cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.langchain.scripted import ScriptedModel
from tests.llama_index.scripted import ScriptedLLM
from tests.stores.servers import PostgresServer, RedisServer

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


SERVERS = {"postgres_url": PostgresServer, "redis_url": RedisServer}


@pytest.fixture
def urls(page) -> Iterator[dict[str, str]]:
    """The URL of a real server under each name that the page speaks of."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(server()).url()
            for name, server in SERVERS.items()
            if name in page.read_text()
        }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the frameworks' own packages
def test_every_python_block_of_a_page_runs_from_top_to_bottom(page, urls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = {"llm": ScriptedLLM("In Lisbon."), "model": ScriptedModel(*["In Lisbon."] * 40)}
    names = {**models, **urls}
    for block in re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        line = page.read_text()[: block.start()].count("\n") + 1
        code = compile("\n" * line + block.group(1), str(page), "exec")
        exec(code, names)  # our own pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own packages
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    # What a reader installs is what is under test here; and tests have no network.
    notebook.cells = [c for c in notebook.cells if not c.source.startswith("%pip install")]
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_there_are_pages_and_notebooks():
    assert len(PAGES) >= 2
    assert NOTEBOOKS
