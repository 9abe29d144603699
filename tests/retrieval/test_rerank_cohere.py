"""Cohere's reranker, through Cohere's own library, against a loopback server."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest

from rag_memory_plugins.errors import InvalidInput, MissingExtra, RerankerError
from rag_memory_plugins.ports import Reranker
from rag_memory_plugins.retrieval.cohere_rerank import CohereReranker
from tests.retrieval.rerank_server import DROP, HANG, KEY, Reply, relevance, serving

QUERY = "when is the launch"
TEXTS = ["the cat", "the launch is on monday", "bread", "when is lunch"]


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
async def http():
    httpx = pytest.importorskip("httpx")
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def slept():
    """The pauses that were asked for; none is waited for."""
    return []


@pytest.fixture
def make(server, http, slept):
    """`make()`: a reranker whose client asks the loopback server."""
    cohere = pytest.importorskip("cohere", exc_type=ModuleNotFoundError)

    async def sleep(seconds):
        slept.append(seconds)

    def made(*, key=KEY, url=server.url, **options):
        client = cohere.AsyncClientV2(api_key=key, base_url=url, httpx_client=http)
        return CohereReranker(client=client, **{"sleep": sleep, "timeout": 60.0, **options})

    return made


def results(*pairs):
    return Reply(200, {"results": [{"index": i, "relevance_score": s} for i, s in pairs]})


async def failure(reranker, texts=TEXTS):
    with pytest.raises(RerankerError) as caught:
        await reranker.arerank(QUERY, texts)
    return caught.value


async def test_scores_stand_in_the_order_of_the_texts(make):
    got = await make().arerank(QUERY, TEXTS)
    assert got == [relevance(QUERY, text) for text in TEXTS]
    assert len(set(got)) == 4  # so another order would be seen


async def test_the_request_names_model_and_limit(make, server):
    await make(max_tokens_per_doc=100).arerank(QUERY, TEXTS)
    assert server.asked == [
        {"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "max_tokens_per_doc": 100}
    ]


async def test_a_text_without_words_is_not_sent_and_has_no_relevance(make, server):
    got = await make().arerank(QUERY, ["", TEXTS[1], " \n"])
    assert got == [0.0, relevance(QUERY, TEXTS[1]), 0.0]
    assert server.asked[0]["documents"] == [TEXTS[1]]


@pytest.mark.parametrize("texts", [[], ["", " "]])
async def test_nothing_to_rank_is_not_asked(make, server, texts):
    assert await make().arerank(QUERY, texts) == [0.0] * len(texts)
    assert server.asked == []


async def test_over_a_thousand_texts_are_asked_in_several_requests(make, server):
    texts = [f"launch {number}" if number % 7 else "when is it" for number in range(2100)]
    assert await make().arerank(QUERY, texts) == [relevance(QUERY, text) for text in texts]
    assert [len(asked["documents"]) for asked in server.asked] == [1000, 1000, 100]


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", 0.25), (None, 0.25)],
)
async def test_after_429_it_waits_as_long_as_it_is_told(make, server, slept, header, pause):
    headers = {} if header is None else {"Retry-After": header}
    server.script = [Reply(429, {"message": "slow down"}, headers)]
    assert await make().arerank(QUERY, TEXTS) == [relevance(QUERY, text) for text in TEXTS]
    assert slept == [pause]


async def test_a_wait_longer_than_the_limit_fails_at_once(make, server, slept):
    server.script = [Reply(429, {"message": "slow down"}, {"Retry-After": "3600"})]
    assert "slow down'}; it asks to wait 3600 s" in str(await failure(make()))
    assert (slept, len(server.asked)) == ([], 1)


@pytest.mark.parametrize("first", [Reply(500), Reply(502, b"<html>"), Reply(503), DROP])
async def test_after_one_failure_of_the_server_it_succeeds(make, server, slept, first):
    server.script = [first]
    assert await make().arerank(QUERY, TEXTS) == [relevance(QUERY, text) for text in TEXTS]
    assert slept == [0.25]


async def test_a_server_that_fails_for_ever_is_asked_three_times(make, server, slept):
    server.script = [Reply(503, {"message": "down"})] * 9
    error = await failure(make())
    assert str(error) == (
        "Cohere rerank-v3.5 failed: ServiceUnavailableError 503: {'message': 'down'}"
    )
    assert type(error.__cause__).__module__.startswith("cohere")
    assert (slept, len(server.asked)) == ([0.25, 0.5], 3)


async def test_an_answer_that_does_not_come_costs_no_more_than_the_limit(make, server):
    server.script = [HANG]
    assert "gave no scores in 0.1 s" in str(await failure(make(timeout=0.1)))


async def test_no_server_is_a_reranker_error(make, slept):
    assert "ConnectError" in str(await failure(make(url="http://127.0.0.1:1")))
    assert slept == [0.25, 0.5]


async def test_a_refused_key_is_not_tried_again_and_not_told(make, server, slept):
    error = await failure(make(key="another-secret"))
    assert str(error) == (
        "Cohere rerank-v3.5 failed: UnauthorizedError 401; check CO_API_KEY, and that it is one line"
    )
    assert "another-secret" not in "".join(traceback.format_exception(error))
    assert (slept, len(server.asked)) == ([], 1)


async def test_a_key_with_a_line_break_is_not_told(make, server):
    error = await failure(make(key="another-secret\n"))
    assert "check CO_API_KEY" in str(error)
    assert "another-secret" not in "".join(traceback.format_exception(error))
    assert server.asked == []


async def test_a_bad_request_is_not_tried_again(make, server, slept):
    server.script = [Reply(400, {"message": "no such model"})]
    assert "no such model" in str(await failure(make()))
    assert (slept, len(server.asked)) == ([], 1)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(200, b"<html>It works!</html>"), "is not JSON"),
        (Reply(200, {"id": "1"}), "gave 0 scores for 2 texts"),
        (Reply(200, {"results": None}), "gave 0 scores for 2 texts"),
        (Reply(200, {"results": "none"}), "gave 0 scores for 2 texts"),
        (Reply(200, []), "Cohere rerank-v3.5"),
        (results((0, 0.5)), "gave 1 scores for 2 texts"),
        (results((0, 0.5), (2, 0.4)), "gave the index 2 of 2 texts"),
        (results((0, 0.5), (-1, 0.4)), "gave the index -1 of 2 texts"),
        (results((0, 0.5), ("one", 0.4)), "gave the index 'one' of 2 texts"),
        (results((0, 0.5), (1, 0.4), (0, 0.3)), "gave two scores for text 0"),
        (Reply(200, {"results": [{"relevance_score": 0.5}]}), "gave the index None of 2 texts"),
        (results((0, 0.5), (1, "high")), "gave text 1 the score 'high'"),
        (results((0, 0.5), (1, None)), "gave text 1 the score None"),
        (results((0, 0.5), (1, float("nan"))), "gave text 1 a score of NaN"),
        (results((0, 0.5), (1, float("inf"))), "gave text 1 a score of NaN or infinity"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(make, server, reply, told):
    server.script = [reply]
    assert told in str(await failure(make(), TEXTS[:2]))


async def test_a_client_that_was_passed_in_is_not_closed(make):
    reranker = make()
    await reranker.aclose()
    assert len(await reranker.arerank(QUERY, TEXTS)) == 4


def test_it_is_a_reranker_and_shows_no_client(make):
    reranker = make()
    assert isinstance(reranker, Reranker)
    assert repr(reranker) == "CohereReranker('rerank-v3.5', timeout=60)"


def test_without_a_client_one_is_made_from_the_environment(server, monkeypatch):
    pytest.importorskip("cohere", exc_type=ModuleNotFoundError)
    monkeypatch.setenv("CO_API_KEY", KEY)
    monkeypatch.setenv("CO_API_URL", server.url)
    # A child, because cohere reads its URL when it is imported.
    code = (
        "import asyncio\n"
        "from rag_memory_plugins import CohereReranker\n"
        "async def main():\n"
        "    one = CohereReranker(timeout=60)\n"
        "    both = await asyncio.gather(*(one.arerank('a b', [t, 'a']) for t in 'ab'))\n"
        "    assert both == [[0.5, 0.5], [0.5, 0.5]], both\n"
        "    await one.aclose()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(server.asked) == 2


def test_a_missing_key_is_one_sentence_that_names_the_variable(monkeypatch):
    pytest.importorskip("cohere", exc_type=ModuleNotFoundError)
    for name in ("CO_API_KEY", "COHERE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RerankerError, match="set the environment variable CO_API_KEY"):
        CohereReranker()


def test_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cohere", None)
    with pytest.raises(MissingExtra, match=r"rag-memory-plugins\[cohere\]"):
        CohereReranker()


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": "10"},
        {"max_tokens_per_doc": 0},
        {"model": ""},
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        CohereReranker(client=object(), **wrong)
