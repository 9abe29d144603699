"""Rerankers as document compressors: one that fails leaves the order there was."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from rag_memory_plugins.errors import InvalidInput, RerankerError
from rag_memory_plugins.langchain import CohereRerank, CrossEncoderRerank, HybridRerank, Rerank
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.langchain.listening import Heard

TEXTS = ("A blue boat", "A red car", "A tree")


class Scripted:
    """A `Reranker` that gives these scores, or raises, or never answers."""

    name = "scripted"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.closed = False

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return list(self.answer)

    async def aclose(self) -> None:
        self.closed = True


def documents() -> list[Document]:
    return [Document(text, metadata={"score": 1.0}) for text in TEXTS]


def texts(found: Sequence[Document]) -> list[str]:
    return [document.page_content for document in found]


async def test_documents_come_best_first_under_the_rerankers_scores() -> None:
    rerank = Rerank(Scripted([0.1, 0.9, 0.9]), top_n=2)
    for found in (
        rerank.compress_documents(documents(), "?"),
        await rerank.acompress_documents(documents(), "?"),
    ):
        assert texts(found) == ["A red car", "A tree"]
        assert [document.metadata for document in found] == [
            {"score": 1.0, "relevance_score": 0.9}
        ] * 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RuntimeError("outage"), "outage"),
        (None, "no scores in 0.05 s"),
        ([0.5], "1 scores for 3 texts"),
        ([math.nan, 1, 2], "NaN"),
    ],
    ids=["raises", "hangs", "too few", "nan"],
)
async def test_a_reranker_that_fails_leaves_the_order_and_says_so(
    answer: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    rerank = Rerank(Scripted(answer), top_n=2, timeout=0.05)
    with caplog.at_level(logging.WARNING):
        for found in (
            rerank.compress_documents(documents(), "?", [heard]),
            await rerank.acompress_documents(documents(), "?", [heard]),
        ):
            assert texts(found) == ["A blue boat", "A red car"]
            for document in found:
                assert "relevance_score" not in document.metadata
                assert reason in document.metadata["degraded"][0]
    assert [reason in told for told in heard.reasons()] == [True, True]
    assert reason in caplog.text


def test_without_a_query_there_is_nothing_to_rank_by() -> None:
    found = Rerank(Scripted([1, 2, 3])).compress_documents(documents(), "  ")
    assert texts(found) == list(TEXTS)
    assert "no query" in found[0].metadata["degraded"][0]


def test_each_failure_is_told_beside_those_before() -> None:
    failing = Rerank(Scripted(RuntimeError("outage")))
    once = failing.compress_documents(documents(), "?")
    twice = failing.compress_documents(once, "?")
    assert [len(found[0].metadata["degraded"]) for found in (once, twice)] == [1, 2]


async def test_meaning_and_words_rank_behind_a_retriever() -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=HybridRerank(WordEmbedder(), top_n=1),
        base_retriever=RunnableLambda(lambda _: documents()),
    )
    assert texts(retriever.invoke("the red car")) == ["A red car"]
    assert texts(await retriever.ainvoke("the red car")) == ["A red car"]


def test_the_local_model_ranks_by_default() -> None:
    with_ships = [Document("The tax form is due"), Document("A ship in the harbour")]
    rerank = HybridRerank(top_n=1, lexical=0)
    assert texts(rerank.compress_documents(with_ships, "boats")) == ["A ship in the harbour"]
    rerank.close()


def test_an_outage_of_cohere_leaves_the_order() -> None:
    pytest.importorskip("cohere")

    class Client:
        async def rerank(self, **kwargs: Any) -> Any:
            raise RuntimeError("down")

    found = CohereRerank(client=Client()).compress_documents(documents(), "?")
    assert texts(found) == list(TEXTS)
    assert "down" in found[0].metadata["degraded"][0]


def test_cohere_ranks_by_its_answer() -> None:
    class Item:
        def __init__(self, index: int, score: float) -> None:
            self.index, self.relevance_score = index, score

    class Client:
        async def rerank(self, **kwargs: Any) -> Any:
            answer = type("Answer", (), {})()
            answer.results = [Item(2, 0.9), Item(0, 0.5), Item(1, 0.1)]
            return answer

    found = CohereRerank(client=Client(), top_n=2).compress_documents(documents(), "?")
    assert texts(found) == ["A tree", "A blue boat"]


async def test_what_was_passed_in_stays_open() -> None:
    given = Scripted([])
    await Rerank(given).aclose()
    assert not given.closed


def test_a_model_that_is_not_there_is_told_when_it_is_made() -> None:
    with pytest.raises(RerankerError, match="cannot be read"):
        CrossEncoderRerank("missing.onnx")


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("top_n", lambda: Rerank(Scripted([]), top_n=0)),
        ("timeout", lambda: Rerank(Scripted([]), timeout=math.nan)),
        ("reranker", lambda: Rerank(object())),
        ("top", lambda: HybridRerank(WordEmbedder(), top=3)),
    ],
    ids=["top_n", "timeout", "reranker", "unknown"],
)
def test_what_cannot_be_used_is_refused_by_name(field: str, make: Any) -> None:
    with pytest.raises(InvalidInput, match=field):
        make()
