"""`RouterLLM` over LlamaIndex models that speak real HTTP to a server that fails as it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool

from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    ContentFiltered,
    ProviderAuth,
    RequestCancelled,
    StreamInterrupted,
)
from rag_memory_plugins.llama_index import RouterLLM, as_chat_model
from rag_memory_plugins.router import ollama, openai_compatible
from rag_memory_plugins.router.models import Model, Timeouts
from rag_memory_plugins.router.policy import Ranked
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    Slow,
    Stall,
    half_tool_call,
    hang,
    slow_first_byte,
    unfinished,
)
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.installed import Installed
from rag_memory_plugins.types import ToolCall
from tests.llama_index.scripted import result

pytest.importorskip("openai", reason="the extra openai is not installed")
from tests.llama_index.http_llm import HELLO, HttpLLM


class InOrder:
    """As they stand in the list, whatever happened to them."""

    estimates = False

    def rank(self, ask, candidates):
        return Ranked(tuple(candidate.model for candidate in candidates), ())


QUICK = Timeouts(first=0.4, between=0.4, total=5.0)


def weather(city: str) -> str:
    """Of a city."""
    return f"rain in {city}"


WEATHER = FunctionTool.from_defaults(weather)
CALL = Answer(tool_calls=(ToolCall("call_1", "weather", '{"city": "Faro"}'),))


@pytest.fixture
def server():
    with FaultServer() as server:
        server.script(*[Answer(("I am ", "here."))] * 9, model="second")
        yield server


@pytest.fixture
async def llms(server):
    """Two models of the server: what happens to the first is scripted, the second is well."""
    models = [HttpLLM(server.openai_url, model=name) for name in ("first", "second")]
    yield models
    for each in models:
        await each.aclose()


@pytest.fixture
def llm(llms):
    return routing(llms)


def routing(llms, reply=None):
    """A router that has no patience with a first model that will not answer."""
    models = [Model(as_chat_model(llm, name=llm.model)) for llm in llms]
    if isinstance(reply, (Stall, Slow)):
        models[0] = replace(models[0], timeouts=QUICK)
    return RouterLLM(Router(models, patience=0.0))


async def whole(llm, sync):
    if sync:
        return (await asyncio.to_thread(llm.chat, HELLO)).message.content
    return (await llm.achat(HELLO)).message.content


async def streamed(llm, sync, into=None):
    into = [] if into is None else into
    if sync:
        await asyncio.to_thread(lambda: [into.append(r) for r in llm.stream_chat(HELLO)])
    else:
        async for response in await llm.astream_chat(HELLO):
            into.append(response)
    return into[-1].message.content


both = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])

BEFORE = {
    "limited": refusals.rate_limited(),
    "500": refusals.server_error(),
    "overloaded": refusals.overloaded(),
    "out of memory": refusals.out_of_memory(),
    "cut after the request": Cut("request"),
    "reset in the headers": Cut("headers", reset=True),
}
BEFORE_A_PIECE = {
    **BEFORE,
    "hang": hang(),
    "slow first byte": slow_first_byte(),
    "cut after the role": Cut("role"),
    "error event": ErrorEvent(after="role"),
    "garbage": Garbage(after="role"),
}


@both
@pytest.mark.parametrize("reply", BEFORE.values(), ids=list(BEFORE))
async def test_a_model_that_fails_is_passed_over(server, llm, reply, sync):
    server.script(reply, model="first")
    assert await whole(llm, sync) == "I am here."
    assert [request.model for request in server.chats] == ["first", "second"]


@both
@pytest.mark.parametrize("reply", BEFORE_A_PIECE.values(), ids=list(BEFORE_A_PIECE))
async def test_before_the_first_piece_the_next_model_takes_over(server, llms, reply, sync):
    server.script(reply, model="first")
    llm = routing(llms, reply)
    assert await streamed(llm, sync) == "I am here."
    assert [request.model for request in server.chats] == ["first", "second"]


@both
@pytest.mark.parametrize(
    "reply",
    [Cut(1), Cut(1, reset=True), Stall(1), ErrorEvent(after=1), unfinished("Hello")],
    ids=["cut", "reset", "stall", "error event", "unfinished"],
)
async def test_after_the_first_piece_a_stream_is_interrupted(server, llms, reply, sync):
    server.script(reply, model="first")
    llm = routing(llms, reply)
    seen = []
    with pytest.raises(StreamInterrupted) as error:
        await streamed(llm, sync, seen)
    assert (error.value.text, error.value.model) == ("Hello", "first")
    assert seen[-1].message.content == "Hello"
    assert [request.model for request in server.chats] == ["first"]


@both
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusals.unauthorized(), ProviderAuth),
        (refusals.bad_request(), BadRequest),
        (refusals.content_filtered(), ContentFiltered),
    ],
)
async def test_what_no_other_model_could_do_better_is_raised(server, llm, reply, kind, sync):
    server.script(reply, model="first")
    with pytest.raises(kind):
        await whole(llm, sync)
    assert [request.model for request in server.chats] == ["first"]


@both
async def test_a_hanging_model_costs_its_time_out_once(server, llms, sync):
    llm = routing(llms, hang())
    server.script(hang(), hang(), model="first")
    for _ in range(3):
        assert await streamed(llm, sync) == "I am here."
    assert [request.model for request in server.chats].count("first") == 1


@both
async def test_tools_go_to_the_next_model_too(server, llm, sync):
    server.script(half_tool_call(finished=True), model="first")
    server.script(CALL, path="/v1/chat", model="second")
    ask = llm.chat_with_tools if sync else llm.achat_with_tools
    response = await (asyncio.to_thread(ask, [WEATHER], "?") if sync else ask([WEATHER], "?"))
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Faro"})
    assert next(request.tools for request in server.chats) == server.chats[1].tools


async def test_a_streamed_tool_call_comes_in_parts(server, llm):
    server.script(CALL, model="first")
    seen = [r async for r in await llm.astream_chat_with_tools([WEATHER], "?")]
    (call,) = llm.get_tool_calls_from_response(seen[-1])
    assert (call.tool_id, call.tool_kwargs) == ("call_1", {"city": "Faro"})
    assert len(seen) > 3


async def test_half_a_streamed_tool_call_is_interrupted(server, llm):
    server.script(half_tool_call(), model="first")
    with pytest.raises(StreamInterrupted):
        async for _ in await llm.astream_chat_with_tools([WEATHER], "?"):
            pass


async def test_tokens_are_the_providers(server, llm):
    server.script(Answer("Yes.", usage=(31, 7)), model="first")
    told = (await llm.achat(HELLO)).additional_kwargs
    assert (told["prompt_tokens"], told["completion_tokens"]) == (31, 7)
    assert told["router"]["attempts"][0]["model"] == "first"


async def test_limits_and_options_are_on_the_wire(server, llm):
    await llm.achat(HELLO, max_tokens=9, temperature=0.5, stop=["END"], seed=7)
    body = server.chats[0].body
    assert [body[name] for name in ("max_tokens", "temperature", "stop", "seed")] == [
        9, 0.5, ["END"], 7,
    ]  # fmt: skip


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_cancelling_the_task_closes_the_connection(server, llm, streams):
    server.script(Slow(("request",) if not streams else (1,)), model="first")
    asking = asyncio.ensure_future(streamed(llm, False) if streams else whole(llm, False))
    (request,) = await server.await_for(1, path="/v1/chat")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await asyncio.to_thread(request.closed_by_client.wait, 5.0)
    assert [request.model for request in server.chats] == ["first"]
    await server.await_for_connections(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_a_stream_closes_the_connection(server, llm):
    server.script(Stall(1), model="first")
    stream = await llm.astream_chat(HELLO)
    assert (await anext(r async for r in stream if r.delta)).delta == "Hello"
    await stream.aclose()
    (request,) = server.chats
    assert await asyncio.to_thread(request.closed_by_client.wait, 5.0)


def test_leaving_a_sync_stream_ends_it_for_the_router(server):
    server.script(Answer(("Hello", " there")), model="first")
    first = HttpLLM(server.openai_url, model="first")
    llm = routing([first])
    stream = llm.stream_chat(HELLO, request_id="mine")
    seen = next(r for r in stream if r.delta)
    stream.close()
    asyncio.run(first.aclose())
    assert seen.delta == "Hello"
    assert [tried.outcome for tried in llm.router.explain("mine").attempts] == ["cancelled"]


async def test_a_request_is_cancelled_by_its_id(server, llm):
    server.script(Slow(("request",)), model="first")
    asking = asyncio.ensure_future(llm.achat(HELLO, request_id="mine"))
    (request,) = await server.await_for(1, path="/v1/chat")
    assert llm.router.cancel("mine")
    with pytest.raises(RequestCancelled):
        await asking
    assert await asyncio.to_thread(request.closed_by_client.wait, 5.0)


async def test_when_both_fail_the_error_has_both(server, llm):
    server.script(refusals.overloaded(), model="first")
    server.script(refusals.overloaded(), path="/v1/chat", model="second")
    with pytest.raises(AllModelsFailed) as error:
        await llm.achat([ChatMessage("Hello?")])
    assert [each.model for each in error.value.errors] == ["first", "second"]


@both
@pytest.mark.parametrize("preset", [openai_compatible, None], ids=["OpenAI's protocol", "Ollama's"])
async def test_a_turn_with_tools_moves_to_a_model_of_the_routers_own(server, preset, sync):
    server.models = [Installed("second")]
    if preset is None:
        own = ollama("second", server.url, name="own")
    else:
        own = openai_compatible(server.openai_url, "second", name="own")
    server.script(refusals.overloaded(), refusals.overloaded(), model="first")
    server.script(CALL, path="/v1/chat" if preset else "/api/chat", model="second")
    first = HttpLLM(server.openai_url, model="first")
    entry = Model(as_chat_model(first, name="first"))
    router = Router([entry, own], mode="local-first", patience=0.0, policy=InOrder())
    llm = RouterLLM(router)

    async def ask(chats):
        if sync:
            return await asyncio.to_thread(llm.chat_with_tools, [WEATHER], None, chats)
        return await llm.achat_with_tools([WEATHER], None, chats)

    chats = [ChatMessage("Weather in Faro?")]
    response = await ask(chats)
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Faro"})
    chats += [response.message, result(call.tool_id, "rain in Faro")]
    assert (await ask(chats)).message.content == "I am here."
    said = server.chats[-1].messages
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    assert said[1]["tool_calls"][0]["function"]["name"] == "weather"
    assert said[2]["content"] == "rain in Faro"
    await asyncio.to_thread(router.close)
    await first.aclose()


async def test_no_choices_are_no_answer(server, llm):
    server.script(NoChoices(), model="first")
    assert await whole(llm, False) == "I am here."
