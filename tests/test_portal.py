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
from rag_memory_plugins.carrying import AHEAD
from rag_memory_plugins.errors import ForkedProcess, WouldDeadlock
from rag_memory_plugins.portal import get_portal
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


class Source:
    """Counts up on the portal; at `hang` it waits, and with `slow` its end waits for a release."""

    def __init__(self, count=5, *, hang=None, slow=False, error=None):
        self.count, self.hang, self.slow, self.error = count, hang, slow, error
        self.made = 0
        self.thread = ""
        self.hanging, self.closing, self.closed = (threading.Event() for _ in range(3))
        self.may_close = threading.Event()

    async def pieces(self):
        self.thread = threading.current_thread().name
        try:
            for number in range(self.count):
                if number == self.hang:
                    self.hanging.set()
                    await asyncio.Event().wait()
                self.made += 1
                yield number
            if self.error:
                raise self.error
        finally:
            self.closing.set()
            if self.slow:
                await asyncio.to_thread(self.may_close.wait, 10)
            self.closed.set()

    def carried(self):
        return get_portal().carry(self.pieces())


def portal_tasks():
    async def count():
        return len([task for task in asyncio.all_tasks() if "_run" in repr(task.get_coro())])

    return get_portal().call(count())


def test_pieces_are_made_on_the_portal_and_read_in_order_on_another_loop():
    source = Source(300)

    async def read():
        return [piece async for piece in source.carried()]

    assert asyncio.run(read()) == list(range(300))
    assert source.thread == "rag-memory-portal"
    assert source.closed.is_set()
    assert portal_tasks() == 0


async def test_an_error_of_the_source_follows_its_pieces_and_ends_them():
    carried = Source(2, error=ValueError("broken")).carried()
    assert [await anext(carried), await anext(carried)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        await anext(carried)
    with pytest.raises(StopAsyncIteration):
        await anext(carried)


async def test_a_cancelled_read_returns_when_the_source_has_unwound():
    source = Source(hang=1)
    carried = source.carried()
    assert await anext(carried) == 0
    read = asyncio.create_task(anext(carried))
    await asyncio.to_thread(source.hanging.wait, 10)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    assert source.closed.is_set()
    assert await anext(carried, "end") == "end"


async def test_closing_waits_while_a_cancelled_read_still_unwinds():
    source = Source(hang=1, slow=True)
    carried = source.carried()
    await anext(carried)
    read = asyncio.create_task(anext(carried))
    await asyncio.to_thread(source.hanging.wait, 10)
    read.cancel()
    closing = asyncio.create_task(carried.aclose())
    await asyncio.to_thread(source.closing.wait, 10)
    assert not closing.done()
    source.may_close.set()
    await closing
    assert source.closed.is_set()
    with pytest.raises(asyncio.CancelledError):
        await read


async def test_closing_that_is_cancelled_again_and_again_still_waits_for_the_source():
    source = Source(hang=1, slow=True)
    carried = source.carried()
    await anext(carried)
    closing = asyncio.create_task(carried.aclose())
    await asyncio.to_thread(source.closing.wait, 10)
    for _ in range(3):
        closing.cancel()
        await asyncio.sleep(0)
    assert not closing.done()
    source.may_close.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert source.closed.is_set()


async def test_pieces_left_early_are_closed_and_leave_no_task():
    source = Source()
    carried = source.carried()
    assert await anext(carried) == 0
    await carried.aclose()
    await carried.aclose()
    assert source.closed.is_set()
    assert await anext(carried, "end") == "end"
    assert await asyncio.to_thread(portal_tasks) == 0


async def test_pieces_that_nobody_reads_are_never_made():
    source = Source()
    carried = source.carried()
    await carried.aclose()
    assert await anext(carried, "end") == "end"
    assert source.made == 0


async def test_a_reader_that_is_dropped_is_closed():
    source = Source(hang=1)
    carried = source.carried()
    await anext(carried)
    del carried
    gc.collect()
    assert await asyncio.to_thread(source.closed.wait, 10)


async def test_a_source_is_at_most_a_few_pieces_ahead_of_its_reader():
    source = Source(10 * AHEAD)
    carried = source.carried()
    for number in range(3 * AHEAD):
        assert await anext(carried) == number
        assert source.made <= number + 1 + AHEAD
    await carried.aclose()
    assert source.closed.is_set()


async def test_two_tasks_cannot_read_one_stream_of_pieces_at_once():
    source = Source(hang=0)
    carried = source.carried()
    first = asyncio.create_task(anext(carried))
    await asyncio.to_thread(source.hanging.wait, 10)
    with pytest.raises(RuntimeError, match="two tasks"):
        await anext(carried)
    await carried.aclose()
    with pytest.raises(StopAsyncIteration):
        await first


async def test_context_variables_reach_what_makes_pieces():
    request = contextvars.ContextVar("request", default="none")

    async def pieces():
        yield request.get()

    request.set("r1")
    assert [piece async for piece in get_portal().carry(pieces())] == ["r1"]


def test_on_the_portal_itself_pieces_are_read_directly():
    source = Source()

    async def read():
        pieces = source.pieces()
        assert get_portal().carry(pieces) is pieces
        return [piece async for piece in pieces]

    assert get_portal().call(read()) == list(range(5))


def test_pieces_reach_many_loops_at_once():
    found = {}

    def work(name):
        async def read():
            return [piece async for piece in Source(200).carried()]

        found[name] = asyncio.run(read())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: list(range(200)) for name in range(4)}


def test_a_thread_without_a_loop_reads_pieces_by_calls_of_the_portal():
    source = Source(3)
    carried = source.carried()
    portal = get_portal()
    assert [portal.call(carried.__anext__()) for _ in range(3)] == [0, 1, 2]
    portal.call(carried.aclose())
    assert source.closed.is_set()
