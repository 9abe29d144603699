from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import create_retriever_tool

from rag_memory_plugins import Conversation, Event, Filter, Memory, Message, Namespace, open_memory
from rag_memory_plugins.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidNamespace,
    InvalidQuery,
    UnknownArgument,
)
from rag_memory_plugins.langchain import MemoryRetriever
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.langchain.listening import Heard


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I moved to Lisbon in May", id="m/1", name="Ann")
    monday.add("The flat in Lisbon has two rooms", id="m2")
    memory.conversation("globex", "ann", "monday").add("I moved to Oslo in May", id="m/1")
    return memory.conversation("acme", "ann", "tuesday")


def test_documents_come_best_first(ann: Conversation) -> None:
    documents = MemoryRetriever(ann).invoke("when did I move to Lisbon?")
    assert documents[0].page_content == "I moved to Lisbon in May"
    scores = [document.metadata["score"] for document in documents]
    assert scores == sorted(scores, reverse=True)


async def test_async_gives_the_same_documents(ann: Conversation) -> None:
    retriever = MemoryRetriever(ann)
    assert await retriever.ainvoke("Lisbon") == retriever.invoke("Lisbon")


def test_a_document_names_the_namespace_and_the_speaker(ann: Conversation) -> None:
    (document,) = MemoryRetriever(ann, limit=1).invoke("when did I move to Lisbon?")
    kept = {k: v for k, v in document.metadata.items() if k not in {"score", "time"}}
    assert document.id == "acme/ann/monday/m%2F1"
    place = {"id": "m/1", "session": "monday", "tenant": "acme"}
    assert kept == {**place, "role": "user", "name": "Ann"}


def test_another_tenant_is_not_found(ann: Conversation) -> None:
    found = MemoryRetriever(ann).invoke("Oslo moved May")
    assert all("Oslo" not in document.page_content for document in found)


@pytest.mark.parametrize("name", ["filter", "namespace", "search_kwargs", "k"])
def test_a_keyword_of_invoke_that_could_widen_is_refused(ann: Conversation, name: str) -> None:
    with pytest.raises(UnknownArgument, match=name):
        MemoryRetriever(ann).invoke("Lisbon", **{name: None})


async def test_a_keyword_of_ainvoke_that_could_widen_is_refused(ann: Conversation) -> None:
    with pytest.raises(UnknownArgument, match="filter"):
        await MemoryRetriever(ann).ainvoke("Lisbon", filter=None)


def test_invoke_may_ask_for_fewer(ann: Conversation) -> None:
    assert len(MemoryRetriever(ann).invoke("Lisbon", limit=1)) == 1


def test_invoke_may_narrow_to_the_session(ann: Conversation) -> None:
    assert MemoryRetriever(ann).invoke("Lisbon", level="session") == []


def test_invoke_may_not_widen_from_the_session(ann: Conversation) -> None:
    with pytest.raises(InvalidQuery, match="level"):
        MemoryRetriever(ann, level="session").invoke("Lisbon", level="user")


async def test_every_document_matches_the_filter(ann: Conversation) -> None:
    retriever = MemoryRetriever(ann, where=Filter(names="Ann"))
    for documents in (retriever.invoke("Lisbon"), await retriever.ainvoke("Lisbon")):
        assert [document.metadata["id"] for document in documents] == ["m/1"]


@pytest.mark.parametrize("where", [None, Filter(), Filter(ids=["m/1", "m2"])], ids=repr)
def test_invoke_may_narrow_the_filter_and_not_drop_it(
    ann: Conversation, where: Filter | None
) -> None:
    retriever = MemoryRetriever(ann, where=Filter(names="Ann"))
    found = retriever.invoke("Lisbon", where=where)
    assert [document.metadata["id"] for document in found] == ["m/1"]
    assert MemoryRetriever(ann).invoke("Lisbon", where=Filter(roles="tool")) == []


