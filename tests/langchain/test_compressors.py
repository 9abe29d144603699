"""Document compressors: budget, neighbours, tenant guard; alone, in a retriever, in a pipeline."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.runnables import RunnableLambda

from rag_memory_plugins import Conversation, Filter, Memory, Message
from rag_memory_plugins.errors import (
    InvalidBudget,
    InvalidFilter,
    InvalidInput,
    InvalidNamespace,
    InvalidQuery,
    UnknownArgument,
)
from rag_memory_plugins.langchain import (
    HybridRerank,
    MemoryRetriever,
    NeighbourCompressor,
    TenantGuardCompressor,
    TokenBudgetCompressor,
)
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.tokens import make_counter
from tests.langchain.listening import Heard

BOATS = ["The boat is green. It is old.", "The car is red. It is new.", "It rained for days."]


def documents(*texts: str, **metadata: Any) -> list[Document]:
    return [Document(text, id=str(at), metadata=dict(metadata)) for at, text in enumerate(texts)]


def texts(found: Sequence[Document]) -> list[str]:
    return [document.page_content for document in found]


async def both(
    compressor: BaseDocumentCompressor, given: list[Document], query: str = "", **more: Any
) -> list[Document]:
    """What the sync and the async form give, which must be the same."""
    found = list(compressor.compress_documents(given, query, **more))
    assert list(await compressor.acompress_documents(given, query, **more)) == found
    return found


# Token budget


async def test_documents_are_cut_to_the_sentences_that_answer() -> None:
    found = await both(TokenBudgetCompressor(16, min_nodes=1), documents(*BOATS), "new car?")
    assert texts(found) == ["The boat is green. It is old.", "It is new."]


async def test_what_was_trimmed_is_told_in_the_metadata_and_to_callbacks() -> None:
    heard = Heard()
    compressor = TokenBudgetCompressor(16, min_nodes=1)
    found = await both(compressor, documents(*BOATS, page=1), callbacks=[heard])
    counter = make_counter(None)
    whole, kept = counter.count("\n\n".join(BOATS)), counter.count("\n\n".join(texts(found)))
    told = {"original": 3, "kept": 2, "tokens": kept, "available": 16, "removed": whole - kept}
    assert [document.metadata for document in found] == [
        {"page": 1, "context_adjustment": told} for _ in found
    ]
    assert heard.events == [
        ("rag_memory_trim", {"source": "TokenBudgetCompressor", **told}) for _ in range(2)
    ]


async def test_what_fits_is_told_to_fit() -> None:
    found = await both(TokenBudgetCompressor(1000), documents(*BOATS))
    assert texts(found) == BOATS
    adjustment = found[0].metadata["context_adjustment"]
    assert (adjustment["original"], adjustment["kept"], adjustment["removed"]) == (3, 3, 0)


async def test_the_order_of_the_documents_ranks_and_not_an_older_score() -> None:
    given = documents("first text", "second text")
    given[0].metadata["score"], given[1].metadata["score"] = 0.1, 0.9
    assert texts(await both(TokenBudgetCompressor(2, min_nodes=1), given)) == ["first text"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("relevance", "abc"), ("chronological", "bca"), ("ends", "acb")],
)
async def test_documents_come_in_the_order_asked_for(order: Any, expected: str) -> None:
    given = [
        Document(name, metadata={"time": datetime(2025, 1, day, tzinfo=timezone.utc).isoformat()})
        for name, day in (("a", 9), ("b", 2), ("c", 5))
    ]
    found = await both(TokenBudgetCompressor(100, order=order), given)
    assert texts(found) == list(expected)


async def test_fewer_than_asked_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    with caplog.at_level(logging.WARNING):
        found = await both(TokenBudgetCompressor(2), documents(*BOATS), callbacks=[heard])
    reason = "1 of at least 3 documents fit 2 tokens"
    assert [document.metadata["degraded"] for document in found] == [[reason]]
    assert heard.reasons() == [reason, reason]
    assert reason in caplog.text


async def test_41_no_compressor_changes_what_it_is_given(
    memory: Memory, conversation: Conversation
) -> None:
    """As NVIDIA's reranker did, which wrote its scores into the caller's documents."""
    given = documents(*BOATS, tenant="acme", degraded=["before"])
    before = copy.deepcopy(given)
    for compressor in (
        TokenBudgetCompressor(10),
        NeighbourCompressor(conversation),
        TenantGuardCompressor("acme"),
        HybridRerank(WordEmbedder()),
        HybridRerank(WordEmbedder(), timeout=1e-9),
    ):
        for found in await both(compressor, given, "green boat"):
            found.metadata["mine"] = True
        assert given == before


async def test_19142_metadata_and_ids_are_kept() -> None:
    given = documents(*BOATS, source="a.txt")
    for compressor in (TokenBudgetCompressor(20), HybridRerank(WordEmbedder())):
        for document in await both(compressor, given, "green boat"):
            assert document.metadata["source"] == "a.txt"
            assert document.id in {"0", "1", "2"}


@given(
    st.lists(st.text(st.sampled_from("ab .?!\né中"), max_size=60), max_size=6),
    st.integers(0, 40),
    st.integers(0, 4),
)
def test_the_budget_is_never_broken(given: list[str], budget: int, least: int) -> None:
    compressor = TokenBudgetCompressor(budget, min_nodes=least)
    found = compressor.compress_documents(documents(*given), "a b")
    tokens = make_counter(None).count("\n\n".join(texts(found)))
    assert tokens <= budget
    assert all(d.metadata["context_adjustment"]["tokens"] == tokens for d in found)


PAGE = PromptTemplate.from_template("[page {page} of {title}]\n{page_content}")


def paged(*texts: str) -> list[Document]:
    return [
        Document(text, metadata={"page": at, "title": "The harbour" * (at + 1)})
        for at, text in enumerate(texts)
    ]


def prompted(found: Sequence[Document]) -> int:
    shown = "\n\n".join(format_document(document, PAGE) for document in found)
    return make_counter(None).count(shown)


async def test_what_a_document_prompt_shows_is_counted() -> None:
    given = paged(*BOATS)
    chain = create_stuff_documents_chain(
        RunnableLambda(lambda prompt: prompt.to_string()),
        PromptTemplate.from_template("{context}"),
        document_prompt=PAGE,
    )
    for budget in (20, 30, 40, 60):
        fit = TokenBudgetCompressor(budget, min_nodes=1, document_prompt=PAGE)
        found = await both(fit, given, "new car?")
        assert prompted(found) == found[0].metadata["context_adjustment"]["tokens"] <= budget
        assert make_counter(None).count(chain.invoke({"context": found})) <= budget
    assert prompted(await both(TokenBudgetCompressor(30, min_nodes=1), given, "new car?")) > 30


@given(st.lists(st.sampled_from([*BOATS, "", "Yes."]), max_size=4), st.integers(0, 80))
def test_the_budget_is_never_broken_by_a_document_prompt(given: list[str], budget: int) -> None:
    fit = TokenBudgetCompressor(budget, min_nodes=2, document_prompt=PAGE)
    found = fit.compress_documents(paged(*given), "a boat")
    assert prompted(found) <= budget
    assert all(
        document.metadata["context_adjustment"]["original"] == len(given) for document in found
    )


async def test_a_document_without_room_beside_its_metadata_is_dropped_and_told() -> None:
    heard = Heard()
    fit = TokenBudgetCompressor(6, min_nodes=1, document_prompt=PAGE)
    assert await both(fit, paged(*BOATS), callbacks=[heard]) == []
    assert heard.reasons() == ["0 of at least 1 documents fit 6 tokens"] * 2


def test_metadata_that_a_document_prompt_misses_is_named() -> None:
    fit = TokenBudgetCompressor(60, document_prompt=PAGE)
    with pytest.raises(ValueError, match="title"):
        fit.compress_documents([Document("text", metadata={"page": 1})], "?")


# Neighbours


@pytest.fixture
def conversation(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add([Message("user", f"monday {n}", id=f"m{n}") for n in range(10)])
    return memory.conversation("acme", "ann", "tuesday")


def found_of(conversation: Conversation, *keys: str) -> list[Document]:
    where = Filter(ids=list(keys))
    found = MemoryRetriever(conversation, where=where).invoke("monday")
    return sorted(found, key=lambda document: keys.index(document.metadata["id"]))


async def test_messages_beside_a_document_come_in_the_order_they_were_said(
    conversation: Conversation,
) -> None:
    near = NeighbourCompressor(conversation, before=1, after=2)
    found = await both(near, found_of(conversation, "m4"))
    assert texts(found) == ["monday 3", "monday 4", "monday 5", "monday 6"]
    assert ["score" in document.metadata for document in found] == [False, True, False, False]


async def test_windows_stand_where_their_best_stood_and_no_message_comes_twice(
    conversation: Conversation,
) -> None:
    near = NeighbourCompressor(conversation, before=1, after=1)
    found = await both(near, found_of(conversation, "m8", "m2", "m3"))
    assert texts(found) == [f"monday {n}" for n in (7, 8, 9, 1, 2, 3, 4)]


async def test_other_documents_stay_where_they_are(
    memory: Memory, conversation: Conversation
) -> None:
    bob = memory.conversation("acme", "bob", "monday")
    bob.add([Message("user", text, id=text) for text in ("bob 0", "monday of bob", "bob 2")])
    given = [
        Document("page"),
        *found_of(conversation, "m0"),
        *found_of(bob, "monday of bob"),
    ]
    found = await both(NeighbourCompressor(conversation, 1, 1), given)
    assert texts(found) == ["page", "monday 0", "monday 1", "monday of bob"]


async def test_only_neighbours_that_match_the_filter_come_in(conversation: Conversation) -> None:
    near = NeighbourCompressor(conversation, 2, 2, where=Filter(ids=["m4", "m5"]))
    assert texts(await both(near, found_of(conversation, "m4"))) == ["monday 4", "monday 5"]


async def test_a_store_that_fails_costs_the_neighbours_and_is_told(
    conversation: Conversation,
) -> None:
    given = [Document("page"), *found_of(conversation, "m4")]
    conversation.memory.close()
    heard = Heard()
    found = await both(NeighbourCompressor(conversation), given, callbacks=[heard])
    assert texts(found) == ["page", "monday 4"]
    assert ["degraded" in document.metadata for document in found] == [False, True]
    assert all("no neighbours" in reason for reason in heard.reasons())
    assert len(heard.reasons()) == 2


# Tenant guard


async def test_documents_of_other_tenants_and_of_nobody_are_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = [
        Document(f"of {tenant}", metadata={} if tenant is None else {"tenant": tenant})
        for tenant in ("acme", "globex", None, ["acme"], "Acme")
    ]
    heard = Heard()
    with caplog.at_level(logging.WARNING):
        found = await both(TenantGuardCompressor("acme"), given, callbacks=[heard])
    assert texts(found) == ["of acme"]
    assert heard.reasons()[:2] == [
        "dropped for tenant 'acme': 3 documents of another tenant",
        "dropped for tenant 'acme': 1 document without 'tenant' in the metadata",
    ]
    assert "of globex" not in caplog.text


async def test_documents_of_nobody_may_be_kept() -> None:
    given = [Document("shared"), Document("theirs", metadata={"org": "globex"})]
    guard = TenantGuardCompressor("acme", key="org", untagged="keep")
    assert texts(await both(guard, given)) == ["shared"]


# In LangChain


async def test_they_stand_in_a_pipeline_behind_a_retriever(conversation: Conversation) -> None:
    pipeline = DocumentCompressorPipeline(
        transformers=[
            TenantGuardCompressor("acme"),
            HybridRerank(WordEmbedder(), top_n=1),
            NeighbourCompressor(conversation, 1, 1),
            TokenBudgetCompressor(100, order="chronological"),
        ]
    )
    retriever = ContextualCompressionRetriever(
        base_compressor=pipeline, base_retriever=MemoryRetriever(conversation)
    )
    heard = Heard()
    for found in (
        retriever.invoke("monday 4", {"callbacks": [heard]}),
        await retriever.ainvoke("monday 4", {"callbacks": [heard]}),
    ):
        assert texts(found) == ["monday 3", "monday 4", "monday 5"]
    names = ["rag_memory_recall", "rag_memory_trim"]
    assert [name for name, _ in heard.events] == names * 2


def test_33292_a_chain_without_langchain_classic_takes_them(conversation: Conversation) -> None:
    fit = TokenBudgetCompressor(5, min_nodes=1)
    heard = Heard()

    def fitted(query: str) -> Sequence[Document]:
        return fit.compress_documents(MemoryRetriever(conversation).invoke(query), query)

    chain = RunnableLambda(fitted) | RunnableLambda(texts)
    assert len(chain.invoke("monday 4", {"callbacks": [heard]})) >= 1
    assert "rag_memory_trim" in [name for name, _ in heard.events]


def test_no_documents_are_no_documents(conversation: Conversation) -> None:
    for compressor in (
        TokenBudgetCompressor(5),
        NeighbourCompressor(conversation),
        TenantGuardCompressor("acme"),
        HybridRerank(WordEmbedder()),
    ):
        assert list(compressor.compress_documents([], "?")) == []


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (InvalidBudget, lambda _: TokenBudgetCompressor(-1)),
        (InvalidInput, lambda _: TokenBudgetCompressor(5, order="best")),
        (UnknownArgument, lambda _: TokenBudgetCompressor(5, min_docs=1)),
        (InvalidInput, lambda _: TokenBudgetCompressor(5, document_prompt="{page_content}")),
        (InvalidInput, lambda _: NeighbourCompressor(None)),
        (InvalidQuery, lambda ann: NeighbourCompressor(ann, before=-1)),
        (InvalidFilter, lambda ann: NeighbourCompressor(ann, where={"roles": "user"})),
        (InvalidNamespace, lambda _: TenantGuardCompressor("")),
        (InvalidInput, lambda _: TenantGuardCompressor("acme", untagged="maybe")),
        (InvalidInput, lambda _: TokenBudgetCompressor(5).compress_documents(["text"], "?")),
        (InvalidInput, lambda _: TokenBudgetCompressor(5).compress_documents("text", "?")),
    ],
    ids=list("abcdefghijk"),
)
def test_what_cannot_be_used_is_refused(
    conversation: Conversation, error: type[Exception], make: Any
) -> None:
    with pytest.raises(error):
        make(conversation)
