"""`RouterLLM` in LlamaIndex's agents, engines and workflows, and under this package's own parts."""

from __future__ import annotations

import json

import pytest
from llama_index.core import Document, PromptTemplate, SummaryIndex
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.selectors import LLMSingleSelector
from pydantic import BaseModel

from rag_memory_plugins.chat import Delta, ToolPiece
from rag_memory_plugins.errors import BudgetTooSmall, ProviderLimited, ProviderUnavailable
from rag_memory_plugins.llama_index import LimitedLLM, RouterLLM, as_chat_model, attach
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from tests.llama_index.doubles import Given, scored
from tests.llama_index.scripted import ScriptedLLM


def weather(city: str) -> str:
    """Of a city."""
    return f"rain in {city}"


def calling(name, /, **arguments):
    text = json.dumps(arguments)
    pieces = [ToolPiece(0, "call_1", name, text[:3]), ToolPiece(0, arguments=text[3:])]
    return [*[Delta(tools=(piece,)) for piece in pieces], Delta(finish="tool_calls")]


def spoken(*pieces):
    return [*[Delta(piece) for piece in pieces], Delta(finish="stop")]


def routing(*models, **values):
    return RouterLLM(Router(list(models), patience=0.0, **values))


def down(name="down"):
    return ScriptedModel(ProviderLimited("429"), name=name)


def up(*replies):
    return ScriptedModel(*replies, name="up")


def wrapped(*models):
    """The same models, as LlamaIndex has them."""
    return [as_chat_model(routing(model), name=model.name) for model in models]


LlamaIndex = pytest.mark.parametrize("wrap", [list, wrapped], ids=["core", "of LlamaIndex"])


def models(wrap, *made):
    return wrap(made) if wrap is list else wrap(*made)


# Agents


@LlamaIndex
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_agent_calls_tools_past_a_failing_model(wrap, streaming):
    answering = up(calling("weather", city="Faro"), spoken("Rain", " in Faro."))
    llm = routing(*models(wrap, down(), answering))
    agent = FunctionAgent(tools=[weather], llm=llm, streaming=streaming)
    handler = agent.run("Weather in Faro?")
    said = [
        event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)
    ]
    output = await handler
    assert output.response.content == "Rain in Faro."
    assert [call.tool_kwargs for call in output.tool_calls] == [{"city": "Faro"}]
    if "streaming" in FunctionAgent.model_fields:  # older agents always stream
        assert "".join(said) == ("Rain in Faro." if streaming else "")
    *_, call, result = answering.requests[1].messages
    assert (call.tool_calls[0].id, result.tool_call_id, result.content) == (
        "call_1", "call_1", "rain in Faro",
    )  # fmt: skip


async def test_an_agents_output_tells_the_decision():
    agent = FunctionAgent(tools=[weather], llm=routing(down(), up("Sunny.")))
    output = await agent.run("Weather?")
    assert output.raw["router"]["model"] == "up"
    assert output.raw["usage"]["completion_tokens"] == 1


@pytest.mark.skipif(
    "initial_tool_choice" not in FunctionAgent.model_fields, reason="this version has no such field"
)
async def test_a_first_tool_that_is_set_has_to_be_called():
    talker = ScriptedModel("I would rather talk.", name="talker")
    caller = up(calling("weather", city="Faro"), "Rain.")
    agent = FunctionAgent(
        tools=[weather], llm=routing(talker, caller), initial_tool_choice="weather", streaming=False
    )
    output = await agent.run("Weather in Faro?")
    assert caller.requests[0].tool_choice == "weather"
    assert [call.tool_name for call in output.tool_calls] == ["weather"]


@LlamaIndex
async def test_a_react_agent_reasons_past_a_failing_model(wrap):
    thinking = 'Thought: I need a tool.\nAction: weather\nAction Input: {"city": "Faro"}'
    answering = up(spoken(thinking), spoken("Thought: I can answer.\n", "Answer: Rain in Faro."))
    agent = ReActAgent(tools=[weather], llm=routing(*models(wrap, down(), answering)))
    assert (await agent.run("Weather in Faro?")).response.content == "Rain in Faro."


async def test_a_workflow_hands_over_between_agents_of_one_router():
    answering = up(
        calling("handoff", to_agent="second", reason="It knows."),
        calling("weather", city="Faro"),
        spoken("Rain."),
    )
    llm = routing(down(), answering)
    first = FunctionAgent(
        name="first", description="Asks.", tools=[], llm=llm, can_handoff_to=["second"]
    )
    second = FunctionAgent(name="second", description="Knows.", tools=[weather], llm=llm)
    workflow = AgentWorkflow(agents=[first, second], root_agent="first")
    handler = workflow.run("Weather in Faro?")
    names = [
        event.current_agent_name
        async for event in handler.stream_events()
        if isinstance(event, AgentStream)
    ]
    assert (await handler).response.content == "Rain."
    assert set(names) == {"first", "second"}


async def test_a_stream_that_breaks_off_fails_the_agents_run():
    broken = ScriptedModel([Delta("It is "), ProviderUnavailable("cut")], name="broken")
    agent = FunctionAgent(tools=[weather], llm=routing(broken, up("Never.")))
    with pytest.raises(Exception, match="broke off after"):
        await agent.run("Weather?")


# Engines

FOUND = (scored("The cat sleeps on the roof.", 0.9), scored("The dog barks.", 0.5))


