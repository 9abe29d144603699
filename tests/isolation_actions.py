"""What somebody may do to a memory: an action for every public method, by its name.

Each is called with the world and hypothesis's `draw`; it returns whose turn it was, or None.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from pathlib import Path

from hypothesis import strategies as st

from rag_memory_plugins import Message
from rag_memory_plugins.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidMessage,
    InvalidNamespace,
    MessageConflict,
)
from rag_memory_plugins.events import Event
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.ports import ItemChange, Query
from rag_memory_plugins.results import EraseReceipt
from tests.isolation import IDS, PATHS, TEXTS, USERS, names, refused

LEVELS = st.sampled_from(["session", "user"])
NOW = datetime(2026, 5, 8, tzinfo=timezone.utc)
BAD_NAMES = ["", "a\x00", "\ud800", "a\n", "x" * 257, None, 7]


def _say(world, draw, store):
    who = world.who(draw)
    place = world.place(draw, who)
    session = place.namespace.session
    message_id = draw(st.sampled_from(IDS) | names)
    world.tried += 1
    message = world.message(draw, who, message_id)
    before = world.held(who, session, ids=[message_id])
    if before and before[0][1].digest != message.digest:
        refused(MessageConflict, lambda: store(place, message))
    else:
        store(place, message)
        if not before:
            world.said[who].append((session, message))
    return who


def add(world, draw):
    return _say(world, draw, lambda place, message: place.add(message))


def store(world, draw):
    def put(place, message):
        world.run(world.memory.astore(place.namespace, [message]))

    return _say(world, draw, put)


def recent(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    limit = draw(st.integers(1, 20))
    right = [message for _, message in world.held(who, place.namespace.session)]
    assert list(place.recent(limit)) == right[-limit:]
    return who


def messages(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    right = [message for _, message in world.held(who, place.namespace.session)]
    assert list(place.messages()) == right
    return who


def around(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    ids = world.hostile_ids(draw, 2)
    found = [m for window in place.around(ids, 1, 1) for m in window]
    world.mine(who, found)
    inside = [message for _, message in world.held(who, place.namespace.session)]
    assert [m for m in found if m not in inside] == []
    assert {m.id for m in inside if m.id in ids} <= {m.id for m in found}
    return who


def _seen(world, who, hits, where, session):
    for hit in hits:
        world.mine(who, [hit.message, *hit.neighbours])
        shown = [hit.message, *hit.neighbours]
        assert session in (None, hit.session)
        assert where is None or all(where.matches(m, hit.session) for m in shown)


def search(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    where, level = world.hostile_filter(draw), draw(LEVELS)
    found = place.search(draw(st.sampled_from(TEXTS)), 50, where=where, level=level, window=2)
    assert found.degraded == ()
    session = place.namespace.session if level == "session" else None
    _seen(world, who, found, where, session)
    return who


def find(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    where, level = world.hostile_filter(draw), draw(LEVELS)
    session = place.namespace.session if level == "session" else None
    found = place.find(where, 100, level=level)
    world.mine(who, [hit.message for hit in found])
    assert [(hit.session, hit.message) for hit in found] == world.held(who, session, where)
    return who


def context(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    made = place.context("the blue piano", 3_000, where=world.hostile_filter(draw))
    said = [piece.message for piece in made.pieces]
    said += [m for part in made.parts for m in part.messages]
    world.mine(who, [m for m in said if "owner" in m.metadata])
    return who


def pin(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    session = place.namespace.session
    for message_id in world.hostile_ids(draw, 1)[:2]:
        level = draw(LEVELS)
        if world.held(who, session, ids=[message_id]):
            place.pin(message_id, level)
            world.pins[who][session, message_id] = level
        else:
            refused(InvalidMessage, lambda key=message_id: place.pin(key, "user"))
    pinned = {(item.session, item.message.id) for item in world.run(_pins(world, place))}
    right = world.pins[who].items()
    assert pinned == {key for key, level in right if level == "user" or key[0] == session}
    return who


async def _pins(world, place):
    return await world.memory.log.apins(place.namespace)


def unpin(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    for message_id in world.hostile_ids(draw, 2):
        place.unpin(message_id)
        world.pins[who].pop((place.namespace.session, message_id), None)
    everybodys = [
        world.memory.conversation(world.space(n, world.sessions[0])) for n in range(USERS)
    ]
    pins = [everybody.stats().pins for everybody in everybodys]
    assert pins == [len(world.pins[n]) for n in range(USERS)]
    return who


def summary(world, draw):
    who = world.who(draw)
    assert world.place(draw, who).summary() is None
    return who


def resummarize(world, draw):
    who = world.who(draw)
    assert world.place(draw, who).resummarize() is None  # nobody says so much here
    return who


def recommended_config(world, draw):
    who = world.who(draw)
    assert world.place(draw, who).recommended_config().mode == "full"
    return who


def forget(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    level = draw(LEVELS)
    session = place.namespace.session if level == "session" else None
    ids = draw(st.sampled_from([None, True, True])) and world.hostile_ids(draw, 2)
    where = world.hostile_filter(draw) if ids is None or draw(st.booleans()) else None
    if where is not None and where.states_nothing:
        refused(InvalidFilter, lambda: place.forget(ids, where=where, level=level))
        return who
    gone = world.forget(who, world.held(who, session, where, ids))
    receipt = place.forget(ids, where=where, level=level)
    assert (receipt.messages, receipt.pins, receipt.complete) == (*gone, True)
    return who


def erase(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    level = draw(LEVELS)
    session = place.namespace.session if level == "session" else None
    gone = world.forget(who, world.held(who, session))
    sessions = world.sessions if session is None else [session]
    world.stated[who] = {
        key: row
        for key, row in world.stated[who].items()
        if row["source"] is not None or row["session"] not in sessions
    }
    receipt = place.erase(level)
    assert (receipt.messages, receipt.pins, receipt.complete) == (*gone, True)
    return who


def export(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    rows = [(row.pop("session"), Message.from_dict(row)) for row in place.export("session")]
    assert rows == world.held(who, place.namespace.session)
    return who


def stats(world, draw):
    who = world.who(draw)
    found = world.place(draw, who).stats()
    assert (found.messages, found.pins) == (len(world.said[who]), len(world.pins[who]))
    return who


def calibrate(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    refused(InvalidInput, lambda: place.calibrate(TEXTS, ["*"]))
    return who


def conversation(world, draw):
    """Names of nobody hold nothing; what is no name is refused."""
    part = draw(st.integers(0, 2))
    bad = ["acme", "ann", "monday"]
    bad[part] = draw(st.sampled_from(BAD_NAMES))
    refused(InvalidNamespace, lambda: world.memory.conversation(*bad))
    tenant, user, session = draw(st.tuples(names, names, names))
    world.tried += 4
    if (tenant, user) not in world.users:
        stranger = world.memory.conversation(tenant, user, session)
        assert (stranger.stats().messages, list(stranger.messages())) == (0, [])
        assert len(stranger.search("the blue piano", 50, window=2)) == 0
        assert stranger.erase(level="user").messages == 0


def backlog(world, draw):
    assert world.memory.backlog() >= 0


def settle(world, draw):
    assert world.memory.settle() == 0
    assert world.memory.backlog() == 0


def read_facts(world, draw):
    assert world.memory.read_facts(1.0) == 0  # opened without an extractor


def rebuild(world, draw):
    every = [world.said[n] for n in range(USERS)] + [world.items[n] for n in range(USERS)]
    every += [world.stated[n] for n in range(USERS)]
    assert world.memory.rebuild() == sum(map(len, every))


def namespaces(world, draw):
    found = set(world.memory.namespaces())
    users = {(space.tenant, space.user) for space in found}
    assert users <= set(world.users)
    spoken = {world.space(n, session) for n in range(USERS) for session, _ in world.said[n]}
    assert spoken <= found


def _ingested(world, draw, store):
    """A talk that one user ingests is in that user's session alone; it is forgotten again."""
    who = world.who(draw)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, draw(st.sampled_from(["talk.txt", "%", "acme"])))
        path.write_text("".join(f"Bartholomew: {text}\n" for text in TEXTS), encoding="utf-8")
        session = store(path, *world.users[who])
    talk = {at: world.memory.conversation(world.space(at, session)) for at in range(USERS)}
    turns = {
        at: [m.id for m in place.messages() if m.name == "Bartholomew"]
        for at, place in talk.items()
    }
    right = [len(TEXTS) if at == who else 0 for at in range(USERS)]
    assert [len(turns[at]) for at in range(USERS)] == right, turns
    talk[who].forget(turns[who])
    return who


