from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index_instrumentation.span import active_span_id

from rag_memory_plugins import CohereReranker, LLMReranker, WeightedReranker
from rag_memory_plugins.errors import InvalidInput, RerankerError, UnknownArgument
from rag_memory_plugins.llama_index import (
    CohereRerank,
    CrossEncoderRerank,
    HybridRerank,
    Rerank,
    as_chat_model,
)
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.llama_index.listening import listening, of
from tests.llama_index.scripted import ScriptedLLM
from tests.retrieval import test_rerank_cross_encoder as cross
from tests.retrieval.rerank_server import KEY, Reply, RerankServer, relevance, serving

QUERY = QueryBundle("when is the launch")
TEXTS = ["the cat", "the launch is on monday", "bread", "when is lunch"]


class Scripted:
    """A reranker that gives `scores`, or raises them."""

    name = "scripted"

    def __init__(self, scores: Any) -> None:
        self.scores = scores
        self.asked: list[tuple[str, list[str]]] = []
        self.closed = False

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        self.asked.append((query, list(texts)))
        if isinstance(self.scores, BaseException):
            raise self.scores
        return self.scores

    async def aclose(self) -> None:
        self.closed = True


def nodes_of(*texts: str, scores: Sequence[float | None] = ()) -> list[NodeWithScore]:
    given = scores or [1 - at / 10 for at in range(len(texts))]
    return [
        NodeWithScore(node=TextNode(text=text, id_=f"n{at}"), score=score)
        for at, (text, score) in enumerate(zip(texts, given, strict=True))
    ]


def shown(nodes: Sequence[NodeWithScore]) -> list[tuple[str, float | None]]:
    return [(node.node_id, node.score) for node in nodes]


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    with listening() as events:
        yield events


@pytest.fixture
def server() -> Iterator[RerankServer]:
    with serving() as running:
        yield running


@pytest.fixture
def cohere(server: RerankServer) -> Iterator[Callable[..., CohereRerank]]:
    """`cohere()`: a postprocessor whose client asks the loopback server."""
    library = pytest.importorskip("cohere", exc_type=ModuleNotFoundError)
    httpx = pytest.importorskip("httpx")
    http = httpx.AsyncClient()

    def make(*, key: str = KEY, **options: Any) -> CohereRerank:
        client = library.AsyncClientV2(api_key=key, base_url=server.url, httpx_client=http)
        return CohereRerank(client=client, **{"timeout": 60.0, **options})

    yield make
    # On the loop that used it.
    Rerank(Scripted([])).portal.call(http.aclose())


# --- any reranker ---


async def test_nodes_come_best_first_under_the_rerankers_scores() -> None:
    rerank = Rerank(Scripted([0.1, 0.9, 0.5]), top_n=2)
    wanted = [("n1", 0.9), ("n2", 0.5)]
    assert shown(rerank.postprocess_nodes(nodes_of("a", "b", "c"), QUERY)) == wanted
    assert shown(await rerank.apostprocess_nodes(nodes_of("a", "b", "c"), QUERY)) == wanted


def test_the_reranker_reads_what_an_embedder_would_be_shown() -> None:
    node = TextNode(text="3 June", metadata={"title": "Launch", "path": "a.txt"})
    node.excluded_embed_metadata_keys = ["path"]
    reranker = Scripted([1.0])
    Rerank(reranker).postprocess_nodes([NodeWithScore(node=node)], query_str="when?")
    assert reranker.asked == [("when?", [node.get_content(MetadataMode.EMBED)])]
    assert "path" not in reranker.asked[0][1][0]


def test_equal_scores_keep_the_order_the_nodes_came_in() -> None:
    ranked = Rerank(Scripted([1, 2, 1, 2])).postprocess_nodes(nodes_of(*"abcd"), QUERY)
    assert [node.node_id for node in ranked] == ["n1", "n3", "n0", "n2"]


def test_23182_nodes_without_scores_are_ranked_like_any_other() -> None:
    given = nodes_of("a", "b", scores=[None, None])
    assert shown(Rerank(Scripted([1, 2])).postprocess_nodes(given, QUERY)) == [
        ("n1", 2.0),
        ("n0", 1.0),
    ]


