"""Facts read out of what was said, behind the user's turns: once each, again after a failure."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta, timezone

import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import ChatModelError, InvalidInput
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Claim, ItemChange, Said

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Reader:
    """Reads "NAME lives in PLACE" and no more; fails, or does something first, when told to."""

    def __init__(self, name="reader/1"):
        self.name = name
        self.asked = []
        self.fails = 0
        self.first = None

    async def aextract(self, scope, messages):
        if self.fails:
            self.fails -= 1
            raise ChatModelError("the model is down")
        if self.first is not None:
            await self.first()
        self.asked += [(scope.key, message.id) for message in messages]
        return [self._claims(message.content) for message in messages]

    def _claims(self, text):
        found = re.findall(r"(\w+) lives in (\w+)", text)
        return [Claim(who, "lives in", where, confidence=0.9) for who, where in found]

    async def aclose(self):
        raise AssertionError("whoever passed it closes it")


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def memory(opened, reader):
    return opened(facts=reader)


@pytest.fixture
def ann(memory):
    return memory.conversation("acme", "ann", "monday")


def test_a_reader_that_cannot_be_queued_for_leaves_nothing_open(tmp_path):
    with open_memory(tmp_path / "memory.db", embedder=None) as memory:  # the portal's own thread
        memory.conversation("acme", "ann", "monday").add(Message("user", "hello"))
    before = set(threading.enumerate())
    with pytest.raises(UnicodeEncodeError):
        open_memory(tmp_path / "memory.db", embedder=None, facts=Reader("half a pair: \ud800"))
    for thread in set(threading.enumerate()) - before:
        thread.join(10)  # what closes the rest ends by itself
        assert not thread.is_alive(), thread.name


def say(place, texts, first=1):
    place.add(
        [
            Message("user", text, id=f"m{number}", time=START + timedelta(days=number))
            for number, text in enumerate(texts, first)
        ]
    )


def held(place, **asked):
    return [(f.object, f.by) for f in place.facts.query(subject="Ann", **asked)]


def test_facts_are_read_behind_the_turn_and_lead_to_their_messages(memory, ann, reader):
    say(ann, ["Ann lives in Lisbon", "hello", "Ann lives in Porto"])
    assert (held(ann), reader.asked) == ([], [])
    memory.settle()
    assert held(ann) == [("Porto", "extracted")]
    (fact,) = ann.facts.query(subject="Ann", as_of=START + timedelta(days=2))
    assert (fact.object, fact.sources) == ("Lisbon", (Said("monday", "m1"),))
    assert fact.recorded_at == START + timedelta(days=1)


def test_each_message_is_read_once(memory, ann, reader):
    say(ann, ["Ann lives in Lisbon"])
    memory.settle()
    say(ann, ["Ann lives in Lisbon"])  # a client that tries again
    memory.settle()
    assert reader.asked == [("acme/ann", "m1")]
    assert len(ann.facts.history()) == 1


def test_what_fails_is_read_later_and_nothing_twice(opened, reader):
    told = []
    memory = opened(facts=reader, hooks=[told.append])
    ann = memory.conversation("acme", "ann", "monday")
    say(ann, ["Ann lives in Lisbon"])
    reader.fails = 1
    memory.settle()
    assert held(ann) == []
    (failed,) = [event for event in told if event.name == "facts.failed"]
    assert "the model is down" in failed.data["error"]
    memory._lifetime.extracting.queue._clock = lambda: 10**12
    memory.settle()
    assert held(ann) == [("Lisbon", "extracted")]


def test_what_was_there_before_is_read_too_and_by_a_new_reader_again(opened, reader):
    plain = opened()
    say(plain.conversation("acme", "ann", "monday"), ["Ann lives in Lisbon"])
    plain.close()
    for name in ("reader/1", "reader/1", "reader/2"):
        reader.name = name
        memory = opened(facts=reader)
        memory.settle()
        ann = memory.conversation("acme", "ann", "monday")
        assert held(ann) == [("Lisbon", "extracted")]
        memory.close()
    assert len(reader.asked) == 2


def test_items_and_facts_are_not_read(memory, ann, reader):
    shelf = Shelf(memory, Scope("acme", "ann", items=True))
    item = ItemChange("people", "ann", Message("user", "Ann lives in Lisbon", id="i"))
    memory.portal.call(shelf.achange([item]))
    ann.facts.insert("Ann", "says", "Ann lives in Faro")
    memory.settle()
    assert reader.asked == []
    assert memory.portal.call(memory._lifetime.extracting.queue.abacklog()) == 0


def test_a_message_that_is_erased_while_it_is_read_leaves_no_fact(memory, ann, reader):
    say(ann, ["Ann lives in Lisbon", "Ann lives in Porto"])

    async def first():
        await ann.aforget("m2")

    reader.first = first
    memory.settle()
    assert [change.new for change in ann.facts.history()] == ["Lisbon"]


def test_facts_made_anew_from_the_log_are_the_same(memory, ann):
    bob = memory.conversation("acme", "bob", "monday")
    say(ann, ["Ann lives in Lisbon", "Ann lives in Porto. Bob lives in Faro", "Ann lives in Faro"])
    say(bob, ["Bob lives in Braga"])
    memory.settle()
    ann.facts.insert("Ann", "lives in", "Tomar", recorded_at=START + timedelta(days=2, hours=1))
    ann.facts.undo(ann.facts.history("Ann")[-1].id)
    before = [
        (list(place.facts.query(min_confidence=0.0, known_at=known)), place.facts.history())
        for place in (ann, bob)
        for known in (None, START + timedelta(days=2))
    ]
    memory.rebuild()
    memory.settle()
    after = [
        (list(place.facts.query(min_confidence=0.0, known_at=known)), place.facts.history())
        for place in (ann, bob)
        for known in (None, START + timedelta(days=2))
    ]
    assert after == before


def test_the_order_in_which_messages_are_read_means_nothing(tmp_path):
    texts = [f"Ann lives in {place}" for place in ("Lisbon", "Porto", "Porto", "Faro", "Lisbon")]

    def story(name, order):
        with open_memory(
            tmp_path / name, embedder=None, facts=Reader(), background=False
        ) as memory:
            ann = memory.conversation("acme", "ann", "monday")
            for number in order:
                say(ann, [texts[number]], first=number)
                memory.settle()
            return [(c.new, c.decision, c.old) for c in ann.facts.history()], held(ann)

    assert story("a.db", range(5)) == story("b.db", [3, 1, 4, 0, 2])


def test_a_claim_that_cannot_be_is_left_out_and_told(opened, reader):
    told = []
    memory = opened(facts=reader, hooks=[told.append])
    ann = memory.conversation("acme", "ann", "monday")
    reader._claims = lambda _: [Claim("", "is", "x"), Claim("Ann", "is", "here")]
    say(ann, ["hello"])
    memory.settle()
    assert [f.object for f in ann.facts.query()] == ["here"]
    assert [e.name for e in told if e.name == "facts.refused"] == ["facts.refused"]


def test_news_of_last_week_is_news_of_today_too(opened, reader):
    memory = opened(facts=reader)
    ann = memory.conversation("acme", "ann", "monday")
    dated = Claim("Ann", "lives in", "Faro", valid_from=START - timedelta(days=7))
    plain = Claim("Ann", "lives in", "Porto")
    reader._claims = lambda text: [dated] if "last week" in text else [plain]
    say(ann, ["I live in Porto", "Actually, I moved to Faro last week"])
    memory.settle()
    assert [fact.object for fact in ann.facts.query(subject="Ann")] == ["Faro"]
    (then,) = ann.facts.query(subject="Ann", as_of=START - timedelta(days=2))
    assert then.object == "Faro"


class Comparing(Reader):
    """Also says which states are one; notes what it was asked."""

    def __init__(self, same):
        super().__init__()
        self.same = same
        self.compared = []

    async def asame(self, scope, states):
        self.compared.append(list(states))
        return [frozenset(state[2:]) in self.same for state in states]


def test_another_wording_that_a_model_knows_changes_nothing(opened):
    reader = Comparing({frozenset({"Lisbon", "Olisipo"})})
    ann = opened(facts=reader).conversation("acme", "ann", "monday")
    say(ann, ["Ann lives in Lisbon"])
    ann.memory.settle()
    say(ann, ["Ann lives in Olisipo", "Bob lives in Faro", "Ann lives in Lisbon"], first=2)
    ann.memory.settle()
    assert reader.compared == [[("Ann", "lives in", "Lisbon", "Olisipo")]]
    (fact,) = ann.facts.query(subject="Ann")
    assert (fact.object, len(fact.sources)) == ("Lisbon", 3)
    say(ann, ["Ann lives in Porto"], first=5)
    ann.memory.settle()
    assert held(ann) == [("Porto", "extracted")]


def test_what_is_neither_is_refused(opened):
    with pytest.raises(InvalidInput, match="facts"):
        opened(facts="everything")