def ingest(world, draw):
    session = draw(st.sampled_from(world.sessions))
    return _ingested(
        world, draw, lambda path, *user: world.memory.ingest(path, *user, session).session
    )


def ingest_files(world, draw):
    return _ingested(
        world, draw, lambda path, *user: world.memory.ingest_files([path], *user)[0].session
    )


def health(world, draw):
    assert world.memory.health()["problems"] == []


def close(world, draw):
    if draw(st.integers(0, 3)) == 0:  # some engines take a while
        world.reopen()


def _asked(world, draw, level):
    where = world.hostile_filter(draw)
    return Query("the blue piano", None, 50, level, NOW, 1, where)


def memory_search(world, draw):
    who = world.who(draw)
    place = world.place(draw, who).namespace
    query = _asked(world, draw, draw(LEVELS))
    found = world.run(world.memory.asearch(place, query))
    session = place.session if query.level == "session" else None
    _seen(world, who, found, query.where, session)
    return who


def signals(world, draw):
    who = world.who(draw)
    place = world.place(draw, who).namespace
    made = world.run(world.memory.asignals(place, _asked(world, draw, "user")))
    assert bool(made) <= bool(world.said[who])
    return who


def fold(world, draw):
    world.run(world.memory.afold())


def summary_failed(world, draw):
    who = world.who(draw)
    assert world.memory.summary_failed(world.place(draw, who).namespace) == ""
    return who