def test_a_single_node_is_scored_too() -> None:
    assert shown(Rerank(Scripted([0.3])).postprocess_nodes(nodes_of("a"), QUERY)) == [("n0", 0.3)]


def test_no_nodes_ask_nobody_and_send_no_event(heard: list[Any]) -> None:
    reranker = Scripted([])
    assert Rerank(reranker).postprocess_nodes([], QUERY) == []
    assert (reranker.asked, of(heard, "ReRankStartEvent")) == ([], [])


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (RerankerError("it rains"), "it rains"),
        (ZeroDivisionError("any error"), "any error"),
        ([1.0], "1 scores for 2 texts"),
        ([1.0, 2.0, 3.0], "3 scores for 2 texts"),
        ([1.0, math.nan], "NaN"),
        (["high", "low"], "could not convert"),
        (None, "not iterable"),
    ],
)
async def test_a_reranker_that_fails_leaves_the_first_nodes_as_they_came_and_says_so(
    heard: list[Any], caplog: pytest.LogCaptureFixture, scores: Any, told: str
) -> None:
    rerank = Rerank(Scripted(scores), top_n=1)
    with caplog.at_level(logging.WARNING, "rag_memory_plugins.llama_index"):
        synced = rerank.postprocess_nodes(nodes_of("a", "b", scores=[0.1, 0.2]), QUERY)
        awaited = await rerank.apostprocess_nodes(nodes_of("a", "b", scores=[0.1, 0.2]), QUERY)
    assert shown(synced) == shown(awaited) == [("n0", 0.1)]
    events = of(heard, "RagMemoryDegradeEvent")
    assert [event.source for event in events] == ["Rerank scripted"] * 2
    assert {told in event.reason for event in events} == {True}
    assert {event.reason.endswith("; nodes keep their order") for event in events} == {True}
    assert [told in record.message for record in caplog.records] == [True, True]


async def test_a_reranker_that_gives_no_answer_costs_no_more_than_the_timeout(
    heard: list[Any],
) -> None:
    class Silent(Scripted):
        async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
            await asyncio.Event().wait()
            return []

    ranked = await Rerank(Silent([]), timeout=0.01).apostprocess_nodes(nodes_of("a", "b"), QUERY)
    assert [node.node_id for node in ranked] == ["n0", "n1"]
    (event,) = of(heard, "RagMemoryDegradeEvent")
    assert event.reason == "no scores in 0.01 s; nodes keep their order"


@pytest.mark.parametrize("query", [None, QueryBundle(""), QueryBundle(" \n")])
async def test_without_a_query_nodes_keep_their_order_visibly(
    heard: list[Any], query: QueryBundle | None
) -> None:
    reranker = Scripted([1, 2])
    rerank = Rerank(reranker)
    synced = rerank.postprocess_nodes(nodes_of("a", "b"), query)
    assert shown(synced) == shown(await rerank.apostprocess_nodes(nodes_of("a", "b"), query))
    assert shown(synced) == [("n0", 1.0), ("n1", 0.9)]
    assert reranker.asked == []
    events = of(heard, "RagMemoryDegradeEvent")
    assert {event.reason for event in events} == {
        "there is no query to rank by; nodes keep their order"
    }


def test_events_say_what_went_in_and_what_came_out(heard: list[Any]) -> None:
    given = nodes_of("a", "b")
    ranked = Rerank(Scripted([1, 2]), top_n=1).postprocess_nodes(given, QUERY)
    (start,), (end,) = of(heard, "ReRankStartEvent"), of(heard, "ReRankEndEvent")
    assert (start.query, start.nodes, start.top_n) == (QUERY, given, 1)
    assert (start.model_name, end.nodes) == ("scripted", ranked)


