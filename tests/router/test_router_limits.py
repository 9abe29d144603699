"""Rate limits and budgets in a router: what they let through, and what comes back."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.chat import ChatRequest, Delta, Usage
from rag_memory_plugins.errors import (
    BudgetSpent,
    InvalidInput,
    ProviderUnavailable,
    StreamInterrupted,
    TooManyRequests,
)
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.budgets import Budget, Budgets
from rag_memory_plugins.router.models import Model, Price
from rag_memory_plugins.router.rates import RateLimit, RateLimits
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

HELLO = (Message("user", "Hello"),)
ANN, BOB = Scope("acme", "ann"), Scope("other", "bob")


def model(name, *replies, **values):
    return Model(ScriptedModel(*(replies or (f"I am {name}",)), name=name), name, **values)


@pytest.fixture
def routed(time):
    def make(*models, **values):
        return Router(list(models), clock=time, now=time, sleep=time.sleep, **values)

    return make


def ask(router, scope=ANN, **values):
    return router.answer(ChatRequest(HELLO, scope=scope, **values)).model


def limits(time, *rules):
    return RateLimits(rules, clock=time, wall=time)


def test_a_tenant_over_its_limit_is_refused_and_another_is_not(routed, time):
    router = routed(model("a"), model("b"), rates=limits(time, RateLimit("2/minute", per="tenant")))
    assert [ask(router), ask(router), ask(router, BOB)] == ["a", "a", "a"]
    with pytest.raises(TooManyRequests, match="2/minute of requests per tenant"):
        ask(router)


def test_a_models_limit_sends_to_the_next_model(routed, time):
    router = routed(
        model("a"),
        model("b"),
        rates=limits(time, RateLimit("1/minute", per="model", models=("a",))),
    )
    assert [ask(router), ask(router)] == ["a", "b"]


def test_a_call_that_a_provider_refused_takes_nothing_of_a_limit(routed, time):
    router = routed(
        model("a", ProviderUnavailable("503")),
        model("b"),
        rates=limits(time, RateLimit("1/minute", per="tenant")),
    )
    assert ask(router) == "b"
    with pytest.raises(TooManyRequests):
        ask(router)


def test_tokens_are_settled_to_what_was_used(routed, time):
    said = [Delta("Hi"), Delta(finish="stop", usage=Usage(10, 80))]
    router = routed(
        model("a", said), rates=limits(time, RateLimit("100/hour", per="user", of="tokens"))
    )
    assert ask(router) == "a"
    assert ask(router) == "a"  # 90 of 100: the estimate of this one still has room
    with pytest.raises(TooManyRequests):
        ask(router)


def test_a_limit_per_tenant_needs_to_know_the_tenant(routed, time):
    router = routed(model("a"), rates=limits(time, RateLimit("1/minute", per="tenant")))
    with pytest.raises(InvalidInput, match="scope"):
        ask(router, scope=None)


def dollars(usage):
    return [Delta("Hi"), Delta(finish="stop", usage=usage)]


def test_near_the_end_of_a_budget_the_cheapest_model_is_asked(routed, time):
    router = routed(
        model("dear", dollars(Usage(0, 850)), price=Price(0, 1_000.0)),
        model("cheap", price=Price(0, 1.0)),
        budgets=Budgets(tenant=Budget(1.0, cheaper_from=0.8), clock=time),
    )
    assert [ask(router, max_tokens=900), ask(router, max_tokens=100)] == ["dear", "cheap"]
    assert ask(router, BOB, max_tokens=900) == "dear"


def test_a_spent_budget_refuses_and_says_when_it_begins_anew(routed, time):
    router = routed(
        model("a", dollars(Usage(0, 1_000)), price=Price(0, 1_000.0)),
        budgets=Budgets(tenant=Budget(1.0, per="hour"), clock=time),
    )
    assert ask(router, max_tokens=1_000) == "a"
    with pytest.raises(BudgetSpent, match="acme") as caught:
        ask(router, max_tokens=1_000)
    assert caught.value.until is not None
    assert time.slept == []
    time.seconds += 3_600
    assert ask(router, max_tokens=1_000) == "a"


def test_behind_a_budget_what_costs_nothing_still_answers(routed, time):
    router = routed(
        model("paid", dollars(Usage(0, 1_000)), price=Price(0, 1_000.0)),
        model("here", local=True, window=10_000),
        budgets=Budgets(tenant=Budget(1.0), clock=time),
        mode="local-first",
        policy=None,
    )
    long = (Message("user", "word " * 4_000),)
    first = router.answer(ChatRequest(long, scope=ANN, max_tokens=1_000)).model
    second = router.answer(ChatRequest(long, scope=ANN, max_tokens=1_000)).model
    assert (first, second) == ("paid", "here")


def test_an_answer_without_an_end_gets_one_where_there_is_a_budget(routed, time):
    paid = model("a", price=Price(0, 1.0))
    router = routed(paid, budgets=Budgets(tenant=Budget(1.0), clock=time), answer_tokens=700)
    ask(router)
    assert paid.chat.requests[0].max_tokens == 700


def test_a_model_without_a_price_and_a_budget_do_not_go_together(routed, time):
    with pytest.raises(InvalidInput, match="its price is not known"):
        routed(model("a"), budgets=Budgets(tenant=Budget(1.0), clock=time))


def test_an_interrupted_stream_is_paid_for(routed, time):
    cut = [Delta("one two three four"), ProviderUnavailable("cut")]
    budgets = Budgets(tenant=Budget(1.0), clock=time)
    router = routed(model("a", cut, price=Price(0, 200_000.0)), budgets=budgets)
    with pytest.raises(StreamInterrupted) as caught:
        list(router.stream(ChatRequest(HELLO, scope=ANN, max_tokens=5)))
    assert caught.value.cost == pytest.approx(0.8)
    assert asyncio.run(budgets.alevel(ANN)) == "cheaper"


async def test_a_hundred_calls_at_once_overspend_nothing(time):
    class Yields(ScriptedModel):
        async def astream(self, request):
            await asyncio.sleep(0)
            yield Delta("Hi")
            yield Delta(finish="stop", usage=Usage(0, 10))

    budgets = Budgets(tenant=Budget(1.0), clock=time)
    chat = Yields(name="a")
    router = Router([Model(chat, "a", price=Price(0, 10_000.0))], budgets=budgets, now=time)
    request = [ChatRequest(HELLO, scope=ANN, max_tokens=10) for _ in range(100)]
    answers = await asyncio.gather(
        *[router.aanswer(each) for each in request], return_exceptions=True
    )
    paid = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert {type(a) for a in answers if isinstance(a, BaseException)} == {BudgetSpent}
    assert len(paid) == 10  # each 0.1 of 1.0 dollars
    assert await budgets.alevel(ANN) == "spent"
