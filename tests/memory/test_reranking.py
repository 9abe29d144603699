"""The rerank step: hits of a real search, and rerankers that work, fail, stall and lie."""

from __future__ import annotations

import asyncio
import gc

import pytest

from rag_memory_plugins import Message
from rag_memory_plugins.errors import RerankerError
from rag_memory_plugins.memory.reranking import arerank
from rag_memory_plugins.retrieval.rerank import LLMReranker, WeightedReranker

QUERY = "where is the boat?"
SAID = ["The boat is in the harbour", "A boat", "No boat today", "The red boat", "Boat, boat, boat"]


class Scripted:
    """Gives `scores`, or what they are if they are no list; `asked` holds the texts."""

    name = "scripted"

    def __init__(self, scores):
        self.scores = scores
        self.asked = []

    async def arerank(self, query, texts):
        self.asked.append((query, list(texts)))
        if isinstance(self.scores, BaseException):
            raise self.scores
        return self.scores

    async def aclose(self):
        """Nothing."""


@pytest.fixture
def hits(opened):
    conversation = opened().conversation("acme", "ann", "monday")
    for number, text in enumerate(SAID):
        conversation.add(text, id=f"m{number}")
    found = conversation.search(QUERY, 5).hits
    assert len({hit.score for hit in found}) == len(found) == 5
    return found


def ids(hits):
    return [hit.message.id for hit in hits]


async def test_hits_stand_in_the_order_of_the_scores(hits):
    got, reason = await arerank(Scripted([1, 5, 2, 4, 3]), QUERY, hits, 5)
    assert ids(got) == [ids(hits)[at] for at in (1, 3, 4, 2, 0)]
    assert reason is None


async def test_the_reranker_reads_what_is_searched_of_a_message(hits, opened):
    conversation = opened().conversation("acme", "bob", "monday")
    conversation.add([Message("user", "A boat", name="Bob"), Message("user", "Boats")])
    reranker = Scripted([1, 2])
    await arerank(reranker, QUERY, (await conversation.asearch(QUERY, 2)).hits, 2)
    ((query, texts),) = reranker.asked
    assert (query, set(texts)) == (QUERY, {"Bob: A boat", "Boats"})


async def test_equal_scores_keep_the_order_they_came_in(hits):
    got, _ = await arerank(Scripted([1, 1, 2, 1, 2]), QUERY, hits, 5)
    assert ids(got) == [ids(hits)[at] for at in (2, 4, 0, 1, 3)]


async def test_parts_add_up_to_the_score_and_show_what_the_reranker_did(hits):
    got, _ = await arerank(Scripted([1, 5, 2, 4, 3]), QUERY, hits, 5)
    before = {hit.message.id: hit for hit in hits}
    for hit in got:
        assert sum(hit.parts.values()) == pytest.approx(hit.score)
        base = {name: part for name, part in hit.parts.items() if name != "rerank"}
        assert base == before[hit.message.id].parts
    assert got[0].parts["rerank"] > 0 > got[-1].parts["rerank"]


async def test_the_scores_are_those_there_were_best_first(hits):
    # their scale is what a context weighs against length
    got, _ = await arerank(Scripted([1, 5, 2, 4, 3]), QUERY, hits, 5)
    assert [hit.score for hit in got] == [hit.score for hit in hits]


async def test_everything_but_score_and_parts_stays(hits):
    got, _ = await arerank(Scripted([1, 5, 2, 4, 3]), QUERY, hits, 5)
    before = {hit.message.id: hit for hit in hits}
    for hit in got:
        old = before[hit.message.id]
        assert (hit.message, hit.session, hit.neighbours) == (
            old.message,
            old.session,
            old.neighbours,
        )
        assert (hit.seq, hit.group) == (old.seq, old.group)


async def test_only_the_limit_is_given(hits):
    got, _ = await arerank(Scripted([1, 2, 3, 4, 5]), QUERY, hits, 2)
    assert ids(got) == ids(hits)[:2:-1]


async def test_hits_beyond_the_depth_follow_as_they_came(hits):
    reranker = Scripted([1, 2, 3])
    got, _ = await arerank(reranker, QUERY, hits, 5, depth=3)
    assert ids(got) == [ids(hits)[at] for at in (2, 1, 0, 3, 4)]
    assert got[3:] == hits[3:]
    assert len(reranker.asked[0][1]) == 3
    assert [hit.score for hit in got] == sorted((hit.score for hit in got), reverse=True)