async def test_events_stand_in_the_span_of_the_call_and_come_from_its_thread(
    heard: list[Any],
) -> None:
    threads = []

    class Where(type(get_dispatcher().event_handlers[0])):  # type: ignore[misc]
        def handle(self, event: Any, **kwargs: Any) -> None:
            threads.append(threading.current_thread())

    where = Where()
    get_dispatcher().event_handlers.append(where)
    try:
        rerank = Rerank(Scripted(RerankerError("no")))
        rerank.postprocess_nodes(nodes_of("a"), QUERY)
        await rerank.apostprocess_nodes(nodes_of("a"), QUERY)
    finally:
        get_dispatcher().event_handlers.remove(where)
    assert set(threads) == {threading.current_thread()}
    spans = [event.span_id.partition("-")[0] for event in heard]
    assert spans == ["Rerank._postprocess_nodes"] * 3 + ["Rerank._apostprocess_nodes"] * 3
    assert active_span_id.get() is None


async def test_16911_the_loop_runs_on_while_a_reranker_works() -> None:
    done = threading.Event()

    class Working(Scripted):
        async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
            # Ends when the caller's loop, which must be free for that, has set it.
            return [float(await asyncio.to_thread(done.wait, 30))] * len(texts)

    rerank = Rerank(Working([]))
    task = asyncio.ensure_future(rerank.apostprocess_nodes(nodes_of("a"), QUERY))
    await asyncio.sleep(0)
    done.set()
    assert shown(await task) == [("n0", 1.0)]


async def test_16911_no_thread_of_the_default_executor_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refused(*args: Any) -> None:
        raise AssertionError("to_thread")

    monkeypatch.setattr(asyncio, "to_thread", refused)
    rerank = Rerank(Scripted([1, 2]))
    assert len(await rerank.apostprocess_nodes(nodes_of("a", "b"), QUERY)) == 2


async def test_a_call_that_is_cancelled_ends_the_reranker() -> None:
    began, ended = threading.Event(), threading.Event()

    class Endless(Scripted):
        async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return []

    rerank = Rerank(Endless([]), timeout=60)
    task = asyncio.ensure_future(rerank.apostprocess_nodes(nodes_of("a"), QUERY))
    assert await asyncio.to_thread(began.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 30)


