"""How a request says who is asked first, and how a caller asks in its own way."""

from __future__ import annotations

import pytest

from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.errors import BadRequest, InvalidInput, ProviderLimited
from rag_memory_plugins.router.models import Capabilities, Model
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

HELLO = (Message("user", "Hello"),)


def routed(**values):
    return Router([ScriptedModel(name, name=name) for name in "ab"], **values)


async def test_the_entry_that_a_request_names_is_asked_before_the_others():
    router = routed()
    answers = [await router.aanswer(ChatRequest(HELLO, first=name)) for name in ("b", "", "c")]
    assert [answer.model for answer in answers] == ["b", "a", "a"]


async def test_a_named_entry_that_cannot_answer_is_not_asked():
    blind = Model(ScriptedModel("never", name="a"), capabilities=Capabilities(schema=False))
    router = Router([blind, ScriptedModel('{"x": 1}', name="b")])
    request = ChatRequest(HELLO, first="a", schema={"required": ["x"]})
    assert (await router.aanswer(request)).model == "b"


async def test_who_asks_in_its_own_way_gets_one_attempt_after_another(ledger):
    router = routed(ledger=ledger)
    request, asked = ChatRequest(HELLO), []

    async def ask(attempt, seconds):
        asked.append((attempt.model.name, 0 < seconds <= router.timeout))
        if attempt.model.name == "a":
            raise ProviderLimited("429")
        await attempt.asettle("ok")
        return "mine"

    assert await router.aroute(request, ask) == "mine"
    assert asked == [("a", True), ("b", True)]
    assert [entry.outcome for entry in ledger.entries] == ["failed", "ok"]
    assert router.explain(request.id).model == "b"


async def test_what_no_other_model_does_better_ends_it_there_too():
    async def ask(attempt, seconds):
        raise BadRequest("no")

    router = routed()
    with pytest.raises(BadRequest):
        await router.aroute(ChatRequest(HELLO), ask)


class Knowing(ScriptedModel):
    window = 4_000
    capabilities = Capabilities(vision=True)


def test_an_entry_knows_of_itself_what_its_chat_says_unless_you_say_otherwise():
    entry, told = Model(Knowing()), Model(Knowing(), window=9, capabilities=Capabilities())
    assert (entry.window, entry.capabilities.vision) == (4_000, True)
    assert (told.window, told.capabilities.vision) == (9, False)
    assert Model(ScriptedModel()).capabilities == Capabilities()


async def test_an_id_that_runs_is_refused_and_its_decision_stays_the_first_ones():
    router = routed()
    request = ChatRequest(HELLO)

    async def ask(attempt, seconds):
        with pytest.raises(InvalidInput, match="a request of this id runs"):
            await router.aroute(request, ask)
        await attempt.asettle("ok")

    await router.aroute(request, ask)
    decision = router.explain(request.id)
    assert (decision.outcome, [each.model for each in decision.attempts]) == ("answered", ["a"])
