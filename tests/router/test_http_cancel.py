"""A request that is cancelled, through real HTTP: the connection is closed and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import threading
from pathlib import Path

import pytest

from rag_memory_plugins.errors import RequestCancelled
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Answer, Slow, Stall, hang
from tests.router.faulty import (
    PRESETS,
    ask,
    entry,
    no_task_left,
    nothing_held,
    says,
    serving,
    two,
    until,
    wait_for_chats,
)

pytest.importorskip("openai")

EVERY = pytest.mark.parametrize("preset", PRESETS)
PHASES = {
    "before the headers": hang(),
    "before the first delta": Stall("role"),
    "in mid-stream": Stall(2, Answer(("Hel", "lo", " you"))),
}
IN_EACH = pytest.mark.parametrize("phase", PHASES)
OURS = ("fault-server", "asyncio_")
WAYS = ["the task", "its id", "its id, from a thread"]


@pytest.fixture(scope="module")
def server():
    with serving() as each:
        yield each


@pytest.fixture(autouse=True)
def _afresh(server):
    yield
    server._scripts.clear()
    server._requests.clear()
    server.reply = Answer()


async def under_way(server, router, phase, seen):
    """Return when the request has come as far as its phase says."""
    await asyncio.to_thread(wait_for_chats, server)
    if phase == "in mid-stream":
        await until(lambda: len(seen) == 2)


async def portal_is_idle():
    """No task of a request is left where connections live."""

    async def others():
        for _ in range(2_000):
            if asyncio.all_tasks() == {asyncio.current_task()}:
                break
            await asyncio.sleep(0.001)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert (
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(others(), get_portal().loop))
        == []
    )


def waits_for_portal(frame):
    """Whether a thread stands in `future.result()`, as seen from another one."""
    caller = frame.f_back
    return frame.f_code.co_name == "wait" and caller and caller.f_code.co_name == "result"


async def stop(router, request, task, way):
    """Cancel it, and return what whoever waits for it gets."""
    if way == "the task":
        task.cancel()
    elif way == "its id":
        assert router.cancel(request.id)
    else:
        assert await asyncio.to_thread(router.cancel, request.id)
    with pytest.raises((asyncio.CancelledError, RequestCancelled)) as caught:
        await task
    return caught.type


async def cancelled(make, server, ledger, preset, phase, way):
    says(server, "a", PHASES[phase])
    router = two(make, server, preset, a_concurrency=1, ledger=ledger)
    request, seen = ask(), []

    async def read():
        async for piece in router.astream(request):
            seen.extend([piece.text] if piece.text else [])

    task = asyncio.ensure_future(read())
    await under_way(server, router, phase, seen)
    kind = await stop(router, request, task, way)
    assert kind is (asyncio.CancelledError if way == "the task" else RequestCancelled)
    assert await asyncio.to_thread(server.chats[0].closed_by_client.wait, 5)
    await left_nothing(router, ledger, request)
    assert (ledger.entries[0].output_tokens > 0) == (phase == "in mid-stream")


async def left_nothing(router, ledger, request):
    await portal_is_idle()
    (row,) = ledger.entries
    assert (row.model, row.outcome, row.exact) == ("a", "cancelled", False)
    assert row.input_tokens > 0
    assert router.explain(request.id).attempts[0].outcome == "cancelled"
    nothing_held(router)
    states = router._parts.breakers.states().values()
    assert [(state.phase, state.failures) for state in states] == [(0, 0)]


@EVERY
@IN_EACH
@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_stream_closes_the_connection(make, server, ledger, preset, phase, way):
    await cancelled(make, server, ledger, preset, phase, way)
    await no_task_left()


@EVERY
@IN_EACH
async def test_a_cancelled_answer_closes_the_connection(make, server, ledger, preset, phase):
    says(server, "a", PHASES[phase])
    router = two(make, server, preset, ledger=ledger)
    request = ask()
    task = asyncio.create_task(router.aanswer(request))
    await under_way(server, router, "", [])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.chats[0].closed_by_client.wait, 5)
    await left_nothing(router, ledger, request)
    del task
    await no_task_left()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run on this system")
@pytest.mark.parametrize("preset", ["groq", "ollama"])
@IN_EACH
@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_same_under_uvloop(make, server, ledger, preset, phase, way):
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(cancelled(make, server, ledger, preset, phase, way))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


@EVERY
async def test_a_stream_that_is_closed_closes_the_connection(make, server, ledger, preset):
    says(server, "a", PHASES["in mid-stream"])
    router = two(make, server, preset, ledger=ledger)
    request = ask()
    stream = router.astream(request)
    while not (await anext(stream)).text:
        pass
    await stream.aclose()
    assert await asyncio.to_thread(server.chats[0].closed_by_client.wait, 5)
    await left_nothing(router, ledger, request)
    await no_task_left()


@EVERY
def test_a_sync_stream_that_is_left_closes_the_connection(make, server, ledger, preset):
    says(server, "a", PHASES["in mid-stream"])
    router = two(make, server, preset, ledger=ledger)
    request = ask()
    for piece in router.stream(request):
        if piece.text:
            break
    assert server.chats[0].closed_by_client.wait(5)
    asyncio.run(left_nothing(router, ledger, request))
    gc.collect()  # and nothing that was left complains, once the portal is done with it


@EVERY
@pytest.mark.parametrize("face", ["answer", "stream"])
def test_a_sync_call_is_cancelled_by_its_id_from_a_thread(make, server, ledger, preset, face):
    says(server, "a", Stall("role"))
    router = two(make, server, preset, ledger=ledger)
    request = ask()

    def cancel():
        wait_for_chats(server)
        router.cancel(request.id)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RequestCancelled, match=request.id):
        list(router.stream(request)) if face == "stream" else router.answer(request)
    thread.join()
    assert server.chats[0].closed_by_client.wait(5)
    asyncio.run(left_nothing(router, ledger, request))


@pytest.fixture
def ctrl_c():
    """The handler that Python has by itself: a shell's background jobs begin without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="a thread cannot interrupt another there")
