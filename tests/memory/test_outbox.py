"""The outbox: every message gets its vector, whoever else waits, whatever fails."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rag_memory_plugins.retrieval.encoding import aencode_documents
from rag_memory_plugins.testing.fakes import WordEmbedder


def test_a_large_backlog_of_one_tenant_starves_nobody(opened, words):
    memory = opened()
    memory.conversation("large", "ann", "monday").add([f"large {n}" for n in range(500)])
    for tenant in range(5):
        memory.conversation(f"small{tenant}", "ann", "monday").add("small")
    first = memory.portal.call(memory.index.alease(32, 60))
    assert sum(item.text == "small" for item in first) == 5
    assert len(first) == 32


def test_what_is_leased_is_not_taken_twice_and_comes_back_when_released(opened):
    one, two = opened(), opened()
    one.conversation("acme", "ann", "monday").add([f"turn {n}" for n in range(40)])
    mine = one.portal.call(one.index.alease(32, 60))
    yours = two.portal.call(two.index.alease(32, 60))
    assert len(mine) == 32
    assert len(yours) == 8
    assert not {item.seq for item in mine} & {item.seq for item in yours}
    one.portal.call(one.index.arelease(mine, 0))
    assert len(two.portal.call(two.index.alease(64, 60))) == 32


def test_every_scope_is_visited_however_many_there_are(opened, words):
    memory = opened()
    for tenant in range(60):
        memory.conversation(f"t{tenant}", "ann", "monday").add(f"tenant {tenant}")
    assert memory.settle() == 0
    assert sorted(words.embedded) == sorted(f"tenant {n}" for n in range(60))


def test_the_background_worker_embeds_and_says_so(opened):
    done = threading.Event()

    def hook(event):
        if event.name == "outbox.embedded":
            done.set()

    memory = opened(background=True, hooks=[hook])
    memory.conversation("acme", "ann", "monday").add("the parrot")
    assert done.wait(30)
    assert memory.backlog() == 0


@pytest.mark.parametrize(
    "wrong",
    [np.ones((1, 3), np.float32), np.full((1, 64), np.nan, np.float32), [1.0], None],
    ids=["dimension", "nan", "list", "none"],
)
def test_vectors_that_are_wrong_are_never_stored(opened, monkeypatch, wrong):
    words = WordEmbedder()

    async def broken(texts):
        return [wrong for _ in texts]

    memory = opened(embedder=words)
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(["the parrot is green", "it rained", "we went home"])
    monkeypatch.setattr(words, "aembed_documents", broken)
    found = ann.search("parrot")
    assert found[0].message.content == "the parrot is green"
    assert found.degraded
    assert memory.settle() == 3


def test_a_message_erased_while_it_is_embedded_gets_no_vector(opened):
    memory = opened()
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(["one", "two"])
    index = memory.index
    batch = memory.portal.call(index.alease(32, 60))
    encoded = memory.portal.call(aencode_documents(memory.embedder, [b.text for b in batch]))
    ann.erase()
    assert memory.portal.call(index.astore(batch, encoded)) == 0
    assert memory.health()["rows"]["vectors"] == 0
    assert memory.backlog() == 0


def test_closing_while_messages_arrive_never_waits_for_a_lost_cancellation(opened):
    for _ in range(30):  # closing must meet the worker at every place of its loop
        memory = opened(background=True)
        memory.conversation("acme", "ann", "monday").add("the parrot")
        memory.close()


def test_settling_waits_for_the_batch_that_the_worker_has_in_hand(opened):
    memory = opened(background=True)
    for n in range(5):
        memory.conversation("acme", "ann", f"s{n}").add([f"turn {k}" for k in range(50)])
        assert memory.settle() == 0


def test_an_embedder_that_raises_anything_stops_neither_settling_nor_closing(opened, monkeypatch):
    words = WordEmbedder()

    async def broken(texts):
        raise ValueError("not one of ours")

    monkeypatch.setattr(words, "aembed_documents", broken)
    memory = opened(embedder=words, drain_seconds=5.0)
    memory.conversation("acme", "ann", "monday").add("the parrot")
    assert memory.settle() == 1
    memory.close()
    again = opened()
    assert [m.content for m in again.conversation("acme", "ann", "monday").messages()] == [
        "the parrot"
    ]
