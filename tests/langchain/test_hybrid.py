"""`HybridRetriever`: a retriever of the user's own, with keywords and the memory beside it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig, RunnableLambda

from rag_memory_plugins import Conversation, Memory, Namespace
from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidNamespace,
    InvalidQuery,
    StoreClosed,
    UnknownArgument,
)
from rag_memory_plugins.langchain import HybridRetriever, MemoryRetriever, TenantVectorStore
from tests.langchain.listening import Heard
from tests.langchain.stores import in_memory

INVOICES = ("Invoice 4711 is paid", "Invoice 4712 is open", "The office is closed")


def finds(*texts: str, **metadata: Any) -> RunnableLambda[str, list[Document]]:
    documents = [Document(text, metadata=metadata) for text in texts]
    return RunnableLambda(lambda _: documents)


def scored(**scores: float) -> RunnableLambda[str, list[Document]]:
    documents = [Document(name, metadata={"score": score}) for name, score in scores.items()]
    return RunnableLambda(lambda _: documents)


def texts(found: list[Document]) -> list[str]:
    return [document.page_content for document in found]


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I paid invoice 4711 in May", id="m1")
    return monday


async def test_words_lift_what_the_source_put_behind() -> None:
    retriever = HybridRetriever(finds(*INVOICES))
    for found in (retriever.invoke("4712?"), await retriever.ainvoke("4712?")):
        assert texts(found)[0] == "Invoice 4712 is open"


async def test_memories_stand_beside_documents(ann: Conversation) -> None:
    retriever = HybridRetriever(finds(*INVOICES), memory=ann, limit=2)
    for found in (retriever.invoke("4711"), await retriever.ainvoke("4711")):
        assert set(texts(found)) == {"Invoice 4711 is paid", "I paid invoice 4711 in May"}


def test_a_vector_store_is_asked_for_as_many_as_are_wanted() -> None:
    store = in_memory()
    store.add_texts([f"Invoice {number}" for number in range(30)])
    assert len(HybridRetriever(store, limit=20).invoke("invoice")) == 20
    assert len(HybridRetriever(store).invoke("invoice", limit=3)) == 3


def test_a_walled_store_stays_walled() -> None:
    shared = in_memory()
    TenantVectorStore(shared, "globex").add_texts(["Invoice 4711 of Oslo"])
    acme = TenantVectorStore(shared, "acme")
    acme.add_texts(["Invoice 4711 of Lisbon"])
    assert texts(HybridRetriever(acme).invoke("4711")) == ["Invoice 4711 of Lisbon"]


def test_documents_join_by_their_words_alone() -> None:
    more = [Document("Receipt 4711"), Document("Nothing of the kind")]
    found = HybridRetriever(finds(*INVOICES), documents=more).invoke("4711")
    assert set(texts(found)) == {*INVOICES, "Receipt 4711"}
    assert texts(found).index("Receipt 4711") < 3


def test_without_a_weight_words_bring_nothing() -> None:
    retriever = HybridRetriever(finds(*INVOICES), documents=[Document("Receipt 4712")], keywords=0)
    assert texts(retriever.invoke("4712")) == list(INVOICES)


def test_scores_that_fall_with_the_order_count_by_how_far_ahead_they_are() -> None:
    near = HybridRetriever(scored(first=0.91, second=0.9, third=0.1)).invoke("?")
    first, second, third = (document.metadata["score"] for document in near)
    assert first - second < (second - third) / 10


def test_scores_that_contradict_the_order_are_distances_and_only_ranks_count() -> None:
    found = HybridRetriever(scored(first=0.1, second=0.2, third=9.0)).invoke("?")
    assert texts(found) == ["first", "second", "third"]


def test_documents_without_an_id_are_told_apart_by_their_text() -> None:
    found = HybridRetriever(
        finds("Invoice 4711", "Invoice 4711"), documents=[Document("Invoice 4711")]
    ).invoke("4711")
    assert texts(found) == ["Invoice 4711"]


def test_documents_of_one_text_and_two_ids_both_come() -> None:
    both = [Document("Invoice 4711", id="a"), Document("Invoice 4711", id="b")]
    found = HybridRetriever(RunnableLambda(lambda _: both)).invoke("4711")
    assert [document.id for document in found] == ["a", "b"]


def test_what_the_source_gave_is_not_changed() -> None:
    documents = [Document(text, metadata={"page": 1}) for text in INVOICES]
    HybridRetriever(RunnableLambda(lambda _: documents)).invoke("4711")
    assert documents == [Document(text, metadata={"page": 1}) for text in INVOICES]


async def test_a_memory_that_fails_is_left_out_and_told(ann: Conversation) -> None:
    ann.memory.close()
    heard = Heard()
    retriever = HybridRetriever(finds(*INVOICES), memory=ann)
    for found in (
        retriever.invoke("4711", {"callbacks": [heard]}),
        await retriever.ainvoke("4711", {"callbacks": [heard]}),
    ):
        assert set(texts(found)) == set(INVOICES)
        assert all("memory" in str(document.metadata["degraded"]) for document in found)
    assert [StoreClosed.__name__ in reason for reason in heard.reasons()] == [True, True]


async def test_a_source_that_fails_raises(ann: Conversation) -> None:
    def fail(query: str) -> list[Document]:
        raise TimeoutError(query)

    retriever = HybridRetriever(RunnableLambda(fail), memory=ann)
    with pytest.raises(TimeoutError):
        retriever.invoke("4711")
    with pytest.raises(TimeoutError):
        await retriever.ainvoke("4711")


async def test_without_a_tenant_it_raises(memory: Memory) -> None:
    retriever = HybridRetriever(
        finds(*INVOICES), memory=MemoryRetriever(memory, namespace=lambda _: None)
    )
    with pytest.raises(InvalidNamespace):
        retriever.invoke("4711")
    with pytest.raises(InvalidNamespace):
        await retriever.ainvoke("4711")


async def test_the_memory_gets_the_config_of_the_run(ann: Conversation, memory: Memory) -> None:
    def whose(config: RunnableConfig) -> Namespace:
        return Namespace(config["configurable"]["org"], "ann", "monday")

    retriever = HybridRetriever(
        finds("Invoice 4711"), memory=MemoryRetriever(memory, namespace=whose)
    )
    for org, count in (("acme", 2), ("globex", 1)):
        config = RunnableConfig(configurable={"org": org})
        assert len(retriever.invoke("4711", config)) == count
        assert len(await retriever.ainvoke("4711", config)) == count


@pytest.mark.parametrize("name", ["filter", "k", "search_kwargs", "where"])
async def test_a_keyword_that_could_replace_the_sources_filter_is_refused(name: str) -> None:
    retriever = HybridRetriever(finds(*INVOICES))
    with pytest.raises(UnknownArgument, match=name):
        retriever.invoke("4711", **{name: None})
    with pytest.raises(UnknownArgument, match=name):
        await retriever.ainvoke("4711", **{name: None})


async def test_source_and_memory_run_side_by_side(ann: Conversation) -> None:
    searched = threading.Event()

    def waits(query: str) -> list[Document]:
        assert searched.wait(10)
        return [Document(query)]

    memory = MemoryRetriever(ann)
    heard = Heard()
    heard.on_custom_event = lambda *_, **__: searched.set()  # type: ignore[method-assign]
    retriever = HybridRetriever(RunnableLambda(waits), memory=memory)
    found = await retriever.ainvoke("4711", {"callbacks": [heard]})
    assert len(found) == 2


async def test_a_cancelled_retrieval_cancels_both() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hangs(query: str) -> list[Document]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    task = asyncio.ensure_future(HybridRetriever(RunnableLambda(hangs)).ainvoke("?"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


def test_it_stands_in_an_ensemble(ann: Conversation) -> None:
    hybrid = HybridRetriever(finds(*INVOICES), memory=ann)
    ensemble = EnsembleRetriever(retrievers=[hybrid, finds("Receipt")], weights=[0.5, 0.5])
    assert set(texts(ensemble.invoke("4711"))) == {
        *INVOICES,
        "Receipt",
        "I paid invoice 4711 in May",
    }


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("source", {"source": None}),
        ("memory", {"memory": "acme"}),
        ("documents", {"documents": ["text"]}),
        ("keywords", {"keywords": -1}),
        ("limit", {"limit": 0}),
        ("k", {"k": 3}),
    ],
    ids=["source", "memory", "documents", "keywords", "limit", "k"],
)
def test_what_cannot_be_used_is_refused_by_name(field: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=field):
        HybridRetriever(**{"source": finds(), **given})


def test_a_source_that_gives_no_documents_is_refused() -> None:
    with pytest.raises(InvalidInput, match="source"):
        HybridRetriever(RunnableLambda(lambda _: ["text"])).invoke("?")  # type: ignore[arg-type]


def test_a_limit_that_cannot_be_kept_is_refused_on_invoke() -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        HybridRetriever(finds(*INVOICES)).invoke("?", limit=0)


@given(
    st.lists(st.sampled_from(["red boat", "blue boat", "old car", "tree"]), max_size=6),
    st.lists(st.sampled_from(["red boat", "new tree", "old car"]), max_size=4),
    st.integers(1, 5),
)
def test_at_most_limit_come_each_once_and_best_first(
    source: list[str], more: list[str], limit: int
) -> None:
    found = HybridRetriever(
        finds(*source), documents=[Document(text) for text in more], limit=limit
    ).invoke("the red tree")
    scores = [document.metadata["score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(texts(found))) == len(found) <= limit
    assert set(texts(found)) <= {*source, *more}
    if len(set(source)) >= limit:
        assert len(found) == limit