@LlamaIndex
@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize"])
def test_a_query_engine_answers_past_a_failing_model(wrap, mode):
    llm = routing(*models(wrap, down(), up("On the roof.")))
    synthesizer = get_response_synthesizer(llm=llm, response_mode=mode)
    engine = RetrieverQueryEngine(Given(*FOUND), response_synthesizer=synthesizer)
    assert str(engine.query("Where is the cat?")) == "On the roof."


async def test_a_query_engine_streams():
    llm = routing(down(), up(spoken("On ", "the roof.")))
    synthesizer = get_response_synthesizer(llm=llm, streaming=True)
    engine = RetrieverQueryEngine(Given(FOUND[0]), response_synthesizer=synthesizer)
    assert list(engine.query("Where?").response_gen) == ["On ", "the roof.", ""]
    answer = await engine.aquery("Where?")
    assert [text async for text in answer.async_response_gen()] == ["On ", "the roof.", ""]


def test_a_citation_query_engine_answers():
    llm = routing(down(), up("On the roof [1]."))
    index = SummaryIndex.from_documents([Document(text="The cat sleeps on the roof.")])
    engine = CitationQueryEngine.from_args(index, llm=llm, retriever=Given(FOUND[0]))
    assert str(engine.query("Where is the cat?")) == "On the roof [1]."


def chat_engine(kind, llm):
    memory = ChatMemoryBuffer.from_defaults(token_limit=2_000)
    if kind is SimpleChatEngine:
        return kind.from_defaults(llm=llm, memory=memory)
    return kind.from_defaults(retriever=Given(FOUND[0]), llm=llm, memory=memory)


ENGINES = pytest.mark.parametrize(
    "kind", [SimpleChatEngine, ContextChatEngine, CondensePlusContextChatEngine]
)


@ENGINES
def test_a_chat_engine_chats_and_streams_past_a_failing_model(kind):
    engine = chat_engine(kind, routing(down(), up(spoken("On ", "the roof."))))
    assert str(engine.chat("Where is the cat?")) == "On the roof."
    assert "".join(engine.stream_chat("Where?").response_gen) == "On the roof."


@ENGINES
async def test_a_chat_engine_does_so_async_too(kind):
    engine = chat_engine(kind, routing(down(), up(spoken("On ", "the roof."))))
    assert str(await engine.achat("Where is the cat?")) == "On the roof."
    streamed = await engine.astream_chat("Where?")
    assert "".join([text async for text in streamed.async_response_gen()]) == "On the roof."


def test_a_selector_chooses():
    choice = up('[{"choice": 2, "reason": "It is about dogs."}]')
    selector = LLMSingleSelector.from_defaults(llm=routing(down(), choice))
    assert selector.select(["cats", "dogs"], "Do they bark?").ind == 1


class City(BaseModel):
    """A city."""

    name: str


def test_a_function_calling_program_gets_its_object_of_the_model_that_gives_one():
    llm = routing(up("Faro, I think."), ScriptedModel(calling("City", name="Faro"), name="b"))
    prompt = PromptTemplate("A city")
    program = FunctionCallingProgram.from_defaults(output_cls=City, prompt=prompt, llm=llm)
    assert program() == City(name="Faro")


# Under parts of this package


@LlamaIndex
async def test_a_budget_holds_over_it(wrap):
    answering = up("Yes.", spoken("Yes."), calling("weather", city="Faro"))
    llm = LimitedLLM(routing(*models(wrap, down(), answering)), 60)
    chats = [ChatMessage("old " * 80), ChatMessage("Of course.", role="assistant")]
    chats.append(ChatMessage("Is it?"))
    assert (await llm.achat(chats)).message.content == "Yes."
    assert "".join([r.delta async for r in await llm.astream_chat(chats)]) == "Yes."
    assert [m.content for m in answering.requests[0].messages] == ["Is it?"]
    assert llm.metadata.is_function_calling_model
    with pytest.raises(BudgetTooSmall):
        await llm.achat([ChatMessage("word " * 200)])


async def test_an_agent_with_a_memory_remembers_over_it(ann):
    answering = up(calling("weather", city="Lisbon"), spoken("Rain in Lisbon."))
    agent = FunctionAgent(tools=[weather], llm=routing(down(), answering))
    attach(agent, ann, budget=2_000)
    assert (await agent.run("Weather where I moved to?")).response.content == "Rain in Lisbon."
    assert any("Lisbon in May" in m.content for m in answering.requests[0].messages)
    assert [m.role for m in ann.messages()] == ["user", "assistant", "tool", "assistant"]


def test_an_engine_with_a_memory_remembers_over_it(ann):
    answering = up("In Lisbon.")
    engine = chat_engine(SimpleChatEngine, routing(down(), answering))
    assert str(attach(engine, ann).chat("Where do I live?")) == "In Lisbon."
    assert [m.content for m in ann.messages()] == ["Where do I live?", "In Lisbon."]


def test_messages_with_what_only_llama_index_knows_stay_whole_in_a_turn():
    inner = ScriptedLLM("Yes.")
    llm = routing(down(), as_chat_model(inner))
    chat = ChatMessage("Hello?", additional_kwargs={"cache_control": {"type": "ephemeral"}})
    chat_engine(SimpleChatEngine, llm).chat("Is it?", chat_history=[chat])
    assert inner.asked[0][0].additional_kwargs == {"cache_control": {"type": "ephemeral"}}