def test_the_makers_reranker_is_not_closed() -> None:
    reranker = Scripted([])
    Rerank(reranker).close()
    assert not reranker.closed


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"reranker": WeightedReranker}, "reranker"),
        ({"reranker": None}, "reranker"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": True}, "top_n"),
        ({"top_n": 1.5}, "top_n"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": "10"}, "timeout"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Rerank(**{"reranker": Scripted([]), **arguments})
    assert caught.value.field == field


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(UnknownArgument, match="top_k"):
        Rerank(Scripted([]), top_k=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [Rerank, HybridRerank, CrossEncoderRerank, CohereRerank])
def test_each_is_a_node_postprocessor_by_name(kind: type[BaseNodePostprocessor]) -> None:
    assert BaseNodePostprocessor.__name__ in [base.__name__ for base in kind.__mro__]
    assert kind.class_name() == kind.__name__


# --- a chat model ---


def by_model(answer: str) -> Rerank:
    return Rerank(LLMReranker(as_chat_model(ScriptedLLM(answer))))


UNREADABLE = {
    "test_11045": "Doc: 2, Relevance: 8 (the document mentions a market)",
    "test_11092": "I think, all in all, that none of these helps.",
    "test_11093": "The question is not clear. Therefore, no documents are relevant.",
    "test_11470": "",
    "test_12323": "Answer: [/INST]",
    "test_15965": " Document 2, Relevance: 9",
    "test_17352": "Doc: 5, Relevance: 9\n\nThe best is Doc: 5, as it answers the question.",
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
async def test_11093_an_answer_that_cannot_be_read_loses_no_node_and_raises_nothing(
    heard: list[Any], answer: str
) -> None:
    ranked = await by_model(answer).apostprocess_nodes(nodes_of("a", "b", "c"), QUERY)
    assert [node.node_id for node in ranked] == ["n0", "n1", "n2"]
    assert len(of(heard, "RagMemoryDegradeEvent")) == 1


def test_22404_a_passage_whose_grade_cannot_be_read_does_not_move_the_others() -> None:
    answer = '{"scores": {"2": 9, "1": "high", "3": 7}}'
    ranked = by_model(answer).postprocess_nodes(nodes_of("a", "b", "c"), QUERY)
    assert shown(ranked) == [("n1", 0.9), ("n2", 0.7), ("n0", 0.0)]


@pytest.mark.parametrize("number", ["0", "-2", "4"])
def test_22743_a_number_that_no_passage_has_names_none(number: str) -> None:
    answer = f'{{"scores": {{"{number}": 9, "2": 5}}}}'
    ranked = by_model(answer).postprocess_nodes(nodes_of("a", "b", "c"), QUERY)
    assert shown(ranked)[0] == ("n1", 0.5)


# --- meaning and words ---


def test_hybrid_gives_the_scores_of_the_weighted_reranker(words: WordEmbedder) -> None:
    wanted = asyncio.run(WeightedReranker(words, 0.4, 0.6).arerank(QUERY.query_str, TEXTS))
    rerank = HybridRerank(words, semantic=0.4, lexical=0.6)
    ranked = rerank.postprocess_nodes(nodes_of(*TEXTS), QUERY)
    assert dict(shown(ranked)) == {f"n{at}": score for at, score in enumerate(wanted)}
    assert ranked[0].text == "the launch is on monday"


async def test_an_embedder_that_fails_leaves_the_order_there_was(words: WordEmbedder) -> None:
    words.fail = True
    ranked = await HybridRerank(words).apostprocess_nodes(nodes_of(*TEXTS), QUERY)
    assert [node.node_id for node in ranked] == ["n0", "n1", "n2", "n3"]


def test_a_raw_model_is_refused_and_the_function_for_it_named() -> None:
    from llama_index.core.embeddings import MockEmbedding

    with pytest.raises(InvalidInput, match="as_embedder"):
        HybridRerank(MockEmbedding(embed_dim=4))  # type: ignore[arg-type]


def test_the_serialised_form_brings_it_back() -> None:
    words = WordEmbedder()
    rerank = HybridRerank(words, semantic=0, lexical=2, top_n=3, timeout=5)
    data = rerank.to_dict()
    again = HybridRerank.from_dict(data, embedder=words)
    assert (
        again.to_dict()
        == data
        == {
            "class_name": "HybridRerank",
            "embedder": "words/1/64",
            "lexical": 2.0,
            "semantic": 0.0,
            "timeout": 5,
            "top_n": 3,
        }
    )


def test_a_serialised_form_is_not_read_with_another_embedder() -> None:
    data = HybridRerank(WordEmbedder()).to_dict()
    with pytest.raises(InvalidInput, match="embedder"):
        HybridRerank.from_dict(data)


# --- a cross-encoder ---


def test_a_cross_encoder_reads_query_and_node_together(tmp_path: Path) -> None:
    path = cross.write(tmp_path / "model.onnx", cross.COUNTED)
    rerank = CrossEncoderRerank(path, tokenizer=cross.TOKENIZER, top_n=3)
    ranked = rerank.postprocess_nodes(nodes_of(*cross.TEXTS), query_str=cross.QUERY)
    assert [node.node_id for node in ranked] == ["n1", "n3", "n2"]
    rerank.close()


async def test_a_file_that_is_no_model_leaves_the_order_there_was(
    tmp_path: Path, heard: list[Any]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    rerank = CrossEncoderRerank(path, tokenizer=cross.TOKENIZER)
    ranked = await rerank.apostprocess_nodes(nodes_of("a", "b"), QUERY)
    assert [node.node_id for node in ranked] == ["n0", "n1"]
    assert "model.onnx failed" in of(heard, "RagMemoryDegradeEvent")[0].reason
    await rerank.aclose()


def test_the_serialised_form_of_a_cross_encoder_brings_it_back(tmp_path: Path) -> None:
    path = cross.write(tmp_path / "model.onnx", cross.COUNTED)
    rerank = CrossEncoderRerank(path, tokenizer=cross.TOKENIZER, batch=2, threads=1)
    assert CrossEncoderRerank.from_dict(rerank.to_dict()).to_dict() == rerank.to_dict()


# --- Cohere ---


async def test_cohere_ranks_natively_async_and_sync(cohere: Callable[..., CohereRerank]) -> None:
    rerank = cohere(top_n=2)
    wanted = [("n1", relevance(QUERY.query_str, TEXTS[1])), ("n3", 0.5)]
    assert shown(await rerank.apostprocess_nodes(nodes_of(*TEXTS), QUERY)) == wanted
    assert shown(rerank.postprocess_nodes(nodes_of(*TEXTS), QUERY)) == wanted


def test_21150_one_client_serves_several_loops(cohere: Callable[..., CohereRerank]) -> None:
    rerank = cohere()
    for _ in range(2):
        ranked = asyncio.run(rerank.apostprocess_nodes(nodes_of(*TEXTS), QUERY))
        assert ranked[0].node_id == "n1"


def test_20597_a_score_belongs_to_its_text_whatever_the_order_of_the_answer(
    cohere: Callable[..., CohereRerank], server: RerankServer
) -> None:
    results = [{"index": at, "relevance_score": at / 10} for at in (2, 0, 3, 1)]
    server.script = [Reply(200, {"results": results})]
    ranked = cohere().postprocess_nodes(nodes_of(*TEXTS), QUERY)
    assert shown(ranked) == [("n3", 0.3), ("n2", 0.2), ("n1", 0.1), ("n0", 0.0)]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(400, {"message": "no such model"}), "no such model"),
        (Reply(429, {"message": "slow down"}, {"Retry-After": "3600"}), "wait 3600 s"),
        (Reply(200, b"<html>"), "not JSON"),
        (Reply(200, {"results": []}), "gave 0 scores for 4 texts"),
    ],
)
async def test_cohere_that_fails_leaves_the_order_there_was(
    cohere: Callable[..., CohereRerank],
    server: RerankServer,
    heard: list[Any],
    reply: Reply,
    told: str,
) -> None:
    server.script = [reply, reply]
    rerank = cohere(top_n=3)
    synced = rerank.postprocess_nodes(nodes_of(*TEXTS), QUERY)
    assert shown(await rerank.apostprocess_nodes(nodes_of(*TEXTS), QUERY)) == shown(synced)
    assert shown(synced) == [("n0", 1.0), ("n1", 0.9), ("n2", 0.8)]
    assert [told in event.reason for event in of(heard, "RagMemoryDegradeEvent")] == [True, True]


def test_a_refused_key_leaves_the_order_there_was_and_is_not_told(
    cohere: Callable[..., CohereRerank], heard: list[Any]
) -> None:
    ranked = cohere(key="another-secret").postprocess_nodes(nodes_of(*TEXTS), QUERY)
    assert [node.node_id for node in ranked] == ["n0", "n1", "n2", "n3"]
    (event,) = of(heard, "RagMemoryDegradeEvent")
    assert ("check CO_API_KEY" in event.reason, "secret" in event.reason) == (True, False)


def test_22774_a_missing_key_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("cohere", exc_type=ModuleNotFoundError)
    for name in ("CO_API_KEY", "COHERE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RerankerError, match="set the environment variable CO_API_KEY"):
        CohereRerank()


def test_the_serialised_form_holds_no_client_and_no_key(
    cohere: Callable[..., CohereRerank],
) -> None:
    assert cohere(top_n=2).to_dict() == {
        "class_name": "CohereRerank",
        "max_tokens_per_doc": None,
        "model": "rerank-v3.5",
        "timeout": 60.0,
        "top_n": 2,
    }


def test_a_core_reranker_with_its_own_settings_ranks_nodes_too(
    server: RerankServer, cohere: Callable[..., CohereRerank]
) -> None:
    reranker: CohereReranker = cohere(max_tokens_per_doc=100)._reranker  # type: ignore[assignment]
    Rerank(reranker).postprocess_nodes(nodes_of(*TEXTS), QUERY)
    assert server.asked[0]["max_tokens_per_doc"] == 100
