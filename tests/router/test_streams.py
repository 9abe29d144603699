"""Streams: the commit point, what breaks off after it, and cancelling."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta, ToolPiece
from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    ProviderUnavailable,
    RequestCancelled,
    StreamInterrupted,
)
from rag_memory_plugins.router.models import Model, Price, Timeouts
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

HELLO = (Message("user", "Hello"),)
CUT = ProviderUnavailable("the connection was cut")
END = Delta(finish="stop")


def routed(*replies, **values):
    models = [
        Model(ScriptedModel(reply, name=name), name, price=Price(1.0, 1.0))
        for name, reply in zip("abcd", replies, strict=False)
    ]
    return Router(models, **values)


def texts(router):
    return [delta.text for delta in router.stream(ChatRequest(HELLO)) if delta.text]


@pytest.mark.parametrize(
    "before",
    [
        [CUT],
        [Delta(), CUT],
        [Delta(model="role only"), Delta(), CUT],
        [Delta(), Delta()],
    ],
    ids=["at once", "after a role", "after pings", "an end without content"],
)
def test_before_the_first_content_another_model_takes_over(before):
    assert texts(routed(before, [Delta("Hi"), END])) == ["Hi"]


@pytest.mark.parametrize(
    "content",
    [Delta("Hel"), Delta(reasoning="Let me"), Delta(tools=(ToolPiece(0, "1", "weather", "{"),))],
    ids=["text", "reasoning", "tool call"],
)
def test_after_the_first_content_nobody_takes_over(content):
    router = routed([Delta(), content, CUT], [Delta("Hi"), END])
    seen = []
    with pytest.raises(StreamInterrupted, match="the connection was cut"):
        seen.extend(router.stream(ChatRequest(HELLO)))
    assert seen == [Delta(), content]
    assert router.models[1].chat.requests == []


def test_an_interruption_carries_what_came_and_what_it_cost(ledger):
    router = routed([Delta("Once upon "), Delta("a time"), CUT], ledger=ledger)
    with pytest.raises(StreamInterrupted) as caught:
        texts(router)
    error = caught.value
    assert (error.text, error.model) == ("Once upon a time", "a")
    assert error.output_tokens == 4
    assert error.cost > 0
    assert [(e.outcome, e.output_tokens, e.exact) for e in ledger.entries] == [
        ("interrupted", 4, False)
    ]


def test_a_stream_that_just_ends_is_an_error():
    with pytest.raises(StreamInterrupted, match="ended without an end"):
        texts(routed([Delta("The answer is")]))


def test_a_stream_that_ends_in_half_a_tool_call_is_an_error():
    half = Delta(tools=(ToolPiece(0, "1", "pay", '{"amount": 1'),), finish="tool_calls")
    with pytest.raises(StreamInterrupted, match="no JSON object"):
        list(routed([half]).stream(ChatRequest(HELLO)))


def test_pieces_come_in_order_and_whole():
    pieces = [Delta(), Delta("a"), Delta(), Delta("b"), Delta("c"), END]
    assert list(routed(pieces).stream(ChatRequest(HELLO))) == pieces


def test_an_error_that_does_not_pass_is_raised_from_a_stream_too():
    with pytest.raises(BadRequest):
        texts(routed([BadRequest("400")], ["Hi"]))


def test_all_failed_before_any_content():
    with pytest.raises(AllModelsFailed):
        texts(routed([CUT], [CUT], patience=0.0))


class Held(ScriptedModel):
    """Gives its pieces, then waits for ever; `closed` is set when it is let go."""

    def __init__(self, *pieces, name="a"):
        super().__init__(name=name)
        self.pieces = pieces
        self.waits = asyncio.Event()
        self.let_go = asyncio.Event()

    async def astream(self, request):
        try:
            for piece in self.pieces:
                yield piece
            self.waits.set()
            await asyncio.Event().wait()
        finally:
            self.let_go.set()


async def settled(router):
    """No request runs, and no task but this one is left."""
    assert len(router._running) == 0
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("pieces", [(), (Delta("Hel"),)], ids=["before content", "after"])
async def test_cancel_by_id_ends_a_stream_that_waits(pieces, ledger):
    chat = Held(*pieces)
    router = Router([Model(chat, "a", price=Price(1.0, 1.0))], ledger=ledger)
    request = ChatRequest(HELLO)

    async def read():
        return [delta.text async for delta in router.astream(request)]

    task = asyncio.create_task(read())
    await chat.waits.wait()
    assert router.cancel(request.id)
    with pytest.raises(RequestCancelled, match=request.id):
        await task
    assert chat.let_go.is_set()
    assert [e.outcome for e in ledger.entries] == ["cancelled"]
    assert (ledger.entries[0].output_tokens > 0) == bool(pieces)
    assert router.explain(request.id).outcome == "RequestCancelled"
    del task
    await settled(router)


async def test_cancel_by_id_closes_a_stream_that_nobody_reads_now(ledger):
    chat = Held(Delta("Hel"), Delta("lo"))
    router = Router([chat], ledger=ledger)
    request = ChatRequest(HELLO)
    stream = router.astream(request)
    assert (await anext(stream)).text == "Hel"
    assert router.cancel(request.id)
    await asyncio.wait_for(chat.let_go.wait(), 5)
    with pytest.raises(RequestCancelled):
        await anext(stream)
    assert [e.outcome for e in ledger.entries] == ["cancelled"]
    await settled(router)


async def test_cancel_by_id_ends_an_answer_that_is_waited_for(ledger):
    chat = Held(Delta("Hel"))
    router = Router([chat], ledger=ledger)
    request = ChatRequest(HELLO)
    task = asyncio.create_task(router.aanswer(request))
    await chat.waits.wait()
    assert router.cancel(request.id)
    with pytest.raises(RequestCancelled):
        await task
    assert chat.let_go.is_set()
    del task
    await settled(router)


async def test_cancelling_the_task_closes_the_stream_and_stays_a_cancellation(ledger):
    chat = Held(Delta("Hel"))
    router = Router([chat], ledger=ledger)
    task = asyncio.create_task(router.aanswer(ChatRequest(HELLO)))
    await chat.waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert chat.let_go.is_set()
    assert [e.outcome for e in ledger.entries] == ["cancelled"]
    del task
    await settled(router)


async def test_closing_a_stream_closes_the_providers(ledger):
    chat = Held(Delta("Hel"), Delta("lo"))
    router = Router([chat], ledger=ledger)
    stream = router.astream(ChatRequest(HELLO))
    await anext(stream)
    await stream.aclose()
    assert chat.let_go.is_set()
    assert [e.outcome for e in ledger.entries] == ["cancelled"]
    await settled(router)


async def test_cancellations_do_not_open_the_breaker():
    chat = Held(Delta("Hel"))
    router = Router([chat])
    for _ in range(10):
        chat.waits.clear()
        task = asyncio.create_task(router.aanswer(ChatRequest(HELLO)))
        await chat.waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    chat.pieces = (Delta("Hi"), END)
    stream = router.astream(ChatRequest(HELLO))
    assert (await anext(stream)).text == "Hi"
    await stream.aclose()


async def test_cancelled_requests_give_their_places_back():
    chat = Held()
    router = Router([Model(chat, "a", concurrency=1)])
    for _ in range(3):
        chat.waits.clear()
        task = asyncio.create_task(router.aanswer(ChatRequest(HELLO)))
        await chat.waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert router._parts.seen["a"].taken == 0


def test_cancel_of_an_unknown_request_says_so():
    assert routed("Hi").cancel("nobody") is False


async def test_two_running_requests_of_one_id_are_refused():
    chat = Held(Delta("Hel"))
    router = Router([chat])
    request = ChatRequest(HELLO)
    stream = router.astream(request)
    await anext(stream)
    with pytest.raises(ValueError, match="a request of this id runs"):
        await router.aanswer(request)
    await stream.aclose()


@pytest.mark.parametrize(
    ("pieces", "times", "match"),
    [
        ((), Timeouts(first=0.02), "no first piece"),
        ((Delta(), Delta()), Timeouts(first=0.02), "no first piece"),
        ((Delta("Hel"),), Timeouts(between=0.02), "no further piece"),
        ((Delta("Hel"),), Timeouts(total=0.02), "no whole answer"),
    ],
    ids=["first", "first, with pings", "between", "total"],
)
async def test_a_stall_ends_at_its_time_out(pieces, times, match):
    chat = Held(*pieces)
    router = Router([Model(chat, "a", timeouts=times)], patience=0.0)
    with pytest.raises((StreamInterrupted, AllModelsFailed), match=match):
        async for _ in router.astream(ChatRequest(HELLO)):
            pass
    assert chat.let_go.is_set()
    await settled(router)


def test_a_sync_stream_that_is_left_closes_the_providers():
    closed = []

    class Endless(ScriptedModel):
        async def astream(self, request):
            try:
                while True:
                    yield Delta("more ")
            finally:
                closed.append(True)

    stream = Router([Endless(name="a")]).stream(ChatRequest(HELLO))
    assert next(stream).text == "more "
    stream.close()
    assert closed == [True]


async def test_a_model_that_hangs_leaves_the_next_one_half_of_the_time():
    router = Router([Held(), ScriptedModel("Hi", name="b")], timeout=0.2)
    assert (await router.aanswer(ChatRequest(HELLO))).model == "b"
    stream = router.astream(ChatRequest(HELLO))
    assert (await anext(stream)).text == "Hi"
    await stream.aclose()


async def test_a_request_with_little_time_does_not_open_the_breaker_for_others():
    chat = Held()
    router = Router([Model(chat, "a", timeouts=Timeouts(first=30.0))])
    for _ in range(5):
        with pytest.raises(AllModelsFailed, match="the request's own time is over"):
            await router.aanswer(ChatRequest(HELLO, timeout=0.01))
    chat.pieces = (Delta("Hi"), END)
    stream = router.astream(ChatRequest(HELLO))
    assert (await anext(stream)).text == "Hi"
    await stream.aclose()