def cleaned(world, draw):
    who = world.who(draw)
    receipt = EraseReceipt(world.place(draw, who).namespace.scope.key, "user", 0, 0, 0, True)
    assert world.run(world.memory.acleaned(receipt)) == receipt
    return who


def forget_texts(world, draw):
    who = world.who(draw)
    erased = Erased(world.place(draw, who).namespace, draw(LEVELS))

    async def tell():
        world.memory.forget_texts(erased)

    world.run(tell())
    return who


def forget_usage(world, draw):
    who = world.who(draw)
    namespace = world.place(draw, who).namespace
    world.run(world.memory.aforget_usage(draw(st.sampled_from([namespace, namespace.scope]))))
    return who


def wake(world, draw):
    async def tell():
        world.memory.wake(chore=True)

    world.run(tell())


def emit(world, draw):
    world.memory.emit(Event("test"))


def sweep(world, draw):
    who = world.who(draw)
    assert world.run(world.shelf(who).asweep()) == 0
    return who


def _places(world, draw):
    some = st.tuples(st.sampled_from(PATHS), st.sampled_from(IDS) | names)
    found = draw(st.lists(some, min_size=1, max_size=4))
    world.tried += len(found)
    return found


def _under(path, under):
    return not under or path == under or path.startswith(f"{under}/")


def item_get(world, draw):
    who = world.who(draw)
    places = _places(world, draw)
    found = world.run(world.shelf(who).aget(places))
    assert [item and item.message.metadata for item in found] == [
        world.items[who].get(place) for place in places
    ]
    return who


def item_list(world, draw):
    who = world.who(draw)
    under, where = draw(st.sampled_from(["", *PATHS])), world.hostile_filter(draw)
    found = world.run(world.shelf(who).alist(under, where, 100, 0))
    world_items = {(item.path, item.message.id) for item in found}
    # Filters see an item as a message of its path; its metadata is the value.
    right = {
        (path, key)
        for (path, key), value in world.items[who].items()
        if _under(path, under) and where.matches(Message("user", "x", key, metadata=value), path)
    }
    assert world_items == right
    return who


def item_search(world, draw):
    who = world.who(draw)
    under, where = draw(st.sampled_from(["", *PATHS])), world.hostile_filter(draw)
    for item, _ in world.run(world.shelf(who).asearch("the piano", under, where, 50, 0)):
        world.leaks += item.message.metadata["owner"] != who
        assert world.items[who][item.path, item.message.id] == item.message.metadata
        assert _under(item.path, under)
        assert where.matches(item.message, item.path)
    return who


def item_paths(world, draw):
    who = world.who(draw)
    under = draw(st.sampled_from(["", *PATHS]))
    found = world.run(world.shelf(who).apaths(under))
    assert set(found) == {path for path, _ in world.items[who] if _under(path, under)}
    return who


def item_change(world, draw):
    who = world.who(draw)
    changes = []
    for path, key in _places(world, draw):
        if draw(st.integers(0, 3)) == 0:
            world.items[who].pop((path, key), None)
            changes.append(ItemChange(path, key))
            continue
        value = {"owner": who, "n": draw(st.integers(0, 3))}
        text = f"the piano is number {value['n']}"
        changes.append(ItemChange(path, key, Message("user", text, key, metadata=value)))
        world.items[who][path, key] = value
    world.run(world.shelf(who).achange(changes))
    return who


def item_refresh(world, draw):
    who = world.who(draw)
    other = world.who(draw)
    found = world.run(world.shelf(other).alist("", None, 10, 0))
    world.run(world.shelf(who).arefresh([item.seq for item in found]))
    return who


def item_erase(world, draw):
    who = world.who(draw)
    under = draw(st.sampled_from(["", *PATHS]))
    gone = [place for place in world.items[who] if _under(place[0], under)]
    for place in gone:
        del world.items[who][place]
    assert world.run(world.shelf(who).aerase(under)).messages == len(gone)
    return who


CONVERSATION = {
    "aadd": add, "arecent": recent, "amessages": messages, "aaround": around, "asearch": search,
    "afind": find, "acontext": context, "apin": pin, "aunpin": unpin, "asummary": summary,
    "aresummarize": resummarize, "arecommended_config": recommended_config, "aforget": forget,
    "aerase": erase, "aexport": export, "astats": stats, "acalibrate": calibrate,
}  # fmt: skip
MEMORY = {
    "conversation": conversation, "abacklog": backlog, "asettle": settle, "aread_facts": read_facts, "arebuild": rebuild,
    "anamespaces": namespaces, "ahealth": health, "aclose": close, "astore": store,
    "aingest": ingest, "aingest_files": ingest_files,
    "asearch": memory_search, "afold": fold, "summary_failed": summary_failed, "acleaned": cleaned,
    "forget_texts": forget_texts, "aforget_usage": forget_usage, "asignals": signals, "wake": wake,
    "emit": emit,
}  # fmt: skip
SHELF = {
    "asweep": sweep, "aget": item_get, "alist": item_list, "asearch": item_search,
    "apaths": item_paths, "achange": item_change, "arefresh": item_refresh, "aerase": item_erase,
}  # fmt: skip
