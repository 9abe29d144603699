"""A router around the model calls of an agent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelRetryMiddleware,
)
from langchain.agents.structured_output import ToolStrategy
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel, PrivateAttr

from rag_memory_plugins import Scope
from rag_memory_plugins.chat import Delta
from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    InvalidInput,
    ProviderLimited,
    ProviderTimeout,
    ProviderUnavailable,
    StreamInterrupted,
    UnknownArgument,
)
from rag_memory_plugins.langchain import (
    MemoryMiddleware,
    RouterMiddleware,
    as_chat_model,
    middleware,
)
from rag_memory_plugins.router.models import Model, Timeouts
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from tests.langchain.agents import Login, say, thread, weather
from tests.langchain.scripted import ScriptedModel as Native
from tests.langchain.scripted import StreamingModel, texts

LIMITED = ProviderLimited("429")
BOTH = pytest.mark.parametrize("way", ["sync", "async"])


class Broken(StreamingModel):
    """Says two words, then its provider is gone."""

    def _stream(self, messages, *args, **kwargs):
        for number, chunk in enumerate(super()._stream(messages)):
            if number == 2:
                raise ProviderUnavailable("the connection was cut")
            yield chunk


def entries(*models):
    return [
        model if not isinstance(model, Native) else as_chat_model(model, name=name)
        for name, model in zip("abcd", models, strict=False)
    ]


def routing(*models, **values):
    own = {key: values.pop(key) for key in ("scope", "own", "name") if key in values}
    return RouterMiddleware(Router(entries(*models), **{"patience": 0, **values}), **own)


async def run(agent: Any, asked: Any, way: str, **kw: Any) -> Any:
    if way == "async":
        return await agent.ainvoke(asked, **kw)
    return await asyncio.to_thread(agent.invoke, asked, **kw)


async def streamed(agent: Any, asked: Any, way: str, **kw: Any) -> list[Any]:
    kw = {"stream_mode": "messages", **kw}
    pieces: list[Any] = []

    def read() -> None:
        pieces.extend(agent.stream(asked, **kw))

    if way == "sync":
        await asyncio.to_thread(read)
        return pieces
    return [piece async for piece in agent.astream(asked, **kw)]


@BOTH
@pytest.mark.parametrize("second", [Native("Hello"), ScriptedModel("Hello", name="b")])
async def test_another_model_answers_and_the_message_says_who(way, second, ledger):
    second = Native("Hello") if isinstance(second, Native) else second
    routes = routing(Native(LIMITED), second, ledger=ledger)
    state = await run(create_agent(routes.model, middleware=[routes]), say("Hi"), way)
    answer = state["messages"][-1]
    assert answer.text == "Hello"
    tried = answer.response_metadata["router"]["attempts"]
    assert [(each["model"], each["outcome"]) for each in tried] == [("a", "failed"), ("b", "ok")]
    assert [(row.model, row.outcome) for row in ledger.entries] == [("a", "failed"), ("b", "ok")]


@BOTH
async def test_tools_are_bound_for_each_model_and_a_loop_goes_through(way):
    call = [("c1", "weather", {"city": "Porto"})]
    first, second = Native(LIMITED, "It is warm"), Native(call, "never")
    routes = routing(first, second, breaker=None)
    agent = create_agent(routes.model, [weather], middleware=[routes])
    state = await run(agent, say("Weather?"), way)
    kinds = [message.type for message in state["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert second.schemas[0][0]["function"]["name"] == "weather"


@BOTH
async def test_a_failed_model_that_streams_is_not_seen_before_its_first_piece(way):
    routes = routing(StreamingModel(LIMITED), StreamingModel("Hello to you"))
    agent = create_agent(routes.model, middleware=[routes])
    pieces = await streamed(agent, say("Hi"), way)
    assert [piece.text for piece, _ in pieces if piece.text] == ["Hello ", "to ", "you"]


@BOTH
async def test_a_stream_that_fails_midway_never_yields_both_models_tokens(way, ledger):
    routes = routing(Broken("Once upon a time"), StreamingModel("Hello"), ledger=ledger)
    agent = create_agent(routes.model, middleware=[routes])
    with pytest.raises(StreamInterrupted) as caught:
        await streamed(agent, say("Hi"), way)
    assert caught.value.text == "Once upon "
    assert [(row.model, row.outcome) for row in ledger.entries] == [("a", "interrupted")]


@BOTH
async def test_what_nobody_saw_break_off_is_asked_of_another(way):
    routes = routing(Native(ProviderUnavailable("cut")), Native("Hello"))
    state = await run(create_agent(routes.model, middleware=[routes]), say("Hi"), way)
    assert state["messages"][-1].text == "Hello"


def test_a_dead_primary_is_waited_for_once_and_not_on_every_turn(time):
    dead = Native(*[ProviderTimeout("no connection", stage="connect")] * 20)
    routes = routing(dead, Native(*["Hi"] * 20), now=time, clock=time)
    agent = create_agent(routes.model, middleware=[routes])
    for _ in range(20):
        agent.invoke(say("Hello"))
    assert len(dead.asked) == 1


@BOTH
async def test_errors_that_no_model_could_do_better_are_raised_at_once(way):
    second = Native("never")
    routes = routing(Native(BadRequest("no")), second)
    with pytest.raises(BadRequest):
        await run(create_agent(routes.model, middleware=[routes]), say("Hi"), way)
    assert second.asked == []


@BOTH
async def test_when_all_fail_every_error_is_kept(way):
    routes = routing(Native(ProviderLimited("429")), Native(ProviderLimited("429")))
    with pytest.raises(AllModelsFailed) as caught:
        await run(create_agent(routes.model, middleware=[routes]), say("Hi"), way)
    assert [error.model for error in caught.value.errors] == ["a", "b"]


class Raising(AgentMiddleware):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def wrap_model_call(self, request, handler):
        raise self.error

    async def awrap_model_call(self, request, handler):
        raise self.error


@BOTH
async def test_what_is_no_providers_failure_is_raised_as_it_was(way):
    error = LookupError("a mistake of a middleware")
    routes = routing(Native("never"), Native("never"))
    with pytest.raises(LookupError) as caught:
        await run(create_agent(routes.model, middleware=[routes, Raising(error)]), say("Hi"), way)
    assert caught.value is error


class Asking(AgentMiddleware):
    def wrap_model_call(self, request, handler):
        interrupt("May I?")
        return handler(request)

    async def awrap_model_call(self, request, handler):
        interrupt("May I?")
        return await handler(request)


@BOTH
async def test_an_interrupt_passes_through_and_counts_as_no_failure(way, ledger):
    routes = routing(Native("Hello"), Native("never"), ledger=ledger)
    agent = create_agent(routes.model, middleware=[routes, Asking()], checkpointer=InMemorySaver())
    state = await run(agent, say("Hi"), way, config=thread())
    assert state["__interrupt__"][0].value == "May I?"
    state = await run(agent, Command(resume=True), way, config=thread())
    assert state["messages"][-1].text == "Hello"
    assert [row.outcome for row in ledger.entries] == ["cancelled", "ok"]


class Choosing(AgentMiddleware):
    def __init__(self, model, **settings):
        super().__init__()
        self.chosen, self.settings = model, settings

    def wrap_model_call(self, request, handler):
        return handler(request.override(model=self.chosen, model_settings=self.settings))

    async def awrap_model_call(self, request, handler):
        return await handler(request.override(model=self.chosen, model_settings=self.settings))


@BOTH
async def test_a_model_that_somebody_chose_is_asked_first(way):
    chosen = Native("I was chosen")
    routes = routing(Native("never"))
    agent = create_agent(routes.model, middleware=[Choosing(chosen), routes])
    assert (await run(agent, say("Hi"), way))["messages"][-1].text == "I was chosen"


@BOTH
async def test_the_routers_models_follow_a_chosen_one_that_fails(way):
    routes = routing(Native("From the router"))
    agent = create_agent(routes.model, middleware=[Choosing(Native(LIMITED)), routes])
    answer = (await run(agent, say("Hi"), way))["messages"][-1]
    assert answer.text == "From the router"
    assert "429" in answer.response_metadata["router"]["chosen"]["error"]


def test_a_chosen_entry_is_asked_first_with_all_that_an_entry_has(ledger):
    own, chosen = Native("Own"), Native("Chosen")
    routes = routing(own, chosen, own=own, ledger=ledger)
    agent = create_agent(own, middleware=[Choosing(chosen), routes])
    assert agent.invoke(say("Hi"))["messages"][-1].text == "Chosen"
    assert create_agent(own, middleware=[routes]).invoke(say("Hi"))["messages"][-1].text == "Own"
    assert [row.model for row in ledger.entries] == ["b", "a"]


@BOTH
async def test_a_local_only_router_refuses_a_model_that_is_not_its_own(way):
    stranger, local = Native("I may be anywhere"), Native("never")
    routes = RouterMiddleware(
        Router([Model(as_chat_model(local, name="local"), local=True)], mode="local-only")
    )
    agent = create_agent(routes.model, middleware=[Choosing(stranger), routes])
    with pytest.raises(InvalidInput, match="local-only"):
        await run(agent, say("Hi"), way)
    assert stranger.asked == []


@pytest.mark.timeout(20)
def test_a_model_that_has_run_out_of_answers_is_an_error_and_no_endless_wait():
    routes = routing(as_chat_model(GenericFakeChatModel(messages=iter(()))))
    with pytest.raises(RuntimeError, match="StopIteration"):
        create_agent(routes.model, middleware=[routes]).invoke(say("Hi"))


def test_ctrl_c_in_a_sync_agent_comes_out_and_leaves_the_router_usable(ledger):
    first = Native("Hello")
    routes = routing(first, ledger=ledger)
    request: Any = ModelRequest(model=routes.model, messages=[HumanMessage("Hi")], state={})

    def stop(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        routes.wrap_model_call(request, stop)
    assert [row.outcome for row in ledger.entries] == ["cancelled"]
    agent = create_agent(routes.model, middleware=[routes])
    assert agent.invoke(say("Hi"))["messages"][-1].text == "Hello"


@BOTH
async def test_40700_behind_a_fallback_the_fallbacks_model_is_asked_and_not_the_failed_one(way):
    routes = routing(Native(BadRequest("no")))
    agent = create_agent(
        routes.model, middleware=[ModelFallbackMiddleware(Native("From the fallback")), routes]
    )
    assert (await run(agent, say("Hi"), way))["messages"][-1].text == "From the fallback"


@BOTH
@pytest.mark.parametrize("before", [True, False], ids=["router first", "retry first"])
async def test_it_works_on_either_side_of_a_retry(way, before):
    routes = routing(Native(LookupError("once"), "Yes"))
    retry = ModelRetryMiddleware(max_retries=1, on_failure="error", initial_delay=0)
    order = [routes, retry] if before else [retry, routes]
    state = await run(create_agent(routes.model, middleware=order), say("Hi"), way)
    assert state["messages"][-1].text == "Yes"


class Thinking(Native):
    reasoning_effort: str | None = None

    def bind(self, **kwargs: Any) -> Any:
        self._schemas.append([kwargs])
        return super().bind()


class Plain(Native):
    def bind(self, **kwargs: Any) -> Any:
        self._schemas.append([kwargs])
        return super().bind()


def test_settings_meant_for_one_model_do_not_go_to_another():
    first, second = Thinking(LIMITED), Plain("Hello")
    routes = routing(first, second, own=Native())
    agent = create_agent(
        routes.model, middleware=[Choosing(first, reasoning_effort="high", secret=1), routes]
    )
    assert agent.invoke(say("Hi"))["messages"][-1].text == "Hello"
    assert first.schemas[0] == [{"reasoning_effort": "high", "secret": 1}]
    assert second.schemas[0] == [{}]


def test_cache_marks_do_not_go_to_a_model_that_takes_none():
    model = Native("Hello")
    block = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    routes = routing(model)
    agent = create_agent(routes.model, middleware=[routes])
    state = agent.invoke({"messages": [HumanMessage([block])]})
    assert model.asked[0][0].content == [{"type": "text", "text": "Hi"}]
    assert state["messages"][0].content == [block]


class Place(BaseModel):
    city: str


@BOTH
async def test_a_structured_response_that_does_not_parse_is_asked_of_another(way):
    bad = Native([("c1", "Place", {"town": "Porto"})])
    good = Native([("c2", "Place", {"city": "Porto"})])
    routes = routing(bad, good)
    wanted = ToolStrategy(Place, handle_errors=False)
    agent = create_agent(routes.model, middleware=[routes], response_format=wanted)
    state = await run(agent, say("Where?"), way)
    assert state["structured_response"] == Place(city="Porto")


def test_a_schema_becomes_the_strategy_that_each_model_has():
    first = Native(LIMITED)
    second = Native('{"city": "Porto"}').model_copy(update={"profile": {"structured_output": True}})
    routes = routing(first, second)
    agent = create_agent(routes.model, middleware=[routes], response_format=Place)
    assert agent.invoke(say("Where?"))["structured_response"] == Place(city="Porto")
    assert first.schemas[0][0]["function"]["name"] == "Place"
    assert second.schemas[0][0]["type"] == "json_schema"


@BOTH
async def test_the_handler_runs_where_the_agent_runs(way):
    seen = []

    class Looking(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            seen.append((threading.current_thread().name, request.runtime.context))
            return handler(request)

        async def awrap_model_call(self, request, handler):
            seen.append((threading.current_thread().name, request.runtime.context))
            return await handler(request)

    routes = routing(Native("Hello"))
    agent = create_agent(routes.model, middleware=[routes, Looking()], context_schema=Login)
    await run(agent, say("Hi"), way, context=Login("acme"))
    assert seen[0][1] == Login("acme")
    assert "rag-memory" not in seen[0][0]


def test_the_ledger_names_the_tenant_of_the_run(ledger):
    routes = routing(
        Native("Hi", "Hi"),
        ledger=ledger,
        scope=lambda runtime: Scope(runtime.context.tenant, runtime.context.user),
    )
    agent = create_agent(routes.model, middleware=[routes], context_schema=Login)
    agent.invoke(say("Hello"), context=Login("acme"))
    agent.invoke(say("Hello"), context=Login("globex", "bob"))
    assert [(row.tenant, row.user) for row in ledger.entries] == [
        ("acme", "ann"), ("globex", "bob")
    ]  # fmt: skip


class Hanging(Native):
    _called: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> Any:
        self._called.set()
        await asyncio.Event().wait()


async def test_an_async_agent_waits_for_a_model_no_longer_than_its_entry_says():
    hanging = Hanging("never")
    slow = Model(as_chat_model(hanging, name="slow"), timeouts=Timeouts(total=0.01))
    routes = RouterMiddleware(Router([slow, *entries(Native("Hello"))]))
    state = await create_agent(routes.model, middleware=[routes]).ainvoke(say("Hi"))
    assert state["messages"][-1].text == "Hello"


async def test_a_cancelled_agent_settles_its_attempt_as_cancelled(ledger):
    hanging = Hanging("never")
    routes = routing(hanging, ledger=ledger)
    task = asyncio.create_task(create_agent(routes.model, middleware=[routes]).ainvoke(say("Hi")))
    await hanging._called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [row.outcome for row in ledger.entries] == ["cancelled"]


@BOTH
@pytest.mark.parametrize("memory_first", [True, False])
async def test_with_a_memory_in_either_order_the_turn_is_stored_once_within_the_budget(
    way, memory_first, memory
):
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("I live in Lisbon")
    second = Native("You live in Lisbon")
    routes = routing(Native(LIMITED), second)
    remembers = MemoryMiddleware(conversation=ann, budget=500)
    order = [remembers, routes] if memory_first else [routes, remembers]
    agent = create_agent(routes.model, middleware=order)
    await run(agent, say("Where do I live?"), way)
    assert [message.content for message in ann.messages()] == [
        "I live in Lisbon", "Where do I live?", "You live in Lisbon"
    ]  # fmt: skip
    assert "Lisbon" in str(texts(second.asked[0]))


def test_the_recommended_order_puts_it_behind_the_memory(memory):
    ann = memory.conversation("acme", "ann", "monday")
    routes = routing(Native("Hi"))
    assert [part.name for part in middleware(ann, own=[routes], retries=1)] == [
        "MemoryMiddleware", "RouterMiddleware", "ModelRetryMiddleware"
    ]  # fmt: skip


@BOTH
async def test_a_core_model_streams_through_the_agent_too(way):
    pieces = [Delta("Hel"), Delta("lo"), Delta(finish="stop")]
    routes = routing(Native(LIMITED), ScriptedModel(pieces, name="b"))
    agent = create_agent(routes.model, middleware=[routes])
    said = await streamed(agent, say("Hi"), way)
    assert [piece.text for piece, _ in said if piece.text] == ["Hel", "lo"]


def test_33129_a_router_is_a_model_for_an_agent_with_middleware():
    routes = routing(Native(LIMITED), Native([("c1", "weather", {})], "Warm"))
    agent = create_agent(routes.model, [weather], middleware=[AgentMiddleware()])
    answer = agent.invoke(say("Weather?"))["messages"][-1]
    assert isinstance(answer, AIMessage)
    assert answer.text == "Warm"


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"router": [Native()]}, InvalidInput, "pass a Router"),
        ({"scope": "acme"}, InvalidInput, "pass a Scope"),
        ({"own": "gpt"}, InvalidInput, "BaseChatModel"),
        ({"scop": None}, UnknownArgument, "did you mean 'scope'"),
    ],
)
def test_what_is_wrong_is_named(fields, error, said):
    with pytest.raises(error, match=said):
        RouterMiddleware(**{"router": Router([ScriptedModel()]), **fields})
