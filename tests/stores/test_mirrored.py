"""A vector store beside the log: it proposes, and can do nothing else."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.stores import mirrored
from rag_memory_plugins.stores.points import owner_key, point_id, seqs_of
from rag_memory_plugins.testing.fakes import WordEmbedder

PLACES = "Lisbon Oslo Quito Cairo Delhi Seoul Lima Turin Perth Accra".split()
THINGS = "bicycle piano kettle ladder violin carpet lantern saddle mirror anchor".split()
SAID = [f"In {place} I bought a {thing}." for place in PLACES for thing in THINGS]


class Shelf:
    """A vector store in a dict. `down` fails every call, `late` blocks them until it is set."""

    def __init__(self, name="shelf"):
        self.name = name
        self.held = {}
        self.asked = 0
        self.down = False
        self.before_put = None
        self.after_put = None
        self.answer = None
        self.late = None

    async def aopen(self, log, fingerprint, dimension):
        self.log = log

    async def aput(self, points):
        await self._ready()
        if self.before_put is not None:
            work, self.before_put = self.before_put, None
            await work()
        for point in points:
            for piece, vector in enumerate(point.vectors):
                key = point_id(self.log, point.scope, point.seq, piece)
                self.held[key] = (point.scope, point.session, vector)
        if self.after_put is not None:
            error, self.after_put = self.after_put, None
            raise error

    async def anearest(self, scope, text, vector, limit, session=None):
        await self._ready()
        self.asked += 1
        if self.answer is not None:
            return self.answer
        mine = [
            (key, float(held @ vector))
            for key, (owner, place, held) in self.held.items()
            if owner == scope and session in (None, place)
        ]
        best = sorted(mine, key=lambda item: -item[1])[:limit]
        return seqs_of([key for key, _ in best], self.log, scope)[0]

    async def aremove(self, points):
        await self._ready()
        for point in points:
            for piece in range(point.pieces):
                self.held.pop(point_id(self.log, point.scope, point.seq, piece), None)

    async def aclose(self):
        pass

    async def _ready(self):
        if self.late is not None:
            await self.late.wait()
        if self.down:
            raise ConnectionError("connection refused")


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture(autouse=True)
def _large_is_twenty(monkeypatch):
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 20)


@pytest.fixture
def memory(opened, shelf):
    return opened(embedder=WordEmbedder(), index=shelf)


def fill(memory, user="ann", session="monday", said=SAID):
    place = memory.conversation("acme", user, session)
    place.add([Message("user", text) for text in said])
    assert memory.settle() == 0
    return place


def texts(result):
    return [hit.message.content for hit in result.hits]


def test_the_store_gets_every_vector_and_nothing_else(memory, shelf):
    fill(memory)
    assert len(shelf.held) == len(SAID)


def test_a_large_user_is_searched_as_without_the_store(memory, tmp_path, shelf):
    fill(memory)
    other = open_memory(tmp_path / "plain.db", embedder=WordEmbedder(), background=False)
    plain = fill(other)
    for question in ("a piano in Cairo", "what did I buy in Oslo?", "the anchor"):
        found = memory.conversation("acme", "ann", "monday").search(question, limit=10)
        expected = plain.search(question, limit=10)
        assert texts(found) == texts(expected)
        assert found.lanes == expected.lanes
        scores = [hit.score for hit in expected.hits]
        # The sample is the whole user here: the same numbers, added in another order.
        assert [hit.score for hit in found.hits] == pytest.approx(scores, abs=1e-4)
    other.close()
    assert shelf.asked == 3


def test_a_small_user_is_searched_without_asking(memory, shelf):
    place = fill(memory, said=SAID[:20])
    assert texts(place.search("a violin in Lisbon", limit=1)) == ["In Lisbon I bought a violin."]
    assert shelf.asked == 0


def test_a_session_and_a_filter_that_keep_few_are_searched_without_asking(memory, shelf):
    fill(memory)
    few = fill(memory, session="tuesday", said=["In Rome I bought a piano."])
    found = few.search("a piano", level="session", limit=3)
    assert texts(found) == ["In Rome I bought a piano."]
    few.add([Message("user", "In Bern I bought a piano.", metadata={"kind": "note"})])
    found = few.search("a piano", metadata={"kind": "note"}, limit=3)
    assert texts(found) == ["In Bern I bought a piano."]
    assert shelf.asked == 0


def test_a_large_session_is_asked_for_by_name(memory, shelf):
    fill(memory)
    place = fill(memory, session="tuesday", said=[f"{text} Again." for text in SAID[:30]])
    found = place.search("a piano in Lisbon", level="session", limit=5)
    assert texts(found)[0] == "In Lisbon I bought a piano. Again."
    assert {hit.session for hit in found.hits} == {"tuesday"}
    assert shelf.asked == 1


def test_what_was_just_said_is_found_before_the_store_has_it(memory, shelf):
    place = fill(memory)
    shelf.down = True
    place.add("The dentist moved to Thursday")
    shelf.down, held = False, len(shelf.held)
    assert texts(place.search("dentists on a Thursday", limit=1))[0].endswith("Thursday")
    assert len(shelf.held) == held


def test_a_store_that_is_down_leaves_the_keywords_and_says_so(memory, shelf):
    place = fill(memory)
    shelf.down = True
    found = place.search("a piano in Cairo", limit=1)
    assert texts(found) == ["In Cairo I bought a piano."]
    assert found.lanes["dense"] == "shelf failed (ConnectionError('connection refused'))"
    assert found.degraded == ("dense: shelf failed (ConnectionError('connection refused'))",)


def test_a_store_that_does_not_answer_is_waited_for_only_so_long(memory, shelf, monkeypatch):
    place = fill(memory)
    monkeypatch.setattr(mirrored, "PATIENCE", 0.01)
    shelf.late = asyncio.Event()
    found = place.search("a piano in Cairo", limit=1)
    assert texts(found) == ["In Cairo I bought a piano."]
    assert found.degraded == ("dense: shelf did not answer in 0.01 s",)


def test_a_store_that_was_down_gets_all_it_missed(opened, shelf):
    told = []
    memory = opened(embedder=WordEmbedder(), index=shelf, hooks=[told.append])
    shelf.down = True
    fill(memory)
    assert shelf.held == {}
    failed = [event for event in told if event.name == "mirror.failed"]
    assert "ConnectionError" in failed[0].data["error"]
    shelf.down = False
    memory.settle()
    assert len(shelf.held) == len(SAID)


def test_a_batch_whose_acknowledgement_was_lost_is_put_again_in_its_place(memory, shelf):
    shelf.after_put = ConnectionError("reset")
    fill(memory)
    memory.settle()
    assert len(shelf.held) == len(SAID)


@pytest.mark.parametrize("answer", [[], [0, -1, 10**9], "others"])
def test_a_store_that_proposes_what_is_not_the_users_shows_nothing_of_it(memory, shelf, answer):
    place = fill(memory)
    other = fill(memory, user="bob", said=[f"{text} It is secret." for text in SAID])
    theirs = [hit.seq for hit in other.search("secret", limit=50).hits]
    shelf.answer = theirs if answer == "others" else answer
    found = place.search("which of them is secret?", limit=20, window=3)
    assert not [text for text in texts(found) if "secret" in text]


def test_what_is_erased_leaves_the_store(memory, shelf):
    place = fill(memory)
    kept = fill(memory, user="bob")
    receipt = place.erase()
    assert receipt.complete
    assert {scope.user for scope, _, _ in shelf.held.values()} == {"bob"}
    kept.forget([kept.recent(1)[0].id])
    assert len(shelf.held) == len(SAID) - 1


def test_an_erase_waits_for_a_store_that_is_down(memory, shelf):
    place = fill(memory)
    shelf.down = True
    receipt = place.erase()
    assert not receipt.complete
    assert receipt.pending.startswith("vector store shelf: ConnectionError('connection refused')")
    assert texts(place.search("piano")) == []
    shelf.down = False
    memory.settle()
    assert shelf.held == {}


def test_an_erase_waits_for_a_store_that_the_memory_was_not_opened_with(opened, shelf):
    memory = opened(embedder=WordEmbedder(), index=shelf)
    fill(memory)
    memory.close()
    without = opened(embedder=WordEmbedder())
    receipt = without.conversation("acme", "ann", "monday").erase()
    assert not receipt.complete
    assert receipt.pending == (
        "100 messages wait to be removed from shelf; open the memory with that index"
    )
    without.close()
    opened(embedder=WordEmbedder(), index=shelf).settle()
    assert shelf.held == {}


def test_what_is_erased_while_it_is_being_put_does_not_stay(memory, shelf):
    place = memory.conversation("acme", "ann", "monday")
    place.add([Message("user", text) for text in SAID])

    async def erase():
        await memory.log.aerase(place.namespace, "session")

    shelf.before_put = erase
    memory.settle()
    assert shelf.held == {}


def test_another_process_that_writes_to_the_store_is_not_disturbed(opened, shelf):
    first = opened(embedder=WordEmbedder(), index=shelf)
    place = fill(first)
    other = Shelf()
    second = opened(embedder=WordEmbedder(), index=other)
    lease = second.index._leased()
    second.portal.call(lease.__aenter__())
    receipt = place.erase()
    assert receipt.pending == "another process writes to shelf; this is tried again"
    second.portal.call(lease.__aexit__(None, None, None))
    first.settle()
    assert shelf.held == {}


def test_a_store_of_another_name_gets_everything_without_embedding_again(opened, shelf):
    memory = opened(embedder=WordEmbedder(), index=shelf)
    fill(memory)
    memory.close()
    embedder, more = WordEmbedder(), Shelf("more")
    opened(embedder=embedder, index=more).settle()
    assert more.held.keys() == shelf.held.keys()
    assert embedder.calls == 0


def test_a_store_that_was_made_anew_gets_everything_at_once(opened):
    shelf = Shelf("shelf#1")
    memory = opened(embedder=WordEmbedder(), index=shelf)
    fill(memory)
    before = set(shelf.held)
    shelf.held, shelf.name = {}, "shelf#2"
    memory.settle()
    assert set(shelf.held) == before


def test_a_store_that_is_made_anew_under_a_put_gets_that_batch_again(opened):
    shelf = Shelf("shelf#1")
    memory = opened(embedder=WordEmbedder(), index=shelf)

    async def lost():
        shelf.name = "shelf#2"

    shelf.before_put = lost
    fill(memory, said=SAID[:5])
    memory.settle()
    shelf.held = {}
    shelf.name = "shelf#3"
    memory.settle()
    assert len(shelf.held) == 5


def test_a_store_that_was_made_anew_is_known_when_it_is_opened(opened):
    memory = opened(embedder=WordEmbedder(), index=Shelf("shelf#1"))
    place = fill(memory)
    memory.close()
    embedder, anew = WordEmbedder(), Shelf("shelf#2")
    memory = opened(embedder=embedder, index=anew)
    memory.settle()
    assert (len(anew.held), embedder.calls) == (len(SAID), 0)
    assert memory.conversation("acme", "ann", place.namespace.session).erase().complete
    assert anew.held == {}


def test_a_store_whose_mark_is_not_known_yet_keeps_its_place(opened):
    memory = opened(embedder=WordEmbedder(), index=Shelf("shelf#1"))
    fill(memory)
    memory.close()
    later = Shelf("shelf")
    memory = opened(embedder=WordEmbedder(), index=later)
    memory.settle()
    later.name = "shelf#1"
    memory.settle()
    assert later.held == {}


def test_what_was_put_before_a_store_was_made_anew_by_another_is_not_counted(opened):
    shelf = Shelf("shelf#1")
    memory = opened(embedder=WordEmbedder(), index=shelf)
    fill(memory)
    other = Shelf("shelf#2")

    async def opened_elsewhere():
        await second.index.aopen()
        shelf.before_put = sees

    async def sees():
        shelf.name, shelf.held = other.name, other.held

    second = opened(embedder=WordEmbedder(), index=Shelf("shelf#1"))
    second.index.store = other
    memory.conversation("acme", "ann", "monday").add("The dentist moved to Thursday")
    shelf.before_put = opened_elsewhere
    memory.settle()
    second.settle()
    assert len(other.held) == len(SAID) + 1


def test_names_that_differ_in_case_are_other_stores(opened):
    memory = opened(embedder=WordEmbedder(), index=Shelf("shelf#1"))
    fill(memory)
    memory.close()
    upper = Shelf("SHELF#1")
    opened(embedder=WordEmbedder(), index=upper).settle()
    memory = opened(embedder=WordEmbedder(), index=Shelf("shelf#1"))
    memory.settle()
    assert memory.index.store.held == {}
    assert len(upper.held) == len(SAID)


def test_a_rebuild_puts_every_vector_again(memory, shelf):
    fill(memory)
    before = set(shelf.held)
    memory.rebuild()
    memory.settle()
    assert set(shelf.held) == before


def test_items_are_proposed_as_messages_are(memory, shelf):
    from rag_memory_plugins.langchain import TenantStore

    store = TenantStore(memory, "acme")
    for number, text in enumerate(SAID):
        store.put(("bought",), str(number), {"text": text})
    memory.settle()
    found = store.search(("bought",), query="the piano of Cairo", limit=1)
    assert found[0].value == {"text": "In Cairo I bought a piano."}
    assert shelf.asked == 1
    store.put(("bought",), found[0].key, {"text": "In Cairo I sold it."})
    memory.settle()
    assert len(shelf.held) == len(SAID)


def test_a_store_serves_a_readonly_memory(opened, shelf, tmp_path):
    memory = opened(embedder=WordEmbedder(), index=shelf)
    fill(memory)
    memory.close()
    with open_memory(
        f"sqlite:///{tmp_path / 'memory.db'}?mode=ro", embedder=WordEmbedder(), index=shelf
    ) as reading:
        found = reading.conversation("acme", "ann", "monday").search("piano in Cairo", limit=1)
    assert texts(found) == ["In Cairo I bought a piano."]
    assert shelf.asked == 1


def test_an_index_without_an_embedder_is_refused(opened, shelf):
    with pytest.raises(InvalidInput, match="it needs an embedder"):
        opened(embedder=None, index=shelf)


def test_an_index_that_is_no_vector_store_is_refused(opened):
    with pytest.raises(InvalidInput, match=r"pass None, a URL or a ports\.VectorStore"):
        opened(embedder=WordEmbedder(), index=object())


def test_two_users_share_no_name_of_a_vector():
    from rag_memory_plugins.namespace import Scope

    ann, bob = Scope("acme", "ann"), Scope("acme", "bob")
    assert owner_key("log", ann) != owner_key("log", bob)
    assert seqs_of([point_id("log", bob, 5, 0)], "log", ann) == ([], 1)
    assert seqs_of([point_id("other", ann, 5, 0)], "log", ann) == ([], 1)
    assert seqs_of([point_id("log", ann, 2**40, 3)], "log", ann) == ([2**40], 0)
