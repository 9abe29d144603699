"""Questions to the memory as a LangChain runnable, and as a tool of agents."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from langgraph.prebuilt import ToolNode

from rag_memory_plugins import Conversation, Memory, Namespace
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace, InvalidQuery, UnknownArgument
from rag_memory_plugins.langchain import MemoryMiddleware, MemoryQuery, memory_query_tool
from rag_memory_plugins.memory.answering import NOTHING
from rag_memory_plugins.memory.evidence import Evidence
from rag_memory_plugins.ports import Fact, Said
from tests.langchain.listening import Heard
from tests.langchain.scripted import ScriptedModel

QUESTION = "Where does Ann live?"
START = datetime(2025, 3, 3, tzinfo=timezone.utc)


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I moved to Porto", id="m/1", name="Ann", time=START)
    monday.facts.insert("Ann", "lives in", "Porto", id="f1", valid_from=START, sources="m/1")
    there = memory.conversation("globex", "ann", "monday")
    there.add("I moved to Oslo", id="m/1", name="Ann", time=START)
    there.facts.insert("Ann", "lives in", "Oslo", id="g1", valid_from=START)
    return memory.conversation("acme", "ann", "tuesday")


def whose(config: RunnableConfig) -> Namespace:
    return Namespace(config["configurable"]["org"], "ann", "tuesday")


def of(org: str, *callbacks: BaseCallbackHandler) -> RunnableConfig:
    return RunnableConfig(configurable={"org": org}, callbacks=list(callbacks))


async def every(query: Any, given: Any = QUESTION, config: Any = None) -> list[dict[str, Any]]:
    """What each of a runnable's ways to be run gives."""
    return [
        query.invoke(given, config),
        await query.ainvoke(given, config),
        *query.batch([given], config),
        *await query.abatch([given], config),
        *query.stream(given, config),
        *[piece async for piece in query.astream(given, config)],
    ]


async def test_without_a_model_the_evidence_is_the_answer(ann: Conversation) -> None:
    for answer in await every(MemoryQuery(ann)):
        assert "[f:f1] holds now, since 3 March 2025: Ann lives in Porto" in answer["answer"]
        assert isinstance(answer["evidence"], Evidence)
        assert answer["citations"]["[m:monday/m%2F1]"] == Said("monday", "m/1")
        assert isinstance(answer["citations"]["[f:f1]"], Fact)
        assert answer["degraded"] == []


def test_documents_are_memories_and_facts_with_their_marks(ann: Conversation) -> None:
    fact, said = MemoryQuery(ann).invoke(QUESTION)["documents"]
    assert isinstance(fact, Document)
    assert (fact.id, fact.page_content) == ("acme/ann@facts/f1", "Ann lives in Porto")
    assert (fact.metadata["kind"], fact.metadata["citation"]) == ("fact", "[f:f1]")
    assert (said.id, said.metadata["citation"]) == ("acme/ann/monday/m%2F1", "[m:monday/m%2F1]")
    assert (fact.metadata["score"], said.metadata["score"]) == (1.0, 0.5)


async def test_a_model_is_asked_once_a_run_and_its_marks_are_checked(ann: Conversation) -> None:
    model = ScriptedModel(*["In Porto [f:f1], by the sea [f:g1]."] * 6)
    answers = await every(MemoryQuery(ann, model=model))
    for answer in answers:
        assert answer["answer"] == "In Porto [f:f1], by the sea."
        assert list(answer["citations"]) == ["[f:f1]"]
        assert "[f:g1]" in answer["degraded"][0]
    assert len(answers) == len(model.asked) == 6
    assert "Ann lives in Porto" in model.asked[0][-1].text


