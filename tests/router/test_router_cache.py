"""A cache in a router: who is answered from it, and what is written down."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta
from rag_memory_plugins.errors import ProviderLimited, ProviderUnavailable, StreamInterrupted
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.cache_rules import CacheRules
from rag_memory_plugins.router.caching import ExactCache
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.router.semantic import SemanticCache
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

ANN, BOB = Scope("acme", "ann"), Scope("acme", "bob")


def ask(text="What is HTTP?", scope=ANN, **values):
    return ChatRequest((Message("user", text),), scope=scope, **values)


@pytest.fixture
def chat():
    return ScriptedModel("one", "two", "three", "four", name="a")


@pytest.fixture
def router(chat, ledger):
    return Router([chat], cache="exact", ledger=ledger)


def test_an_equal_request_is_answered_without_asking(router, chat, ledger):
    first, second = ask(), ask()
    assert router.answer(first).message.content == "one"
    answer = router.answer(second)
    assert (answer.message.content, answer.request_id) == ("one", second.id)
    assert len(chat.requests) == 1
    assert [(e.outcome, e.cost, e.tenant) for e in ledger.entries] == [
        ("ok", 0, "acme"),
        ("cached", 0, "acme"),
    ]
    assert "answered from the exact cache" in str(router.explain(second.id))


def test_a_stream_is_answered_from_the_cache_and_fills_it(router, chat):
    assert [delta.text for delta in router.stream(ask())] == ["one"]
    assert [delta.text for delta in router.stream(ask())] == ["one"]
    assert router.answer(ask()).message.content == "one"
    assert len(chat.requests) == 1


@pytest.mark.parametrize(
    "other",
    [ask(scope=BOB), ask("What is HTTPS?"), ask(temperature=0.9), ask(scope=None)],
    ids=["another user", "another question", "a temperature", "nobody"],
)
def test_what_is_not_the_same_is_asked(router, chat, other):
    router.answer(ask())
    router.answer(other)
    assert len(chat.requests) == 2


def test_an_interrupted_answer_is_not_kept():
    cut = [Delta("Hyper"), ProviderUnavailable("cut")]
    chat = ScriptedModel(cut, "whole", name="a")
    router = Router([chat], cache="exact")
    with pytest.raises(StreamInterrupted):
        list(router.stream(ask()))
    assert router.answer(ask()).message.content == "whole"


def test_an_answer_of_a_weaker_model_is_not_kept():
    strong = Model(ScriptedModel(ProviderLimited("429"), name="s"), "strong", quality=0.9)
    weak = ScriptedModel("one", "two", name="w")
    router = Router([strong, Model(weak, "weak", quality=0.2)], cache="exact")
    assert [router.answer(ask()).message.content for _ in range(2)] == ["one", "two"]


def test_a_failure_in_asking_leaves_nothing_behind(router, chat):
    chat.replies = (ProviderUnavailable("503"), "better")
    router = Router([chat], cache="exact", patience=0.0)
    with pytest.raises(Exception, match="503"):
        router.answer(ask())
    chat.requests.append(None)
    assert router._parts.cache is not None
    assert asyncio.run(router._parts.cache.alook(ask())) is None


def test_other_words_are_answered_once_they_proved_the_same():
    rules = CacheRules(["a"])
    chat = ScriptedModel("A protocol.", name="a")
    cache = SemanticCache(
        ExactCache(rules),
        WordEmbedder(),
        rules,
        max_error=0.999,
        confirmations=1,
        floor=0.3,
        chance=lambda: 0.0,
    )
    router = Router([chat], cache=cache)
    wordings = [
        "How do I reset my password?",
        "Could you tell me how to reset my password?",
        "I was wondering how I reset a password.",
        "Could you please tell me how I reset my password?",
    ]
    requests = [ask(text) for text in wordings]
    answers = {router.answer(request).message.content for request in requests}
    assert answers == {"A protocol."}
    assert "semantic" in [router.explain(request.id).cached for request in requests]
    assert len(chat.requests) < len(requests)
