"""`HybridRetriever`: a retriever of the user's own, with keywords and the memory beside it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core import (
    Document,
    MockEmbedding,
    StorageContext,
    SummaryIndex,
    VectorStoreIndex,
)
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, SimpleVectorStore

from rag_memory_plugins import Conversation, Memory
from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidNamespace,
    InvalidQuery,
    UnknownArgument,
)
from rag_memory_plugins.llama_index import HybridRetriever, MemoryRetriever, TenantVectorStore
from rag_memory_plugins.llama_index.events import DegradeEvent
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.llama_index.doubles import Given, scored
from tests.llama_index.listening import listening

INVOICES = ("Invoice 4711 is paid", "Invoice 4712 is open", "The office is closed")


def indexed(*texts: str, **given: Any) -> VectorStoreIndex:
    """Texts that all look alike to the embedder."""
    nodes = [TextNode(text=text, id_=text) for text in texts]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(2), **given)


def texts(found: list[NodeWithScore]) -> list[str]:
    return [item.text for item in found]


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I paid invoice 4711 in May", id="m1")
    return monday


async def test_words_lift_what_looks_alike_to_the_embedder() -> None:
    retriever = HybridRetriever(indexed(*INVOICES).as_retriever(similarity_top_k=3))
    for found in (retriever.retrieve("4712?"), await retriever.aretrieve("4712?")):
        assert texts(found)[0] == "Invoice 4712 is open"


async def test_memories_stand_beside_documents(ann: Conversation) -> None:
    retriever = HybridRetriever(indexed(*INVOICES), memory=ann, limit=2)
    for found in (retriever.retrieve("4711"), await retriever.aretrieve("4711")):
        assert set(texts(found)) == {"Invoice 4711 is paid", "I paid invoice 4711 in May"}


def test_a_memory_retriever_keeps_its_own_limits(ann: Conversation) -> None:
    ann.add("Invoice 4711 again", role="assistant")
    memory = MemoryRetriever(ann, roles="assistant")
    found = HybridRetriever(Given(), memory=memory).retrieve("4711")
    assert texts(found) == ["Invoice 4711 again"]


def test_nothing_found_anywhere_is_nothing(ann: Conversation) -> None:
    assert HybridRetriever(Given(), memory=ann).retrieve("zebra") == []


def test_one_document_alone_has_the_mean_of_its_lists() -> None:
    (found,) = HybridRetriever(Given(scored("a", 0.9))).retrieve("zebra")
    assert found.score == 0.0


def test_scores_are_standard_deviations_from_each_lists_mean() -> None:
    source = Given(scored("a", 3.0), scored("b", 2.0), scored("c", 1.0))
    found = HybridRetriever(source, keywords=0).retrieve("zebra")
    deviation = math.sqrt(2 / 3 + (0.03 * 3.0) ** 2)
    assert [item.score for item in found] == pytest.approx([1 / deviation, 0, -1 / deviation])


def test_a_node_that_the_source_left_out_has_its_lowest_score() -> None:
    source = Given(scored("4711 a", 3.0), scored("4711 b", 1.0))
    found = HybridRetriever(source, nodes=[TextNode(text="4711 c")]).retrieve("4711")
    assert (texts(found)[0], found[1].score) == ("4711 a", found[2].score)


def test_a_memory_is_not_judged_by_the_source(ann: Conversation) -> None:
    source = Given(scored("4711 a", 3.0), scored("4711 b", 1.0))
    found = HybridRetriever(source, memory=ann, keywords=0).retrieve("4711")
    assert [item.score for item in found if "May" in item.text] == [0.0]


@pytest.mark.parametrize("score", [0.7, 0.0, -2.0, 1e9])
def test_equal_scores_keep_the_order_of_the_source(score: float) -> None:
    source = Given(*[scored(name, score) for name in "dbca"])
    found = HybridRetriever(source).retrieve("zebra")
    assert (texts(found), {item.score for item in found}) == (["d", "b", "c", "a"], {0.0})


def test_equals_keep_the_order_source_memory_nodes(ann: Conversation) -> None:
    ann.add("4711 in memory")
    retriever = HybridRetriever(
        Given(scored("4711 in source", 1.0)),
        memory=MemoryRetriever(ann, limit=1),
        nodes=[TextNode(text="4711 in nodes")],
    )
    found = retriever.retrieve("4711")
    assert texts(found) == ["4711 in source", "4711 in memory", "4711 in nodes"]
    assert {item.score for item in found} == {0.0}


@pytest.mark.parametrize("score", [None, math.nan, math.inf])
def test_23182_a_node_without_a_score_stays(score: float | None) -> None:
    source = Given(scored("a", 0.9), scored("b", score), scored("c", 0.1))
    assert texts(HybridRetriever(source).retrieve("zebra")) == ["a", "b", "c"]


def test_23182_a_list_without_any_scores_keeps_its_order() -> None:
    source = Given(*[scored(name, None) for name in "dbca"])
    assert texts(HybridRetriever(source).retrieve("zebra")) == ["d", "b", "c", "a"]


def test_a_node_that_several_lists_hold_comes_once(ann: Conversation) -> None:
    memory = MemoryRetriever(ann)
    source = QueryFusionRetriever([memory, Given(scored("4711", 1))], MockLLM(), num_queries=1)
    nodes = [TextNode(text="4711", id_="4711")]
    found = HybridRetriever(source, memory=memory, nodes=nodes).retrieve("4711")
    ids = [item.node_id for item in found]
    assert sorted(ids) == ["4711", "acme/ann/monday/m1"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | st.floats(-1e6, 1e6))),
    st.lists(st.sampled_from("abcdefghijkl"), unique=True),
    st.integers(1, 6),
    st.floats(0, 100),
)
def test_no_node_comes_twice_and_the_best_comes_first(
    found: list[tuple[str, float | None]], more: list[str], limit: int, keywords: float
) -> None:
    source = Given(*[scored(f"word {name}", score) for name, score in found])
    nodes = [TextNode(text=f"word {name}", id_=f"word {name}") for name in more]
    retriever = HybridRetriever(source, nodes=nodes, limit=limit, keywords=keywords)
    result = retriever.retrieve("word b, word k")
    ids, scores = [item.node_id for item in result], [item.score or 0.0 for item in result]
    assert len(set(ids)) == len(ids) <= limit
    assert scores == sorted(scores, reverse=True)
    assert all(map(math.isfinite, scores))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8))
def test_without_words_and_memory_the_order_is_the_sources(scores: list[float]) -> None:
    source = Given(*[scored(str(at), score) for at, score in enumerate(scores)])
    found = HybridRetriever(source, keywords=0).retrieve("zebra")
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    # Differences far below the spread that means anything may be lost in rounding.
    assert [scores[int(text)] for text in texts(found)] == pytest.approx(
        [scores[at] for at in order], abs=1e-9
    )


def test_what_the_source_gave_is_left_as_it_was() -> None:
    given_node = scored("4711", 0.5)
    (found,) = HybridRetriever(Given(given_node)).retrieve("4711")
    assert (given_node.score, found is given_node, found.node is given_node.node) == (
        0.5,
        False,
        True,
    )


def test_an_index_brings_all_its_nodes_by_their_words() -> None:
    retriever = HybridRetriever(indexed(*INVOICES, *[f"Page {n}" for n in range(30)]), limit=2)
    assert texts(retriever.retrieve("Page 29"))[0] == "Page 29"


def test_nodes_inserted_and_deleted_since_are_seen() -> None:
    index = indexed(*INVOICES)
    retriever = HybridRetriever(index, limit=1)
    retriever.retrieve("4713")
    index.insert_nodes([TextNode(text="Invoice 4713 is lost", id_="new")])
    assert texts(retriever.retrieve("4713")) == ["Invoice 4713 is lost"]
    index.delete_nodes(["new"], delete_from_docstore=True)
    assert "Invoice 4713 is lost" not in texts(retriever.retrieve("4713"))


def test_another_index_in_the_same_docstore_is_not_brought() -> None:
    context = StorageContext.from_defaults()
    indexed("Invoice 4711 of another index", storage_context=context)
    mine = indexed("The office is closed", storage_context=context)
    assert texts(HybridRetriever(mine).retrieve("4711")) == ["The office is closed"]


def test_12046_words_do_not_bring_back_what_the_sources_filters_leave_out() -> None:
    nodes = [TextNode(text=f"Invoice 4711 of {name}", metadata={"of": name}) for name in "ab"]
    index = VectorStoreIndex(nodes, embed_model=MockEmbedding(2))
    filters = MetadataFilters(filters=[MetadataFilter(key="of", value="a")])
    retriever = HybridRetriever(index.as_retriever(filters=filters))
    assert texts(retriever.retrieve("Invoice 4711 of b")) == ["Invoice 4711 of a"]


def test_13972_words_do_not_bring_another_tenants_nodes_of_a_shared_index() -> None:
    tenants = iter(["acme", "globex", "acme"])
    store = TenantVectorStore(SimpleVectorStore(), lambda: next(tenants))
    context = StorageContext.from_defaults(vector_store=store)
    index = indexed("Invoice 4711 of acme", storage_context=context)
    index.insert_nodes([TextNode(text="Invoice 4711 of globex")])
    assert texts(HybridRetriever(index).retrieve("4711 of globex")) == ["Invoice 4711 of acme"]


def test_an_index_of_another_kind_brings_what_it_returns() -> None:
    index = SummaryIndex.from_documents([Document(text=text) for text in INVOICES])
    assert texts(HybridRetriever(index, limit=1).retrieve("4712")) == ["Invoice 4712 is open"]


def test_nodes_given_are_found_by_their_words_alone() -> None:
    nodes = [TextNode(text=text) for text in INVOICES]
    found = HybridRetriever(Given(), nodes=nodes).retrieve("4712")
    assert texts(found) == ["Invoice 4712 is open"]


@pytest.mark.parametrize("memory_fails", [False, True])
async def test_a_source_that_fails_raises(ann: Conversation, memory_fails: bool) -> None:
    retriever = HybridRetriever(Given(error=RuntimeError("no index")), memory=ann)
    if memory_fails:
        ann.memory.close()
    with pytest.raises(RuntimeError, match="no index"):
        retriever.retrieve("4711")
    with pytest.raises(RuntimeError, match="no index"):
        await retriever.aretrieve("4711")


async def test_a_memory_that_fails_costs_its_hits_and_is_told_of(ann: Conversation) -> None:
    retriever = HybridRetriever(indexed(*INVOICES), memory=ann, limit=1)
    ann.memory.close()
    with listening() as events:
        found = [retriever.retrieve("4711"), await retriever.aretrieve("4711")]
    assert [texts(some) for some in found] == [["Invoice 4711 is paid"]] * 2
    told = [
        (event.source, event.reason[:20])
        for event in events.ours
        if isinstance(event, DegradeEvent)
    ]
    assert told == [("HybridRetriever", "memory: StoreClosed(")] * 2


async def test_a_memory_of_nobody_raises(ann: Conversation) -> None:
    nobody = MemoryRetriever(ann.memory, namespace=lambda: None)  # type: ignore[arg-type, return-value]
    retriever = HybridRetriever(Given(), memory=nobody)
    with pytest.raises(InvalidNamespace):
        retriever.retrieve("4711")
    with pytest.raises(InvalidNamespace):
        await retriever.aretrieve("4711")


class Meeting:
    """Two that each wait for the other: nobody goes on alone."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=60)

    async def wait(self) -> None:
        await asyncio.to_thread(self.barrier.wait)


