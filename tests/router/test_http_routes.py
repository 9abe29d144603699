"""Routes through real HTTP: prompt sizes, variants of Ollama, a breaker under load, many loops."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings

import pytest

from rag_memory_plugins.errors import AllModelsFailed
from rag_memory_plugins.router.providers import groq, ollama, openrouter
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Answer, Slow, Stall
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.types import Message
from tests.router.faulty import (
    CLOUDS,
    PRESETS,
    PRICE,
    ask,
    asked,
    entry,
    no_task_left,
    nothing_held,
    outcomes,
    says,
    serving,
    two,
    wait_for_chats,
)
from tests.router.ollama_server import Q4, Q5, Q8

pytest.importorskip("openai")

EVERY = pytest.mark.parametrize("preset", PRESETS)


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


@pytest.fixture
def here():
    """An Ollama server with three variants of one model."""
    with FaultServer(models=[Q8, Q5, Q4]) as each:
        yield each


def by_default(make, local, cloud, ledger, **values):
    """Ollama, then Groq, then OpenRouter."""
    url = cloud.openai_url
    return make(
        [
            ollama("llama3.1:8b", local.url, name="here"),
            groq("llama-3.3-70b-versatile", "key", base_url=url, name="groq", price=PRICE),
            openrouter("meta-llama/llama-3.3-70b", "key", base_url=url, name="far", price=PRICE),
        ],
        ledger=ledger,
        **values,
    )


def test_a_short_prompt_goes_to_ollama_and_a_long_one_to_the_cloud(make, here, server, ledger):
    router = by_default(make, here, server, ledger)
    assert router.answer(ask()).model == "here"
    assert router.answer(ask(messages=(Message("user", "word " * 3_100),))).model == "groq"
    assert len(here.chats) == len(server.chats) == 1


def test_without_ollama_it_is_groq_and_without_groq_openrouter(make, here, server, ledger):
    here.close()
    server.script(refusals.overloaded(), model="llama-3.3-70b-versatile")
    assert by_default(make, here, server, ledger).answer(ask()).model == "far"
    assert outcomes(ledger) == [("groq", "failed"), ("far", "ok")]


def test_what_does_not_fit_steps_down_and_is_remembered(make, here, server, ledger):
    here.script(refusals.out_of_memory("9.1 GiB", "8.0 GiB"), model=Q8.name)
    here.script(refusals.out_of_memory("6.0 GiB", "5.0 GiB"), model=Q5.name)
    router = by_default(make, here, server, ledger)
    assert router.answer(ask()).model == "here"
    assert [each.model for each in here.chats] == [Q8.name, Q5.name, Q4.name]
    assert [(row.model, row.outcome, row.error) for row in ledger.entries] == [
        ("here", "failed", "OutOfMemory"),
        ("here", "failed", "OutOfMemory"),
        ("here", "ok", ""),
    ]
    assert ledger.entries[-1].answered_by == Q4.name
    assert router.answer(ask()).model == "here"
    assert here.chats[-1].model == Q4.name
    assert len(here.chats) == 4
    assert server.chats == []


def test_what_fits_in_no_variant_goes_to_the_cloud_and_next_time_at_once(
    make, here, server, ledger
):
    here.reply = refusals.out_of_memory("9.1 GiB", "1.0 GiB")
    router = by_default(make, here, server, ledger)
    assert router.answer(ask()).model == "groq"
    local = len(here.chats)
    assert 1 <= local <= 3
    assert outcomes(ledger) == [("here", "failed")] * local + [("groq", "ok")]
    request = ask()
    assert router.answer(request).model == "groq"
    assert len(here.chats) == local
    (skipped,) = router.explain(request.id).rounds[0].skipped
    assert skipped.model == "here"
    assert "memory" in skipped.reason
    states = [state.phase for state in router._parts.breakers.states().values()]
    assert states == [0, 0]  # the host is well


def test_out_of_memory_in_a_stream_steps_down_too(make, here, server, ledger):
    here.script(refusals.out_of_memory("9.1 GiB", "8.0 GiB"), model=Q8.name)
    router = by_default(make, here, server, ledger)
    assert "".join(piece.text for piece in router.stream(ask())) == "Hello there."
    assert [each.model for each in here.chats] == [Q8.name, Q5.name]


@EVERY
async def test_of_fifty_that_find_a_half_open_breaker_one_asks(make, server, time, preset):
    says(server, "a", refusals.rate_limited(retry_after=5), Slow(("headers",)))
    router = two(make, server, preset, clock=time, now=time)
    await router.aanswer(ask())
    time.seconds += 6
    tasks = [asyncio.create_task(router.aanswer(ask())) for _ in range(50)]
    await asyncio.to_thread(wait_for_chats, server, 2 + 50)
    assert asked(server).count("a") == 2
    left = set(tasks)
    while len(left) > 1:
        _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    (probe,) = left
    server.release()
    assert {task.result().model for task in tasks if task is not probe} == {"b"}
    assert (await probe).model == "a"
    assert (await router.aanswer(ask())).model == "a"
    nothing_held(router)


@EVERY
async def test_a_probe_that_is_cancelled_is_given_to_the_next(make, server, ledger, time, preset):
    says(server, "a", refusals.rate_limited(retry_after=5), Stall("role"), Answer("back"))
    router = two(make, server, preset, clock=time, now=time, ledger=ledger)
    await router.aanswer(ask())
    time.seconds += 6
    probe = asyncio.create_task(router.aanswer(ask()))
    await asyncio.to_thread(wait_for_chats, server, 3)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert (await router.aanswer(ask())).message.content == "back"
    assert outcomes(ledger) == [("a", "failed"), ("b", "ok"), ("a", "cancelled"), ("a", "ok")]


@EVERY
async def test_a_dead_primary_costs_one_request_in_twenty(make, server, preset):
    says(server, "a", *[refusals.rate_limited()] * 20)
    router = two(make, server, preset)
    for _ in range(20):
        assert (await router.aanswer(ask())).model == "b"
    assert asked(server).count("a") == 1


@EVERY
async def test_no_more_run_at_once_than_there_are_places(make, server, preset):
    running, most, lock = 0, 0, threading.Lock()

    def reply(request):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            running -= 1
        return Answer("ok")

    server.reply = reply
    router = make([entry(server, preset, "a", concurrency=2)])
    says(server, "a", Slow(("headers",)), Slow(("headers",)))
    tasks = [asyncio.create_task(router.aanswer(ask())) for _ in range(12)]
    await asyncio.to_thread(wait_for_chats, server, 2)
    assert router._parts.seen["a"].taken == 2
    assert len(server.chats) == 2
    server.release()
    assert len(await asyncio.gather(*tasks)) == 12
    nothing_held(router)
    del tasks
    await no_task_left()


@EVERY
def test_loops_and_threads_share_one_router(make, server, ledger, preset):
    says(server, "a", refusals.server_error())
    router = two(make, server, preset, ledger=ledger, a_concurrency=3)
    failed = []

    async def some():
        async def read():
            return "".join([piece.text async for piece in router.astream(ask())])

        answers = await asyncio.gather(
            *(router.aanswer(ask()) for _ in range(3)), *(read() for _ in range(3))
        )
        assert {(getattr(each, "message", None) and each.message.content) or each
                for each in answers} == {"Hello there."}  # fmt: skip

    def work(number):
        try:
            if number % 2:
                asyncio.run(some())
            else:
                for _ in range(3):
                    assert router.answer(ask()).message.content == "Hello there."
                    assert len(list(router.stream(ask()))) > 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [row.outcome for row in ledger.entries].count("ok") == 36
    nothing_held(router)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@EVERY
def test_a_child_of_fork_uses_the_router_anew(make, server, ledger, preset):
    router = two(make, server, preset, a_concurrency=1, ledger=ledger)
    says(server, "a", Stall(1))
    stream = router.stream(ask())  # it has the only place, here and not in the child
    while not next(stream).text:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which is the point
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            request = ask(timeout=20.0)
            code = 0 if router.answer(request).model == "a" else 2
            code = code or (0 if len(list(router.stream(ask()))) > 1 else 3)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    stream.close()
    assert [row.outcome for row in ledger.entries] == ["cancelled"]
    nothing_held(router)


@pytest.mark.parametrize("preset", CLOUDS)
def test_all_that_failed_are_in_the_error_with_what_each_said(make, server, preset):
    says(server, "a", *[refusals.server_error()] * 4)
    says(server, "b", refusals.rate_limited(retry_after=90))
    router = two(make, server, preset, rounds=1)
    with pytest.raises(AllModelsFailed, match="429") as caught:
        router.answer(ask())
    assert [(error.model, error.status) for error in caught.value.errors] == [
        ("a", 500), ("b", 429),
    ]  # fmt: skip