def test_anything_but_a_filter_is_refused(ann: Conversation) -> None:
    with pytest.raises(InvalidFilter, match="where"):
        MemoryRetriever(ann, where={"roles": "user"})  # type: ignore[arg-type]
    with pytest.raises(InvalidFilter, match="where"):
        MemoryRetriever(ann).invoke("Lisbon", where="user")


def test_it_stands_in_a_chain(ann: Conversation) -> None:
    chain = MemoryRetriever(ann, limit=1) | RunnableLambda(lambda found: found[0].page_content)
    assert chain.invoke("when did I move to Lisbon?") == "I moved to Lisbon in May"


@pytest.mark.parametrize("name", ["filter", "k", "search_kwargs"])
def test_an_unknown_argument_is_refused(ann: Conversation, name: str) -> None:
    with pytest.raises(UnknownArgument, match=name):
        MemoryRetriever(ann, **{name: None})


def test_anything_but_a_conversation_or_a_memory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="conversation"):
        MemoryRetriever("acme")  # type: ignore[arg-type]


def test_a_memory_alone_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidNamespace, match="namespace"):
        MemoryRetriever(memory)


def test_a_conversation_has_its_namespace_already(ann: Conversation) -> None:
    with pytest.raises(InvalidNamespace, match="already"):
        MemoryRetriever(ann, namespace=ann.namespace)


def whose(config: RunnableConfig) -> Namespace:
    return Namespace(config["configurable"]["org"], "ann", "tuesday")


async def test_the_namespace_comes_from_the_config_of_each_run(
    ann: Conversation, memory: Memory
) -> None:
    retriever = MemoryRetriever(memory, namespace=whose, limit=1)
    for org, city in (("acme", "Lisbon"), ("globex", "Oslo")):
        config = RunnableConfig(configurable={"org": org})
        for found in (
            retriever.invoke("moved in May", config),
            await retriever.ainvoke("moved in May", config),
            retriever.batch(["moved in May"], config)[0],
            (retriever | RunnableLambda(list)).invoke("moved in May", config),
        ):
            assert [city in document.page_content for document in found] == [True]


async def test_a_tool_of_an_agent_searches_for_whom_the_run_is_for(
    ann: Conversation, memory: Memory
) -> None:
    retriever = MemoryRetriever(memory, namespace=whose, limit=1)
    tool = create_retriever_tool(retriever, "search_memory", "What was said before.")
    for org, city in (("acme", "Lisbon"), ("globex", "Oslo")):
        config = RunnableConfig(configurable={"org": org})
        assert city in tool.invoke({"query": "moved in May"}, config)
        assert city in await tool.ainvoke({"query": "moved in May"}, config)


async def test_runs_side_by_side_each_have_their_own_namespace(
    ann: Conversation, memory: Memory
) -> None:
    retriever = MemoryRetriever(memory, namespace=whose, limit=1)
    found = await asyncio.gather(
        *(
            retriever.ainvoke("moved in May", RunnableConfig(configurable={"org": org}))
            for org in ("acme", "globex") * 5
        )
    )
    tenants = [documents[0].metadata["tenant"] for documents in found]
    assert tenants == ["acme", "globex"] * 5


@pytest.mark.parametrize(
    "namespace",
    [whose, lambda _: None, lambda _: "acme/ann/tuesday"],
    ids=["fails", "gives none", "gives a str"],
)
async def test_a_namespace_that_cannot_be_told_finds_nothing(
    ann: Conversation, memory: Memory, events: list[Event], namespace: Any
) -> None:
    retriever = MemoryRetriever(memory, namespace=namespace)
    with pytest.raises(InvalidNamespace, match="namespace"):
        retriever.invoke("Lisbon")
    with pytest.raises(InvalidNamespace, match="namespace"):
        await retriever.ainvoke("Lisbon")
    assert [event for event in events if event.name == "search"] == []