async def test_source_and_memory_run_side_by_side(opened: Callable[..., Memory]) -> None:
    meeting = Meeting()

    class Embedder(WordEmbedder):
        async def aembed_query(self, text: str) -> Any:
            await meeting.wait()
            return await super().aembed_query(text)

    class Source(Given):
        async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            await meeting.wait()
            return self.found

    ann = opened(embedder=Embedder()).conversation("acme", "ann", "monday")
    ann.add("I paid invoice 4711")
    found = await HybridRetriever(Source(scored("4711", 1.0)), memory=ann).aretrieve("4711")
    assert len(found) == 2


async def test_a_source_with_sync_methods_alone_does_not_stop_the_loop() -> None:
    source = Given(scored("a", 1.0))
    await HybridRetriever(source).aretrieve("a")
    assert source.threads != [threading.main_thread().name]


async def test_it_stands_in_a_fusion_of_its_own(ann: Conversation) -> None:
    retriever = HybridRetriever(indexed(*INVOICES), memory=ann, limit=2)
    fusion = QueryFusionRetriever([retriever], MockLLM(), num_queries=1)
    assert texts(await fusion.aretrieve("4711")) == texts(retriever.retrieve("4711"))


def test_prompts_of_the_source_can_still_be_changed() -> None:
    source = QueryFusionRetriever([Given()], MockLLM(), num_queries=1)
    assert list(HybridRetriever(source).get_prompts()) == ["source:query_gen_prompt"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("source", "index"),
        ("memory", "acme"),
        ("nodes", ["text"]),
        ("keywords", -1),
        ("keywords", math.nan),
        ("keywords", True),
        ("limit", 0),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(field: str, wrong: Any) -> None:
    given: dict[str, Any] = {"source": Given(), field: wrong}
    with pytest.raises(InvalidInput, match=field):
        HybridRetriever(given.pop("source"), **given)


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(UnknownArgument, match="similarity_top_k"):
        HybridRetriever(Given(), similarity_top_k=3)  # type: ignore[call-arg]


def test_an_empty_question_asks_the_memory_nothing(ann: Conversation) -> None:
    with pytest.raises(InvalidQuery):
        MemoryRetriever(ann).retrieve("")
    with listening() as events:
        found = HybridRetriever(Given(scored("a", 1.0)), memory=ann).retrieve("")
    assert (texts(found), [type(event) for event in events.ours]) == (["a"], [DegradeEvent])