class Tree(BaseCallbackHandler):
    """(name of a run, name of its parent), of chains, tools and models."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.edges: list[tuple[str, str]] = []

    def _begins(self, name: str, run_id: UUID, parent: UUID | None) -> None:
        self.names[run_id] = name
        self.edges.append((name, self.names.get(parent, "") if parent else ""))

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self._begins(str(kwargs.get("name")), kwargs["run_id"], kwargs.get("parent_run_id"))

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self._begins(serialized["name"], kwargs["run_id"], kwargs.get("parent_run_id"))

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self._begins("model", kwargs["run_id"], kwargs.get("parent_run_id"))


async def test_callbacks_see_the_models_run_as_a_child(ann: Conversation) -> None:
    query = MemoryQuery(ann, model=ScriptedModel(*["In Porto [f:f1]."] * 4))
    tree = Tree()
    query.invoke(QUESTION, {"callbacks": [tree]})
    await query.ainvoke(QUESTION, {"callbacks": [tree]})
    assert tree.edges == [("MemoryQuery", ""), ("model", "MemoryQuery")] * 2
    tree = Tree()
    tool = query.as_tool()
    tool.invoke({"question": QUESTION}, {"callbacks": [tree]})
    await tool.ainvoke({"question": QUESTION}, {"callbacks": [tree]})
    assert tree.edges == [("query_memory", ""), ("model", "query_memory")] * 2


async def test_a_model_that_fails_leaves_the_evidence_and_is_told_of(ann: Conversation) -> None:
    heard = Heard()
    query = MemoryQuery(ann, model=ScriptedModel(*[ValueError("down")] * 2))
    for answer in (
        query.invoke(QUESTION, {"callbacks": [heard]}),
        await query.ainvoke(QUESTION, {"callbacks": [heard]}),
    ):
        assert answer["answer"] == answer["evidence"].text
        assert answer["degraded"][0].startswith("model langchain:ScriptedModel")
    assert heard.reasons() == answer["degraded"] * 2


@pytest.mark.parametrize(
    "as_of", ["2024-05-31", datetime(2024, 5, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)]
)
def test_a_dict_may_say_as_of_when(ann: Conversation, as_of: Any) -> None:
    answer = MemoryQuery(ann).invoke({"question": QUESTION, "as_of": as_of, "other": 1})
    assert answer["evidence"].as_of == datetime(2024, 5, 31, 23, 59, 59, 999_999, timezone.utc)
    assert [document.metadata["kind"] for document in answer["documents"]] == ["memory"]


def test_it_stands_in_a_chain(ann: Conversation) -> None:
    chain = (
        {"question": RunnablePassthrough()}
        | MemoryQuery(ann)
        | RunnableLambda(lambda answer: list(answer["citations"]))
    )
    assert chain.invoke(QUESTION)[0] == "[f:f1]"


async def test_the_namespace_comes_from_the_config_of_each_run(
    ann: Conversation, memory: Memory
) -> None:
    query = MemoryQuery(memory, namespace=whose)
    chain = query | RunnableLambda(dict)
    for org, own, other in (("acme", "Porto", "Oslo"), ("globex", "Oslo", "Porto")):
        for answer in [*await every(query, config=of(org)), chain.invoke(QUESTION, of(org))]:
            assert (own in answer["answer"], other in answer["answer"]) == (True, False)
            assert {each.metadata["tenant"] for each in answer["documents"]} == {org}


async def test_runs_side_by_side_each_have_their_own_namespace(
    ann: Conversation, memory: Memory
) -> None:
    query = MemoryQuery(memory, namespace=whose)
    orgs = ("acme", "globex") * 5
    answers = await asyncio.gather(*(query.ainvoke(QUESTION, of(org)) for org in orgs))
    assert [answer["documents"][0].metadata["tenant"] for answer in answers] == list(orgs)


async def test_another_tenant_without_memories_gets_nothing(
    ann: Conversation, memory: Memory
) -> None:
    model = ScriptedModel("In Porto.")
    query = MemoryQuery(memory, namespace=whose, model=model)
    for answer in await every(query, config=of("initech")):
        assert (answer["answer"], answer["documents"]) == (NOTHING, [])
    assert model.asked == []


@pytest.mark.parametrize(
    "namespace",
    [whose, lambda _: None, lambda _: "acme/ann/tuesday"],
    ids=["fails", "gives none", "gives a str"],
)
async def test_a_namespace_that_cannot_be_told_reads_nothing(
    ann: Conversation, memory: Memory, namespace: Any
) -> None:
    query = MemoryQuery(memory, namespace=namespace)
    with pytest.raises(InvalidNamespace):
        query.invoke(QUESTION)
    with pytest.raises(InvalidNamespace):
        await query.ainvoke(QUESTION)
    with pytest.raises(InvalidNamespace):
        query.as_tool().invoke({"question": QUESTION})


def test_a_tool_answers_inside_the_fence_for_whom_the_run_is_for(
    ann: Conversation, memory: Memory
) -> None:
    tool = memory_query_tool(memory, namespace=whose)
    assert set(tool.args) == {"question", "as_of"}
    text = tool.invoke({"question": QUESTION}, of("acme"))
    assert "[f:f1]" in text
    assert ann.fence.stripped(text) == ""
    assert "Oslo" in tool.invoke({"question": QUESTION}, of("globex"))
    assert "lives in" not in tool.invoke({"question": QUESTION, "as_of": "2024-05-31"}, of("acme"))


async def test_a_tool_inside_of_another_users_run_is_for_whom_its_own_config_names(
    ann: Conversation, memory: Memory
) -> None:
    tool = memory_query_tool(memory, namespace=whose)

    async def inner(_: Any) -> str:
        return str(await tool.ainvoke({"question": QUESTION}, of("acme")))

    text = await RunnableLambda(inner).ainvoke("", of("globex"))
    assert ("Porto" in text, "Oslo" in text) == (True, False)


async def test_what_a_model_writes_wrongly_it_is_told(ann: Conversation) -> None:
    tool = memory_query_tool(ann, name="ask", description="Ask it.")
    assert (tool.name, tool.description) == ("ask", "Ask it.")
    for given in ({"question": " "}, {"question": QUESTION, "as_of": "last May"}):
        wrong = "as_of" if "as_of" in given else "question"
        assert tool.invoke(given).startswith(f"Not done, {wrong}")
        assert (await tool.ainvoke(given)).startswith(f"Not done, {wrong}")


@pytest.mark.parametrize("asked", [False, True], ids=["without a model", "with a model"])
async def test_an_agent_asks_it_and_its_memory_stores_no_answer_of_it(
    ann: Conversation, asked: bool
) -> None:
    inner = ScriptedModel("In Porto [f:f1].") if asked else None
    call = [("call_1", "query_memory", {"question": QUESTION})]
    model = ScriptedModel(call, "She lives in Porto.")
    agent = create_agent(
        model,
        tools=[memory_query_tool(ann, model=inner)],
        middleware=[MemoryMiddleware(conversation=ann)],
    )
    await agent.ainvoke({"messages": [HumanMessage("Where is she?")]})
    told = [m.text for m in model.asked[1] if isinstance(m, ToolMessage)]
    assert "[f:f1]" in told[0]
    assert ann.fence.stripped(told[0]) == ""
    assert not [m for m in await ann.amessages() if "[f:f1]" in m.content]


async def test_it_works_in_a_tool_node(ann: Conversation, memory: Memory) -> None:
    node = ToolNode([memory_query_tool(memory, namespace=whose)])
    assert node.tools_by_name["query_memory"].args.keys() == {"question", "as_of"}


@pytest.mark.parametrize(
    ("given", "error", "field"),
    [
        ({"model": "gpt"}, InvalidInput, "model"),
        ({"limit": 0}, InvalidQuery, "limit"),
        ({"level": "tenant"}, InvalidQuery, "level"),
        ({"lvl": "user"}, UnknownArgument, "lvl"),
        ({"namespace": Namespace("acme", "ann", "monday")}, InvalidNamespace, "already"),
    ],
)
def test_a_wrong_argument_is_named(
    ann: Conversation, given: dict[str, Any], error: type[Exception], field: str
) -> None:
    with pytest.raises(error, match=field):
        MemoryQuery(ann, **given)


@pytest.mark.parametrize("given", ["", {}, {"question": 3}, {"input": QUESTION}, None])
def test_an_input_without_a_question_is_refused(ann: Conversation, given: Any) -> None:
    with pytest.raises(InvalidQuery, match="question"):
        MemoryQuery(ann).invoke(given)


@pytest.mark.parametrize("given", [{"args_schema": Document}, {"arg_types": {"a": str}}])
def test_a_tools_arguments_are_its_own(ann: Conversation, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="the tool has its own"):
        MemoryQuery(ann).as_tool(**given)
