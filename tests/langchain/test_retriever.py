from __future__ import annotations

import pytest
from langchain_core.runnables import RunnableLambda

from rag_memory_plugins import Conversation, Filter, Memory
from rag_memory_plugins.errors import InvalidFilter, InvalidInput, InvalidQuery, UnknownArgument
from rag_memory_plugins.langchain import MemoryRetriever


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
    assert kept == {"id": "m/1", "session": "monday", "role": "user", "name": "Ann"}


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


def test_anything_but_a_conversation_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="conversation"):
        MemoryRetriever(memory)  # type: ignore[arg-type]


def test_an_unknown_level_is_refused(ann: Conversation) -> None:
    with pytest.raises(InvalidQuery, match="level"):
        MemoryRetriever(ann, level="tenant")  # type: ignore[arg-type]
