"""`TenantStore` where LangGraph and LangChain take a store: graphs, agents, tools; and its walls."""

from __future__ import annotations

import operator
import os
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import InjectedStore
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore

from rag_memory_plugins import open_memory
from rag_memory_plugins.langchain import TenantStore
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.langchain.scripted import ScriptedModel

PLACE = ("users", "ann@acme.com")


class State(TypedDict):
    found: Annotated[list[str], operator.add]


async def remember(state: State, *, store: BaseStore) -> dict[str, Any]:
    await store.aput(PLACE, "home", {"text": "Ann lives in Lisbon"})
    return {"found": []}


async def recall(state: State, *, store: BaseStore) -> dict[str, Any]:
    found = await store.asearch(("users",), query="where does Ann live?")
    return {"found": [item.value["text"] for item in found]}


def graph(store: BaseStore) -> Any:
    builder = StateGraph(State)
    builder.add_sequence([remember, recall])
    builder.add_edge(START, "remember")
    return builder.compile(store=store)


async def test_the_nodes_of_a_graph_write_and_search_it(memory):
    done = await graph(TenantStore(memory, "acme")).ainvoke({"found": []})
    assert done["found"] == ["Ann lives in Lisbon"]
    assert TenantStore(memory, "evil").search(()) == []


@tool
def save(text: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Save a text."""
    store.put(PLACE, "note", {"text": text})
    return "saved"


def agent(memory: Any, **options: Any) -> Any:
    call = {"name": "save", "args": {"text": "likes tea"}, "id": "c1", "type": "tool_call"}
    model = ScriptedModel(AIMessage("", tool_calls=[call]), "Noted.")
    return create_agent(model, [save], store=TenantStore(memory, "acme"), **options)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_tool_of_an_agent_gets_it_injected(memory, asynchronous):
    asked = {"messages": [("user", "I like tea")]}
    made = agent(memory)
    await made.ainvoke(asked) if asynchronous else made.invoke(asked)
    assert TenantStore(memory, "acme").get(PLACE, "note").value == {"text": "likes tea"}


def test_a_middleware_reads_it_from_its_runtime(memory):
    seen = []

    class Reads(AgentMiddleware):
        def before_model(self, state, runtime):
            seen.append([item.key for item in runtime.store.search(("users",))])

    agent(memory, middleware=[Reads()]).invoke({"messages": [("user", "I like tea")]})
    assert seen == [[], ["note"]]


HOSTILE = [
    "a",
    "A",
    "a/b",
    "a.b",
    "%",
    "_",
    "a%",
    "*",
    "a%2Fb",
    "..",
    "' OR 1=1 --",
    "users",
    "\U0001f600",
]
labels = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8
)
places = st.lists(labels, min_size=1, max_size=3).map(tuple)


@settings(
    max_examples=200 if os.environ.get("RAG_MEMORY_LONG") == "1" else 12,
    suppress_health_check=list(HealthCheck),
)
@given(
    tenants=st.lists(labels.filter(str.isprintable), min_size=2, max_size=2, unique=True),
    puts=st.lists(st.tuples(st.integers(0, 2), places, labels), min_size=1, max_size=12),
    prefix=places | st.just(()),
)
def test_no_operation_shows_or_touches_another_stores_items(walled, tenants, puts, prefix):
    stores = [
        TenantStore(walled, tenants[0]),
        TenantStore(walled, tenants[1]),
        TenantStore(walled, tenants[0], "ann"),
    ]
    model: list[dict[Any, Any]] = [{}, {}, {}]
    for number, (owner, place, name) in enumerate(puts):
        key = name.replace("\x00", "0")
        value = {"owner": owner, "text": "blue tea", "number": number}
        stores[owner].batch([PutOp(("x", *place), key, value)])
        model[owner][("x", *place, key)] = value
    inside = ("x", *prefix)
    for owner, store in enumerate(stores):
        wanted = {
            at: value
            for at, value in model[owner].items()
            if at[: len(inside)] == inside and len(at) > len(inside)
        }
        for asked in ({}, {"query": "tea"}, {"filter": {"text": "blue tea"}}):
            found = store.search(inside, limit=50, **asked)
            assert {(*item.namespace, item.key): item.value for item in found} == wanted
        for at, value in model[owner].items():
            assert store.get(at[:-1], at[-1]).value == value
        assert set(store.list_namespaces(limit=99)) == {at[:-1] for at in model[owner]}
    for owner in (2, 1, 0):
        assert stores[owner].erase().messages == len(model[owner])
        for other in range(owner):
            assert len(stores[other].search((), limit=50)) == len(model[other])


@pytest.fixture(scope="module")
def walled(tmp_path_factory):
    path = tmp_path_factory.mktemp("walled") / "memory.db"
    with open_memory(path, embedder=WordEmbedder(), background=False, drain_seconds=0) as memory:
        yield memory


scalars = st.none() | st.integers(-2, 2) | st.sampled_from(["", "a", "b", 0.5])
values = st.dictionaries(
    st.sampled_from("ab"), scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("cd"), scalars), max_size=2
)  # fmt: skip
plain = st.dictionaries(
    st.sampled_from("ab"),
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.sampled_from("cd"), scalars, min_size=1)
    | st.tuples(st.sampled_from(["$eq", "$ne"]), scalars).map(lambda pair: dict([pair])),
    max_size=2,
)


@settings(
    max_examples=500 if os.environ.get("RAG_MEMORY_LONG") == "1" else 40,
    suppress_health_check=list(HealthCheck),
)
@given(stored=st.lists(values, min_size=1, max_size=6), asked=plain)
def test_a_filter_without_an_order_finds_what_langgraphs_own_store_finds(walled, stored, asked):
    ours, other = TenantStore(walled, "oracle"), InMemoryStore()
    for store in (ours, other):
        store.batch([PutOp(PLACE, str(at), value, False) for at, value in enumerate(stored)])
    found = [{item.key for item in store.search((), filter=asked)} for store in (ours, other)]
    ours.erase()
    assert found[0] == found[1]