@pytest.mark.parametrize("count", [0, 1])
async def test_nothing_to_order_is_not_asked(hits, count):
    reranker = Scripted(RuntimeError("asked"))
    assert await arerank(reranker, QUERY, hits[:count], 5) == (hits[:count], None)
    assert reranker.asked == []


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (RerankerError("Cohere failed: 503"), "rerank: RerankerError('Cohere failed: 503')"),
        (RuntimeError("bug"), "rerank: RuntimeError('bug')"),
        ([1, 2, 3, 4], "rerank: RerankerError('scripted gave 4 scores for 5 texts')"),
        ([1, 2, 3, 4, 5, 6], "rerank: RerankerError('scripted gave 6 scores for 5 texts')"),
        ([1, 2, float("nan"), 4, 5], "rerank: RerankerError('scripted gave a score of NaN or"),
        ([1, 2, float("inf"), 4, 5], "rerank: RerankerError('scripted gave a score of NaN or"),
        (["high", 2, 3, 4, 5], "rerank: ValueError("),
        ([None, 2, 3, 4, 5], "rerank: TypeError("),
        (None, "rerank: TypeError("),
        (asyncio.CancelledError(), "rerank: cancelled by the reranker"),
    ],
)
async def test_a_reranker_that_fails_leaves_the_order_and_says_why(hits, scores, told):
    got, reason = await arerank(Scripted(scores), QUERY, hits, 3)
    assert got == hits[:3]
    assert reason.startswith(told)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_reranker_that_stalls_costs_no_more_than_its_time(hits, stubborn):
    class Stalls(Scripted):
        cancelled = 0
        go = asyncio.Event()

        async def arerank(self, query, texts):
            while not self.go.is_set():
                try:
                    await self.go.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    if not stubborn:
                        raise
            raise RuntimeError("late")

    reranker = Stalls(None)
    got, reason = await arerank(reranker, QUERY, hits, 3, timeout=0.01)
    assert (got, reason) == (hits[:3], "rerank: no scores in 0.01 s")
    await asyncio.sleep(0)
    assert reranker.cancelled == 1
    reranker.go.set()


async def test_an_error_that_comes_too_late_is_not_reported_by_asyncio(hits):
    reports = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reports.append(what))
    release = asyncio.Event()

    class Late(Scripted):
        async def arerank(self, query, texts):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                release.set()
                raise RuntimeError("late") from None

    await arerank(Late(None), QUERY, hits, 3, timeout=0.01)
    await release.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert reports == []


async def test_a_search_that_is_cancelled_stops_its_reranker(hits):
    begun, stopped = asyncio.Event(), asyncio.Event()

    class Waits(Scripted):
        async def arerank(self, query, texts):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    search = asyncio.ensure_future(arerank(Waits(None), QUERY, hits, 3))
    await begun.wait()
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    await stopped.wait()


async def test_a_search_has_the_order_of_the_reranker(opened, hits):
    class Later(Scripted):
        async def arerank(self, query, texts):
            return [SAID.index(text) for text in texts]

    found = await opened(reranker=Later(None)).conversation("acme", "ann", "monday").asearch(QUERY)
    assert ids(found) == ["m4", "m3", "m2", "m1", "m0"]
    assert (found.lanes["rerank"], found.degraded) == ("ok", ())


async def test_a_search_whose_reranker_fails_has_the_order_there_was_and_says_so(opened, hits):
    broken = opened(reranker=Scripted(RuntimeError("bug"))).conversation("acme", "ann", "monday")
    found = await broken.asearch(QUERY)
    assert (ids(found), found.degraded) == (ids(hits), ("rerank: RuntimeError('bug')",))
    assert [(hit.score, hit.parts) for hit in found] == [(hit.score, hit.parts) for hit in hits]


async def test_a_context_whose_reranker_fails_says_so(opened, hits):
    broken = opened(reranker=Scripted(RuntimeError("bug"))).conversation("acme", "ann", "tuesday")
    context = await broken.acontext(QUERY, 500)
    assert "harbour" in context.text
    assert context.degraded == ("rerank: RuntimeError('bug')",)


async def test_a_weighted_reranker_orders_real_hits(hits, words):
    got, reason = await arerank(WeightedReranker(words), "a red boat", hits, 5)
    assert (got[0].message.content, reason) == ("The red boat", None)


async def test_an_answer_without_scores_is_a_reason(hits):
    class Silent:
        name = "silent"

        async def achat(self, messages, *, max_tokens=None):
            return Message("assistant", "I would rather not.")

        async def aclose(self):
            """Nothing."""

    got, reason = await arerank(LLMReranker(Silent()), QUERY, hits, 5)
    assert got == hits
    assert "LLM silent gave no scores" in reason
