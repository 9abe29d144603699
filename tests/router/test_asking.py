"""What a router may be asked, and what it is made of: texts, dicts, and parts of the wrong kind."""

from __future__ import annotations

import pytest

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import (
    AllModelsFailed,
    InvalidInput,
    InvalidMessage,
    ProviderUnavailable,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router import (
    Budget,
    Budgets,
    ExactCache,
    Model,
    RateLimit,
    RateLimits,
    Router,
    openai_compatible,
)
from rag_memory_plugins.router.cache_rules import CacheRules
from rag_memory_plugins.router.faults import provider_error
from rag_memory_plugins.testing.fault_replies import hang
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

ANN = Scope("acme", "ann")
FORMS = {
    "a text": "Hello",
    "dicts": [{"role": "user", "content": "Hello"}],
    "messages": [Message("user", "Hello")],
    "a request": ChatRequest([Message("user", "Hello")]),
}


def said(request):
    return [(message.role, message.content) for message in request.messages]


@pytest.mark.parametrize("wanted", FORMS.values(), ids=FORMS)
def test_a_router_is_asked_with_a_text_dicts_messages_or_a_request(wanted):
    model = ScriptedModel("Hi!")
    router = Router([model])
    assert router.answer(wanted).message.content == "Hi!"
    assert "".join(delta.text for delta in router.stream(wanted)) == "Hi!"
    assert [said(request) for request in model.requests] == [[("user", "Hello")]] * 2


def test_a_chat_is_a_text_or_messages():
    assert Router([ScriptedModel("Hi!")]).chat("Hello", max_tokens=5).content == "Hi!"


@pytest.mark.parametrize("wanted", FORMS.values(), ids=FORMS)
def test_a_bound_router_has_the_sync_faces_and_its_scope(wanted):
    model = ScriptedModel("Hi!")
    bound = Router([model]).bound(ANN)
    assert bound.answer(wanted).message.content == "Hi!"
    assert "".join(delta.text for delta in bound.stream(wanted)) == "Hi!"
    assert bound.chat("Hello").content == "Hi!"
    assert [request.scope for request in model.requests] == [ANN] * 3


def test_a_request_keeps_its_id_when_a_router_is_bound():
    request = ChatRequest.of("Hello")
    assert Router([ScriptedModel("Hi!")]).bound(ANN).answer(request).request_id == request.id


@pytest.mark.parametrize(
    ("messages", "field"),
    [("Hello", "messages"), ([{"role": "user"}], r"messages\[0\]"), (["Hello"], r"messages\[0\]")],
)
def test_a_request_of_something_else_names_the_way_that_takes_it(messages, field):
    with pytest.raises(InvalidInput, match=rf"{field}: .*ChatRequest\.of"):
        ChatRequest(messages)


def test_a_dict_that_is_no_message_is_refused():
    with pytest.raises(InvalidMessage, match="content"):
        ChatRequest.of([{"role": "user"}])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scope", "acme"),
        ("stop", "END"),
        ("schema", '{"type": "object"}'),
        ("tools", ({"type": "function"},)),
        ("max_tokens", "5"),
        ("timeout", "5"),
    ],
)
def test_a_field_of_another_kind_is_refused_when_the_request_is_made(name, value):
    with pytest.raises(InvalidInput, match=rf"{name}.*: got .*; pass "):
        ChatRequest.of("Hello", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("price", 5), ("timeouts", 5), ("capabilities", {"tools": True}), ("quality", "best")],
)
def test_a_models_field_of_another_kind_is_refused_when_the_model_is_made(name, value):
    with pytest.raises(InvalidInput, match=rf"{name}: got .*; pass "):
        Model(ScriptedModel("Hi!"), **{name: value})


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("policy", "cost"),
        ("budgets", Budget(1)),
        ("rates", [RateLimit("1/minute")]),
        ("ledger", "ledger.db"),
        ("cache", "semantic"),
        ("quality", "length"),
    ],
)
def test_a_part_of_another_kind_is_refused_before_the_first_call(name, part):
    with pytest.raises(InvalidInput, match=f"{name}: got .*; pass "):
        Router([ScriptedModel("Hi!")], **{name: part})


def test_parts_say_what_they_are():
    router = Router([ScriptedModel(name="small")])
    budgets, rates = Budgets(tenant=Budget(1)), RateLimits([RateLimit("1/minute", per="user")])
    cache = ExactCache(CacheRules(["small"]))
    assert repr(router.bound(ANN)).startswith("Router(['small'], mode='local-first').bound(")
    assert "Budget(limit_usd=1" in repr(budgets)
    assert repr(rates) == "RateLimits([1/minute of requests per user])"
    assert repr(cache) == "ExactCache(0 answers, per='user')"
    assert repr(FaultServer()) == "FaultServer(http://127.0.0.1:0, 0 requests)"


def test_a_cause_that_says_the_same_is_told_once():
    error = ConnectionError("refused")
    error.__cause__ = ConnectionError("refused")
    failure = provider_error(error, "small")
    assert isinstance(failure, ProviderUnavailable)
    assert str(failure) == "small: ConnectionError: 'refused'"


def test_a_cache_that_the_router_makes_tells_the_routers_hooks_why_it_keeps_nothing():
    events = []
    router = Router([ScriptedModel("Hi!")], cache="exact", hooks=[events.append])
    router.answer("Hello")
    told = [event.data for event in events if event.name == "cache.skipped"]
    assert told == [{"reason": "it has no scope"}]


def test_an_answer_that_is_no_json_is_told_as_that():
    router = Router([ScriptedModel("Sure!", name="small")], patience=0)
    with pytest.raises(AllModelsFailed, match="small: the answer is no JSON, as the schema asks"):
        router.answer(ChatRequest.of("Hello", schema={"type": "object"}))


def test_a_request_whose_own_time_is_over_names_that_time_and_not_the_models():
    with FaultServer() as server:
        server.script(hang())
        small = openai_compatible(server.openai_url, "small")
        with Router([small], patience=0) as router, pytest.raises(AllModelsFailed) as told:
            router.answer(ChatRequest.of("Hello", timeout=0.2))
    assert "ChatRequest(timeout=...)" in str(told.value)
    assert "Timeouts(" not in str(told.value)