@pytest.mark.parametrize("preset", ["groq", "ollama"])
@pytest.mark.parametrize("face", ["answer", "stream"])
@pytest.mark.parametrize("phase", ["before the headers", "in mid-stream"])
def test_ctrl_c_closes_the_connection_and_stays_what_it_is(
    make, server, ledger, preset, face, phase
):
    says(server, "a", PHASES[phase])
    router = two(make, server, preset, ledger=ledger)
    request, seen = ask(), []

    def interrupt():
        wait_for_chats(server)
        if face == "stream" and phase == "in mid-stream":
            twice.wait(5)
        while not waits_for_portal(sys._current_frames()[main]):
            twice.wait(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    def read():
        for piece in router.stream(request):
            seen.append(piece)
            if sum(bool(each.text) for each in seen) == 2:
                twice.set()

    twice, main = threading.Event(), threading.main_thread().ident
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        router.answer(request) if face == "answer" else read()
    thread.join()
    assert server.chats[0].closed_by_client.wait(5)
    asyncio.run(left_nothing(router, ledger, request))


@EVERY
@pytest.mark.parametrize("way", WAYS)
async def test_one_that_waits_for_a_cool_down_is_cancelled(make, server, ledger, preset, way):
    for name in "ab":
        says(server, name, refusals.rate_limited(retry_after=15))
    router = two(make, server, preset, ledger=ledger)
    waits = asyncio.Event()

    async def sleep(seconds):
        waits.set()
        await asyncio.sleep(seconds)

    object.__setattr__(router._parts, "sleep", sleep)
    request = ask()
    task = asyncio.create_task(router.aanswer(request))
    await waits.wait()
    await stop(router, request, task, way)
    assert [each.outcome for each in ledger.entries] == ["failed", "failed"]
    nothing_held(router)
    del task
    await no_task_left()


@EVERY
@pytest.mark.parametrize("way", WAYS)
async def test_one_that_waits_for_a_place_is_cancelled(make, server, ledger, preset, way):
    says(server, "a", Slow(("headers",)))
    router = make([entry(server, preset, "a", concurrency=1)], ledger=ledger)
    first = asyncio.create_task(router.aanswer(ask()))
    await under_way(server, router, "", [])
    request = ask()
    task = asyncio.create_task(router.aanswer(request))
    await until(lambda: router._parts.seen["a"]._waiting)
    await stop(router, request, task, way)
    server.release()
    assert (await first).message.content == "Hello there."
    assert [each.outcome for each in ledger.entries] == ["ok"]
    nothing_held(router)
    assert not router._parts.seen["a"]._waiting
    del first, task
    await no_task_left()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts what /proc shows")
@EVERY
async def test_a_hundred_that_are_cancelled_leave_no_socket_no_thread_and_no_task(
    make, server, ledger, preset
):
    router = two(make, server, preset, a_timeouts=Timeouts(), ledger=ledger)
    await router.aanswer(ask())  # what is made once is made
    server.reply = Stall("role")
    for each in ("warm", "counted"):
        tasks = [asyncio.create_task(router.aanswer(ask())) for _ in range(20)]
        await asyncio.to_thread(wait_for_chats, server, 21 if each == "warm" else 41)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for request in server.chats[1:]:
            assert await asyncio.to_thread(request.closed_by_client.wait, 5)
        if each == "warm":
            left = await _open(server)
    server.reply = Answer()
    assert await _open(server) == left
    assert [row.outcome for row in ledger.entries[1:]] == ["cancelled"] * 40
    nothing_held(router)
    del task, tasks
    await no_task_left()


async def _open(server):
    """Sockets of this process, and threads but those of the test."""
    await portal_is_idle()
    await server.await_for_connections()
    names = list(_files())
    threads = [each for each in threading.enumerate() if not each.name.startswith(OURS)]
    return len([name for name in names if name.startswith("socket")]), len(threads)


def _files():
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            yield str(fd.readlink())
