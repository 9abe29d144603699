"""Every context of a memory is counted by `memory.usage`, and counting never costs a turn."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.memory.tallies import Usage
from rag_memory_plugins.stores.local_state import LocalState


@pytest.fixture
def events():
    return []


@pytest.fixture
def memory(opened, events):
    return opened(embedder=None, hooks=[events.append])


def talked(memory, tenant="acme", user="ann", session="monday", turns=5):
    talk = memory.conversation(tenant, user, session)
    talk.add([f"turn {n} is about the harbour and its boats" for n in range(turns)])
    return talk


def failures(events):
    return [event.data["error"] for event in events if event.name == "usage.failed"]


# ---- What is counted -------------------------------------------------------------------------


def test_a_context_is_counted_for_its_conversation_its_tenant_and_in_all(memory):
    talk = talked(memory)
    assert memory.usage.total() == Usage()
    made = [talk.context("harbour", 400), talk.context("boats", 60)]
    for usage in (
        memory.usage.conversation(talk.namespace),
        memory.usage.tenant("acme"),
        memory.usage.total(),
    ):
        assert usage.contexts == 2
        assert usage.sent == sum(context.tokens for context in made) > 0
        assert usage.history == sum(context.history_tokens for context in made) > 0
        assert usage.by_part == {
            name: sum(p.tokens for c in made for p in c.parts if p.name == name)
            for name in {p.name for c in made for p in c.parts}
        }


def test_each_conversation_and_tenant_has_its_own_figures(memory):
    places = [
        talked(memory),
        talked(memory, session="tuesday", turns=8),
        talked(memory, user="bob", turns=3),
        talked(memory, tenant="globex", turns=20),
    ]
    sent = [talk.context("", 900).tokens for talk in places]
    assert len(set(sent)) == len(sent)
    assert [memory.usage.conversation(talk.namespace).sent for talk in places] == sent
    assert memory.usage.tenant("acme").sent == sum(sent[:3])
    assert memory.usage.tenant("globex").sent == sent[3]
    assert memory.usage.tenants() == ["acme", "globex"]


def test_models_and_modes_are_told_apart(memory):
    talk = talked(memory)
    full = talk.context("", 400, model="large")
    safe = talk.context("", 400, model="small", mode="safe")
    plain = talk.context("", 400, mode="safe")
    usage = memory.usage.conversation(talk.namespace)
    assert {name: tally.sent for name, tally in usage.by_model.items()} == {
        "large": full.tokens,
        "small": safe.tokens,
    }
    assert {name: tally.sent for name, tally in usage.by_mode.items()} == {
        "full": full.tokens,
        "safe": safe.tokens + plain.tokens,
    }


def test_a_long_conversation_has_saved_what_its_contexts_left_out(memory):
    talk = talked(memory, turns=400)
    made = talk.context("harbour", 500)
    usage = memory.usage.conversation(talk.namespace)
    assert usage.saved == made.history_tokens - made.tokens > 0
    assert usage.share_saved == usage.saved / made.history_tokens > 0.8


def test_contexts_that_are_awaited_are_counted_too(memory):
    talk = talked(memory)

    async def turns():
        return await asyncio.gather(*(talk.acontext("harbour", 400) for _ in range(9)))

    made = asyncio.run(turns())
    assert memory.usage.total().sent == sum(context.tokens for context in made)
    assert memory.usage.total().contexts == 9


def test_a_context_that_could_not_be_made_is_not_counted(memory):
    talk = talked(memory)
    with pytest.raises(BudgetTooSmall):
        talk.context("harbour", 5)
    assert memory.usage.total() == Usage()


def test_reading_and_searching_count_nothing(memory):
    talk = talked(memory)
    talk.search("harbour")
    talk.recent()
    talk.recommended_config(TokenBudget.small())
    assert memory.usage.total() == Usage()


def test_two_memories_of_a_process_count_apart(opened):
    one, two = opened(embedder=None), opened(embedder=None)
    talked(one).context("harbour", 400)
    assert (one.usage.total().contexts, two.usage.total().contexts) == (1, 0)


# ---- Erased ----------------------------------------------------------------------------------


def test_an_erase_forgets_the_conversation_and_leaves_the_sums(memory):
    talk, other = talked(memory), talked(memory, session="tuesday")
    sent = [place.context("harbour", 400).tokens for place in (talk, other)]
    talk.erase()
    assert memory.usage.conversation(talk.namespace) == Usage()
    assert memory.usage.conversation(other.namespace).sent == sent[1]
    assert memory.usage.tenant("acme").sent == sum(sent)


def test_an_erase_of_a_user_forgets_all_of_the_users_conversations(memory):
    mine = [talked(memory), talked(memory, session="tuesday")]
    others = [talked(memory, user="anna"), talked(memory, tenant="globex")]
    for place in (*mine, *others):
        place.context("harbour", 400)
    mine[0].erase("user")
    assert [memory.usage.conversation(p.namespace).contexts for p in (*mine, *others)] == [
        *(0, 0),
        *(1, 1),
    ]


# ---- Never in the way ------------------------------------------------------------------------


def down(*_args, **_options):
    raise ConnectionError("the state is down")


def test_a_state_that_fails_costs_figures_and_no_turn(memory, events, monkeypatch):
    talk = talked(memory)
    monkeypatch.setattr(LocalState, "aadd", down)
    made = talk.context("harbour", 400)
    assert "harbour" in made.text
    assert made.degraded == ()
    assert memory.usage.drain()
    assert failures(events) == ["ConnectionError('the state is down')"]
    monkeypatch.undo()
    assert memory.usage.total() == Usage()
    assert talk.context("harbour", 400).tokens == memory.usage.total().sent


def test_a_state_that_hangs_holds_up_no_turn_and_no_close(memory, events, monkeypatch):
    talk = talked(memory)
    before = talk.context("harbour", 400)

    async def hang(*_args):
        await asyncio.Event().wait()

    monkeypatch.setattr(LocalState, "aadd", hang)
    assert [talk.context("harbour", 400).text for _ in range(3)] == [before.text] * 3
    assert not memory.usage.drain(0.01)
    assert len(failures(events)) == 1


def test_a_state_that_fails_stops_no_erase(memory, monkeypatch):
    talk = talked(memory)
    talk.context("harbour", 400)
    memory.usage.drain()
    monkeypatch.setattr(LocalState, "adrop", down)
    receipt = talk.erase()
    assert (receipt.complete, receipt.messages) == (True, 5)


def test_closing_waits_for_what_is_being_counted(memory, events):
    talked(memory).context("harbour", 400)
    memory.close()
    assert failures(events) == []
