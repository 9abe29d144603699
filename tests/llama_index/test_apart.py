"""Agents of one workflow that remember each for itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, HumanResponseEvent

from rag_memory_plugins import Conversation, Memory
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.llama_index import ScopedMemory, attach, detach
from tests.llama_index.attached import CRANE, ask_first, look_at, over, waiting
from tests.llama_index.scripted import ScriptedLLM, texts


def of(memory: Memory, session: str, tenant: str = "acme", user: str = "ann") -> Conversation:
    return memory.conversation(tenant, user, session)


@pytest.fixture
def both(memory: Memory) -> dict[str, Conversation]:
    return {"finder": of(memory, "finding"), "writer": of(memory, "writing")}


def function(llm: Any, name: str) -> FunctionAgent:
    return FunctionAgent(
        llm=llm, name=name, description=f"a {name}", tools=[CRANE], system_prompt=f"You: {name}."
    )


def react(llm: Any, name: str) -> ReActAgent:
    return ReActAgent(llm=llm, name=name, description=f"a {name}", tools=[CRANE])


def workflow(finder: Any, writer: Any, makers: Any = (function, function)) -> AgentWorkflow:
    agents = [makers[0](finder, "finder"), makers[1](writer, "writer")]
    return AgentWorkflow(agents, root_agent="finder")


def look(number: int, kind: Any = function) -> Any:
    if kind is react:
        return f"Thought: look.\nAction: crane\nAction Input: {{'number': {number}}}"
    return look_at(number)


def hand(to: str, kind: Any = function) -> Any:
    given = {"to_agent": to, "reason": "seven it is"}
    if kind is react:
        return f"Thought: done.\nAction: handoff\nAction Input: {json.dumps(given)}"
    return [(f"to_{to}", "handoff", given)]


def answer(text: str, kind: Any = function) -> str:
    return f"Thought: I know.\nAnswer: {text}" if kind is react else text


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages()]


def sent(llm: ScriptedLLM, call: int = -1) -> str:
    return str(texts(llm.asked[call]))


KINDS = [(function, function), (function, react), (react, function), (react, react)]
every = pytest.mark.parametrize(
    "kinds", KINDS, ids=["-".join(kind.__name__ for kind in kinds) for kinds in KINDS]
)


@every
async def test_each_agent_stores_its_own_part_of_a_turn(
    both: dict[str, Conversation], kinds: Any
) -> None:
    finder = ScriptedLLM(look(7, kinds[0]), hand("writer", kinds[0]))
    writer = ScriptedLLM(look(8, kinds[1]), answer("it is green", kinds[1]))
    made = attach(workflow(finder, writer, kinds), both, level="session")
    assert str(await made.run("which crane is green?")) == "it is green"
    found, wrote = (said(conversation) for conversation in both.values())
    assert found[0] == wrote[0] == ("user", "which crane is green?")
    assert [("crane 7" in str(log), "crane 8" in str(log)) for log in (found, wrote)] == [
        (True, False),
        (False, True),
    ]
    assert ["it is green" in str(log) for log in (found, wrote)] == [False, True]


@every
async def test_the_next_agent_is_told_the_question_and_why_and_nothing_else(
    both: dict[str, Conversation], kinds: Any
) -> None:
    finder = ScriptedLLM(look(7, kinds[0]), hand("writer", kinds[0]))
    writer = ScriptedLLM(look(8, kinds[1]), answer("it is green", kinds[1]))
    made = attach(workflow(finder, writer, kinds), both, level="session")
    await made.run("which crane is green?")
    for call in (0, 1):
        assert "which crane is green?" in sent(writer, call)
        assert "seven it is" in sent(writer, call)
        assert "crane 7" not in sent(writer, call)
    assert "crane 8" in sent(writer, 1)
    assert "seven it is" not in str(said(both["writer"]))


async def test_the_agent_that_answered_goes_on_with_its_own_history(
    both: dict[str, Conversation],
) -> None:
    finder = ScriptedLLM(look(7), hand("writer"))
    writer = ScriptedLLM("it is green", "still green")
    made = attach(workflow(finder, writer), both, level="session")
    context = Context(made)
    await made.run("which crane is green?", ctx=context)
    await made.run("and now?", ctx=context)
    assert said(both["writer"]) == [
        ("user", "which crane is green?"),
        ("assistant", "it is green"),
        ("user", "and now?"),
        ("assistant", "still green"),
    ]
    assert ("it is green" in sent(writer), "seven it is" in sent(writer)) == (True, False)
    assert "and now?" not in str(said(both["finder"]))


async def test_a_new_context_begins_with_the_first_agent_and_what_it_knows(
    both: dict[str, Conversation],
) -> None:
    finder = ScriptedLLM(look(7), hand("writer"), "seven")
    made = attach(workflow(finder, ScriptedLLM("it is green")), both, level="session")
    await made.run("which crane is green?")
    await made.run("which was it?")
    assert ("crane 7" in sent(finder), "it is green" in sent(finder)) == (True, False)


async def test_each_handoff_passes_the_question_of_its_turn(
    both: dict[str, Conversation],
) -> None:
    made = attach(
        workflow(
            ScriptedLLM(hand("writer"), hand("writer")),
            ScriptedLLM("seven is green", "nine is red"),
        ),
        both,
    )
    await made.run("which crane is green?")
    await made.run("which crane is red?")
    assert [text for _, text in said(both["writer"])] == [
        "which crane is green?",
        "seven is green",
        "which crane is red?",
        "nine is red",
    ]


async def test_a_request_that_comes_back_finds_the_question_once(
    both: dict[str, Conversation],
) -> None:
    finder = ScriptedLLM(look(7), hand("writer"), "seven is green")
    writer = ScriptedLLM(hand("finder"))
    made = attach(workflow(finder, writer), both, level="session")
    assert str(await made.run("which crane is green?")) == "seven is green"
    for conversation in both.values():
        assert [text for role, text in said(conversation) if role == "user"] == [
            "which crane is green?"
        ]
    assert sent(finder).count("which crane is green?") == 1


async def test_the_budget_of_each_agent_is_kept(both: dict[str, Conversation]) -> None:
    finder = ScriptedLLM(*(look(number) for number in range(6)), hand("writer"))
    writer = ScriptedLLM(*(look(number) for number in range(20, 26)), "green")
    made = attach(workflow(finder, writer), both, budget=1200)
    await made.run("which crane is green?")
    tools = await made.get_tools("finder")
    assert (len(finder.asked), over(finder, 1200, tools)) == (7, [])
    assert (len(writer.asked), over(writer, 1200, tools)) == (7, [])
    assert all("which crane is green?" in sent(writer, call) for call in range(7))


@pytest.mark.parametrize("saved", [False, True])
async def test_a_context_of_another_tenant_is_refused(
    memory: Memory, both: dict[str, Conversation], saved: bool
) -> None:
    bobs = {name: of(memory, name, "globex", "bob") for name in both}
    finder, writer = ScriptedLLM(hand("writer")), ScriptedLLM("hello Bob", "secret")
    made = attach(workflow(finder, writer), bobs)
    context = Context(made)
    await made.run("I am Bob", ctx=context)
    before = said(bobs["writer"])
    attach(made, both)
    if saved:
        context = Context.from_dict(made, json.loads(json.dumps(context.to_dict())))
    with pytest.raises(InvalidNamespace, match="globex/bob/writer"):
        await made.run("I am Ann", ctx=context)
    assert (len(writer.asked), said(bobs["writer"])) == (1, before)
    assert [said(conversation) for conversation in both.values()] == [[], []]


async def test_a_saved_context_goes_on_with_the_agent_that_answered(
    memory: Memory, both: dict[str, Conversation]
) -> None:
    finder, writer = ScriptedLLM(hand("writer")), ScriptedLLM("hello Ann", "Ann")
    made = attach(workflow(finder, writer), both)
    context = Context(made)
    await made.run("I am Ann", ctx=context)
    written = json.dumps(context.to_dict())
    assert "I am Ann" not in json.loads(written)["state"]["state_data"]["_data"]["memory"]
    anew = attach(workflow(finder, writer), both)
    await anew.run("who am I?", ctx=Context.from_dict(anew, json.loads(written)))
    assert [text for _, text in said(both["writer"])] == [
        "I am Ann",
        "hello Ann",
        "who am I?",
        "Ann",
    ]


async def test_detach_gives_the_agents_back_what_they_were(
    both: dict[str, Conversation],
) -> None:
    made = workflow(ScriptedLLM("hello"), ScriptedLLM())
    agents = dict(made.agents)
    attributes = {name: dict(vars(agent)) for name, agent in agents.items()}
    attach(made, both, budget=900)
    assert made.agents["finder"] is not agents["finder"]
    detach(made)
    assert made.agents == agents
    assert {name: dict(vars(agent)) for name, agent in agents.items()} == attributes
    await made.run("hello")
    assert said(both["finder"]) == []


def test_attaching_the_same_again_changes_nothing(
    memory: Memory, both: dict[str, Conversation]
) -> None:
    made = attach(workflow(ScriptedLLM(), ScriptedLLM()), both)
    agents = made.agents
    attach(made, {name: memory.conversation(c.namespace) for name, c in both.items()})
    assert made.agents is agents
    attach(made, {**both, "writer": of(memory, "letters")})
    assert made.agents is not agents


async def test_another_memory_is_refused(memory: Memory, both: dict[str, Conversation]) -> None:
    made = attach(workflow(ScriptedLLM("secret"), ScriptedLLM()), both)
    with pytest.raises(Exception, match="attached to 'acme/ann/finding'"):
        await made.run("hello", memory=ScopedMemory(of(memory, "writing", "globex", "bob")))
    own = ScopedMemory(both["finder"], 777)
    await made.run("hello", memory=own)
    assert ("user", "hello") in said(both["finder"])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"writer": None}, InvalidInput, "conversation: got None"),
        ({"editor": "of the user"}, InvalidInput, "each of the agents: finder, writer"),
        ({"writer": "of another tenant"}, InvalidNamespace, "serve one user"),
    ],
)
def test_what_cannot_be_attached_is_refused_and_changes_nothing(
    memory: Memory,
    both: dict[str, Conversation],
    change: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    tenants = {"of the user": "acme", "of another tenant": "globex"}
    given = {
        name: value and of(memory, "editing", tenants[value]) for name, value in change.items()
    }
    made = workflow(ScriptedLLM(), ScriptedLLM())
    before = dict(vars(made))
    with pytest.raises(error, match=says):
        attach(made, {**both, **given})
    assert vars(made) == before


def test_one_agent_has_one_memory(both: dict[str, Conversation]) -> None:
    with pytest.raises(InvalidInput, match="a FunctionAgent has one memory"):
        attach(function(ScriptedLLM(), "finder"), both)
    with pytest.raises(InvalidInput, match="conversation"):
        attach(workflow(ScriptedLLM(), ScriptedLLM()), {})


@pytest.mark.parametrize(("level", "recalled"), [("user", True), ("session", False)])
async def test_the_level_says_what_is_recalled(
    memory: Memory, both: dict[str, Conversation], level: Any, recalled: bool
) -> None:
    of(memory, "monday").add("I moved to Lisbon in May")
    llm = ScriptedLLM("no idea")
    await attach(workflow(llm, ScriptedLLM()), both, level=level).run("where did I move?")
    assert ("Lisbon" in sent(llm)) is recalled


def asking(finder: Any, writer: Any) -> AgentWorkflow:
    agents = [function(finder, "finder"), function(writer, "writer")]
    agents[1].tools = [FunctionTool.from_defaults(ask_first)]
    return AgentWorkflow(agents, root_agent="finder")


async def test_a_run_that_waited_after_a_handoff_goes_on_with_its_agents_memory(
    both: dict[str, Conversation],
) -> None:
    finder = ScriptedLLM(hand("writer"))
    writer = ScriptedLLM([("call_1", "ask_first", {})], "deleted")
    made = attach(asking(finder, writer), both, level="session")
    handler = made.run(ctx=Context.from_dict(made, await waiting(made)))
    handler.ctx.send_event(HumanResponseEvent(response="yes"))
    assert str(await handler) == "deleted"
    assert [text for _, text in said(both["writer"])] == [
        "delete it",
        "",
        "yes",
        "deleted",
    ]
    assert "seven it is" in sent(writer)


async def test_a_run_that_waited_for_another_tenant_is_refused(
    memory: Memory, both: dict[str, Conversation]
) -> None:
    writer = ScriptedLLM([("call_1", "ask_first", {})], "secret")
    made = asking(ScriptedLLM(hand("writer")), writer)
    bobs = {name: of(memory, name, "globex", "bob") for name in both}
    saved = await waiting(attach(made, bobs))
    attach(made, both)
    with pytest.raises(InvalidNamespace, match="globex/bob/writer"):
        made.run(ctx=Context.from_dict(made, saved))
    assert (len(writer.asked), said(both["writer"])) == (1, [])
