"""A conversation's memory in agents that exist: `run` as before, remembering."""

from __future__ import annotations

import copy
import inspect
import json
from importlib.metadata import version
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import (
    AgentStream,
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.agent.workflow.workflow_events import AgentWorkflowStartEvent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context, HumanResponseEvent
from pydantic import BaseModel
from workflows.errors import WorkflowRuntimeError

from rag_memory_plugins import Conversation, Memory
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.llama_index import LimitedLLM, ScopedMemory, attach, detach
from tests.llama_index.attached import (
    CRANE,
    LONG,
    ask_first,
    asked,
    look,
    look_at,
    orphans,
    over,
    waiting,
)
from tests.llama_index.scripted import ScriptedLLM, texts

# Workflows 1 wraps what a step raises.
WRAPPED = version("llama-index-workflows").startswith("1.")
REFUSED: type[Exception] = WorkflowRuntimeError if WRAPPED else InvalidNamespace

FACT = "I moved to Lisbon in May"


def function_agent(llm: Any, **options: Any) -> FunctionAgent:
    return FunctionAgent(llm=llm, tools=[CRANE], system_prompt="Be brief.", **options)


def workflow(*llms: Any, streaming: bool = False) -> AgentWorkflow:
    names = ["finder", "writer"][: len(llms)]
    agents = [
        function_agent(llm, name=name, description=f"a {name}", streaming=streaming)
        for name, llm in zip(names, llms, strict=True)
    ]
    return AgentWorkflow(agents, root_agent="finder")


MAKERS: dict[str, Any] = {
    "FunctionAgent": function_agent,
    "ReActAgent": lambda llm: ReActAgent(llm=llm, tools=[CRANE]),
    "CodeActAgent": lambda llm: CodeActAgent(lambda code: code, llm=llm),
    "AgentWorkflow": lambda llm: workflow(llm, llm),
}
every = pytest.mark.parametrize("kind", MAKERS)


def answering(kind: str, text: str) -> str:
    return f"Thought: I know.\nAnswer: {text}" if kind == "ReActAgent" else text


@every
def test_attach_returns_the_very_agent(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    assert attach(target, ann) is target
    assert type(target).__name__ == kind
    assert inspect.signature(target.run) == inspect.signature(type(target).run.__get__(target))


@every
def test_detach_restores_every_attribute(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    before, fields = look(target), getattr(target, "model_fields_set", None)
    attach(target, ann, budget=900, llm=ScriptedLLM())
    assert look(target) != before
    detach(target)
    assert look(target) == before
    assert getattr(target, "model_fields_set", None) == fields


@every
def test_attaching_the_same_again_changes_nothing(
    memory: Memory, ann: Conversation, kind: str
) -> None:
    target = MAKERS[kind](ScriptedLLM())
    attach(target, ann, budget=900)
    before = look(target)
    attach(target, memory.conversation("acme", "ann", "tuesday"), budget=900)
    assert look(target) == before


@every
def test_the_global_settings_are_left_alone(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    before = {name: id(value) for name, value in vars(Settings).items()}
    attach(target, ann, budget=900)
    assert {name: id(value) for name, value in vars(Settings).items()} == before


@pytest.mark.parametrize("field", ["rerank", "response_mode"])
def test_an_option_that_has_no_place_is_refused_by_name(ann: Conversation, field: str) -> None:
    from llama_index.core.postprocessor import SimilarityPostprocessor

    value = SimilarityPostprocessor() if field == "rerank" else True
    with pytest.raises(InvalidInput, match=f"{field}: .*a FunctionAgent has no"):
        attach(function_agent(ScriptedLLM()), ann, **{field: value})


@every
async def test_an_attached_agent_recalls_and_stores(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM(answering(kind, "to Lisbon"))
    agent = attach(MAKERS[kind](llm), ann)
    assert str(await agent.run("where did I move?")) == "to Lisbon"
    assert FACT in asked(llm)
    stored = [(m.role, m.content) for m in await ann.amessages()]
    assert stored == [
        ("user", "where did I move?"),
        ("assistant", answering(kind, "to Lisbon")),
    ]


@every
async def test_a_detached_agent_remembers_nothing(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM(answering(kind, "no idea"))
    await detach(attach(MAKERS[kind](llm), ann)).run("where did I move?")
    assert (FACT in asked(llm), list(await ann.amessages())) == (False, [])


async def test_an_agent_attached_anew_belongs_to_the_other_tenant(
    ann: Conversation, bob: Conversation
) -> None:
    llm = ScriptedLLM("to Lisbon", "to Oslo")
    agent = attach(function_agent(llm), ann)
    await agent.run("where did I move?")
    await attach(agent, bob).run("where did I move?")
    second = str(texts(llm.asked[1]))
    assert ("Oslo" in second, "Lisbon" in second) == (True, False)
    assert (len(await ann.amessages()), len(await bob.amessages())) == (2, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"user_msg": "where did I move?"},
        {"user_msg": ChatMessage("where did I move?")},
        {"chat_history": [ChatMessage("where did I move?")]},
        {"start_event": AgentWorkflowStartEvent(user_msg="where did I move?")},
    ],
    ids=["text", "message", "history", "event"],
)
async def test_every_way_to_run_uses_the_memory(
    ann: Conversation, arguments: dict[str, Any]
) -> None:
    llm = ScriptedLLM("to Lisbon")
    await attach(function_agent(llm), ann).run(**arguments)
    assert (FACT in asked(llm), len(await ann.amessages())) == (True, 2)


async def test_an_attached_agent_streams_its_events(ann: Conversation) -> None:
    llm = ScriptedLLM("you moved to Lisbon")
    handler = attach(function_agent(llm, streaming=True), ann).run("where did I move?")
    parts = [event.delta async for event in handler.stream_events() if type(event) is AgentStream]
    assert "".join(parts) == "you moved to Lisbon"
    await handler


async def test_a_context_goes_on_with_the_memory(ann: Conversation) -> None:
    llm = ScriptedLLM("hello Ann", "Ann")
    agent = attach(function_agent(llm), ann)
    context = Context(agent)
    await agent.run("I am Ann", ctx=context)
    await agent.run("who am I?", ctx=context)
    assert len(await ann.amessages()) == 4


@every
async def test_a_saved_context_goes_on_with_the_memory(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM(answering(kind, "hello Ann"), answering(kind, "Ann"))
    agent = attach(MAKERS[kind](llm), ann)
    context = Context(agent)
    await agent.run("I am Ann", ctx=context)
    saved = json.loads(json.dumps(context.to_dict()))
    await agent.run("who am I?", ctx=Context.from_dict(agent, saved))
    assert len(await ann.amessages()) == 4


async def test_a_memory_of_the_same_namespace_may_be_passed(ann: Conversation) -> None:
    llm = ScriptedLLM("to Lisbon")
    own = ScopedMemory(ann, budget=77)
    context = Context(agent := attach(function_agent(llm), ann))
    await agent.run("where did I move?", memory=own, ctx=context)
    assert await context.store.get("memory") is own
    assert len(await ann.amessages()) == 2


@every
@pytest.mark.parametrize("foreign", ["another tenant", "another session", "LlamaIndex's"])
async def test_another_memory_is_refused(
    memory: Memory, ann: Conversation, bob: Conversation, kind: str, foreign: str
) -> None:
    other = {
        "another tenant": ScopedMemory(bob),
        "another session": ScopedMemory(memory.conversation("acme", "ann", "friday")),
        "LlamaIndex's": ChatMemoryBuffer.from_defaults(token_limit=100),
    }[foreign]
    llm = ScriptedLLM("secret")
    with pytest.raises(REFUSED, match="attached to 'acme/ann/tuesday'"):
        await attach(MAKERS[kind](llm), ann).run("I am Ann", memory=other)
    assert (llm.asked, list(await ann.amessages()), list(await bob.amessages())) == ([], [], [])


@every
@pytest.mark.parametrize("saved", [False, True])
async def test_a_context_of_another_tenant_is_refused(
    ann: Conversation, bob: Conversation, kind: str, saved: bool
) -> None:
    """LlamaIndex takes the memory in a Context before the one of `memory=`, without a word."""
    llm = ScriptedLLM(answering(kind, "hello Bob"), "secret")
    agent = attach(MAKERS[kind](llm), bob)
    context = Context(agent)
    await agent.run("I am Bob", ctx=context)
    attach(agent, ann)
    if saved:
        context = Context.from_dict(agent, json.loads(json.dumps(context.to_dict())))
    with pytest.raises(InvalidNamespace, match="globex/bob/tuesday"):
        await agent.run("I am Ann", ctx=context)
    assert (len(llm.asked), len(await bob.amessages())) == (1, 2)
    assert list(await ann.amessages()) == []


async def test_a_context_with_a_memory_of_llama_index_is_refused(ann: Conversation) -> None:
    llm = ScriptedLLM("hello", "secret")
    agent = function_agent(llm)
    context = Context(agent)
    await context.store.set("memory", ChatMemoryBuffer.from_defaults(token_limit=100))
    with pytest.raises(InvalidNamespace, match=r"ChatMemoryBuffer.*use a new Context"):
        await attach(agent, ann).run("I am Ann", ctx=context)


def asking(*replies: Any) -> tuple[FunctionAgent, ScriptedLLM]:
    llm = ScriptedLLM([("call_1", "ask_first", {})], *replies)
    return FunctionAgent(llm=llm, tools=[ask_first], streaming=False), llm


async def test_a_run_that_waited_goes_on_with_the_memory(ann: Conversation) -> None:
    agent, _ = asking("deleted")
    attach(agent, ann)
    handler = agent.run(ctx=Context.from_dict(agent, await waiting(agent)))
    handler.ctx.send_event(HumanResponseEvent(response="yes"))
    assert str(await handler) == "deleted"
    stored = [(m.role, m.content) for m in await ann.amessages()]
    assert (stored[0], stored[-1]) == (("user", "delete it"), ("assistant", "deleted"))


async def test_a_run_that_waited_for_another_tenant_is_refused(
    ann: Conversation, bob: Conversation
) -> None:
    agent, llm = asking("secret")
    saved = await waiting(attach(agent, bob))
    attach(agent, ann)
    with pytest.raises(InvalidNamespace, match="globex/bob/tuesday"):
        agent.run(ctx=Context.from_dict(agent, saved))
    assert len(llm.asked) == 1


@pytest.mark.parametrize("streaming", [False, True])
async def test_thirty_turns_with_tools_keep_the_budget_on_every_call(
    ann: Conversation, streaming: bool
) -> None:
    budget = 1000
    llm = ScriptedLLM()
    agent = attach(function_agent(llm, streaming=streaming), ann, budget=budget)
    for turn in range(30):
        rounds = [look_at(turn * 10 + number) for number in range(4 if turn % 10 else 12)]
        llm._replies = [*rounds, f"crane {turn} is green"]
        answer = await agent.run(f"which crane is green in turn {turn}?")
        assert str(answer) == f"crane {turn} is green"
    assert (len(llm.asked), over(llm, budget, [CRANE])) == (30 * 5 + 3 * 8, [])
    assert [found for messages in llm.asked if (found := orphans(messages))] == []
    stored = await ann.amessages()
    assert len(stored) == 30 * (2 + 2 * 4) + 3 * 2 * 8  # whole, however short it was sent
    assert sum(LONG in message.content for message in stored) == 30 * 4 + 3 * 8


async def test_without_attach_llama_index_sends_the_whole_scratchpad(ann: Conversation) -> None:
    llm = ScriptedLLM(*(look_at(number) for number in range(18)), "green")
    await function_agent(llm, streaming=False).run("which?", memory=ScopedMemory(ann, 1000))
    assert max(over(llm, 1000, [CRANE])) > 7000


async def test_a_new_session_of_the_user_recalls_and_another_user_does_not(
    memory: Memory, ann: Conversation
) -> None:
    llm = ScriptedLLM(look_at(1), "noted", "Sesame", "no idea")
    agent = attach(function_agent(llm), ann, budget=1000)
    await agent.run("my cat is called Sesame")
    await attach(agent, memory.conversation("acme", "ann", "friday"), budget=1000).run("my cat?")
    await attach(agent, memory.conversation("acme", "eve", "friday"), budget=1000).run("my cat?")
    same, other = (str(texts(messages)) for messages in llm.asked[2:])
    assert ("Sesame" in same, "Sesame" in other) == (True, False)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_handoff_keeps_one_memory_and_the_budget(
    ann: Conversation, streaming: bool
) -> None:
    handoff = [("call_h", "handoff", {"to_agent": "writer", "reason": "found"})]
    finder = ScriptedLLM(*(look_at(number) for number in range(8)), handoff)
    writer = ScriptedLLM(*(look_at(number) for number in range(20, 28)), "crane 20 is green")
    made = attach(workflow(finder, writer, streaming=streaming), ann, budget=1200)
    answer = await made.run("which crane is green, where did I move?")
    tools = await made.get_tools("finder")
    assert str(answer) == "crane 20 is green"
    assert (len(finder.asked), over(finder, 1200, tools)) == (9, [])
    assert (len(writer.asked), over(writer, 1200, tools)) == (9, [])
    assert FACT in str(texts(writer.asked[0]))
    stored = await ann.amessages()
    assert [m.content for m in stored if m.role == "user"] == [
        "which crane is green, where did I move?"
    ]
    assert sum(LONG in message.content for message in stored) == 16


async def test_the_agents_of_a_workflow_are_left_as_they_are(ann: Conversation) -> None:
    llm = ScriptedLLM("hello")
    alone = function_agent(llm, name="finder", description="a finder")
    made = AgentWorkflow([alone], root_agent="finder")
    before = look(alone)
    attach(made, ann, budget=900)
    assert (look(alone) == before, made.agents["finder"] is alone) == (True, False)
    assert isinstance(made.agents["finder"].llm, LimitedLLM)


async def test_an_attached_agent_in_a_workflow_of_another_tenant_tells_nothing(
    ann: Conversation, bob: Conversation
) -> None:
    llm = ScriptedLLM("to Oslo")
    agent = attach(function_agent(llm, name="finder", description="a finder"), ann, budget=900)
    made = attach(AgentWorkflow([agent], root_agent="finder"), bob, budget=900)
    await made.run("where did I move?")
    assert ("Oslo" in asked(llm), "Lisbon" in asked(llm)) == (True, False)


async def test_react_rounds_keep_the_budget(ann: Conversation) -> None:
    step = "Thought: look.\nAction: crane\nAction Input: {{'number': {}}}"
    answer = "Thought: done.\nAnswer: green"
    llm = ScriptedLLM(*(step.format(number) for number in range(15)), answer)
    agent = attach(ReActAgent(llm=llm, tools=[CRANE]), ann, budget=2000)
    assert str(await agent.run("which crane is green?", max_iterations=30)) == "green"
    assert (len(llm.asked), over(llm, 2000)) == (16, [])
    assert all("which crane is green?" in str(texts(messages)) for messages in llm.asked)


class Answer(BaseModel):
    """An answer."""

    text: str


async def test_a_structured_answer_keeps_the_budget(ann: Conversation) -> None:
    replies = [look_at(1), "it is green", [("call_2", "Answer", {"text": "green"})]]
    llm = ScriptedLLM(*replies)
    agent = attach(FunctionAgent(llm=llm, tools=[CRANE], output_cls=Answer), ann, budget=1000)
    answer = await agent.run("which crane is green?")
    assert (answer.structured_response, over(llm, 1000, [CRANE])) == ({"text": "green"}, [])


async def test_another_model_answers_and_the_first_again_after_detach(ann: Conversation) -> None:
    first, second = ScriptedLLM("first"), ScriptedLLM("second")
    agent = attach(function_agent(first), ann, llm=second)
    assert str(await agent.run("hello")) == "second"
    assert str(await detach(agent).run("hello")) == "first"


async def test_a_deep_copy_of_an_attached_agent_serves_the_same_tenant(ann: Conversation) -> None:
    llm = ScriptedLLM("to Lisbon")
    twin = copy.deepcopy(attach(function_agent(llm), ann))
    await twin.run("where did I move?")
    assert len(await ann.amessages()) == 2