def test_what_was_said_beside_a_message_stands_in_the_metadata(memory: Memory) -> None:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add([Message("user", text, id=text) for text in ("Hello", "The code is 4711", "Bye")])
    (document,) = MemoryRetriever(monday, limit=1, window=1).invoke("the code 4711")
    assert document.page_content == "The code is 4711"
    lines = document.metadata["beside"].splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["user: Hello", "user: Bye"]


@pytest.mark.parametrize(
    "given", [{"since": date(2031, 1, 1)}, {"until": date(2001, 1, 1)}, {"roles": "tool"}], ids=repr
)
def test_dates_and_roles_narrow_when_it_is_made_and_when_it_is_invoked(
    ann: Conversation, given: dict[str, Any]
) -> None:
    assert MemoryRetriever(ann, **given).invoke("Lisbon") == []
    assert MemoryRetriever(ann).invoke("Lisbon", **given) == []
    others = {**given, "roles": "user", "since": None, "until": None}
    assert MemoryRetriever(ann, **given).invoke("Lisbon", **others) == []


def test_invoke_may_raise_the_least_relevance_and_not_lower_it(ann: Conversation) -> None:
    seen = []

    def search(query: str, **asked: Any) -> Any:
        seen.append(asked["min_relevance"])
        return Conversation.search(ann, query, **{**asked, "min_relevance": 0.0})

    ann.search = search  # type: ignore[method-assign]
    retriever = MemoryRetriever(ann, min_relevance=0.5)
    for least in (0.2, 0.9):
        retriever.invoke("Lisbon", min_relevance=least)
    assert seen == [0.5, 0.9]


async def test_189_a_retrieval_searches_once(ann: Conversation, events: list[Event]) -> None:
    MemoryRetriever(ann).invoke("Lisbon")
    await MemoryRetriever(ann).ainvoke("Lisbon")
    assert len([event for event in events if event.name == "search"]) == 2


async def test_25528_no_keyword_of_invoke_is_dropped_in_silence(ann: Conversation) -> None:
    """A retriever of LangChain whose method takes no keywords drops them unseen."""
    retriever = MemoryRetriever(ann)
    assert len(retriever.invoke("Lisbon", limit=1)) == 1
    assert len(await retriever.ainvoke("Lisbon", limit=1)) == 1
    with pytest.raises(UnknownArgument, match="limt"):
        retriever.invoke("Lisbon", limt=1)


async def test_a_search_is_told_to_callbacks_without_texts(ann: Conversation) -> None:
    heard = Heard()
    retriever = MemoryRetriever(ann)
    retriever.invoke("Lisbon", {"callbacks": [heard]})
    await retriever.ainvoke("Lisbon", {"callbacks": [heard]})
    assert [name for name, _ in heard.events] == ["rag_memory_recall"] * 2
    _, data = heard.events[0]
    assert (data["namespace"], data["hits"]) == ("acme/ann/tuesday", 2)
    assert "Lisbon" not in str(heard.events)


async def test_what_a_search_had_to_leave_out_is_told(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    with open_memory(tmp_path / "other.db", embedder=embedder, background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("I moved to Lisbon")
        ann.search("Lisbon")
        embedder.fail = True
        heard = Heard()
        for found in (
            MemoryRetriever(ann).invoke("Lisbon", {"callbacks": [heard]}),
            await MemoryRetriever(ann).ainvoke("Lisbon", {"callbacks": [heard]}),
        ):
            assert "told to fail" in str(found[0].metadata["degraded"])
    assert len(heard.reasons()) == 2


def test_an_unknown_level_is_refused(ann: Conversation) -> None:
    with pytest.raises(InvalidQuery, match="level"):
        MemoryRetriever(ann, level="tenant")  # type: ignore[arg-type]


async def test_a_stream_of_events_has_ours(ann: Conversation) -> None:
    names = [event["name"] async for event in MemoryRetriever(ann).astream_events("Lisbon")]
    assert "rag_memory_recall" in names
