"""Sync and async faces: from every place users call them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading

import pytest

from rag_memory_plugins import aopen_memory, open_memory
from rag_memory_plugins.errors import ForkedProcess, WouldDeadlock
from rag_memory_plugins.testing.fakes import WordEmbedder


def test_a_sync_method_works_inside_a_running_loop(opened):
    ann = opened().conversation("acme", "ann", "monday")

    async def cell():
        ann.add("the parrot")  # as in a notebook cell: a loop runs in this very thread
        return ann.search("parrot")

    assert len(asyncio.run(cell())) == 1


async def test_async_methods_and_async_opening_work_on_any_loop(tmp_path):
    async with await aopen_memory(tmp_path / "memory.db", embedder=WordEmbedder()) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        await ann.aadd("the parrot")
        assert len(await ann.asearch("parrot")) == 1
        assert (await ann.acontext("parrot", 200)).tokens <= 200


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run on this system")
def test_async_methods_work_under_uvloop(opened):
    import uvloop

    ann = opened().conversation("acme", "ann", "monday")

    async def work():
        await asyncio.gather(*(ann.aadd("yes", id=f"m{n}") for n in range(20)))
        return await ann.asearch("yes")

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()
    assert len(ann.messages()) == 20


def test_one_memory_serves_two_loops_at_once(opened):
    ann = opened().conversation("acme", "ann", "monday")
    both = threading.Barrier(2)

    def work(name):
        async def run():
            both.wait()
            for n in range(20):
                await ann.aadd(f"{name} {n}", id=f"{name}-{n}")
                await ann.asearch("parrot")

        asyncio.run(run())

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [m.id for m in ann.messages()]
    for name in ("one", "two"):
        assert [i for i in ids if i.startswith(name)] == [f"{name}-{n}" for n in range(20)]


def test_sync_methods_work_from_many_threads(opened):
    ann = opened().conversation("acme", "ann", "monday")
    threads = [
        threading.Thread(target=lambda n=n: [ann.add("yes", id=f"{n}-{k}") for k in range(20)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ann.messages()) == 160


def test_a_sync_call_from_a_callback_on_the_portal_is_refused_at_once(opened):
    caught = []

    def hook(event):
        if event.name == "search":
            try:
                ann.recent()
            except WouldDeadlock as error:
                caught.append(str(error))

    ann = opened(hooks=[hook]).conversation("acme", "ann", "monday")
    ann.search("anything")
    assert "recent() waits for the portal" in caught[0]
    assert "a prefix" in caught[0]


def test_context_variables_reach_the_embedder(opened, words, monkeypatch):
    request = contextvars.ContextVar("request", default="none")
    seen = []
    inner = words.aembed_query

    async def spy(text):
        seen.append(request.get())
        return await inner(text)

    monkeypatch.setattr(words, "aembed_query", spy)
    ann = opened().conversation("acme", "ann", "monday")
    request.set("r1")
    ann.search("x")
    asyncio.run(ann.asearch("x"))
    assert seen == ["r1", "r1"]


async def test_cancelling_an_async_call_cancels_it_on_the_portal(opened, words, monkeypatch):
    started, cancelled = threading.Event(), threading.Event()

    async def hang(text):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr(words, "aembed_query", hang)
    ann = opened().conversation("acme", "ann", "monday")
    task = asyncio.create_task(ann.asearch("x"))
    await asyncio.to_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 10)
    await ann.aadd("life goes on")


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of fork with threads
from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import ForkedProcess
memory = open_memory(sys.argv[1], embedder=None)
ann = memory.conversation("acme", "ann", "monday")
ann.add("the parrot")
child = os.fork()
if child == 0:
    try:
        ann.search("parrot")
    except ForkedProcess as error:
        with open_memory(sys.argv[1], embedder=None) as mine:
            found = mine.conversation("acme", "ann", "monday").search("parrot")
            os._exit(0 if len(found) == 1 and "open_memory() in the child" in str(error) else 4)
    os._exit(3)
_, status = os.waitpid(child, 0)
assert len(ann.search("parrot")) == 1
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_fork_the_childs_use_is_a_typed_error_and_it_can_open_its_own(tmp_path):
    command = [sys.executable, "-c", FORK, str(tmp_path / "memory.db")]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    assert issubclass(ForkedProcess, Exception)


EXIT = """
import sys
from rag_memory_plugins import open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder
memory = open_memory(sys.argv[1], embedder=WordEmbedder())
memory.conversation("acme", "ann", "monday").add([f"turn {n}" for n in range(200)])
"""


def test_an_open_memory_is_drained_at_interpreter_exit(tmp_path):
    path = tmp_path / "memory.db"
    command = [sys.executable, "-W", "error", "-c", EXIT, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    with open_memory(path, embedder=WordEmbedder(), background=False) as memory:
        assert memory.backlog() == 0
        assert memory.conversation("acme", "ann", "monday").stats().messages == 200


def test_a_memory_that_nobody_holds_ends_its_threads(tmp_path):
    def threads():
        return [
            t for t in threading.enumerate() if t.name.startswith(("rag-memory-w", "rag-memory-r"))
        ]

    before = threads()
    for _ in range(3):  # a notebook cell, run again and again
        memory = open_memory(tmp_path / "memory.db", embedder=None)
        memory.conversation("acme", "ann", "monday").add("hello", id="m1")
    assert len(memory.conversation("acme", "ann", "monday").messages()) == 1
    del memory
    gc.collect()
    for thread in threads():
        if thread not in before:
            thread.join(10)
    assert [t for t in threads() if t not in before] == []


FIRST_CELL = """
from rag_memory_plugins import open_memory
memory = open_memory('memory.db', embedder=None)
ann = memory.conversation('acme', 'ann', 'monday')
ann.add('The parrot is called Kiko', id='m1')
"""
NOTEBOOK = [FIRST_CELL, "ann.search('parrot')", "(await ann.asearch('parrot'))[0].message.content"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own packages
def test_sync_and_async_work_in_a_notebook_kernel_and_a_cell_may_run_again(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(source) for source in (*NOTEBOOK, *NOTEBOOK)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "Kiko" in notebook.cells[2].outputs[0]["data"]["text/plain"]
    for cell in (notebook.cells[1], notebook.cells[4]):
        assert "<table>" in cell.outputs[0]["data"]["text/html"]
        assert "1 hits" in cell.outputs[0]["data"]["text/plain"]
