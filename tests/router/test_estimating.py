"""Hardness by the tenant's own outcomes: learnt, used, reported, forgotten."""

from __future__ import annotations

import pytest

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.estimating import OutcomeEstimator
from rag_memory_plugins.router.models import Model, Price
from rag_memory_plugins.router.policy import RoutePolicy
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

ANN = Scope("acme", "ann")
FILLER = "please tell me about it in a few words or in many of them if you like".split()


def request(topic, number, scope=ANN):
    words = " ".join(FILLER[: 3 + number % 12])
    return ChatRequest((Message("user", f"{topic} {topic} {topic} {words}"),), scope=scope)


@pytest.fixture(scope="module")
def learnt():
    """Ann's tenant: the weak model fails at topology and does well at cooking."""
    estimator = OutcomeEstimator(WordEmbedder())
    for number in range(400):
        hard = number % 2 == 0
        asked = request("topology" if hard else "cooking", number // 2)
        estimator.record(asked, weak=0.0 if hard else 1.0, strong=1.0)
    return estimator


def routed(estimator):
    return Router(
        [
            Model(ScriptedModel("strong", name="s"), "strong", quality=0.9, price=Price(5.0, 5.0)),
            Model(ScriptedModel("weak", name="w"), "weak", quality=0.2, price=Price(0.1, 0.1)),
        ],
        policy=RoutePolicy(prefer="quality", strong_from=0.06),
        quality=estimator,
    )


def test_it_reports_how_well_it_tells(learnt):
    report = learnt.report(ANN)
    assert report.n == 400
    assert report.low > 0.6


def test_questions_go_where_the_tenants_answers_say(learnt):
    router = routed(learnt)
    asked = [request(topic, 5) for topic in ("topology", "cooking")]
    assert [router.answer(each).model for each in asked] == ["strong", "weak"]


def test_another_tenants_questions_go_by_length(learnt):
    router = routed(learnt)
    other = Scope("other", "ann")
    hardness = []
    for topic in ("topology", "cookings"):  # of one length
        asked = request(topic, 5, other)
        router.answer(asked)
        hardness.append(router.explain(asked.id).asks[0].hardness)
    assert hardness[0] == hardness[1]


def test_nothing_is_embedded_before_it_helps():
    embedder = WordEmbedder()
    routed(OutcomeEstimator(embedder)).answer(request("topology", 1))
    assert embedder.calls == 0


def test_an_outcome_of_nobody_is_refused():
    with pytest.raises(InvalidInput, match="outcomes belong to a tenant"):
        OutcomeEstimator(WordEmbedder()).record(request("topology", 1, None), weak=1.0)


def test_a_user_can_be_forgotten():
    estimator = OutcomeEstimator(WordEmbedder())
    estimator.record(request("topology", 1), weak=1.0)
    assert estimator.forget(ANN) == 1
    assert estimator.forget(ANN) == 0
